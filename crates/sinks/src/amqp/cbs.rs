//! Claims-based security: puts a token on a connection and keeps it fresh.
//!
//! Source: OASIS "AMQP Claims-based Security 1.0" draft; Azure Service Bus "AMQP protocol guide",
//! "Claims-based authorization". A put-token must succeed within 20 s of opening the connection.

use crate::status;
use fe2o3_amqp::link::{Receiver, Sender};
use fe2o3_amqp::session::SessionHandle;
use fe2o3_amqp_types::messaging::{
    AmqpValue, ApplicationProperties, Body, Message, MessageId, Outcome, Properties,
};
use fe2o3_amqp_types::primitives::{SimpleValue, Timestamp as AmqpTimestamp, Value};
use std::sync::Arc;
use std::time::Duration;
use twinroute_model::clock::{Clock, Timestamp};
use twinroute_model::endpoint::{ConnectionString, Credential};
use twinroute_model::sas;
use twinroute_model::secret::Secret;
use twinroute_router::sink::EndpointFault;

/// How long a put-token may take. Source: "AMQP protocol guide": the service drops the connection
/// then.
pub(crate) const PUT_TOKEN_TIMEOUT: Duration = Duration::from_secs(20);
/// How long our tokens live.
const TOKEN_LIFETIME: Duration = Duration::from_secs(60 * 60);
/// When a token is renewed: at 80 % of its life.
const RENEW_AFTER: Duration = Duration::from_secs(48 * 60);
/// Between two tries to renew a token.
const RENEW_RETRY: Duration = Duration::from_secs(30);
/// A connection is given up when renewing has failed for this long: 90 s before its token ends.
const RENEW_GIVE_UP: Duration = Duration::from_secs(12 * 60 - 90);

/// Where tokens for one connection come from.
#[derive(Clone)]
pub(crate) struct TokenSource {
    audience: String,
    credential: Credential,
    clock: Arc<dyn Clock>,
}

/// A token, and when it ends where we know.
struct Token {
    text: Secret,
    expiry: Option<Timestamp>,
}

impl TokenSource {
    pub(crate) fn new(connection_string: &ConnectionString, clock: Arc<dyn Clock>) -> Self {
        Self {
            audience: audience(connection_string),
            credential: connection_string.credential().clone(),
            clock,
        }
    }

    fn token(&self) -> Token {
        match &self.credential {
            Credential::Signature(signature) => Token {
                text: signature.clone(),
                expiry: None,
            },
            Credential::Key { name, key } => {
                let expiry = self.clock.now().after(TOKEN_LIFETIME);
                let token = sas::service_bus_token(&self.audience, name, key.expose(), expiry);
                Token {
                    text: Secret::new(token),
                    expiry: Some(expiry),
                }
            }
        }
    }
}

/// `sb://<host>[:port]/<entity>`: what a token is for.
fn audience(connection_string: &ConnectionString) -> String {
    let host = connection_string.host();
    let entity = connection_string.entity_path();
    match connection_string.port() {
        Some(port) => format!("sb://{host}:{port}/{entity}"),
        None => format!("sb://{host}/{entity}"),
    }
}

/// The two links to `$cbs`. Azure allows one such pair on a connection.
pub(crate) struct Cbs {
    sender: Sender,
    receiver: Receiver,
    source: TokenSource,
    requests: u64,
}

/// Address that replies are sent to.
const REPLY_TO: &str = "twinroute-cbs";

impl Cbs {
    /// Attaches the links and puts the first token.
    ///
    /// Dropping the future leaves links on the session: drop the connection too.
    pub(crate) async fn attach(
        session: &mut SessionHandle<()>,
        source: TokenSource,
    ) -> Result<Self, EndpointFault> {
        let sender = Sender::builder()
            .name("twinroute-cbs-sender")
            .source(REPLY_TO)
            .target("$cbs")
            .attach(session)
            .await
            .map_err(|error| super::connection::attach_fault(&error))?;
        let receiver = Receiver::builder()
            .name("twinroute-cbs-receiver")
            .source("$cbs")
            .target(REPLY_TO)
            .attach(session)
            .await
            .map_err(|error| status::unreachable("cbs-attach", error.to_string()))?;
        let mut cbs = Self {
            sender,
            receiver,
            source,
            requests: 0,
        };
        cbs.put_token().await?;
        Ok(cbs)
    }

    /// Puts a fresh token and waits for the answer to this very request.
    async fn put_token(&mut self) -> Result<(), EndpointFault> {
        tokio::time::timeout(PUT_TOKEN_TIMEOUT, self.exchange())
            .await
            .unwrap_or_else(|_| {
                let detail = "no answer to put-token within 20 s";
                Err(status::unreachable("cbs-timeout", detail))
            })
    }

