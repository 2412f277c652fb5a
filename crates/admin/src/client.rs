//! Asks a running twinroute, for the command line: one request, one answer, within limits.

use bytes::Bytes;
use http::uri::{Authority, Uri};
use http::{HeaderValue, Method, Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::fmt;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use twinroute_listen::ListenAddress;
use twinroute_model::secret::Secret;

/// Bytes of an answer that are read, but by [`AdminClient::download`]: the status of ten thousand endpoints has some
/// 20 MB. While an answer grows it is held twice.
pub const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Bytes of an error answer that are read.
const ERROR_BYTES_MAX: usize = 64 << 10;

/// Bytes of an answer's head, and of what is read ahead of its body.
const BUFFER_BYTES_MAX: usize = 64 << 10;

/// Bytes by which an answer that is collected grows at least.
const GROWTH_BYTES: usize = 256 << 10;

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminAnswer {
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
        address: String,
        /// At which step.
        step: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The connection broke, or what answers does not speak HTTP/1.1.
    #[error("ask {address}: {step}")]
    Http {
        /// Whom.
        address: String,
        /// At which step.
        step: &'static str,
        /// Why.
        source: hyper::Error,
    },
    /// It took too long.
    #[error("ask {address}: no answer within {} ms", timeout.as_millis())]
    Timeout {
        /// Whom.
        address: String,
        /// The limit.
        timeout: Duration,
    },
    /// What came is not the answer of a twinroute, or cannot be asked for.
    #[error("ask {address}: {reason}")]
    Malformed {
        /// Whom.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Whom to ask, and what to show there. Cheap to clone.
#[derive(Clone)]
pub struct AdminClient {
    place: AdminSocket,
    /// The header `authorization`.
    token: Option<HeaderValue>,
}

#[derive(Clone)]
enum AdminSocket {
    Plain(ListenAddress),
    /// A host by its name.
    Named {
        authority: String,
        host: String,
        port: u16,
    },
    Tls {
        authority: String,
        host: String,
        port: u16,
        name: ServerName<'static>,
        trust: Arc<ClientConfig>,
    },
}

/// What cannot be asked, or shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidClient {
    /// The address is none.
    #[error("must be http:// or https:// with a host and perhaps a port, and nothing behind it")]
    Url,
    /// The token is none.
    #[error("a token must be visible ASCII characters")]
    Token,
}

impl fmt::Display for AdminSocket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(address) => address.fmt(formatter),
            Self::Named { authority, .. } => write!(formatter, "http://{authority}"),
            Self::Tls { authority, .. } => write!(formatter, "https://{authority}"),
        }
    }
}

impl fmt::Debug for AdminClient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("Client");
        shown
            .field("place", &self.place.to_string())
            .finish_non_exhaustive()
    }
}

impl AdminClient {
    /// Asks in plain HTTP.
    #[must_use]
    pub fn plain(address: ListenAddress) -> Self {
        Self {
            place: AdminSocket::Plain(address),
            token: None,
        }
    }

    /// Asks in plain HTTP: `http://localhost:8081`. A name is looked up at each request.
    ///
    /// # Errors
    /// [`InvalidClient::Url`].
    pub fn http(url: &str) -> Result<Self, InvalidClient> {
        let (authority, host) = parts(url, "http")?;
        Ok(Self {
            place: AdminSocket::Named {
                port: authority.port_u16().unwrap_or(80),
                authority: authority.to_string(),
                host,
            },
            token: None,
        })
    }

    /// Asks in HTTPS, with the trust of `trust`: `https://router.example:8443`.
    ///
    /// # Errors
    /// [`InvalidClient::Url`].
    pub fn https(url: &str, trust: Arc<ClientConfig>) -> Result<Self, InvalidClient> {
        let (authority, host) = parts(url, "https")?;
        let name = ServerName::try_from(host.clone()).map_err(|_| InvalidClient::Url)?;
        Ok(Self {
            place: AdminSocket::Tls {
                authority: authority.to_string(),
                host,
                port: authority.port_u16().unwrap_or(443),
                name,
                trust,
            },
            token: None,
        })
    }

