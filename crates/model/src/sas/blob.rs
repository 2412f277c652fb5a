//! Shared access signatures of Blob Storage: made for a container, read from a query, checked.
//!
//! Source: Azure Storage REST API, "Create a service SAS" and "Create an account SAS". What is signed
//! depends on the version the signature names (`sv`): 2018-11-09 brought the signed resource and the
//! snapshot time, 2020-12-06 the encryption scope. The key is used decoded from base64. User delegation
//! signatures, stored access policies and versions before 2018-11-09 are not read.

use super::BASE64;
use crate::clock::Timestamp;
use crate::secret::Secret;
use crate::uri::RESERVED;
use base64::Engine as _;
use percent_encoding::{percent_decode_str, utf8_percent_encode};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

/// The oldest version whose signatures are read.
const OLDEST: &str = "2018-11-09";
/// From this version on the encryption scope is signed.
const WITH_SCOPE: &str = "2020-12-06";
/// The version that signatures are made with.
const MADE: &str = "2021-08-06";
/// The order that permissions are written in; the service refuses others.
const ORDER: &str = "racwdxyltfmeopi";
/// Longest query that is read, in bytes.
const QUERY_BYTES_MAX: usize = 8 * 1024;

/// Why a signature was not made or not accepted. The texts are safe to send to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlobSasRefusal {
    /// A field is missing or not in its published form.
    #[error("the field `{0}` of the shared access signature is missing or malformed")]
    Malformed(&'static str),
    /// The account key is not base64.
    #[error("the account key is not base64")]
    Key,
    /// It begins later.
    #[error("the shared access signature is not valid yet")]
    NotYetValid,
    /// Its expiry lies in the past.
    #[error("the shared access signature has expired")]
    Expired,
    /// It was signed with another key or for something else.
    #[error("the shared access signature does not match")]
    Mismatch,
}

/// What a signature was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlobSasScope {
    /// A container and the blobs in it (`sr=c`).
    Container,
    /// One blob (`sr=b`).
    Blob,
    /// Whatever services (`ss`) and resource types (`srt`) of the account are named.
    Account,
}

/// A signature as it stands in the query of a URL; not yet checked.
#[derive(Clone, PartialEq, Eq)]
pub struct BlobSas {
    scope: BlobSasScope,
    start: Option<Timestamp>,
    expiry: Timestamp,
    fields: Vec<(String, String)>,
    signature: Vec<u8>,
}

