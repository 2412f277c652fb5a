//! Options of these programs: words `NAME=VALUE`.

use std::collections::BTreeMap;
use std::str::FromStr;

/// What every program may fail with.
pub(crate) type ProgramError = Box<dyn std::error::Error>;

/// Options by their names.
pub(crate) struct ProgramOptions(BTreeMap<String, String>);

impl ProgramOptions {
    pub(crate) fn read(words: impl Iterator<Item = String>) -> Result<Self, ProgramError> {
        let pair = |word: String| {
            let pair = word.split_once('=');
            let (name, value) = pair.ok_or_else(|| format!("not NAME=VALUE: {word}"))?;
            Ok((name.to_owned(), value.to_owned()))
        };
        Ok(Self(words.map(pair).collect::<Result<_, ProgramError>>()?))
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A number, or what is taken where there is none.
    pub(crate) fn number<T: FromStr>(&self, name: &str, otherwise: T) -> Result<T, ProgramError> {
        match self.text(name) {
            None => Ok(otherwise),
            Some(text) => {
                let number = text.parse();
                number.map_err(|_| format!("{name}={text} is no number").into())
            }
        }
    }
}
