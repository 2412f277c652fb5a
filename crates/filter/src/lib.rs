//! The filter language of Azure Digital Twins event routes.
//!
//! A [`Filter`] is parsed once, compiled into a table's [`eval::Fields`] and evaluated for every
//! event. Nothing here does I/O, and no input makes it panic.
//!
//! ```
//! use twinroute_filter::eval::{Fields, Scope};
//! use twinroute_filter::{Filter, Options};
//! use twinroute_model::event::{Limits, Parts};
//!
//! let filter = Filter::parse("subject = 'room1' AND $body.t > 20", &Options::default())?;
//! let mut fields = Fields::new();
//! let program = fields.compile(&filter);
//!
//! let event = Parts::new("1", "contoso", "microsoft.iot.telemetry")
//!     .set("subject", "room1")?
//!     .json(r#"{"t": 21.5}"#)
//!     .build(&Limits::default())?;
//! assert!(program.matches(&Scope::new(&fields, &event)));
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
mod hint;
pub mod lex;
#[cfg(test)]
mod meaning_tests;
mod parse;
#[cfg(test)]
mod parse_tests;
#[cfg(test)]
mod refusal_tests;
mod value;

use std::fmt;

use twinroute_model::event::Event;

/// A filter: the text it was given as, byte for byte, and what that text means.
#[derive(Debug, Clone)]
pub struct Filter {
    text: Box<str>,
    expr: ast::Expr,
}

/// Limits on a filter's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// The longest text, in bytes.
    pub bytes_max: usize,
    /// The most parentheses inside one another.
    pub depth_max: u8,
}

impl Options {
    /// The default of `bytes_max`; Azure publishes none for filters, its query texts have this one.
    pub const BYTES_MAX: usize = 8_000;
    /// The default of `depth_max`.
    pub const DEPTH_MAX: u8 = 64;
}

impl Default for Options {
    fn default() -> Self {
        Self {
            bytes_max: Self::BYTES_MAX,
            depth_max: Self::DEPTH_MAX,
        }
    }
}

impl Filter {
    /// Reads `text` as a filter.
    ///
    /// # Errors
    /// Says what is no filter in `text`, and where.
    pub fn parse(text: &str, options: &Options) -> Result<Self, error::Error> {
        let expr = parse::parse(text, options)?;
        Ok(Self {
            text: text.into(),
            expr,
        })
    }

    /// The text as it was given.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it matches one event.
    ///
    /// Compiles first; a table of filters does that once, in [`eval::Fields`].
    pub fn matches(&self, event: &Event) -> bool {
        let mut fields = eval::Fields::new();
        let program = fields.compile(self);
        program.matches(&eval::Scope::new(&fields, event))
    }

    /// What the text means.
    pub fn expr(&self) -> &ast::Expr {
        &self.expr
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
