//! What may happen to a journal, at random.

use crate::sim::{DiskFault, PowerLossRemains};
use proptest::prelude::*;

/// What a run does, one after the other.
#[derive(Clone, Debug)]
pub(super) enum RunStep {
    /// Appends events for lanes (bits) and waits.
    Append(Vec<u8>),
    /// Settles the n-th open delivery.
    Settle(usize, u8),
    /// Parks the n-th open delivery.
    Attempt(usize, u32),
    /// Makes the n-th open delivery a dead letter.
    Die(usize),
    /// Replays the n-th open delivery's event, in its place.
    Replay(usize),
    /// Notes a state of the n-th lane.
    State(usize, bool),
    /// Reads everything back that is open.
    Read,
    /// Settles all, so that segments roll on and what is left is carried forward.
    Roll,
    Flush,
    /// Lets the n-th call from now fail.
    Fail(u64, DiskFault),
    /// How many more bytes of files there is room for.
    Room(Option<u16>),
    /// Loses power and opens again.
    Crash(PowerLossRemains),
    /// Kills the process and does something to the n-th segment's file.
    Tamper(usize, FileTamper),
    Close,
}

/// What is done to a file behind the journal's back.
#[derive(Clone, Debug)]
pub(super) enum FileTamper {
    Delete,
    /// Cuts it behind so many bytes of what is used, or of the file, per mille.
    Cut(usize),
    /// Zeros from there on.
    ZeroTail(usize),
    /// Zeros so many bytes from there on.
    Zero(usize, usize),
    /// Swaps it with another one.
    Swap(usize),
    /// Copies another one over it.
    CopyOver(usize),
}

pub(super) fn tamper() -> impl Strategy<Value = FileTamper> {
    prop_oneof![
        Just(FileTamper::Delete),
        (0_usize..1_000).prop_map(FileTamper::Cut),
        (0_usize..1_000).prop_map(FileTamper::ZeroTail),
        (0_usize..1_000, 1_usize..3_000).prop_map(|(at, bytes)| FileTamper::Zero(at, bytes)),
        any::<usize>().prop_map(FileTamper::Swap),
        any::<usize>().prop_map(FileTamper::CopyOver),
    ]
}

pub(super) fn step() -> impl Strategy<Value = RunStep> {
    let leaves = prop_oneof![
        Just(PowerLossRemains::All),
        Just(PowerLossRemains::Nothing),
        any::<u64>().prop_map(PowerLossRemains::Some),
        (0_usize..2_000).prop_map(PowerLossRemains::LastWriteCut),
    ];
    let fault = prop_oneof![
        Just(DiskFault::Error),
        Just(DiskFault::NoRoom),
        Just(DiskFault::PowerOff)
    ];
    prop_oneof![
        8 => prop::collection::vec(1_u8..8, 1..5).prop_map(RunStep::Append),
        8 => (any::<usize>(), 0_u8..3).prop_map(|(n, settlement)| RunStep::Settle(n, settlement)),
        2 => (any::<usize>(), 1_u32..9).prop_map(|(n, attempts)| RunStep::Attempt(n, attempts)),
        2 => any::<usize>().prop_map(RunStep::Die),
        2 => any::<usize>().prop_map(RunStep::Replay),
        1 => (0_usize..3, any::<bool>()).prop_map(|(n, paused)| RunStep::State(n, paused)),
        2 => Just(RunStep::Read),
        1 => Just(RunStep::Roll),
        3 => Just(RunStep::Flush),
        2 => (0_u64..6, fault).prop_map(|(calls, fault)| RunStep::Fail(calls, fault)),
        1 => prop::option::of(any::<u16>()).prop_map(RunStep::Room),
        2 => leaves.prop_map(RunStep::Crash),
        1 => Just(RunStep::Close),
    ]
}

/// Steps in which nothing is settled and every group goes well.
pub(super) fn waiting() -> impl Strategy<Value = RunStep> {
    prop_oneof![
        8 => prop::collection::vec(1_u8..8, 1..9).prop_map(RunStep::Append),
        2 => Just(RunStep::Flush),
        2 => Just(RunStep::Crash(PowerLossRemains::All)),
        1 => Just(RunStep::Close),
        1 => (any::<usize>(), tamper()).prop_map(|(n, what)| RunStep::Tamper(n, what)),
    ]
}

/// Steps among which files are tampered with.
pub(super) fn tampering() -> impl Strategy<Value = RunStep> {
    prop_oneof![
        12 => step(),
        1 => (any::<usize>(), tamper()).prop_map(|(n, what)| RunStep::Tamper(n, what)),
    ]
}
