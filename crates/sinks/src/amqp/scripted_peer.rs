//! A peer that plays along until some frame of ours, then does what no broker would. Its frames are
//! written byte by byte, so that anything can stand in them.

use super::wire::code;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

pub(super) const AMQP_HEADER: [u8; 8] = *b"AMQP\x00\x01\x00\x00";
pub(super) const SASL_HEADER: [u8; 8] = *b"AMQP\x03\x01\x00\x00";
pub(super) const NULL: &[u8] = &[0x40];
pub(super) const TRUE: &[u8] = &[0x41];
pub(super) const ACCEPTED: &[u8] = &[0, 0x53, 0x24, 0x45];
const FLOW: u64 = 0x13;

pub(super) fn uint(value: u32) -> Vec<u8> {
    [&[0x70][..], &value.to_be_bytes()].concat()
}

pub(super) fn string(text: &str) -> Vec<u8> {
    long(0xb1, text.as_bytes())
}

pub(super) fn symbol(text: &str) -> Vec<u8> {
    long(0xb3, text.as_bytes())
}

fn long(format: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap();
    [&[format][..], &length.to_be_bytes(), bytes].concat()
}

pub(super) fn list(elements: &[&[u8]]) -> Vec<u8> {
    let content = elements.concat();
    let size = u32::try_from(content.len() + 4).unwrap();
    let count = u32::try_from(elements.len()).unwrap();
    [
        &[0xd0][..],
        &size.to_be_bytes(),
        &count.to_be_bytes(),
        &content,
    ]
    .concat()
}

pub(super) fn described(code: u64, elements: &[&[u8]]) -> Vec<u8> {
    let code = u8::try_from(code).unwrap();
    [&[0, 0x53, code][..], &list(elements)].concat()
}

pub(super) fn error(condition: &str, text: &str) -> Vec<u8> {
    described(0x1d, &[&symbol(condition), &string(text)])
}

/// A frame of some kind on a channel.
pub(super) fn framed(kind: u8, channel: u16, body: &[u8]) -> Vec<u8> {
    let size = u32::try_from(body.len() + 8).unwrap();
    [
        &size.to_be_bytes()[..],
        &[2, kind],
        &channel.to_be_bytes(),
        body,
    ]
    .concat()
}

pub(super) fn frame(code: u64, fields: &[&[u8]]) -> Vec<u8> {
    framed(0, 0, &described(code, fields))
}

pub(super) fn sasl(code: u64, fields: &[&[u8]]) -> Vec<u8> {
    framed(1, 0, &described(code, fields))
}

/// A flow on the session and on link 0.
pub(super) fn flow(delivery_count: u32, credit: u32) -> Vec<u8> {
    flow_of([0, 5_000], delivery_count, credit, NULL)
}

pub(super) fn flow_of(window: [u32; 2], count: u32, credit: u32, echo: &[u8]) -> Vec<u8> {
    let (next, window) = (uint(window[0]), uint(window[1]));
    let (zero, count, credit) = (uint(0), uint(count), uint(credit));
    frame(
        FLOW,
        &[
            &next, &window, &zero, &window, &zero, &count, &credit, NULL, NULL, echo,
        ],
    )
}

pub(super) fn disposition(first: u32, last: u32) -> Vec<u8> {
    let (first, last) = (uint(first), uint(last));
    frame(code::DISPOSITION, &[TRUE, &first, &last, TRUE, ACCEPTED])
}

/// Our frame that is answered by the attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AttackPoint {
    Connect,
    SaslInit,
    AmqpHeader,
    Code(u64),
}

/// What comes after the first bytes of an attack.
#[derive(Clone, Debug)]
pub(super) enum AttackTail {
    /// Nothing; what we write is read.
    Silence,
    /// Plays along again.
    PlayAlong,
    /// The same bytes without end.
    Flood(Vec<u8>),
    /// These bytes, one each so often, without end.
    Drip(Vec<u8>, Duration),
}

/// What the peer does.
#[derive(Clone, Debug)]
pub(super) struct PeerAttack {
    pub(super) at: AttackPoint,
    pub(super) bytes: Vec<u8>,
    pub(super) then: AttackTail,
}

impl PeerAttack {
    pub(super) fn new(at: AttackPoint, bytes: Vec<u8>) -> Self {
        Self {
            at,
            bytes,
            then: AttackTail::Silence,
        }
    }

    pub(super) fn then(self, then: AttackTail) -> Self {
        Self { then, ..self }
    }
}

/// Bytes of a flood after which the peer stops, so that a test ends.
pub(super) const FLOOD_BYTES_MAX: u64 = 256 << 20;

