//! Accepting events: who may bring them in and when, what they match, the journal, the answer.

mod acceptor;
mod admission;
mod admission_turn;
mod answer;
mod appender;
mod commit;
mod drain;
mod duplicates;
mod full_disk;
mod matched_batch;
mod receipt;
mod room_maker;
mod slowdown;
mod unreadable;

pub(crate) use acceptor::Acceptor;
pub use acceptor::DELIVERED_DEADLINE;
pub use admission::ADMISSION_WAIT_MAX;
pub(crate) use admission::{AdmissionGate, give_turns};
pub use admission_turn::{AdmissionTurn, EventProducer};
pub use answer::{AcceptError, AcceptedBatch, AckLevel};
pub(crate) use appender::{JournalAppender, OnDisk};
pub use duplicates::DuplicateWindow;
pub(crate) use duplicates::SharedDuplicateWindow;
pub(crate) use full_disk::make_room_on_disk;
pub(crate) use room_maker::RoomMaker;
#[cfg(test)]
pub(crate) use room_maker::share;
pub use unreadable::{UnreadableDelivery, UnreadableSettings};
pub(crate) use unreadable::{UnreadableKeeper, UnreadableLanes, warnings as unreadable_warnings};
