//! What kills alone do not show: a disk that is full over restarts, segments that are gone or swapped, a
//! sync that hangs. Each is a run of its own, in a folder of its own, judged by the same oracle or, where
//! something is lost on purpose, by whether exactly that is said.

mod crowded_disk;

use super::{DRAIN_MAX, Options, Stage, look};
use crate::crash::admin;
use crate::crash::daemon::{Addresses, Daemon};
use crate::crash::destinations::Destinations;
use crate::crash::history::{Answer, Endpoint, Ledger};
use crate::crash::oracle;
use crate::crash::produce::{Producers, Record, now};
use crate::crash::scene;
use anyhow::{Context as _, bail, ensure};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Set where this process has a mount name space of its own, so that it may mount a small disk.
pub const PRIVATE_MOUNTS: &str = "TWINROUTE_CRASH_PRIVATE_MOUNTS";

/// The longest until events are accepted again once a disk has room, or answers.
const ACCEPTED_AGAIN_MAX: Duration = Duration::from_secs(20);

const GLANCE: Duration = Duration::from_millis(50);

/// A sync waits for as long as the file that `TWINROUTE_HANG` names is there.
const HANGING_SYNC: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

int fdatasync(int file) {
    int (*sync)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    const char *hang = getenv("TWINROUTE_HANG");
    while (hang && access(hang, F_OK) == 0) {
        usleep(10000);
    }
    return sync(file);
}
"#;

/// Makes all trials one after the other; gives what is wrong, and tells how each went.
pub(super) async fn run(options: &Options, tell: &mut impl FnMut(&str)) -> Vec<String> {
    let mut wrong = Vec::new();
    for trial in [
        Trial::FullDisk,
        Trial::CrowdedDisk,
        Trial::Removed,
        Trial::Emptied,
        Trial::Swapped,
        Trial::HangingSync,
    ] {
        let options = Options {
            folder: options.folder.join(trial.word()),
            ..options.clone()
        };
        let word = trial.word();
        match trial.run(&options).await {
            Ok(how) => tell(&format!("trial {word}: {how}")),
            Err(error) => {
                tell(&format!("trial {word}: {error:#}"));
                wrong.push(format!("trial {word}: {error:#}"));
            }
        }
    }
    wrong
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trial {
    FullDisk,
    CrowdedDisk,
    Removed,
    Emptied,
    Swapped,
    HangingSync,
}

impl Trial {
    const fn word(self) -> &'static str {
        match self {
            Self::FullDisk => "full-disk",
            Self::CrowdedDisk => "full-disk-of-dead-letters",
            Self::Removed => "removed-segment",
            Self::Emptied => "emptied-segment",
            Self::Swapped => "swapped-segments",
            Self::HangingSync => "hanging-sync",
        }
    }

    async fn run(self, options: &Options) -> anyhow::Result<String> {
        fs::create_dir_all(&options.folder)?;
        let destinations = Destinations::start().await?;
        scene::write(&options.folder, options.seed, destinations.definitions())?;
        let record = Record::default();
        let mut stage = Stage {
            options,
            destinations,
            producers: Producers::new(options.seed, record.clone()),
            record,
            life: 0,
            down_since: None,
            away_since: None,
            recoveries: Vec::new(),
        };
        match self {
            Self::FullDisk => full_disk(&mut stage).await,
            Self::CrowdedDisk => crowded_disk::run(&mut stage).await,
            Self::Removed | Self::Emptied | Self::Swapped => self.segments(&mut stage).await,
            Self::HangingSync => hanging_sync(&mut stage).await,
        }
    }

    /// Events wait, the process is killed, something is done to segments, and it starts again.
    async fn segments(self, stage: &mut Stage<'_>) -> anyhow::Result<String> {
        stage.leave().await;
        let mut daemon = stage.start()?;
        let addresses = stage.ready(&mut daemon).await?;
        stage.posted(addresses, 400).await?;
        let made: u64 = ledgers(stage, addresses).await?.iter().map(of_all).sum();
        daemon.kill()?;
        let data = stage.options.folder.join("data");
        let names = segments(&data)?;
        ensure!(names.len() > 1, "{names:?} are too few");
        let last = &names[names.len() - 1];
        match self {
            Self::Removed => fs::remove_file(last)?,
            Self::Emptied => fs::write(last, b"")?,
            _ => {
                let aside = data.join("aside");
                fs::rename(&names[0], &aside)?;
                fs::rename(last, &names[0])?;
                fs::rename(&aside, last)?;
            }
        }
        let verified = verify_code(&stage.options.program, &stage.options.folder)?;
        ensure!(
            verified == Some(78),
            "journal verify ends with {verified:?}"
        );
        let mut daemon = stage.start()?;
        let addresses = stage.ready(&mut daemon).await?;
        stage.come_back().await?;
        stage.drained(addresses).await?;
        let status: Value = serde_json::from_slice(&admin::get(addresses.admin, "/status").await?)?;
        let warnings = status["warnings"].to_string();
        ensure!(warnings.contains("damaged"), "no warning: {warnings}");
        let lost = status["journal"]["lost_deliveries"].as_u64();
        let lost = lost.context("/status counts nothing lost")?;
        let of_lanes: u64 = ledgers(stage, addresses).await?.iter().map(of_all).sum();
        let unknown = status["journal"]["lost_unknown"].as_u64().unwrap_or(0);
        ensure!(
            of_lanes + unknown == made,
            "{of_lanes} + {unknown} of {made} are accounted for"
        );
        let arrived = arrived(stage);
        ensure!(
            arrived + lost == made,
            "{arrived} arrived, {lost} are lost, of {made}"
        );
        ensure!((self == Self::Swapped) == (lost == 0), "{lost} are lost");
        daemon.stop().await?;
        Ok(format!(
            "{made} deliveries: {arrived} ended elsewhere, {lost} reported as lost, none more"
        ))
    }
}

