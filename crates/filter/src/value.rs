//! Values of the filter language, and when two of them compare as true.
//!
//! Azure does not document missing values or different types. IoT Hub, the closest relative,
//! counts a condition over them as false; so do we, for `!=` too: what cannot be compared is not
//! *unequal*, it is simply not true. The one exception is `null`, because `x != null` is the
//! documented way to ask whether something is there.

use std::cmp::Ordering;

use crate::ast::{CompareOp, FilterFunction, LiteralValue};

/// A value that is there. Objects and arrays are known by their kind only.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum FieldValue<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(&'a str),
    /// The text of an extension attribute. Whether it was a string, an integer or a boolean is lost in some content
    /// modes, so it compares as whatever stands on the other side.
    /// Source: CloudEvents HTTP binding 1.0.2 §3.1.3, which has strings alone.
    Extension(&'a str),
    Object,
    Array,
}

impl<'a> From<&'a LiteralValue> for FieldValue<'a> {
    fn from(literal: &'a LiteralValue) -> Self {
        match literal {
            LiteralValue::Null => Self::Null,
            LiteralValue::Bool(value) => Self::Bool(*value),
            LiteralValue::Int(value) => Self::Int(*value),
            LiteralValue::Double(value) => Self::Double(*value),
            LiteralValue::Text(text) => Self::Text(text),
        }
    }
}

impl<'a> FieldValue<'a> {
    /// The string, if it is one.
    pub(crate) fn text(self) -> Option<&'a str> {
        match self {
            Self::Text(text) | Self::Extension(text) => Some(text),
            _ => None,
        }
    }

    /// What the text of an extension attribute says: an integer or a boolean in its canonical form, or a string. Any
    /// other value as it is.
    pub(crate) fn canonical(self) -> Self {
        let Self::Extension(text) = self else {
            return self;
        };
        match text {
            "true" => Self::Bool(true),
            "false" => Self::Bool(false),
            _ => integer(text).map_or(Self::Text(text), Self::Int),
        }
    }

    /// The value as it compares with `other`; no extension's any more.
    pub(crate) fn beside(self, other: Self) -> Self {
        let Self::Extension(text) = self else {
            return self;
        };
        let own = self.canonical();
        match other {
            Self::Text(_) => Self::Text(text),
            Self::Extension(_) if own.kind() != other.kind() => Self::Text(text),
            _ => own,
        }
    }

    /// The kind with its article, for sentences.
    pub(crate) fn kind(self) -> &'static str {
        match self.canonical() {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Int(_) | Self::Double(_) => "a number",
            Self::Text(_) | Self::Extension(_) => "a string",
            Self::Object => "an object",
            Self::Array => "an array",
        }
    }
}

/// An integer of CloudEvents in its canonical form: 32 bits, no zeros in front, no plus.
/// Source: CloudEvents 1.0.2, "Type System".
fn integer(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_canonical = match digits.as_bytes() {
        [b'0'] => digits.len() == text.len(),
        [b'1'..=b'9', ..] => true,
        _ => false,
    };
    let number: i32 = is_canonical.then(|| text.parse().ok())??;
    Some(number.into())
}

/// Whether `left op right` is true.
pub(crate) fn compare(left: FieldValue<'_>, op: CompareOp, right: FieldValue<'_>) -> bool {
    let (left, right) = (left.beside(right), right.beside(left));
    match (left, right) {
        (FieldValue::Null, FieldValue::Null) => op == CompareOp::Equal,
        (FieldValue::Null, _) | (_, FieldValue::Null) => op == CompareOp::NotEqual,
        (FieldValue::Bool(left), FieldValue::Bool(right)) => match op {
            CompareOp::Equal => left == right,
            CompareOp::NotEqual => left != right,
            _ => false,
        },
        (FieldValue::Text(left), FieldValue::Text(right)) => match op {
            CompareOp::Equal => left == right,
            CompareOp::NotEqual => left != right,
            _ => holds(op, left.cmp(right)),
        },
        _ => numbers(left, right).is_some_and(|ordering| holds(op, ordering)),
    }
}

/// Whether the function is true of two values; never unless both are strings.
pub(crate) fn call(
    function: FilterFunction,
    subject: FieldValue<'_>,
    part: FieldValue<'_>,
) -> bool {
    let Some((subject, part)) = subject.text().zip(part.text()) else {
        return false;
    };
    match function {
        FilterFunction::StartsWith => subject.starts_with(part),
        FilterFunction::EndsWith => subject.ends_with(part),
        FilterFunction::Contains => subject.contains(part),
    }
}

fn holds(op: CompareOp, ordering: Ordering) -> bool {
    match op {
        CompareOp::Equal => ordering.is_eq(),
        CompareOp::NotEqual => ordering.is_ne(),
        CompareOp::Less => ordering.is_lt(),
        CompareOp::LessOrEqual => ordering.is_le(),
        CompareOp::Greater => ordering.is_gt(),
        CompareOp::GreaterOrEqual => ordering.is_ge(),
    }
}

/// The order of two numbers, `None` if one of them is something else.
fn numbers(left: FieldValue<'_>, right: FieldValue<'_>) -> Option<Ordering> {
    match (left, right) {
        (FieldValue::Int(left), FieldValue::Int(right)) => Some(left.cmp(&right)),
        (FieldValue::Double(left), FieldValue::Double(right)) => left.partial_cmp(&right),
        (FieldValue::Int(left), FieldValue::Double(right)) => Some(int_to_double(left, right)),
        (FieldValue::Double(left), FieldValue::Int(right)) => {
            Some(int_to_double(right, left).reverse())
        }
        _ => None,
    }
}

