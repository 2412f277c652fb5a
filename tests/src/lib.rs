//! What takes several rooms to test, for tests and for `cargo xtask`.

pub mod crash;
pub mod rotation;