/// The disk fills up, the process is killed and stopped, and each start records what arrives.
async fn full_disk(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    let Some(disk) = SmallDisk::mount(stage)? else {
        return Ok(SmallDisk::NONE.to_owned());
    };
    stage.leave().await;
    let mut daemon = stage.start()?;
    let mut addresses = stage.ready(&mut daemon).await?;
    let working = stage.producers.start(addresses.ingress);
    let acknowledged = stage.producers.until_refused(working).await?;
    for how in ["kill", "stop", "kill"] {
        stage.down_since.get_or_insert_with(now);
        match how {
            "kill" => daemon.kill()?,
            _ => daemon.stop().await?,
        }
        daemon = stage.start()?;
        addresses = stage.ready(&mut daemon).await?;
    }
    stage.come_back().await?;
    let begun = Instant::now();
    stage.drained(addresses).await?;
    accepted_again(stage, addresses).await?;
    let took = begun.elapsed();
    stage.drained(addresses).await?;
    judged(stage, addresses, daemon).await?;
    disk.unmount()?;
    Ok(format!(
        "{acknowledged} posts acknowledged before it was full, three restarts, accepted again {} ms after \
         the destinations came back",
        took.as_millis()
    ))
}

/// A disk of 6 MiB, where the journal stands.
struct SmallDisk(PathBuf);

impl SmallDisk {
    const NONE: &str = "skipped, for there are no mounts of one's own";

    /// Nothing where this process may mount none.
    fn mount(stage: &Stage<'_>) -> anyhow::Result<Option<Self>> {
        if std::env::var_os(PRIVATE_MOUNTS).is_none() {
            return Ok(None);
        }
        let data = stage.options.folder.join("data");
        fs::create_dir_all(&data)?;
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=6m", "none"])
            .arg(&data)
            .status()?;
        ensure!(mount.success(), "mount: {mount}");
        Ok(Some(Self(data)))
    }

    fn unmount(self) -> anyhow::Result<()> {
        let unmount = Command::new("umount").arg(&self.0).status()?;
        ensure!(unmount.success(), "umount: {unmount}");
        Ok(())
    }
}

