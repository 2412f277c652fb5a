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

use crate::ast::{Call, Compare, Expr, Function, Group, Literal, Operand, Path, Span};
use crate::error::{Error, FilterErrorKind, shown};
use crate::hint;
use crate::lex::{Lexer, Token};
use crate::options::Options;

/// Reads `text` as a filter.
pub(crate) fn parse(text: &str, options: &Options) -> Result<Expr, Error> {
    if text.len() > options.bytes_max {
        let at_boundary = |at: &usize| text.is_char_boundary(*at);
        let start = (0..=options.bytes_max).rev().find(at_boundary).unwrap_or(0);
        let kind = FilterErrorKind::TooLong {
            bytes: text.len(),
            bytes_max: options.bytes_max,
        };
        return Err(Error::new(text, Span { start, end: start }, kind));
    }
    let mut lexer = Lexer::new(text);
    let (token, span) = lexer.next()?;
    let depth_max = options.depth_max;
    let mut parser = Parser {
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
        Token::End => Ok(expr),
        _ => Err(parser.unexpected()),
    }
}

struct Parser<'a> {
    text: &'a str,
    lexer: Lexer<'a>,
    token: Token<'a>,
    span: Span,
    previous: Option<Span>,
    depth: u8,
    depth_max: u8,
}

impl<'a> Parser<'a> {
    fn any(&mut self) -> Result<Expr, Error> {
        let start = self.span.start;
        let first = self.all()?;
        if self.token != Token::Or {
            return Ok(first);
        }
        let mut children = vec![first];
        while self.token == Token::Or {
            self.advance()?;
            children.push(self.all()?);
        }
        Ok(Expr::Or(Group {
            children,
            span: self.span_from(start),
        }))
    }

    fn all(&mut self) -> Result<Expr, Error> {
        let start = self.span.start;
        let first = self.primary()?;
        if self.token != Token::And {
            return Ok(first);
        }
        let mut children = vec![first];
        while self.token == Token::And {
            self.advance()?;
            children.push(self.primary()?);
        }
        Ok(Expr::And(Group {
            children,
            span: self.span_from(start),
        }))
    }

    fn primary(&mut self) -> Result<Expr, Error> {
        let start = self.span.start;
        if self.token == Token::Open {
            return self.parenthesised();
        }
        let left = self.operand()?;
        if self.token == Token::Open
            && let Operand::Path(name) = &left
        {
            return self.call(name);
        }
        if let Token::Op(op) = self.token {
            self.advance()?;
            let right = self.operand()?;
            return Ok(Expr::Compare(Compare {
                left,
                op,
                right,
                span: self.span_from(start),
            }));
        }
        match left {
            Operand::Path(path) => Ok(Expr::Flag(path)),
            Operand::Literal(Literal::Bool(value)) => Ok(Expr::Constant {
                value,
                span: self.span_from(start),
            }),
            Operand::Literal(literal) => {
                let hint = hint::comparison_expected(&literal.to_string());
                Err(self.unexpected().with_hint(Some(hint)))
            }
        }
    }

    fn parenthesised(&mut self) -> Result<Expr, Error> {
        if self.depth == self.depth_max {
            let kind = FilterErrorKind::TooDeep {
                depth_max: self.depth_max,
            };
            return Err(Error::new(self.text, self.span, kind));
        }
        self.depth += 1;
        self.advance()?;
        let expr = self.any()?;
        self.expect(&Token::Close)?;
        self.depth -= 1;
        Ok(expr)
    }

    fn call(&mut self, name: &Path) -> Result<Expr, Error> {
        let Some(function) = Function::of_name(name.as_str()) else {
            let kind = FilterErrorKind::UnknownFunction(shown(name.as_str()));
            let error = Error::new(self.text, name.span, kind);
            return Err(error.with_hint(Some(hint::function(name.as_str()))));
        };
        self.advance()?;
        let subject = self.operand()?;
        self.expect(&Token::Comma)?;
        let part = self.operand()?;
        self.expect(&Token::Close)?;
        let span = self.span_from(name.span.start);
        Ok(Expr::Call(Call {
            function,
            subject,
            part,
            span,
        }))
    }

    fn operand(&mut self) -> Result<Operand, Error> {
        let literal = match &mut self.token {
            Token::Path(text) => {
                let path = Path::new(text, self.span);
                self.advance()?;
                return Ok(Operand::Path(path));
            }
            Token::Text(text) => Literal::Text(std::mem::take(text)),
            Token::Int(value) => Literal::Int(*value),
            Token::Double(value) => Literal::Double(*value),
            Token::True => Literal::Bool(true),
            Token::False => Literal::Bool(false),
            Token::Null => Literal::Null,
            _ => return Err(self.unexpected()),
        };
        self.advance()?;
        Ok(Operand::Literal(literal))
    }

    fn expect(&mut self, token: &Token<'a>) -> Result<(), Error> {
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
    fn span_from(&self, start: usize) -> Span {
        Span {
            start,
            end: self.previous.map_or(start, |previous| previous.end),
        }
    }

    /// The error for the current token, where something else should stand.
    fn unexpected(&self) -> Error {
        let previous = self.previous.map(|previous| previous.of(self.text));
        if self.token != Token::End {
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
