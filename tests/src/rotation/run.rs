//! One run: keys change while events are posted; in the end all is drained and judged.

use super::destinations::Destinations;
use super::judge::{self, Report};
use super::load::Load;
use super::watch::{self, Endpoint};
use crate::crash::daemon::{Daemon, LOG};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};
use twinroute_emulator::KeySlot;

/// Events that are acknowledged between two steps.
const EVENTS_BETWEEN: u64 = 60;

/// Every third rotation is rude.
const RUDE_EVERY: u32 = 3;

/// Pause of a producer in a long run: the disk of a small machine keeps up.
const PAUSE: Duration = Duration::from_millis(5);

/// What a run is to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// The program `twinroute`.
    pub program: PathBuf,
    /// An empty folder for configuration, journal and log; left as it is in the end.
    pub folder: PathBuf,
    /// When it ends.
    pub until: Until,
}

/// When a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// After so many rotations, one upon the other.
    Rotations(u32),
    /// After this time, with a rotation at each interval.
    Elapsed {
        /// So long.
        time: Duration,
        /// From one rotation to the next.
        every: Duration,
    },
}

impl Until {
    fn pause(self) -> Duration {
        match self {
            Self::Rotations(_) => Duration::ZERO,
            Self::Elapsed { .. } => PAUSE,
        }
    }

    /// When the `number`-th rotation begins; nothing when there is none.
    fn begin(self, number: u32, started: Instant) -> Option<Instant> {
        match self {
            Self::Rotations(count) => (number < count).then_some(started),
            Self::Elapsed { time, every } => {
                let at = every * (number + 1);
                (at < time).then_some(started + at)
            }
        }
    }
}

/// Makes a run and judges it; `tell` gets a line for each rotation.
///
/// # Errors
/// The run could not be made, or the process did not follow within half a minute.
pub async fn run(options: &Options, mut tell: impl FnMut(&str)) -> anyhow::Result<Report> {
    let started = Instant::now();
    let destinations = Destinations::start(&options.folder).await?;
    let mut daemon = Daemon::start(&options.program, &options.folder)?;
    let (addresses, _) = daemon.ready().await?;
    let mut stage = Stage {
        destinations,
        load: Load::start(addresses.ingress, options.until.pause()),
        admin: addresses.admin,
        recovery_max: Duration::ZERO,
    };
    let (mut polite, mut rude) = (0, 0);
    while let Some(begin) = options.until.begin(polite + rude, started) {
        sleep_until(begin).await;
        let number = polite + rude + 1;
        let line = if number % RUDE_EVERY == 0 {
            rude += 1;
            stage.rude().await?
        } else {
            polite += 1;
            stage.polite().await?
        };
        tell(&format!(
            "{:>5.1} s  rotation {number}: {line}",
            started.elapsed().as_secs_f64()
        ));
    }
    if let Until::Elapsed { time, .. } = options.until {
        sleep_until(started + time).await;
    }
    let Stage {
        destinations,
        load,
        admin,
        recovery_max,
    } = stage;
    let events = load.end().await?;
    let drained = |endpoint: &Endpoint| endpoint.pending() == 0;
    watch::until(admin, "all is delivered", |status| status.all(drained)).await?;
    let mut violations = Vec::new();
    judge::ledger(&watch::status(admin).await?, events, &mut violations);
    daemon.stop().await?;
    let duplicates = judge::arrivals(&destinations.arrived(), events, &mut violations);
    let log = std::fs::read_to_string(options.folder.join(LOG)).unwrap_or_default();
    judge::log(&log, destinations.keys(), &mut violations);
    Ok(Report {
        events,
        polite,
        rude,
        duplicates,
        recovery_max,
        violations,
        took: started.elapsed(),
    })
}

/// Everything that takes part.
struct Stage {
    destinations: Destinations,
    load: Load,
    admin: SocketAddr,
    recovery_max: Duration,
}

impl Stage {
    /// The key that is not used is regenerated and put into the definitions, then the other one.
    async fn polite(&mut self) -> anyhow::Result<String> {
        self.destinations.regenerate(KeySlot::Secondary);
        self.define().await?;
        self.load.more(EVENTS_BETWEEN).await?;
        self.destinations.regenerate(KeySlot::Primary);
        let on_second = |one: &Endpoint| one.is_healthy() && one.uses("secondary");
        let failed_over = watch::until(self.admin, "the second key is used", |status| {
            status.all(on_second)
        })
        .await?;
        self.load.more(EVENTS_BETWEEN).await?;
        let took = self.define().await?;
        self.load.more(EVENTS_BETWEEN).await?;
        Ok(format!(
            "polite; all on the second key after {} ms, on the new first one after {} ms; {} events",
            failed_over.as_millis(),
            took.as_millis(),
            self.load.count()
        ))
    }

    /// Both keys are regenerated, and the definitions follow when every endpoint has found out.
    async fn rude(&mut self) -> anyhow::Result<String> {
        self.destinations.regenerate(KeySlot::Primary);
        self.destinations.regenerate(KeySlot::Secondary);
        let refused = watch::until(self.admin, "all are unauthorized", |status| {
            status.all(Endpoint::is_refused)
        })
        .await?;
        self.load.more(EVENTS_BETWEEN).await?;
        let status = watch::status(self.admin).await?;
        let waiting = status.endpoints().iter().map(Endpoint::pending).min();
        let took = self.define().await?;
        self.load.more(EVENTS_BETWEEN).await?;
        Ok(format!(
            "rude; all unauthorized after {} ms, with at least {} events waiting, well after {} ms; {} events",
            refused.as_millis(),
            waiting.unwrap_or_default(),
            took.as_millis(),
            self.load.count()
        ))
    }

    /// Puts the keys into the definitions, and waits until all endpoints have taken events with the first one.
    async fn define(&mut self) -> anyhow::Result<Duration> {
        let before = watch::status(self.admin).await?.generation();
        let started = Instant::now();
        self.destinations.define()?;
        watch::until(self.admin, "the definitions are read", |status| {
            status.generation() > before
        })
        .await?;
        let then = watch::status(self.admin).await?;
        let went_on = |one: &Endpoint| {
            let mut then = then.endpoints().iter();
            let then = then.find(|then| then.name == one.name);
            then.is_some_and(|then| one.delivered > then.delivered)
        };
        watch::until(self.admin, "events go out with the new key", |status| {
            status.all(|one| one.is_healthy() && one.uses("primary") && went_on(one))
        })
        .await?;
        let took = started.elapsed();
        self.recovery_max = self.recovery_max.max(took);
        Ok(took)
    }
}
