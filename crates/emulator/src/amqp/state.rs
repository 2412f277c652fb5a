//! Errors and delivery states as they stand in performatives.

use super::value::AmqpValue;

/// An AMQP error: condition and description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AmqpError {
    pub(crate) condition: String,
    pub(crate) description: String,
}

impl AmqpError {
    pub(crate) fn new(condition: impl Into<String>, description: impl Into<String>) -> Self {
        Self {
            condition: condition.into(),
            description: description.into(),
        }
    }

    pub(crate) fn value(&self) -> AmqpValue {
        AmqpValue::described(
            0x1d,
            AmqpValue::List(vec![
                AmqpValue::symbol(&self.condition),
                AmqpValue::string(&self.description),
                AmqpValue::Null,
            ]),
        )
    }
}

pub(crate) fn problem_or_null(problem: Option<&AmqpError>) -> AmqpValue {
    problem.map_or(AmqpValue::Null, AmqpError::value)
}

/// What became of a delivery (AMQP 1.0 part 3 §3.4).
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum AmqpOutcome {
    Accepted,
    Rejected {
        error: Option<AmqpError>,
        info: Vec<(AmqpValue, AmqpValue)>,
    },
    Released,
    Modified {
        failed: bool,
        undeliverable_here: bool,
    },
}

impl AmqpOutcome {
    pub(crate) fn rejected(problem: AmqpError) -> Self {
        Self::Rejected {
            error: Some(problem),
            info: Vec::new(),
        }
    }

    pub(crate) fn value(&self) -> AmqpValue {
        match self {
            Self::Accepted => AmqpValue::described(0x24, AmqpValue::List(Vec::new())),
            Self::Rejected { error, .. } => {
                AmqpValue::described(0x25, AmqpValue::List(vec![problem_or_null(error.as_ref())]))
            }
            Self::Released => AmqpValue::described(0x26, AmqpValue::List(Vec::new())),
            Self::Modified {
                failed,
                undeliverable_here,
            } => AmqpValue::described(
                0x27,
                AmqpValue::List(vec![
                    AmqpValue::Bool(*failed),
                    AmqpValue::Bool(*undeliverable_here),
                    AmqpValue::Null,
                ]),
            ),
        }
    }

    /// `None` for `received` and for states this layer does not know.
    pub(crate) fn read(value: &AmqpValue) -> Option<Self> {
        let AmqpValue::Described(both) = value else {
            return None;
        };
        let items = value.items();
        match both.0.as_i64()? {
            0x24 => Some(Self::Accepted),
            0x25 => {
                let error = items.first().map(AmqpValue::items).unwrap_or_default();
                let text = |at: usize| {
                    error
                        .get(at)
                        .and_then(AmqpValue::as_str)
                        .unwrap_or_default()
                };
                let info = error
                    .get(2)
                    .cloned()
                    .map(AmqpValue::into_pairs)
                    .unwrap_or_default();
                let problem = (!error.is_empty()).then(|| AmqpError::new(text(0), text(1)));
                Some(Self::Rejected {
                    error: problem,
                    info,
                })
            }
            0x26 => Some(Self::Released),
            0x27 => {
                let flag = |at: usize| {
                    items
                        .get(at)
                        .and_then(AmqpValue::as_bool)
                        .unwrap_or_default()
                };
                Some(Self::Modified {
                    failed: flag(0),
                    undeliverable_here: flag(1),
                })
            }
            _ => None,
        }
    }
}
