//! The shape of a parsed filter.
//!
//! The tree mirrors the text: parentheses show as nesting and nothing is rewritten, so that an
//! explanation can point at every clause. `Display` writes the canonical form: keywords in
//! capitals, one blank around operators, and parentheses only around a nested `AND` or `OR`.

use std::fmt;

use serde::Serialize;

/// A stretch of the filter's text, in bytes; both ends lie between characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FilterSpan {
    /// The first byte.
    pub start: usize,
    /// The byte after the last one.
    pub end: usize,
}

impl FilterSpan {
    /// The part of `text` that this span covers; empty where the span lies outside.
    pub fn of<'a>(&self, text: &'a str) -> &'a str {
        text.get(self.start..self.end).unwrap_or_default()
    }
}

/// A condition: what is true or not true of an event.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum FilterExpr {
    /// All of two or more conditions.
    And(ExprGroup),
    /// At least one of two or more conditions.
    Or(ExprGroup),
    /// `true` or `false`.
    Constant {
        /// Which of the two.
        value: bool,
        /// Where it stands.
        span: FilterSpan,
    },
    /// A path alone: true if the event has the boolean `true` there.
    Flag(FieldPath),
    /// Two operands and a comparison.
    Compare(CompareExpr),
    /// One of the three functions.
    Call(FunctionCall),
}

/// The members of an `AND` or `OR`; never fewer than two.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ExprGroup {
    /// The conditions in the order of the text.
    pub children: Vec<FilterExpr>,
    /// From the first to the last of them.
    pub span: FilterSpan,
}

/// `left op right`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct CompareExpr {
    /// The operand before the operator.
    pub left: CompareOperand,
    /// The operator.
    pub op: CompareOp,
    /// The operand after the operator.
    pub right: CompareOperand,
    /// The whole comparison.
    pub span: FilterSpan,
}

/// `FUNCTION(subject, part)`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct FunctionCall {
    /// Which function.
    pub function: FilterFunction,
    /// The string that is looked into.
    pub subject: CompareOperand,
    /// The string that is looked for.
    pub part: CompareOperand,
    /// The whole call.
    pub span: FilterSpan,
}

/// Something with a value.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum CompareOperand {
    /// The value at a path of the event.
    Path(FieldPath),
    /// A value in the filter's own text.
    Literal(LiteralValue),
}

/// Names joined by dots: a field of the event, or the way to one inside `$body`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct FieldPath {
    text: Box<str>,
    /// Where it stands.
    pub span: FilterSpan,
}

impl FieldPath {
    pub(crate) fn new(text: &str, span: FilterSpan) -> Self {
        Self {
            text: text.into(),
            span,
        }
    }

    /// The path as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The first name.
    pub fn root(&self) -> &str {
        self.segments().next().unwrap_or_default()
    }

    /// All names, the root included.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.text.split('.')
    }

    /// Which part of an event the path names.
    pub fn target(&self) -> PathTarget<'_> {
        match self.text.split_once('.') {
            None if &*self.text == "$body" => PathTarget::Body(""),
            None if !self.text.starts_with('$') => PathTarget::Attribute(&self.text),
            Some(("$body", members)) => PathTarget::Body(members),
            _ => PathTarget::Nothing,
        }
    }
}

/// What a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathTarget<'a> {
    /// A context attribute of the event, extensions included.
    Attribute(&'a str),
    /// A member of the event's data: names joined by dots, empty for the data as a whole.
    Body(&'a str),
    /// Nothing that an event can have; legal, and always missing.
    Nothing,
}

/// A value written in the filter.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum LiteralValue {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number without fraction or exponent that fits in 64 bits.
    Int(i64),
    /// Any other number; always finite.
    Double(f64),
    /// A string, its escapes resolved.
    Text(Box<str>),
}

/// A comparison operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompareOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

/// One of the three functions of the language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FilterFunction {
    /// `STARTS_WITH(x, y)`: the string `x` begins with `y`.
    StartsWith,
    /// `ENDS_WITH(x, y)`: the string `x` ends with `y`.
    EndsWith,
    /// `CONTAINS(x, y)`: the string `y` occurs in `x`.
    Contains,
}

