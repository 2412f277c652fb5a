//! `twinroute emulator list` and `read`: what a running emulator holds.

use crate::cli::address::ServerAddress;
use crate::cli::{ask, output};
use anyhow::{Context as _, bail, ensure};
use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::process::ExitCode;
use std::time::Duration;
use twinroute_model::visible::one_line;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often `--follow` asks for more.
const FOLLOW_EVERY: Duration = Duration::from_millis(500);
/// Events that the emulator puts into one answer.
const PAGE_MAX: usize = 10_000;

#[derive(Debug, Subcommand)]
pub(crate) enum LookCommand {
    /// Lists the entities of a running emulator.
    List {
        #[command(flatten)]
        at: EmulatorAddress,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Shows what one entity of a running emulator holds; it stays there.
    Read(ReadOptions),
}

#[derive(Args, Debug)]
pub(crate) struct EmulatorAddress {
    /// Its HTTP address.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8082")]
    at: String,
}

#[derive(Args, Debug)]
pub(crate) struct ReadOptions {
    /// A hub, a queue, a subscription as `topic/subscription`, an Event Grid topic or a blob container; with
    /// `hub:`, `queue:`, `subscription:`, `topic:` or `container:` before it where two have the name.
    entity: String,
    #[command(flatten)]
    at: EmulatorAddress,
    /// Prints one JSON object a line.
    #[arg(long)]
    json: bool,
    /// Shows at most so many.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    max: Option<u64>,
    /// Shows only what has a higher number.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    after: u64,
    /// Shows one partition of a hub.
    #[arg(long)]
    partition: Option<u16>,
    /// Shows the dead letters of a queue or subscription.
    #[arg(long)]
    dead_letters: bool,
    /// Goes on with what arrives, until it is interrupted.
    #[arg(long, short)]
    follow: bool,
}

pub(super) async fn run(command: &LookCommand) -> anyhow::Result<ExitCode> {
    match command {
        LookCommand::List { at, json } => list(at, *json).await?,
        LookCommand::Read(options) => read(options).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(at: &EmulatorAddress, json: bool) -> anyhow::Result<()> {
    let text = at.get("/entities").await?;
    if json {
        output::line(text)?;
        return Ok(());
    }
    for entity in entities(&text)? {
        let ListedEntity { kind, name, facts } = entity;
        output::line(format_args!("{kind:<13}{:<32}{facts}", one_line(&name)))?;
    }
    Ok(())
}

async fn read(options: &ReadOptions) -> anyhow::Result<()> {
    let all = entities(&options.at.get("/entities").await?)?;
    let entity = named(&all, &options.entity)?;
    let container = entity.kind == "container";
    ensure!(
        !(container && options.follow),
        "--follow: a container cannot be followed; read it again"
    );
    let mut after = options.after;
    let mut left = options
        .max
        .map_or(usize::MAX, |max| max.try_into().unwrap_or(usize::MAX));
    while left > 0 {
        let page = options.page(entity, after, left.min(PAGE_MAX)).await?;
        left -= page.events.len().min(left);
        for event in &page.events {
            let parsed: Value = serde_json::from_str(event.get())?;
            after = parsed["number"].as_u64().unwrap_or(after);
            if options.json {
                // A line end stands between two tokens only: JSON allows none within a text.
                output::line(event.get().replace(['\n', '\r'], " "))?;
            } else {
                output::print(event_text(&parsed, event.get()))?;
            }
        }
        if page.more && !container {
            continue;
        }
        if page.more && options.max.is_none() {
            output::error_line("warning: the container holds more than one answer shows");
        }
        if !options.follow {
            break;
        }
        tokio::time::sleep(FOLLOW_EVERY).await;
    }
    Ok(())
}

/// One answer.
#[derive(Deserialize)]
struct ShownEventPage {
    #[serde(alias = "blobs")]
    events: Vec<Box<RawValue>>,
    more: bool,
}

impl ReadOptions {
    async fn page(
        &self,
        entity: &ListedEntity,
        after: u64,
        max: usize,
    ) -> anyhow::Result<ShownEventPage> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair(entity.kind, &entity.name);
        query.append_pair("max", &max.to_string());
        if after > 0 {
            query.append_pair("after", &after.to_string());
        }
        if let Some(partition) = self.partition {
            query.append_pair("partition", &partition.to_string());
        }
        if self.dead_letters {
            query.append_pair("dead-letters", "true");
        }
        let path = format!("/events?{}", query.finish());
        ask::read(&self.at.get(&path).await?)
    }
}

impl EmulatorAddress {
    /// Asks the emulator.
    async fn get(&self, path: &str) -> anyhow::Result<String> {
        let address: ServerAddress = self.at.parse().context("--at")?;
        let client = address.plain_client().context("--at")?;
        let answer = client.get(path, PATIENCE).await;
        let answer = answer.with_context(|| {
            format!("no answer from {address}; is an emulator there? --at says where its HTTP is")
        })?;
        if answer.status == 200 {
            return Ok(answer.body);
        }
        let json: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        let Some(message) = json["error"]["message"].as_str() else {
            let status = answer.status;
            bail!("{address}: answered with status {status}; is that the HTTP port of an emulator?")
        };
        bail!("{}", one_line(message))
    }
}

/// Something that can be read.
#[derive(Debug)]
struct ListedEntity {
    /// The parameter that names it.
    kind: &'static str,
    name: String,
    /// What it holds, for people.
    facts: String,
}

fn entities(json: &str) -> anyhow::Result<Vec<ListedEntity>> {
    let all: Value = ask::read(json)?;
    let items = |of: &Value| of.as_array().cloned().unwrap_or_default();
    let name = |of: &Value| of["name"].as_str().unwrap_or_default().to_owned();
    let mut found = Vec::new();
    let mut add =
        |kind, name: String, facts: String| found.push(ListedEntity { kind, name, facts });
    for hub in items(&all["hubs"]) {
        let groups = items(&hub["consumerGroups"]);
        let groups: Vec<&str> = groups.iter().filter_map(Value::as_str).collect();
        let groups = groups.join(", ");
        let groups = one_line(&groups);
        let facts = format!(
            "{} events, {} partitions, groups {groups}",
            hub["events"], hub["partitions"]
        );
        add("hub", name(&hub), facts);
    }
    for queue in items(&all["queues"]) {
        add("queue", name(&queue), queue_facts(&queue));
    }
    for topic in items(&all["topics"]) {
        for queue in items(&topic["subscriptions"]) {
            let path = format!("{}/{}", name(&topic), name(&queue));
            add("subscription", path, queue_facts(&queue));
        }
    }
    for topic in items(&all["eventGridTopics"]) {
        add("topic", name(&topic), format!("{} events", topic["events"]));
    }
    for container in items(&all["containers"]) {
        add(
            "container",
            name(&container),
            format!("{} blobs", container["blobs"]),
        );
    }
    Ok(found)
}

fn queue_facts(queue: &Value) -> String {
    let sessions = if queue["sessions"] == true {
        ", with sessions"
    } else {
        ""
    };
    let (messages, dead) = (&queue["messages"], &queue["deadLetters"]);
    format!("{messages} messages, {dead} dead letters{sessions}")
}

/// Finds what a name means. Names are compared without case.
fn named<'a>(all: &'a [ListedEntity], asked: &str) -> anyhow::Result<&'a ListedEntity> {
    let (kind, name) = match asked.split_once(':') {
        Some((kind, name)) => (Some(kind), name),
        None => (None, asked),
    };
    let fits = |entity: &&ListedEntity| {
        kind.is_none_or(|kind| kind == entity.kind) && entity.name.eq_ignore_ascii_case(name)
    };
    let found: Vec<&ListedEntity> = all.iter().filter(fits).collect();
    match found[..] {
        [one] => Ok(one),
        [] => {
            let below = format!("{}/", name.to_ascii_lowercase());
            let below =
                |entity: &&ListedEntity| entity.name.to_ascii_lowercase().starts_with(&below);
            let below: Vec<&str> = all.iter().filter(below).map(|one| &*one.name).collect();
            if !below.is_empty() {
                let below = below.join(", ");
                bail!("{name} is a topic: read a subscription of it: {below}");
            }
            let known: Vec<&str> = all.iter().map(|one| &*one.name).collect();
            bail!("{asked} is not there; there are: {}", known.join(", "))
        }
        _ => {
            let names = found.iter().map(|one| format!("{}:{}", one.kind, one.name));
            let names: Vec<String> = names.collect();
            bail!(
                "{name} is the name of several; say which: {}",
                names.join(", ")
            )
        }
    }
}

