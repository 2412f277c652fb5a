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
mod process;
mod rotation;
mod scene;
mod source;
mod stop_signals;

use std::process::ExitCode;

/// Cheaper for an event than the system's, and gives memory back after a burst: see docs/decisions/0030-allocator.md.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let arguments = match cli::arguments() {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
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
