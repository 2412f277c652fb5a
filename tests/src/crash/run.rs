//! One run: the lives of the process one after the other, then a calm end in which all is drained.

mod trials;

pub use trials::PRIVATE_MOUNTS;

use super::admin;
use super::daemon::{self, Addresses, Daemon, LOG, PATIENCE};
use super::destinations::Destinations;
use super::history::{Disturbance, Endpoint, Endpoints, Replay, Snapshot};
use super::oracle;
use super::plan::{self, End, Plan, Round, Servers, What};
use super::produce::{Producers, Record, Working, now};
use super::report::{Report, errors, segments};
use super::scene;
use anyhow::{Context as _, bail, ensure};
use std::path::PathBuf;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use twinroute_emulator::PostAnswer;
use twinroute_model::clock::Timestamp;

/// How often `/status` is looked at while events flow.
const GLANCE: Duration = Duration::from_millis(40);

/// The longest that everything takes to be settled once nothing is wrong.
const DRAIN_MAX: Duration = Duration::from_secs(60);

/// Posts of each part of the end that are acknowledged.
const LAST_POSTS: u32 = 40;

/// Requests that the Event Grid topic refuses in the end, so that there are dead letters to replay.
const LAST_REFUSALS: usize = 40;

/// Who keeps its dead letters.
const KEPT: Endpoint = Endpoint::Grid;

/// What a run is to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// The program `twinroute`.
    pub program: PathBuf,
    /// An empty folder for configuration, journal and log; left as it is in the end.
    pub folder: PathBuf,
    /// What is posted, when what fails and when the process is killed follows from it.
    pub seed: u64,
    /// How often the process is killed.
    pub kills: u32,
    /// After this long no more kills come, and the end begins.
    pub time_max: Duration,
    /// Whether trials of the disk follow: some seconds each.
    pub with_trials: bool,
}

/// Makes a run and judges it; `tell` gets a line for each kill.
///
/// # Errors
/// The run could not be made. What the process does wrong is no error but a violation in the report.
pub async fn run(options: &Options, mut tell: impl FnMut(&str)) -> anyhow::Result<Report> {
    let started = Instant::now();
    let plan = Plan::new(options.seed, options.kills);
    let destinations = Destinations::start().await?;
    scene::write(&options.folder, options.seed, destinations.definitions())?;
    let record = Record::default();
    let mut stage = Stage {
        options,
        destinations,
        producers: Producers::new(plan.seed, record.clone()),
        record,
        life: 0,
        down_since: None,
        away_since: None,
        recoveries: Vec::new(),
    };
    let mut kills = 0;
    let mut failed = None;
    for round in &plan.rounds {
        if started.elapsed() > options.time_max {
            tell("the time is over; no more kills");
            break;
        }
        match stage.play(round).await {
            Ok(line) => {
                kills += 1;
                tell(&format!("kill {kills}: {line}"));
            }
            Err(error) => {
                failed = Some(format!("life {}: {error:#}", stage.life));
                break;
            }
        }
    }
    if failed.is_none() {
        tell("the end: everything is drained");
        let end = stage.end().await;
        failed = end.err().map(|error| format!("the end: {error:#}"));
    }
    if let Some(failed) = failed {
        stage.record.failed(failed);
    }
    if options.with_trials {
        for wrong in trials::run(options, &mut tell).await {
            stage.record.failed(wrong);
        }
    }
    let mut history = std::mem::take(&mut *stage.record.lock());
    history.deliveries = stage.destinations.deliveries();
    history.letters.extend(stage.destinations.letters());
    let (violations, tally) = oracle::check(&history);
    let log = std::fs::read_to_string(options.folder.join(LOG)).unwrap_or_default();
    Ok(Report {
        seed: options.seed,
        kills,
        tally,
        violations,
        disturbances: history.disturbances.len(),
        replays: history.replays.len(),
        snapshots: history.snapshots.len(),
        segments: segments(&options.folder.join("data")),
        recoveries: stage.recoveries,
        errors: errors(&log),
        took: started.elapsed(),
    })
}

/// Everything that takes part.
struct Stage<'a> {
    options: &'a Options,
    destinations: Destinations,
    producers: Producers,
    record: Record,
    life: u32,
    /// Since when nothing that is ready runs.
    down_since: Option<Timestamp>,
    /// Since when the destinations cannot be reached.
    away_since: Option<Timestamp>,
    recoveries: Vec<Duration>,
}

/// Something to be done at a count of acknowledged posts.
enum Step<'a> {
    Fault(&'a What),
    Replay(plan::Replay),
    Leave,
    Return,
}

