//! Errors and delivery states as they stand in performatives.

use super::value::Value;

/// An AMQP error: condition and description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) condition: String,
    pub(crate) description: String,
}

impl Problem {
    pub(crate) fn new(condition: impl Into<String>, description: impl Into<String>) -> Self {
        Self {
            condition: condition.into(),
            description: description.into(),
        }
    }

    pub(crate) fn value(&self) -> Value {
        Value::described(
            0x1d,
            Value::List(vec![
                Value::symbol(&self.condition),
                Value::string(&self.description),
                Value::Null,
            ]),
        )
    }
}

pub(crate) fn problem_or_null(problem: Option<&Problem>) -> Value {
    problem.map_or(Value::Null, Problem::value)
}

/// What became of a delivery (AMQP 1.0 part 3 §3.4).
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    Accepted,
    Rejected {
        error: Option<Problem>,
        info: Vec<(Value, Value)>,
    },
    Released,
    Modified {
        failed: bool,
        undeliverable_here: bool,
    },
}

impl Outcome {
    pub(crate) fn rejected(problem: Problem) -> Self {
        Self::Rejected {
            error: Some(problem),
            info: Vec::new(),
        }
    }

    pub(crate) fn value(&self) -> Value {
        match self {
            Self::Accepted => Value::described(0x24, Value::List(Vec::new())),
            Self::Rejected { error, .. } => {
                Value::described(0x25, Value::List(vec![problem_or_null(error.as_ref())]))
            }
            Self::Released => Value::described(0x26, Value::List(Vec::new())),
            Self::Modified {
                failed,
                undeliverable_here,
            } => Value::described(
                0x27,
                Value::List(vec![
                    Value::Bool(*failed),
                    Value::Bool(*undeliverable_here),
                    Value::Null,
                ]),
            ),
        }
    }

    /// `None` for `received` and for states this layer does not know.
    pub(crate) fn read(value: &Value) -> Option<Self> {
        let Value::Described(both) = value else {
            return None;
        };
        let items = value.items();
        match both.0.as_i64()? {
            0x24 => Some(Self::Accepted),
            0x25 => {
                let error = items.first().map(Value::items).unwrap_or_default();
                let text = |at: usize| error.get(at).and_then(Value::as_str).unwrap_or_default();
                let info = error
                    .get(2)
                    .cloned()
                    .map(Value::into_pairs)
                    .unwrap_or_default();
                let problem = (!error.is_empty()).then(|| Problem::new(text(0), text(1)));
                Some(Self::Rejected {
                    error: problem,
                    info,
                })
            }
            0x26 => Some(Self::Released),
            0x27 => {
                let flag = |at: usize| items.get(at).and_then(Value::as_bool).unwrap_or_default();
                Some(Self::Modified {
                    failed: flag(0),
                    undeliverable_here: flag(1),
                })
            }
            _ => None,
        }
    }
}
