//! A look at what entities hold, as JSON over HTTP, for people and scripts without a client of the service.
//!
//! `GET /entities` lists them, `GET /events` reads one of them. Looking takes nothing away and locks nothing.
//! An unknown parameter or name is refused with the known ones: to ignore it would answer with something else
//! than was asked for.

mod listing;
mod query;
mod reading;

use crate::store::Store;
pub(crate) use query::LookError;
use query::LookQuestion;

/// All entities with what they hold.
///
/// # Errors
/// A parameter was given.
pub(crate) fn entities(store: &Store, query: &str) -> Result<String, LookError> {
    query::none(query)?;
    Ok(listing::entities(store).to_string())
}

/// What one entity holds, a page of it.
///
/// # Errors
/// Which parameter is wrong and what would do.
pub(crate) fn events(store: &Store, query: &str) -> Result<String, LookError> {
    reading::read(store, &LookQuestion::parse(query)?)
}

/// The same for the Event Grid topic of that name.
///
/// # Errors
/// As [`events`].
pub(crate) fn topic_events(store: &Store, topic: &str, query: &str) -> Result<String, LookError> {
    reading::read(store, &LookQuestion::of_topic(topic, query)?)
}