    /// Shows a bearer token.
    ///
    /// # Errors
    /// [`InvalidClient::Token`].
    pub fn with_token(self, token: &Secret) -> Result<Self, InvalidClient> {
        let token = token.expose();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(InvalidClient::Token);
        }
        let header = HeaderValue::try_from(format!("Bearer {token}"));
        let mut header = header.map_err(|_| InvalidClient::Token)?;
        header.set_sensitive(true);
        Ok(Self {
            token: Some(header),
            ..self
        })
    }

    /// Gets `path`, such as `/status?pretty`.
    ///
    /// # Errors
    /// [`Error`]; an answer with another status than 200 is none.
    pub async fn get(&self, path: &str, timeout: Duration) -> Result<AdminAnswer, Error> {
        self.ask(Method::GET, path, None, timeout).await
    }

    /// Posts JSON to `path`.
    ///
    /// # Errors
    /// As [`AdminClient::get`].
    pub async fn post(
        &self,
        path: &str,
        json: String,
        timeout: Duration,
    ) -> Result<AdminAnswer, Error> {
        self.ask(Method::POST, path, Some(json), timeout).await
    }

    /// Deletes `path`.
    ///
    /// # Errors
    /// As [`AdminClient::get`].
    pub async fn delete(&self, path: &str, timeout: Duration) -> Result<AdminAnswer, Error> {
        self.ask(Method::DELETE, path, None, timeout).await
    }

    /// Gets `path` and writes the body of a 200 to `out` piece by piece; that of another status is in the
    /// answer. `timeout` is for each piece.
    ///
    /// # Errors
    /// As [`AdminClient::get`]; what was written by then stays.
    pub async fn download(
        &self,
        path: &str,
        timeout: Duration,
        out: &mut impl io::Write,
    ) -> Result<AdminAnswer, Error> {
        let asked = AdminCall {
            client: self,
            timeout,
        };
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
        Ok(AdminAnswer {
            status: 200,
            body: String::new(),
        })
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        json: Option<String>,
        timeout: Duration,
    ) -> Result<AdminAnswer, Error> {
        let asked = AdminCall {
            client: self,
            timeout,
        };
        let exchange = async {
            let response = asked.send(method, path, json).await?;
            asked.whole(response).await
        };
        asked.within(exchange).await?
    }
}

/// Authority and host of a URL that has nothing else; the host without its brackets.
fn parts(url: &str, scheme: &str) -> Result<(Authority, String), InvalidClient> {
    let url: Uri = url.parse().map_err(|_| InvalidClient::Url)?;
    let authority = url.authority().ok_or(InvalidClient::Url)?;
    let bare = url.path_and_query().is_none_or(|rest| rest.as_str() == "/");
    if url.scheme_str() != Some(scheme) || !bare || authority.as_str().contains('@') {
        return Err(InvalidClient::Url);
    }
    let host = authority.host();
    let host = host.strip_prefix('[').unwrap_or(host);
    let host = host.strip_suffix(']').unwrap_or(host).to_owned();
    Ok((authority.clone(), host))
}

/// Who is asked and how long that may take.
#[derive(Clone, Copy)]
struct AdminCall<'a> {
    client: &'a AdminClient,
    timeout: Duration,
}

