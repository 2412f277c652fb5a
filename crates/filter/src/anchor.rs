//! What an event must have for a filter to match: the part of a filter that an index can use.
//!
//! An [`Anchor`] is a list of alternatives, and every event that the filter matches meets at
//! least one of them. An index files the filter under the alternatives of one anchor, whichever
//! is the most selective, and looks at the filter only for events that come by one of those. A
//! filter without an anchor has to be looked at for every event.

use crate::ast::{Call, Compare, Expr, Function, Op, Operand, Target};
use crate::value::{call, compare};

/// Alternatives, one of which holds of every event that the filter matches.
///
/// None at all: the filter matches nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// The alternatives, in the order of the text, each once.
    pub alternatives: Vec<Atom>,
}

/// A condition on one field that an index can answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Atom {
    /// What it is about.
    pub field: Field,
    /// What the field must be.
    pub test: Test,
}

/// A field worth an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Field {
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
pub enum Test {
    /// Exactly this.
    Equals(Box<str>),
    /// Anything that begins with this; never empty.
    Prefix(Box<str>),
}

impl Field {
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

impl Atom {
    /// How few events are likely to pass; only the order of the numbers means anything.
    fn selectivity(&self) -> u8 {
        let exact = matches!(self.test, Test::Equals(_));
        match (self.field, exact) {
            (Field::Subject, true) => 5,
            (Field::Model | Field::ModelId | Field::DataSchema, true) => 4,
            (Field::Subject | Field::Model | Field::ModelId | Field::DataSchema, false) => 3,
            (Field::Source | Field::Type, true) => 2,
            (Field::Source | Field::Type, false) => 1,
        }
    }
}

impl Anchor {
    const NEVER: Self = Self {
        alternatives: Vec::new(),
    };

    fn of(field: Field, test: Test) -> Self {
        Self {
            alternatives: vec![Atom { field, test }],
        }
    }

    /// As selective as its least selective alternative; of two such, the shorter.
    fn rank(&self) -> (u8, std::cmp::Reverse<usize>) {
        let weakest = self.alternatives.iter().map(Atom::selectivity).min();
        (
            weakest.unwrap_or(u8::MAX),
            std::cmp::Reverse(self.alternatives.len()),
        )
    }
}

/// Every anchor found, for the caller to choose one.
pub(crate) fn anchors(expr: &Expr) -> Vec<Anchor> {
    match expr {
        Expr::And(group) => group.children.iter().flat_map(anchors).collect(),
        Expr::Or(group) => either(&group.children).into_iter().collect(),
        Expr::Constant { value: true, .. } => Vec::new(),
        Expr::Constant { value: false, .. } => vec![Anchor::NEVER],
        Expr::Flag(path) => match path.target() {
            Target::Nothing => vec![Anchor::NEVER],
            _ => Vec::new(),
        },
        Expr::Compare(_) | Expr::Call(_) => clause(expr).into_iter().collect(),
    }
}

/// The best anchor of each child together; `None` if one child has none.
fn either(children: &[Expr]) -> Option<Anchor> {
    let mut union = Anchor::NEVER;
    for child in children {
        let best = anchors(child).into_iter().max_by_key(Anchor::rank)?;
        union.alternatives.extend(best.alternatives);
    }
    let mut seen = std::collections::HashSet::new();
    union.alternatives.retain(|atom| seen.insert(atom.clone()));
    Some(union)
}

fn clause(expr: &Expr) -> Option<Anchor> {
    let paths = expr.paths();
    if paths.iter().any(|path| path.target() == Target::Nothing) {
        return Some(Anchor::NEVER);
    }
    if paths.is_empty() {
        return (!is_constantly_true(expr)).then_some(Anchor::NEVER);
    }
    match expr {
        Expr::Compare(Compare {
            left,
            op: Op::Equal,
            right,
            ..
        }) => {
            let (field, text) =
                field_and_text(left, right).or_else(|| field_and_text(right, left))?;
            Some(Anchor::of(field, Test::Equals(text.into())))
        }
        Expr::Call(call) if call.function == Function::StartsWith => {
            let (field, text) = field_and_text(&call.subject, &call.part)?;
            let useful = !text.is_empty();
            useful.then(|| Anchor::of(field, Test::Prefix(text.into())))
        }
        _ => None,
    }
}

/// Whether it is true of every event, for a clause without paths.
fn is_constantly_true(expr: &Expr) -> bool {
    match expr {
        Expr::Compare(Compare {
            left: Operand::Literal(left),
            op,
            right: Operand::Literal(right),
            ..
        }) => compare(left.into(), *op, right.into()),
        Expr::Call(Call {
            function,
            subject: Operand::Literal(subject),
            part: Operand::Literal(part),
            ..
        }) => call(*function, subject.into(), part.into()),
        _ => false,
    }
}

fn field_and_text<'a>(path: &Operand, text: &'a Operand) -> Option<(Field, &'a str)> {
    Some((Field::of_path(path.path()?.as_str())?, text.text()?))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::*;
    use crate::eval::{EventScope, Fields};
    use crate::{Filter, Options};

    fn check(text: &str, expect: Expect) {
        let filter = Filter::parse(text, &Options::default()).expect(text);
        let anchors: Vec<String> = filter.anchors().iter().map(shown).collect();
        expect.assert_eq(&anchors.join("\n"));
    }

    fn shown(anchor: &Anchor) -> String {
        if anchor.alternatives.is_empty() {
            return "never".to_owned();
        }
        let atoms = anchor.alternatives.iter().map(|atom| match &atom.test {
            Test::Equals(text) => format!("{} = {text}", atom.field.path()),
            Test::Prefix(text) => format!("{} = {text}*", atom.field.path()),
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

    fn holds(atom: &Atom, scope: &EventScope<'_>) -> bool {
        let value = scope.field(atom.field);
        value.is_some_and(|value| match &atom.test {
            Test::Equals(text) => value == &**text,
            Test::Prefix(prefix) => value.starts_with(&**prefix),
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
            let filter = Filter::parse(&text, &Options::default()).expect(&text);
            let mut fields = Fields::new();
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