impl BlobSas {
    /// Reads a query without its question mark; `None` when there is no signature in it. No form: a `+` stays one, since
    /// signatures are base64.
    ///
    /// # Errors
    /// [`BlobSasRefusal::Malformed`] with the name of the field.
    pub fn parse(query: &str) -> Result<Option<Self>, BlobSasRefusal> {
        if query.len() > QUERY_BYTES_MAX {
            return Err(BlobSasRefusal::Malformed("sig"));
        }
        let mut fields = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = percent_decode_str(value).decode_utf8();
            let value = value.map_err(|_| BlobSasRefusal::Malformed("sig"))?;
            fields.push((name.to_ascii_lowercase(), value.into_owned()));
        }
        let Some(signature) = find(&fields, "sig") else {
            return Ok(None);
        };
        let signature = BASE64.decode(signature);
        let signature = signature.map_err(|_| BlobSasRefusal::Malformed("sig"))?;
        let version = find(&fields, "sv").filter(|version| is_version(version));
        if version.is_none_or(|version| version < OLDEST) {
            return Err(BlobSasRefusal::Malformed("sv"));
        }
        let scope = match (find(&fields, "sr"), find(&fields, "ss")) {
            (Some("c"), None) => BlobSasScope::Container,
            (Some("b"), None) => BlobSasScope::Blob,
            (None, Some(_)) => BlobSasScope::Account,
            _ => return Err(BlobSasRefusal::Malformed("sr")),
        };
        if find(&fields, "sp").is_none() {
            return Err(BlobSasRefusal::Malformed("sp"));
        }
        let start = match find(&fields, "st") {
            Some(text) => Some(moment(text).ok_or(BlobSasRefusal::Malformed("st"))?),
            None => None,
        };
        let expiry = find(&fields, "se").and_then(moment);
        Ok(Some(Self {
            scope,
            start,
            expiry: expiry.ok_or(BlobSasRefusal::Malformed("se"))?,
            fields,
            signature,
        }))
    }

    /// What it was made for.
    #[must_use]
    pub fn scope(&self) -> BlobSasScope {
        self.scope
    }

    /// When it begins, if it says so.
    #[must_use]
    pub fn start(&self) -> Option<Timestamp> {
        self.start
    }

    /// When it ends.
    #[must_use]
    pub fn expiry(&self) -> Timestamp {
        self.expiry
    }

    /// Whether it has this permission (`sp`), such as `w`.
    #[must_use]
    pub fn permits(&self, permission: char) -> bool {
        self.field("sp").contains(permission)
    }

    /// A field by its name in the query, decoded; empty when it is missing.
    #[must_use]
    pub fn field(&self, name: &str) -> &str {
        find(&self.fields, name).unwrap_or_default()
    }

    /// Checks times and signature for a container, or for a blob in it.
    ///
    /// Permissions, protocol and addresses are the caller's to check.
    ///
    /// # Errors
    /// [`BlobSasRefusal::NotYetValid`], [`BlobSasRefusal::Expired`], [`BlobSasRefusal::Mismatch`], or [`BlobSasRefusal::Key`].
    pub fn verify(
        &self,
        account: &str,
        key: &Secret,
        container: &str,
        blob: Option<&str>,
        now: Timestamp,
    ) -> Result<(), BlobSasRefusal> {
        let signed = self.string_to_sign(account, container, blob);
        check(key, &signed, &self.signature)?;
        if self.start.is_some_and(|start| now < start) {
            return Err(BlobSasRefusal::NotYetValid);
        }
        if self.expiry <= now {
            return Err(BlobSasRefusal::Expired);
        }
        Ok(())
    }

    /// What the signature must have been made over; it holds no secret.
    #[must_use]
    pub fn string_to_sign(&self, account: &str, container: &str, blob: Option<&str>) -> String {
        let scoped = self.field("sv") >= WITH_SCOPE;
        let resource = match (self.scope, blob) {
            (BlobSasScope::Blob, Some(blob)) => format!("/blob/{account}/{container}/{blob}"),
            _ => format!("/blob/{account}/{container}"),
        };
        let mut lines = Vec::new();
        if self.scope == BlobSasScope::Account {
            lines.push(account);
            let names = ["sp", "ss", "srt", "st", "se", "sip", "spr", "sv"];
            lines.extend(names.map(|name| self.field(name)));
            lines.extend(scoped.then(|| self.field("ses")));
            // An empty last line: what is signed ends with a line feed.
            lines.push("");
            return lines.join("\n");
        }
        lines.extend(["sp", "st", "se"].map(|name| self.field(name)));
        lines.push(&resource);
        let names = ["si", "sip", "spr", "sv", "sr", "snapshot"];
        lines.extend(names.map(|name| self.field(name)));
        lines.extend(scoped.then(|| self.field("ses")));
        lines.extend(["rscc", "rscd", "rsce", "rscl", "rsct"].map(|name| self.field(name)));
        lines.join("\n")
    }
}

impl std::fmt::Debug for BlobSas {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("BlobSas")
            .field("scope", &self.scope)
            .field("permissions", &self.field("sp"))
            .field("start", &self.start)
            .field("expiry", &self.expiry)
            .finish_non_exhaustive()
    }
}

