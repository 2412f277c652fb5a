//! One connection to the servers of the log, and requests with an end.

use crate::answer::{RequestFault, foreign_text, read};
use crate::settings::{JetStreamSettings, LogCredentials};
use async_nats::connection::State;
use async_nats::jetstream::publish::PublishAck;
use async_nats::{
    Client, ConnectError, ConnectErrorKind, ConnectOptions, Event, HeaderMap, Message, Request,
};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::error::Error as _;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, timeout};
use twinroute_journal::ClusterLogError;

/// A connection. Clones share it; it ends with the last of them.
#[derive(Clone)]
pub(crate) struct LogConnection {
    pub(crate) client: Client,
    request_max: Duration,
    complaint: Arc<Mutex<Option<ServerComplaint>>>,
}

/// What a server or the connection last said, beside answers.
#[derive(Clone, Debug)]
struct ServerComplaint {
    text: String,
    at: Instant,
}

const CONNECT_MAX: Duration = Duration::from_secs(5);
const PING_EVERY: Duration = Duration::from_secs(5);
/// Between two attempts to connect: doubles from the first to the last.
const RECONNECT_MIN: Duration = Duration::from_millis(50);
const RECONNECT_MAX: Duration = Duration::from_secs(2);
/// Requests that wait for their way to the socket.
const QUEUE_MAX: usize = 256;
/// Messages of one tail that were not read yet; [`crate::tail`] bounds their bytes.
const TAIL_MESSAGES_MAX: usize = 8_192;

impl LogConnection {
    /// Connects to one of the servers. Tries each once.
    ///
    /// # Errors
    /// [`ClusterLogError::Refused`] where it is refused for who asks, [`ClusterLogError::Unavailable`] otherwise.
    pub(crate) async fn open(settings: &JetStreamSettings) -> Result<Self, ClusterLogError> {
        let complaint = Arc::new(Mutex::new(None));
        let options = credentials(options(settings, &complaint), &settings.credentials)?;
        let urls: Vec<_> = settings.urls.iter().map(|url| url.0.clone()).collect();
        let client = options.connect(urls).await;
        let client = client.map_err(|error| connect_error(&error, settings))?;
        Ok(Self {
            client,
            request_max: settings.request_max,
            complaint,
        })
    }

    /// Asks the API of JetStream: `$JS.API.<subject>`.
    pub(crate) async fn api<T: DeserializeOwned>(
        &self,
        subject: &str,
        body: &Value,
    ) -> Result<T, RequestFault> {
        let payload = match body {
            Value::Null => Bytes::new(),
            body => body.to_string().into(),
        };
        let request = Request::new().payload(payload);
        let answer = self.request(format!("$JS.API.{subject}"), request).await?;
        read(&answer.payload)
    }

