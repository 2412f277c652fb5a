//! The `twinroute` command.
fn main() {}
