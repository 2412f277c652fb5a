//! The operational API over real sockets, asked with its own client and with raw requests.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at what it did not expect"
)]

mod access;
mod dead_letters;
mod guard;
mod harness;
mod log_level;
mod replays;
mod serve;
mod steer;