impl AdminCall<'_> {
    async fn send(
        self,
        method: Method,
        path: &str,
        json: Option<String>,
    ) -> Result<Response<Incoming>, Error> {
        let host = match &self.client.place {
            AdminSocket::Plain(ListenAddress::Tcp(address)) => address.to_string(),
            AdminSocket::Plain(ListenAddress::Unix(_)) => "localhost".to_owned(),
            AdminSocket::Named { authority, .. } | AdminSocket::Tls { authority, .. } => {
                authority.clone()
            }
        };
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, host)
            .header(header::CONNECTION, "close");
        if let Some(token) = &self.client.token {
            request = request.header(header::AUTHORIZATION, token);
        }
        if json.is_some() {
            let json = HeaderValue::from_static("application/json");
            request = request.header(header::CONTENT_TYPE, json);
        }
        let body = Full::new(Bytes::from(json.unwrap_or_default()));
        let request = request
            .body(body)
            .map_err(|error| self.malformed(error.to_string()))?;
        self.within(self.connect(request)).await?
    }

    async fn connect(self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Error> {
        match &self.client.place {
            AdminSocket::Plain(ListenAddress::Tcp(address)) => {
                let stream = TcpStream::connect(address).await;
                self.talk(stream.map_err(self.io("connect"))?, request)
                    .await
            }
            AdminSocket::Named { host, port, .. } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await;
                self.talk(stream.map_err(self.io("connect"))?, request)
                    .await
            }
            AdminSocket::Plain(ListenAddress::Unix(path)) => {
                let stream = UnixStream::connect(path).await;
                self.talk(stream.map_err(self.io("connect"))?, request)
                    .await
            }
            AdminSocket::Tls {
                host,
                port,
                name,
                trust,
                ..
            } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await;
                let stream = stream.map_err(self.io("connect"))?;
                let connector = TlsConnector::from(Arc::clone(trust));
                let stream = connector.connect(name.clone(), stream).await;
                self.talk(stream.map_err(self.io("agree on TLS"))?, request)
                    .await
            }
        }
    }

    async fn talk(
        self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, Error> {
        let mut http = http1::Builder::new();
        http.max_buf_size(BUFFER_BYTES_MAX);
        let handshake = http.handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(self.http("connect"))?;
        let talking = tokio::spawn(connection);
        let answered = sender.send_request(request).await;
        let Err(error) = answered else {
            // It ends with the answer, and its error is that of the answer.
            return answered.map_err(self.http("no answer in HTTP/1.1"));
        };
        drop(sender);
        // That the request could not be sent says less than what ended the connection before.
        let cause = match talking.await {
            Ok(Err(cause)) => cause,
            Ok(Ok(())) | Err(_) => error,
        };
        Err(self.http("no answer in HTTP/1.1")(cause))
    }

    async fn whole(self, response: Response<Incoming>) -> Result<AdminAnswer, Error> {
        let status = response.status().as_u16();
        let good = response.status().is_success();
        let bytes_max = if good {
            ANSWER_BYTES_MAX
        } else {
            ERROR_BYTES_MAX
        };
        let mut pieces = response.into_body();
        let mut body = Vec::new();
        while let Some(frame) = pieces.frame().await {
            let frame = frame.map_err(self.http("read the answer"))?;
            let Some(piece) = frame.data_ref() else {
                continue;
            };
            if body.len() + piece.len() > bytes_max {
                if !good {
                    // The status stands.
                    break;
                }
                return Err(self.malformed(format!(
                    "the answer has more than {bytes_max} bytes, which is the limit"
                )));
            }
            if body.capacity() - body.len() < piece.len() {
                body.reserve_exact(piece.len() + GROWTH_BYTES.max(body.len() / 4));
            }
            body.extend_from_slice(piece);
        }
        if !good {
            let body = String::from_utf8_lossy(&body).into_owned();
            return Ok(AdminAnswer { status, body });
        }
        let body = String::from_utf8(body);
        Ok(AdminAnswer {
            status,
            body: body.map_err(|_| self.malformed("the answer is not UTF-8".to_owned()))?,
        })
    }

    async fn within<T>(self, step: impl Future<Output = T>) -> Result<T, Error> {
        let result = tokio::time::timeout(self.timeout, step).await;
        result.map_err(|_| Error::Timeout {
            address: self.client.place.to_string(),
            timeout: self.timeout,
        })
    }

    fn io(self, step: &'static str) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io {
            address: self.client.place.to_string(),
            step,
            source,
        }
    }

    fn http(self, step: &'static str) -> impl FnOnce(hyper::Error) -> Error {
        move |source| Error::Http {
            address: self.client.place.to_string(),
            step,
            source,
        }
    }

    fn malformed(self, reason: String) -> Error {
        Error::Malformed {
            address: self.client.place.to_string(),
            reason,
        }
    }
}
