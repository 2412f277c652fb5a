//! Checks in which something happens while events flow: the emulator dies, definitions change.

use super::PeerStage;
use super::scene::{self, EmulatorProcess, RouterProcess, route};
use crate::process::{self, ChildProgram};
use anyhow::ensure;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

/// Events that go by between two things that a check does.
const STRETCH: u64 = 150;

/// How long an idle emulator may take to store what its sockets hold.
const DRAIN: Duration = Duration::from_secs(1);

/// A producer that posts until it is stopped.
struct PostingFlow {
    producer: ChildProgram,
    accepted: PathBuf,
    stop: PathBuf,
}

impl PostingFlow {
    fn start(stage: &PeerStage<'_>, router: &RouterProcess) -> anyhow::Result<Self> {
        let accepted = stage.folder.join("accepted");
        let stop = stage.folder.join("stop");
        let scene = json!({ "ingress": router.ingress, "accepted": accepted, "stop": stop });
        let command = stage.script("flow.py", &scene);
        let producer = ChildProgram::start("flow.py", &command, &stage.folder)?;
        Ok(Self {
            producer,
            accepted,
            stop,
        })
    }

    /// Ids of the events that the router accepted so far.
    fn accepted(&self) -> Vec<String> {
        let text = std::fs::read_to_string(&self.accepted).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(str::to_owned).collect()
    }

    /// Waits until the router has accepted some more.
    fn go_on(&self, stage: &PeerStage<'_>) -> anyhow::Result<()> {
        let wanted = self.accepted().len() as u64 + STRETCH;
        process::until("events are accepted", stage.deadline, || {
            Ok((self.accepted().len() as u64 >= wanted).then_some(()))
        })
    }

    /// Stops the producer and waits until all is delivered; gives all ids and the last status.
    fn end(
        mut self,
        stage: &PeerStage<'_>,
        router: &RouterProcess,
    ) -> anyhow::Result<(Vec<String>, Value)> {
        std::fs::write(&self.stop, "")?;
        self.producer.succeed(stage.deadline)?;
        let status = router.settled(stage.deadline)?;
        let ids = self.accepted();
        let accepted = &status["journal"]["accepted"];
        ensure!(
            *accepted == ids.len(),
            "answered {}, accepted {accepted}",
            ids.len()
        );
        Ok((ids, status))
    }
}

/// What an emulator holds, by endpoint.
fn collect(stage: &PeerStage<'_>, emulator: &EmulatorProcess, name: &str) -> anyhow::Result<Value> {
    let file = stage.folder.join(name);
    let mut scene = emulator.addresses.clone();
    scene["arrived"] = json!(file);
    stage.play("collect.py", &scene)?;
    Ok(serde_json::from_str(&std::fs::read_to_string(file)?)?)
}

fn ids<'a>(arrived: &'a Value, endpoint: &str) -> Vec<&'a str> {
    let ids = arrived[endpoint].as_array().map_or(&[][..], Vec::as_slice);
    ids.iter().filter_map(Value::as_str).collect()
}

/// The emulator dies twice with kill -9 and comes back empty.
///
/// The first death comes at any moment, so what the emulator stored last cannot be known; what is
/// accepted from then on is looked for. Before the second death the router is held still, so that the
/// emulator's content can be read while deliveries are still open in the router.
pub(super) fn kill_emulator(stage: &PeerStage<'_>) -> anyhow::Result<()> {
    let mut first = EmulatorProcess::start(stage)?;
    let routes = ["hub", "topic", "grid"].map(|endpoint| (endpoint, route(endpoint, "true")));
    let router = RouterProcess::start(stage, &first.endpoints(), &routes, "", "")?;
    let flow = PostingFlow::start(stage, &router)?;
    flow.go_on(stage)?;
    first.process.kill()?;
    let before_death = flow.accepted().len();
    flow.go_on(stage)?;
    let healthy = |endpoint: &Value| endpoint["state"] == "healthy";
    process::until("endpoints at fault", stage.deadline, || {
        Ok((!scene::endpoints(&router.status()?).iter().any(healthy)).then_some(()))
    })?;

    let mut second = first.again(stage)?;
    process::until("endpoints healthy again", stage.deadline, || {
        Ok(scene::endpoints(&router.status()?)
            .iter()
            .all(healthy)
            .then_some(()))
    })?;
    flow.go_on(stage)?;
    router.process.signal("STOP")?;
    process::pause(DRAIN);
    let from_second = collect(stage, &second, "second.json")?;
    second.process.kill()?;
    router.process.signal("CONT")?;
    flow.go_on(stage)?;

    let third = second.again(stage)?;
    flow.go_on(stage)?;
    let (accepted, _) = flow.end(stage, &router)?;
    let from_third = collect(stage, &third, "third.json")?;
    for endpoint in ["hub", "topic", "grid"] {
        let mut arrived = ids(&from_second, endpoint);
        arrived.extend(ids(&from_third, endpoint));
        let distinct: BTreeSet<&str> = arrived.iter().copied().collect();
        // One request may have been answered while the first emulator died.
        let due = &accepted[before_death + 1..];
        let lost: Vec<_> = due
            .iter()
            .filter(|id| !distinct.contains(id.as_str()))
            .collect();
        ensure!(
            lost.is_empty(),
            "{endpoint}: {} of {} lost: {lost:?}",
            lost.len(),
            due.len()
        );
        println!(
            "   {endpoint}: {} accepted, {} of them after the first death, {} duplicates",
            accepted.len(),
            due.len(),
            arrived.len() - distinct.len()
        );
    }
    Ok(())
}

