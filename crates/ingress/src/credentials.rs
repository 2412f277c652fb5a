//! Who may send: access keys, shared access signatures, bearer tokens, the code of a webhook.

use crate::settings::Settings;
use crate::target::query;
use http::request::Parts;
use http::{HeaderValue, header};
use sha2::{Digest as _, Sha256};
use twinroute_listen::access::{Denied, Gate, Role};
use twinroute_listen::{ClientCertificate, Peer};
use twinroute_model::clock::{Clock, Timestamp};
use twinroute_model::sas;
use twinroute_model::secret::Secret;

/// Why a request was not let in. The texts are safe to send.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unauthorized {
    #[error(
        "an access key is required: header aeg-sas-key, aeg-sas-token or authorization \
         (SharedAccessKey or SharedAccessSignature), or query parameter aeg-sas-key or code"
    )]
    Missing,
    #[error(
        "an access token (header authorization: Bearer) or an access key (header aeg-sas-key, \
         aeg-sas-token or authorization, or query parameter aeg-sas-key or code) is required"
    )]
    MissingEither,
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error("the access key does not match")]
    Key,
    #[error("the webhook code does not match")]
    Code,
    #[error(transparent)]
    Signature(#[from] sas::Refusal),
    #[error("the shared access signature was made for another address")]
    Resource,
    #[error("no access keys are configured, so only clients on the same machine may send")]
    Remote,
}

/// What is compared with what a request shows.
pub(crate) struct Credentials {
    keys: Vec<Key>,
    code: Option<Key>,
    allow_anonymous: bool,
    /// Whether bearer tokens are taken. The settings say so, not the gate: with none nobody passes.
    takes_tokens: bool,
    gate: Option<Gate>,
}

/// A secret beside its digest. Digests are compared: a sender cannot choose their bytes, so the
/// time that takes tells nothing about the secret.
struct Key {
    secret: Secret,
    digest: [u8; 32],
}

impl Key {
    fn new(secret: &Secret) -> Self {
        Self {
            secret: secret.clone(),
            digest: Sha256::digest(secret.expose()).into(),
        }
    }
}

fn any_is(keys: &[Key], shown: &str) -> bool {
    let shown: [u8; 32] = Sha256::digest(shown).into();
    keys.iter()
        .fold(false, |found, key| found | (key.digest == shown))
}

impl Credentials {
    pub(crate) fn new(settings: &Settings, gate: Option<Gate>) -> Self {
        Self {
            takes_tokens: settings.access.is_configured(),
            gate: gate.filter(Gate::is_configured),
            keys: settings.access_keys.iter().map(Key::new).collect(),
            code: settings.webhook_code.as_ref().map(Key::new),
            allow_anonymous: settings.allow_anonymous,
        }
    }

    /// Lets a request in that shows one right credential, whatever else it shows. Waits only for the keys of
    /// an identity provider; dropping the future loses nothing.
    pub(crate) async fn check(
        &self,
        head: &Parts,
        peer: Peer,
        clock: &dyn Clock,
    ) -> Result<(), Unauthorized> {
        let asks_for_keys = !self.keys.is_empty() || self.code.is_some();
        if !asks_for_keys && !self.takes_tokens {
            // A certificate that the listener took is a credential too.
            let open = self.allow_anonymous
                || peer.is_local()
                || ClientCertificate::noted(&head.extensions).is_some();
            return if open {
                Ok(())
            } else {
                Err(Unauthorized::Remote)
            };
        }
        let refusal = match self.check_keys(head, clock) {
            Ok(()) => return Ok(()),
            Err(refusal) => refusal,
        };
        if !self.takes_tokens {
            return Err(refusal);
        }
        match self.check_token(head).await {
            Err(Denied::Missing | Denied::NotBearer) if refusal != Unauthorized::Missing => {
                Err(refusal)
            }
            Err(Denied::Missing) if asks_for_keys => Err(Unauthorized::MissingEither),
            checked => Ok(checked?),
        }
    }

    /// To send is to change something.
    async fn check_token(&self, head: &Parts) -> Result<(), Denied> {
        let gate = self.gate.as_ref().ok_or(Denied::Invalid)?;
        let caller = gate.admit(head.headers.get(header::AUTHORIZATION)).await?;
        caller.require(Role::Write)
    }

