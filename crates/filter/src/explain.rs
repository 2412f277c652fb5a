//! Why a filter matches an event, or why not.
//!
//! An [`FilterExplanation`] has one node for every clause of the filter, with what was seen in the
//! event. It is for people who ask about one event; the decision comes from the same evaluation
//! that routes. All clauses are evaluated, also those that cannot change the outcome any more.

use std::fmt;

use serde::Serialize;
use twinroute_model::event::Event;
use twinroute_model::visible::one_line;

use crate::ast::{CompareOp, FieldPath, FilterExpr, FilterSpan, PathTarget, QuotedString};
use crate::body::{BodySlot, member_like};
use crate::check::resembles;
use crate::eval::{EventFields, EventScope, ProgramNode, ValuePlace};
use crate::filter::RouteFilter;
use crate::value::FieldValue;

/// Longer strings are shown by their beginning.
pub const TEXT_CHARS_MAX: usize = 120;

/// What a filter made of an event.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct FilterExplanation {
    /// The filter's text.
    pub filter: String,
    /// Whether it matches the event.
    pub matches: bool,
    /// The filter as a tree.
    pub root: ClauseResult,
}

/// A condition and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ClauseResult {
    /// Its text in the filter; just `AND` or `OR` where conditions are joined.
    pub text: String,
    /// Where it stands, in bytes of the filter.
    pub span: FilterSpan,
    /// Whether it is true of the event.
    pub holds: bool,
    /// Why it is not, where values alone do not show it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// What the event has at the paths of the clause.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub seen: Vec<SeenValue>,
    /// The joined conditions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub clauses: Vec<ClauseResult>,
}

/// What an event has at a path.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SeenValue {
    /// The path as the filter writes it.
    pub path: String,
    /// Whether there is anything.
    pub present: bool,
    /// The value; `None` if it is missing, an object or an array.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<serde_json::Value>,
    /// The value as the filter language writes it, or why there is none.
    pub text: String,
}

/// Evaluates `filter` for `event`, and tells how it went.
pub fn explain(filter: &RouteFilter, event: &Event) -> FilterExplanation {
    let mut fields = EventFields::new();
    let program = ClauseTree::of(filter.expr(), &mut fields);
    let scope = EventScope::new(&fields, event);
    let root = program.explain(filter.as_str(), &scope);
    FilterExplanation {
        filter: filter.as_str().to_owned(),
        matches: root.holds,
        root,
    }
}

/// A filter and its compiled clauses, in the order of the text.
enum ClauseTree<'a> {
    All(&'a FilterExpr, Vec<ClauseTree<'a>>),
    Any(&'a FilterExpr, Vec<ClauseTree<'a>>),
    Leaf(
        &'a FilterExpr,
        ProgramNode,
        Vec<(&'a FieldPath, ValuePlace)>,
    ),
}

impl<'a> ClauseTree<'a> {
    fn of(expr: &'a FilterExpr, fields: &mut EventFields) -> Self {
        let mut children = || {
            expr.children()
                .iter()
                .map(|child| Self::of(child, fields))
                .collect()
        };
        match expr {
            FilterExpr::And(_) => Self::All(expr, children()),
            FilterExpr::Or(_) => Self::Any(expr, children()),
            FilterExpr::Constant { .. }
            | FilterExpr::Flag(_)
            | FilterExpr::Compare(_)
            | FilterExpr::Call(_) => {
                let node = fields.node(expr);
                let mut paths: Vec<(&FieldPath, ValuePlace)> = Vec::new();
                for path in expr.paths() {
                    if paths
                        .iter()
                        .all(|(other, _)| other.as_str() != path.as_str())
                    {
                        paths.push((path, fields.place(path)));
                    }
                }
                Self::Leaf(expr, node, paths)
            }
        }
    }

