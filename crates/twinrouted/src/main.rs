//! The `twinroute` command.
#![deny(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "they panic where the reader is gone: see cli/output.rs"
)]

mod auditing;
mod cli;
mod config;
mod connect;
mod daemon;
mod file_permissions;
mod keys;
mod listeners;
mod log_gate;
mod logging;
mod management;
mod paths;
mod places;
mod process;
mod rotation;
mod scene;
mod shared_log;
mod source;
mod stop_signals;

use std::io;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use tokio::runtime::{Builder, Runtime};

/// Cheaper for an event than the system's, and gives memory back after a burst: see docs/decisions/0030-allocator.md.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let arguments = match cli::arguments() {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    let runtime = match runtime_of(std::thread::available_parallelism()) {
        Ok(runtime) => runtime,
        Err(error) => {
            cli::output::error_line(format_args!("twinroute: cannot start its runtime: {error}"));
            return ExitCode::from(cli::exit::ExitReason::System.code());
        }
    };
    let code = runtime.block_on(cli::run(arguments));
    // Nothing that is still being resolved or connected may keep the process.
    runtime.shutdown_background();
    code
}

/// Several workers take work off each other, at a price for each event that one worker alone need not pay.
fn runtime_of(processors: io::Result<NonZeroUsize>) -> io::Result<Runtime> {
    let is_one = processors.is_ok_and(|processors| processors.get() == 1);
    let mut runtime = match is_one {
        true => Builder::new_current_thread(),
        false => Builder::new_multi_thread(),
    };
    runtime.enable_all().build()
}
