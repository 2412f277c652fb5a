//! The `twinroute` command.

mod auditing;
mod cli;
mod config;
mod containers;
mod daemon;
mod exposed;
mod listeners;
mod log_gate;
mod logging;
mod process;
mod rotation;
mod scene;
mod serving;
mod source;
mod story;

use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = cli::Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("twinroute: cannot start its runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(cli::run(arguments));
    // Nothing that is still being resolved or connected may keep the process.
    runtime.shutdown_background();
    code
}
