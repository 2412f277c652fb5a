//! Text to tokens, one at a time.
//!
//! What Azure does not document, we decided like this:
//!
//! - **Strings** stand in single quotes. A backslash escapes: `\'`, `\"`, `\\` and `\uXXXX`, as in
//!   the routing language of IoT Hub, the closest relative (and `\'` as in the query language of
//!   Azure Digital Twins). Any other backslash is an error rather than a guess. A doubled quote is
//!   no escape.
//! - **Names** hold letters and digits of any script, `_` and `$`; a `-` belongs to a name when a
//!   name character stands on both sides (there is no arithmetic that it could mean instead). The
//!   first name of a path does not begin with a digit.
//! - **Numbers** are decimal: an optional sign, digits, an optional fraction and exponent. Integers
//!   that fit in 64 bits stay exact.
//! - **White space** is blank, tab, carriage return and line feed.

use crate::ast::{CompareOp, FilterSpan};
use crate::error::{Error, FilterErrorKind, quote};
use crate::hint;

/// Paths of more names are refused: reading JSON goes that deep, and its parser has a bound too.
pub const SEGMENTS_MAX: usize = 64;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum FilterToken<'a> {
    Path(&'a str),
    Text(Box<str>),
    Int(i64),
    Double(f64),
    Op(CompareOp),
    And,
    Or,
    True,
    False,
    Null,
    Open,
    Close,
    Comma,
    End,
}