/// The event in what Event Grid topics show, as it came.
#[derive(Deserialize)]
struct RawEvent<'a> {
    #[serde(borrow)]
    event: Option<&'a RawValue>,
}

/// One event for people: a line about it, and its body. `json` is what `event` was read from.
fn event_text(event: &Value, json: &str) -> String {
    let text = |value: &Value| match value {
        Value::String(text) => one_line(text).into_owned(),
        other => one_line(&other.to_string()).into_owned(),
    };
    let mut line = Vec::new();
    for (label, member) in [
        ("", "number"),
        ("", "enqueuedAt"),
        ("", "receivedAt"),
        ("", "name"),
        ("", "changedAt"),
        ("post ", "post"),
        ("partition ", "partition"),
        ("key ", "partitionKey"),
        ("session ", "sessionId"),
        ("deliveries ", "deliveryCount"),
        ("id ", "messageId"),
        ("", "contentType"),
    ] {
        let value = &event[member];
        if !value.is_null() && value != "" {
            line.push(format!("{label}{}", text(value)));
        }
    }
    let mut view = line.join("  ");
    view.push('\n');
    for member in ["properties", "metadata"] {
        for (name, value) in event[member].as_object().into_iter().flatten() {
            view.push_str(&format!("    {}: {}\n", one_line(name), text(value)));
        }
    }
    let raw: Option<RawEvent<'_>> = serde_json::from_str(json).ok();
    if let Some(raw) = raw.and_then(|raw| raw.event) {
        view.push_str(&format!("    {}\n", one_line(raw.get())));
    }
    for member in ["body", "bodyBase64"] {
        let value = &event[member];
        if !value.is_null() {
            view.push_str(&format!("    {}\n", text(value)));
        }
    }
    view
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTITIES: &str = r#"{
        "hubs": [{"name":"telemetry","partitions":4,"consumerGroups":["$Default"],"events":2}],
        "topics": [{"name":"alerts","subscriptions":[
            {"name":"demo","sessions":true,"messages":1,"deadLetters":0}]}],
        "queues": [{"name":"same","sessions":false,"messages":0,"deadLetters":3}],
        "eventGridTopics": [{"name":"same","events":7}],
        "containers": [{"name":"dead-letters","blobs":0}]}"#;

    #[test]
    fn a_name_means_one_entity_or_is_refused_with_those_there_are() {
        let all = entities(ENTITIES).unwrap();
        for (asked, expect) in [
            ("telemetry", Ok("hub telemetry")),
            ("ALERTS/demo", Ok("subscription alerts/demo")),
            ("queue:same", Ok("queue same")),
            ("topic:same", Ok("topic same")),
            ("dead-letters", Ok("container dead-letters")),
            ("same", Err("say which: queue:same, topic:same")),
            (
                "alerts",
                Err("alerts is a topic: read a subscription of it: alerts/demo"),
            ),
            (
                "hubs",
                Err(
                    "hubs is not there; there are: telemetry, same, alerts/demo, same, dead-letters",
                ),
            ),
            ("hub:same", Err("hub:same is not there")),
        ] {
            let found = named(&all, asked).map(|one| format!("{} {}", one.kind, one.name));
            match (found, expect) {
                (Ok(found), Ok(expect)) => assert_eq!(found, expect),
                (Err(error), Err(expect)) => {
                    assert!(error.to_string().contains(expect), "{error}");
                }
                (found, expect) => panic!("{asked}: {found:?}, not {expect:?}"),
            }
        }
        assert_eq!(all[1].facts, "0 messages, 3 dead letters");
        assert_eq!(all[2].facts, "1 messages, 0 dead letters, with sessions");
    }

    #[test]
    fn what_is_shown_cannot_steer_a_terminal() {
        let event = serde_json::json!({
            "number": 3, "enqueuedAt": "2026-01-01T00:00:00Z", "partition": 1, "contentType": "a\u{1b}[2J",
            "properties": {"cloudEvents:id\r\n": "x\u{202e}y"}, "body": "one\ntwo\u{2028}",
        });
        let expect = "3  2026-01-01T00:00:00Z  partition 1  a\\u001b[2J\n    \
                      cloudEvents:id\\r\\n: x\\u202ey\n    one\\ntwo\\u2028\n";
        assert_eq!(event_text(&event, &event.to_string()), expect);
        let json = r#"{"number":1,"event":{"z":25.50,"a":1}}"#;
        let event = serde_json::from_str(json).unwrap();
        assert_eq!(event_text(&event, json), "1\n    {\"z\":25.50,\"a\":1}\n");
        assert_eq!(one_line("grün \"quoted\" 温度"), "grün \"quoted\" 温度");
    }
}
