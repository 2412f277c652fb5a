//! The real sink against peers that mean harm: each attack ends in time, with little memory, and the next
//! connection delivers.

use super::scripted_peer::{
    AttackPoint, AttackTail, NULL, PeerAttack, TRUE, attach, described, disposition, error, flow,
    flow_of, frame, framed, list, play, sasl, string, symbol, uint,
};
use super::target::DialTarget;
use super::testing::broker::TestBroker;
use super::testing::{PRIMARY_KEY, TestWire, deliveries, manner, short, target};
use super::wire::code;
use super::{AmqpSink, SendSettings};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;
use twinroute_model::settings::{AmqpAuth, AmqpTransport};
use twinroute_router::sink::{DeliveryOutcome, EndpointFault, Sink};

/// Bytes that the wire itself holds.
const WIRE_BYTES: usize = 64 << 10;
/// The most that this process may ever have used: far above what all tests need at once, far below what
/// one of the lengths in here asks for.
const PROCESS_BYTES_MAX: u64 = 256 << 20;

/// What became of it.
pub(super) struct FacedResult {
    pub(super) outcome: DeliveryOutcome,
    pub(super) short: String,
    pub(super) took: Duration,
    /// Bytes that the peer got rid of.
    pub(super) written: u64,
}

/// A sink that first meets the attack and then a good broker.
async fn face(attack: PeerAttack) -> FacedResult {
    face_over(AmqpTransport::Tcp, move |stream, written| {
        let attack = attack.clone();
        Box::pin(play(stream, attack, written))
    })
    .await
}

pub(super) type HostilePeer = futures_util::future::BoxFuture<'static, ()>;

pub(super) async fn face_over(
    transport: AmqpTransport,
    peer: impl Fn(tokio::io::DuplexStream, Arc<AtomicU64>) -> HostilePeer + Send + Sync + 'static,
) -> FacedResult {
    let written = Arc::new(AtomicU64::new(0));
    let good = Arc::new(AtomicBool::new(false));
    let broker = Arc::new(TestBroker::default());
    let tasks = Arc::new(Mutex::new(tokio::task::JoinSet::new()));
    let mut target = target(&TestWire::to(&broker), PRIMARY_KEY, AmqpAuth::Anonymous);
    target.transport = transport;
    let dial = {
        let (written, good, tasks) = (Arc::clone(&written), Arc::clone(&good), Arc::clone(&tasks));
        move || {
            let (near, far) = tokio::io::duplex(WIRE_BYTES);
            let mut tasks = tasks.lock().unwrap();
            match (good.load(Ordering::SeqCst), transport) {
                (false, _) => tasks.spawn(peer(far, Arc::clone(&written))),
                (true, AmqpTransport::Websocket) => {
                    tasks.spawn(super::websocket_tests::serve(far, Arc::clone(&broker)))
                }
                (true, _) => tasks.spawn(Arc::clone(&broker).serve(far)),
            };
            Ok(near)
        }
    };
    target.dial = DialTarget::Memory(Arc::new(dial));
    let batched = false;
    let sink = AmqpSink::new(
        vec![target],
        SendSettings {
            batched,
            ..manner()
        },
    );
    let start = Instant::now();
    let outcome = sink.send(&deliveries(0..1)).await.remove(0);
    let took = start.elapsed();
    // The engine of a connection that is over is over too; so are the tasks of the peer.
    let peers = std::mem::take(&mut *tasks.lock().unwrap());
    drop(peers);
    tokio::time::sleep(Duration::from_secs(40)).await;
    let left = tokio::runtime::Handle::current()
        .metrics()
        .num_alive_tasks();
    assert!(left <= 1, "{left} tasks are left of the attack");
    good.store(true, Ordering::SeqCst);
    let after = short(&sink.send(&deliveries(1..2)).await);
    assert_eq!(after, ["delivered"], "after the attack");
    assert!(peak_bytes() < PROCESS_BYTES_MAX, "{} bytes", peak_bytes());
    FacedResult {
        short: short(std::slice::from_ref(&outcome)).remove(0),
        outcome,
        took,
        written: written.load(Ordering::SeqCst),
    }
}

/// The most memory that this process has used, where the system tells.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kilobytes.unwrap_or_default() * 1024
}