    async fn exchange(&mut self) -> Result<(), EndpointFault> {
        self.requests += 1;
        let id = MessageId::String(format!("put-token-{}", self.requests));
        let request = request(&self.source.audience, self.source.token(), id.clone());
        // Send errors name link states, never the message.
        let outcome = self.sender.send(request).await;
        match outcome {
            Ok(Outcome::Accepted(_)) => {}
            Ok(Outcome::Rejected(rejected)) => {
                return Err(super::connection::optional_error_fault(
                    rejected.error.as_ref(),
                ));
            }
            Ok(_) => return Err(status::unreachable("cbs-send", "put-token was released")),
            Err(error) => return Err(super::connection::send_fault(&error)),
        }
        loop {
            let reply = self
                .receiver
                .recv::<Body<Value>>()
                .await
                .map_err(|error| status::unreachable("cbs-receive", error.to_string()))?;
            self.receiver
                .accept(&reply)
                .await
                .map_err(|error| status::unreachable("cbs-receive", error.to_string()))?;
            // A late answer to a request that was given up before is passed over.
            let correlation = reply
                .message()
                .properties
                .as_ref()
                .and_then(|properties| properties.correlation_id.as_ref());
            if correlation.is_some_and(|correlation| *correlation != id) {
                continue;
            }
            return answer(reply.message().application_properties.as_ref());
        }
    }

    /// Renews the token for as long as that works, then tells why it does not.
    ///
    /// A ready-made signature cannot be renewed: the future then never ends, and the broker ends
    /// the link. After a time-out the client must not be used again, so the first one ends the
    /// future too.
    pub(crate) async fn keep_renewed(&mut self) -> EndpointFault {
        if matches!(self.source.credential, Credential::Signature(_)) {
            return std::future::pending().await;
        }
        loop {
            tokio::time::sleep(RENEW_AFTER).await;
            let mut failing = Duration::ZERO;
            while let Err(fault) = self.put_token().await {
                if fault.reason.code == "cbs-timeout" || failing >= RENEW_GIVE_UP {
                    return fault;
                }
                tokio::time::sleep(RENEW_RETRY).await;
                failing += RENEW_RETRY;
            }
        }
    }
}

fn request(audience: &str, token: Token, id: MessageId) -> Message<AmqpValue<String>> {
    let mut properties = ApplicationProperties::builder()
        .insert("operation", SimpleValue::String("put-token".to_owned()))
        .insert(
            "type",
            SimpleValue::String("servicebus.windows.net:sastoken".to_owned()),
        )
        .insert("name", SimpleValue::String(audience.to_owned()));
    if let Some(expiry) = token.expiry {
        let expiry = AmqpTimestamp::from_milliseconds(expiry.unix_millis());
        properties = properties.insert("expiration", SimpleValue::Timestamp(expiry));
    }
    Message::builder()
        .properties(
            Properties::builder()
                .message_id(id)
                .reply_to(REPLY_TO)
                .build(),
        )
        .application_properties(properties.build())
        .body(AmqpValue(token.text.expose().to_owned()))
        .build()
}

/// Azure answers 202, its emulators 200: any 2xx is yes.
fn answer(properties: Option<&ApplicationProperties>) -> Result<(), EndpointFault> {
    let missing = || status::unreachable("cbs-answer", "put-token answer without status-code");
    let properties = properties.ok_or_else(missing)?;
    let status = match properties.get("status-code") {
        Some(SimpleValue::Int(status)) => *status,
        Some(SimpleValue::Long(status)) => i32::try_from(*status).unwrap_or(0),
        Some(SimpleValue::Uint(status)) => i32::try_from(*status).unwrap_or(0),
        Some(SimpleValue::Ushort(status)) => i32::from(*status),
        Some(SimpleValue::Short(status)) => i32::from(*status),
        _ => return Err(missing()),
    };
    if (200..300).contains(&status) {
        return Ok(());
    }
    let description = match properties.get("status-description") {
        Some(SimpleValue::String(text)) => text.as_str(),
        _ => "",
    };
    Err(status::cbs_fault(status, description))
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinroute_model::clock::ManualClock;

    fn source(text: &str) -> TokenSource {
        let clock = ManualClock::new(Timestamp::from_unix_millis(1_700_000_000_000));
        let parsed = ConnectionString::parse(&Secret::new(text)).unwrap();
        TokenSource::new(&parsed, Arc::new(clock))
    }

    #[test]
    fn a_token_is_for_the_entity_and_lives_an_hour() {
        let source = source(
            "Endpoint=sb://ns:5673/;SharedAccessKeyName=send;SharedAccessKey=k;EntityPath=hub",
        );
        let token = source.token();
        let parsed = sas::ServiceBusToken::parse(token.text.expose()).unwrap();
        assert_eq!(parsed.resource(), "sb://ns:5673/hub");
        assert_eq!(parsed.expiry().unix_seconds(), 1_700_003_600);
        parsed.verify("k", source.clock.now()).unwrap();
    }

    #[test]
    fn a_ready_made_signature_is_used_as_it_is() {
        let signature = "SharedAccessSignature sr=x&sig=y&se=1&skn=z";
        let source = source(&format!(
            "Endpoint=sb://ns;SharedAccessSignature={signature};EntityPath=hub"
        ));
        assert_eq!(source.token().text.expose(), signature);
    }
}
