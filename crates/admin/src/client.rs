//! Asks a running twinroute, for the command line: one request, one answer, within limits.

use bytes::Bytes;
use reqwest::header::{self, HeaderValue};
use reqwest::{Client, ClientBuilder, Method, Response, Url, redirect};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::io;
use std::iter;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use twinroute_listen::ListenAddress;
use twinroute_model::secret::Secret;

/// Bytes of an answer that are read, but by [`AdminClient::download`]: the status of ten thousand endpoints has some
/// 20 MB. While an answer grows it is held twice.
pub const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Bytes of an error answer that are read.
const ERROR_BYTES_MAX: usize = 64 << 10;

/// The step of a connection that was made, and on which no answer came.
const NO_HTTP: &str = "no answer in HTTP/1.1";

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
    /// Nobody is there, the connection broke, what answers does not speak HTTP/1.1, or what came cannot be put
    /// away.
    #[error("ask {address}: {step}")]
    Io {
        /// Whom.
        address: String,
        /// At which step.
        step: &'static str,
        /// Why.
        source: io::Error,
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

impl Error {
    /// Whether the server was reached, and what it answered, if anything, was no HTTP/1.1.
    #[must_use]
    pub fn is_no_http(&self) -> bool {
        matches!(self, Self::Io { step, .. } if *step == NO_HTTP)
    }
}

/// Whom to ask, and what to show there. Cheap to clone.
#[derive(Clone)]
pub struct AdminClient {
    /// As it was given.
    address: String,
    base: Url,
    http: Client,
    /// The header `authorization`.
    token: Option<HeaderValue>,
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

impl fmt::Debug for AdminClient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = formatter.debug_struct("AdminClient");
        debug
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl AdminClient {
    /// Asks in plain HTTP.
    #[must_use]
    pub fn plain(address: ListenAddress) -> Self {
        let text = address.to_string();
        let builder = builder(no_trust());
        let (host, builder) = match address {
            // Without a scope, which URLs do not have.
            ListenAddress::Tcp(address) => {
                let address = SocketAddr::new(address.ip(), address.port());
                (address.to_string(), builder)
            }
            ListenAddress::Unix(path) => ("localhost".to_owned(), builder.unix_socket(path)),
        };
        let base = Url::parse(&format!("http://{host}")).expect("an address is a host");
        Self::new(text, base, builder)
    }

    /// Asks in plain HTTP: `http://localhost:8081`. A name is looked up at each request.
    ///
    /// # Errors
    /// [`InvalidClient::Url`].
    pub fn http(url: &str) -> Result<Self, InvalidClient> {
        let base = base(url, "http")?;
        Ok(Self::new(without_slash(url), base, builder(no_trust())))
    }

    /// Asks in HTTPS, with the trust of `trust`: `https://router.example:8443`.
    ///
    /// # Errors
    /// [`InvalidClient::Url`].
    pub fn https(url: &str, trust: Arc<ClientConfig>) -> Result<Self, InvalidClient> {
        let base = base(url, "https")?;
        let trust = Arc::unwrap_or_clone(trust);
        Ok(Self::new(without_slash(url), base, builder(trust)))
    }

    fn new(address: String, base: Url, builder: ClientBuilder) -> Self {
        Self {
            address,
            base,
            http: builder
                .build()
                .expect("only TLS could fail, and it is given"),
            token: None,
        }
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
        let mut response = asked.within(asked.send(Method::GET, path, None)).await?;
        if response.status() != 200 {
            return asked.within(asked.whole(response)).await;
        }
        while let Some(piece) = asked.within(asked.piece(&mut response)).await? {
            out.write_all(&piece)
                .map_err(asked.io("write the answer"))?;
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
        asked.within(exchange).await
    }
}

fn builder(trust: ClientConfig) -> ClientBuilder {
    Client::builder()
        .tls_backend_preconfigured(trust)
        .http1_only()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .referer(false)
}

/// For plain HTTP.
fn no_trust() -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has what these versions need")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth()
}

/// A URL that has nothing behind its host and port.
fn base(url: &str, scheme: &str) -> Result<Url, InvalidClient> {
    let url = Url::parse(url).map_err(|_| InvalidClient::Url)?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let nobody = url.username().is_empty() && url.password().is_none();
    let fits = bare && nobody && url.scheme() == scheme;
    fits.then_some(url).ok_or(InvalidClient::Url)
}

fn without_slash(url: &str) -> String {
    url.trim_end_matches('/').to_owned()
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
    ) -> Result<Response, Error> {
        let mut url = self.client.base.clone();
        let (path, query) = match path.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (path, None),
        };
        url.set_path(path);
        url.set_query(query);
        let request = self.client.http.request(method, url);
        let mut request = request.header(header::CONNECTION, "close");
        if let Some(token) = &self.client.token {
            request = request.header(header::AUTHORIZATION, token);
        }
        if let Some(json) = json {
            let typed = request.header(header::CONTENT_TYPE, "application/json");
            request = typed.body(json);
        }
        let answered = request.send().await;
        answered.map_err(|error| self.failed(NO_HTTP, &error))
    }

    async fn piece(self, response: &mut Response) -> Result<Option<Bytes>, Error> {
        let piece = response.chunk().await;
        piece.map_err(|error| self.failed("read the answer", &error))
    }

    async fn whole(self, mut response: Response) -> Result<AdminAnswer, Error> {
        let status = response.status().as_u16();
        let good = response.status().is_success();
        let bytes_max = if good {
            ANSWER_BYTES_MAX
        } else {
            ERROR_BYTES_MAX
        };
        let mut body = Vec::new();
        while let Some(piece) = self.piece(&mut response).await? {
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
            body.extend_from_slice(&piece);
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

    async fn within<T>(self, step: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let result = tokio::time::timeout(self.timeout, step).await;
        result.unwrap_or_else(|_| {
            Err(Error::Timeout {
                address: self.client.address.clone(),
                timeout: self.timeout,
            })
        })
    }

    fn io(self, step: &'static str) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io {
            address: self.client.address.clone(),
            step,
            source,
        }
    }

    /// What happened below the layers of the HTTP client, whose texts say where they are only.
    fn failed(self, step: &'static str, error: &reqwest::Error) -> Error {
        let whole: &(dyn StdError + 'static) = error;
        let layers = iter::successors(Some(whole), |error| (*error).source());
        // An error of TCP stands in one layer more.
        let mut third = layers.clone().skip(2);
        let tls = self.client.base.scheme() == "https" && third.next().is_some_and(is_io);
        let step = match (error.is_connect(), tls) {
            (false, _) => step,
            (true, false) => "connect",
            (true, true) => "agree on TLS",
        };
        let causes = layers.skip_while(|error| !is_io(*error) && !error.is::<hyper::Error>());
        let causes: Vec<String> = causes.map(ToString::to_string).collect();
        self.io(step)(io::Error::other(causes.join(": ")))
    }

    fn malformed(self, reason: String) -> Error {
        Error::Malformed {
            address: self.client.address.clone(),
            reason,
        }
    }
}

fn is_io(error: &(dyn StdError + 'static)) -> bool {
    error.is::<io::Error>()
}