/// Compares exactly: a 64-bit integer has more digits than a double can hold.
fn int_to_double(int: i64, double: f64) -> Ordering {
    /// 2^63, one more than the largest integer.
    const BOUND: f64 = 9_223_372_036_854_775_808.0;
    if double >= BOUND {
        return Ordering::Less;
    }
    if double < -BOUND {
        return Ordering::Greater;
    }
    let whole = double.trunc();
    let fraction = double - whole;
    // In range, so the conversion is exact.
    int.cmp(&(whole as i64))
        .then_with(|| 0.0.partial_cmp(&fraction).unwrap_or(Ordering::Equal))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(left: FieldValue<'_>, op: CompareOp, right: FieldValue<'_>, expect: bool) {
        assert_eq!(compare(left, op, right), expect, "{left:?} {op} {right:?}");
    }

    #[test]
    fn integers_and_doubles_compare_exactly() {
        use FieldValue::{Double, Int};
        check(Int(5), CompareOp::Equal, Double(5.0), true);
        check(Int(5), CompareOp::Less, Double(5.5), true);
        check(Int(-5), CompareOp::Less, Double(-5.5), false);
        check(Double(-5.5), CompareOp::Less, Int(-5), true);
        check(
            Int(i64::MAX),
            CompareOp::Equal,
            Double(9_223_372_036_854_775_807.0),
            false,
        );
        check(
            Int(i64::MAX),
            CompareOp::Less,
            Double(9_223_372_036_854_775_807.0),
            true,
        );
        check(
            Int(i64::MIN),
            CompareOp::Equal,
            Double(-9_223_372_036_854_775_808.0),
            true,
        );
        check(
            Int(9_007_199_254_740_993),
            CompareOp::Equal,
            Double(9_007_199_254_740_992.0),
            false,
        );
        check(
            Int(9_007_199_254_740_993),
            CompareOp::Greater,
            Double(9_007_199_254_740_992.0),
            true,
        );
        check(Int(0), CompareOp::Equal, Double(-0.0), true);
        check(Int(0), CompareOp::Greater, Double(-1e300), true);
    }

    #[test]
    fn different_types_are_neither_equal_nor_unequal() {
        let values = [
            FieldValue::Bool(true),
            FieldValue::Int(1),
            FieldValue::Text("1"),
            FieldValue::Object,
            FieldValue::Array,
        ];
        for (row, left) in values.into_iter().enumerate() {
            for (column, right) in values.into_iter().enumerate() {
                let comparable = row == column && row < 3;
                check(left, CompareOp::Equal, right, comparable);
                check(left, CompareOp::NotEqual, right, false);
            }
        }
    }

    #[test]
    fn an_extension_compares_as_what_stands_beside_it() {
        use FieldValue::{Bool, Double, Extension, Int, Text};
        for (left, right, expect) in [
            (Extension("7"), Int(7), true),
            (Extension("7"), Double(7.0), true),
            (Extension("7"), Text("7"), true),
            (Extension("-7"), Int(-7), true),
            (Extension("07"), Int(7), false),
            (Extension("+7"), Int(7), false),
            (Extension("-0"), Int(0), false),
            (Extension("4294967296"), Int(4_294_967_296), false),
            (Extension("true"), Bool(true), true),
            (Extension("true"), Text("true"), true),
            (Extension("True"), Bool(true), false),
            (Extension("7"), Extension("7"), true),
            (Extension("7"), Extension("true"), false),
            (Extension("a"), Extension("a"), true),
            (Extension("7"), FieldValue::Null, false),
        ] {
            check(left, CompareOp::Equal, right, expect);
            check(right, CompareOp::Equal, left, expect);
        }
        check(Extension("9"), CompareOp::Less, Int(10), true);
        check(Extension("9"), CompareOp::Less, Extension("10"), true);
        check(Extension("9"), CompareOp::Less, Text("10"), false);
        check(Extension("9"), CompareOp::Less, Extension("1a"), false);
        check(Extension("9"), CompareOp::NotEqual, FieldValue::Null, true);
        check(Extension("9"), CompareOp::NotEqual, Bool(true), false);
    }

    #[test]
    fn null_is_equal_to_null_alone_and_unequal_to_the_rest() {
        check(FieldValue::Null, CompareOp::Equal, FieldValue::Null, true);
        check(
            FieldValue::Null,
            CompareOp::NotEqual,
            FieldValue::Null,
            false,
        );
        check(
            FieldValue::Null,
            CompareOp::LessOrEqual,
            FieldValue::Null,
            false,
        );
        for value in [
            FieldValue::Bool(false),
            FieldValue::Int(0),
            FieldValue::Text(""),
            FieldValue::Object,
        ] {
            check(value, CompareOp::Equal, FieldValue::Null, false);
            check(value, CompareOp::NotEqual, FieldValue::Null, true);
            check(FieldValue::Null, CompareOp::NotEqual, value, true);
            check(FieldValue::Null, CompareOp::Less, value, false);
        }
    }

    #[test]
    fn strings_are_ordered_by_their_bytes_and_booleans_are_not_ordered() {
        check(
            FieldValue::Text("B"),
            CompareOp::Less,
            FieldValue::Text("a"),
            true,
        );
        check(
            FieldValue::Text("a"),
            CompareOp::Less,
            FieldValue::Text("ab"),
            true,
        );
        check(
            FieldValue::Text("z"),
            CompareOp::Less,
            FieldValue::Text("ä"),
            true,
        );
        check(
            FieldValue::Text("10"),
            CompareOp::Less,
            FieldValue::Text("9"),
            true,
        );
        check(
            FieldValue::Bool(false),
            CompareOp::Less,
            FieldValue::Bool(true),
            false,
        );
        check(
            FieldValue::Bool(false),
            CompareOp::LessOrEqual,
            FieldValue::Bool(false),
            false,
        );
    }
}
