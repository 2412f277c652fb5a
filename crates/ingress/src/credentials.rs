//! Who may send: access keys, shared access signatures, bearer tokens, certificates of callers, the code of a
//! webhook.

use crate::allowance::CallerAllowance;
use crate::settings::Settings;
use crate::target::query;
use http::request::Parts;
use http::{HeaderValue, header};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use twinroute_listen::access::{AccessDenied, AccessGate, CallerRole};
use twinroute_listen::{ClientCertificate, ClientPeer};
use twinroute_model::clock::{Clock, Timestamp};
use twinroute_model::sas;
use twinroute_model::secret::Secret;

/// Why a request was not let in. The texts are safe to send.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CredentialError {
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
    Denied(#[from] AccessDenied),
    #[error("the access key does not match")]
    Key,
    #[error("the webhook code does not match")]
    Code,
    #[error(transparent)]
    Signature(#[from] sas::SasRefusal),
    #[error("the shared access signature was made for another address")]
    Resource,
    #[error("no access keys are configured, so only clients on the same machine may send")]
    Remote,
    #[error("only callers that show a certificate named in [[ingress.callers]] may send")]
    NoCaller,
}

/// The caller that a credential belongs to; nothing for one that belongs to none, which has no limits of its own.
pub(crate) type MatchedCaller<'a> = Option<&'a CallerAllowance>;

/// What is compared with what a request shows.
pub(crate) struct CallerCredentials {
    keys: Vec<DigestedKey>,
    callers: Vec<CallerAllowance>,
    /// Callers, by their place, by the name of a token and by a name of a certificate.
    tokens: HashMap<String, usize>,
    subjects: HashMap<String, usize>,
    code: Option<DigestedKey>,
    allow_anonymous: bool,
    /// Whether bearer tokens are taken. The settings say so, not the gate: with none nobody passes.
    takes_tokens: bool,
    gate: Option<AccessGate>,
}

/// A secret beside its digest. Digests are compared: a sender cannot choose their bytes, so the
/// time that takes tells nothing about the secret.
struct DigestedKey {
    secret: Secret,
    digest: [u8; 32],
    /// The place of the caller that it belongs to.
    caller: Option<usize>,
}

impl DigestedKey {
    fn new(secret: &Secret, caller: Option<usize>) -> Self {
        Self {
            secret: secret.clone(),
            digest: Sha256::digest(secret.expose()).into(),
            caller,
        }
    }
}

/// The key that is shown. All are looked at, whichever it is.
fn find<'a>(keys: &'a [DigestedKey], presented: &str) -> Option<&'a DigestedKey> {
    let presented: [u8; 32] = Sha256::digest(presented).into();
    keys.iter().fold(None, |found, key| {
        if key.digest == presented {
            Some(key)
        } else {
            found
        }
    })
}

impl CallerCredentials {
    pub(crate) fn new(settings: &Settings, gate: Option<AccessGate>) -> Self {
        let mut keys: Vec<_> = settings
            .access_keys
            .iter()
            .map(|key| DigestedKey::new(key, None))
            .collect();
        let (mut tokens, mut subjects) = (HashMap::new(), HashMap::new());
        for (place, caller) in settings.callers.iter().enumerate() {
            keys.extend(
                caller
                    .keys
                    .iter()
                    .map(|key| DigestedKey::new(key, Some(place))),
            );
            tokens.extend(caller.tokens.iter().map(|name| (name.clone(), place)));
            subjects.extend(caller.subjects.iter().map(|name| (name.clone(), place)));
        }
        Self {
            takes_tokens: settings.access.is_configured(),
            gate: gate.filter(AccessGate::is_configured),
            keys,
            callers: settings.callers.iter().map(CallerAllowance::new).collect(),
            tokens,
            subjects,
            code: settings
                .webhook_code
                .as_ref()
                .map(|code| DigestedKey::new(code, None)),
            allow_anonymous: settings.allow_anonymous,
        }
    }

