//! What takes several rooms to test, for tests and for `cargo xtask`.

/// The snippets of the guide compile.
#[cfg(doctest)]
#[doc = include_str!("../../docs/guide/library.md")]
pub struct LibraryGuide;

/// That of the emulator, too.
#[cfg(doctest)]
#[doc = include_str!("../../docs/emulator.md")]
pub struct EmulatorPage;

pub mod crash;
pub mod rotation;
