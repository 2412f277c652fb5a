//! Opens a TCP connection, through a proxy where one stands in the way.

use crate::outgoing::{CONNECT_TIMEOUT, OutgoingConnections};
use crate::proxy::ProxyAddress;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Bytes of a proxy's answer to CONNECT.
const ANSWER_BYTES_MAX: usize = 8 << 10;

/// Bytes both ways.
pub trait ByteStream: AsyncRead + AsyncWrite + fmt::Debug + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + fmt::Debug + Send + Unpin + 'static> ByteStream for T {}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum TunnelError {
    /// The network said no.
    #[error("{0}")]
    Connect(#[source] io::Error),
    /// Nothing answered within ten seconds.
    #[error("no TCP connection within 10 s")]
    ConnectTimeout,
    /// The name is none that a certificate can have.
    #[error("{0}")]
    Name(#[source] rustls::pki_types::InvalidDnsNameError),
    /// No TLS session: the certificate, or the other end.
    #[error("{0}")]
    Tls(#[source] io::Error),
    /// The other end did not finish the TLS handshake within ten seconds.
    #[error("no TLS session within 10 s")]
    TlsTimeout,
    /// The proxy cannot be reached or used; its own answer, where it gave one, is a status.
    #[error("{}", proxy_text(*status, text))]
    Proxy {
        /// The proxy's HTTP status.
        status: Option<u16>,
        /// What went wrong.
        text: String,
    },
}

fn proxy_text(status: Option<u16>, text: &str) -> String {
    match status {
        Some(407) => format!("the proxy wants another name or password ({text})"),
        Some(status) => format!("the proxy answered CONNECT with {status} ({text})"),
        None => format!("proxy: {text}"),
    }
}

/// Whether a connection may go through a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyUse {
    /// Straight.
    Never,
    /// Through the proxy that the destination has, where it has one.
    Allowed,
}

/// Connects to `host`, a name or an address without brackets. Bounded by ten seconds for each step.
///
/// Dropping the future drops the connection.
///
/// # Errors
/// [`TunnelError`].
pub async fn dial(
    outgoing: &OutgoingConnections,
    host: &str,
    port: u16,
    proxy_use: ProxyUse,
) -> Result<Box<dyn ByteStream>, TunnelError> {
    let via = match proxy_use {
        ProxyUse::Never => None,
        ProxyUse::Allowed => outgoing.proxies().to(host, port),
    };
    let Some(via) = via else {
        return Ok(Box::new(tcp(host, port).await?));
    };
    let at_proxy = |error: TunnelError| TunnelError::Proxy {
        status: None,
        text: error.to_string(),
    };
    let stream = tcp(&via.host, via.port).await.map_err(at_proxy)?;
    let stream: Box<dyn ByteStream> = match via.tls {
        false => Box::new(stream),
        true => secure(outgoing, &via.host, Box::new(stream))
            .await
            .map_err(at_proxy)?,
    };
    match tokio::time::timeout(CONNECT_TIMEOUT, connect(stream, via, host, port)).await {
        Ok(connected) => connected,
        Err(_) => Err(TunnelError::Proxy {
            status: None,
            text: "no answer to CONNECT within 10 s".to_owned(),
        }),
    }
}

/// Puts TLS over a connection to `host`.
///
/// Dropping the future drops the connection.
///
/// # Errors
/// [`TunnelError::Name`], [`TunnelError::Tls`], [`TunnelError::TlsTimeout`].
pub async fn secure(
    outgoing: &OutgoingConnections,
    host: &str,
    stream: Box<dyn ByteStream>,
) -> Result<Box<dyn ByteStream>, TunnelError> {
    let name = ServerName::try_from(host.to_owned()).map_err(TunnelError::Name)?;
    let connector = TlsConnector::from(Arc::clone(outgoing.tls()));
    let secured = tokio::time::timeout(CONNECT_TIMEOUT, connector.connect(name, stream));
    let secured = secured.await.map_err(|_| TunnelError::TlsTimeout)?;
    Ok(Box::new(secured.map_err(TunnelError::Tls)?))
}

async fn tcp(host: &str, port: u16) -> Result<TcpStream, TunnelError> {
    let stream = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect((host, port)))
        .await
        .map_err(|_| TunnelError::ConnectTimeout)?
        .map_err(TunnelError::Connect)?;
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(30))
        .with_interval(Duration::from_secs(10));
    let socket = SockRef::from(&stream);
    socket
        .set_tcp_nodelay(true)
        .and_then(|()| socket.set_tcp_keepalive(&keepalive))
        .map_err(TunnelError::Connect)?;
    Ok(stream)
}

