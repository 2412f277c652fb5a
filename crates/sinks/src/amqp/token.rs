//! What is put to `$cbs`: signatures that are made here, ready-made ones, and an identity's tokens.

use super::entity::{AmqpEntity, IdentityEntity};
use super::link_state::LinkState;
use crate::status;
use std::sync::Arc;
use std::time::Duration;
use twinroute_credential::token::{CachedToken, TokenError};
use twinroute_model::clock::{Clock, Timestamp};
use twinroute_model::endpoint::ConnectionCredential;
use twinroute_model::sas;
use twinroute_model::secret::Secret;
use twinroute_router::sink::{EndpointFault, FailureReason, FaultKind};

/// How long signatures live that are made here.
const SIGNATURE_LIFETIME: Duration = Duration::from_secs(60 * 60);

/// Where tokens for one connection come from.
#[derive(Clone)]
pub(crate) struct ConnectionTokens {
    pub(crate) audience: String,
    entity: AmqpEntity,
    clock: Arc<dyn Clock>,
    state: LinkState,
}

/// A token, and when it ends where we know.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ConnectionToken {
    pub(crate) text: Secret,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) kind: TokenKind,
}

/// The `type` of a put-token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenKind {
    Signature,
    Jwt,
}

impl TokenKind {
    /// Source: Azure Service Bus, "AMQP protocol guide", Claims-based authorization.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Signature => "servicebus.windows.net:sastoken",
            Self::Jwt => "jwt",
        }
    }
}

/// How the token on a connection stays good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenRenewal {
    /// Not at all: there is no other.
    Never,
    /// A new one is made at any time.
    Made,
    /// Its source has a new one some time before the old one ends.
    Awaited,
}

impl ConnectionTokens {
    pub(crate) fn new(entity: &AmqpEntity, clock: Arc<dyn Clock>, state: LinkState) -> Self {
        Self {
            audience: entity.audience(),
            entity: entity.clone(),
            clock,
            state,
        }
    }

    pub(crate) fn renewal(&self) -> TokenRenewal {
        match &self.entity {
            AmqpEntity::Identity(_) => TokenRenewal::Awaited,
            AmqpEntity::Keys(text) => match text.credential() {
                ConnectionCredential::Signature(_) => TokenRenewal::Never,
                ConnectionCredential::Key { .. } => TokenRenewal::Made,
            },
        }
    }

    /// The token to put now.
    ///
    /// Waits only for an identity's, as long as its source waits. Dropping the future is harmless.
    pub(crate) async fn token(&self) -> Result<ConnectionToken, EndpointFault> {
        let text = match &self.entity {
            AmqpEntity::Identity(place) => return identity_token(place).await,
            AmqpEntity::Keys(text) => text,
        };
        let (text, expires_at) = match text.credential() {
            ConnectionCredential::Signature(signature) => {
                let end = text.expires_at();
                if let Some(end) = end.filter(|end| *end <= self.clock.now()) {
                    return Err(ended(end));
                }
                (signature.clone(), end)
            }
            ConnectionCredential::Key { name, key } => {
                let expiry = self.clock.now().after(SIGNATURE_LIFETIME);
                let token = sas::service_bus_token(&self.audience, name, key.expose(), expiry);
                (Secret::new(token), Some(expiry))
            }
        };
        Ok(ConnectionToken {
            text,
            expires_at,
            kind: TokenKind::Signature,
        })
    }

    /// What to compare when the broker calls a token expired that ends at `ends` by what is known here.
    pub(crate) fn times(&self, fault: &EndpointFault, ends: Option<Timestamp>) -> Option<String> {
        let said = fault.reason.detail.to_ascii_lowercase();
        let expired = fault.kind == FaultKind::Unauthorized && said.contains("expire");
        let (ends, now) = (ends.filter(|_| expired)?, self.clock.now());
        let made = match self.renewal() {
            TokenRenewal::Made => ", and was made just now",
            TokenRenewal::Never | TokenRenewal::Awaited => "",
        };
        Some(format!(
            "the token ends at {}{made}; this machine's clock says {}: set it if that is wrong",
            ends.rfc3339(),
            now.rfc3339()
        ))
    }

    /// The broker took `token`.
    pub(crate) fn put(&self, token: &ConnectionToken) {
        if let AmqpEntity::Identity(_) = &self.entity {
            self.state.set_token_end(token.expires_at);
        }
    }

    /// The broker refused `token`: the next one shall be another, where there can be one.
    pub(crate) fn refused(&self, token: &ConnectionToken) {
        if let AmqpEntity::Identity(place) = &self.entity {
            let token = CachedToken {
                secret: token.text.clone(),
                expires_at: token.expires_at,
            };
            place.tokens.forget(place.scope, &token);
        }
    }

    /// How long `token` is good from now; `None` when nobody says.
    pub(crate) fn left(&self, token: &ConnectionToken) -> Option<Duration> {
        let now = self.clock.now();
        token.expires_at.map(|expires_at| expires_at.since(now))
    }
}

/// A ready-made signature is over: the broker need not be asked.
fn ended(end: Timestamp) -> EndpointFault {
    EndpointFault {
        kind: FaultKind::Unauthorized,
        after: None,
        reason: FailureReason::new(
            "sas-expired",
            format!(
                "the SharedAccessSignature of the connection string ended at {}; put a new one there, or \
                 SharedAccessKeyName and SharedAccessKey",
                end.rfc3339()
            ),
        ),
    }
}

async fn identity_token(place: &IdentityEntity) -> Result<ConnectionToken, EndpointFault> {
    let token = place.tokens.token(place.scope).await;
    let token = token.map_err(|error| fault(&error))?;
    Ok(ConnectionToken {
        text: token.secret,
        expires_at: token.expires_at,
        kind: TokenKind::Jwt,
    })
}