    /// Lets a request in that shows one right credential, whatever else it shows, and says whose it is. Of
    /// several that are right, a key counts before a certificate and that before a token, and one that belongs to
    /// a caller before one that belongs to none. Waits only for the keys of an identity provider; dropping the
    /// future loses nothing.
    pub(crate) async fn check(
        &self,
        head: &Parts,
        peer: ClientPeer,
        clock: &dyn Clock,
    ) -> Result<MatchedCaller<'_>, CredentialError> {
        let certificate = ClientCertificate::of_extensions(&head.extensions);
        let asks_for_keys = !self.keys.is_empty() || self.code.is_some();
        if !asks_for_keys && !self.takes_tokens && self.callers.is_empty() {
            // A certificate that the listener took is a credential too.
            let open = self.allow_anonymous || peer.is_local() || certificate.is_some();
            return if open {
                Ok(None)
            } else {
                Err(CredentialError::Remote)
            };
        }
        let named = certificate.and_then(|certificate| self.certified(certificate));
        let refusal = match self.check_keys(head, clock) {
            Ok(who) => return Ok(who.or(named)),
            Err(refusal) => refusal,
        };
        if named.is_some() {
            return Ok(named);
        }
        if !self.takes_tokens {
            return Err(if asks_for_keys {
                refusal
            } else {
                CredentialError::NoCaller
            });
        }
        match self.check_token(head).await {
            Err(AccessDenied::Missing | AccessDenied::NotBearer)
                if refusal != CredentialError::Missing =>
            {
                Err(refusal)
            }
            Err(AccessDenied::Missing) if asks_for_keys => Err(CredentialError::MissingEither),
            checked => Ok(checked?),
        }
    }

    /// The caller whose certificate it is.
    fn certified(&self, certificate: &ClientCertificate) -> MatchedCaller<'_> {
        let mut names = certificate.names();
        let place = names.find_map(|name| self.subjects.get(name))?;
        self.callers.get(*place)
    }

    /// To send is to change something.
    async fn check_token(&self, head: &Parts) -> Result<MatchedCaller<'_>, AccessDenied> {
        let gate = self.gate.as_ref().ok_or(AccessDenied::Invalid)?;
        let caller = gate.admit(head.headers.get(header::AUTHORIZATION)).await?;
        caller.require(CallerRole::Write)?;
        let place = self.tokens.get(&caller.name);
        Ok(place.and_then(|place| self.callers.get(*place)))
    }

    fn check_keys(
        &self,
        head: &Parts,
        clock: &dyn Clock,
    ) -> Result<MatchedCaller<'_>, CredentialError> {
        let mut passed = None;
        let mut refusal = CredentialError::Missing;
        for checked in self.checked_credentials(head, clock) {
            match checked {
                Ok(Some(caller)) => return Ok(Some(caller)),
                Ok(None) => passed = Some(None),
                Err(error) if refusal == CredentialError::Missing => refusal = error,
                Err(_) => {}
            }
        }
        passed.ok_or(refusal)
    }

    /// Whether a webhook handshake may be answered: those who know the code, or all if there is
    /// none.
    pub(crate) fn check_code(&self, head: &Parts) -> Result<(), CredentialError> {
        match &self.code {
            None => Ok(()),
            Some(_) => self
                .code(head)
                .unwrap_or(Err(CredentialError::Missing))
                .map(drop),
        }
    }

    /// The outcome for each credential that a request shows.
    fn checked_credentials<'a, 's: 'a>(
        &'s self,
        head: &'a Parts,
        clock: &'a dyn Clock,
    ) -> impl Iterator<Item = Result<MatchedCaller<'s>, CredentialError>> + 'a {
        let header = |name: &str| head.headers.get(name).map(text);
        let key = |presented: &str| self.key(presented);
        let token = |presented: &str| self.token(presented, head.uri.path(), clock.now());
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
            query(&head.uri, "aeg-sas-key").map(|presented| key(&presented)),
            self.code(head),
        ]
        .into_iter()
        .flatten()
    }

    fn owner(&self, key: &DigestedKey) -> MatchedCaller<'_> {
        self.callers.get(key.caller?)
    }

    fn key(&self, presented: &str) -> Result<MatchedCaller<'_>, CredentialError> {
        let found = find(&self.keys, presented).ok_or(CredentialError::Key)?;
        Ok(self.owner(found))
    }

    fn code(&self, head: &Parts) -> Option<Result<MatchedCaller<'_>, CredentialError>> {
        let code = std::slice::from_ref(self.code.as_ref()?);
        let view = query(&head.uri, "code")?;
        let found = find(code, &view).ok_or(CredentialError::Code);
        Some(found.map(|_| None))
    }

    fn token(
        &self,
        token: &str,
        path: &str,
        now: Timestamp,
    ) -> Result<MatchedCaller<'_>, CredentialError> {
        let mut refusal = CredentialError::Signature(sas::SasRefusal::Mismatch);
        for key in &self.keys {
            match sas::verify_event_grid_token(token, key.secret.expose(), now) {
                Ok(resource) if covers(&resource, path) => return Ok(self.owner(key)),
                Ok(_) => refusal = CredentialError::Resource,
                Err(sas::SasRefusal::Mismatch) => {}
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
