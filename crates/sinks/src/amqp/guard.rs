//! Stands between the peer's bytes and fe2o3-amqp, and lets through only whole frames that are small,
//! well formed, and no more than a sender's connection needs.
//!
//! fe2o3-amqp 0.18.4 bounds the size of a frame and nothing else: see [`super::wire`] for what one frame
//! may do to its decoder; a disposition makes it go through all ids from `first` to `last`, and frames
//! are answered one for one. What is refused here ends the connection as a broken one does.

use super::wire::{self, FramePerformative, code};
use bytes::{Buf, Bytes, BytesMut};
use std::io::{Error, ErrorKind};
use std::time::Duration;
use tokio::time::Instant;

/// Bytes of a frame, which is what we announce. A sender is sent attaches, flows, dispositions and the
/// answers of `$cbs`, all of a few hundred bytes.
pub(crate) const FRAME_BYTES_MAX: u32 = 64 << 10;
/// Bytes of a SASL frame, and of the first AMQP frame (AMQP 1.0 part 2 §2.4.1: 512 until the open frames
/// have been exchanged).
const FIRST_FRAME_BYTES_MAX: usize = 512;
/// Mechanisms, an outcome, and challenges that no mechanism of ours has.
const SASL_FRAMES_MAX: u32 = 4;
/// Two for `$cbs` and one for the entity, with room for what the broker attaches again.
const ATTACHES_MAX: u32 = 16;
/// The shortest idle time-out of a peer: we send a frame in each.
const IDLE_TIME_OUT_MIN: Duration = Duration::from_millis(100);

/// Frames that the peer may send for each transfer of ours: a flow and a disposition, twice.
const FRAMES_FOR_ONE: u64 = 4;
/// Deliveries that the peer may tell the state of for each transfer of ours: received, then settled.
const STATES_FOR_ONE: u64 = 2;
/// What the peer may send besides, each second, and all that is saved up of it.
const UNASKED_EACH_SECOND: u64 = 1_000;
const UNASKED_MAX: u64 = 10_000;

/// How much of something the peer may still send.
#[derive(Debug)]
struct PeerAllowance {
    left: u64,
    since: Instant,
}

impl PeerAllowance {
    fn new() -> Self {
        Self {
            left: UNASKED_MAX,
            since: Instant::now(),
        }
    }

    fn take(&mut self, amount: u64) -> bool {
        if self.left < UNASKED_MAX {
            let seconds = self.since.elapsed().as_secs();
            let more = seconds.saturating_mul(UNASKED_EACH_SECOND);
            self.left = self.left.saturating_add(more).min(UNASKED_MAX);
            self.since += Duration::from_secs(seconds);
        } else {
            self.since = Instant::now();
        }
        match self.left.checked_sub(amount) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GuardPhase {
    /// A protocol header comes next.
    Header,
    Sasl,
    Amqp,
}

/// The bytes of one peer, looked over.
#[derive(Debug)]
pub(crate) struct PeerGuard {
    phase: GuardPhase,
    /// What was read: first what may pass, then a frame that is not whole yet.
    buffer: BytesMut,
    /// Bytes at the front that may pass.
    passed: usize,
    sasl_frames: u32,
    opens: u32,
    begins: u32,
    attaches: u32,
    frames: PeerAllowance,
    states: PeerAllowance,
    /// Once something was refused, nothing passes any more.
    refused: Option<&'static str>,
}

impl PeerGuard {
    pub(crate) fn new() -> Self {
        Self {
            phase: GuardPhase::Header,
            buffer: BytesMut::new(),
            passed: 0,
            sasl_frames: 0,
            opens: 0,
            begins: 0,
            attaches: 0,
            frames: PeerAllowance::new(),
            states: PeerAllowance::new(),
            refused: None,
        }
    }

    /// Takes note of transfers of ours.
    pub(crate) fn sent(&mut self, transfers: u64) {
        let more = |left: u64, each: u64| left.saturating_add(transfers.saturating_mul(each));
        self.frames.left = more(self.frames.left, FRAMES_FOR_ONE);
        self.states.left = more(self.states.left, STATES_FOR_ONE);
    }

    /// Moves what may pass, up to `bytes_max`.
    pub(crate) fn take(&mut self, bytes_max: usize) -> Bytes {
        let bytes = self.passed.min(bytes_max);
        self.passed -= bytes;
        self.buffer.split_to(bytes).freeze()
    }

    /// Bytes that are held.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn held(&self) -> usize {
        self.buffer.len()
    }

    /// Looks over what was read.
    ///
    /// # Errors
    /// `InvalidData`, with what the peer did, now and ever after.
    pub(crate) fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.buffer.extend_from_slice(bytes);
        let looked = match self.refused {
            Some(fault) => Err(fault),
            None => self.check_frames(),
        };
        looked.map_err(|fault| {
            self.refused = Some(fault);
            self.buffer.clear();
            self.passed = 0;
            Error::new(ErrorKind::InvalidData, format!("the peer sent {fault}"))
        })
    }

