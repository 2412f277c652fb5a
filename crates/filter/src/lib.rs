//! The filter language of Azure Digital Twins event routes.
//!
//! A [`RouteFilter`] is parsed once, compiled into a table's [`eval::EventFields`] and evaluated for every
//! event. Nothing here does I/O, and no input makes it panic.
//!
//! ```
//! use twinroute_filter::eval::{EventFields, EventScope};
//! use twinroute_filter::{FilterOptions, RouteFilter};
//! use twinroute_model::event::{EventLimits, EventParts};
//!
//! let filter = RouteFilter::parse("subject = 'room1' AND $body.t > 20", &FilterOptions::default())?;
//! let mut fields = EventFields::new();
//! let program = fields.compile(filter.expr());
//!
//! let event = EventParts::new("1", "contoso", "microsoft.iot.telemetry")
//!     .set("subject", "room1")?
//!     .json(r#"{"t": 21.5}"#)
//!     .build(&EventLimits::default())?;
//! assert!(program.matches(&EventScope::new(&fields, &event)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! `docs/filters.md` describes the language for users, with what we chose where Azure is silent.

pub mod anchor;
#[cfg(test)]
mod arbitrary;
pub mod ast;
mod body;
pub mod check;
#[cfg(test)]
mod check_tests;
pub mod error;
pub mod eval;
#[cfg(test)]
mod eval_tests;
pub mod explain;
#[cfg(test)]
mod explain_tests;
mod filter;
mod hint;
pub mod lex;
#[cfg(test)]
mod meaning_tests;
mod options;
mod parse;
#[cfg(test)]
mod parse_tests;
#[cfg(test)]
mod refusal_tests;
mod value;

pub use filter::RouteFilter;
pub use options::FilterOptions;
