//! Deciding whether a filter matches an event.
//!
//! A table compiles all its filters into one [`Fields`], which collects the `$body` paths that
//! any of them asks for. A [`EventScope`] is one event seen through those fields: the first clause
//! that looks into `$body` reads all of them in one pass, and a filter over attributes alone
//! never touches the data.
//!
//! Evaluating allocates nothing; the one pass over the data allocates a list of what it found.

use std::cell::OnceCell;

use twinroute_model::event::Event;

use crate::anchor::Field;
use crate::ast::{Expr, Function, Group, Literal, Op, Operand, Path, Target};
use crate::body::{Extracted, Paths, Slot, extract};
use crate::value::{Value, call, compare};

/// The fields of an event that the filters of one table look at.
#[derive(Debug, Clone)]
pub struct Fields {
    paths: Paths,
    model: Slot,
    model_id: Slot,
}

impl Default for Fields {
    fn default() -> Self {
        Self::new()
    }
}

impl Fields {
    /// No fields yet.
    pub fn new() -> Self {
        let mut paths = Paths::new();
        let model = paths.intern("$metadata.$model");
        let model_id = paths.intern("modelId");
        Self {
            paths,
            model,
            model_id,
        }
    }

    /// Makes a filter ready to be evaluated in scopes of these fields, and of no others.
    pub fn compile(&mut self, expr: &Expr) -> Program {
        Program {
            root: self.node(expr),
        }
    }

    pub(crate) fn paths(&self) -> &Paths {
        &self.paths
    }

    pub(crate) fn node(&mut self, expr: &Expr) -> Node {
        match expr {
            Expr::And(group) => Node::All(self.nodes(group)),
            Expr::Or(group) => Node::Any(self.nodes(group)),
            Expr::Constant { value, .. } => Node::Constant(*value),
            Expr::Flag(path) => Node::Flag(self.place(path)),
            Expr::Compare(clause) => Node::Compare(
                self.source(&clause.left),
                clause.op,
                self.source(&clause.right),
            ),
            Expr::Call(clause) => Node::Call(
                clause.function,
                self.source(&clause.subject),
                self.source(&clause.part),
            ),
        }
    }

    /// The members of a group, those that need no look into the data first.
    fn nodes(&mut self, group: &Group) -> Box<[Node]> {
        let mut nodes: Vec<Node> = group
            .children
            .iter()
            .map(|child| self.node(child))
            .collect();
        nodes.sort_by_key(Node::needs_body);
        nodes.into()
    }

    fn source(&mut self, operand: &Operand) -> Source {
        match operand {
            Operand::Path(path) => Source::Place(self.place(path)),
            Operand::Literal(literal) => Source::Literal(literal.clone()),
        }
    }

    pub(crate) fn place(&mut self, path: &Path) -> Place {
        match path.target() {
            Target::Attribute(name) => match Core::of_name(name) {
                Some(core) => Place::Core(core),
                None => Place::Extension(name.into()),
            },
            Target::Body(members) => Place::Body(self.paths.intern(members)),
            Target::Nothing => Place::Nothing,
        }
    }
}

/// A filter made ready for one [`Fields`].
#[derive(Debug, Clone)]
pub struct Program {
    root: Node,
}

impl Program {
    /// Whether the filter matches the event of `scope`.
    ///
    /// The scope must be one of the fields that this program was compiled into.
    pub fn matches(&self, scope: &EventScope<'_>) -> bool {
        self.root.is_true(scope)
    }

    /// Whether evaluating may look into the event's data.
    pub fn needs_body(&self) -> bool {
        self.root.needs_body()
    }
}

#[derive(Debug, Clone)]
pub(crate) enum Node {
    Constant(bool),
    All(Box<[Node]>),
    Any(Box<[Node]>),
    Flag(Place),
    Compare(Source, Op, Source),
    Call(Function, Source, Source),
}

#[derive(Debug, Clone)]
pub(crate) enum Source {
    Place(Place),
    Literal(Literal),
}

/// Where in an event a value comes from.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    Core(Core),
    Extension(Box<str>),
    Body(Slot),
    Nothing,
}

