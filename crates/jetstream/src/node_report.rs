//! How the nodes of the log sync, by their own report.
//!
//! An account sees this of its servers where the system account exports the service `$SYS.REQ.SERVER.PING.JSZ` to it: each
//! server answers with what its monitoring endpoint `/jsz?config=1` shows. So no second connection is needed, no
//! credentials of the system account, and no open monitoring port.

use crate::connection::LogConnection;
use futures_util::StreamExt as _;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Of NATS, with the first version whose replicated streams sync their Raft log alone, once for each batch.
pub(crate) const VERSION_MIN: (u64, u64) = (2, 14);

const SERVICE: &str = "$SYS.REQ.SERVER.PING.JSZ";

/// Nodes that answer after this are taken for silent.
const REPORTS_WITHIN: Duration = Duration::from_secs(2);

/// More than any cluster has.
const REPORTS_MAX: usize = 1_024;

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct NodeReport {
    server: NodeIdentity,
    #[serde(default)]
    data: NodeData,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct NodeIdentity {
    name: String,
    #[serde(default)]
    ver: String,
    #[serde(default)]
    cluster: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
struct NodeData {
    #[serde(default)]
    config: NodeJetStream,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
struct NodeJetStream {
    #[serde(default)]
    sync_always: bool,
}

/// Whether all of `nodes` sync what they append before they say so; otherwise why not, with what to do.
pub(crate) async fn syncs_before_answers(
    connection: &LogConnection,
    nodes: &BTreeSet<String>,
) -> Result<(), String> {
    let reports = reports(connection, nodes).await;
    let cluster = connection.client.server_info().cluster;
    judged(&reports, nodes, cluster.as_deref())
}

/// Those that come in time; earlier when all of `nodes` have reported.
async fn reports(
    connection: &LogConnection,
    nodes: &BTreeSet<String>,
) -> BTreeMap<String, NodeReport> {
    let mut reports = BTreeMap::new();
    let deadline = Instant::now() + REPORTS_WITHIN;
    let client = &connection.client;
    let inbox = client.new_inbox();
    let Ok(Ok(mut answers)) = timeout_at(deadline, client.subscribe(inbox.clone())).await else {
        return reports;
    };
    let request = client.publish_with_reply(SERVICE, inbox, r#"{"config":true}"#.into());
    if !matches!(timeout_at(deadline, request).await, Ok(Ok(()))) {
        return reports;
    }
    while !nodes.iter().all(|node| reports.contains_key(node)) && reports.len() < REPORTS_MAX {
        let Ok(Some(answer)) = timeout_at(deadline, answers.next()).await else {
            break;
        };
        // Nobody listens: the account has no such service.
        if answer.status.is_some() {
            break;
        }
        if let Ok(report) = serde_json::from_slice::<NodeReport>(&answer.payload) {
            reports.insert(report.server.name.clone(), report);
        }
    }
    reports
}

fn judged(
    reports: &BTreeMap<String, NodeReport>,
    nodes: &BTreeSet<String>,
    cluster: Option<&str>,
) -> Result<(), String> {
    if reports.is_empty() {
        return Err(format!(
            "no server reports how it syncs; let the system account export the service {SERVICE} to the router's account, and that import it"
        ));
    }
    if let Some(silent) = nodes.iter().find(|node| !reports.contains_key(*node)) {
        return Err(format!(
            "server {silent} does not report how it syncs; is it running?"
        ));
    }
    // One that holds nothing yet may be given a partition later.
    let ours = reports.values().filter(|report| {
        let server = &report.server;
        nodes.contains(&server.name) || (cluster.is_some() && server.cluster.as_deref() == cluster)
    });
    for report in ours {
        let NodeIdentity { name, ver, .. } = &report.server;
        if !is_new_enough(ver) {
            return Err(too_old(name, ver));
        }
        if !report.data.config.sync_always {
            return Err(format!(
                "server {name} answers before it syncs; write `sync_interval: always` into the block `jetstream` of its configuration and restart it"
            ));
        }
    }
    Ok(())
}

/// Whether a version is at least [`VERSION_MIN`].
pub(crate) fn is_new_enough(version: &str) -> bool {
    let mut numbers = version.split('.').map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= VERSION_MIN,
        _ => false,
    }
}

pub(crate) fn too_old(server: &str, version: &str) -> String {
    let (major, minor) = VERSION_MIN;
    format!(
        "server {server} is of version {version:?}; twinroute needs NATS {major}.{minor} or newer: update the servers"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(name: &str, version: &str, sync: &str, cluster: &str) -> (String, NodeReport) {
        // As nats-server 2.15.1 answers, without what is not read.
        let text = format!(
            r#"{{"server":{{"name":"{name}","host":"h","id":"N","ver":"{version}","cluster":"{cluster}","jetstream":true}},
            "data":{{"memory":0,"config":{{"max_memory":1,"sync_interval":120000000000{sync}}}}}}}"#
        );
        (name.to_owned(), serde_json::from_str(&text).unwrap())
    }

    #[test]
    fn durable_is_believed_only_when_every_node_reports_it() {
        let always = r#","sync_always":true"#;
        let nodes: BTreeSet<_> = ["n1", "n2"].map(str::to_owned).into();
        let good = [
            report("n1", "2.15.1", always, "c"),
            report("n2", "2.14.0", always, "c"),
        ];
        let with = |more: &[(String, NodeReport)]| good.iter().chain(more).cloned().collect();
        for (reports, expect) in [
            (with(&[]), None),
            (
                BTreeMap::new(),
                Some("no server reports how it syncs; let the system account export"),
            ),
            (
                good[..1].iter().cloned().collect(),
                Some("server n2 does not report how it syncs"),
            ),
            (
                with(&[report("n2", "2.15.1", "", "c")]),
                Some("server n2 answers before it syncs; write `sync_interval: always`"),
            ),
            (
                with(&[report("n2", "2.12.3", always, "c")]),
                Some("server n2 is of version \"2.12.3\""),
            ),
            (
                with(&[report("n3", "2.15.1", "", "c")]),
                Some("server n3 answers before it syncs"),
            ),
            (with(&[report("n3", "2.15.1", "", "elsewhere")]), None),
        ] {
            match (judged(&reports, &nodes, Some("c")), expect) {
                (Ok(()), None) => {}
                (Err(why), Some(expect)) => assert!(why.starts_with(expect), "{why}"),
                (found, _) => panic!("{found:?}, not {expect:?}"),
            }
        }
    }

    #[test]
    fn servers_that_are_too_old_are_known_by_their_version() {
        for (version, expect) in [
            ("2.14.0", true),
            ("2.15.1-RC.1", true),
            ("3.0.0", true),
            ("2.13.9", false),
            ("2.9.25", false),
            ("", false),
            ("next", false),
        ] {
            assert_eq!(is_new_enough(version), expect, "{version}");
        }
    }
}
