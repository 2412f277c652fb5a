//! A filter, and what can be asked of it.

use std::fmt;

use twinroute_model::event::Event;

use crate::anchor::{self, FilterAnchor};
use crate::ast::FilterExpr;
use crate::check::{self, FilterWarning};
use crate::error::Error;
use crate::eval::{EventFields, EventScope};
use crate::options::FilterOptions;
use crate::parse::parse;

/// A filter: the text it was given as, byte for byte, and what that text means.
#[derive(Debug, Clone)]
pub struct RouteFilter {
    text: Box<str>,
    expr: FilterExpr,
}

impl RouteFilter {
    /// Reads `text` as a filter.
    ///
    /// # Errors
    /// Says what is no filter in `text`, and where.
    pub fn parse(text: &str, options: &FilterOptions) -> Result<Self, Error> {
        let expr = parse(text, options)?;
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
    /// Compiles first; a table of filters does that once, in [`EventFields`].
    pub fn matches(&self, event: &Event) -> bool {
        let mut fields = EventFields::new();
        let program = fields.compile(&self.expr);
        program.matches(&EventScope::new(&fields, event))
    }

    /// What its author ought to know; nothing for most filters.
    pub fn warnings(&self) -> Vec<FilterWarning> {
        check::warnings(&self.expr)
    }

    /// Every anchor found, for the caller to choose one; none if an index is of no use.
    pub fn anchors(&self) -> Vec<FilterAnchor> {
        anchor::anchors(&self.expr)
    }

    /// What the text means.
    pub fn expr(&self) -> &FilterExpr {
        &self.expr
    }
}

impl fmt::Display for RouteFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