/// Who says no must be told otherwise by somebody; who does not answer may answer later.
fn fault(error: &TokenError) -> EndpointFault {
    let kind = match error {
        TokenError::Refused { .. } | TokenError::Scopes => FaultKind::Unauthorized,
        _ => FaultKind::Unreachable,
    };
    EndpointFault {
        kind,
        after: None,
        reason: FailureReason::new("no-token", status::bounded(&error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinroute_credential::token::TokenSource;
    use twinroute_model::clock::ManualClock;
    use twinroute_model::endpoint::ConnectionString;

    fn clock() -> Arc<ManualClock> {
        let now = Timestamp::from_unix_millis(1_700_000_000_000);
        Arc::new(ManualClock::new(now))
    }

    fn tokens(text: &str) -> ConnectionTokens {
        let parsed = ConnectionString::parse(&Secret::new(text)).unwrap();
        ConnectionTokens::new(&AmqpEntity::Keys(parsed), clock(), LinkState::new())
    }

    #[tokio::test]
    async fn a_signature_is_for_the_entity_and_lives_an_hour() {
        let tokens = tokens(
            "Endpoint=sb://ns:5673/;SharedAccessKeyName=send;SharedAccessKey=k;EntityPath=hub",
        );
        let token = tokens.token().await.unwrap();
        let parsed = sas::ServiceBusToken::parse(token.text.expose()).unwrap();
        assert_eq!(parsed.resource(), "sb://ns:5673/hub");
        assert_eq!(parsed.expiry().unix_seconds(), 1_700_003_600);
        parsed.verify("k", tokens.clock.now()).unwrap();
        assert_eq!(tokens.renewal(), TokenRenewal::Made);
    }

    #[tokio::test]
    async fn clock_skew_is_hinted_at_when_a_new_token_is_called_expired() {
        let tokens = tokens(
            "Endpoint=sb://ns:5673/;SharedAccessKeyName=send;SharedAccessKey=k;EntityPath=hub",
        );
        let ends = tokens.token().await.unwrap().expires_at;
        let fault = |text: &str| status::cbs_fault(401, text);
        let hint = tokens.times(&fault("ExpiredToken: The token is expired."), ends);
        assert_eq!(
            hint.as_deref(),
            Some(
                "the token ends at 2023-11-14T23:13:20Z, and was made just now; this machine's clock says \
                 2023-11-14T22:13:20Z: set it if that is wrong"
            )
        );
        assert_eq!(tokens.times(&fault("InvalidSignature"), ends), None);
        assert_eq!(tokens.times(&fault("expired"), None), None);
        assert_eq!(tokens.times(&status::cbs_fault(500, "expired"), ends), None);
    }

    #[tokio::test]
    async fn a_ready_made_signature_is_used_as_it_is() {
        let signature = "SharedAccessSignature sr=x&sig=y&se=1700000001&skn=z";
        let tokens = tokens(&format!(
            "Endpoint=sb://ns;SharedAccessSignature={signature};EntityPath=hub"
        ));
        let token = tokens.token().await.unwrap();
        assert_eq!(token.text.expose(), signature);
        assert_eq!(tokens.renewal(), TokenRenewal::Never);
        assert_eq!(tokens.left(&token), Some(Duration::from_secs(1)));
    }

    #[tokio::test]
    async fn a_signature_that_is_over_is_known_without_asking() {
        let over = |end: &str| {
            let text = format!(
                "Endpoint=sb://ns;SharedAccessSignature=SharedAccessSignature \
                 sr=x&sig=hidden&se={end}&skn=z;EntityPath=hub"
            );
            tokens(&text)
        };
        let Err(fault) = over("1700000000").token().await else {
            panic!("it ended in this very moment");
        };
        assert_eq!(fault.kind, FaultKind::Unauthorized);
        let reason = fault.reason.to_string();
        assert!(reason.starts_with("sas-expired: "), "{reason}");
        assert!(reason.contains("2023-11-14T22:13:20Z"), "{reason}");
        assert!(!reason.contains("hidden"), "{reason}");
        // What cannot be read is the broker's to judge.
        assert!(over("soon").token().await.is_ok());
    }

    #[tokio::test]
    async fn an_identity_puts_its_token_as_jwt_for_the_same_audience() {
        let source = TokenSource::fixed("a.b.c".into(), clock());
        let place = IdentityEntity::new(
            ("ns.example".to_owned(), Some(5673)),
            "hub",
            source,
            "scope",
        );
        let tokens = ConnectionTokens::new(&AmqpEntity::Identity(place), clock(), LinkState::new());
        assert_eq!(tokens.audience, "sb://ns.example:5673/hub");
        let token = tokens.token().await.unwrap();
        assert_eq!((token.text.expose(), token.kind.as_str()), ("a.b.c", "jwt"));
        assert_eq!(tokens.left(&token), None);
    }

    #[test]
    fn a_no_is_told_apart_from_silence() {
        let scope = || "s".to_owned();
        let reason = || "r".to_owned();
        let refused = TokenError::Refused {
            scope: scope(),
            reason: reason(),
        };
        let unanswered = TokenError::Unanswered {
            scope: scope(),
            reason: reason(),
        };
        let late = TokenError::Late {
            scope: scope(),
            waited: Duration::from_secs(10),
        };
        for (error, expect) in [
            (refused, FaultKind::Unauthorized),
            (unanswered, FaultKind::Unreachable),
            (late, FaultKind::Unreachable),
        ] {
            assert_eq!(fault(&error).kind, expect, "{error}");
        }
    }
}
