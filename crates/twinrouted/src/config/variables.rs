//! Environment variables in the values of a configuration.
//!
//! They are put in after the file was parsed, so a comment, a key or the form of a string has no part in it, and a value
//! may hold whatever a string may hold.

use super::mistake::{ConfigMistake, ConfigPlace};
use std::borrow::Cow;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Tables and lists within each other; `toml` itself refuses more than 80.
const DEPTH_MAX: usize = 128;

/// Puts the value of a variable in for each `${NAME}` in a text value, and of `${NAME:-default}` the default where it is
/// unset or empty; `$${` stands for `${` itself. A value is not looked through again. Gives what cannot be put in.
pub(super) fn put_in(
    text: &str,
    root: &mut Spanned<DeTable<'_>>,
    variable: impl Fn(&str) -> Option<String>,
) -> Vec<ConfigMistake> {
    let mut expander = VariableExpander {
        text,
        variable,
        mistakes: Vec::new(),
    };
    expander.table(root.get_mut(), DEPTH_MAX);
    expander.mistakes
}

struct VariableExpander<'a, F> {
    text: &'a str,
    variable: F,
    mistakes: Vec<ConfigMistake>,
}

impl<F: Fn(&str) -> Option<String>> VariableExpander<'_, F> {
    fn table(&mut self, table: &mut DeTable<'_>, depth: usize) {
        for (_, value) in table.iter_mut() {
            self.value(value, depth);
        }
    }

    fn value(&mut self, value: &mut Spanned<DeValue<'_>>, depth: usize) {
        let at = value.span().start;
        let Some(depth) = depth.checked_sub(1) else {
            self.refuse(at, "it is nested too deeply".to_owned());
            return;
        };
        match value.get_mut() {
            DeValue::String(string) if string.contains("${") => match self.string(string) {
                Ok(put_in) => *string = Cow::Owned(put_in),
                Err(what) => self.refuse(at, what),
            },
            DeValue::Array(values) => values.iter_mut().for_each(|value| self.value(value, depth)),
            DeValue::Table(table) => self.table(table, depth),
            _ => {}
        }
    }

    fn refuse(&mut self, at: usize, what: String) {
        self.mistakes.push(ConfigMistake {
            place: ConfigPlace::of(self.text, at),
            key: String::new(),
            what,
        });
    }

    fn string(&self, string: &str) -> Result<String, String> {
        let mut out = String::with_capacity(string.len());
        let mut rest = string;
        while let Some(start) = rest.find("${") {
            let before = &rest[..start];
            rest = &rest[start + 2..];
            if let Some(before) = before.strip_suffix('$') {
                out.push_str(before);
                out.push_str("${");
                continue;
            }
            out.push_str(before);
            let Some(end) = rest.find('}') else {
                return Err(
                    "`${` without its `}`; write `$${` for the two characters themselves"
                        .to_owned(),
                );
            };
            let (name, default) = match rest[..end].split_once(":-") {
                Some((name, default)) => (name, Some(default)),
                None => (&rest[..end], None),
            };
            // What stands there in place of a name may be a secret: it is not repeated.
            let is_name = |letter: char| letter.is_alphanumeric() || "_-.".contains(letter);
            if name.is_empty() || !name.chars().all(is_name) {
                return Err("`${}` must hold the name of an environment variable".to_owned());
            }
            let value = (self.variable)(name);
            match (
                value.filter(|value| default.is_none() || !value.is_empty()),
                default,
            ) {
                (Some(value), _) => out.push_str(&value),
                (None, Some(default)) => out.push_str(default),
                (None, None) => return Err(format!("the environment variable {name} is not set")),
            }
            rest = &rest[end + 1..];
        }
        out.push_str(rest);
        Ok(out)
    }
}
