//! The management API from the client's side: asking Azure, or another twinroute, for definitions, and
//! changing them.
//!
//! [`api`] makes requests as ARM wants them, [`read`] turns what is answered into definitions,
//! [`source`] keeps those current. Nothing here serves anything, and what a server says is never
//! trusted with the token: it goes to the configured origin alone.

pub mod api;
pub mod error;
pub mod http;
mod link;
mod list;
mod operation;
pub mod read;
mod retry;
pub mod source;

#[cfg(test)]
mod api_tests;
#[cfg(test)]
mod fake;
