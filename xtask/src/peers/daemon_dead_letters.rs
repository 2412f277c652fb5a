//! Dead letters on their whole way: `twinroute run` between Event Grid topics that refuse and Azurite.
//!
//! Every event goes to every endpoint. All but one topic refuse, and each of the refused endpoints has a
//! container with a trouble of its own, which is fixed while the router runs.

use super::PeerStage;
use super::dead_letters::{self, ACCOUNT, KEY};
use super::scene::{self, RouterProcess, json_line, route, text};
use crate::process::{self, ChildProgram};
use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::oneshot;

use twinroute_emulator::{
    EventGridSettings, EventGridTopicSettings, PostAnswer, RunningEmulator, ScriptedFaults,
    Settings,
};
use twinroute_model::clock::{Clock as _, SystemClock};

/// Its container takes everything.
const STORED: &str = "stored";
/// Its SAS has a wrong signature.
const WRONG: &str = "wrong";
/// Its SAS has expired.
const EXPIRED: &str = "expired";
/// Its container comes later.
const MISSING: &str = "missing";
/// Its topic refuses nothing.
const SPARE: &str = "spare";

const REFUSED: [&str; 4] = [STORED, WRONG, EXPIRED, MISSING];

/// Ids whose names need care, and bytes that a reader of JSON would not keep.
const EVENTS: [(&str, &str); 4] = [
    (
        "plain-1",
        r#"{"specversion":"1.0","id":"plain-1","source":"contoso","type":"t","subject":"room","data":{"n":1.10}}"#,
    ),
    (
        "größe/1 %2F",
        r#"{ "type":"t", "specversion":"1.0","source":"contoso","id":"größe/1 %2F","subject":"room","data":null }"#,
    ),
    (
        "../up",
        r#"{"specversion":"1.0","id":"../up","source":"contoso","type":"t","subject":"hall","data":[1,1e0]}"#,
    ),
    (
        "plain-2",
        r#"{"specversion":"1.0","id":"plain-2","source":"contoso","type":"t","subject":"hall","data":"\u00fc"}"#,
    ),
];

/// The check.
pub(super) fn through_the_daemon(stage: &PeerStage<'_>) -> anyhow::Result<()> {
    let (azurite, address) = dead_letters::start(stage)?;
    let account = format!("http://{address}/{ACCOUNT}");
    let from = SystemClock.now().unix_millis();
    let play = |step: &str| {
        let scene = scene_of(step, &account, from);
        let command = dead_letters::script(stage, &scene);
        ChildProgram::start(step, &command, &stage.folder)
    };
    let mut prepare = play("prepare")?;
    let uris = prepare.await_line("SAS URIs", stage.deadline, json_line)?;
    let grid = ScriptedTopics::start()?;
    let endpoints = [
        (STORED, grid.endpoint(STORED, &uris["createWrite"])),
        (WRONG, grid.endpoint(WRONG, &uris["wrong"])),
        (EXPIRED, grid.endpoint(EXPIRED, &uris["expired"])),
        (MISSING, grid.endpoint(MISSING, &uris["missing"])),
        (SPARE, grid.endpoint(SPARE, &Value::Null)),
    ];
    let routes = endpoints
        .each_ref()
        .map(|(name, _)| (*name, route(name, "true")));
    let router = RouterProcess::start(stage, &endpoints, &routes, "", &settings())?;
    let course = DeadLetterCourse {
        stage,
        router,
        grid,
        uris,
        azurite,
    };
    for (_, event) in EVENTS {
        course.router.post(event)?;
    }
    course.troubles()?;
    course.fixed_by_definitions()?;
    play("create")?.succeed(stage.deadline)?;
    course.stored("its container was created", &[MISSING])?;
    play("judgeRouter")?.succeed(stage.deadline)?;
    course.replay()?;
    // A replay leaves the container as it is.
    play("judgeRouter")?.succeed(stage.deadline)?;
    course.no_secret_is_reported()
}

/// What a step of the script needs.
fn scene_of(step: &str, account: &str, from: i64) -> Value {
    let events = EVENTS.map(|(id, content)| json!({ "id": id, "content": content }));
    json!({
        "step": step, "account": account, "key": KEY, "from": from, "instance": "peers", "events": events,
        "containers": { STORED: "dead", WRONG: "dead", EXPIRED: "dead", MISSING: "later" },
    })
}

/// A journal on disk; containers at fault are looked at every second.
fn settings() -> String {
    let mut settings = "[journal]\npath = \"journal\"\n".to_owned();
    for endpoint in REFUSED {
        settings.push_str(&format!(
            "\n[endpoints.{endpoint}]\nprobe_interval_max = \"1s\"\n"
        ));
    }
    settings
}