impl Stage<'_> {
    /// Plays one life up to its kill; gives a line about it.
    async fn play(&mut self, round: &Round) -> anyhow::Result<String> {
        self.life += 1;
        let mut daemon = Daemon::start(&self.options.program, &self.options.folder)?;
        if let End::Starting { after } = round.end {
            tokio::time::sleep(after).await;
            self.down_since.get_or_insert_with(now);
            ensure!(daemon.ended()?.is_none(), "the process ended by itself");
            daemon.kill()?;
            return Ok(format!("starting, after {after:?}"));
        }
        let addresses = self.ready(&mut daemon).await?;
        let mut working = self.producers.start(addresses.ingress);
        let glances = self.glance(addresses);
        let faults_from = now();
        let played = self.steps(round, addresses, &mut working).await;
        self.down_since = Some(now());
        if let End::Stopping { after, .. } = round.end {
            daemon.ask_to_stop()?;
            tokio::time::sleep(after).await;
        } else {
            ensure!(daemon.ended()?.is_none(), "the process ended by itself");
        }
        daemon.kill()?;
        let acknowledged = self.producers.end(working).await;
        glances.await?;
        self.destinations.calm();
        for fault in &round.faults {
            self.failed(faults_from, &fault.what);
        }
        played?;
        let recovery = self.recoveries.last().copied().unwrap_or_default();
        let mut line = format!(
            "{}, ready after {} ms, {acknowledged} posts acknowledged",
            round.end.word(),
            recovery.as_millis(),
        );
        for fault in &round.faults {
            line.push_str(&format!("; {}", fault.what));
        }
        if let Some(replay) = round.replay {
            line.push_str(&format!("; a replay, {} a second", replay.per_second));
        }
        if self.away_since.is_some() {
            line.push_str("; destinations away");
        }
        Ok(line)
    }

    /// Waits until a life takes events, and looks at what it knows.
    async fn ready(&mut self, daemon: &mut Daemon) -> anyhow::Result<Addresses> {
        let (addresses, recovery) = daemon.ready().await?;
        self.recoveries.push(recovery);
        if let Some(from) = self.down_since.take() {
            self.disturbed(from, true);
        }
        look(&self.record, self.life, addresses).await?;
        Ok(addresses)
    }

    /// Writes down that nothing could arrive since then.
    fn disturbed(&self, from: Timestamp, kill: bool) {
        self.record.lock().disturbances.push(Disturbance {
            from,
            to: now(),
            endpoints: Endpoints::ALL,
            refusals: 0,
            alone: false,
            kill,
        });
    }

    /// Writes down a fault that is over.
    fn failed(&self, from: Timestamp, what: &What) {
        self.record.lock().disturbances.push(Disturbance {
            from,
            to: now(),
            endpoints: what.endpoints(),
            refusals: what.refusals(),
            alone: what.refusals() > 0 || what.may_retry(),
            kill: false,
        });
    }

    /// Looks at `/status` until the process is gone.
    fn glance(&self, addresses: Addresses) -> JoinHandle<()> {
        let (record, life) = (self.record.clone(), self.life);
        tokio::spawn(async move {
            while look(&record, life, addresses).await.is_ok() {
                tokio::time::sleep(GLANCE).await;
            }
        })
    }

    /// Does what the round does before its end, and waits for that.
    async fn steps(
        &mut self,
        round: &Round,
        addresses: Addresses,
        working: &mut Working,
    ) -> anyhow::Result<()> {
        let faults = round.faults.iter();
        let mut steps: Vec<(u32, Step<'_>)> = faults
            .map(|fault| (fault.acknowledged, Step::Fault(&fault.what)))
            .collect();
        if let Some(replay) = round.replay {
            steps.push((replay.acknowledged, Step::Replay(replay)));
        }
        match round.servers {
            Servers::Stay => {}
            Servers::Leave { acknowledged } => steps.push((acknowledged, Step::Leave)),
            Servers::Return { acknowledged } => steps.push((acknowledged, Step::Return)),
        }
        steps.sort_by_key(|(count, _)| *count);
        for (count, step) in steps {
            ensure!(working.reach(count).await, "{count} posts took too long");
            match step {
                Step::Fault(what) => self.destinations.fault(what),
                Step::Replay(replay) => {
                    // There may be enough of them.
                    self.replay(addresses, replay.per_second, u64::MAX).await?;
                }
                Step::Leave => {
                    self.away_since = Some(now());
                    self.destinations.leave().await;
                }
                Step::Return => self.come_back().await?,
            }
        }
        let count = round.end.acknowledged();
        ensure!(working.reach(count).await, "{count} posts took too long");
        Ok(())
    }

    async fn come_back(&mut self) -> anyhow::Result<()> {
        self.destinations.come_back().await?;
        if let Some(from) = self.away_since.take() {
            self.disturbed(from, false);
        }
        Ok(())
    }

    /// Asks for a replay of what is kept; gives its number, or nothing if there are enough.
    async fn replay(
        &self,
        addresses: Addresses,
        per_second: u32,
        most: u64,
    ) -> anyhow::Result<Option<u64>> {
        self.record.lock().replays.push(Replay {
            endpoint: KEPT,
            from: now(),
        });
        admin::replay(addresses.admin, KEPT, per_second, most).await
    }

    /// Nothing is wrong any more: all is drained, some events are refused, half of them are replayed, more
    /// events go through, and a stop and one more start change no count.
    async fn end(&mut self) -> anyhow::Result<()> {
        let Options {
            program, folder, ..
        } = self.options;
        self.come_back().await?;
        self.destinations.calm();
        let mut daemon = self.start()?;
        let addresses = self.ready(&mut daemon).await?;
        self.drained(addresses).await?;

        let (from, refusals) = (
            now(),
            What::Post(PostAnswer::Status(400, None), LAST_REFUSALS),
        );
        self.destinations.fault(&refusals);
        self.last_posts(addresses).await?;
        self.drained(addresses).await?;
        self.destinations.calm();
        self.failed(from, &refusals);

        self.record.lock().calm_from = Some(now());
        self.last_replay(addresses).await?;
        self.last_posts(addresses).await?;
        self.drained(addresses).await?;
        daemon.stop().await?;
        daemon::verify(program, folder)?;
        let mut daemon = self.start()?;
        let addresses = self.ready(&mut daemon).await?;
        let kept = admin::kept(addresses.admin).await?;
        self.record.lock().letters.extend(kept);
        daemon.stop().await
    }

    async fn last_posts(&mut self, addresses: Addresses) -> anyhow::Result<()> {
        let mut working = self.producers.start(addresses.ingress);
        let reached = working.reach(LAST_POSTS).await;
        self.producers.end(working).await;
        ensure!(reached, "{LAST_POSTS} posts took too long");
        Ok(())
    }

    /// Replays half of what is kept, all of which must arrive; the rest stays for the end.
    async fn last_replay(&mut self, addresses: Addresses) -> anyhow::Result<()> {
        let snapshot = look(&self.record, self.life, addresses).await?;
        let most = snapshot.ledgers[KEPT as usize].dead_letters.local / 2;
        ensure!(most > 0, "nothing is kept that could be replayed");
        let number = self.replay(addresses, 2_000, most).await?;
        let number = number.context("the replay was not begun")?;
        self.drained(addresses).await?;
        let replays = admin::replays(addresses.admin).await?;
        let replay = replays.iter().find(|replay| replay.number == number);
        let replay = replay.context("the replay is not listed")?;
        let all = replay.state == "done" && (replay.replayed, replay.delivered) == (most, most);
        ensure!(all, "not {most} were replayed and arrived: {replay:?}");
        Ok(())
    }

    fn start(&mut self) -> anyhow::Result<Daemon> {
        self.life += 1;
        Daemon::start(&self.options.program, &self.options.folder)
    }

    /// Waits until nothing is pending and no replay goes on.
    async fn drained(&self, addresses: Addresses) -> anyhow::Result<()> {
        let deadline = Instant::now() + DRAIN_MAX;
        loop {
            let snapshot = look(&self.record, self.life, addresses).await?;
            let replays = admin::replays(addresses.admin).await?;
            let settled = snapshot.ledgers.iter().all(|ledger| ledger.pending() == 0);
            if settled && !replays.iter().any(admin::Replay::goes_on) {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!(
                    "not drained in {DRAIN_MAX:?}: {:?} {replays:?}",
                    snapshot.ledgers
                );
            }
            tokio::time::sleep(GLANCE).await;
        }
    }
}

/// Takes a snapshot.
async fn look(record: &Record, life: u32, addresses: Addresses) -> anyhow::Result<Snapshot> {
    let asked_at = now();
    let reported = tokio::time::timeout(PATIENCE, admin::ledgers(addresses.admin)).await;
    let ledgers = reported.context("/status does not answer in time")??;
    let snapshot = Snapshot {
        life,
        asked_at,
        answered_at: now(),
        ledgers,
    };
    record.lock().snapshots.push(snapshot);
    Ok(snapshot)
}
