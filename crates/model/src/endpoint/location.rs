//! The container that an endpoint's dead letters go to, read from `deadLetterSecret` or `deadLetterUri`.
//!
//! Two forms are known: `https://<account>.blob.core.windows.net/<container>` and, where the host is an
//! address or `localhost` as with storage emulators, `http://127.0.0.1:<port>/<account>/<container>`.
//! Source: Azure Storage "Naming and referencing containers, blobs, and metadata"; "Use the Azurite
//! emulator", IP-style URLs.

use super::DeadLetterDestination;
use crate::pasted::{self, InvisibleCharacter};
use crate::sas::storage::{SasMalformed, StorageSas};
use crate::secret::Secret;
use std::net::IpAddr;

/// Why a location cannot be used. The texts hold nothing of the URL, which may hold a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocationProblem {
    /// Not `https`, and not `http` to this machine.
    #[error("must begin with https://; http:// is for an emulator on this machine only")]
    Scheme,
    /// No host, a port that is none, a user, a fragment, or characters that no URL has.
    #[error("is not a URL: https://<account>.blob.core.windows.net/<container>")]
    NotUrl,
    /// The account's host for another service.
    #[error(
        "is of the account's `{0}` service; dead letters are blobs: https://<account>.blob.core.windows.net/<container>"
    )]
    Service(&'static str),
    /// The path ends before the container.
    #[error(
        "names no container: https://<account>.blob.core.windows.net/<container>, or \
         http://127.0.0.1:<port>/<account>/<container> for an emulator"
    )]
    NoContainer,
    /// The path goes on behind the container.
    #[error("names more than a container; leave out what follows the container's name")]
    TooDeep,
    /// A container's name breaks Azure's rule.
    #[error(
        "the container's name must have 3 to 63 lower-case letters, digits and single hyphens \
         between them"
    )]
    ContainerName,
    /// `deadLetterSecret` without a query.
    #[error("has no SAS token; append it: ?<sas>")]
    NoToken,
    /// `deadLetterUri` with a query.
    #[error("must have no token; a URL with one goes into `deadLetterSecret`")]
    Token,
    /// It asks something of the container, such as to be listed.
    #[error(
        "is the URL of a request about the container, not of the container: take `{0}` out of its query"
    )]
    Operation(&'static str),
    /// A character that nobody sees is in it.
    #[error(transparent)]
    Invisible(#[from] InvisibleCharacter),
    /// The SAS token is not complete.
    #[error(transparent)]
    Sas(#[from] SasMalformed),
    /// The SAS token is for one blob or directory.
    #[error("the SAS token is not for a container (`sr=c`) nor for the account's blobs (`ss=b`)")]
    Narrower,
}

/// A container and how it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerLocation {
    container_url: String,
    container_at: usize,
    access: ContainerAccess,
}

/// What opens a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContainerAccess {
    /// A shared access signature.
    Sas {
        /// What it allows.
        sas: StorageSas,
        /// The query of the URL, without its `?`.
        token: Secret,
    },
    /// A token of the endpoint's identity.
    Identity,
}

