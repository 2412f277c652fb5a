//! Claims-based security: puts a token on a connection and keeps it fresh.
//!
//! Source: OASIS "AMQP Claims-based Security 1.0" draft; Azure Service Bus "AMQP protocol guide",
//! "Claims-based authorization". A put-token must succeed within 20 s of opening the connection.

use super::token::{ConnectionToken, ConnectionTokens, TokenKind, TokenRenewal};
use super::{fault, fault_text};
use crate::status;
use fe2o3_amqp::link::{Receiver, ReceiverAttachError, Sender};
use fe2o3_amqp::session::SessionHandle;
use fe2o3_amqp_types::messaging::{
    AmqpValue, ApplicationProperties, Body, Message, MessageId, Outcome, Properties,
};
use fe2o3_amqp_types::primitives::{SimpleValue, Timestamp as AmqpTimestamp, Value};
use std::time::Duration;
use twinroute_router::sink::{EndpointFault, FailureReason, FaultKind};

/// How long a put-token may take. Source: "AMQP protocol guide": the service drops the connection
/// then.
pub(crate) const PUT_TOKEN_TIMEOUT: Duration = Duration::from_secs(20);
/// When a signature is renewed: at 80 % of its life of an hour.
const RENEW_AFTER: Duration = Duration::from_secs(48 * 60);
/// An identity's token is asked for again this long before it ends, or after three quarters of what is
/// left of it: that is when its source renews it.
const RENEW_BEFORE_MAX: Duration = Duration::from_secs(600);
/// Between two tries for an identity's new token, at least.
const CHECK_INTERVAL_MIN: Duration = Duration::from_secs(1);
/// A connection is abandoned this long before an identity's token ends, or in the last eighth of what the
/// renewal had.
const GIVE_UP_BEFORE_MAX: Duration = Duration::from_secs(90);
/// Between two tries to renew a token.
const RENEW_RETRY: Duration = Duration::from_secs(30);
/// A connection is abandoned when renewing has failed for this long: 90 s before its token ends.
const RENEW_GIVE_UP: Duration = Duration::from_secs(12 * 60 - 90);

/// The two links to `$cbs`. Azure allows one such pair on a connection.
pub(crate) struct CbsLinks {
    sender: Sender,
    receiver: Receiver,
    tokens: ConnectionTokens,
    /// The one that was put last.
    token: ConnectionToken,
    requests: u64,
}

/// Address that replies are sent to.
const REPLY_TO: &str = "twinroute-cbs";

impl CbsLinks {
    /// Attaches the links and puts `token`, the first one.
    ///
    /// Dropping the future leaves links on the session: drop the connection too.
    pub(crate) async fn attach(
        session: &mut SessionHandle<()>,
        tokens: ConnectionTokens,
        token: ConnectionToken,
    ) -> Result<Self, EndpointFault> {
        let sender = Sender::builder()
            .name("twinroute-cbs-sender")
            .source(REPLY_TO)
            .target("$cbs")
            .attach(session)
            .await
            .map_err(|error| fault::attach_fault(&error))?;
        let receiver = Receiver::builder()
            .name("twinroute-cbs-receiver")
            .source("$cbs")
            .target(REPLY_TO)
            .attach(session)
            .await
            .map_err(|error| receiver_fault(&error))?;
        let mut cbs = Self {
            sender,
            receiver,
            tokens,
            token: token.clone(),
            requests: 0,
        };
        cbs.put_token(token).await?;
        Ok(cbs)
    }

    /// Puts a token and waits for the answer to this very request.
    async fn put_token(&mut self, token: ConnectionToken) -> Result<(), EndpointFault> {
        let ends = token.expires_at;
        let put = tokio::time::timeout(PUT_TOKEN_TIMEOUT, self.exchange(&token))
            .await
            .unwrap_or_else(|_| {
                let detail = "no answer to put-token within 20 s";
                Err(status::unreachable("cbs-timeout", detail))
            });
        match &put {
            Ok(()) => {
                self.tokens.put(&token);
                self.token = token;
            }
            Err(fault) if fault.kind == FaultKind::Unauthorized => self.tokens.refused(&token),
            Err(_) => {}
        }
        // AMQP has no clock of the peer's to compare with: what is known of ours is said.
        put.map_err(|fault| match self.tokens.times(&fault, ends) {
            Some(times) => EndpointFault {
                reason: FailureReason::new(
                    fault.reason.code.clone(),
                    status::bounded(&format!("{}; {times}", fault.reason.detail)),
                ),
                ..fault
            },
            None => fault,
        })
    }