/// Plays the peer on one connection; counts the bytes that it got rid of.
pub(super) async fn play(
    stream: impl AsyncRead + AsyncWrite,
    attack: PeerAttack,
    written: Arc<AtomicU64>,
) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    // Errors mean that the sink has hung up.
    let mut attack = Some(attack);
    if attack_is_at(&attack, AttackPoint::Connect) {
        let attack = attack.take().unwrap();
        if strike(&mut reader, &mut writer, attack, &written)
            .await
            .is_none()
        {
            return;
        }
    }
    while let Some(heard) = hear(&mut reader).await {
        if attack_is_at(&attack, heard) {
            let attack = attack.take().unwrap();
            if strike(&mut reader, &mut writer, attack, &written)
                .await
                .is_none()
            {
                return;
            }
            continue;
        }
        let answer = usual(heard);
        if writer.write_all(&answer).await.is_err() {
            return;
        }
    }
}

fn attack_is_at(attack: &Option<PeerAttack>, at: AttackPoint) -> bool {
    attack.as_ref().is_some_and(|attack| attack.at == at)
}

/// Gives nothing when the connection is over.
async fn strike(
    reader: &mut (impl AsyncRead + Unpin),
    writer: &mut (impl AsyncWrite + Unpin),
    attack: PeerAttack,
    written: &AtomicU64,
) -> Option<()> {
    let mut sink = tokio::io::sink();
    let bytes = attack.bytes.len() as u64;
    let striking = async {
        writer.write_all(&attack.bytes).await.ok()?;
        written.fetch_add(bytes, Ordering::SeqCst);
        match &attack.then {
            AttackTail::Silence => std::future::pending().await,
            AttackTail::PlayAlong => Some(()),
            AttackTail::Flood(bytes) => loop {
                writer.write_all(bytes).await.ok()?;
                let before = written.fetch_add(bytes.len() as u64, Ordering::SeqCst);
                assert!(before < FLOOD_BYTES_MAX, "the sink took all of a flood");
            },
            AttackTail::Drip(bytes, pause) => loop {
                for byte in bytes {
                    tokio::time::sleep(*pause).await;
                    writer.write_all(&[*byte]).await.ok()?;
                    written.fetch_add(1, Ordering::SeqCst);
                }
            },
        }
    };
    if matches!(attack.then, AttackTail::PlayAlong) {
        return striking.await;
    }
    tokio::select! {
        struck = striking => struck,
        _ = tokio::io::copy(reader, &mut sink) => None,
    }
}

/// The next header or frame of the sink.
async fn hear(reader: &mut (impl AsyncRead + Unpin)) -> Option<AttackPoint> {
    let mut head = [0; 8];
    reader.read_exact(&mut head).await.ok()?;
    match head {
        SASL_HEADER => return Some(AttackPoint::Connect),
        AMQP_HEADER => return Some(AttackPoint::AmqpHeader),
        _ => {}
    }
    let size = u32::from_be_bytes(head[..4].try_into().unwrap()) as usize;
    let mut body = vec![0; size - 8];
    reader.read_exact(&mut body).await.ok()?;
    match body.get(2) {
        Some(0x41) => Some(AttackPoint::SaslInit),
        Some(code) => Some(AttackPoint::Code(u64::from(*code))),
        None => Some(AttackPoint::Code(0)),
    }
}

/// What a broker answers.
fn usual(heard: AttackPoint) -> Vec<u8> {
    let zero = uint(0);
    match heard {
        AttackPoint::Connect => {
            let mechanisms = sasl(code::SASL_MECHANISMS, &[&symbol("ANONYMOUS")]);
            [&SASL_HEADER[..], &mechanisms].concat()
        }
        AttackPoint::SaslInit => sasl(code::SASL_OUTCOME, &[&[0x50, 0]]),
        AttackPoint::AmqpHeader => AMQP_HEADER.to_vec(),
        AttackPoint::Code(code::OPEN) => frame(code::OPEN, &[&string("scripted-peer")]),
        AttackPoint::Code(code::BEGIN) => {
            let window = uint(5_000);
            frame(code::BEGIN, &[&[0x60, 0, 0], &zero, &window, &window])
        }
        AttackPoint::Code(code::ATTACH) => {
            [attach("twinroute-test-sender", 0), flow(0, 100)].concat()
        }
        AttackPoint::Code(code::TRANSFER) => disposition(0, 0),
        AttackPoint::Code(_) => Vec::new(),
    }
}

/// The answer to our sender's attach.
pub(super) fn attach(name: &str, handle: u32) -> Vec<u8> {
    let source = described(0x28, &[&string("s")]);
    let target = described(0x29, &[&string("hub")]);
    let (name, handle) = (string(name), uint(handle));
    let fields: [&[u8]; 7] = [&name, &handle, TRUE, NULL, NULL, &source, &target];
    frame(code::ATTACH, &fields)
}