impl FilterFunction {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::StartsWith, Self::EndsWith, Self::Contains];

    /// The name in capitals.
    pub fn name(self) -> &'static str {
        match self {
            Self::StartsWith => "STARTS_WITH",
            Self::EndsWith => "ENDS_WITH",
            Self::Contains => "CONTAINS",
        }
    }

    /// The function of that name, ignoring case.
    pub(crate) fn of_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|function| function.name().eq_ignore_ascii_case(name))
    }
}

impl FilterExpr {
    /// Where the condition stands, without parentheses around it.
    pub fn span(&self) -> FilterSpan {
        match self {
            Self::And(group) | Self::Or(group) => group.span,
            Self::Constant { span, .. } => *span,
            Self::Flag(path) => path.span,
            Self::Compare(compare) => compare.span,
            Self::Call(call) => call.span,
        }
    }

    /// The conditions directly inside an `AND` or `OR`.
    pub fn children(&self) -> &[Self] {
        match self {
            Self::And(group) | Self::Or(group) => &group.children,
            _ => &[],
        }
    }

    /// The operands of a comparison or call.
    pub fn operands(&self) -> Option<[&CompareOperand; 2]> {
        match self {
            Self::Compare(compare) => Some([&compare.left, &compare.right]),
            Self::Call(call) => Some([&call.subject, &call.part]),
            _ => None,
        }
    }

    /// The paths that this clause itself looks at, left to right; none for `AND` and `OR`.
    pub fn paths(&self) -> Vec<&FieldPath> {
        if let Self::Flag(path) = self {
            return vec![path];
        }
        let operands = self.operands().into_iter().flatten();
        operands.filter_map(CompareOperand::path).collect()
    }
}

impl CompareOperand {
    /// The path, if it is one.
    pub fn path(&self) -> Option<&FieldPath> {
        match self {
            Self::Path(path) => Some(path),
            Self::Literal(_) => None,
        }
    }

    /// The value, if it stands in the filter itself.
    pub fn literal(&self) -> Option<&LiteralValue> {
        match self {
            Self::Path(_) => None,
            Self::Literal(literal) => Some(literal),
        }
    }

    /// The string, if it is a string of the filter itself.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Literal(LiteralValue::Text(text)) => Some(text),
            _ => None,
        }
    }
}

impl fmt::Display for FilterExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::And(group) => group.fmt_joined(f, " AND "),
            Self::Or(group) => group.fmt_joined(f, " OR "),
            Self::Constant { value, .. } => write!(f, "{value}"),
            Self::Flag(path) => f.write_str(path.as_str()),
            Self::Compare(CompareExpr {
                left, op, right, ..
            }) => write!(f, "{left} {op} {right}"),
            Self::Call(FunctionCall {
                function,
                subject,
                part,
                ..
            }) => {
                write!(f, "{}({subject}, {part})", function.name())
            }
        }
    }
}

impl ExprGroup {
    fn fmt_joined(&self, f: &mut fmt::Formatter<'_>, word: &str) -> fmt::Result {
        for (index, child) in self.children.iter().enumerate() {
            if index > 0 {
                f.write_str(word)?;
            }
            match child {
                FilterExpr::And(_) | FilterExpr::Or(_) => write!(f, "({child})")?,
                _ => write!(f, "{child}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for CompareOperand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => f.write_str(path.as_str()),
            Self::Literal(literal) => write!(f, "{literal}"),
        }
    }
}

impl fmt::Display for LiteralValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            // `Debug` always writes a point or an exponent, so that it reads back as a double.
            Self::Double(value) => write!(f, "{value:?}"),
            Self::Text(text) => write!(f, "{}", QuotedString(text)),
        }
    }
}

/// A string as the filter language writes it.
pub(crate) struct QuotedString<'a>(pub(crate) &'a str);

impl fmt::Display for QuotedString<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("'")?;
        for part in self.0.split_inclusive(['\'', '\\']) {
            match part.strip_suffix(['\'', '\\']) {
                Some(before) => write!(f, "{before}\\{}", &part[before.len()..])?,
                None => f.write_str(part)?,
            }
        }
        f.write_str("'")
    }
}

impl fmt::Display for CompareOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        })
    }
}
