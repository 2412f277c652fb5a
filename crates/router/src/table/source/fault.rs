//! What is wrong with definitions.

use std::fmt;
use std::path::PathBuf;

/// Something in the definitions that keeps them from becoming the table.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DefinitionFault {
    /// The file, when the source is files.
    pub file: Option<PathBuf>,
    /// The line in it, from 1, where it is known.
    pub line: Option<usize>,
    /// Which object it is about: `endpoint hub-1`, `route alarms`.
    pub object: String,
    /// What is wrong and the way out; may have several lines.
    pub reason: String,
}

impl DefinitionFault {
    /// A fault that no file is known for.
    pub fn new(object: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            file: None,
            line: None,
            object: object.into(),
            reason: reason.into(),
        }
    }
}

impl fmt::Display for DefinitionFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(formatter, "{}:", file.display())?;
            if let Some(line) = self.line {
                write!(formatter, "{line}:")?;
            }
            write!(formatter, " ")?;
        }
        if self.object.is_empty() {
            return formatter.write_str(self.reason.trim_end());
        }
        write!(formatter, "{}: {}", self.object, self.reason.trim_end())
    }
}

/// Everything that is wrong with a set of definitions; the table stays as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines(.0))]
pub struct DefinitionFaults(pub Vec<DefinitionFault>);

fn lines(faults: &[DefinitionFault]) -> String {
    faults
        .iter()
        .map(DefinitionFault::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}
