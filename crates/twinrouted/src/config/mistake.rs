//! A mistake in a configuration: where it is, and what to do.

use std::fmt;
use twinroute_model::json_place::TextPlace;

/// Where a value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ConfigPlace {
    /// From 1.
    Text { line: usize, column: usize },
    /// An environment variable that overrides a key.
    Variable(String),
}

impl ConfigPlace {
    /// Of a byte in a text.
    pub(super) fn of(text: &str, at: usize) -> Self {
        let TextPlace { line, column } = TextPlace::of(text, at);
        Self::Text { line, column }
    }
}

impl fmt::Display for ConfigPlace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text { line, column } => write!(formatter, "line {line}, column {column}"),
            Self::Variable(name) => write!(formatter, "the environment variable {name}"),
        }
    }
}

/// One mistake. Values are not repeated: they may be secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConfigMistake {
    pub(crate) place: ConfigPlace,
    /// `ingress.listen`; empty where it is of no key.
    pub(crate) key: String,
    /// What is wrong, and the way out.
    pub(crate) what: String,
}

impl ConfigMistake {
    /// With the file in front: `twinroute.toml:2:1: ingress.lissten: …`, as compilers write it.
    pub(crate) fn in_file(&self, file: &std::path::Path) -> String {
        let file = file.display();
        let rest = self.rest();
        match &self.place {
            ConfigPlace::Text { line, column } => format!("{file}:{line}:{column}: {rest}"),
            ConfigPlace::Variable(name) => format!("{name}: {rest}"),
        }
    }

    fn rest(&self) -> String {
        match self.key.as_str() {
            "" => self.what.clone(),
            key => format!("{key}: {}", self.what),
        }
    }
}

impl fmt::Display for ConfigMistake {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.place, self.rest())
    }
}

/// All of them, in the order of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConfigMistakes(pub(crate) Vec<ConfigMistake>);

impl fmt::Display for ConfigMistakes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, mistake) in self.0.iter().enumerate() {
            let gap = if number > 0 { "\n" } else { "" };
            write!(formatter, "{gap}{mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigMistakes {}