    /// Sends a message into a stream and waits for its acknowledgement.
    pub(crate) async fn publish(
        &self,
        subject: String,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Result<PublishAck, RequestFault> {
        let request = Request::new().headers(headers).payload(payload);
        read(&self.request(subject, request).await?.payload)
    }

    /// The whole of it has an end: a full queue and a lost connection included.
    async fn request(&self, subject: String, request: Request) -> Result<Message, RequestFault> {
        let began = Instant::now();
        let request = request.timeout(None);
        let answer = timeout(self.request_max, self.client.send_request(subject, request)).await;
        let reason = match answer {
            Ok(Ok(message)) => return Ok(message),
            Ok(Err(error)) => chain(&error),
            Err(_) => format!("no answer in {} s", self.request_max.as_secs_f32()),
        };
        Err(RequestFault::NoAnswer(
            self.explained(&reason, began).into(),
        ))
    }

    /// With what is known of the connection.
    fn explained(&self, reason: &str, began: Instant) -> String {
        let is_connected = self.client.connection_state() == State::Connected;
        match &*self.complaint() {
            Some(ServerComplaint { text, at }) if is_connected && *at >= began => {
                format!("{reason}; a server says: {text}")
            }
            Some(ServerComplaint { text, .. }) if !is_connected => {
                format!("{reason}; not connected: {text}")
            }
            None if !is_connected => format!("{reason}; not connected"),
            _ => reason.to_owned(),
        }
    }

    /// How long a request waits for its answer.
    pub(crate) const fn request_max(&self) -> Duration {
        self.request_max
    }

    /// What a server has complained about since then.
    pub(crate) fn complaint_since(&self, since: Instant) -> Option<String> {
        let complaint = self.complaint();
        let complaint = complaint
            .as_ref()
            .filter(|complaint| complaint.at >= since)?;
        Some(complaint.text.clone())
    }

    fn complaint(&self) -> MutexGuard<'_, Option<ServerComplaint>> {
        self.complaint
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn options(
    settings: &JetStreamSettings,
    complaint: &Arc<Mutex<Option<ServerComplaint>>>,
) -> ConnectOptions {
    let complaint = Arc::clone(complaint);
    let options = ConnectOptions::new()
        .name(format!("twinroute {}", settings.router))
        .connection_timeout(CONNECT_MAX)
        .request_timeout(Some(settings.request_max))
        .ping_interval(PING_EVERY)
        .client_capacity(QUEUE_MAX)
        .subscription_capacity(TAIL_MESSAGES_MAX)
        // For ever: a router whose servers come back goes on by itself.
        .max_reconnects(None)
        .reconnect_delay_callback(reconnect_delay)
        .event_callback(move |event| {
            let text = match &event {
                Event::ServerError(error) => Some(error.to_string()),
                Event::ClientError(error) => Some(error.to_string()),
                Event::Disconnected => Some("the connection ended".to_owned()),
                _ => None,
            };
            if let Some(text) = text {
                let mut last = complaint.lock().unwrap_or_else(PoisonError::into_inner);
                *last = Some(ServerComplaint {
                    text: foreign_text(&text),
                    at: Instant::now(),
                });
            }
            async {}
        });
    let is_required = settings.urls.iter().any(|url| url.0.tls_required());
    match &settings.tls {
        Some(tls) => options.require_tls(true).tls_client_config(tls.clone()),
        None => options.require_tls(is_required),
    }
}

/// Why there is no connection: refused where it will be so again until somebody changes something.
fn connect_error(error: &ConnectError, settings: &JetStreamSettings) -> ClusterLogError {
    let servers: Vec<String> = settings.urls.iter().map(ToString::to_string).collect();
    let servers = servers.join(", ");
    let text = chain(error);
    match error.kind() {
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
            ClusterLogError::Refused(
                format!(
                    "the servers at {servers} do not accept the credentials; look at the router's credentials and the accounts of the servers: {text}"
                )
                .into(),
            )
        }
        kind if kind == ConnectErrorKind::Tls || is_of_tls(error) => ClusterLogError::Refused(
            format!(
                "no TLS with {servers}; look at whom the router trusts and at the servers' certificates: {text}"
            )
            .into(),
        ),
        _ => ClusterLogError::Unavailable(
            format!("no server answers at {servers}: {text}").into(),
        ),
    }
}

/// A handshake that failed comes as an error of input and output, with what failed within.
fn is_of_tls(error: &ConnectError) -> bool {
    let mut next = error.source();
    while let Some(cause) = next {
        let within = cause
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        if within.is_some_and(|within| within.is::<rustls::Error>()) {
            return true;
        }
        next = cause.source();
    }
    false
}

fn credentials(
    options: ConnectOptions,
    credentials: &LogCredentials,
) -> Result<ConnectOptions, ClusterLogError> {
    Ok(match credentials {
        LogCredentials::Anonymous => options,
        LogCredentials::Password { user, password } => {
            options.user_and_password(user.clone(), password.expose().to_owned())
        }
        LogCredentials::NkeySeed(seed) => options.nkey(seed.expose().to_owned()),
        // Its own error might show a part of the text.
        LogCredentials::CredentialsFile(text) => options.credentials(text.expose()).map_err(|_| {
            ClusterLogError::Refused(
                "the credentials file cannot be read as one; give the file that `nsc generate creds` wrote".into(),
            )
        })?,
    })
}

/// At once, and then ever later up to [`RECONNECT_MAX`].
fn reconnect_delay(attempts: usize) -> Duration {
    match u32::try_from(attempts.saturating_sub(2)) {
        _ if attempts <= 1 => Duration::ZERO,
        Ok(doublings) if doublings < 16 => (RECONNECT_MIN * (1 << doublings)).min(RECONNECT_MAX),
        _ => RECONNECT_MAX,
    }
}

/// An error of the client with its causes, each once.
fn chain<K>(error: &async_nats::error::Error<K>) -> String
where
    K: Clone + std::fmt::Debug + std::fmt::Display + PartialEq,
{
    let mut text = error.kind().to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    foreign_text(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_to_connect_come_ever_later_and_never_too_late() {
        let delays = [0, 1, 2, 3, 7, 8, 20, usize::MAX].map(reconnect_delay);
        let expect = [0, 0, 50, 100, 1_600, 2_000, 2_000, 2_000].map(Duration::from_millis);
        assert_eq!(delays, expect);
    }
}
