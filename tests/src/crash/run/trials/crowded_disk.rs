//! A disk that is smaller than the journal may be, full of the dead letters of one endpoint: they make room, and the
//! other endpoints get all that is theirs, over kills.

use super::{ACCEPTED_AGAIN_MAX, GLANCE, SmallDisk, verify_code};
use crate::crash::admin;
use crate::crash::daemon::Addresses;
use crate::crash::history::{Answer, Endpoint, Ledger};
use crate::crash::oracle::{self, Violation, Wrong};
use crate::crash::plan::What;
use crate::crash::produce::{Working, now};
use crate::crash::run::{KEPT, Stage, look};
use anyhow::{Context as _, bail, ensure};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use tokio::time::{Instant, sleep};
use twinroute_emulator::PostAnswer;

/// Posts of each life that are acknowledged: more than the disk holds in all.
const POSTS: u32 = 700;

/// Events that may wait for the endpoint that is throttled.
const QUEUED_MAX: u32 = 200;

/// At most one in so many posts is refused.
const REFUSED_PART: usize = 50;

/// Lives that are ended by a kill.
const KILLS: u32 = 3;

pub(super) async fn run(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    let Some(disk) = SmallDisk::mount(stage)? else {
        return Ok(SmallDisk::NONE.to_owned());
    };
    shorten_queue(&stage.options.folder.join("twinroute.toml"))?;
    let throttled = What::Post(PostAnswer::Status(503, None), 1 << 20);
    let from = now();
    stage.destinations.fault(&throttled);
    let mut daemon = stage.start()?;
    let mut addresses = stage.ready(&mut daemon).await?;
    for _ in 0..KILLS {
        let working = posting(stage, addresses).await?;
        stage.down_since = Some(now());
        daemon.kill()?;
        stage.producers.end(working).await;
        daemon = stage.start()?;
        addresses = stage.ready(&mut daemon).await?;
    }
    let working = posting(stage, addresses).await?;
    stage.producers.end(working).await;
    stage.failed(from, &throttled);
    stage.destinations.calm();
    stage.drained(addresses).await?;
    let ledger = judged(stage, addresses).await?;
    daemon.stop().await?;
    let verified = verify_code(&stage.options.program, &stage.options.folder)?;
    ensure!(verified == Some(0), "journal verify ends with {verified:?}");
    disk.unmount()?;
    let posts = &stage.record.lock().posts;
    let refused = posts
        .iter()
        .filter(|post| matches!(post.answer, Answer::Refused(_)));
    let few = posts.len() / REFUSED_PART;
    ensure!(
        refused.clone().count() <= few,
        "more than {few} of {} posts were refused",
        posts.len()
    );
    Ok(format!(
        "{} of {} dead letters discarded over {KILLS} kills, none for others; {} of {} posts refused",
        ledger.discarded,
        ledger.discarded + ledger.dead_letters.local,
        refused.count(),
        posts.len()
    ))
}

/// Has so many posts acknowledged, by producers that go on. One that is refused ends, and comes back: a start that finds
/// no room at all makes some first.
async fn posting(stage: &mut Stage<'_>, addresses: Addresses) -> anyhow::Result<Working> {
    let (deadline, mut before) = (Instant::now() + ACCEPTED_AGAIN_MAX, 0);
    loop {
        let mut working = stage.producers.start(addresses.ingress);
        if working.reach(POSTS - before).await {
            return Ok(working);
        }
        before += stage.producers.end(working).await;
        let ledger = look(&stage.record, stage.life, addresses).await?.ledgers[KEPT as usize];
        ensure!(
            Instant::now() < deadline,
            "only {before} posts were acknowledged: {ledger:?}"
        );
        sleep(GLANCE).await;
    }
}

/// Lets the endpoint that keeps its dead letters have many soon: the oldest of its queue leave it.
fn shorten_queue(configuration: &Path) -> anyhow::Result<()> {
    let before = fs::read_to_string(configuration)?;
    let section = format!("[endpoints.\"{}\"]", KEPT.name());
    let (head, tail) = before.split_once(&section).context("no such endpoint")?;
    let short = format!("queue_events_max = {QUEUED_MAX}");
    let tail = tail.replacen("queue_events_max = 1000000", &short, 1);
    fs::write(configuration, format!("{head}{section}{tail}"))?;
    Ok(())
}

/// Has the oracle judge all but which dead letters are gone; their number is looked at here.
async fn judged(stage: &Stage<'_>, addresses: Addresses) -> anyhow::Result<Ledger> {
    let ledgers = look(&stage.record, stage.life, addresses).await?.ledgers;
    let kept = admin::kept(addresses.admin).await?;
    let status: Value = serde_json::from_slice(&admin::get(addresses.admin, "/status").await?)?;
    let by_reason = |endpoint: &Value| endpoint["discarded_by"]["dead-letter-overflow"].as_u64();
    let endpoints = status["instances"][0]["endpoints"].as_array();
    let overflow: u64 = endpoints
        .context("no endpoints")?
        .iter()
        .filter_map(by_reason)
        .sum();
    let ledger = ledgers[KEPT as usize];
    ensure!(ledger.discarded > 0, "nothing was discarded: {ledger:?}");
    ensure!(
        ledger.discarded == overflow,
        "{overflow} by reason: {ledger:?}"
    );
    let letters: BTreeSet<&String> = kept.iter().map(|letter| &letter.id).collect();
    ensure!(
        letters.len() as u64 == ledger.dead_letters.local,
        "{} kept: {ledger:?}",
        letters.len()
    );
    let mut history = stage.record.lock().clone();
    history.deliveries = stage.destinations.deliveries();
    history.letters.extend(stage.destinations.letters());
    history.letters.extend(kept);
    let (mut violations, _) = oracle::check(&history);
    violations.retain(|violation| !is_of_discarded(violation));
    if let Some(first) = violations.first() {
        bail!("{} violations, the first: {first}", violations.len());
    }
    Ok(ledger)
}

/// Whether that is to be so where dead letters that are kept were discarded.
fn is_of_discarded(violation: &Violation) -> bool {
    const EXPECTED: [&str; 3] = ["discarded", "local", "delivered"];
    match violation {
        Violation::Lost(endpoint, _) | Violation::Torn(endpoint, _) => *endpoint == KEPT,
        Violation::Miscounted { endpoint, what, .. } => {
            *endpoint == KEPT && EXPECTED.contains(what)
        }
        Violation::Letter {
            endpoint, wrong, ..
        } => *endpoint == KEPT && *wrong == Wrong::Unfounded,
        Violation::ExcessDeadLetters { endpoint, .. } => *endpoint == KEPT,
        _ => false,
    }
}

const _: () = assert!(!KEPT.has_container() && matches!(KEPT, Endpoint::Grid));
