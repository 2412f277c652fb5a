//! Asks a running twinroute, for the command line: one request, one answer, within limits.

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::future::Future;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use twinroute_listen::Address;

/// Bytes of an answer that are read, but by [`download`].
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
    /// Nobody is there, the connection broke, or what came cannot be put away.
    #[error("ask {address}: {step}")]
    Io {
        /// Whom.
        address: Address,
        /// At which step.
        step: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The connection broke, or what answers does not speak HTTP/1.1.
    #[error("ask {address}: {step}")]
    Http {
        /// Whom.
        address: Address,
        /// At which step.
        step: &'static str,
        /// Why.
        source: hyper::Error,
    },
    /// It took too long.
    #[error("ask {address}: no answer within {} ms", timeout.as_millis())]
    Timeout {
        /// Whom.
        address: Address,
        /// The limit.
        timeout: Duration,
    },
    /// What came is not the answer of a twinroute, or cannot be asked for.
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
    ask(address, Method::GET, path, None, timeout).await
}

/// Posts JSON to `path`.
///
/// # Errors
/// As [`get`].
pub async fn post(
    address: &Address,
    path: &str,
    json: String,
    timeout: Duration,
) -> Result<Answer, Error> {
    ask(address, Method::POST, path, Some(json), timeout).await
}

/// Deletes `path`.
///
/// # Errors
/// As [`get`].
pub async fn delete(address: &Address, path: &str, timeout: Duration) -> Result<Answer, Error> {
    ask(address, Method::DELETE, path, None, timeout).await
}

/// Gets `path` and writes the body of a 200 to `out` piece by piece; that of another status is in the answer.
/// `timeout` is for each piece.
///
/// # Errors
/// As [`get`]; what was written by then stays.
pub async fn download(
    address: &Address,
    path: &str,
    timeout: Duration,
    out: &mut impl io::Write,
) -> Result<Answer, Error> {
    let asked = Asked { address, timeout };
    let mut response = asked.send(Method::GET, path, None).await?;
    if response.status() != 200 {
        return asked.whole(response).await;
    }
    while let Some(frame) = asked.within(response.body_mut().frame()).await? {
        let frame = frame.map_err(asked.http("read the answer"))?;
        if let Some(piece) = frame.data_ref() {
            out.write_all(piece).map_err(asked.io("write the answer"))?;
        }
    }
    out.flush().map_err(asked.io("write the answer"))?;
    Ok(Answer {
        status: 200,
        body: String::new(),
    })
}

async fn ask(
    address: &Address,
    method: Method,
    path: &str,
    json: Option<String>,
    timeout: Duration,
) -> Result<Answer, Error> {
    let asked = Asked { address, timeout };
    let exchange = async {
        let response = asked.send(method, path, json).await?;
        asked.whole(response).await
    };
    asked.within(exchange).await?
}

/// Who is asked and how long that may take.
#[derive(Clone, Copy)]
struct Asked<'a> {
    address: &'a Address,
    timeout: Duration,
}

impl Asked<'_> {
    async fn send(
        self,
        method: Method,
        path: &str,
        json: Option<String>,
    ) -> Result<Response<Incoming>, Error> {
        let host = match self.address {
            Address::Tcp(address) => address.to_string(),
            Address::Unix(_) => "localhost".to_owned(),
        };
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, host)
            .header(header::CONNECTION, "close");
        if json.is_some() {
            let json = HeaderValue::from_static("application/json");
            request = request.header(header::CONTENT_TYPE, json);
        }
        let body = Full::new(Bytes::from(json.unwrap_or_default()));
        let request = request
            .body(body)
            .map_err(|error| self.malformed(error.to_string()))?;
        let connected = async {
            match self.address {
                Address::Tcp(address) => {
                    let stream = TcpStream::connect(address).await;
                    self.talk(stream.map_err(self.io("connect"))?, request)
                        .await
                }
                Address::Unix(path) => {
                    let stream = UnixStream::connect(path).await;
                    self.talk(stream.map_err(self.io("connect"))?, request)
                        .await
                }
            }
        };
        self.within(connected).await?
    }

    async fn talk(
        self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, Error> {
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(self.http("connect"))?;
        // It ends with the answer, and its error is that of the answer.
        drop(tokio::spawn(connection));
        let response = sender.send_request(request).await;
        response.map_err(self.http("no answer in HTTP/1.1"))
    }

    async fn whole(self, response: Response<Incoming>) -> Result<Answer, Error> {
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
        let body = body.collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                return self.malformed(format!(
                    "the answer has more than {ANSWER_BYTES_MAX} bytes, which is the limit"
                ));
            }
            match error.downcast::<hyper::Error>() {
                Ok(error) => self.http("read the answer")(*error),
                Err(error) => self.malformed(error.to_string()),
            }
        })?;
        let body = String::from_utf8(body.to_bytes().into());
        Ok(Answer {
            status,
            body: body.map_err(|_| self.malformed("the answer is not UTF-8".to_owned()))?,
        })
    }

    async fn within<T>(self, step: impl Future<Output = T>) -> Result<T, Error> {
        let result = tokio::time::timeout(self.timeout, step).await;
        result.map_err(|_| Error::Timeout {
            address: self.address.clone(),
            timeout: self.timeout,
        })
    }

    fn io(self, step: &'static str) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io {
            address: self.address.clone(),
            step,
            source,
        }
    }

    fn http(self, step: &'static str) -> impl FnOnce(hyper::Error) -> Error {
        move |source| Error::Http {
            address: self.address.clone(),
            step,
            source,
        }
    }

    fn malformed(self, reason: String) -> Error {
        Error::Malformed {
            address: self.address.clone(),
            reason,
        }
    }
}