pub(super) fn unavailable(outcome: &DeliveryOutcome) -> &EndpointFault {
    match outcome {
        DeliveryOutcome::Unavailable(fault) => fault,
        other => panic!("{other:?}"),
    }
}

fn detail(outcome: &DeliveryOutcome) -> &str {
    &unavailable(outcome).reason.detail
}

/// Attacks that are seen for what they are, at once.
async fn refused(attacks: Vec<(PeerAttack, &str)>) {
    for (attack, expect) in attacks {
        let debug_text = format!(
            "{:?} {:02x?}",
            attack.at,
            &attack.bytes[..attack.bytes.len().min(60)]
        );
        let faced = face(attack).await;
        assert!(
            faced.short.starts_with("unreachable "),
            "{debug_text}: {}",
            faced.short
        );
        let detail = detail(&faced.outcome);
        assert!(
            detail.contains(expect),
            "{debug_text}: {}: {detail}",
            faced.short
        );
        assert!(
            faced.took < Duration::from_secs(1),
            "{debug_text}: {:?}",
            faced.took
        );
    }
}

fn at(code: u64, bytes: Vec<u8>) -> PeerAttack {
    PeerAttack::new(AttackPoint::Code(code), bytes)
}

#[tokio::test(start_paused = true)]
async fn frames_that_are_none_or_too_large_are_refused() {
    let attacks = vec![
        (
            PeerAttack::new(AttackPoint::Connect, vec![0; 1 << 20]),
            "something else than AMQP",
        ),
        (
            PeerAttack::new(
                AttackPoint::Connect,
                b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
            ),
            "something else than AMQP",
        ),
        (at(code::OPEN, vec![0xff; 16]), "larger than was agreed"),
        (
            at(code::OPEN, framed(0, 0, &[0; 600])),
            "larger than was agreed",
        ),
        (
            at(code::BEGIN, vec![0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0]),
            "larger than was agreed",
        ),
        (
            at(code::ATTACH, framed(0, 0, &vec![0; 70_000])),
            "larger than was agreed",
        ),
        (
            at(code::ATTACH, vec![0, 0, 0, 7, 2, 0, 0, 0]),
            "smaller than its header",
        ),
        (
            at(code::ATTACH, vec![0, 0, 0, 8, 200, 0, 0, 0]),
            "impossible header",
        ),
        (at(code::ATTACH, framed(7, 0, &[])), "another kind"),
        (
            at(code::ATTACH, b"GET / HTTP/1.1\r\n\r\n".to_vec()),
            "larger than was agreed",
        ),
    ];
    refused(attacks).await;
}

#[tokio::test(start_paused = true)]
async fn values_that_would_eat_memory_or_stack_are_refused() {
    let claims = |format: u8| {
        vec![
            0, 0x53, 0x18, 0xc0, 10, 1, format, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0,
        ]
    };
    let mut nested = vec![0x45];
    for _ in 0..7_000 {
        nested = list(&[&nested]);
    }
    let mut descriptors = vec![0; 60_000];
    descriptors.push(0x40);
    let nulls = [&[0xf0][..], &[0, 0, 0, 5], &u32::MAX.to_be_bytes(), &[0x40]].concat();
    let close = |value: &[u8]| frame(code::CLOSE, &[value]);
    let attacks = vec![
        (
            at(code::BEGIN, framed(0, 0, &claims(0xb1))),
            "longer than its frame",
        ),
        (
            at(code::BEGIN, framed(0, 0, &claims(0xb0))),
            "longer than its frame",
        ),
        (
            at(code::BEGIN, framed(0, 0, &claims(0xd0))),
            "longer than its frame",
        ),
        (at(code::BEGIN, close(&nested)), "nested too deep"),
        (at(code::BEGIN, close(&descriptors)), "nested too deep"),
        (at(code::BEGIN, close(&nulls)), "does not fit its size"),
        (
            at(code::BEGIN, framed(0, 0, &[1, 2, 3])),
            "without a numeric descriptor",
        ),
        (
            at(code::BEGIN, framed(0, 0, &[0, 0x53, 0x18, 0x40])),
            "is no list",
        ),
        (
            at(code::BEGIN, framed(0, 0, &[0, 0x53, 0x18, 0x45, 9])),
            "bytes behind",
        ),
        (
            PeerAttack::new(AttackPoint::SaslInit, sasl(code::SASL_OUTCOME, &[&nulls])),
            "does not fit its size",
        ),
    ];
    refused(attacks).await;
}

