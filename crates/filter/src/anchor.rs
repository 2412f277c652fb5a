//! What an event must have for a filter to match: the part of a filter that an index can use.
//!
//! An [`FilterAnchor`] is a list of alternatives, and every event that the filter matches meets at
//! least one of them. An index files the filter under the alternatives of one anchor, whichever
//! is the most selective, and looks at the filter only for events that come by one of those. A
//! filter without an anchor has to be looked at for every event.

use crate::ast::{
    CompareExpr, CompareOp, CompareOperand, FilterExpr, FilterFunction, FunctionCall, PathTarget,
};
use crate::value::{call, compare};

/// Alternatives, one of which holds of every event that the filter matches.
///
/// None at all: the filter matches nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FilterAnchor {
    /// The alternatives, in the order of the text, each once.
    pub alternatives: Vec<FieldCondition>,
}

/// A condition on one field that an index can answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct FieldCondition {
    /// What it is about.
    pub field: IndexedField,
    /// What the field must be.
    pub test: StringTest,
}

/// A field worth an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum IndexedField {
    /// `type`
    Type,
    /// `source`
    Source,
    /// `subject`
    Subject,
    /// `dataschema`: for telemetry the model id.
    DataSchema,
    /// `$body.$metadata.$model`: the model id where data is a twin (create, delete).
    Model,
    /// `$body.modelId`: the model id where data is a change (update).
    ModelId,
}

/// What a string must be.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum StringTest {
    /// Exactly this.
    Equals(Box<str>),
    /// Anything that begins with this; never empty.
    Prefix(Box<str>),
}

impl IndexedField {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Type,
        Self::Source,
        Self::Subject,
        Self::DataSchema,
        Self::Model,
        Self::ModelId,
    ];

    /// The path that filters use for it.
    pub fn path(self) -> &'static str {
        match self {
            Self::Type => "type",
            Self::Source => "source",
            Self::Subject => "subject",
            Self::DataSchema => "dataschema",
            Self::Model => "$body.$metadata.$model",
            Self::ModelId => "$body.modelId",
        }
    }

    fn of_path(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.path() == path)
    }
}

impl FieldCondition {
    /// How few events are likely to pass; only the order of the numbers means anything.
    fn selectivity(&self) -> u8 {
        let exact = matches!(self.test, StringTest::Equals(_));
        match (self.field, exact) {
            (IndexedField::Subject, true) => 5,
            (IndexedField::Model | IndexedField::ModelId | IndexedField::DataSchema, true) => 4,
            (
                IndexedField::Subject
                | IndexedField::Model
                | IndexedField::ModelId
                | IndexedField::DataSchema,
                false,
            ) => 3,
            (IndexedField::Source | IndexedField::Type, true) => 2,
            (IndexedField::Source | IndexedField::Type, false) => 1,
        }
    }
}

impl FilterAnchor {
    const NEVER: Self = Self {
        alternatives: Vec::new(),
    };

    fn of(field: IndexedField, test: StringTest) -> Self {
        Self {
            alternatives: vec![FieldCondition { field, test }],
        }
    }

    /// As selective as its least selective alternative; of two such, the shorter.
    fn rank(&self) -> (u8, std::cmp::Reverse<usize>) {
        let weakest = self
            .alternatives
            .iter()
            .map(FieldCondition::selectivity)
            .min();
        (
            weakest.unwrap_or(u8::MAX),
            std::cmp::Reverse(self.alternatives.len()),
        )
    }
}

/// Every anchor found, for the caller to choose one.
pub(crate) fn anchors(expr: &FilterExpr) -> Vec<FilterAnchor> {
    match expr {
        FilterExpr::And(group) => group.children.iter().flat_map(anchors).collect(),
        FilterExpr::Or(group) => either(&group.children).into_iter().collect(),
        FilterExpr::Constant { value: true, .. } => Vec::new(),
        FilterExpr::Constant { value: false, .. } => vec![FilterAnchor::NEVER],
        FilterExpr::Flag(path) => match path.target() {
            PathTarget::Nothing => vec![FilterAnchor::NEVER],
            _ => Vec::new(),
        },
        FilterExpr::Compare(_) | FilterExpr::Call(_) => clause(expr).into_iter().collect(),
    }
}

/// The best anchor of each child together; `None` if one child has none.
fn either(children: &[FilterExpr]) -> Option<FilterAnchor> {
    let mut union = FilterAnchor::NEVER;
    for child in children {
        let best = anchors(child).into_iter().max_by_key(FilterAnchor::rank)?;
        union.alternatives.extend(best.alternatives);
    }
    let mut seen = std::collections::HashSet::new();
    union.alternatives.retain(|atom| seen.insert(atom.clone()));
    Some(union)
}