/// Event Grid topics in this process, since their faults are scripted.
struct ScriptedTopics {
    emulator: RunningEmulator,
    /// Dropped after the emulator; its thread ends with it.
    _stop: oneshot::Sender<()>,
}

impl ScriptedTopics {
    /// One topic for each endpoint; all but one refuse.
    fn start() -> anyhow::Result<Self> {
        let names = REFUSED.into_iter().chain([SPARE]);
        let settings = Settings {
            event_grid: EventGridSettings {
                topics: names.map(EventGridTopicSettings::new).collect(),
                ..EventGridSettings::default()
            },
            ..Settings::default()
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let emulator = runtime.block_on(RunningEmulator::start(settings, Arc::new(SystemClock)))?;
        let (stop, stopped) = oneshot::channel::<()>();
        std::thread::Builder::new()
            .name("emulator".to_owned())
            .spawn(move || drop(runtime.block_on(stopped)))?;
        for topic in REFUSED {
            let answer = PostAnswer::Status(400, None);
            emulator
                .faults()
                .posts(topic, answer, ScriptedFaults::ALWAYS);
        }
        Ok(Self {
            emulator,
            _stop: stop,
        })
    }

    /// The definition of the endpoint at the topic of its name; without a container for `null`.
    fn endpoint(&self, name: &str, sas: &Value) -> Value {
        let mut properties = json!({
            "endpointType": "EventGrid",
            "TopicEndpoint": self.emulator.topic_endpoint(name),
            "accessKey1": self.emulator.topic_key1(name),
            "accessKey2": self.emulator.topic_key2(name),
        });
        if !sas.is_null() {
            properties["deadLetterSecret"] = sas.clone();
        }
        json!({ "properties": properties })
    }

    /// What a topic took, sorted.
    fn arrived(&self, topic: &str) -> Vec<String> {
        let events = self.emulator.event_grid().events(topic);
        let mut texts: Vec<String> = events.iter().map(|event| event.text().to_owned()).collect();
        texts.sort_unstable();
        texts
    }
}

/// Everything that runs.
struct DeadLetterCourse<'a> {
    stage: &'a PeerStage<'a>,
    router: RouterProcess,
    grid: ScriptedTopics,
    uris: Value,
    azurite: ChildProgram,
}

