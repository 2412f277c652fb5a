//! The Event Grid stand-in: publishing over HTTP, and a reading API for tests and people.

mod check;
mod http;
pub(crate) mod topic;

pub(crate) use http::run;
