//! A look at what entities hold, as JSON over HTTP, for people and scripts without a client of the service.
//!
//! `GET /entities` lists them, `GET /events` reads one of them. Looking takes nothing away and locks nothing.
//! An unknown parameter or name is refused with the known ones: to ignore it would answer with something else
//! than was asked for.

mod http;
mod listing;
mod query;
mod reading;

pub(crate) use http::answer;
pub(crate) use listing::HeldEntities;
