//! Why an event was refused: which one of a batch, which attribute, which rule.

/// A refused event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidEvent {
    /// Its place in the batch, from 0; `None` for a single event.
    pub index: Option<usize>,
    /// What is wrong with it.
    pub problem: EventProblem,
}

impl InvalidEvent {
    pub(crate) fn at(self, index: usize) -> Self {
        Self {
            index: Some(index),
            ..self
        }
    }
}

impl From<EventProblem> for InvalidEvent {
    fn from(problem: EventProblem) -> Self {
        Self {
            index: None,
            problem,
        }
    }
}

impl std::fmt::Display for InvalidEvent {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(index) = self.index {
            write!(formatter, "event {index}: ")?;
        }
        self.problem.fmt(formatter)
    }
}

impl std::error::Error for InvalidEvent {}

/// A rule that an event breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EventProblem {
    /// The bytes are not UTF-8.
    #[error("the event is not UTF-8: byte {offset} is not part of a character")]
    NotUtf8 {
        /// Bytes before the first bad one.
        offset: usize,
    },
    /// The bytes are not a JSON object.
    #[error("the event is not a JSON object: {reason}")]
    NotJson {
        /// The parser's words, with line and column.
        reason: String,
    },
    /// The bytes are not a JSON array.
    #[error("the batch is not a JSON array of events: {reason}")]
    NotArray {
        /// What stands where.
        reason: String,
    },
    /// A required attribute is absent.
    #[error("attribute `{attribute}`: required, but missing")]
    Missing {
        /// The attribute.
        attribute: &'static str,
    },
    /// A member stands twice.
    #[error("attribute `{attribute}`: appears more than once")]
    Duplicate {
        /// The attribute.
        attribute: String,
    },
    /// A value breaks the rule of its attribute.
    #[error("attribute `{attribute}`: {rule}")]
    Attribute {
        /// The attribute.
        attribute: String,
        /// The rule and what was found instead.
        rule: String,
    },
    /// The payload contradicts the attributes.
    #[error("`data`: {rule}")]
    Data {
        /// The rule and what was found instead.
        rule: String,
    },
    /// The event is too large.
    #[error("the event has {bytes} bytes; the limit is {bytes_max}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// The event has too many extension attributes.
    #[error("the event has more than {extensions_max} extension attributes, which is the limit")]
    TooManyExtensions {
        /// The limit.
        extensions_max: usize,
    },
    /// The batch is too large.
    #[error("the batch has more than {events_max} events, which is the limit")]
    TooMany {
        /// The limit.
        events_max: usize,
    },
}

impl EventProblem {
    pub(crate) fn attribute(attribute: &str, rule: impl Into<String>) -> Self {
        Self::Attribute {
            attribute: attribute.to_owned(),
            rule: rule.into(),
        }
    }

    /// The attribute at fault, where there is one.
    #[must_use]
    pub fn attribute_name(&self) -> Option<&str> {
        match self {
            Self::Missing { attribute } => Some(attribute),
            Self::Duplicate { attribute } | Self::Attribute { attribute, .. } => Some(attribute),
            Self::Data { .. } => Some("data"),
            Self::NotUtf8 { .. }
            | Self::NotJson { .. }
            | Self::NotArray { .. }
            | Self::TooLarge { .. }
            | Self::TooManyExtensions { .. }
            | Self::TooMany { .. } => None,
        }
    }

    /// Whether a limit was passed, rather than a rule broken.
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        matches!(self, Self::TooLarge { .. } | Self::TooMany { .. })
    }
}
