//! A broker of one entity with `$cbs`, made of fe2o3-amqp's acceptor; it does as a script says.

#![allow(dead_code, reason = "each user of this file needs a part of it")]
#![allow(clippy::unwrap_used, reason = "test code, which an example shares")]

pub(crate) mod deliveries;

use fe2o3_amqp::acceptor::{
    ConnectionAcceptor, LinkAcceptor, LinkEndpoint, ListenerSessionHandle, SaslAnonymousMechanism,
    SaslPlainMechanism, SessionAcceptor,
};
use fe2o3_amqp::link::Receiver;
use fe2o3_amqp::types::definitions::{AmqpError, Error, ErrorCondition};
use fe2o3_amqp::types::messaging::annotations::OwnedKey;
use fe2o3_amqp::types::messaging::message::__private::Deserializable;
use fe2o3_amqp::types::messaging::{
    ApplicationProperties, Body, Data, Message, MessageId, Modified, Properties,
};
use fe2o3_amqp::types::primitives::{SimpleValue, Symbol, Value};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// One transfer as it arrived.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ArrivedTransfer {
    pub(crate) connection: usize,
    pub(crate) format: u32,
    pub(crate) partition_key: Option<String>,
    pub(crate) message_id: Option<String>,
    pub(crate) group_id: Option<String>,
    pub(crate) events: Vec<ArrivedEvent>,
}

impl ArrivedTransfer {
    pub(crate) fn ids(&self) -> Vec<&str> {
        self.events.iter().map(|event| event.id.as_str()).collect()
    }
}

/// One event in it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ArrivedEvent {
    pub(crate) id: String,
    pub(crate) partition_key: Option<String>,
    pub(crate) message_id: Option<String>,
    pub(crate) group_id: Option<String>,
    pub(crate) data: Vec<u8>,
}