impl Node {
    pub(crate) fn is_true(&self, scope: &EventScope<'_>) -> bool {
        match self {
            Self::Constant(value) => *value,
            Self::All(nodes) => nodes.iter().all(|node| node.is_true(scope)),
            Self::Any(nodes) => nodes.iter().any(|node| node.is_true(scope)),
            Self::Flag(place) => {
                scope.value(place).map(Value::canonical) == Some(Value::Bool(true))
            }
            Self::Compare(left, op, right) => {
                let values = left.value(scope).zip(right.value(scope));
                values.is_some_and(|(left, right)| compare(left, *op, right))
            }
            Self::Call(function, subject, part) => {
                let values = subject.value(scope).zip(part.value(scope));
                values.is_some_and(|(subject, part)| call(*function, subject, part))
            }
        }
    }

    fn needs_body(&self) -> bool {
        match self {
            Self::Constant(_) => false,
            Self::All(nodes) | Self::Any(nodes) => nodes.iter().any(Self::needs_body),
            Self::Flag(place) => place.is_body(),
            Self::Compare(left, _, right) | Self::Call(_, left, right) => {
                left.is_body() || right.is_body()
            }
        }
    }
}

impl Source {
    pub(crate) fn value<'a>(&'a self, scope: &'a EventScope<'_>) -> Option<Value<'a>> {
        match self {
            Self::Place(place) => scope.value(place),
            Self::Literal(literal) => Some(literal.into()),
        }
    }

    fn is_body(&self) -> bool {
        matches!(self, Self::Place(place) if place.is_body())
    }
}

/// An attribute that CloudEvents 1.0 itself defines; all of them are strings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Core {
    Type,
    Source,
    Subject,
    DataSchema,
    DataContentType,
    SpecVersion,
    Id,
    Time,
}

impl Core {
    const ALL: [(&'static str, Self); 8] = [
        ("type", Self::Type),
        ("source", Self::Source),
        ("subject", Self::Subject),
        ("dataschema", Self::DataSchema),
        ("datacontenttype", Self::DataContentType),
        ("specversion", Self::SpecVersion),
        ("id", Self::Id),
        ("time", Self::Time),
    ];

    pub(crate) fn of_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|(known, _)| *known == name)
            .map(|(_, core)| core)
    }

    fn value(self, event: &Event) -> Option<&str> {
        match self {
            Self::Type => Some(event.event_type()),
            Self::Source => Some(event.source()),
            Self::Subject => event.subject(),
            Self::DataSchema => event.dataschema(),
            Self::DataContentType => event.datacontenttype(),
            Self::SpecVersion => event.attribute("specversion"),
            Self::Id => Some(event.id()),
            Self::Time => event.time(),
        }
    }
}

impl Place {
    fn is_body(&self) -> bool {
        matches!(self, Self::Body(_))
    }
}

/// One event, seen through the fields of a table.
#[derive(Debug)]
pub struct EventScope<'a> {
    fields: &'a Fields,
    event: &'a Event,
    body: OnceCell<Extracted<'a>>,
}

impl<'a> EventScope<'a> {
    /// Looks at `event` through `fields`; reads nothing yet.
    pub fn new(fields: &'a Fields, event: &'a Event) -> Self {
        Self {
            fields,
            event,
            body: OnceCell::new(),
        }
    }

    /// The event; what filters see of it.
    pub fn event(&self) -> &'a Event {
        self.event
    }

    pub(crate) fn paths(&self) -> &'a Paths {
        self.fields.paths()
    }

    /// The string in a field that an index keeps; `None` if it is missing or no string.
    pub fn field(&self, field: Field) -> Option<&str> {
        match field {
            Field::Type => Some(self.event.event_type()),
            Field::Source => Some(self.event.source()),
            Field::Subject => self.event.subject(),
            Field::DataSchema => self.event.dataschema(),
            Field::Model => self.body(self.fields.model)?.text(),
            Field::ModelId => self.body(self.fields.model_id)?.text(),
        }
    }

    /// What stands at `place`; `None` if it is missing.
    pub(crate) fn value(&self, place: &Place) -> Option<Value<'_>> {
        match place {
            Place::Core(core) => core.value(self.event).map(Value::Text),
            Place::Extension(name) => self.event.attribute(name).map(Value::Extension),
            Place::Body(slot) => self.body(*slot),
            Place::Nothing => None,
        }
    }

    pub(crate) fn body(&self, slot: Slot) -> Option<Value<'_>> {
        let extracted = self.body.get_or_init(|| match self.event.json_data() {
            Some(json) => extract(self.fields.paths(), json),
            None => Extracted::default(),
        });
        extracted.get(slot)
    }
}