    fn check_frames(&mut self) -> Result<(), wire::FrameFault> {
        loop {
            let fresh = &self.buffer[self.passed..];
            let bytes = match self.phase {
                GuardPhase::Header => match header(fresh)? {
                    None => return Ok(()),
                    Some(phase) => {
                        self.phase = phase;
                        8
                    }
                },
                GuardPhase::Sasl | GuardPhase::Amqp => match self.frame_bytes(fresh)? {
                    None => return Ok(()),
                    Some(bytes) => {
                        let buffer = std::mem::take(&mut self.buffer);
                        let looked = self.frame(&buffer[self.passed..][..bytes]);
                        self.buffer = buffer;
                        looked?;
                        bytes
                    }
                },
            };
            self.passed += bytes;
        }
    }

    /// The size of a frame that is whole.
    fn frame_bytes(&self, fresh: &[u8]) -> Result<Option<usize>, wire::FrameFault> {
        let Some(size) = fresh.first_chunk() else {
            return Ok(None);
        };
        let size = u32::from_be_bytes(*size);
        let max = match self.phase {
            GuardPhase::Amqp if self.opens > 0 => FRAME_BYTES_MAX as usize,
            _ => FIRST_FRAME_BYTES_MAX,
        };
        let size = usize::try_from(size).ok().filter(|size| *size <= max);
        let size = size.ok_or("a frame that is larger than was agreed")?;
        if size < 8 {
            return Err("a frame that is smaller than its header");
        }
        Ok((fresh.len() >= size).then_some(size))
    }

    fn frame(&mut self, mut frame: &[u8]) -> Result<(), wire::FrameFault> {
        if !self.frames.take(1) {
            return Err("a flood of frames");
        }
        let (offset, kind) = (usize::from(frame[4]) * 4, frame[5]);
        if offset < 8 || offset > frame.len() {
            return Err("a frame with an impossible header");
        }
        if kind != u8::from(self.phase == GuardPhase::Sasl) {
            return Err("a frame of another kind than was agreed");
        }
        frame.advance(offset);
        if frame.is_empty() {
            return match self.phase {
                GuardPhase::Amqp => Ok(()),
                _ => Err("an empty SASL frame"),
            };
        }
        let performative = wire::body(frame)?;
        match self.phase {
            GuardPhase::Sasl => self.sasl(&performative),
            _ => self.amqp(&performative),
        }
    }

    fn sasl(&mut self, performative: &FramePerformative<'_>) -> Result<(), wire::FrameFault> {
        if !(code::SASL_MECHANISMS..=code::SASL_OUTCOME).contains(&performative.code) {
            return Err("something else than SASL");
        }
        self.sasl_frames += 1;
        if self.sasl_frames > SASL_FRAMES_MAX {
            return Err("SASL frames without end");
        }
        if performative.code == code::SASL_OUTCOME {
            self.phase = GuardPhase::Header;
        }
        Ok(())
    }

