//! Deciding whether a filter matches an event.
//!
//! A table compiles all its filters into one [`EventFields`], which collects the `$body` paths that
//! any of them asks for. A [`EventScope`] is one event seen through those fields: the first clause
//! that looks into `$body` reads all of them in one pass, and a filter over attributes alone
//! never touches the data.
//!
//! Evaluating allocates nothing; the one pass over the data allocates a list of what it found.

use std::cell::OnceCell;

use twinroute_model::event::Event;

use crate::anchor::IndexedField;
use crate::ast::{
    CompareOp, CompareOperand, ExprGroup, FieldPath, FilterExpr, FilterFunction, LiteralValue,
    PathTarget,
};
use crate::body::{BodyPaths, BodySlot, ExtractedValues, extract};
use crate::value::{FieldValue, call, compare};

/// The fields of an event that the filters of one table look at.
#[derive(Debug, Clone)]
pub struct EventFields {
    paths: BodyPaths,
    model: BodySlot,
    model_id: BodySlot,
}

impl Default for EventFields {
    fn default() -> Self {
        Self::new()
    }
}

impl EventFields {
    /// No fields yet.
    pub fn new() -> Self {
        let mut paths = BodyPaths::new();
        let model = paths.intern("$metadata.$model");
        let model_id = paths.intern("modelId");
        Self {
            paths,
            model,
            model_id,
        }
    }

    /// Makes a filter ready to be evaluated in scopes of these fields, and of no others.
    pub fn compile(&mut self, expr: &FilterExpr) -> FilterProgram {
        FilterProgram {
            root: self.node(expr),
        }
    }

    pub(crate) fn paths(&self) -> &BodyPaths {
        &self.paths
    }

    pub(crate) fn node(&mut self, expr: &FilterExpr) -> ProgramNode {
        match expr {
            FilterExpr::And(group) => ProgramNode::All(self.nodes(group)),
            FilterExpr::Or(group) => ProgramNode::Any(self.nodes(group)),
            FilterExpr::Constant { value, .. } => ProgramNode::Constant(*value),
            FilterExpr::Flag(path) => ProgramNode::Flag(self.place(path)),
            FilterExpr::Compare(clause) => ProgramNode::Compare(
                self.source(&clause.left),
                clause.op,
                self.source(&clause.right),
            ),
            FilterExpr::Call(clause) => ProgramNode::Call(
                clause.function,
                self.source(&clause.subject),
                self.source(&clause.part),
            ),
        }
    }

    /// The members of a group, those that need no look into the data first.
    fn nodes(&mut self, group: &ExprGroup) -> Box<[ProgramNode]> {
        let mut nodes: Vec<ProgramNode> = group
            .children
            .iter()
            .map(|child| self.node(child))
            .collect();
        nodes.sort_by_key(ProgramNode::needs_body);
        nodes.into()
    }

    fn source(&mut self, operand: &CompareOperand) -> ValueSource {
        match operand {
            CompareOperand::Path(path) => ValueSource::Place(self.place(path)),
            CompareOperand::Literal(literal) => ValueSource::Literal(literal.clone()),
        }
    }

    pub(crate) fn place(&mut self, path: &FieldPath) -> ValuePlace {
        match path.target() {
            PathTarget::Attribute(name) => match CoreAttribute::of_name(name) {
                Some(core) => ValuePlace::Core(core),
                None => ValuePlace::Extension(name.into()),
            },
            PathTarget::Body(members) => ValuePlace::Body(self.paths.intern(members)),
            PathTarget::Nothing => ValuePlace::Nothing,
        }
    }
}

/// A filter made ready for one [`EventFields`].
#[derive(Debug, Clone)]
pub struct FilterProgram {
    root: ProgramNode,
}

impl FilterProgram {
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
pub(crate) enum ProgramNode {
    Constant(bool),
    All(Box<[ProgramNode]>),
    Any(Box<[ProgramNode]>),
    Flag(ValuePlace),
    Compare(ValueSource, CompareOp, ValueSource),
    Call(FilterFunction, ValueSource, ValueSource),
}

#[derive(Debug, Clone)]
pub(crate) enum ValueSource {
    Place(ValuePlace),
    Literal(LiteralValue),
}

/// Where in an event a value comes from.
#[derive(Debug, Clone)]
pub(crate) enum ValuePlace {
    Core(CoreAttribute),
    Extension(Box<str>),
    Body(BodySlot),
    Nothing,
}

impl ProgramNode {
    pub(crate) fn is_true(&self, scope: &EventScope<'_>) -> bool {
        match self {
            Self::Constant(value) => *value,
            Self::All(nodes) => nodes.iter().all(|node| node.is_true(scope)),
            Self::Any(nodes) => nodes.iter().any(|node| node.is_true(scope)),
            Self::Flag(place) => {
                scope.value(place).map(FieldValue::canonical) == Some(FieldValue::Bool(true))
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

impl ValueSource {
    pub(crate) fn value<'a>(&'a self, scope: &'a EventScope<'_>) -> Option<FieldValue<'a>> {
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
pub(crate) enum CoreAttribute {
    Type,
    Source,
    Subject,
    DataSchema,
    DataContentType,
    SpecVersion,
    Id,
    Time,
}

impl CoreAttribute {
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

impl ValuePlace {
    fn is_body(&self) -> bool {
        matches!(self, Self::Body(_))
    }
}

/// One event, seen through the fields of a table.
#[derive(Debug)]
pub struct EventScope<'a> {
    fields: &'a EventFields,
    event: &'a Event,
    body: OnceCell<ExtractedValues<'a>>,
}

impl<'a> EventScope<'a> {
    /// Looks at `event` through `fields`; reads nothing yet.
    pub fn new(fields: &'a EventFields, event: &'a Event) -> Self {
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

    pub(crate) fn paths(&self) -> &'a BodyPaths {
        self.fields.paths()
    }

    /// The string in a field that an index keeps; `None` if it is missing or no string.
    pub fn field(&self, field: IndexedField) -> Option<&str> {
        match field {
            IndexedField::Type => Some(self.event.event_type()),
            IndexedField::Source => Some(self.event.source()),
            IndexedField::Subject => self.event.subject(),
            IndexedField::DataSchema => self.event.dataschema(),
            IndexedField::Model => self.body(self.fields.model)?.text(),
            IndexedField::ModelId => self.body(self.fields.model_id)?.text(),
        }
    }

    /// What stands at `place`; `None` if it is missing.
    pub(crate) fn value(&self, place: &ValuePlace) -> Option<FieldValue<'_>> {
        match place {
            ValuePlace::Core(core) => core.value(self.event).map(FieldValue::Text),
            ValuePlace::Extension(name) => self.event.attribute(name).map(FieldValue::Extension),
            ValuePlace::Body(slot) => self.body(*slot),
            ValuePlace::Nothing => None,
        }
    }

    pub(crate) fn body(&self, slot: BodySlot) -> Option<FieldValue<'_>> {
        let extracted = self.body.get_or_init(|| match self.event.json_data() {
            Some(json) => extract(self.fields.paths(), json),
            None => ExtractedValues::default(),
        });
        extracted.get(slot)
    }
}
