//! The address of a server that a command asks: one reader for every option and variable that names one.

use super::client_certificate::ServerScheme;
use reqwest::Url;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use twinroute_admin::client::{AdminClient, InvalidClient};
use twinroute_listen::ListenAddress;
use twinroute_model::pasted;

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ServerAddress {
    /// `http://` or `https://` with a host, perhaps a port, and perhaps a path.
    Url(Url),
    /// The path of a unix socket.
    Unix(PathBuf),
}

/// What is no address. The text is not repeated: a password may stand in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InvalidServerAddress {
    Form,
    NoPort,
    Credentials,
    RelativePath,
}

impl FromStr for ServerAddress {
    type Err = InvalidServerAddress;

    fn from_str(text: &str) -> Result<Self, InvalidServerAddress> {
        let text = pasted::clean(text);
        if let Some(path) = text.strip_prefix("unix:") {
            // `unix:///run/x.sock` is as common as `unix:/run/x.sock`.
            let path = path.strip_prefix("//").unwrap_or(path);
            if !path.starts_with('/') || path.contains('\0') {
                return Err(InvalidServerAddress::RelativePath);
            }
            return Ok(Self::Unix(path.into()));
        }
        let url = if text.contains("://") {
            Url::parse(text)
        } else {
            if !has_port(text) {
                return Err(InvalidServerAddress::NoPort);
            }
            Url::parse(&format!("http://{text}"))
        };
        let url = url.map_err(|_| InvalidServerAddress::Form)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(InvalidServerAddress::Credentials);
        }
        let fits = matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.query().is_none()
            && url.fragment().is_none();
        match fits {
            true => Ok(Self::Url(url)),
            false => Err(InvalidServerAddress::Form),
        }
    }
}

/// Whether a port stands behind the host: `[::1]:8081`, `localhost:8081`, `localhost:8081/`.
fn has_port(text: &str) -> bool {
    let authority = text.split('/').next().unwrap_or_default();
    let port = authority.rsplit_once(':').map(|(_, port)| port);
    port.is_some_and(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
}

impl ServerAddress {
    pub(super) fn wire(&self) -> ServerScheme {
        match self {
            Self::Url(url) if url.scheme() == "https" => ServerScheme::Tls,
            Self::Url(_) | Self::Unix(_) => ServerScheme::Plain,
        }
    }

    /// A client that asks in plain HTTP.
    ///
    /// # Errors
    /// When it is an `https://` URL, or has a path.
    pub(super) fn plain_client(&self) -> Result<AdminClient, InvalidClient> {
        match self {
            Self::Url(url) => AdminClient::http(url.as_str()),
            Self::Unix(path) => Ok(AdminClient::plain(ListenAddress::Unix(path.clone()))),
        }
    }

    /// The URL to ask; over a socket the host is of no meaning.
    pub(super) fn url(&self) -> String {
        match self {
            Self::Url(url) => url.as_str().trim_end_matches('/').to_owned(),
            Self::Unix(_) => "http://localhost".to_owned(),
        }
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(_) => formatter.write_str(&self.url()),
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
        }
    }
}

impl fmt::Display for InvalidServerAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Form => {
                "must be a host and a port (localhost:8081), http:// or https:// with them, or unix: with an \
                 absolute path (unix:/run/twinroute-admin.sock)"
            }
            Self::NoPort => {
                "has no port: write it as localhost:8081, http://localhost:8081, \
                 https://router.example:8443 or unix:/run/twinroute-admin.sock"
            }
            Self::Credentials => {
                "must not hold a user or a password: give a token by its own option"
            }
            Self::RelativePath => {
                "must name the socket with an absolute path: unix:/run/twinroute-admin.sock"
            }
        })
    }
}

impl std::error::Error for InvalidServerAddress {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admin_address_is_read_in_each_usual_form() {
        for (text, expect) in [
            ("localhost:8081", "http://localhost:8081"),
            (" 127.0.0.1:8081\n", "http://127.0.0.1:8081"),
            ("\"127.0.0.1:8081\"\r\n", "http://127.0.0.1:8081"),
            ("\u{feff}127.0.0.1:8081\u{a0}", "http://127.0.0.1:8081"),
            ("http://127.0.0.1:8081", "http://127.0.0.1:8081"),
            ("http://127.0.0.1:8081/", "http://127.0.0.1:8081"),
            ("HTTP://LOCALHOST:8081", "http://localhost:8081"),
            ("[::1]:8081", "http://[::1]:8081"),
            ("router:80", "http://router"),
            ("https://router.example:8443", "https://router.example:8443"),
            ("https://router.example", "https://router.example"),
            ("unix:/run/t.sock", "unix:/run/t.sock"),
            ("unix:///run/t.sock", "unix:/run/t.sock"),
        ] {
            let read: Result<ServerAddress, _> = text.parse();
            assert_eq!(read.unwrap().to_string(), expect, "{text}");
        }
    }

    #[test]
    fn admin_address_that_is_none_is_refused_with_the_way_out() {
        use InvalidServerAddress::{Credentials, Form, NoPort, RelativePath};
        for (text, expect) in [
            ("", NoPort),
            ("8081", NoPort),
            ("localhost", NoPort),
            ("::1", Form),
            ("ftp://localhost:1", Form),
            ("http://", Form),
            ("http://localhost:8081/?x=1", Form),
            ("localhost:99999", Form),
            ("http://me:secret@localhost:8081", Credentials),
            ("unix:run/t.sock", RelativePath),
        ] {
            let read: Result<ServerAddress, _> = text.parse();
            assert_eq!(read.unwrap_err(), expect, "{text}");
        }
    }
}