    async fn exchange(&mut self, token: &ConnectionToken) -> Result<(), EndpointFault> {
        self.requests += 1;
        let id = MessageId::String(format!("put-token-{}", self.requests));
        let request = request(&self.tokens.audience, token, id.clone());
        // Send errors name link states, never the message.
        let outcome = self.sender.send(request).await;
        match outcome {
            Ok(Outcome::Accepted(_)) => {}
            Ok(Outcome::Rejected(rejected)) => {
                return Err(fault::optional_error_fault(rejected.error.as_ref()));
            }
            Ok(_) => return Err(status::unreachable("cbs-send", "put-token was released")),
            Err(error) => return Err(fault::send_fault(&error)),
        }
        loop {
            let reply = self.receiver.recv::<Body<Value>>().await.map_err(|error| {
                status::unreachable("cbs-receive", fault_text::receive_text(&error))
            })?;
            self.receiver
                .accept(&reply)
                .await
                .map_err(|_| status::unreachable("cbs-receive", "the link ended"))?;
            // A late answer to a request that was abandoned before is skipped.
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
    /// A ready-made signature cannot be renewed: it is reported when that is over, where it says so; else the
    /// future never ends, and the broker ends the link. After a time-out the client must not be used again, so the first one ends the
    /// future too.
    pub(crate) async fn keep_renewed(&mut self) -> EndpointFault {
        match self.tokens.renewal() {
            TokenRenewal::Never => self.until_ended().await,
            TokenRenewal::Made => self.keep_made().await,
            TokenRenewal::Awaited => self.keep_awaited().await,
        }
    }

    async fn until_ended(&mut self) -> EndpointFault {
        while let Some(left) = self.tokens.left(&self.token) {
            if let Err(fault) = self.tokens.token().await {
                return fault;
            }
            tokio::time::sleep(left).await;
        }
        std::future::pending().await
    }

    async fn keep_made(&mut self) -> EndpointFault {
        loop {
            tokio::time::sleep(RENEW_AFTER).await;
            let mut failing = Duration::ZERO;
            while let Err(fault) = self.put_next().await {
                if fault.reason.code == "cbs-timeout" || failing >= RENEW_GIVE_UP {
                    return fault;
                }
                tokio::time::sleep(RENEW_RETRY).await;
                failing += RENEW_RETRY;
            }
        }
    }

    async fn put_next(&mut self) -> Result<(), EndpointFault> {
        let token = self.tokens.token().await?;
        self.put_token(token).await
    }

    /// Puts what the identity's source has new; it renews by itself once it is asked in time.
    async fn keep_awaited(&mut self) -> EndpointFault {
        loop {
            let Some(left) = self.tokens.left(&self.token) else {
                return std::future::pending().await;
            };
            let early = (left / 4).min(RENEW_BEFORE_MAX);
            tokio::time::sleep(left - early).await;
            let pause = (early / 16).clamp(CHECK_INTERVAL_MIN, RENEW_RETRY);
            let give_up = (early / 8).min(GIVE_UP_BEFORE_MAX);
            while let Err(fault) = self.put_newer().await {
                let left = self.tokens.left(&self.token).unwrap_or_default();
                if fault.reason.code == "cbs-timeout" || left <= give_up {
                    return fault;
                }
                tokio::time::sleep(pause).await;
            }
        }
    }

    async fn put_newer(&mut self) -> Result<(), EndpointFault> {
        let token = self.tokens.token().await?;
        if token == self.token {
            let detail = "the identity's token ends and there is no new one yet";
            return Err(status::unreachable("no-token", detail));
        }
        if token.text == self.token.text {
            // A file that was read again: the broker has it.
            self.token = token;
            return Ok(());
        }
        self.put_token(token).await
    }
}

fn receiver_fault(error: &ReceiverAttachError) -> EndpointFault {
    match error {
        ReceiverAttachError::RemoteClosedWithError(error) => {
            fault::optional_error_fault(Some(error))
        }
        other => status::unreachable("cbs-attach", fault_text::receiver_attach_text(other)),
    }
}

fn request(audience: &str, token: &ConnectionToken, id: MessageId) -> Message<AmqpValue<String>> {
    let mut properties = ApplicationProperties::builder()
        .insert("operation", SimpleValue::String("put-token".to_owned()))
        .insert("type", SimpleValue::String(token.kind.as_str().to_owned()))
        .insert("name", SimpleValue::String(audience.to_owned()));
    // An identity's token tells itself when it ends; what its source says may be earlier.
    if let (TokenKind::Signature, Some(expiry)) = (token.kind, token.expires_at) {
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