impl ContainerLocation {
    /// Reads what an endpoint's definition says.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn of(dead_letter: &DeadLetterDestination) -> Result<Self, LocationProblem> {
        match dead_letter {
            DeadLetterDestination::Sas(uri) => Self::from_secret(uri),
            DeadLetterDestination::Identity(uri) => Self::from_uri(uri),
        }
    }

    /// Reads a `deadLetterSecret`: a container's URL with its SAS token.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn from_secret(uri: &Secret) -> Result<Self, LocationProblem> {
        let uri = pasted::clean(uri.expose());
        pasted::check(uri)?;
        let (url, token) = uri.split_once('?').unwrap_or((uri, ""));
        let (container_url, container_at) = container(url)?;
        if token.is_empty() {
            return Err(LocationProblem::NoToken);
        }
        if !token.bytes().all(in_url) || token.contains('#') {
            return Err(LocationProblem::NotUrl);
        }
        if let Some(operation) = operation(token) {
            return Err(LocationProblem::Operation(operation));
        }
        let sas = StorageSas::parse(token)?;
        if sas.is_narrower_than_a_container() {
            return Err(LocationProblem::Narrower);
        }
        Ok(Self {
            container_url,
            container_at,
            access: ContainerAccess::Sas {
                sas,
                token: token.into(),
            },
        })
    }

    /// Reads a `deadLetterUri`: a container's URL alone.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn from_uri(uri: &str) -> Result<Self, LocationProblem> {
        let uri = pasted::clean(uri);
        pasted::check(uri)?;
        if uri.contains('?') {
            return Err(LocationProblem::Token);
        }
        let (container_url, container_at) = container(uri)?;
        Ok(Self {
            container_url,
            container_at,
            access: ContainerAccess::Identity,
        })
    }

    /// The container's URL without any token and without a slash at its end.
    #[must_use]
    pub fn container_url(&self) -> &str {
        &self.container_url
    }

    /// The container's name.
    #[must_use]
    pub fn container(&self) -> &str {
        &self.container_url[self.container_at..]
    }

    /// What opens it.
    #[must_use]
    pub fn access(&self) -> &ContainerAccess {
        &self.access
    }

    /// The shared access signature, where there is one.
    #[must_use]
    pub fn sas(&self) -> Option<&StorageSas> {
        match &self.access {
            ContainerAccess::Sas { sas, .. } => Some(sas),
            ContainerAccess::Identity => None,
        }
    }

    /// Whether dead letters can be written, as far as the location itself says.
    #[must_use]
    pub fn writable(&self) -> bool {
        self.sas().is_none_or(StorageSas::writable)
    }

    /// Whether the container can be listed, as far as the location itself says.
    #[must_use]
    pub fn listable(&self) -> bool {
        self.sas().is_none_or(StorageSas::listable)
    }

    /// Whether its blobs can be read, as far as the location itself says.
    #[must_use]
    pub fn readable(&self) -> bool {
        self.sas().is_none_or(StorageSas::readable)
    }
}

/// The parameter of a query that makes it a request of its own: no blob can be put with it.
///
/// Source: Azure Storage REST API, "Operations on containers" and "Operations on blobs", URI parameters. All of them
/// are reserved: no SAS token has one.
fn operation(query: &str) -> Option<&'static str> {
    const NAMES: [&str; 12] = [
        "restype",
        "comp",
        "prefix",
        "delimiter",
        "marker",
        "maxresults",
        "include",
        "where",
        "snapshot",
        "versionid",
        "blockid",
        "timeout",
    ];
    let mut names = query
        .split('&')
        .map(|pair| pair.split('=').next().unwrap_or_default());
    names.find_map(|name| {
        let mut known = NAMES.into_iter();
        known.find(|known| known.eq_ignore_ascii_case(name))
    })
}

/// The container's URL, tidied, and where in it the container's name begins.
fn container(url: &str) -> Result<(String, usize), LocationProblem> {
    let (scheme, rest) = scheme(url).ok_or(LocationProblem::Scheme)?;
    let plain = scheme == "http";
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = host(authority).ok_or(LocationProblem::NotUrl)?;
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>().ok();
    let local = host.eq_ignore_ascii_case("localhost");
    if plain && !local && !address.is_some_and(|address| address.is_loopback()) {
        return Err(LocationProblem::Scheme);
    }
    if let Some(service) = other_service(host) {
        return Err(LocationProblem::Service(service));
    }
    if !path.bytes().all(in_url) || path.contains('#') {
        return Err(LocationProblem::NotUrl);
    }
    let path = path.strip_suffix('/').unwrap_or(path);
    // A host that is no domain cannot name the account, so the path does.
    let account_in_path = address.is_some() || local;
    let mut segments = path.split('/');
    if account_in_path && segments.next().is_none_or(str::is_empty) {
        return Err(LocationProblem::NoContainer);
    }
    let name = segments.next().unwrap_or_default();
    if name.is_empty() {
        return Err(LocationProblem::NoContainer);
    }
    if segments.next().is_some() {
        return Err(LocationProblem::TooDeep);
    }
    if !is_container_name(name) {
        return Err(LocationProblem::ContainerName);
    }
    let url = format!("{scheme}://{authority}/{path}");
    let container_at = url.len() - name.len();
    Ok((url, container_at))
}

