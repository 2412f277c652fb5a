//! The brackets and commas of a JSON array, around items that somebody else reads.

use crate::event::EventProblem;

/// Walks the items of a JSON array whose items somebody else reads.
pub(crate) struct JsonArrayItems<'a> {
    text: &'a str,
    at: usize,
    first: bool,
}

impl<'a> JsonArrayItems<'a> {
    pub(crate) fn open(text: &'a str) -> Result<Self, EventProblem> {
        let mut items = Self {
            text,
            at: 0,
            first: true,
        };
        items.skip_blanks();
        if items.text.as_bytes().get(items.at) != Some(&b'[') {
            return Err(items.expected("`[`"));
        }
        items.at += 1;
        Ok(items)
    }

    /// What stands from the next item on, or `None` behind the last.
    pub(crate) fn next(&mut self) -> Result<Option<&'a str>, EventProblem> {
        self.skip_blanks();
        match (self.text.as_bytes().get(self.at), self.first) {
            (Some(b']'), _) => {
                self.at += 1;
                self.skip_blanks();
                if self.at == self.text.len() {
                    Ok(None)
                } else {
                    Err(self.expected("the end"))
                }
            }
            (Some(_), true) => {
                self.first = false;
                Ok(Some(&self.text[self.at..]))
            }
            (Some(b','), false) => {
                self.at += 1;
                self.skip_blanks();
                Ok(Some(&self.text[self.at..]))
            }
            (Some(_), false) => Err(self.expected("`,` or `]`")),
            (None, _) => Err(self.ended()),
        }
    }

    pub(crate) fn advance(&mut self, bytes: usize) {
        self.at += bytes;
    }

    fn skip_blanks(&mut self) {
        let rest = &self.text.as_bytes()[self.at..];
        self.at += rest
            .iter()
            .take_while(|byte| b" \t\r\n".contains(byte))
            .count();
    }

    fn expected(&self, what: &str) -> EventProblem {
        EventProblem::NotArray {
            reason: format!("expected {what} at byte {}", self.at),
        }
    }

    pub(crate) fn ended(&self) -> EventProblem {
        EventProblem::NotArray {
            reason: "it ends before its `]`".to_owned(),
        }
    }
}
