//! Tokens to a tree: recursive descent, one token ahead, with a bound on the depth.
//!
//! ```text
//! filter     = all *( "OR" all )
//! all        = primary *( "AND" primary )
//! primary    = "(" filter ")" / function "(" operand "," operand ")" / comparison / path / boolean
//! comparison = operand ( "=" / "!=" / "<" / "<=" / ">" / ">=" ) operand
//! operand    = path / string / number / boolean / "null"
//! ```
//!
//! `AND` binds tighter than `OR`. Only parentheses nest, so only they are counted: a chain of a
//! thousand `AND`s is one flat group. Where Azure stops reading is known from one recorded
//! answer, in which a lone name was taken and the word after it refused; the places of our errors
//! follow from the same method.

use crate::ast::{
    CompareExpr, CompareOperand, ExprGroup, FieldPath, FilterExpr, FilterFunction, FilterSpan,
    FunctionCall, LiteralValue,
};
use crate::error::{Error, FilterErrorKind, quote};
use crate::hint;
use crate::lex::{FilterLexer, FilterToken};
use crate::options::FilterOptions;

/// Reads `text` as a filter.
pub(crate) fn parse(text: &str, options: &FilterOptions) -> Result<FilterExpr, Error> {
    if text.len() > options.bytes_max {
        let at_boundary = |at: &usize| text.is_char_boundary(*at);
        let start = (0..=options.bytes_max).rev().find(at_boundary).unwrap_or(0);
        let kind = FilterErrorKind::TooLong {
            bytes: text.len(),
            bytes_max: options.bytes_max,
        };
        return Err(Error::new(text, FilterSpan { start, end: start }, kind));
    }
    let mut lexer = FilterLexer::new(text);
    let (token, span) = lexer.next()?;
    let depth_max = options.depth_max;
    let mut parser = FilterParser {
        text,
        lexer,
        token,
        span,
        previous: None,
        depth: 0,
        depth_max,
    };
    let expr = parser.any()?;
    match parser.token {
        FilterToken::End => Ok(expr),
        _ => Err(parser.unexpected()),
    }
}

struct FilterParser<'a> {
    text: &'a str,
    lexer: FilterLexer<'a>,
    token: FilterToken<'a>,
    span: FilterSpan,
    previous: Option<FilterSpan>,
    depth: u8,
    depth_max: u8,
}

impl<'a> FilterParser<'a> {
    fn any(&mut self) -> Result<FilterExpr, Error> {
        let start = self.span.start;
        let first = self.all()?;
        if self.token != FilterToken::Or {
            return Ok(first);
        }
        let mut children = vec![first];
        while self.token == FilterToken::Or {
            self.advance()?;
            children.push(self.all()?);
        }
        Ok(FilterExpr::Or(ExprGroup {
            children,
            span: self.span_from(start),
        }))
    }

    fn all(&mut self) -> Result<FilterExpr, Error> {
        let start = self.span.start;
        let first = self.primary()?;
        if self.token != FilterToken::And {
            return Ok(first);
        }
        let mut children = vec![first];
        while self.token == FilterToken::And {
            self.advance()?;
            children.push(self.primary()?);
        }
        Ok(FilterExpr::And(ExprGroup {
            children,
            span: self.span_from(start),
        }))
    }

    fn primary(&mut self) -> Result<FilterExpr, Error> {
        let start = self.span.start;
        if self.token == FilterToken::Open {
            return self.parenthesised();
        }
        let left = self.operand()?;
        if self.token == FilterToken::Open
            && let CompareOperand::Path(name) = &left
        {
            return self.call(name);
        }
        if let FilterToken::Op(op) = self.token {
            self.advance()?;
            let right = self.operand()?;
            return Ok(FilterExpr::Compare(CompareExpr {
                left,
                op,
                right,
                span: self.span_from(start),
            }));
        }
        match left {
            CompareOperand::Path(path) => Ok(FilterExpr::Flag(path)),
            CompareOperand::Literal(LiteralValue::Bool(value)) => Ok(FilterExpr::Constant {
                value,
                span: self.span_from(start),
            }),
            CompareOperand::Literal(literal) => {
                let hint = hint::comparison_expected(&literal.to_string());
                Err(self.unexpected().with_hint(Some(hint)))
            }
        }
    }

    fn parenthesised(&mut self) -> Result<FilterExpr, Error> {
        if self.depth == self.depth_max {
            let kind = FilterErrorKind::TooDeep {
                depth_max: self.depth_max,
            };
            return Err(Error::new(self.text, self.span, kind));
        }
        self.depth += 1;
        self.advance()?;
        let expr = self.any()?;
        self.expect(&FilterToken::Close)?;
        self.depth -= 1;
        Ok(expr)
    }

    fn call(&mut self, name: &FieldPath) -> Result<FilterExpr, Error> {
        let Some(function) = FilterFunction::of_name(name.as_str()) else {
            let kind = FilterErrorKind::UnknownFunction(quote(name.as_str()));
            let error = Error::new(self.text, name.span, kind);
            return Err(error.with_hint(Some(hint::function(name.as_str()))));
        };
        self.advance()?;
        let subject = self.operand()?;
        self.expect(&FilterToken::Comma)?;
        let part = self.operand()?;
        self.expect(&FilterToken::Close)?;
        let span = self.span_from(name.span.start);
        Ok(FilterExpr::Call(FunctionCall {
            function,
            subject,
            part,
            span,
        }))
    }

    fn operand(&mut self) -> Result<CompareOperand, Error> {
        let literal = match &mut self.token {
            FilterToken::Path(text) => {
                let path = FieldPath::new(text, self.span);
                self.advance()?;
                return Ok(CompareOperand::Path(path));
            }
            FilterToken::Text(text) => LiteralValue::Text(std::mem::take(text)),
            FilterToken::Int(value) => LiteralValue::Int(*value),
            FilterToken::Double(value) => LiteralValue::Double(*value),
            FilterToken::True => LiteralValue::Bool(true),
            FilterToken::False => LiteralValue::Bool(false),
            FilterToken::Null => LiteralValue::Null,
            _ => return Err(self.unexpected()),
        };
        self.advance()?;
        Ok(CompareOperand::Literal(literal))
    }

    fn expect(&mut self, token: &FilterToken<'a>) -> Result<(), Error> {
        if self.token != *token {
            return Err(self.unexpected());
        }
        self.advance()
    }

    fn advance(&mut self) -> Result<(), Error> {
        self.previous = Some(self.span);
        (self.token, self.span) = self.lexer.next()?;
        Ok(())
    }

    /// From `start` to the end of the last token taken.
    fn span_from(&self, start: usize) -> FilterSpan {
        FilterSpan {
            start,
            end: self.previous.map_or(start, |previous| previous.end),
        }
    }

    /// The error for the current token, where something else should stand.
    fn unexpected(&self) -> Error {
        let previous = self.previous.map(|previous| previous.of(self.text));
        if self.token != FilterToken::End {
            let rest = &self.text[self.span.end..];
            let hint = hint::after(previous, self.span.of(self.text), rest);
            return Error::unexpected(self.text, self.span).with_hint(hint);
        }
        let error = Error::new(self.text, self.span, FilterErrorKind::UnexpectedEnd);
        match previous {
            None => error.with_hint(Some("the filter that every event matches is true")),
            Some(_) => error,
        }
    }
}