async fn hanging_sync(stage: &mut Stage<'_>) -> anyhow::Result<String> {
    let folder = stage.options.folder.clone();
    let (source, shim) = (
        folder.join("hanging_sync.c"),
        folder.join("hanging_sync.so"),
    );
    fs::write(&source, HANGING_SYNC)?;
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([&shim, &source])
        .arg("-ldl")
        .status();
    if !compiled.is_ok_and(|compiled| compiled.success()) {
        return Ok("skipped, for there is no C compiler".to_owned());
    }
    let hang = folder.join("hang");
    let variables = [("LD_PRELOAD", &shim), ("TWINROUTE_HANG", &hang)];
    stage.life += 1;
    let mut daemon = Daemon::start_with(&stage.options.program, &folder, &variables)?;
    let addresses = stage.ready(&mut daemon).await?;
    stage.posted(addresses, 20).await?;
    fs::write(&hang, b"")?;
    let working = stage.producers.start(addresses.ingress);
    let begun = Instant::now();
    let reason = until(ACCEPTED_AGAIN_MAX, || async {
        let ready = admin::get(addresses.admin, "/readyz").await;
        ready.err().map(|error| format!("{error:#}"))
    });
    let reason = reason
        .await
        .context("/readyz stays 200 while a sync hangs")?;
    ensure!(reason.contains("does not answer"), "{reason}");
    let unready = begun.elapsed();
    fs::remove_file(&hang)?;
    let ready = until(ACCEPTED_AGAIN_MAX, || async {
        admin::get(addresses.admin, "/readyz").await.ok()
    });
    ready.await.context("/readyz stays 503")?;
    stage.producers.end(working).await;
    stage.posted(addresses, 20).await?;
    let metrics = admin::get(addresses.admin, "/metrics").await?;
    let metrics = String::from_utf8_lossy(&metrics).into_owned();
    let longer = metrics
        .lines()
        .find(|line| line.starts_with("twinroute_journal_sync_seconds_bucket{le=\"5\"}"));
    let all = metrics
        .lines()
        .find(|line| line.starts_with("twinroute_journal_sync_seconds_count"));
    let count =
        |line: Option<&str>| line.and_then(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
    ensure!(
        count(longer) < count(all),
        "{longer:?} {all:?}: no sync took longer than 5 s"
    );
    stage.drained(addresses).await?;
    judged(stage, addresses, daemon).await?;
    Ok(format!(
        "not ready after {} ms, and ready again",
        unready.as_millis()
    ))
}

/// Posts until events are accepted again.
async fn accepted_again(stage: &mut Stage<'_>, addresses: Addresses) -> anyhow::Result<()> {
    let deadline = Instant::now() + ACCEPTED_AGAIN_MAX;
    loop {
        let mut working = stage.producers.start(addresses.ingress);
        let reached = working.reach(12).await;
        stage.producers.end(working).await;
        if reached {
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "nothing is accepted in {ACCEPTED_AGAIN_MAX:?}"
        );
        sleep(GLANCE).await;
    }
}

/// Has the oracle judge a run in which nothing may be lost.
async fn judged(stage: &mut Stage<'_>, addresses: Addresses, daemon: Daemon) -> anyhow::Result<()> {
    look(&stage.record, stage.life, addresses).await?;
    let kept = admin::kept(addresses.admin).await?;
    daemon.stop().await?;
    let verified = verify_code(&stage.options.program, &stage.options.folder)?;
    ensure!(verified == Some(0), "journal verify ends with {verified:?}");
    let mut history = std::mem::take(&mut *stage.record.lock());
    history.deliveries = stage.destinations.deliveries();
    history.letters.extend(stage.destinations.letters());
    history.letters.extend(kept);
    let (violations, _) = oracle::check(&history);
    if let Some(first) = violations.first() {
        bail!("{} violations, the first: {first}", violations.len());
    }
    Ok(())
}

impl Stage<'_> {
    async fn leave(&mut self) {
        self.away_since = Some(now());
        self.destinations.leave().await;
    }

    /// Has so many posts acknowledged, and all that were sent answered.
    async fn posted(&mut self, addresses: Addresses, count: u32) -> anyhow::Result<()> {
        let mut working = self.producers.start(addresses.ingress);
        let reached = working.reach(count).await;
        self.producers.end(working).await;
        ensure!(reached, "{count} posts took too long");
        let history = self.record.lock();
        let open = history.posts.iter().any(|post| post.answer == Answer::None);
        ensure!(!open, "a post was not answered");
        Ok(())
    }
}

async fn ledgers(stage: &Stage<'_>, addresses: Addresses) -> anyhow::Result<[Ledger; 3]> {
    Ok(look(&stage.record, stage.life, addresses).await?.ledgers)
}

/// Deliveries that were made.
fn of_all(ledger: &Ledger) -> u64 {
    ledger.matched + ledger.replayed
}

/// Pairs of event and endpoint that arrived or became a dead letter.
fn arrived(stage: &Stage<'_>) -> u64 {
    let mut ends: std::collections::BTreeSet<(Endpoint, String)> = stage
        .destinations
        .deliveries()
        .into_iter()
        .map(|delivery| (delivery.endpoint, delivery.id))
        .collect();
    let letters = stage.destinations.letters();
    ends.extend(
        letters
            .into_iter()
            .map(|letter| (letter.endpoint, letter.id)),
    );
    ends.len() as u64
}

/// The segments' files, oldest first.
fn segments(data: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(data)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "seg") {
            names.push(path);
        }
    }
    names.sort();
    Ok(names)
}

/// How `twinroute journal verify` ends.
fn verify_code(program: &Path, folder: &Path) -> anyhow::Result<Option<i32>> {
    let output = Command::new(program)
        .args(["journal", "verify", "data"])
        .current_dir(folder)
        .output()?;
    Ok(output.status.code())
}

/// Asks again and again until there is an answer.
async fn until<T, F: Future<Output = Option<T>>>(
    time_max: Duration,
    ask: impl Fn() -> F,
) -> anyhow::Result<T> {
    let deadline = Instant::now() + time_max.min(DRAIN_MAX);
    loop {
        if let Some(answer) = ask().await {
            return Ok(answer);
        }
        ensure!(Instant::now() < deadline, "not in {time_max:?}");
        sleep(GLANCE).await;
    }
}
