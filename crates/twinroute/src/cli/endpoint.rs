//! `twinroute endpoint`: steers an endpoint of a running twinroute by hand.

use super::ask::{self, Whom};
use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::process::ExitCode;
use twinroute_router::status::{EndpointStatus, Status};

#[derive(Debug, Subcommand)]
pub(crate) enum Step {
    /// Sends nothing from here on, over restarts too; events wait, and do not age.
    Pause(Which),
    /// Goes on.
    Resume(Which),
    /// Tries now what waits for a moment: the endpoint, parked events, the dead-letter container.
    RetryNow(Which),
    /// Gives up what waits, for good.
    Purge {
        #[command(flatten)]
        which: Which,
        /// Dead letters that are kept here too.
        #[arg(long)]
        dead_letters: bool,
        /// Does not ask.
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Args, Debug)]
pub(crate) struct Which {
    /// The endpoint.
    name: String,
    /// Its instance, where several have an endpoint of this name.
    #[arg(long)]
    instance: Option<String>,
    #[command(flatten)]
    whom: Whom,
}

/// An endpoint that was found.
struct Found<'a> {
    which: &'a Which,
    status: Status,
    instance: String,
    endpoint: String,
}

pub(super) async fn run(step: &Step) -> anyhow::Result<ExitCode> {
    match step {
        Step::Pause(which) => which.steer("pause").await?,
        Step::Resume(which) => which.steer("resume").await?,
        Step::RetryNow(which) => which.steer("retry-now").await?,
        Step::Purge {
            which,
            dead_letters,
            yes,
        } => return purge(which, *dead_letters, *yes).await,
    }
    Ok(ExitCode::SUCCESS)
}

impl Which {
    async fn find(&self) -> anyhow::Result<Found<'_>> {
        let status = self.whom.status().await?;
        let instance = self.instance.as_deref();
        let (instance, endpoint) = ask::endpoint(&status, instance, &self.name)?;
        Ok(Found {
            which: self,
            status,
            instance,
            endpoint,
        })
    }

    async fn steer(&self, step: &str) -> anyhow::Result<()> {
        let found = self.find().await?;
        let answer = found.post(step, "{}".to_owned()).await?;
        let status: EndpointStatus = ask::read(&answer)?;
        println!(
            "{}/{}: {}, {} waiting",
            found.instance,
            found.endpoint,
            status.state,
            status.queued + status.in_flight + status.parked
        );
        Ok(())
    }
}

impl Found<'_> {
    async fn post(&self, step: &str, json: String) -> anyhow::Result<String> {
        let path = format!("/endpoints/{}/{}/{step}", self.instance, self.endpoint);
        self.which.whom.post(&path, json).await
    }

    fn endpoint_status(&self) -> Option<&EndpointStatus> {
        let mut instances = self.status.instances.iter();
        let instance = instances.find(|instance| instance.name == self.instance)?;
        let mut endpoints = instance.endpoints.iter();
        endpoints.find(|endpoint| endpoint.name == self.endpoint)
    }
}

async fn purge(which: &Which, dead_letters: bool, yes: bool) -> anyhow::Result<ExitCode> {
    let found = which.find().await?;
    let label = format!("{}/{}", found.instance, found.endpoint);
    let status = found.endpoint_status();
    let waiting = status.map_or(0, |of| of.queued + of.parked);
    let kept = status.map_or(0, |of| {
        of.dead_letters.local + of.dead_letters.awaiting_upload
    });
    let what = if dead_letters {
        format!("{waiting} waiting events and {kept} dead letters")
    } else {
        format!("{waiting} waiting events (its {kept} dead letters stay)")
    };
    if !yes {
        if !std::io::stdin().is_terminal() {
            bail!("{label}: a purge gives up {what} for good; say --yes if you mean it");
        }
        if !confirmed(&format!("{label}: give up {what} for good? [y/N] "))? {
            println!("{label}: nothing was given up");
            return Ok(ExitCode::FAILURE);
        }
    }
    let request = serde_json::json!({ "confirm": found.endpoint, "dead_letters": dead_letters });
    let answer = found.post("purge", request.to_string()).await?;
    let purged: serde_json::Value = ask::read(&answer)?;
    println!(
        "{label}: gave up {} waiting events and {} dead letters",
        purged["queued"], purged["dead_letters"]
    );
    Ok(ExitCode::SUCCESS)
}

fn confirmed(question: &str) -> anyhow::Result<bool> {
    let mut out = std::io::stdout();
    out.write_all(question.as_bytes())
        .and_then(|()| out.flush())
        .context("standard output")?;
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .context("standard input")?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}
