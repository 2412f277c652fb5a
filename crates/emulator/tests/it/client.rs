//! What every test needs: a running emulator and an AMQP client with tokens.

use fe2o3_amqp::connection::ConnectionHandle;
use fe2o3_amqp::sasl_profile::SaslProfile;
use fe2o3_amqp::session::SessionHandle;
use fe2o3_amqp::types::messaging::message::__private::Serializable;
use fe2o3_amqp::types::messaging::{
    AmqpValue, ApplicationProperties, Body, Data, Message, MessageId, Properties,
};
use fe2o3_amqp::types::primitives::{SimpleValue, Value};
use fe2o3_amqp::{Connection, Delivery, Receiver, Sendable, Sender, Session};
use std::sync::Arc;
use std::time::Duration;
use twinroute_emulator::{
    BrokerSettings, EventGridSettings, EventGridTopicSettings, HubSettings, QueueSettings,
    RunningEmulator, Settings, TopicSettings,
};
use twinroute_model::clock::{Clock, SystemClock};
use twinroute_model::sas::service_bus_token;

pub(crate) const WAIT: Duration = Duration::from_secs(10);
/// The message-format of a batch.
const BATCH_FORMAT: u32 = 0x8001_3700;

pub(crate) fn settings() -> Settings {
    Settings {
        broker: BrokerSettings {
            hubs: vec![HubSettings::new("hub")],
            topics: vec![TopicSettings::new("topic", &["one", "two"])],
            queues: vec![QueueSettings::new("queue")],
            ..BrokerSettings::default()
        },
        event_grid: EventGridSettings {
            topics: vec![EventGridTopicSettings::new("grid")],
            ..EventGridSettings::default()
        },
        ..Settings::default()
    }
}

pub(crate) async fn emulator() -> RunningEmulator {
    RunningEmulator::start(settings(), Arc::new(SystemClock))
        .await
        .unwrap()
}

/// One connection with one session.
pub(crate) struct AmqpClient {
    pub(crate) connection: ConnectionHandle<()>,
    pub(crate) session: SessionHandle<()>,
    address: String,
    key: String,
    cbs: Option<(Sender, Receiver)>,
}

impl AmqpClient {
    /// Connects with SASL ANONYMOUS, as the Azure clients do.
    pub(crate) async fn connect(emulator: &RunningEmulator) -> Self {
        Self::with_sasl(emulator, SaslProfile::Anonymous).await
    }

    pub(crate) async fn with_sasl(emulator: &RunningEmulator, sasl: SaslProfile) -> Self {
        let address = emulator.amqp_address().to_string();
        let url = format!("amqp://{address}");
        let mut connection = Connection::builder()
            .container_id("test")
            .max_frame_size(4_096u32)
            .sasl_profile(sasl)
            .open(url.as_str())
            .await
            .unwrap();
        let session = Session::begin(&mut connection).await.unwrap();
        let string = emulator.event_hubs_connection_string("x");
        let key = string
            .split("SharedAccessKey=")
            .nth(1)
            .unwrap()
            .split(';')
            .next()
            .unwrap();
        Self {
            connection,
            session,
            address,
            key: key.to_owned(),
            cbs: None,
        }
    }

    /// Begins another session: the client gives one up once a link on it was refused.
    pub(crate) async fn renew_session(&mut self) {
        self.session = Session::begin(&mut self.connection).await.unwrap();
        self.cbs = None;
    }

    /// Puts a token for `entity` and returns the status code.
    pub(crate) async fn put_token(&mut self, entity: &str) -> i32 {
        let audience = format!("sb://{}/{entity}", self.address);
        let expiry = SystemClock.now().after(Duration::from_secs(600));
        let token = service_bus_token(&audience, "RootManageSharedAccessKey", &self.key, expiry);
        let (mut sender, mut receiver) = match self.cbs.take() {
            Some(links) => links,
            None => self.control("$cbs").await,
        };
        let request = [
            ("operation", "put-token"),
            ("type", "servicebus.windows.net:sastoken"),
            ("name", &audience),
        ];
        let reply = ask(&mut sender, &mut receiver, &request, Value::String(token)).await;
        self.cbs = Some((sender, receiver));
        code(&reply, "status-code")
    }

    /// Attaches the two links of a request-response node.
    pub(crate) async fn control(&mut self, node: &str) -> (Sender, Receiver) {
        let reply = format!("{node}-reply");
        let receiver = Receiver::attach(&mut self.session, reply, node)
            .await
            .unwrap();
        let request = format!("{node}-request");
        (
            Sender::attach(&mut self.session, request, node)
                .await
                .unwrap(),
            receiver,
        )
    }

    /// A sender with a token for its entity.
    pub(crate) async fn sender(&mut self, entity: &str) -> Sender {
        let root = entity.split('/').next().unwrap();
        assert_eq!(self.put_token(root).await, 200);
        Sender::attach(&mut self.session, format!("to-{entity}"), entity)
            .await
            .unwrap()
    }
}

/// Sends a request and waits for its reply, which must carry the request's message-id.
pub(crate) async fn ask(
    sender: &mut Sender,
    receiver: &mut Receiver,
    application: &[(&str, &str)],
    body: Value,
) -> Delivery<Body<Value>> {
    let mut properties = ApplicationProperties::default();
    for (name, value) in application {
        properties.insert((*name).to_owned(), SimpleValue::String((*value).to_owned()));
    }
    let request = Message::builder()
        .properties(Properties::builder().message_id(7u64).build())
        .application_properties(properties)
        .body(AmqpValue(body))
        .build();
    sender.send(request).await.unwrap();
    let reply = tokio::time::timeout(WAIT, receiver.recv::<Body<Value>>())
        .await
        .unwrap()
        .unwrap();
    let correlation = reply
        .message()
        .properties
        .as_ref()
        .unwrap()
        .correlation_id
        .clone();
    assert_eq!(correlation, Some(MessageId::Ulong(7)));
    reply
}

pub(crate) fn code(reply: &Delivery<Body<Value>>, name: &str) -> i32 {
    let application = reply.message().application_properties.as_ref().unwrap();
    match application.get(name) {
        Some(SimpleValue::Int(code)) => *code,
        other => panic!("{name} is {other:?}"),
    }
}

pub(crate) fn message(id: &str, body: &[u8]) -> Message<Data> {
    let mut application = ApplicationProperties::default();
    let kind = SimpleValue::String("sample".to_owned());
    application.insert("cloudEvents:type".to_owned(), kind);
    Message::builder()
        .properties(
            Properties::builder()
                .message_id(id.to_owned())
                .content_type("application/json")
                .group_id("session".to_owned())
                .build(),
        )
        .application_properties(application)
        .data(body.to_vec())
        .build()
}

/// A batch envelope that holds whole messages.
pub(crate) fn batch(
    messages: Vec<Message<Data>>,
) -> Sendable<fe2o3_amqp::types::messaging::Batch<Data>> {
    let members: Vec<Data> = messages
        .into_iter()
        .map(|message| Data::from(serde_amqp::to_vec(&Serializable(message)).unwrap()))
        .collect();
    Sendable::builder()
        .message(Message::builder().data_batch(members).build())
        .message_format(BATCH_FORMAT)
        .build()
}

pub(crate) fn body(delivery: &Delivery<Body<Value>>) -> Vec<u8> {
    let Body::Data(sections) = delivery.body() else {
        panic!("{:?}", delivery.body())
    };
    sections
        .iter()
        .flat_map(|section| section.0.to_vec())
        .collect()
}