    fn check_keys(&self, head: &Parts, clock: &dyn Clock) -> Result<(), Unauthorized> {
        let mut refusal = Unauthorized::Missing;
        for checked in self.shown(head, clock) {
            match checked {
                Ok(()) => return Ok(()),
                Err(error) if refusal == Unauthorized::Missing => refusal = error,
                Err(_) => {}
            }
        }
        Err(refusal)
    }

    /// Whether a webhook handshake may be answered: those who know the code, or all if there is
    /// none.
    pub(crate) fn check_code(&self, head: &Parts) -> Result<(), Unauthorized> {
        match &self.code {
            None => Ok(()),
            Some(_) => self.code(head).unwrap_or(Err(Unauthorized::Missing)),
        }
    }

    /// The outcome for each credential that a request shows.
    fn shown<'a>(
        &'a self,
        head: &'a Parts,
        clock: &'a dyn Clock,
    ) -> impl Iterator<Item = Result<(), Unauthorized>> + 'a {
        let header = |name: &str| head.headers.get(name).map(text);
        let key = |shown: &str| self.key(shown);
        let token = |shown: &str| self.token(shown, head.uri.path(), clock.now());
        let authorization = || {
            let value = head.headers.get(header::AUTHORIZATION).map(text)?;
            let (scheme, rest) = value.split_once(' ')?;
            if scheme.eq_ignore_ascii_case("SharedAccessKey") {
                Some(key(rest.trim()))
            } else if scheme.eq_ignore_ascii_case("SharedAccessSignature") {
                Some(token(rest.trim()))
            } else {
                None
            }
        };
        [
            header("aeg-sas-key").map(key),
            header("aeg-sas-token").map(token),
            authorization(),
            query(&head.uri, "aeg-sas-key").map(|shown| key(&shown)),
            self.code(head),
        ]
        .into_iter()
        .flatten()
    }

    fn key(&self, shown: &str) -> Result<(), Unauthorized> {
        if any_is(&self.keys, shown) {
            Ok(())
        } else {
            Err(Unauthorized::Key)
        }
    }

    fn code(&self, head: &Parts) -> Option<Result<(), Unauthorized>> {
        let code = std::slice::from_ref(self.code.as_ref()?);
        let shown = query(&head.uri, "code")?;
        let right = any_is(code, &shown);
        Some(if right {
            Ok(())
        } else {
            Err(Unauthorized::Code)
        })
    }

    fn token(&self, token: &str, path: &str, now: Timestamp) -> Result<(), Unauthorized> {
        let mut refusal = Unauthorized::Signature(sas::Refusal::Mismatch);
        for key in &self.keys {
            match sas::verify_event_grid_token(token, key.secret.expose(), now) {
                Ok(resource) if covers(&resource, path) => return Ok(()),
                Ok(_) => refusal = Unauthorized::Resource,
                Err(sas::Refusal::Mismatch) => {}
                Err(error) => refusal = error.into(),
            }
        }
        Err(refusal)
    }
}

/// Whether a signed resource is `path` or stands above it. Its host is not compared: a proxy may
/// stand before us, and the signature is made with our own key.
fn covers(resource: &str, path: &str) -> bool {
    let resource = resource.split('?').next().unwrap_or_default();
    let signed = resource.split_once("://").map_or(resource, |(_, rest)| {
        rest.find('/').map_or("", |start| &rest[start..])
    });
    let signed = signed.trim_end_matches('/');
    path.strip_prefix(signed)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn text(value: &HeaderValue) -> &str {
    value.to_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_covers_its_path_and_what_is_below() {
        let path = "/instances/a/api/events";
        for resource in [
            "https://h/instances/a/api/events?apiVersion=2018-01-01",
            "http://h:1/instances/a/",
            "https://h",
            "/instances/a/api/events",
        ] {
            assert!(covers(resource, path), "{resource}");
        }
        for resource in [
            "https://h/instances/b/api/events",
            "https://h/instances/a/api/ev",
            "h",
        ] {
            assert!(!covers(resource, path), "{resource}");
        }
    }
}
