//! `twinroute endpoint`: endpoints over a management API, and those of a running twinroute.

mod create;
mod entity;
mod list;
mod secret_options;
mod steer;
mod update;

use super::arm::secret;
use clap::Subcommand;
use std::process::ExitCode;

#[derive(Debug, Subcommand)]
pub(crate) enum EndpointCommand {
    /// Makes an endpoint. One of this name that is there is replaced as a whole, after a question.
    #[command(subcommand)]
    Create(Box<create::EndpointCreate>),
    /// Changes an endpoint; what is not said stays.
    #[command(after_help = secret::HELP)]
    Update(Box<update::EndpointUpdate>),
    /// Sets a new key, or swaps the two; all else stays.
    #[command(after_help = secret::HELP)]
    RotateKey(update::RotateKey),
    /// Lists the endpoints of an instance.
    List(list::EndpointList),
    /// Shows an endpoint; secrets as masks.
    Show(list::NamedEndpoint),
    /// Deletes an endpoint that no route sends to.
    Delete(list::EndpointDelete),
    /// Waits for the state of an endpoint.
    Wait(list::EndpointWaitOptions),
    /// Sends nothing from here on, over restarts too; events wait, and do not age.
    Pause(steer::SteeredEndpoint),
    /// Goes on.
    Resume(steer::SteeredEndpoint),
    /// Retries now: the endpoint, retrying events, the dead-letter container.
    RetryNow(steer::SteeredEndpoint),
    /// Discards the backlog, for good.
    Purge {
        #[command(flatten)]
        which: steer::SteeredEndpoint,
        /// Dead letters that are kept here too.
        #[arg(long)]
        dead_letters: bool,
        /// Does not ask.
        #[arg(long)]
        yes: bool,
    },
}

pub(super) async fn run(step: &EndpointCommand) -> anyhow::Result<ExitCode> {
    match step {
        EndpointCommand::Create(kind) => return kind.run().await,
        EndpointCommand::Update(update) => update.run().await?,
        EndpointCommand::RotateKey(rotate) => rotate.run().await?,
        EndpointCommand::List(list) => list.run().await?,
        EndpointCommand::Show(which) => which.show().await?,
        EndpointCommand::Delete(delete) => return delete.run().await,
        EndpointCommand::Wait(wait) => wait.run().await?,
        EndpointCommand::Pause(which) => which.steer("pause").await?,
        EndpointCommand::Resume(which) => which.steer("resume").await?,
        EndpointCommand::RetryNow(which) => which.steer("retry-now").await?,
        EndpointCommand::Purge {
            which,
            dead_letters,
            yes,
        } => return steer::purge(which, *dead_letters, *yes).await,
    }
    Ok(ExitCode::SUCCESS)
}
