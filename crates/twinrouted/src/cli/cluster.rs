//! `twinroute cluster`: the routers that share a log, and who owns which partition.

use super::ask::{self, AdminTarget};
use crate::cli::output;
use clap::Subcommand;
use std::fmt::Write as _;
use std::process::ExitCode;
use twinroute_router::status::{ClusterStatus, PartitionStatus};

#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Shows what a router sees of its cluster, in short.
    Status(ClusterOptions),
    /// Lists the routers that are there.
    Members(ClusterOptions),
    /// Lists the partitions: who owns each, and what of it is not delivered.
    Partitions(ClusterOptions),
}

#[derive(Debug, clap::Args)]
pub(crate) struct ClusterOptions {
    /// Prints JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    whom: AdminTarget,
}

/// Where nothing is shared.
const ALONE: &str = "the journal is shared with no other router: set [cluster] to share a log\n";

pub(super) async fn run(step: &ClusterCommand) -> anyhow::Result<ExitCode> {
    let (ClusterCommand::Status(options)
    | ClusterCommand::Members(options)
    | ClusterCommand::Partitions(options)) = step;
    let answer = options.whom.get("/cluster?pretty").await?;
    let status: ClusterStatus = ask::read(&answer)?;
    if options.json {
        output::print(&json(step, &status)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    output::print(match step {
        _ if status.router.is_empty() => ALONE.to_owned(),
        ClusterCommand::Status(_) => summary(&status),
        ClusterCommand::Members(_) => members(&status),
        ClusterCommand::Partitions(_) => partitions(&status),
    })?;
    Ok(ExitCode::SUCCESS)
}

fn json(step: &ClusterCommand, status: &ClusterStatus) -> anyhow::Result<String> {
    let text = match step {
        ClusterCommand::Status(_) => serde_json::to_string_pretty(status)?,
        ClusterCommand::Members(_) => serde_json::to_string_pretty(&status.members)?,
        ClusterCommand::Partitions(_) => serde_json::to_string_pretty(&status.partitions)?,
    };
    Ok(text + "\n")
}

fn summary(status: &ClusterStatus) -> String {
    let owned = |one: &&PartitionStatus| !one.owner.is_empty();
    let all = status.partitions.len();
    let backlog = status.partitions.iter().filter_map(|one| one.backlog);
    let here = backlog.clone().count();
    let events: u64 = backlog.map(|backlog| backlog.events).sum();
    let log = match (status.fault.as_str(), status.durable) {
        ("", true) => "answers, durable",
        ("", false) => "answers, replicated",
        (fault, _) => fault,
    };
    let mut text = format!(
        "router      {}\nlog         {log}\nmembers     {}\npartitions  {} of {all} owned, {here} of them here\nbacklog     {events} here\n",
        status.router,
        status.members.len(),
        status.partitions.iter().filter(owned).count(),
    );
    for one in status
        .partitions
        .iter()
        .filter(|one| !one.damage.is_empty())
    {
        writeln!(text, "damaged     {}", one.damage).expect("a String takes everything");
    }
    text
}

fn members(status: &ClusterStatus) -> String {
    let mut text = format!("{:<32}  partitions\n", "router");
    for member in &status.members {
        let mark = if member.is_this { " (this one)" } else { "" };
        let name = format!("{}{mark}", member.name);
        writeln!(text, "{name:<32}  {:>10}", member.partitions).expect("a String takes everything");
    }
    text
}

fn partitions(status: &ClusterStatus) -> String {
    let mut text = format!(
        "partition  {:<32}  {:>8}  {:>8}  {:>10}\n",
        "owner", "epoch", "backlog", "bytes"
    );
    for one in &status.partitions {
        let owner = match one.owner.as_str() {
            "" => "nobody",
            owner => owner,
        };
        let (events, bytes) = match one.backlog {
            Some(backlog) => (backlog.events.to_string(), backlog.bytes.to_string()),
            // Its owner knows.
            None => ("-".to_owned(), "-".to_owned()),
        };
        writeln!(
            text,
            "{:>9}  {owner:<32}  {:>8}  {events:>8}  {bytes:>10}",
            one.partition, one.epoch
        )
        .expect("a String takes everything");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use serde_json::json;

    fn status() -> ClusterStatus {
        let status = json!({
            "router": "west", "durable": true, "fault": "", "silent_ms": 20,
            "members": [
                { "name": "east", "is_this": false, "partitions": 1 },
                { "name": "west", "is_this": true, "partitions": 1 },
            ],
            "partitions": [
                { "partition": 0, "owner": "east", "epoch": 12, "backlog": null, "damage": "" },
                { "partition": 1, "owner": "west", "epoch": 9, "backlog": { "events": 3, "bytes": 1024 }, "damage": "" },
                { "partition": 2, "owner": "", "epoch": 0, "backlog": null, "damage": "" },
            ],
        });
        serde_json::from_value(status).unwrap()
    }

    #[test]
    fn a_cluster_is_shown_in_short_by_router_and_by_partition() {
        let status = status();
        expect![[r#"
            router      west
            log         answers, durable
            members     2
            partitions  2 of 3 owned, 1 of them here
            backlog     3 here
        "#]]
        .assert_eq(&summary(&status));
        expect![[r#"
            router                            partitions
            east                                       1
            west (this one)                            1
        "#]]
        .assert_eq(&members(&status));
        expect![[r#"
            partition  owner                                epoch   backlog       bytes
                    0  east                                    12         -           -
                    1  west                                     9         3        1024
                    2  nobody                                   0         -           -
        "#]]
        .assert_eq(&partitions(&status));
    }
}
