//! Why a filter matches an event, or why not.
//!
//! An [`Explanation`] has one node for every clause of the filter, with what was seen in the
//! event. It is for people who ask about one event; the decision comes from the same evaluation
//! that routes. All clauses are evaluated, also those that cannot change the outcome any more.

use std::fmt;

use serde::Serialize;
use twinroute_model::event::Event;
use twinroute_model::visible::one_line;

use crate::ast::{Expr, Op, Path, Quoted, Span, Target};
use crate::body::{Slot, member_like};
use crate::check::resembles;
use crate::eval::{EventScope, Fields, Node, Place};
use crate::filter::Filter;
use crate::value::Value;

/// Longer strings are shown by their beginning.
pub const TEXT_CHARS_MAX: usize = 120;

/// What a filter made of an event.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// The filter's text.
    pub filter: String,
    /// Whether it matches the event.
    pub matches: bool,
    /// The filter as a tree.
    pub root: Clause,
}

/// A condition and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Clause {
    /// Its text in the filter; just `AND` or `OR` where conditions are joined.
    pub text: String,
    /// Where it stands, in bytes of the filter.
    pub span: Span,
    /// Whether it is true of the event.
    pub holds: bool,
    /// Why it is not, where values alone do not show it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// What the event has at the paths of the clause.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub seen: Vec<Seen>,
    /// The joined conditions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub clauses: Vec<Clause>,
}

/// What an event has at a path.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Seen {
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
pub fn explain(filter: &Filter, event: &Event) -> Explanation {
    let mut fields = Fields::new();
    let program = Tree::of(filter.expr(), &mut fields);
    let scope = EventScope::new(&fields, event);
    let root = program.explain(filter.as_str(), &scope);
    Explanation {
        filter: filter.as_str().to_owned(),
        matches: root.holds,
        root,
    }
}

/// A filter and its compiled clauses, in the order of the text.
enum Tree<'a> {
    All(&'a Expr, Vec<Tree<'a>>),
    Any(&'a Expr, Vec<Tree<'a>>),
    Leaf(&'a Expr, Node, Vec<(&'a Path, Place)>),
}

impl<'a> Tree<'a> {
    fn of(expr: &'a Expr, fields: &mut Fields) -> Self {
        let mut children = || {
            expr.children()
                .iter()
                .map(|child| Self::of(child, fields))
                .collect()
        };
        match expr {
            Expr::And(_) => Self::All(expr, children()),
            Expr::Or(_) => Self::Any(expr, children()),
            Expr::Constant { .. } | Expr::Flag(_) | Expr::Compare(_) | Expr::Call(_) => {
                let node = fields.node(expr);
                let mut paths: Vec<(&Path, Place)> = Vec::new();
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

    fn explain(&self, filter: &str, scope: &EventScope<'_>) -> Clause {
        let (expr, children): (_, &[Tree<'_>]) = match self {
            Self::All(expr, children) | Self::Any(expr, children) => (expr, children),
            Self::Leaf(expr, ..) => (expr, &[]),
        };
        let span = expr.span();
        let clauses: Vec<Clause> = children
            .iter()
            .map(|child| child.explain(filter, scope))
            .collect();
        let joined = |text: &str, holds| Clause {
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
                Clause {
                    clauses,
                    ..joined("AND", holds)
                }
            }
            Self::Any(..) => {
                let holds = clauses.iter().any(|clause| clause.holds);
                Clause {
                    clauses,
                    ..joined("OR", holds)
                }
            }
            Self::Leaf(_, node, paths) => Clause {
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

fn seen(path: &Path, place: &Place, scope: &EventScope<'_>) -> Seen {
    let value = scope.value(place);
    Seen {
        path: path.as_str().to_owned(),
        present: value.is_some(),
        value: value.and_then(json),
        text: match value {
            Some(value) => shown(value),
            None => missing(path, scope),
        },
    }
}

/// Why a clause over values that are there is not true.
fn note(node: &Node, scope: &EventScope<'_>) -> Option<String> {
    if node.is_true(scope) {
        return None;
    }
    match node {
        Node::Flag(place) => match scope.value(place)?.canonical() {
            Value::Bool(_) => None,
            value => Some(format!(
                "{} is not true by itself; only the boolean true is",
                value.kind()
            )),
        },
        Node::Compare(left, op, right) => unequal(left.value(scope)?, *op, right.value(scope)?),
        Node::Call(function, subject, part) => {
            let values = [subject.value(scope)?, part.value(scope)?];
            let other = values.into_iter().find(|value| value.text().is_none())?;
            Some(format!(
                "{} is true of strings only, not of {}",
                function.name(),
                other.kind()
            ))
        }
        Node::Constant(_) | Node::All(_) | Node::Any(_) => None,
    }
}

fn unequal(left: Value<'_>, op: Op, right: Value<'_>) -> Option<String> {
    let (left, right) = (left.beside(right), right.beside(left));
    match (left, right) {
        (Value::Null, _) | (_, Value::Null) => None,
        (Value::Text(left), Value::Text(right)) => {
            let case_only = op == Op::Equal && left.to_lowercase() == right.to_lowercase();
            case_only.then(|| "they differ in the case of letters".to_owned())
        }
        (Value::Bool(_), Value::Bool(_)) => {
            let ordered = !matches!(op, Op::Equal | Op::NotEqual);
            ordered.then(|| "booleans have no order".to_owned())
        }
        (Value::Object | Value::Array, _) | (_, Value::Object | Value::Array) => {
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
fn missing(path: &Path, scope: &EventScope<'_>) -> String {
    match path.target() {
        Target::Body(members) => missing_member(members, scope),
        Target::Attribute(_) | Target::Nothing => match resembles(path) {
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
    let mut slot = Slot::ROOT;
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
        Some(Value::Array) => {
            format!("missing; {prefix} is an array, and filters cannot look into arrays")
        }
        Some(Value::Object) => {
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

fn shown(value: Value<'_>) -> String {
    match value.canonical() {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Double(value) => format!("{value:?}"),
        Value::Text(text) | Value::Extension(text) => match cut(text) {
            Some(start) => format!("{}… ({} bytes)", Quoted(start), text.len()),
            None => Quoted(text).to_string(),
        },
        value @ (Value::Object | Value::Array) => value.kind().to_owned(),
    }
}

fn json(value: Value<'_>) -> Option<serde_json::Value> {
    match value.canonical() {
        Value::Null => Some(serde_json::Value::Null),
        Value::Bool(value) => Some(value.into()),
        Value::Int(value) => Some(value.into()),
        Value::Double(value) => Some(value.into()),
        Value::Text(text) | Value::Extension(text) => Some(cut(text).unwrap_or(text).into()),
        Value::Object | Value::Array => None,
    }
}

/// The beginning of a text that is too long to show.
fn cut(text: &str) -> Option<&str> {
    let (end, _) = text.char_indices().nth(TEXT_CHARS_MAX)?;
    Some(&text[..end])
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.root.fmt_at(f, 0)
    }
}

impl Clause {
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
        for Seen { path, text, .. } in &self.seen {
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
