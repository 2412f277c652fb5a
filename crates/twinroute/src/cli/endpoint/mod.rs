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
pub(crate) enum Step {
    /// Makes an endpoint. One of this name that is there is replaced as a whole, after a question.
    #[command(subcommand)]
    Create(Box<create::Kind>),
    /// Changes an endpoint; what is not said stays.
    #[command(after_help = secret::HELP)]
    Update(Box<update::Update>),
    /// Sets a new key, or swaps the two; all else stays.
    #[command(after_help = secret::HELP)]
    RotateKey(update::RotateKey),
    /// Lists the endpoints of an instance.
    List(list::List),
    /// Shows an endpoint; secrets as masks.
    Show(list::Which),
    /// Deletes an endpoint that no route sends to.
    Delete(list::Delete),
    /// Waits for the state of an endpoint.
    Wait(list::Wait),
    /// Sends nothing from here on, over restarts too; events wait, and do not age.
    Pause(steer::Which),
    /// Goes on.
    Resume(steer::Which),
    /// Retries now: the endpoint, retrying events, the dead-letter container.
    RetryNow(steer::Which),
    /// Discards the backlog, for good.
    Purge {
        #[command(flatten)]
        which: steer::Which,
        /// Dead letters that are kept here too.
        #[arg(long)]
        dead_letters: bool,
        /// Does not ask.
        #[arg(long)]
        yes: bool,
    },
}

pub(super) async fn run(step: &Step) -> anyhow::Result<ExitCode> {
    match step {
        Step::Create(kind) => return kind.run().await,
        Step::Update(update) => update.run().await?,
        Step::RotateKey(rotate) => rotate.run().await?,
        Step::List(list) => list.run().await?,
        Step::Show(which) => which.show().await?,
        Step::Delete(delete) => return delete.run().await,
        Step::Wait(wait) => wait.run().await?,
        Step::Pause(which) => which.steer("pause").await?,
        Step::Resume(which) => which.steer("resume").await?,
        Step::RetryNow(which) => which.steer("retry-now").await?,
        Step::Purge {
            which,
            dead_letters,
            yes,
        } => return steer::purge(which, *dead_letters, *yes).await,
    }
    Ok(ExitCode::SUCCESS)
}
