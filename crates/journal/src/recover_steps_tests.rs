//! What may happen to a journal, at random.

use crate::sim::{DiskFault, PowerLossRemains};
use proptest::prelude::*;

/// What a run does, one after the other.
#[derive(Clone, Debug)]
pub(super) enum Step {
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
    Tamper(usize, Tamper),
    Close,
}

/// What is done to a file behind the journal's back.
#[derive(Clone, Debug)]
pub(super) enum Tamper {
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

pub(super) fn tamper() -> impl Strategy<Value = Tamper> {
    prop_oneof![
        Just(Tamper::Delete),
        (0_usize..1_000).prop_map(Tamper::Cut),
        (0_usize..1_000).prop_map(Tamper::ZeroTail),
        (0_usize..1_000, 1_usize..3_000).prop_map(|(at, bytes)| Tamper::Zero(at, bytes)),
        any::<usize>().prop_map(Tamper::Swap),
        any::<usize>().prop_map(Tamper::CopyOver),
    ]
}

pub(super) fn step() -> impl Strategy<Value = Step> {
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
        8 => prop::collection::vec(1_u8..8, 1..5).prop_map(Step::Append),
        8 => (any::<usize>(), 0_u8..3).prop_map(|(n, settlement)| Step::Settle(n, settlement)),
        2 => (any::<usize>(), 1_u32..9).prop_map(|(n, attempts)| Step::Attempt(n, attempts)),
        2 => any::<usize>().prop_map(Step::Die),
        2 => any::<usize>().prop_map(Step::Replay),
        1 => (0_usize..3, any::<bool>()).prop_map(|(n, paused)| Step::State(n, paused)),
        2 => Just(Step::Read),
        1 => Just(Step::Roll),
        3 => Just(Step::Flush),
        2 => (0_u64..6, fault).prop_map(|(calls, fault)| Step::Fail(calls, fault)),
        1 => prop::option::of(any::<u16>()).prop_map(Step::Room),
        2 => leaves.prop_map(Step::Crash),
        1 => Just(Step::Close),
    ]
}

/// Steps in which nothing is settled and every group goes well.
pub(super) fn waiting() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => prop::collection::vec(1_u8..8, 1..9).prop_map(Step::Append),
        2 => Just(Step::Flush),
        2 => Just(Step::Crash(PowerLossRemains::All)),
        1 => Just(Step::Close),
        1 => (any::<usize>(), tamper()).prop_map(|(n, what)| Step::Tamper(n, what)),
    ]
}

/// Steps among which files are tampered with.
pub(super) fn tampering() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => step(),
        1 => (any::<usize>(), tamper()).prop_map(|(n, what)| Step::Tamper(n, what)),
    ]
}
