//! x
pub mod history;
pub mod oracle;
