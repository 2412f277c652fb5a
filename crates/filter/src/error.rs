//! Why a text is no filter.
//!
//! The message is worded as Azure's is, because scripts and people know that form. What was
//! probably meant is a [hint](Error::hint) beside it; [`Error::render`] draws the line with a
//! mark under the place and adds the hint.

use std::fmt;

use crate::ast::FilterSpan;

/// A text that is no filter: what is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Error(Box<ErrorReport>);

/// Kept in a box: results travel through every level of a nested filter.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ErrorReport {
    kind: FilterErrorKind,
    span: FilterSpan,
    line: usize,
    column: usize,
    excerpt: FilterExcerpt,
    hint: Option<Box<str>>,
}

impl fmt::Display for ErrorReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Azure Digital Twins, recorded answer of EventRoutes_Add (2020-10-31): `The provided
        // filter is invalid. Parsing error, Line=1, Position=6, Message=Unexpected input 'is'.
        // [...]`; both numbers count from 1.
        let (line, column, kind) = (self.line, self.column, &self.kind);
        write!(
            f,
            "Parsing error, Line={line}, Position={column}, Message={kind}"
        )
    }
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FilterErrorKind {
    /// A word or sign that cannot stand where it stands.
    #[error("Unexpected input '{0}'")]
    UnexpectedInput(Box<str>),
    /// The text ends in the middle.
    #[error("Unexpected end of input")]
    UnexpectedEnd,
    /// A string has no closing quote.
    #[error("Unterminated string")]
    UnterminatedString,
    /// A backslash in a string is followed by something that has no meaning.
    #[error("Unknown escape '{0}' in a string")]
    UnknownEscape(Box<str>),
    /// A call of something else than the three functions.
    #[error("Unknown function '{0}'")]
    UnknownFunction(Box<str>),
    /// A number too large for a double.
    #[error("Number out of range")]
    NumberOutOfRange,
    /// The text is longer than allowed.
    #[error("Filter of {bytes} bytes is longer than {bytes_max} bytes")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// More parentheses inside one another than allowed.
    #[error("Parentheses nested deeper than {depth_max}")]
    TooDeep {
        /// The limit.
        depth_max: u8,
    },
    /// A path of more names than allowed.
    #[error("Path of more than {segments_max} names")]
    PathTooLong {
        /// The limit.
        segments_max: usize,
    },
}

/// At most this much of the offending line is kept on each side of the place.
const EXCERPT_CHARS_MAX: usize = 60;
/// At most this much of an unexpected word is repeated in the message.
const WORD_CHARS_MAX: usize = 40;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FilterExcerpt {
    line: Box<str>,
    mark_offset: usize,
    mark_len: usize,
}

impl Error {
    pub(crate) fn new(text: &str, span: FilterSpan, kind: FilterErrorKind) -> Self {
        let before = text.get(..span.start).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self(Box::new(ErrorReport {
            kind,
            span,
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            excerpt: FilterExcerpt::of(text, line_start, span),
            hint: None,
        }))
    }

    /// The input at `span` cannot stand there.
    pub(crate) fn unexpected(text: &str, span: FilterSpan) -> Self {
        Self::new(
            text,
            span,
            FilterErrorKind::UnexpectedInput(quote(span.of(text))),
        )
    }

    pub(crate) fn with_hint(mut self, hint: Option<impl Into<Box<str>>>) -> Self {
        self.0.hint = hint.map(Into::into);
        self
    }

    /// What is wrong.
    pub fn kind(&self) -> &FilterErrorKind {
        &self.0.kind
    }

    /// Where, in bytes of the filter.
    pub fn span(&self) -> FilterSpan {
        self.0.span
    }

    /// The line, counted from 1.
    pub fn line(&self) -> usize {
        self.0.line
    }

    /// The character in the line, counted from 1.
    pub fn column(&self) -> usize {
        self.0.column
    }

    /// What to write instead, where we know what was meant.
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// The message, then the line of the filter with carets under the place, then the hint.
    pub fn render(&self) -> String {
        let mut text = format!("{self}\n{}", self.0.excerpt);
        if let Some(hint) = self.hint() {
            text.push_str("hint: ");
            text.push_str(hint);
            text.push('\n');
        }
        text
    }
}

impl fmt::Display for FilterExcerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.line.trim_end();
        if line.is_empty() {
            return Ok(());
        }
        let blank = " ".repeat(self.mark_offset);
        let mark = "^".repeat(self.mark_len);
        writeln!(f, "    {line}\n    {blank}{mark}")
    }
}

impl FilterExcerpt {
    /// The line of `text` on which `span` starts.
    pub(crate) fn at(text: &str, span: FilterSpan) -> Self {
        let before = text.get(..span.start).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self::of(text, line_start, span)
    }

    /// The part of the line that starts at `line_start` which surrounds `span`.
    fn of(text: &str, line_start: usize, span: FilterSpan) -> Self {
        let before = text.get(line_start..span.start).unwrap_or_default();
        let rest = text.get(span.start..).unwrap_or_default();
        let rest = rest.split(['\n', '\r']).next().unwrap_or_default();
        let marked = span.of(text).split(['\n', '\r']).next().unwrap_or_default();

        let skipped = before.chars().count().saturating_sub(EXCERPT_CHARS_MAX);
        let cut_before = skipped > 0;
        let cut_after = rest.chars().count() > EXCERPT_CHARS_MAX;
        let mut line = String::from(if cut_before { "…" } else { "" });
        line.extend(before.chars().skip(skipped).map(plain));
        let mark_offset = line.chars().count();
        line.extend(rest.chars().take(EXCERPT_CHARS_MAX).map(plain));
        if cut_after {
            line.push('…');
        }
        let mark_len = marked.chars().count().clamp(1, EXCERPT_CHARS_MAX);
        Self {
            line: line.into(),
            mark_offset,
            mark_len,
        }
    }
}

/// Every control character as one blank, so that the carets stay under their place.
fn plain(char: char) -> char {
    if char.is_control() { ' ' } else { char }
}

/// A word for a message: cut where long, and with invisible characters escaped.
pub(crate) fn quote(word: &str) -> Box<str> {
    let mut text = String::new();
    for (index, char) in word.chars().enumerate() {
        if index == WORD_CHARS_MAX {
            text.push('…');
            break;
        }
        if char != ' ' && (char.is_control() || char.is_whitespace()) {
            text.extend(char.escape_unicode());
        } else {
            text.push(char);
        }
    }
    text.into()
}
