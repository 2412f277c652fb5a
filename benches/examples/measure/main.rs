//! The programs that stand beside the router while it is measured: see `cargo xtask bench`.
//!
//! ```text
//! measure bare                                    hyper that reads bodies and answers 204
//! measure floor sinks=ADDRESS,… [ack=…] [log=FILE] [routes=N]
//! measure load address=ADDRESS events=N [first=N] [batch=N] [connections=N] [bytes=N] [areas=N]
//!              [rate=N [moments=sent]]
//! measure sinks count=N                           endpoints that count what they get
//! ```
//!
//! All listen on ports that the system chooses and print where, in a line that begins with `listens`.

mod bare;
mod event;
mod floor;
mod floor_log;
mod floor_sink;
mod load;
mod options;
mod sinks;

use options::{ProgramError, ProgramOptions};

fn main() -> Result<(), ProgramError> {
    let mut words = std::env::args().skip(1);
    let program = words.next().unwrap_or_default();
    let options = ProgramOptions::read(words)?;
    match program.as_str() {
        "bare" => on_one_thread(bare::serve()),
        "floor" => on_one_thread(floor::serve(&options)),
        "load" => load::run(&options),
        "sinks" => sinks::serve(&options),
        _ => Err("usage: measure bare|floor|load|sinks [NAME=VALUE…]".into()),
    }
}

fn on_one_thread(
    serve: impl Future<Output = Result<(), ProgramError>>,
) -> Result<(), ProgramError> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build()?.block_on(serve)
}

/// Nanoseconds of the clock that all processes of a machine share.
fn monotonic() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

/// The time that `share` (0 to 1) of all stay below; reorders them.
fn percentile(micros: &mut [u32], share: f64) -> u32 {
    if micros.is_empty() {
        return 0;
    }
    let at = ((micros.len() - 1) as f64 * share) as usize;
    *micros.select_nth_unstable(at).1
}

/// Whole microseconds between two moments of [`monotonic`].
fn micros_between(from: u64, to: u64) -> u32 {
    u32::try_from(to.saturating_sub(from) / 1_000).unwrap_or(u32::MAX)
}