#[tokio::test(start_paused = true)]
async fn performatives_that_a_sender_has_no_use_for_are_refused() {
    let open = |idle: u32| {
        let (name, idle) = (string("p"), uint(idle));
        frame(code::OPEN, &[&name, NULL, NULL, NULL, &idle])
    };
    let begin = frame(code::BEGIN, &[NULL, &uint(0), &uint(1), &uint(1)]);
    let many = |frame: &[u8], times| frame.repeat(times);
    let transfer = frame(code::TRANSFER, &[&uint(0), NULL, NULL, NULL, NULL, TRUE]);
    let attacks = vec![
        (at(code::OPEN, open(1)), "idle time-out below 100 ms"),
        (at(code::BEGIN, open(0)), "a second open frame"),
        (
            at(code::OPEN, begin.clone()),
            "something else than an open frame first",
        ),
        (
            at(code::BEGIN, many(&begin, 2)),
            "more sessions than were begun",
        ),
        (at(code::ATTACH, transfer), "in several transfers"),
        (at(code::ATTACH, many(&attach("nobody", 7), 40)), ""),
        (at(code::TRANSFER, disposition(0, u32::MAX)), "never made"),
        (at(code::TRANSFER, disposition(5, 4)), "never made"),
        (at(code::ATTACH, disposition(0, 50_000)), "never made"),
    ];
    refused(attacks).await;
}

#[tokio::test(start_paused = true)]
async fn floods_end_soon() {
    let empty = framed(0, 0, &[]);
    let challenge = sasl(0x42, &[&[0xa0, 1, 0]]);
    let echo = flow_of([0, 5_000], 0, 100, TRUE);
    for (attack, expect) in [
        (
            PeerAttack::new(AttackPoint::SaslInit, Vec::new()).then(AttackTail::Flood(challenge)),
            "",
        ),
        (
            at(code::BEGIN, Vec::new()).then(AttackTail::Flood(empty)),
            "a flood of frames",
        ),
        (
            at(code::TRANSFER, Vec::new()).then(AttackTail::Flood(echo)),
            "a flood of frames",
        ),
        (
            at(code::TRANSFER, Vec::new()).then(AttackTail::Flood(disposition(9, 9))),
            "",
        ),
        (
            at(code::TRANSFER, Vec::new()).then(AttackTail::Flood(flow(0, u32::MAX))),
            "a flood of frames",
        ),
    ] {
        let text = format!("{attack:02x?}");
        let faced = face(attack).await;
        let text = format!("{}: {text}", faced.short);
        assert!(faced.short.starts_with("unreachable "), "{text}");
        assert!(
            detail(&faced.outcome).contains(expect),
            "{text}: {:?}",
            faced.outcome
        );
        assert!(
            faced.took < Duration::from_secs(1),
            "{text}: {:?}",
            faced.took
        );
        assert!(faced.written < 4 << 20, "{text}: {} bytes", faced.written);
    }
}