    fn amqp(&mut self, performative: &FramePerformative<'_>) -> Result<(), wire::FrameFault> {
        if self.opens == 0 && !matches!(performative.code, code::OPEN | code::CLOSE) {
            return Err("something else than an open frame first");
        }
        match performative.code {
            code::OPEN => {
                let idle = performative.number(4).filter(|millis| *millis > 0);
                if idle.is_some_and(|idle| Duration::from_millis(idle) < IDLE_TIME_OUT_MIN) {
                    return Err("an idle time-out below 100 ms");
                }
                once(&mut self.opens, 1, "a second open frame")
            }
            code::BEGIN => once(&mut self.begins, 1, "more sessions than were begun"),
            code::ATTACH => once(&mut self.attaches, ATTACHES_MAX, "links without end"),
            // The answers of `$cbs` are far smaller than a frame.
            code::TRANSFER if performative.is_true(5) => Err("a message in several transfers"),
            code::DISPOSITION => {
                let first = performative.number(1).unwrap_or_default();
                let last = performative.number(2).unwrap_or(first);
                let states = last.wrapping_sub(first).saturating_add(1);
                match last >= first && self.states.take(states) {
                    true => Ok(()),
                    false => Err("states of deliveries that were never made"),
                }
            }
            _ => Ok(()),
        }
    }
}

fn once(seen: &mut u32, max: u32, fault: wire::FrameFault) -> Result<(), wire::FrameFault> {
    *seen += 1;
    match *seen <= max {
        true => Ok(()),
        false => Err(fault),
    }
}

/// The phase behind a protocol header, once all of it is there. AMQP 1.0 part 2 §2.2.
fn header(fresh: &[u8]) -> Result<Option<GuardPhase>, wire::FrameFault> {
    let known = fresh.len().min(4);
    if fresh[..known] != b"AMQP"[..known] {
        return Err("something else than AMQP");
    }
    match fresh.get(4..8) {
        None => Ok(None),
        Some([3, ..]) => Ok(Some(GuardPhase::Sasl)),
        // fe2o3-amqp knows the versions.
        Some(_) => Ok(Some(GuardPhase::Amqp)),
    }
}

/// Bytes of a frame up to its performative's code: header and descriptor, as fe2o3-amqp writes them.
const HEAD_BYTES: usize = 11;

/// Counts the transfers in what we write. Other frames of ours do not count: a peer can ask for those.
#[derive(Debug, Default)]
pub(super) struct TransferMeter {
    /// The begin of a frame or protocol header.
    head: [u8; HEAD_BYTES],
    head_bytes: usize,
    /// What is left of the present frame.
    left: usize,
}

impl TransferMeter {
    /// The transfers that begin in `bytes`.
    pub(super) fn count(&mut self, mut bytes: &[u8]) -> u64 {
        let mut transfers = 0;
        while !bytes.is_empty() {
            if self.left > 0 {
                let step = self.left.min(bytes.len());
                self.left -= step;
                bytes.advance(step);
                continue;
            }
            self.head[self.head_bytes] = bytes.get_u8();
            self.head_bytes += 1;
            let (whole, left) = self.frame();
            if whole {
                let transfer = [0, 0x53, 0x14];
                transfers += u64::from(self.head_bytes == HEAD_BYTES && self.head[8..] == transfer);
                self.left = left;
                self.head_bytes = 0;
            }
        }
        transfers
    }

    /// Whether enough of a frame is known, and what is left of it then.
    fn frame(&self) -> (bool, usize) {
        let known = self.head_bytes;
        if self.head[..4] == *b"AMQP" {
            return (known == 8, 0);
        }
        if known < 8 {
            return (false, 0);
        }
        let [a, b, c, d, ..] = self.head;
        let size = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        (known >= size.min(HEAD_BYTES), size.saturating_sub(known))
    }
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
