//! Environment variables in the values of a configuration.
//!
//! They are put in after the file was parsed, so a comment, a key or the form of a string has no part in it, and a value
//! may hold whatever a string may hold.

use anyhow::{Context as _, bail};
use std::borrow::Cow;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Tables and lists within each other; `toml` itself refuses more than 80.
const DEPTH_MAX: usize = 128;

/// Puts the value of a variable in for each `${NAME}` in a text value; `$${` stands for `${` itself. A value is not
/// looked through again.
///
/// # Errors
/// The line and the variable that is not set.
pub(super) fn put_in(
    text: &str,
    root: &mut Spanned<DeTable<'_>>,
    variable: impl Fn(&str) -> Option<String>,
) -> anyhow::Result<()> {
    let expander = VariableExpander { text, variable };
    expander.table(root.get_mut(), DEPTH_MAX)
}

/// The line of a place in a text, from 1.
pub(super) fn line_of(text: &str, at: usize) -> usize {
    text[..at.min(text.len())].matches('\n').count() + 1
}

struct VariableExpander<'a, F> {
    text: &'a str,
    variable: F,
}

impl<F: Fn(&str) -> Option<String>> VariableExpander<'_, F> {
    fn table(&self, table: &mut DeTable<'_>, depth: usize) -> anyhow::Result<()> {
        for (_, value) in table.iter_mut() {
            self.value(value, depth)?;
        }
        Ok(())
    }

    fn value(&self, value: &mut Spanned<DeValue<'_>>, depth: usize) -> anyhow::Result<()> {
        let depth = depth.checked_sub(1).context("it is nested too deeply")?;
        let span = value.span();
        match value.get_mut() {
            DeValue::String(string) if string.contains("${") => {
                let line = || format!("line {}", line_of(self.text, span.start));
                *string = Cow::Owned(self.string(string).with_context(line)?);
                Ok(())
            }
            DeValue::Array(values) => {
                let mut values = values.iter_mut();
                values.try_for_each(|value| self.value(value, depth))
            }
            DeValue::Table(table) => self.table(table, depth),
            _ => Ok(()),
        }
    }

    fn string(&self, string: &str) -> anyhow::Result<String> {
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
                bail!("`${{` without its `}}`; write `$${{` for the two characters themselves");
            };
            let name = &rest[..end];
            // What stands there in place of a name may be a secret: it is not repeated.
            if name.contains(":-") {
                bail!(
                    "`${{NAME:-…}}` is not known here: a variable has no default; set the variable"
                );
            }
            let is_name = |letter: char| letter.is_alphanumeric() || "_-.".contains(letter);
            if name.is_empty() || !name.chars().all(is_name) {
                bail!("`${{}}` must hold the name of an environment variable");
            }
            match (self.variable)(name) {
                Some(value) => out.push_str(&value),
                None => bail!("the environment variable {name} is not set"),
            }
            rest = &rest[end + 1..];
        }
        out.push_str(rest);
        Ok(out)
    }
}
