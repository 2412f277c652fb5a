//! Steps of a chore, each with its outcome in one line.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

/// How checks went.
#[derive(Debug, Default)]
pub(crate) struct CheckTally {
    pub(crate) passed: u32,
    pub(crate) failed: u32,
}

impl CheckTally {
    /// Runs one step, tells how it went; a panic is a failure.
    pub(crate) fn step(&mut self, name: &str, run: impl FnOnce() -> anyhow::Result<()>) -> bool {
        let started = Instant::now();
        let reason = match catch_unwind(AssertUnwindSafe(run)) {
            Ok(Ok(())) => {
                println!("ok {name} ({:.1} s)", started.elapsed().as_secs_f64());
                self.passed += 1;
                return true;
            }
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => "it panicked".to_owned(),
        };
        println!(
            "FAILED {name}: {reason} ({:.1} s)",
            started.elapsed().as_secs_f64()
        );
        self.failed += 1;
        false
    }
}
