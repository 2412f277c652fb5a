//! Session receivers on the wire, without a socket.

use super::peer::AmqpPeer;
use super::tests::{attach_with, body, broker_of, flow, open, put, transfer, written};
use crate::amqp::encode;
use crate::amqp::performative::{AmqpPerformative, AttachFrame, DetachFrame};
use crate::amqp::value::AmqpValue;
use crate::broker::message_broker::MessageBroker;
use crate::broker::settings::{BrokerSettings, QueueSettings, TopicSettings};
use bytes::{Bytes, BytesMut};
use std::sync::Arc;
use std::time::Duration;
use twinroute_model::clock::{ManualClock, Timestamp};

const NOW: Timestamp = Timestamp::from_unix_millis(1_700_000_000_000);

fn store() -> (Arc<MessageBroker>, Arc<ManualClock>) {
    let mut by_session = QueueSettings::new("by-session");
    by_session.requires_session = true;
    let mut topic = TopicSettings::new("topic", &["plain", "by-session"]);
    topic.subscriptions[1].requires_session = true;
    let settings = BrokerSettings {
        require_tokens: false,
        queues: vec![QueueSettings::new("queue"), by_session],
        topics: vec![topic],
        ..BrokerSettings::default()
    };
    let clock = Arc::new(ManualClock::new(NOW));
    let store = broker_of(settings, Arc::clone(&clock) as _);
    (store, clock)
}

/// A receiver with a session filter: a name, or null for the next session.
fn accept(
    handle: u32,
    address: &str,
    session: AmqpValue,
    wait_ms: Option<u32>,
) -> AmqpPerformative {
    let filter = AmqpValue::Map(vec![(
        AmqpValue::symbol("com.microsoft:session-filter"),
        session,
    )]);
    let mut fields = vec![AmqpValue::string(address)];
    fields.resize(7, AmqpValue::Null);
    fields.push(filter);
    attach_with(true, handle, address, |attach| {
        attach.source = AmqpValue::described(0x28, AmqpValue::List(fields));
        if let Some(wait) = wait_ms {
            let wait = (
                AmqpValue::symbol("com.microsoft:timeout"),
                AmqpValue::Uint(wait),
            );
            attach.properties = AmqpValue::Map(vec![wait]);
        }
    })
}

fn in_session(session: &str) -> Bytes {
    let mut properties = vec![AmqpValue::Null; 13];
    properties[10] = AmqpValue::string(session);
    let mut out = BytesMut::new();
    encode::described(0x73, &AmqpValue::List(properties), &mut out);
    out.extend_from_slice(&body("x"));
    out.freeze()
}

struct SessionWire {
    peer: AmqpPeer,
    input: BytesMut,
}

impl SessionWire {
    fn new(store: &Arc<MessageBroker>) -> Self {
        let mut wire = Self {
            peer: AmqpPeer::new(Arc::clone(store)),
            input: open(None),
        };
        wire.answers();
        wire
    }

    fn say(&mut self, performative: AmqpPerformative, payload: &[u8]) -> &mut Self {
        put(performative, payload, &mut self.input);
        self
    }

    fn answers(&mut self) -> Vec<(AmqpPerformative, Bytes)> {
        self.peer.feed(&mut self.input).unwrap();
        written(&mut self.peer)
    }

    /// Sends one message in a session.
    fn send(&mut self, address: &str, session: &str) {
        self.say(attach_with(false, 200, address, |_| ()), &[]);
        self.say(transfer(200, 0), &in_session(session));
        let detach = DetachFrame {
            handle: 200,
            closed: true,
            error: None,
        };
        self.say(AmqpPerformative::Detach(detach), &[]).answers();
    }
}

/// The condition of the detach after a refused attach.
fn refusal(answers: &[(AmqpPerformative, Bytes)]) -> Option<String> {
    let [
        (AmqpPerformative::Attach(answer), _),
        (AmqpPerformative::Detach(detach), _),
    ] = answers
    else {
        return None;
    };
    assert_eq!(
        answer.source,
        AmqpValue::Null,
        "a refused receiver has no source"
    );
    Some(detach.error.as_ref()?.condition.clone())
}

/// The session that an answer to an attach names.
fn accepted(answers: &[(AmqpPerformative, Bytes)]) -> Option<String> {
    answers.iter().find_map(|(one, _)| match one {
        AmqpPerformative::Attach(answer) => session_of(answer),
        _ => None,
    })
}

fn session_of(answer: &AttachFrame) -> Option<String> {
    let filters = answer.source.items().get(7)?;
    let session = filters.get("com.microsoft:session-filter")?;
    Some(session.as_str()?.to_owned())
}

