//! What stands in the log.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Extensions, HeaderMap, header};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use twinroute_listen::ClientCertificate;
use twinroute_listen::ClientPeer;
use twinroute_model::clock::Timestamp;

/// Characters of a text that a caller chose.
const TEXT_CHARS_MAX: usize = 1024;

/// Bytes of JSON that are kept of a resource as it was, and as it is.
const BODY_BYTES_MAX: usize = 128 << 10;

/// Who asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditedCaller {
    /// As the log of the daemon names them too.
    pub name: String,
    /// How that is known.
    pub by: CallerProof,
    /// `sub` of a signed token.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// `iss` of a signed token.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub issuer: String,
    /// The common name of the certificate that the connection showed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub certificate: String,
}

/// How it is known who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CallerProof {
    /// By a token that stands for itself.
    Token,
    /// By a token that an identity provider signed.
    Jwt,
    /// By the certificate of the connection alone.
    Certificate,
    /// Not at all: nobody is asked there.
    Anonymous,
    /// Not at all: the credential was none, or not good.
    Nobody,
    /// A command on the daemon's own files, or a signal to it.
    Command,
}

/// Who asked, from where, of whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeAuthor {
    /// Who.
    pub who: AuditedCaller,
    /// An address and port, `unix` for a unix socket, or `command`.
    pub from: String,
    /// What was asked: `management`, `admin`, `command` or `signal`.
    pub server: &'static str,
    /// The id of the request, which the answer's header `x-ms-request-id` has too.
    pub request: String,
}

impl ChangeAuthor {
    /// The author of a request that came from `peer`. `name` is whom the server's access found, though they may not do
    /// what they ask for; nothing where it cannot tell.
    #[must_use]
    pub fn of_request(
        server: &'static str,
        name: Option<&str>,
        peer: ClientPeer,
        headers: &HeaderMap,
        extensions: &Extensions,
    ) -> Self {
        let certificate = ClientCertificate::of_extensions(extensions);
        let certificate = certificate.and_then(ClientCertificate::name).map(plain);
        let token = name.and_then(|_| signed(headers));
        let presented = headers.contains_key(header::AUTHORIZATION);
        let by = match (name, &token) {
            (None, _) => CallerProof::Nobody,
            (Some(_), Some(_)) => CallerProof::Jwt,
            (Some("local"), None) if certificate.is_some() => CallerProof::Certificate,
            (Some("local"), None) => CallerProof::Anonymous,
            (Some(_), None) if presented => CallerProof::Token,
            (Some(_), None) if certificate.is_some() => CallerProof::Certificate,
            (Some(_), None) => CallerProof::Anonymous,
        };
        let certificate = certificate.unwrap_or_default();
        let name = match (by, name) {
            (CallerProof::Certificate, _) => certificate.clone(),
            (_, Some(name)) => plain(name),
            (_, None) => "unknown".to_owned(),
        };
        let (subject, issuer) = token.unwrap_or_default();
        Self {
            who: AuditedCaller {
                name,
                by,
                subject,
                issuer,
                certificate,
            },
            from: peer.to_string(),
            server,
            request: String::new(),
        }
    }

    /// The same with the id of the request.
    #[must_use]
    pub fn request(mut self, id: impl ToString) -> Self {
        self.request = id.to_string();
        self
    }

    /// Whoever runs a command on the daemon's own files, or sends it a signal; `name` says who as far as it is
    /// known.
    #[must_use]
    pub fn command(server: &'static str, name: &str) -> Self {
        Self {
            who: AuditedCaller {
                name: plain(name),
                by: CallerProof::Command,
                subject: String::new(),
                issuer: String::new(),
                certificate: String::new(),
            },
            from: "command".to_owned(),
            server,
            request: String::new(),
        }
    }
}

/// Subject and issuer of a bearer token that is a signed one (RFC 7519 §3). Nothing is checked here: a server's
/// access has.
fn signed(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (_, token) = value.trim().split_once(' ')?;
    let mut parts = token.trim().split('.');
    let (_, claims, _) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let claims = URL_SAFE_NO_PAD.decode(claims).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    let text = |name: &str| plain(claims[name].as_str().unwrap_or_default());
    let issuer = text("iss");
    (!issuer.is_empty()).then(|| (text("sub"), issuer))
}

/// What is to be changed, without any secret.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AuditedChange {
    /// As Azure names operations: `Microsoft.DigitalTwins/digitalTwinsInstances/endpoints/write`; of the admin API
    /// `endpoint/pause` and the like.
    pub operation: String,
    /// What it is done to.
    pub resource: String,
    /// As reads showed it; nothing where it was not there, or is no resource.
    pub before: Option<Value>,
    /// As reads will show it; nothing where it goes.
    pub after: Option<Value>,
    /// The JSON pointers of secrets that are others than before.
    pub secrets_changed: Vec<String>,
}

impl AuditedChange {
    /// What is no change of a resource that has a body.
    #[must_use]
    pub fn step(operation: impl Into<String>, resource: impl Into<String>) -> Self {
        Self {
            operation: operation.into(),
            resource: resource.into(),
            ..Self::default()
        }
    }
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeOutcome {
    /// It was made, unless one with the same request says `failed` after it.
    Accepted,
    /// It was not made: `status` and `code` say why.
    Refused,
    /// It was accepted, and could not be made.
    Failed,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Counts from 1.
    pub n: u64,
    /// When: RFC 3339 in UTC, with milliseconds.
    pub at: String,
    /// Who.
    pub who: AuditedCaller,
    /// From where.
    pub from: String,
    /// What was asked.
    pub server: String,
    /// What it is called.
    pub operation: String,
    /// What it is done to.
    pub resource: String,
    /// What became of it.
    pub outcome: ChangeOutcome,
    /// The HTTP status of a refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The code of a refusal or failure.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub code: String,
    /// Refusals of its kind that were too many to be recorded, since the last that was.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unnoted: u64,
    /// The id of the request.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub request: String,
    /// As it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// As it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
    /// Secrets that are others than before, by their place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets_changed: Vec<String>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands over a reference"
)]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl AuditEntry {
    /// Its number comes when it is written.
    pub(crate) fn accepted(author: &ChangeAuthor, change: &AuditedChange, now: Timestamp) -> Self {
        Self {
            n: 0,
            at: now.rfc3339(),
            who: author.who.clone(),
            from: author.from.clone(),
            server: author.server.to_owned(),
            operation: plain(&change.operation),
            resource: plain(&change.resource),
            outcome: ChangeOutcome::Accepted,
            status: None,
            code: String::new(),
            unnoted: 0,
            request: author.request.clone(),
            before: change.before.as_ref().map(bounded),
            after: change.after.as_ref().map(bounded),
            secrets_changed: change.secrets_changed.clone(),
        }
    }
}

/// What is too long is recorded as its length.
fn bounded(body: &Value) -> Value {
    let bytes = body.to_string().len();
    if bytes <= BODY_BYTES_MAX {
        return body.clone();
    }
    json!({ "left_out": format!("it has {bytes} bytes; the audit log accepts at most {BODY_BYTES_MAX}") })
}

/// Without control characters, which would reach the terminal of whoever reads the log.
fn plain(text: &str) -> String {
    let plain = |char: char| if char.is_control() { '?' } else { char };
    text.chars().take(TEXT_CHARS_MAX).map(plain).collect()
}
