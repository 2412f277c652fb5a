//! `twinroute emulator`: the endpoints of `config/demo` on fixed ports, or your own names, and a look at what
//! they hold.

mod look;
mod options;

pub(crate) use options::EmulatorOptions;

use crate::cli::output;
use crate::logging::{self, LogFormat};
use crate::scene;
use crate::stop_signals::StopSignals;
use std::future::pending;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use twinroute_emulator::{RunningEmulator, StartError};
use twinroute_model::clock::SystemClock;

/// The token of the service account is good for an hour; Kubernetes writes a new one early too.
const TOKEN_EVERY: Duration = Duration::from_secs(30 * 60);

pub(super) async fn run(options: EmulatorOptions) -> anyhow::Result<ExitCode> {
    if let Some(look) = &options.look {
        return look::run(look).await;
    }
    drop(logging::install(LogFormat::Pretty, "warn")?);
    let mut stop = StopSignals::new()?;
    let settings = options.settings()?;
    let started = RunningEmulator::start(settings.clone(), Arc::new(SystemClock)).await;
    let emulator = started.map_err(explained)?;
    let token_file = match &options.identities {
        Some(folder) => Some(scene::write_token(&emulator, folder)?),
        None => None,
    };
    if options.json {
        output::line(scene::addresses_json(&emulator, &settings))?;
    } else {
        output::print(scene::addresses(&emulator, &settings))?;
        if let Some(file) = &token_file {
            output::print(scene::variables(&emulator, &settings, file))?;
        }
        output::line("\nCtrl-C stops it; what it holds is gone then.")?;
    }
    // The token file is kept current for as long as the emulator runs; only a signal ends it.
    tokio::select! {
        () = stop.wait() => {}
        () = keep_token(&emulator, options.identities.as_deref()) => {}
    }
    emulator.shutdown().await;
    Ok(ExitCode::SUCCESS)
}

/// Says which option gives a server another port.
fn explained(error: StartError) -> anyhow::Error {
    let advice = match &error {
        StartError::Bind { place, port, .. } => {
            let option = options::port_option(*place);
            format!("give another port than {port} with {option}, 0 for any free one")
        }
        _ => "the emulator cannot start".to_owned(),
    };
    anyhow::Error::new(error).context(advice)
}

/// Writes a new token of the service account in turns; never ends.
async fn keep_token(emulator: &RunningEmulator, folder: Option<&Path>) {
    let Some(folder) = folder else {
        return pending().await;
    };
    loop {
        tokio::time::sleep(TOKEN_EVERY).await;
        if let Err(error) = scene::write_token(emulator, folder) {
            tracing::warn!(error = %error, "the token of the service account could not be renewed");
        }
    }
}
