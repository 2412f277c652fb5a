//! What the durable path does while endpoints are in trouble: this program posts, a `twinroute run` of its own
//! routes, and a process of this program receives. What it costs when all is well: `cargo xtask bench`.
//!
//! ```text
//! cargo build --profile dist -p twinrouted && cargo build --profile dist -p twinroute-benches --example durable
//! target/dist/examples/durable WHAT target/dist/twinroute FOLDER [pin]
//! ```
//!
//! - `trouble`: acknowledgement and delivery times at 2,000 single posts a second, measured from the moment that
//!   each was due, with one of three endpoints refusing, answering 503, hanging, slow; what the other
//!   two get meanwhile, and that all arrives in the end.
//! - `down`: CPU time of a minute with 1,000 endpoints that refuse.
//!
//! `FOLDER` is on the disk that is to be measured; everything is made below it and removed. With `pin` the
//! router has the first core and posting and receiving the second, by `taskset`.

mod daemon;
mod post;
mod receive;
mod scenes;

use std::path::PathBuf;

/// What every part may fail with.
type BenchError = Box<dyn std::error::Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BenchError> {
    let mut arguments = std::env::args().skip(1);
    let what = arguments.next().unwrap_or_default();
    if what == "receive" {
        let sockets = arguments.next().ok_or("how many sockets?")?.parse()?;
        return receive::serve(sockets).await;
    }
    let usage = "usage: durable trouble|down TWINROUTE FOLDER [pin]";
    let mut path = || arguments.next().map(PathBuf::from).ok_or(usage);
    let (program, folder) = (path()?, path()?);
    let place = daemon::DaemonFolder {
        program,
        folder: folder.join(format!("durable-{}", std::process::id())),
        pin: arguments.next().is_some_and(|word| word == "pin"),
    };
    let result = match &*what {
        "trouble" => scenes::trouble(&place).await,
        "down" => scenes::down(&place).await,
        _ => Err(usage.into()),
    };
    drop(std::fs::remove_dir_all(&place.folder));
    result
}

/// Nanoseconds of the clock that all processes of a machine share.
fn monotonic() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

/// The time that `share` (0 to 1) of all stay below, in milliseconds.
fn percentile(micros: &mut [u32], share: f64) -> f64 {
    if micros.is_empty() {
        return 0.0;
    }
    let at = ((micros.len() - 1) as f64 * share) as usize;
    f64::from(*micros.select_nth_unstable(at).1) / 1000.0
}