/// The parts of a URL before and behind its `://`; nothing but `http` and `https`, in any case (RFC 3986 §3.1).
pub(super) fn scheme(text: &str) -> Option<(&'static str, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    let mut known = ["https", "http"].into_iter();
    let known = known.find(|known| known.eq_ignore_ascii_case(scheme))?;
    Some((known, rest))
}

/// The service that a host of a storage account is for, if that is not Blob.
///
/// Source: Azure Storage "Storage account overview", storage account endpoints:
/// `<account>[.z<number>].<service>.core.windows.net` or `….storage.azure.net`; other clouds end otherwise.
fn other_service(host: &str) -> Option<&'static str> {
    const SERVICES: [&str; 5] = ["queue", "table", "file", "dfs", "web"];
    let host = host.to_ascii_lowercase();
    let mut parts = host.split('.').skip(1);
    let named = |part: &str| SERVICES.into_iter().find(|known| *known == part);
    let service = parts.find_map(named)?;
    let next = parts.next()?;
    matches!(next, "core" | "storage").then_some(service)
}

/// The host of `host[:port]`.
fn host(authority: &str) -> Option<&str> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let end = rest.find(']')? + 2;
            (&authority[..end], authority[end..].strip_prefix(':'))
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let legal = if host.starts_with('[') {
        let after = &authority[host.len()..];
        (after.is_empty() || after.starts_with(':'))
            && host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
    } else {
        !host.is_empty()
            && host
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
    };
    let port_legal = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    (legal && port_legal).then_some(host)
}

/// Azure Storage "Naming and referencing containers, blobs, and metadata", container names.
fn is_container_name(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (3..=63).contains(&name.len())
        && name.bytes().all(legal)
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.contains("--")
}

