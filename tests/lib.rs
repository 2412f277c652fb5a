//! Integration tests over several crates.