/// What to do with a transfer.
pub(crate) enum TransferAction {
    Accept,
    Reject(&'static str, &'static str),
    RejectWithout,
    Release,
    Modify {
        undeliverable_here: bool,
    },
    /// Never answer.
    Hold,
    /// End the link with a condition.
    Detach(&'static str),
    /// End the connection with a condition.
    Close(&'static str),
}

pub(crate) type BrokerScript = Box<dyn FnMut(&ArrivedTransfer) -> TransferAction + Send>;
pub(crate) type BrokerGate = Box<dyn FnMut(&str) -> Option<i32> + Send>;

/// What a broker is to do and what it has seen.
pub(crate) struct TestBroker {
    pub(crate) script: Mutex<BrokerScript>,
    /// The status that a token gets, or `None` for no answer at all.
    pub(crate) gate: Mutex<BrokerGate>,
    pub(crate) arrived: Mutex<Vec<ArrivedTransfer>>,
    /// Audience and token of every put-token.
    pub(crate) tokens: Mutex<Vec<(String, String)>>,
    /// The `type` of every put-token.
    pub(crate) token_types: Mutex<Vec<String>>,
    pub(crate) connections: Mutex<usize>,
    pub(crate) max_message_size: u64,
    /// Name and key of SASL PLAIN; ANONYMOUS without.
    pub(crate) plain: Option<(&'static str, &'static str)>,
    /// Decode nothing and accept everything: for measuring the sender.
    pub(crate) fast: bool,
}

impl Default for TestBroker {
    fn default() -> Self {
        Self {
            script: Mutex::new(Box::new(|_| TransferAction::Accept)),
            gate: Mutex::new(Box::new(|_| Some(202))),
            arrived: Mutex::default(),
            tokens: Mutex::default(),
            token_types: Mutex::default(),
            connections: Mutex::default(),
            max_message_size: 1 << 20,
            plain: None,
            fast: false,
        }
    }
}

impl TestBroker {
    pub(crate) fn script(
        &self,
        script: impl FnMut(&ArrivedTransfer) -> TransferAction + Send + 'static,
    ) {
        *self.script.lock().unwrap() = Box::new(script);
    }

    pub(crate) fn gate(&self, gate: impl FnMut(&str) -> Option<i32> + Send + 'static) {
        *self.gate.lock().unwrap() = Box::new(gate);
    }

    pub(crate) fn transfers(&self) -> Vec<ArrivedTransfer> {
        self.arrived.lock().unwrap().clone()
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        let arrived = self.arrived.lock().unwrap();
        let events = arrived.iter().flat_map(|transfer| &transfer.events);
        events.map(|event| event.id.clone()).collect()
    }

    pub(crate) fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }

    /// Listens until the returned set is dropped; all connections end then.
    pub(crate) async fn listen(self: &Arc<Self>, address: &str) -> (SocketAddr, JoinSet<()>) {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let broker = Arc::clone(self);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                connections.spawn(Arc::clone(&broker).serve(stream));
            }
        });
        (address, tasks)
    }

    /// Serves one connection to its end.
    pub(crate) async fn serve<Io>(self: Arc<Self>, stream: Io)
    where
        Io: AsyncRead + AsyncWrite + std::fmt::Debug + Send + Unpin + 'static,
    {
        let number = {
            let mut connections = self.connections.lock().unwrap();
            *connections += 1;
            *connections
        };
        let builder = ConnectionAcceptor::builder().container_id("broker");
        let accepted = match self.plain {
            Some((name, key)) => {
                let sasl = SaslPlainMechanism::new(name, key);
                builder.sasl_acceptor(sasl).build().accept(stream).await
            }
            None => {
                let sasl = SaslAnonymousMechanism {};
                builder.sasl_acceptor(sasl).build().accept(stream).await
            }
        };
        let Ok(mut connection) = accepted else { return };
        let Ok(mut session) = SessionAcceptor::new().accept(&mut connection).await else {
            return;
        };
        let (close, mut closed) = tokio::sync::mpsc::unbounded_channel();
        let mut links = JoinSet::new();
        let serving = self.clone().links(number, &mut session, &mut links, close);
        tokio::select! {
            () = serving => {}
            Some(condition) = closed.recv() => {
                connection.close_with_error(error(condition, "scripted")).await.ok();
            }
            _ = connection.on_close() => {}
        }
    }

    async fn links(
        self: Arc<Self>,
        number: usize,
        session: &mut ListenerSessionHandle,
        links: &mut JoinSet<()>,
        close: tokio::sync::mpsc::UnboundedSender<&'static str>,
    ) {
        let (replies, mut queue) = tokio::sync::mpsc::unbounded_channel();
        let acceptor = LinkAcceptor::builder()
            .max_message_size(self.max_message_size)
            .build();
        let mut queue_taken = Some(&mut queue);
        let mut cbs_sender = None;
        let mut waiting = Vec::new();
        loop {
            let endpoint = tokio::select! {
                endpoint = acceptor.accept(session) => endpoint,
                Some(reply) = async {
                    match &mut queue_taken {
                        Some(queue) => queue.recv().await,
                        None => std::future::pending().await,
                    }
                } => {
                    waiting.push(reply);
                    answer(&mut cbs_sender, &mut waiting).await;
                    continue;
                }
            };
            match endpoint {
                Ok(LinkEndpoint::Sender(sender)) => {
                    cbs_sender = Some(sender);
                    answer(&mut cbs_sender, &mut waiting).await;
                }
                Ok(LinkEndpoint::Receiver(receiver)) => {
                    let address = receiver
                        .target()
                        .as_ref()
                        .and_then(|target| target.address.clone());
                    let broker = Arc::clone(&self);
                    if address.as_deref() == Some("$cbs") {
                        links.spawn(broker.put_tokens(receiver, replies.clone()));
                    } else {
                        links.spawn(broker.entity(number, receiver, close.clone()));
                    }
                }
                Err(_) => return,
            }
        }
    }

    async fn put_tokens(
        self: Arc<Self>,
        mut receiver: Receiver,
        replies: tokio::sync::mpsc::UnboundedSender<Message<Value>>,
    ) {
        while let Ok(request) = receiver.recv::<Value>().await {
            receiver.accept(&request).await.ok();
            let message = request.message();
            let name = match message
                .application_properties
                .as_ref()
                .and_then(|properties| properties.get("name"))
            {
                Some(SimpleValue::String(name)) => name.clone(),
                other => panic!("no audience: {other:?}"),
            };
            if let Some(SimpleValue::String(kind)) = message
                .application_properties
                .as_ref()
                .and_then(|properties| properties.get("type"))
            {
                self.token_types.lock().unwrap().push(kind.clone());
            }
            let Value::String(token) = message.body.clone() else {
                panic!("a token is a string")
            };
            self.tokens.lock().unwrap().push((name, token.clone()));
            let Some(status) = (self.gate.lock().unwrap())(&token) else {
                continue;
            };
            let id = message.properties.as_ref().unwrap().message_id.clone();
            let reply = Message {
                properties: Some(Properties {
                    correlation_id: id,
                    ..Properties::default()
                }),
                application_properties: Some(
                    ApplicationProperties::builder()
                        .insert("status-code", status)
                        .insert("status-description", "scripted")
                        .build(),
                ),
                ..Message::default()
            };
            if replies.send(reply).is_err() {
                return;
            }
        }
    }

    async fn entity(
        self: Arc<Self>,
        connection: usize,
        mut receiver: Receiver,
        close: tokio::sync::mpsc::UnboundedSender<&'static str>,
    ) {
        while let Ok(delivery) = receiver.recv::<Body<Value>>().await {
            if self.fast {
                receiver.accept(&delivery).await.ok();
                continue;
            }
            let format = delivery.message_format().unwrap_or(0);
            let arrived = arrived(connection, format, delivery.message());
            let reply = (self.script.lock().unwrap())(&arrived);
            self.arrived.lock().unwrap().push(arrived);
            let done = match reply {
                TransferAction::Accept => receiver.accept(&delivery).await,
                TransferAction::Reject(condition, text) => {
                    receiver.reject(&delivery, error(condition, text)).await
                }
                TransferAction::RejectWithout => receiver.reject(&delivery, None).await,
                TransferAction::Release => receiver.release(&delivery).await,
                TransferAction::Modify { undeliverable_here } => {
                    let modified = Modified {
                        delivery_failed: Some(true),
                        undeliverable_here: Some(undeliverable_here),
                        message_annotations: None,
                    };
                    receiver.modify(&delivery, modified).await
                }
                TransferAction::Hold => continue,
                TransferAction::Detach(condition) => {
                    receiver
                        .close_with_error(error(condition, "scripted"))
                        .await
                        .ok();
                    return;
                }
                TransferAction::Close(condition) => {
                    close.send(condition).ok();
                    // The link lives on until the connection ends it.
                    return std::future::pending().await;
                }
            };
            if done.is_err() {
                return;
            }
        }
    }
}

