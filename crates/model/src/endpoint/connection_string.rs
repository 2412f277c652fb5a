//! Connection strings of Event Hubs and Service Bus.

use crate::clock::Timestamp;
use crate::pasted::{self, InvisibleCharacter};
use crate::sas;
use crate::secret::Secret;
use crate::words;
use std::sync::Arc;

/// A connection string, read. Cheap to clone.
///
/// `Debug` shows the host, the entity and the key's name; never the key.
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectionString(Arc<ConnectionStringParts>);

#[derive(Debug, PartialEq, Eq)]
struct ConnectionStringParts {
    host: String,
    port: Option<u16>,
    entity_path: String,
    credential: ConnectionCredential,
    development_emulator: bool,
}

/// What a connection string proves itself with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectionCredential {
    /// A shared access policy and its key.
    Key {
        /// `SharedAccessKeyName`.
        name: String,
        /// `SharedAccessKey`, used as its UTF-8 text.
        key: Secret,
    },
    /// A ready-made `SharedAccessSignature`; it cannot be renewed.
    Signature(Secret),
}

/// Why a connection string was refused; names the key, never the value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidConnectionString {
    /// It is what a read API shows in place of the secret.
    #[error("is a mask, as read APIs show it; put the real connection string here")]
    Masked,
    /// A character that nobody sees is in it.
    #[error(transparent)]
    Invisible(#[from] InvisibleCharacter),
    /// A part has no `=`.
    #[error("part {part} has no `=`; the form is `Key=value;Key=value`")]
    NotAPair {
        /// Counted from 1.
        part: usize,
    },
    /// A keyword is a few letters off one that is not there.
    #[error("`{given}` is not known; did you mean `{near}`?")]
    Misspelt {
        /// As it was given: near enough to `near` to hold nothing else.
        given: String,
        /// The keyword.
        near: &'static str,
    },
    /// A required key is absent.
    #[error("`{key}` is missing{hint}")]
    Missing {
        /// The key.
        key: &'static str,
        /// What to do about it.
        hint: &'static str,
    },
    /// `Endpoint` is not `sb://host[:port]`.
    #[error("`Endpoint` must be `sb://<host>[:<port>]/`")]
    Endpoint,
    /// Key and signature stand side by side, or only half of a key.
    #[error("give either `SharedAccessKeyName` with `SharedAccessKey`, or `SharedAccessSignature`")]
    Credential,
}

impl ConnectionString {
    /// Reads a connection string that names its entity.
    ///
    /// Keys ignore case, each part is split at its first `=`, unknown keys are skipped, and
    /// `UseDevelopmentEmulator` counts only as exactly `true`: all as Azure's own clients do. Unlike there, a
    /// keyword that is a few letters off one that is not there is refused: the error that followed would be
    /// about something else.
    ///
    /// # Errors
    /// The first thing that is wrong; the text holds no secret.
    pub fn parse(text: &Secret) -> Result<Self, InvalidConnectionString> {
        use InvalidConnectionString as Error;
        if text.is_masked() {
            return Err(Error::Masked);
        }
        let text = pasted::clean(text.expose());
        pasted::check(text)?;
        let mut endpoint = None;
        let mut key_name = None;
        let mut key = None;
        let mut signature = None;
        let mut entity_path = None;
        let mut development_emulator = false;
        let parts = text.split(';').map(str::trim);
        for (index, part) in parts.enumerate().filter(|(_, part)| !part.is_empty()) {
            let (name, value) = part
                .split_once('=')
                .ok_or(Error::NotAPair { part: index + 1 })?;
            match name.trim().to_ascii_lowercase().as_str() {
                "endpoint" => endpoint = Some(value.trim()),
                "sharedaccesskeyname" => key_name = Some(value.to_owned()),
                "sharedaccesskey" => key = Some(Secret::new(value)),
                "sharedaccesssignature" => signature = Some(Secret::new(value)),
                "entitypath" => entity_path = Some(value.trim()),
                "usedevelopmentemulator" => development_emulator = value == "true",
                _ => {}
            }
        }
        // Before what is missing: a misspelt keyword is why.
        if let Some(misspelt) = misspelt(text) {
            return Err(misspelt);
        }
        let missing = |key, hint| Error::Missing { key, hint };
        let (host, port) = authority(endpoint.ok_or(missing("Endpoint", ""))?)?;
        let credential = match (key_name, key, signature) {
            (Some(name), Some(key), None) if !key.expose().is_empty() => {
                ConnectionCredential::Key { name, key }
            }
            (None, None, Some(signature)) => ConnectionCredential::Signature(signature),
            (None, None, None) => return Err(missing("SharedAccessKeyName", "")),
            _ => return Err(Error::Credential),
        };
        const HINT: &str = "; append `;EntityPath=<event hub or topic>`: \
                            nothing else says where events go";
        let entity_path = entity_path
            .filter(|path| !path.is_empty())
            .ok_or(missing("EntityPath", HINT))?
            .to_owned();
        Ok(Self(Arc::new(ConnectionStringParts {
            host,
            port,
            entity_path,
            credential,
            development_emulator,
        })))
    }

