//! Controls an endpoint of a running twinroute.

use crate::cli::ask::{self, AdminTarget};
use crate::cli::output;
use anyhow::bail;
use clap::Args;
use std::io::IsTerminal as _;
use std::process::ExitCode;
use twinroute_router::status::{EndpointStatus, RouterStatus};

#[derive(Args, Debug)]
pub(crate) struct SteeredEndpoint {
    /// The endpoint.
    name: String,
    /// Its instance, where several have an endpoint of this name.
    #[arg(long)]
    instance: Option<String>,
    #[command(flatten)]
    whom: AdminTarget,
}

/// An endpoint that was found.
struct FoundEndpoint<'a> {
    which: &'a SteeredEndpoint,
    status: RouterStatus,
    instance: String,
    endpoint: String,
}

impl SteeredEndpoint {
    async fn find(&self) -> anyhow::Result<FoundEndpoint<'_>> {
        let status = self.whom.status().await?;
        let instance = self.instance.as_deref();
        let (instance, endpoint) = ask::endpoint(&status, instance, &self.name)?;
        Ok(FoundEndpoint {
            which: self,
            status,
            instance,
            endpoint,
        })
    }

    pub(super) async fn steer(&self, step: &str) -> anyhow::Result<()> {
        let found = self.find().await?;
        let answer = found.post(step, "{}".to_owned()).await?;
        let status: EndpointStatus = ask::read(&answer)?;
        output::line(format_args!(
            "{}/{}: {}, backlog {}",
            found.instance,
            found.endpoint,
            status.state,
            status.queued + status.in_flight + status.retrying
        ))?;
        Ok(())
    }
}

impl FoundEndpoint<'_> {
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

/// Discards the queued events.
pub(super) async fn purge(
    which: &SteeredEndpoint,
    dead_letters: bool,
    yes: bool,
) -> anyhow::Result<ExitCode> {
    let found = which.find().await?;
    let label = format!("{}/{}", found.instance, found.endpoint);
    let status = found.endpoint_status();
    let queued = status.map_or(0, |of| of.queued + of.retrying);
    let kept = status.map_or(0, |of| {
        of.dead_letters.local + of.dead_letters.awaiting_upload
    });
    let what = if dead_letters {
        format!("{queued} queued events and {kept} dead letters")
    } else {
        format!("{queued} queued events (its {kept} dead letters stay)")
    };
    if !yes {
        if !std::io::stdin().is_terminal() {
            bail!("{label}: a purge discards {what} for good; say --yes if you mean it");
        }
        if !ask::confirmed(&format!("{label}: discard {what} for good? [y/N] "))? {
            output::line(format_args!("{label}: nothing was discarded"))?;
            return Ok(ExitCode::FAILURE);
        }
    }
    let request = serde_json::json!({ "confirm": found.endpoint, "dead_letters": dead_letters });
    let answer = found.post("purge", request.to_string()).await?;
    let purged: serde_json::Value = ask::read(&answer)?;
    output::line(format_args!(
        "{label}: discarded {} queued events and {} dead letters",
        purged["queued"], purged["dead_letters"]
    ))?;
    Ok(ExitCode::SUCCESS)
}