/// Route files change while events flow: broken ones keep the table, good ones replace it.
pub(super) fn table_edit(stage: &PeerStage<'_>) -> anyhow::Result<()> {
    let emulator = EmulatorProcess::start(stage)?;
    let routes = [("hub", "hub"), ("topic", "topic"), (EDITED, "grid")];
    let routes = routes.map(|(id, endpoint)| (id, route(endpoint, "true")));
    let router = RouterProcess::start(stage, &emulator.endpoints(), &routes, "", "")?;
    let flow = PostingFlow::start(stage, &router)?;
    broken_edits(stage, &router, &flow)?;
    good_edits(stage, &router, &flow)?;
    let (accepted, status) = flow.end(stage, &router)?;
    let arrived = collect(stage, &emulator, "arrived.json")?;
    for endpoint in ["hub", "topic", "grid"] {
        let ids = ids(&arrived, endpoint);
        let distinct: BTreeSet<&str> = ids.iter().copied().collect();
        ensure!(
            ids.len() == distinct.len(),
            "{endpoint}: an event arrived twice"
        );
        let matched = matched(&status, endpoint);
        ensure!(
            matched == ids.len() as u64,
            "{endpoint}: matched {matched}, got {}",
            ids.len()
        );
        let all = accepted.iter().all(|id| distinct.contains(id.as_str()));
        ensure!(
            all || endpoint == "grid",
            "{endpoint}: accepted events are missing"
        );
    }
    Ok(())
}

/// The route that is edited; it is the only one to the Event Grid topic.
const EDITED: &str = "edited";

/// Each is refused with file, line and reason, while the old table goes on.
fn broken_edits(
    stage: &PeerStage<'_>,
    router: &RouterProcess,
    flow: &PostingFlow,
) -> anyhow::Result<()> {
    let first = generation(&router.status()?);
    for (broken, reasons) in [
        (
            "{ \"endpointName\": \"grid\",\n  \"filter\": ",
            ["edited.json:2", "is not JSON"],
        ),
        (
            "{ \"endpointName\": \"grid\", \"filter\": \"type = 'a' AND AND true\" }",
            [
                "edited.json:1",
                "Position=16, Message=Unexpected input 'AND'",
            ],
        ),
        (
            "{\n  \"endpointName\": \"nowhere\", \"filter\": \"true\" }",
            ["edited.json:", "endpoint nowhere is not defined"],
        ),
    ] {
        let status = router.edit_route(EDITED, broken, |table| {
            let errors = table["errors"].to_string();
            reasons.iter().all(|reason| errors.contains(reason))
        })?;
        ensure!(
            generation(&status) == first,
            "a broken table is in use: {}",
            status["table"]
        );
        let before = matched(&status, "grid");
        flow.go_on(stage)?;
        let now = matched(&router.status()?, "grid");
        ensure!(
            now >= before + STRETCH / 2,
            "the old table stopped: {before}, then {now}"
        );
    }
    Ok(())
}

/// A filter that matches nothing, then one that matches half.
fn good_edits(
    stage: &PeerStage<'_>,
    router: &RouterProcess,
    flow: &PostingFlow,
) -> anyhow::Result<()> {
    let first = generation(&router.status()?);
    let edit = |filter: &str, generation: u64| -> anyhow::Result<u64> {
        let text = route("grid", filter).to_string();
        let status = router.edit_route(EDITED, &text, |table| table["generation"] == generation)?;
        ensure!(
            status["table"]["errors"] == json!([]),
            "{}",
            status["table"]
        );
        let before = matched(&status, "grid");
        flow.go_on(stage)?;
        Ok(matched(&router.status()?, "grid") - before)
    };
    let none = edit("false", first + 1)?;
    ensure!(
        none == 0,
        "a route with the filter false matched {none} events"
    );
    let some = edit("$body.temperature >= 25", first + 2)?;
    ensure!(
        some > 0 && some < STRETCH,
        "half of {STRETCH} events match, not {some}"
    );
    Ok(())
}

fn generation(status: &Value) -> u64 {
    status["table"]["generation"].as_u64().unwrap_or_default()
}

fn matched(status: &Value, endpoint: &str) -> u64 {
    let mut endpoints = scene::endpoints(status).iter();
    let endpoint = endpoints.find(|known| known["name"] == endpoint);
    endpoint
        .and_then(|known| known["matched"].as_u64())
        .unwrap_or_default()
}
