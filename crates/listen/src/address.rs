//! Where a server listens: `127.0.0.1:8080`, `[::1]:8080` or `unix:/run/twinroute.sock`.

use serde::{Deserialize, Deserializer};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use twinroute_model::pasted;

/// The address of a listening socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// An IP address and a port; port 0 lets the system choose one.
    Tcp(SocketAddr),
    /// The path of a unix socket.
    Unix(PathBuf),
}

/// A text that is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "address {text:?}: must be an IP address with a port, such as 127.0.0.1:8080 or [::]:8080, \
     or unix: with an absolute path, such as unix:/run/twinroute.sock"
)]
pub struct InvalidAddress {
    text: String,
}

impl ListenAddress {
    /// Whether only this machine can reach it.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

impl FromStr for ListenAddress {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let text = pasted::clean(text);
        let parsed = match text.strip_prefix("unix:") {
            Some(path) if path.starts_with('/') => Some(Self::Unix(path.into())),
            Some(_) => None,
            None => text.parse().ok().map(Self::Tcp),
        };
        parsed.ok_or_else(|| InvalidAddress {
            text: text.to_owned(),
        })
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(formatter),
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
        }
    }
}

impl<'de> Deserialize<'de> for ListenAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_shown() {
        for (text, local) in [
            ("127.0.0.1:8080", true),
            ("[::1]:0", true),
            ("[::ffff:127.0.0.1]:1", true),
            ("0.0.0.0:80", false),
            ("[::]:80", false),
            ("unix:/run/twinroute.sock", true),
        ] {
            let address: ListenAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
            assert_eq!(address.is_local(), local, "{text}");
        }
        for text in ["", "8080", "localhost:8080", "unix:relative", "127.0.0.1"] {
            assert!(text.parse::<ListenAddress>().is_err(), "{text}");
        }
        for text in [
            " 127.0.0.1:80\n",
            "\u{feff}127.0.0.1:80",
            "\"127.0.0.1:80\"\r\n",
        ] {
            let address: ListenAddress = text.parse().unwrap();
            assert_eq!(
                address.to_string(),
                "127.0.0.1:80",
                "text-hygiene: {text:?}"
            );
        }
        let error = "localhost:80"
            .parse::<ListenAddress>()
            .unwrap_err()
            .to_string();
        expect_test::expect![[r#"address "localhost:80": must be an IP address with a port, such as 127.0.0.1:8080 or [::]:8080, or unix: with an absolute path, such as unix:/run/twinroute.sock"#]]
        .assert_eq(&error);
    }
}