/// RFC 9110 §9.3.6: a tunnel to `host`.
async fn connect(
    mut stream: Box<dyn ByteStream>,
    via: &ProxyAddress,
    host: &str,
    port: u16,
) -> Result<Box<dyn ByteStream>, TunnelError> {
    let failed = |text: String| TunnelError::Proxy { status: None, text };
    let authority = match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    };
    let mut request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n");
    if let Some(authorization) = &via.authorization {
        request.push_str("Proxy-Authorization: ");
        request.push_str(authorization.expose());
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    let written = async {
        stream.write_all(request.as_bytes()).await?;
        stream.flush().await
    };
    let written: io::Result<()> = written.await;
    written.map_err(|error| failed(error.to_string()))?;
    let mut head = Vec::new();
    let mut chunk = [0; 1024];
    while !head.windows(4).any(|four| four == b"\r\n\r\n") {
        let read = stream.read(&mut chunk).await;
        match read.map_err(|error| failed(error.to_string()))? {
            0 => return Err(failed("it hung up during CONNECT".to_owned())),
            read => head.extend_from_slice(&chunk[..read]),
        }
        if head.len() > ANSWER_BYTES_MAX {
            return Err(failed("its answer to CONNECT has no end".to_owned()));
        }
    }
    let status = status(&head).ok_or_else(|| failed("its answer is not HTTP".to_owned()))?;
    if !(200..300).contains(&status) {
        let text = format!("CONNECT {authority}");
        return Err(TunnelError::Proxy {
            status: Some(status),
            text,
        });
    }
    // Behind it nobody speaks before we do.
    if !head.ends_with(b"\r\n\r\n") {
        return Err(failed("it sent more than its answer to CONNECT".to_owned()));
    }
    Ok(stream)
}

fn status(head: &[u8]) -> Option<u16> {
    let rest = head.strip_prefix(b"HTTP/1.")?;
    let digits = std::str::from_utf8(rest.get(2..5)?).ok()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn via(text: &str) -> ProxyAddress {
        ProxyAddress::parse(text).unwrap()
    }

    /// What the proxy was asked, and what came of its answer.
    async fn ask(
        via: &ProxyAddress,
        answer: &[u8],
    ) -> (String, Result<Box<dyn ByteStream>, TunnelError>) {
        let (near, mut far) = tokio::io::duplex(1 << 16);
        far.write_all(answer).await.unwrap();
        let asked = connect(Box::new(near), via, "ns.example", 443).await;
        let mut request = vec![0; 1 << 12];
        let read = far.read(&mut request).await.unwrap();
        request.truncate(read);
        (String::from_utf8(request).unwrap(), asked)
    }

    #[tokio::test]
    async fn a_tunnel_is_asked_for_with_the_proxys_password() {
        let yes = b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n";
        let (request, tunnel) = ask(&via("http://u:p%40w@proxy"), yes).await;
        assert!(tunnel.is_ok());
        assert_eq!(
            request,
            "CONNECT ns.example:443 HTTP/1.1\r\nHost: ns.example:443\r\n\
             Proxy-Authorization: Basic dTpwQHc=\r\n\r\n"
        );
        let (request, _) = ask(&via("proxy:3128"), yes).await;
        assert!(!request.contains("Authorization"), "{request}");
    }

    #[tokio::test]
    async fn every_other_answer_is_a_fault_of_the_proxy() {
        let endless = [b"HTTP/1.1 200 OK\r\nX: ".as_slice(), &[b'x'; 9_000]].concat();
        for (answer, expect) in [
            (
                b"HTTP/1.1 407 No\r\n\r\n".as_slice(),
                "the proxy wants another name or password",
            ),
            (
                b"HTTP/1.0 503 No\r\n\r\n",
                "the proxy answered CONNECT with 503",
            ),
            (
                b"HTTP/1.1 302 No\r\nLocation: https://evil\r\n\r\n",
                "the proxy answered CONNECT with 302",
            ),
            (b"SSH-2.0-x\r\n\r\n", "proxy: its answer is not HTTP"),
            (b"HTTP/1.1 200 OK\r\n\r\nmore", "proxy: it sent more"),
            (&endless, "proxy: its answer to CONNECT has no end"),
        ] {
            let (_, asked) = ask(&via("http://u:s3cret@proxy"), answer).await;
            let error = asked.unwrap_err().to_string();
            assert!(
                error.starts_with(expect) && !error.contains("s3cret"),
                "{error}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_never_answers_tls_is_left() {
        let outgoing = OutgoingConnections::of_environment().unwrap();
        let (near, _far) = tokio::io::duplex(1 << 16);
        let error = secure(&outgoing, "h", Box::new(near)).await.unwrap_err();
        assert!(matches!(error, TunnelError::TlsTimeout), "{error}");
    }
}
