//! Asks a running twinroute, for the command line: one GET, one answer, within limits.

use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use twinroute_listen::Address;

/// Bytes of an answer that are read.
pub const ANSWER_BYTES_MAX: usize = 64 << 20;

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Body, as it came.
    pub body: String,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody is there, or the connection broke.
    #[error("ask {address}: {step}")]
    Io {
        /// Whom.
        address: Address,
        /// At which step.
        step: &'static str,
        /// Why.
        source: io::Error,
    },
    /// It took too long.
    #[error("ask {address}: no answer within {} ms", timeout.as_millis())]
    Timeout {
        /// Whom.
        address: Address,
        /// The limit.
        timeout: Duration,
    },
    /// What came is not the answer of a twinroute.
    #[error("ask {address}: {reason}")]
    Malformed {
        /// Whom.
        address: Address,
        /// What is wrong with it.
        reason: String,
    },
}

/// Gets `path`, such as `/status?pretty`.
///
/// # Errors
/// [`Error`]; an answer with another status than 200 is none.
pub async fn get(address: &Address, path: &str, timeout: Duration) -> Result<Answer, Error> {
    match tokio::time::timeout(timeout, exchange(address, path)).await {
        Ok(answer) => answer,
        Err(_) => Err(Error::Timeout {
            address: address.clone(),
            timeout,
        }),
    }
}

async fn exchange(address: &Address, path: &str) -> Result<Answer, Error> {
    let at = |step| {
        move |source| Error::Io {
            address: address.clone(),
            step,
            source,
        }
    };
    let bytes = match address {
        Address::Tcp(socket_address) => {
            let stream = TcpStream::connect(socket_address)
                .await
                .map_err(at("connect"))?;
            talk(stream, path).await
        }
        Address::Unix(socket) => {
            let stream = UnixStream::connect(socket).await.map_err(at("connect"))?;
            talk(stream, path).await
        }
    }
    .map_err(at("read the answer"))?;
    parse(&bytes).map_err(|reason| Error::Malformed {
        address: address.clone(),
        reason,
    })
}

async fn talk(mut stream: impl AsyncRead + AsyncWrite + Unpin, path: &str) -> io::Result<Vec<u8>> {
    let request = format!("GET {path} HTTP/1.1\r\nhost: twinroute\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    let limit = ANSWER_BYTES_MAX as u64 + 1;
    stream.take(limit).read_to_end(&mut answer).await?;
    Ok(answer)
}

/// Takes an answer apart. Our server always gives a length and is asked to close after.
fn parse(bytes: &[u8]) -> Result<Answer, String> {
    if bytes.len() > ANSWER_BYTES_MAX {
        return Err(format!(
            "the answer has more than {ANSWER_BYTES_MAX} bytes, which is the limit"
        ));
    }
    let not_http = || "what answers there does not speak HTTP/1.1".to_owned();
    let text = std::str::from_utf8(bytes).map_err(|_| not_http())?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(not_http)?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 "));
    let status = status
        .and_then(|rest| rest.get(..3)?.parse().ok())
        .ok_or_else(not_http)?;
    let length = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse::<usize>().ok());
    if length != Some(body.len()) {
        let announced = length.map_or_else(|| "no".to_owned(), |length| length.to_string());
        return Err(format!(
            "the answer has {} bytes; {announced} were announced",
            body.len()
        ));
    }
    Ok(Answer {
        status,
        body: body.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_taken_apart() {
        let answer =
            parse(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\nno").unwrap();
        assert_eq!(
            answer,
            Answer {
                status: 503,
                body: "no".to_owned()
            }
        );
        for (bytes, expect) in [
            (
                &b"SSH-2.0-x\r\n"[..],
                "what answers there does not speak HTTP/1.1",
            ),
            (b"", "what answers there does not speak HTTP/1.1"),
            (
                b"HTTP/1.1 x\r\n\r\n",
                "what answers there does not speak HTTP/1.1",
            ),
            (
                b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nab",
                "the answer has 2 bytes; 9 were announced",
            ),
            (
                b"HTTP/1.1 200 OK\r\n\r\nab",
                "the answer has 2 bytes; no were announced",
            ),
        ] {
            assert_eq!(parse(bytes), Err(expect.to_owned()));
        }
    }
}