/// Frames that a broker may send, but not then.
fn contradictions() -> Vec<PeerAttack> {
    let (zero, one) = (uint(0), uint(1));
    let attached = |bytes| at(code::ATTACH, bytes);
    let end = |info: &[u8]| frame(0x17, &[info]);
    let detach = |handle: u32| frame(0x16, &[&uint(handle), TRUE]);
    vec![
        attached(framed(0, 77, &described(0x13, &[NULL, &one, &one, &one]))),
        attached(frame(code::TRANSFER, &[&uint(9), &zero, &[0xa0, 1, 0]])),
        attached(detach(9)),
        attached(detach(0)),
        attached(end(NULL)),
        attached(attach("twinroute-test-sender", u32::MAX)),
        attached(
            [
                attach("twinroute-test-sender", 0),
                attach("twinroute-test-sender", 0),
            ]
            .concat(),
        ),
        attached(
            [
                attach("twinroute-test-sender", 0),
                flow_of([0, 0], 0, 100, NULL),
            ]
            .concat(),
        ),
        attached(
            [
                attach("twinroute-test-sender", 0),
                flow_of([u32::MAX, u32::MAX], u32::MAX, u32::MAX, TRUE),
            ]
            .concat(),
        ),
        attached([attach("twinroute-test-sender", 0), flow(0, 0)].concat()),
        at(
            code::BEGIN,
            frame(code::BEGIN, &[&[0x60, 9, 9], &zero, &one, &one]),
        ),
        at(
            code::BEGIN,
            frame(code::BEGIN, &[&[0x60, 0, 0], &uint(u32::MAX), &zero, &zero]),
        )
        .then(AttackTail::PlayAlong),
        at(code::OPEN, frame(code::OPEN, &[NULL])),
        at(
            code::OPEN,
            frame(code::OPEN, &[&string("p"), NULL, &zero, &[0x60, 0, 0]]),
        )
        .then(AttackTail::PlayAlong),
        at(code::OPEN, frame(code::OPEN, &[&list(&[]), TRUE, TRUE])),
        at(code::OPEN, frame(0x77, &[])),
        at(
            code::TRANSFER,
            frame(
                code::DISPOSITION,
                &[TRUE, &zero, &zero, TRUE, &described(0x77, &[])],
            ),
        ),
        at(code::TRANSFER, frame(code::DISPOSITION, &[NULL, &zero])),
        at(code::TRANSFER, frame(code::CLOSE, &[])),
        PeerAttack::new(
            AttackPoint::SaslInit,
            sasl(code::SASL_MECHANISMS, &[&symbol("PLAIN")]),
        ),
        PeerAttack::new(AttackPoint::AmqpHeader, b"AMQP\x00\x09\x09\x09".to_vec()),
        PeerAttack::new(
            AttackPoint::Connect,
            super::scripted_peer::AMQP_HEADER.to_vec(),
        ),
    ]
}

/// Each of these ends by itself or at the attempt's deadline, whatever fe2o3-amqp makes of it.
#[tokio::test(start_paused = true)]
async fn what_contradicts_the_protocol_ends_at_the_deadline_at_the_latest() {
    for attack in contradictions() {
        let debug_text = format!(
            "{:?} {:02x?}",
            attack.at,
            &attack.bytes[..attack.bytes.len().min(60)]
        );
        let faced = face(attack).await;
        assert!(
            faced.short == "delivered" || faced.short.starts_with("unreachable "),
            "{debug_text}: {}",
            faced.short
        );
        assert!(
            faced.took <= Duration::from_secs(32),
            "{debug_text}: {:?}",
            faced.took
        );
    }
}

#[tokio::test(start_paused = true)]
async fn slow_bytes_hold_an_attempt_no_longer_than_its_deadline() {
    let pause = Duration::from_secs(2);
    let heartbeat = framed(0, 0, &[]);
    for attack in [
        PeerAttack::new(AttackPoint::Connect, Vec::new())
            .then(AttackTail::Drip(b"AMQP".to_vec(), 3 * pause)),
        at(code::OPEN, vec![0, 0, 1, 0]).then(AttackTail::Drip(vec![0], pause)),
        at(code::BEGIN, Vec::new()).then(AttackTail::Drip(heartbeat.clone(), pause / 8)),
        at(code::TRANSFER, Vec::new()).then(AttackTail::Drip(heartbeat, pause / 8)),
    ] {
        let faced = face(attack.clone()).await;
        let debug_text = format!("{attack:?}: {} {:?}", faced.short, faced.took);
        assert_eq!(faced.short, "unreachable timeout", "{debug_text}");
        assert_eq!(faced.took.as_secs(), 30, "{debug_text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_peers_words_are_bounded_before_they_are_shown() {
    let text = "x".repeat(60_000);
    for condition in ["amqp:connection:forced", &text[..1_000]] {
        let close = frame(code::CLOSE, &[&error(condition, &text)]);
        let faced = face(at(code::ATTACH, close)).await;
        let fault = unavailable(&faced.outcome);
        assert!(fault.reason.code.len() <= 64, "{}", fault.reason.code);
        assert!(
            fault.reason.detail.len() <= 1_000,
            "{}",
            fault.reason.detail.len()
        );
    }
}