#[tokio::test(start_paused = true)]
async fn the_wrong_kind_of_receiver_is_refused() {
    let (store, _) = store();
    let name = || AmqpValue::string("s");
    for (attach, expect) in [
        (accept(1, "queue", name(), None), Some("amqp:not-allowed")),
        (
            accept(1, "queue", AmqpValue::Null, None),
            Some("amqp:not-allowed"),
        ),
        (
            accept(1, "topic/Subscriptions/plain", name(), None),
            Some("amqp:not-allowed"),
        ),
        (
            accept(1, "by-session/$DeadLetterQueue", name(), None),
            Some("amqp:not-allowed"),
        ),
        (
            attach_with(true, 1, "by-session", |_| ()),
            Some("amqp:not-allowed"),
        ),
        (
            attach_with(true, 1, "topic/Subscriptions/by-session", |_| ()),
            Some("amqp:not-allowed"),
        ),
        (attach_with(true, 1, "queue", |_| ()), None),
        (
            attach_with(true, 1, "by-session/$DeadLetterQueue", |_| ()),
            None,
        ),
        (
            accept(1, "topic/Subscriptions/by-session", name(), None),
            None,
        ),
    ] {
        let mut wire = SessionWire::new(&store);
        let answers = wire.say(attach.clone(), &[]).answers();
        assert_eq!(refusal(&answers).as_deref(), expect, "{attach:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_without_a_session_is_rejected_by_a_session_queue() {
    let (store, _) = store();
    let mut wire = SessionWire::new(&store);
    wire.say(attach_with(false, 0, "by-session", |_| ()), &[]);
    let answers = wire.say(transfer(0, 0), &body("x")).answers();
    let Some((AmqpPerformative::Disposition(disposition), _)) = answers.last() else {
        panic!("{answers:?}")
    };
    let error = disposition.state.items()[0].items();
    assert_eq!(error[0].as_str(), Some("amqp:not-allowed"));
    assert!(store.queue_messages("by-session").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_session_is_accepted_by_name_or_as_the_next_one() {
    let (store, _) = store();
    let mut sender = SessionWire::new(&store);
    sender.send("by-session", "b");
    sender.send("by-session", "a");
    let mut wire = SessionWire::new(&store);
    let answers = wire
        .say(accept(1, "by-session", AmqpValue::string("b"), None), &[])
        .answers();
    assert_eq!(accepted(&answers).as_deref(), Some("b"));
    let Some((AmqpPerformative::Attach(answer), _)) = answers.first() else {
        panic!("{answers:?}")
    };
    let until = answer.properties.get("com.microsoft:locked-until-utc");
    let until_millis = NOW.after(Duration::from_secs(30)).unix_millis();
    let ticks = (until_millis + 62_135_596_800_000) * 10_000;
    assert_eq!(until, Some(&AmqpValue::Long(ticks)));
    let mut second = SessionWire::new(&store);
    let answers = second
        .say(accept(1, "by-session", AmqpValue::string("b"), None), &[])
        .answers();
    let refused = refusal(&answers);
    assert_eq!(
        refused.as_deref(),
        Some("com.microsoft:session-cannot-be-locked")
    );
    let answers = second
        .say(accept(2, "by-session", AmqpValue::Null, None), &[])
        .answers();
    assert_eq!(accepted(&answers).as_deref(), Some("a"));
}

#[tokio::test(start_paused = true)]
async fn a_receiver_of_the_next_session_waits_for_one_and_keeps_its_credit() {
    let (store, _) = store();
    let mut wire = SessionWire::new(&store);
    wire.say(accept(1, "by-session", AmqpValue::Null, Some(5_000)), &[]);
    let answers = wire.say(flow(1, 10, false), &[]).answers();
    assert_eq!(answers, []);
    SessionWire::new(&store).send("by-session", "s");
    let answers = wire.answers();
    assert_eq!(accepted(&answers).as_deref(), Some("s"));
    let transfers = answers
        .iter()
        .filter(|(one, _)| matches!(one, AmqpPerformative::Transfer(_)));
    assert_eq!(transfers.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_of_the_next_session_is_refused_when_its_time_is_over() {
    let (store, _) = store();
    for (wait, seconds) in [(Some(5_000), 5), (None, 60)] {
        let mut wire = SessionWire::new(&store);
        let started = tokio::time::Instant::now();
        let mut answers = wire
            .say(accept(1, "by-session", AmqpValue::Null, wait), &[])
            .answers();
        while answers.is_empty() {
            tokio::time::sleep_until(wire.peer.next_timer()).await;
            wire.peer.tick().unwrap();
            answers = written(&mut wire.peer);
        }
        assert_eq!(refusal(&answers).as_deref(), Some("com.microsoft:timeout"));
        let over = started
            .elapsed()
            .saturating_sub(Duration::from_secs(seconds));
        assert!(over < Duration::from_secs(1), "{:?}", started.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_stops_waiting_takes_no_session() {
    let (store, _) = store();
    let mut wire = SessionWire::new(&store);
    wire.say(accept(1, "by-session", AmqpValue::Null, None), &[]);
    let detach = DetachFrame {
        handle: 1,
        closed: true,
        error: None,
    };
    let answers = wire.say(AmqpPerformative::Detach(detach), &[]).answers();
    assert!(matches!(
        &answers[..],
        [
            (AmqpPerformative::Attach(_), _),
            (AmqpPerformative::Detach(_), _)
        ]
    ));
    SessionWire::new(&store).send("by-session", "s");
    assert_eq!(wire.answers(), []);
    let answers = wire
        .say(accept(1, "by-session", AmqpValue::Null, None), &[])
        .answers();
    assert_eq!(accepted(&answers).as_deref(), Some("s"));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_session_lock_detaches_its_link_and_no_other() {
    let (store, clock) = store();
    SessionWire::new(&store).send("by-session", "s");
    let mut first = SessionWire::new(&store);
    first
        .say(accept(1, "by-session", AmqpValue::Null, None), &[])
        .answers();
    clock.advance(Duration::from_secs(31));
    let mut second = SessionWire::new(&store);
    let answers = second
        .say(accept(1, "by-session", AmqpValue::string("s"), None), &[])
        .answers();
    assert_eq!(accepted(&answers).as_deref(), Some("s"));
    for (wire, expect) in [
        (&mut first, Some("com.microsoft:session-lock-lost")),
        (&mut second, None),
    ] {
        tokio::time::sleep_until(wire.peer.next_timer()).await;
        wire.peer.tick().unwrap();
        let detached = written(&mut wire.peer);
        let condition = detached.iter().find_map(|(one, _)| match one {
            AmqpPerformative::Detach(detach) => detach.error.as_ref(),
            _ => None,
        });
        assert_eq!(condition.map(|problem| problem.condition.as_str()), expect);
    }
}