/// Printable ASCII without what would end a URL in a text.
fn in_url(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"\"<>\\".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TOKEN: &str = "sv=2024-11-04&se=2030-01-01T00:00:00Z&sr=c&sp=w&sig=c2lnbmF0dXJl";

    fn secret(url: &str) -> Result<ContainerLocation, LocationProblem> {
        ContainerLocation::from_secret(&Secret::new(url))
    }

    #[test]
    fn both_forms_are_read() {
        for (url, container_url, container) in [
            (
                "https://contoso.blob.core.windows.net/dead-letters",
                "https://contoso.blob.core.windows.net/dead-letters",
                "dead-letters",
            ),
            (
                "https://contoso.blob.core.usgovcloudapi.net/dead/",
                "https://contoso.blob.core.usgovcloudapi.net/dead",
                "dead",
            ),
            (
                "HTTPS://dead.queue.example/dead",
                "https://dead.queue.example/dead",
                "dead",
            ),
            (
                "http://127.0.0.1:10000/devstoreaccount1/dead",
                "http://127.0.0.1:10000/devstoreaccount1/dead",
                "dead",
            ),
            (
                "http://[::1]:10000/devstoreaccount1/dead",
                "http://[::1]:10000/devstoreaccount1/dead",
                "dead",
            ),
            (
                "http://localhost/devstoreaccount1/dead",
                "http://localhost/devstoreaccount1/dead",
                "dead",
            ),
        ] {
            let location = secret(&format!("{url}?{TOKEN}")).unwrap();
            assert_eq!(location.container_url(), container_url);
            assert_eq!(location.container(), container);
            assert!(location.writable() && !location.readable() && !location.listable());
            let by_identity = ContainerLocation::from_uri(url).unwrap();
            assert_eq!(by_identity.container_url(), container_url);
            assert_eq!(by_identity.access(), &ContainerAccess::Identity);
            assert!(by_identity.writable() && by_identity.readable());
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_the_secret() {
        use LocationProblem::{
            ContainerName, NoContainer, NoToken, NotUrl, Scheme, Service, TooDeep,
        };
        use LocationProblem::{Narrower, Token};
        for (url, expect) in [
            ("", Scheme),
            ("dead", Scheme),
            ("ftp://a/dead", Scheme),
            ("http://contoso.blob.core.windows.net/dead", Scheme),
            ("http://10.0.0.1:10000/account/dead", Scheme),
            ("http://localhost.contoso.com/account/dead", Scheme),
            ("https://", NotUrl),
            ("https:///dead", NotUrl),
            ("https://a:b@host/dead", NotUrl),
            ("https://host:0/dead", NotUrl),
            ("https://host:x/dead", NotUrl),
            ("https://[::1/account/dead", NotUrl),
            ("https://[::1]x/account/dead", NotUrl),
            ("https://host/de ad", NotUrl),
            ("https://host/dead#part", NotUrl),
            ("https://a.queue.core.windows.net/dead", Service("queue")),
            ("https://a.DFS.core.usgovcloudapi.net/dead", Service("dfs")),
            ("https://a.z9.file.storage.azure.net/dead", Service("file")),
            ("https://a.z9.web.core.windows.net/dead", Service("web")),
            ("https://a.blob.core.windows.net", NoContainer),
            ("https://a.blob.core.windows.net/", NoContainer),
            ("http://127.0.0.1:10000/account", NoContainer),
            ("http://127.0.0.1:10000//dead", NoContainer),
            ("https://host/dead/deeper", TooDeep),
            ("https://host/dl", ContainerName),
            ("https://host/Dead", ContainerName),
            ("https://host/dead--letters", ContainerName),
            ("https://host/-dead", ContainerName),
        ] {
            let error = secret(&format!("{url}?{TOKEN}")).unwrap_err();
            assert_eq!(error, expect, "{url}");
            assert!(!error.to_string().contains("c2lnbmF0dXJl"));
        }
        let at = "https://a.blob.core.windows.net/dead";
        for (query, expect) in [
            ("", NoToken),
            ("?", NoToken),
            (
                "?sv=1&sp=w&sr=c&se=2030-01-01",
                SasMalformed::Missing("sig").into(),
            ),
            ("?sv=1&sp=w&sr=b&se=2030-01-01&sig=x", Narrower),
            ("?sv=1&sp=w&ss=q&srt=o&se=2030-01-01&sig=x", Narrower),
            ("?sv=1&sp=w&sr=c&se=2030-01-01&sig=x y", NotUrl),
            ("?sv=1&sp=w&sr=c&se=2030-01-01&sig=x#y", NotUrl),
        ] {
            assert_eq!(secret(&format!("{at}{query}")), Err(expect), "{query}");
        }
        let with_token = format!("{at}?{TOKEN}");
        assert_eq!(ContainerLocation::from_uri(&with_token), Err(Token));
    }

    #[test]
    fn debug_keeps_the_token() {
        let location = secret(&format!("https://host/dead?{TOKEN}")).unwrap();
        assert!(!format!("{location:?}").contains("c2lnbmF0dXJl"));
    }

    proptest! {
        #[test]
        fn no_location_panics(url in "(https?://)?[\\[\\]a-z0-9:@./#?%-]{0,40}(\\?[ -~]{0,40})?") {
            drop(secret(&url));
            drop(ContainerLocation::from_uri(&url));
        }
    }
}