    /// Host of the namespace.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.0.host
    }

    /// Port, where the string names one.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.0.port
    }

    /// The event hub, topic or queue.
    #[must_use]
    pub fn entity_path(&self) -> &str {
        &self.0.entity_path
    }

    /// What to authenticate with.
    #[must_use]
    pub fn credential(&self) -> &ConnectionCredential {
        &self.0.credential
    }

    /// When its credential ends: that of a ready-made signature, where it can be read. A key does not end.
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        match &self.0.credential {
            ConnectionCredential::Signature(signature) => {
                sas::service_bus_expiry(signature.expose())
            }
            ConnectionCredential::Key { .. } => None,
        }
    }

    /// Whether it is for a development emulator: plain TCP, port 5672 unless named.
    #[must_use]
    pub fn development_emulator(&self) -> bool {
        self.0.development_emulator
    }
}

impl std::fmt::Debug for ConnectionString {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(formatter)
    }
}

/// What a connection string is made of.
const KEYWORDS: [&str; 6] = [
    "Endpoint",
    "SharedAccessKeyName",
    "SharedAccessKey",
    "SharedAccessSignature",
    "EntityPath",
    "UseDevelopmentEmulator",
];

/// Keywords of old clients, which mean nothing here.
const OLD_KEYWORDS: [&str; 12] = [
    "ManagementPort",
    "OAuthDomain",
    "OAuthPassword",
    "OAuthUsername",
    "OperationTimeout",
    "RuntimePort",
    "SharedSecretIssuer",
    "SharedSecretValue",
    "StsEndpoint",
    "TransportType",
    "WindowsDomain",
    "WindowsUsername",
];

/// The first keyword that is meant for another one, which is not there.
fn misspelt(text: &str) -> Option<InvalidConnectionString> {
    let parts = text.split(';').filter_map(|part| part.split_once('='));
    let given: Vec<&str> = parts.map(|(name, _)| name.trim()).collect();
    let is = |name: &str, known: &str| name.eq_ignore_ascii_case(known);
    let absent = KEYWORDS
        .into_iter()
        .filter(|known| !given.iter().any(|name| is(name, known)));
    let absent: Vec<&'static str> = absent.collect();
    let known = KEYWORDS.iter().chain(&OLD_KEYWORDS);
    let mut unknown = given
        .iter()
        .filter(|name| !known.clone().any(|known| is(name, known)));
    unknown.find_map(|name| {
        let near = words::nearest(name, absent.iter().copied())?;
        let near = absent.iter().copied().find(|known| *known == near)?;
        Some(InvalidConnectionString::Misspelt {
            given: (*name).to_owned(),
            near,
        })
    })
}

/// Host and port of a namespace's address, `sb://<host>[:<port>]/`.
///
/// # Errors
/// [`InvalidConnectionString::Endpoint`].
pub fn authority(endpoint: &str) -> Result<(String, Option<u16>), InvalidConnectionString> {
    let refuse = InvalidConnectionString::Endpoint;
    let (scheme, rest) = endpoint.split_once("://").ok_or(refuse.clone())?;
    let authority = rest.split('/').next().unwrap_or_default();
    if !scheme.eq_ignore_ascii_case("sb") || authority.is_empty() || authority.contains('@') {
        return Err(refuse);
    }
    // An IPv6 address stands in brackets, so its colons are not a port's.
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => {
            (host, Some(port.parse().map_err(|_| refuse.clone())?))
        }
        _ => (authority, None),
    };
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    if host.is_empty() || !host.bytes().all(legal) {
        return Err(refuse);
    }
    Ok((host.to_owned(), port))
}