async fn answer(sender: &mut Option<fe2o3_amqp::link::Sender>, waiting: &mut Vec<Message<Value>>) {
    let Some(sender) = sender else { return };
    for reply in waiting.drain(..) {
        let reply = reply.map_body(fe2o3_amqp::types::messaging::AmqpValue);
        sender.send(reply).await.ok();
    }
}

fn error(condition: &'static str, text: &str) -> Error {
    let condition = match AmqpError::try_from(condition) {
        Ok(condition) => ErrorCondition::AmqpError(condition),
        Err(_) => ErrorCondition::Custom(Symbol::from(condition)),
    };
    Error::new(condition, text.to_owned(), None)
}

fn arrived(connection: usize, format: u32, message: &Message<Body<Value>>) -> ArrivedTransfer {
    let Body::Data(sections) = &message.body else {
        panic!("not data: {message:?}")
    };
    let events = if format == 0 {
        let whole = Message {
            header: None,
            delivery_annotations: None,
            message_annotations: message.message_annotations.clone(),
            properties: message.properties.clone(),
            application_properties: message.application_properties.clone(),
            body: Data(sections.iter().next().unwrap().0.clone()),
            footer: None,
        };
        vec![event(&whole)]
    } else {
        sections
            .iter()
            .map(|section| event(&decode(&section.0)))
            .collect()
    };
    ArrivedTransfer {
        connection,
        format,
        partition_key: partition_key(message),
        message_id: message_id(message),
        group_id: group_id(message),
        events,
    }
}

/// One encoded message.
pub(crate) fn decode(bytes: &[u8]) -> Message<Data> {
    let Deserializable(message) =
        serde_amqp::from_slice::<Deserializable<Message<Data>>>(bytes).unwrap();
    message
}

fn event(message: &Message<Data>) -> ArrivedEvent {
    let id = match message
        .application_properties
        .as_ref()
        .unwrap()
        .0
        .get("cloudEvents:id")
    {
        Some(SimpleValue::String(id)) => id.clone(),
        other => panic!("an id is a string, not {other:?}"),
    };
    ArrivedEvent {
        id,
        partition_key: partition_key(message),
        message_id: message_id(message),
        group_id: group_id(message),
        data: message.body.0.to_vec(),
    }
}

fn partition_key<B>(message: &Message<B>) -> Option<String> {
    let annotations = message.message_annotations.as_ref()?;
    match annotations.0.get(&OwnedKey::from("x-opt-partition-key")) {
        Some(Value::String(key)) => Some(key.clone()),
        other => panic!("a partition key is a string, not {other:?}"),
    }
}

fn message_id<B>(message: &Message<B>) -> Option<String> {
    match message.properties.as_ref()?.message_id.as_ref()? {
        MessageId::String(id) => Some(id.clone()),
        other => panic!("a message id is a string, not {other:?}"),
    }
}

fn group_id<B>(message: &Message<B>) -> Option<String> {
    message.properties.as_ref()?.group_id.clone()
}