    fn explain(&self, filter: &str, scope: &EventScope<'_>) -> ClauseResult {
        let (expr, children): (_, &[ClauseTree<'_>]) = match self {
            Self::All(expr, children) | Self::Any(expr, children) => (expr, children),
            Self::Leaf(expr, ..) => (expr, &[]),
        };
        let span = expr.span();
        let clauses: Vec<ClauseResult> = children
            .iter()
            .map(|child| child.explain(filter, scope))
            .collect();
        let joined = |text: &str, holds| ClauseResult {
            text: text.to_owned(),
            span,
            holds,
            note: None,
            seen: Vec::new(),
            clauses: Vec::new(),
        };
        match self {
            Self::All(..) => {
                let holds = clauses.iter().all(|clause| clause.holds);
                ClauseResult {
                    clauses,
                    ..joined("AND", holds)
                }
            }
            Self::Any(..) => {
                let holds = clauses.iter().any(|clause| clause.holds);
                ClauseResult {
                    clauses,
                    ..joined("OR", holds)
                }
            }
            Self::Leaf(_, node, paths) => ClauseResult {
                note: note(node, scope),
                seen: paths
                    .iter()
                    .map(|(path, place)| seen(path, place, scope))
                    .collect(),
                ..joined(span.of(filter), node.is_true(scope))
            },
        }
    }
}

fn seen(path: &FieldPath, place: &ValuePlace, scope: &EventScope<'_>) -> SeenValue {
    let value = scope.value(place);
    SeenValue {
        path: path.as_str().to_owned(),
        present: value.is_some(),
        value: value.and_then(json),
        text: match value {
            Some(value) => render_value(value),
            None => missing(path, scope),
        },
    }
}

/// Why a clause over values that are there is not true.
fn note(node: &ProgramNode, scope: &EventScope<'_>) -> Option<String> {
    if node.is_true(scope) {
        return None;
    }
    match node {
        ProgramNode::Flag(place) => match scope.value(place)?.canonical() {
            FieldValue::Bool(_) => None,
            value => Some(format!(
                "{} is not true by itself; only the boolean true is",
                value.kind()
            )),
        },
        ProgramNode::Compare(left, op, right) => {
            unequal(left.value(scope)?, *op, right.value(scope)?)
        }
        ProgramNode::Call(function, subject, part) => {
            let values = [subject.value(scope)?, part.value(scope)?];
            let other = values.into_iter().find(|value| value.text().is_none())?;
            Some(format!(
                "{} is true of strings only, not of {}",
                function.name(),
                other.kind()
            ))
        }
        ProgramNode::Constant(_) | ProgramNode::All(_) | ProgramNode::Any(_) => None,
    }
}

fn unequal(left: FieldValue<'_>, op: CompareOp, right: FieldValue<'_>) -> Option<String> {
    let (left, right) = (left.beside(right), right.beside(left));
    match (left, right) {
        (FieldValue::Null, _) | (_, FieldValue::Null) => None,
        (FieldValue::Text(left), FieldValue::Text(right)) => {
            let case_only = op == CompareOp::Equal && left.to_lowercase() == right.to_lowercase();
            case_only.then(|| "they differ in the case of letters".to_owned())
        }
        (FieldValue::Bool(_), FieldValue::Bool(_)) => {
            let ordered = !matches!(op, CompareOp::Equal | CompareOp::NotEqual);
            ordered.then(|| "booleans have no order".to_owned())
        }
        (FieldValue::Object | FieldValue::Array, _)
        | (_, FieldValue::Object | FieldValue::Array) => {
            Some("objects and arrays compare with null only".to_owned())
        }
        _ if left.kind() == right.kind() => None,
        _ => Some(format!(
            "{} never compares with {}",
            left.kind(),
            right.kind()
        )),
    }
}

/// Why there is nothing at `path`.
fn missing(path: &FieldPath, scope: &EventScope<'_>) -> String {
    match path.target() {
        PathTarget::Body(members) => missing_member(members, scope),
        PathTarget::Attribute(_) | PathTarget::Nothing => match resembles(path) {
            Some(known) => format!("missing; did you mean {known}?"),
            None => "missing".to_owned(),
        },
    }
}

fn missing_member(members: &str, scope: &EventScope<'_>) -> String {
    let Some(json) = scope.event().json_data() else {
        return "missing; the event has no JSON data".to_owned();
    };
    let names: Vec<&str> = members.split('.').collect();
    let mut slot = BodySlot::ROOT;
    let mut around = scope.body(slot);
    let mut depth = 0;
    while let Some(name) = names.get(depth)
        && let Some(next) = scope.paths().member(slot, name.as_bytes())
        && let Some(value) = scope.body(next)
    {
        (slot, around) = (next, Some(value));
        depth += 1;
    }
    let prefix = ["$body"]
        .iter()
        .chain(&names[..depth])
        .copied()
        .collect::<Vec<_>>()
        .join(".");
    match around {
        None => "missing; the event's data cannot be read as JSON".to_owned(),
        Some(FieldValue::Array) => {
            format!("missing; {prefix} is an array, and filters cannot look into arrays")
        }
        Some(FieldValue::Object) => {
            let name = names.get(depth).copied().unwrap_or_default();
            match member_like(json, &names[..depth], name) {
                Some(like) => {
                    let like = [&[prefix.as_str(), &like], &names[depth + 1..]].concat();
                    format!("missing; did you mean {}?", like.join("."))
                }
                None if depth + 1 < names.len() => format!("missing; {prefix} has no {name}"),
                None => "missing".to_owned(),
            }
        }
        Some(value) => format!("missing; {prefix} is {} and has no members", value.kind()),
    }
}

fn render_value(value: FieldValue<'_>) -> String {
    match value.canonical() {
        FieldValue::Null => "null".to_owned(),
        FieldValue::Bool(value) => value.to_string(),
        FieldValue::Int(value) => value.to_string(),
        FieldValue::Double(value) => format!("{value:?}"),
        FieldValue::Text(text) | FieldValue::Extension(text) => match cut(text) {
            Some(start) => format!("{}… ({} bytes)", QuotedString(start), text.len()),
            None => QuotedString(text).to_string(),
        },
        value @ (FieldValue::Object | FieldValue::Array) => value.kind().to_owned(),
    }
}

fn json(value: FieldValue<'_>) -> Option<serde_json::Value> {
    match value.canonical() {
        FieldValue::Null => Some(serde_json::Value::Null),
        FieldValue::Bool(value) => Some(value.into()),
        FieldValue::Int(value) => Some(value.into()),
        FieldValue::Double(value) => Some(value.into()),
        FieldValue::Text(text) | FieldValue::Extension(text) => {
            Some(cut(text).unwrap_or(text).into())
        }
        FieldValue::Object | FieldValue::Array => None,
    }
}

/// The beginning of a text that is too long to show.
fn cut(text: &str) -> Option<&str> {
    let (end, _) = text.char_indices().nth(TEXT_CHARS_MAX)?;
    Some(&text[..end])
}

impl fmt::Display for FilterExplanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.root.fmt_at(f, 0)
    }
}

impl ClauseResult {
    fn fmt_at(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        let indent = depth * 2;
        let truth = if self.holds { "yes" } else { "no " };
        write!(f, "{truth} {:indent$}", "")?;
        // A clause may go over several lines of the filter.
        for (index, word) in self.text.lines().map(str::trim).enumerate() {
            let gap = if index > 0 { " " } else { "" };
            write!(f, "{gap}{}", one_line(word))?;
        }
        writeln!(f)?;
        for SeenValue { path, text, .. } in &self.seen {
            let (path, text) = (one_line(path), one_line(text));
            writeln!(f, "    {:indent$}  {path} is {text}", "")?;
        }
        if let Some(note) = &self.note {
            writeln!(f, "    {:indent$}  {note}", "")?;
        }
        self.clauses
            .iter()
            .try_for_each(|clause| clause.fmt_at(f, depth + 1))
    }
}