impl DeadLetterCourse<'_> {
    /// A right SAS stores; each trouble has its state, loses nothing and disturbs no other endpoint.
    fn troubles(&self) -> anyhow::Result<()> {
        self.stored("its SAS may create and write", &[STORED])?;
        let all = EVENTS.len();
        let waits = |status: &Value, name: &str, store: &str| {
            let letters = &endpoint(status, name)["dead_letters"];
            letters["store"] == store
                && letters["awaiting_upload"] == all
                && letters["uploaded"] == 0
        };
        let as_wanted = |status: &Value| {
            waits(status, WRONG, "unauthorized")
                && waits(status, EXPIRED, "unauthorized")
                && waits(status, MISSING, "gone")
                && endpoint(status, SPARE)["delivered"] == all
        };
        let what = "every container at fault shows it and its dead letters wait";
        self.router.shows(what, self.stage.deadline, as_wanted)?;
        // More requests than letters: a second look. It changes nothing, and it shows that the log names what
        // is sent, so that what it does not name was not.
        process::until(
            "both refused containers are tried again",
            self.stage.deadline,
            || {
                let again = self.puts(WRONG) > EVENTS.len() && self.puts(MISSING) > EVENTS.len();
                Ok(again.then_some(()))
            },
        )
        .with_context(|| format!("{} and {} requests", self.puts(WRONG), self.puts(MISSING)))?;
        let status = self.router.status()?;
        ensure!(as_wanted(&status), "after a second look: {status}");
        for (name, reason) in [
            (WRONG, "403"),
            (EXPIRED, "sas-expired"),
            (MISSING, "ContainerNotFound"),
        ] {
            let error = &endpoint(&status, name)["dead_letters"]["last_error"];
            ensure!(
                text(error)?.contains(reason),
                "{name}: {error} does not tell {reason}"
            );
        }
        let sent = self.puts(EXPIRED);
        ensure!(
            sent == 0,
            "{EXPIRED}: {sent} requests with an expired SAS were sent"
        );
        Ok(())
    }

    /// Requests to write dead letters of an endpoint that Azurite has logged.
    fn puts(&self, name: &str) -> usize {
        let log = self.azurite.output();
        // The client writes a name into the path as one segment.
        let of = format!("/{name}%2F");
        log.lines()
            .filter(|line| line.contains("\"PUT /") && line.contains(&of))
            .count()
    }

    /// A right SAS in the definition's file is all that two of them lack.
    fn fixed_by_definitions(&self) -> anyhow::Result<()> {
        for name in [WRONG, EXPIRED] {
            let fixed = self.grid.endpoint(name, &self.uris["createWrite"]);
            self.router.edit_endpoint(name, &fixed)?;
        }
        self.stored("its definition got a right SAS", &[WRONG, EXPIRED])
    }

    /// Waits until all dead letters of these endpoints stand in their containers.
    fn stored(&self, why: &str, names: &[&str]) -> anyhow::Result<()> {
        let what = format!("{names:?} uploaded, since {why}");
        self.router.shows(&what, self.stage.deadline, |status| {
            names.iter().all(|name| {
                let letters = &endpoint(status, name)["dead_letters"];
                letters["uploaded"] == EVENTS.len()
                    && letters["awaiting_upload"] == 0
                    && letters["local"] == 0
                    && letters["store"] == "ok"
            })
        })?;
        Ok(())
    }

    /// What failed at one endpoint goes there once more, out of its container, and nowhere else.
    fn replay(&self) -> anyhow::Result<()> {
        let reading = self.grid.endpoint(STORED, &self.uris["readList"]);
        let before = self.router.status()?["table"]["generation"].clone();
        self.router.edit_endpoint(STORED, &reading)?;
        self.router.shows(
            "the SAS that reads is in use",
            self.stage.deadline,
            |status| status["table"]["generation"] != before,
        )?;
        self.grid.emulator.faults().clear();
        let arguments = [
            "deadletter",
            "replay",
            "--endpoint",
            STORED,
            "--from-container",
            "stored/",
        ];
        let command = self.router.command(self.stage, &arguments);
        ChildProgram::start("replay", &command, &self.stage.folder)?
            .succeed(self.stage.deadline)?;
        let mut posted = EVENTS.map(|(_, content)| content.to_owned()).to_vec();
        posted.sort_unstable();
        for (name, due) in [
            (STORED, &posted[..]),
            (SPARE, &posted),
            (WRONG, &[]),
            (EXPIRED, &[]),
            (MISSING, &[]),
        ] {
            let arrived = self.grid.arrived(name);
            ensure!(arrived == due, "{name}: {arrived:?} arrived, not {due:?}");
        }
        self.adds_up()
    }

    /// The ledger tells of every endpoint what happened.
    fn adds_up(&self) -> anyhow::Result<()> {
        let ledger = self.router.ledger()?;
        ensure!(ledger["total"]["unaccounted"] == 0, "unaccounted: {ledger}");
        let all = EVENTS.len();
        let rows = ledger["endpoints"]
            .as_array()
            .context("a ledger without endpoints")?;
        ensure!(rows.len() == REFUSED.len() + 1, "other endpoints: {ledger}");
        for row in rows {
            let name = text(&row["endpoint"])?;
            let refused = REFUSED.contains(&name);
            let replayed = if name == STORED { all } else { 0 };
            let delivered = if refused { replayed } else { all };
            let uploaded = if refused { all } else { 0 };
            let dead =
                json!({ "uploaded": uploaded, "awaiting_upload": 0, "local": 0, "replayed": 0 });
            let right = row["matched"] == all
                && row["replayed"] == replayed
                && row["delivered"] == delivered
                && row["dead_lettered"] == dead
                && row["discarded"] == json!({})
                && ["queued", "in_flight", "retrying", "unaccounted"]
                    .iter()
                    .all(|state| row[*state] == 0);
            ensure!(right, "{name}: {row}");
        }
        Ok(())
    }

    /// Neither the status nor the log holds a signature.
    fn no_secret_is_reported(&self) -> anyhow::Result<()> {
        let output = format!("{}{}", self.router.status()?, self.router.process.output());
        for (name, uri) in self.uris.as_object().context("no SAS URIs")? {
            let signature = dead_letters::signature(text(uri)?)?;
            ensure!(
                !output.contains(signature),
                "the router tells the signature of SAS {name}"
            );
        }
        Ok(())
    }
}

/// An endpoint of the status.
fn endpoint<'a>(status: &'a Value, name: &str) -> &'a Value {
    let mut endpoints = scene::endpoints(status).iter();
    endpoints
        .find(|known| known["name"] == name)
        .unwrap_or(&Value::Null)
}