#[derive(Debug, Clone)]
pub(crate) struct FilterLexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> FilterLexer<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The next token and its place; `End` for ever after the last.
    pub(crate) fn next(&mut self) -> Result<(FilterToken<'a>, FilterSpan), Error> {
        self.skip_while(|char| matches!(char, ' ' | '\t' | '\r' | '\n'));
        let start = self.at;
        let Some(first) = self.peek() else {
            return Ok((FilterToken::End, self.span_from(start)));
        };
        let token = match first {
            '(' => self.sign(1, FilterToken::Open),
            ')' => self.sign(1, FilterToken::Close),
            ',' => self.sign(1, FilterToken::Comma),
            '=' if !self.rest().starts_with("==") => {
                self.sign(1, FilterToken::Op(CompareOp::Equal))
            }
            '!' if self.rest().starts_with("!=") => {
                self.sign(2, FilterToken::Op(CompareOp::NotEqual))
            }
            '<' if self.rest().starts_with("<=") => {
                self.sign(2, FilterToken::Op(CompareOp::LessOrEqual))
            }
            '<' if !self.rest().starts_with("<>") => self.sign(1, FilterToken::Op(CompareOp::Less)),
            '>' if self.rest().starts_with(">=") => {
                self.sign(2, FilterToken::Op(CompareOp::GreaterOrEqual))
            }
            '>' => self.sign(1, FilterToken::Op(CompareOp::Greater)),
            '\'' => self.string()?,
            '+' | '-' | '0'..='9' => self.number()?,
            char if is_name(char) => self.path()?,
            _ => return Err(self.stray()),
        };
        Ok((token, self.span_from(start)))
    }

    fn sign(&mut self, bytes: usize, token: FilterToken<'a>) -> FilterToken<'a> {
        self.at += bytes;
        token
    }

    fn string(&mut self) -> Result<FilterToken<'a>, Error> {
        let start = self.at;
        self.at += 1;
        let mut value = String::new();
        loop {
            let plain = self.at;
            self.skip_while(|char| char != '\'' && char != '\\');
            value.push_str(&self.text[plain..self.at]);
            match self.peek() {
                Some('\'') => break,
                Some(_) => value.push(self.escape()?),
                None => {
                    let error = Error::new(
                        self.text,
                        self.span_from(start),
                        FilterErrorKind::UnterminatedString,
                    );
                    return Err(error.with_hint(hint::unterminated(self.text)));
                }
            }
        }
        self.at += 1;
        if self.peek() == Some('\'') {
            let span = FilterSpan {
                start: self.at - 1,
                end: self.at + 1,
            };
            return Err(Error::unexpected(self.text, span).with_hint(Some(hint::DOUBLED_QUOTE)));
        }
        Ok(FilterToken::Text(value.into()))
    }

    /// The character that the backslash here and what follows it stand for.
    fn escape(&mut self) -> Result<char, Error> {
        let start = self.at;
        self.at += 1;
        let escaped = self.peek();
        self.at += escaped.map_or(0, char::len_utf8);
        let char = match escaped {
            Some(char @ ('\'' | '"' | '\\')) => Some(char),
            Some('u') => self.unicode_escape(),
            _ => None,
        };
        char.ok_or_else(|| {
            let span = self.span_from(start);
            let kind = FilterErrorKind::UnknownEscape(quote(span.of(self.text)));
            Error::new(self.text, span, kind).with_hint(Some(hint::ESCAPES))
        })
    }

    /// Four hexadecimal digits after `\u`; two escapes where UTF-16 needs a pair.
    fn unicode_escape(&mut self) -> Option<char> {
        let first = self.hex4()?;
        if !(0xD800..0xDC00).contains(&first) {
            return char::from_u32(first);
        }
        self.at += self.rest().starts_with("\\u").then_some(2)?;
        let second = self.hex4()?;
        let low = second.checked_sub(0xDC00).filter(|low| *low < 0x400)?;
        char::from_u32(0x10000 + ((first - 0xD800) << 10) + low)
    }

    fn hex4(&mut self) -> Option<u32> {
        let digits = self.rest().get(..4)?;
        let all_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        self.at += all_hex.then_some(4)?;
        u32::from_str_radix(digits, 16).ok()
    }

    fn number(&mut self) -> Result<FilterToken<'a>, Error> {
        let start = self.at;
        if matches!(self.peek(), Some('+' | '-')) {
            self.at += 1;
        }
        let mut whole = true;
        let mut well_formed = self.digits();
        if well_formed && self.peek() == Some('.') {
            self.at += 1;
            whole = false;
            well_formed = self.digits();
        }
        if well_formed && matches!(self.peek(), Some('e' | 'E')) {
            self.at += 1;
            whole = false;
            if matches!(self.peek(), Some('+' | '-')) {
                self.at += 1;
            }
            well_formed = self.digits();
        }
        if !well_formed || self.peek().is_some_and(|char| is_name(char) || char == '.') {
            self.skip_while(|char| is_name(char) || char == '.');
            let span = self.span_from(start);
            let hint = hint::number(span.of(self.text));
            return Err(Error::unexpected(self.text, span).with_hint(hint));
        }
        let digits = &self.text[start..self.at];
        if let (true, Ok(value)) = (whole, digits.parse()) {
            return Ok(FilterToken::Int(value));
        }
        match digits.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(FilterToken::Double(value)),
            _ => Err(Error::new(
                self.text,
                self.span_from(start),
                FilterErrorKind::NumberOutOfRange,
            )),
        }
    }

    fn digits(&mut self) -> bool {
        let start = self.at;
        self.skip_while(|char| char.is_ascii_digit());
        self.at > start
    }

    fn path(&mut self) -> Result<FilterToken<'a>, Error> {
        let start = self.at;
        self.name();
        let mut segments = 1;
        while self.peek() == Some('.') {
            let dot = self.at;
            self.at += 1;
            if !self.name() {
                let span = self.span_from(dot);
                return Err(Error::unexpected(self.text, span).with_hint(Some(hint::DOT)));
            }
            segments += 1;
        }
        if segments > SEGMENTS_MAX {
            let kind = FilterErrorKind::PathTooLong {
                segments_max: SEGMENTS_MAX,
            };
            return Err(Error::new(self.text, self.span_from(start), kind));
        }
        let path = &self.text[start..self.at];
        Ok(keyword(path).unwrap_or(FilterToken::Path(path)))
    }

    /// Skips one name; false if there is none.
    fn name(&mut self) -> bool {
        let start = self.at;
        self.skip_while(is_name);
        while self.at > start && self.peek() == Some('-') {
            let after = self.text[self.at + 1..].chars().next();
            if !after.is_some_and(is_name) {
                break;
            }
            self.at += 1;
            self.skip_while(is_name);
        }
        self.at > start
    }

    /// The error for a sign that no token begins with.
    fn stray(&self) -> Error {
        let rest = self.rest();
        let two = ["==", "<>", "&&", "||"]
            .into_iter()
            .find(|sign| rest.starts_with(sign));
        let bytes = match two {
            Some(sign) => sign.len(),
            None => self.peek().map_or(0, char::len_utf8),
        };
        let span = FilterSpan {
            start: self.at,
            end: self.at + bytes,
        };
        Error::unexpected(self.text, span).with_hint(hint::stray(span.of(self.text)))
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn skip_while(&mut self, wanted: impl Fn(char) -> bool) {
        let rest = self.rest();
        self.at += rest.find(|char| !wanted(char)).unwrap_or(rest.len());
    }

    fn span_from(&self, start: usize) -> FilterSpan {
        FilterSpan {
            start,
            end: self.at,
        }
    }
}

fn is_name(char: char) -> bool {
    char == '_' || char == '$' || char.is_alphanumeric()
}

fn keyword<'a>(word: &str) -> Option<FilterToken<'a>> {
    let words = [
        ("AND", FilterToken::And),
        ("OR", FilterToken::Or),
        ("true", FilterToken::True),
        ("false", FilterToken::False),
        ("null", FilterToken::Null),
    ];
    let found = words
        .into_iter()
        .find(|(keyword, _)| keyword.eq_ignore_ascii_case(word));
    found.map(|(_, token)| token)
}