fn clause(expr: &FilterExpr) -> Option<FilterAnchor> {
    let paths = expr.paths();
    if paths
        .iter()
        .any(|path| path.target() == PathTarget::Nothing)
    {
        return Some(FilterAnchor::NEVER);
    }
    if paths.is_empty() {
        return (!is_constantly_true(expr)).then_some(FilterAnchor::NEVER);
    }
    match expr {
        FilterExpr::Compare(CompareExpr {
            left,
            op: CompareOp::Equal,
            right,
            ..
        }) => {
            let (field, text) =
                field_and_text(left, right).or_else(|| field_and_text(right, left))?;
            Some(FilterAnchor::of(field, StringTest::Equals(text.into())))
        }
        FilterExpr::Call(call) if call.function == FilterFunction::StartsWith => {
            let (field, text) = field_and_text(&call.subject, &call.part)?;
            let useful = !text.is_empty();
            useful.then(|| FilterAnchor::of(field, StringTest::Prefix(text.into())))
        }
        _ => None,
    }
}

/// Whether it is true of every event, for a clause without paths.
fn is_constantly_true(expr: &FilterExpr) -> bool {
    match expr {
        FilterExpr::Compare(CompareExpr {
            left: CompareOperand::Literal(left),
            op,
            right: CompareOperand::Literal(right),
            ..
        }) => compare(left.into(), *op, right.into()),
        FilterExpr::Call(FunctionCall {
            function,
            subject: CompareOperand::Literal(subject),
            part: CompareOperand::Literal(part),
            ..
        }) => call(*function, subject.into(), part.into()),
        _ => false,
    }
}

fn field_and_text<'a>(
    path: &CompareOperand,
    text: &'a CompareOperand,
) -> Option<(IndexedField, &'a str)> {
    Some((IndexedField::of_path(path.path()?.as_str())?, text.text()?))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::*;
    use crate::eval::{EventFields, EventScope};
    use crate::{FilterOptions, RouteFilter};

    fn check(text: &str, expect: Expect) {
        let filter = RouteFilter::parse(text, &FilterOptions::default()).expect(text);
        let anchors: Vec<String> = filter.anchors().iter().map(render).collect();
        expect.assert_eq(&anchors.join("\n"));
    }

    fn render(anchor: &FilterAnchor) -> String {
        if anchor.alternatives.is_empty() {
            return "never".to_owned();
        }
        let atoms = anchor.alternatives.iter().map(|atom| match &atom.test {
            StringTest::Equals(text) => format!("{} = {text}", atom.field.path()),
            StringTest::Prefix(text) => format!("{} = {text}*", atom.field.path()),
        });
        atoms.collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn every_side_of_an_and_offers_its_own() {
        check(
            "type = 'a' AND STARTS_WITH($body.modelId, 'b') AND x > 1",
            expect![[r#"
                type = a
                $body.modelId = b*"#]],
        );
        check(
            "'a' = subject AND source = 'b' AND dataschema = 'c'",
            expect![[r#"
                subject = a
                source = b
                dataschema = c"#]],
        );
        check(
            "type != 'a' AND ENDS_WITH(subject, 'b') AND STARTS_WITH(type, '')",
            expect![""],
        );
    }

    #[test]
    fn an_or_needs_one_of_each_side() {
        check(
            "type = 'a' OR type = 'b' OR type = 'a'",
            expect!["type = a | type = b"],
        );
        check("type = 'a' OR x = 1", expect![""]);
        check(
            "(type = 'a' AND subject = 'b') OR (subject = 'c' AND source = 'd')",
            expect!["subject = b | subject = c"],
        );
        check(
            "type = 'a' AND (subject = 'b' OR subject = 'c')",
            expect![[r#"
                type = a
                subject = b | subject = c"#]],
        );
        check(
            "type = 'a' OR false OR $eventType = 'b'",
            expect!["type = a"],
        );
    }

    #[test]
    fn constants_and_what_no_event_has() {
        check("true", expect![""]);
        check("false", expect!["never"]);
        check("type = 'a' OR true", expect![""]);
        check("'a' = 'b'", expect!["never"]);
        check("'a' = 'a'", expect![""]);
        check(
            "type = Microsoft.DigitalTwins.Twin.Create",
            expect!["never"],
        );
    }

    fn holds(atom: &FieldCondition, scope: &EventScope<'_>) -> bool {
        let value = scope.field(atom.field);
        value.is_some_and(|value| match &atom.test {
            StringTest::Equals(text) => value == &**text,
            StringTest::Prefix(prefix) => value.starts_with(&**prefix),
        })
    }

    proptest! {
        // One in thirty matches and has an anchor.
        #![proptest_config(ProptestConfig::with_cases(3_000))]

        #[test]
        fn a_matching_event_meets_every_anchor(
            text in crate::arbitrary::filter(),
            (event, _) in crate::arbitrary::event(),
        ) {
            let filter = RouteFilter::parse(&text, &FilterOptions::default()).expect(&text);
            let mut fields = EventFields::new();
            let program = fields.compile(filter.expr());
            let scope = EventScope::new(&fields, &event);
            if program.matches(&scope) {
                for anchor in filter.anchors() {
                    let met = anchor.alternatives.iter().any(|atom| holds(atom, &scope));
                    prop_assert!(met, "{}", text);
                }
            }
        }
    }
}
