//! Values of the filter language, and when two of them compare as true.
//!
//! Azure does not document missing values or different types. IoT Hub, the closest relative,
//! counts a condition over them as false; so do we, for `!=` too: what cannot be compared is not
//! *unequal*, it is simply not true. The one exception is `null`, because `x != null` is the
//! documented way to ask whether something is there.

use std::cmp::Ordering;

use crate::ast::{Function, Literal, Op};

/// A value that is there. Objects and arrays are known by their kind only.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Value<'a> {
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

impl<'a> From<&'a Literal> for Value<'a> {
    fn from(literal: &'a Literal) -> Self {
        match literal {
            Literal::Null => Self::Null,
            Literal::Bool(value) => Self::Bool(*value),
            Literal::Int(value) => Self::Int(*value),
            Literal::Double(value) => Self::Double(*value),
            Literal::Text(text) => Self::Text(text),
        }
    }
}

impl<'a> Value<'a> {
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
pub(crate) fn compare(left: Value<'_>, op: Op, right: Value<'_>) -> bool {
    let (left, right) = (left.beside(right), right.beside(left));
    match (left, right) {
        (Value::Null, Value::Null) => op == Op::Equal,
        (Value::Null, _) | (_, Value::Null) => op == Op::NotEqual,
        (Value::Bool(left), Value::Bool(right)) => match op {
            Op::Equal => left == right,
            Op::NotEqual => left != right,
            _ => false,
        },
        (Value::Text(left), Value::Text(right)) => match op {
            Op::Equal => left == right,
            Op::NotEqual => left != right,
            _ => holds(op, left.cmp(right)),
        },
        _ => numbers(left, right).is_some_and(|ordering| holds(op, ordering)),
    }
}

/// Whether the function is true of two values; never unless both are strings.
pub(crate) fn call(function: Function, subject: Value<'_>, part: Value<'_>) -> bool {
    let Some((subject, part)) = subject.text().zip(part.text()) else {
        return false;
    };
    match function {
        Function::StartsWith => subject.starts_with(part),
        Function::EndsWith => subject.ends_with(part),
        Function::Contains => subject.contains(part),
    }
}

fn holds(op: Op, ordering: Ordering) -> bool {
    match op {
        Op::Equal => ordering.is_eq(),
        Op::NotEqual => ordering.is_ne(),
        Op::Less => ordering.is_lt(),
        Op::LessOrEqual => ordering.is_le(),
        Op::Greater => ordering.is_gt(),
        Op::GreaterOrEqual => ordering.is_ge(),
    }
}

/// The order of two numbers, `None` if one of them is something else.
fn numbers(left: Value<'_>, right: Value<'_>) -> Option<Ordering> {
    match (left, right) {
        (Value::Int(left), Value::Int(right)) => Some(left.cmp(&right)),
        (Value::Double(left), Value::Double(right)) => left.partial_cmp(&right),
        (Value::Int(left), Value::Double(right)) => Some(int_to_double(left, right)),
        (Value::Double(left), Value::Int(right)) => Some(int_to_double(right, left).reverse()),
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

    fn check(left: Value<'_>, op: Op, right: Value<'_>, expect: bool) {
        assert_eq!(compare(left, op, right), expect, "{left:?} {op} {right:?}");
    }

    #[test]
    fn integers_and_doubles_compare_exactly() {
        use Value::{Double, Int};
        check(Int(5), Op::Equal, Double(5.0), true);
        check(Int(5), Op::Less, Double(5.5), true);
        check(Int(-5), Op::Less, Double(-5.5), false);
        check(Double(-5.5), Op::Less, Int(-5), true);
        check(
            Int(i64::MAX),
            Op::Equal,
            Double(9_223_372_036_854_775_807.0),
            false,
        );
        check(
            Int(i64::MAX),
            Op::Less,
            Double(9_223_372_036_854_775_807.0),
            true,
        );
        check(
            Int(i64::MIN),
            Op::Equal,
            Double(-9_223_372_036_854_775_808.0),
            true,
        );
        check(
            Int(9_007_199_254_740_993),
            Op::Equal,
            Double(9_007_199_254_740_992.0),
            false,
        );
        check(
            Int(9_007_199_254_740_993),
            Op::Greater,
            Double(9_007_199_254_740_992.0),
            true,
        );
        check(Int(0), Op::Equal, Double(-0.0), true);
        check(Int(0), Op::Greater, Double(-1e300), true);
    }

    #[test]
    fn different_types_are_neither_equal_nor_unequal() {
        let values = [
            Value::Bool(true),
            Value::Int(1),
            Value::Text("1"),
            Value::Object,
            Value::Array,
        ];
        for (row, left) in values.into_iter().enumerate() {
            for (column, right) in values.into_iter().enumerate() {
                let comparable = row == column && row < 3;
                check(left, Op::Equal, right, comparable);
                check(left, Op::NotEqual, right, false);
            }
        }
    }

    #[test]
    fn an_extension_compares_as_what_stands_beside_it() {
        use Value::{Bool, Double, Extension, Int, Text};
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
            (Extension("7"), Value::Null, false),
        ] {
            check(left, Op::Equal, right, expect);
            check(right, Op::Equal, left, expect);
        }
        check(Extension("9"), Op::Less, Int(10), true);
        check(Extension("9"), Op::Less, Extension("10"), true);
        check(Extension("9"), Op::Less, Text("10"), false);
        check(Extension("9"), Op::Less, Extension("1a"), false);
        check(Extension("9"), Op::NotEqual, Value::Null, true);
        check(Extension("9"), Op::NotEqual, Bool(true), false);
    }

    #[test]
    fn null_is_equal_to_null_alone_and_unequal_to_the_rest() {
        check(Value::Null, Op::Equal, Value::Null, true);
        check(Value::Null, Op::NotEqual, Value::Null, false);
        check(Value::Null, Op::LessOrEqual, Value::Null, false);
        for value in [
            Value::Bool(false),
            Value::Int(0),
            Value::Text(""),
            Value::Object,
        ] {
            check(value, Op::Equal, Value::Null, false);
            check(value, Op::NotEqual, Value::Null, true);
            check(Value::Null, Op::NotEqual, value, true);
            check(Value::Null, Op::Less, value, false);
        }
    }

    #[test]
    fn strings_are_ordered_by_their_bytes_and_booleans_are_not_ordered() {
        check(Value::Text("B"), Op::Less, Value::Text("a"), true);
        check(Value::Text("a"), Op::Less, Value::Text("ab"), true);
        check(Value::Text("z"), Op::Less, Value::Text("ä"), true);
        check(Value::Text("10"), Op::Less, Value::Text("9"), true);
        check(Value::Bool(false), Op::Less, Value::Bool(true), false);
        check(
            Value::Bool(false),
            Op::LessOrEqual,
            Value::Bool(false),
            false,
        );
    }
}