/// A signature (`sr=c`) for a container and the blobs in it, as the query of its URL.
///
/// `permissions` are letters such as `rcwl`, in any order. Times are written in whole seconds.
///
/// # Errors
/// [`BlobSasRefusal::Malformed`] for a permission that does not exist or a time that cannot be written,
/// [`BlobSasRefusal::Key`] when the account key is not base64.
pub fn container_sas(
    account: &str,
    key: &Secret,
    container: &str,
    permissions: &str,
    start: Option<Timestamp>,
    expiry: Timestamp,
) -> Result<Secret, BlobSasRefusal> {
    if permissions.is_empty() || permissions.chars().any(|letter| !ORDER.contains(letter)) {
        return Err(BlobSasRefusal::Malformed("sp"));
    }
    let in_order = ORDER.chars().filter(|letter| permissions.contains(*letter));
    let mut fields = vec![("sp".to_owned(), in_order.collect::<String>())];
    if let Some(start) = start {
        fields.push(("st".to_owned(), written(start, "st")?));
    }
    fields.push(("se".to_owned(), written(expiry, "se")?));
    fields.push(("sv".to_owned(), MADE.to_owned()));
    fields.push(("sr".to_owned(), "c".to_owned()));
    let unsigned = BlobSas {
        scope: BlobSasScope::Container,
        start,
        expiry,
        fields,
        signature: Vec::new(),
    };
    let key = decoded(key)?;
    let signature = super::sign(&key, &unsigned.string_to_sign(account, container, None));
    let mut query = String::new();
    for (name, value) in &unsigned.fields {
        query.push_str(&format!("{name}={}&", utf8_percent_encode(value, RESERVED)));
    }
    let signature = BASE64.encode(signature);
    query.push_str(&format!(
        "sig={}",
        utf8_percent_encode(&signature, RESERVED)
    ));
    Ok(Secret::new(query))
}

/// Checks the signature of an `Authorization: SharedKey <account>:<signature>` header.
///
/// # Errors
/// [`BlobSasRefusal::Mismatch`], [`BlobSasRefusal::Malformed`] when the signature is not base64, or [`BlobSasRefusal::Key`].
pub fn verify_shared_key(
    key: &Secret,
    string_to_sign: &str,
    signature: &str,
) -> Result<(), BlobSasRefusal> {
    let signature = BASE64.decode(signature);
    let signature = signature.map_err(|_| BlobSasRefusal::Malformed("sig"))?;
    check(key, string_to_sign, &signature)
}

fn check(key: &Secret, text: &str, signature: &[u8]) -> Result<(), BlobSasRefusal> {
    super::check(&decoded(key)?, text, signature).map_err(|_| BlobSasRefusal::Mismatch)
}

fn decoded(key: &Secret) -> Result<Vec<u8>, BlobSasRefusal> {
    BASE64.decode(key.expose()).map_err(|_| BlobSasRefusal::Key)
}

fn find<'a>(fields: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let found = fields.iter().find(|(known, _)| known == name);
    found.map(|(_, value)| value.as_str())
}

/// Whether the text is a date such as 2021-08-06, so that versions compare as text.
fn is_version(text: &str) -> bool {
    let shape = |byte: u8| if byte.is_ascii_digit() { b'0' } else { byte };
    text.bytes().map(shape).eq(*b"0000-00-00")
}

/// "Create a service SAS", "Specify the signature validity interval": a date, or a date with minutes,
/// seconds or fractions of them, always in UTC.
fn moment(text: &str) -> Option<Timestamp> {
    let whole = match text.len() {
        10 => format!("{text}T00:00:00Z"),
        17 => format!("{}:00Z", text.strip_suffix('Z')?),
        _ => text.to_owned(),
    };
    let moment = OffsetDateTime::parse(&whole, &Rfc3339).ok()?;
    let millis = moment.unix_timestamp_nanos() / 1_000_000;
    i64::try_from(millis).ok().map(Timestamp::from_unix_millis)
}

fn written(moment: Timestamp, field: &'static str) -> Result<String, BlobSasRefusal> {
    let layout = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    let moment = OffsetDateTime::from_unix_timestamp(moment.unix_seconds()).ok();
    moment
        .and_then(|moment| moment.format(layout).ok())
        .filter(|text| text.len() == 20)
        .ok_or(BlobSasRefusal::Malformed(field))
}

#[cfg(test)]
#[path = "blob_tests.rs"]
mod tests;
