//! Ages over restarts: no clock that was set in between makes an event old, or young.

use super::tests::{ScriptedSink, endpoint_status, event};
use super::*;
use crate::sink::{DeliveryOutcome, FailureReason};
use twinroute_journal::JournalSettings;
use twinroute_journal::sim::{PowerLossRemains, SimulatedDisk};
use twinroute_model::clock::{ManualClock, Timestamp};
use twinroute_model::dead_letter::DeadLetterReason;
use twinroute_model::settings::EndpointSettings;

const HOUR: Duration = Duration::from_secs(60 * 60);

/// 2023-11-14; a board without a battery begins somewhere else.
const START: Timestamp = Timestamp::from_unix_millis(1_700_000_000_000);

struct TtlMachine {
    sim: SimulatedDisk,
    clock: ManualClock,
    settings: EndpointSettings,
}

impl TtlMachine {
    fn new() -> Self {
        Self {
            sim: SimulatedDisk::default(),
            clock: ManualClock::new(START),
            settings: EndpointSettings::default(),
        }
    }

    fn router(&self, sink: &ScriptedSink) -> Router {
        let settings = JournalSettings {
            segment_bytes: 64 << 10,
            commit_window: Duration::ZERO,
            ..JournalSettings::default()
        };
        let clock = Arc::new(self.clock.clone());
        let (disk, recovered) =
            DiskJournal::open(settings, Arc::new(self.sim.clone()), clock).unwrap();
        Router::builder()
            .clock(self.clock.clone())
            .journal_on_disk(disk, recovered)
            .sink_with("only", sink.clone(), self.settings.clone())
            .route("all", "only", "type = 'Microsoft.DigitalTwins.Twin.Update'")
            .build()
            .unwrap()
    }

    /// A router that was started just now, and how old it takes the oldest event for: no time passes in between.
    fn restarted(&self, sink: &ScriptedSink) -> (Router, Duration) {
        tokio::time::pause();
        let router = self.router(sink);
        let age = endpoint_status(&router, "only").oldest_age_ms;
        tokio::time::resume();
        (router, Duration::from_millis(age))
    }

    /// Accepts two events that stay, and is killed: what is given is what it leaves.
    async fn killed_with_two(&self, sink: &ScriptedSink) -> Self {
        let router = self.router(sink);
        for id in 0..2 {
            let accepted = router.accept(None, vec![event(id, "a")], AckLevel::Durable);
            accepted.await.unwrap();
        }
        if !sink.is_down() && !sink.is_gated() {
            while endpoint_status(&router, "only").retrying == 0 {
                tokio::task::yield_now().await;
            }
        }
        router.parts.disk().unwrap().flush().await.unwrap();
        self.forked()
    }

    /// The same after a loss of power.
    fn forked(&self) -> Self {
        let sim = self.sim.fork();
        sim.power_off();
        sim.power_on(PowerLossRemains::All);
        Self {
            sim,
            clock: self.clock.clone(),
            settings: self.settings.clone(),
        }
    }
}

/// Waits until all is settled; an endpoint that takes nothing takes it once the lane has found that out.
async fn settled_when_up(router: &Router, sink: &ScriptedSink) {
    while sink.is_down() && endpoint_status(router, "only").state == "healthy" {
        tokio::task::yield_now().await;
    }
    tokio::time::pause();
    // A back-off begins, and what is too old would go by the end of it.
    tokio::time::sleep(Duration::from_millis(10)).await;
    sink.set_down(false);
    router.settled().await;
    tokio::time::resume();
}

fn failing() -> ScriptedSink {
    let sink = ScriptedSink::default();
    let retry = || DeliveryOutcome::Retry {
        after: None,
        reason: FailureReason::new("busy", ""),
    };
    sink.answer([retry(), retry(), retry()]);
    sink
}

/// The clock was 14 days behind when the events came, or ahead; the machine was booted since, or not.
#[tokio::test]
async fn ttl_clock_that_is_set_over_a_restart_expires_nothing() {
    for ahead in [false, true] {
        for reboots in [false, true] {
            let down = ScriptedSink::default();
            down.set_down(true);
            let machine = TtlMachine::new().killed_with_two(&down).await;
            if reboots {
                machine.clock.reboot();
            }
            let days = 14 * 24 * HOUR;
            let set = match ahead {
                true => START.after(days),
                false => Timestamp::from_unix_millis(START.unix_millis() - 1_209_600_000),
            };
            machine.clock.set(set);
            let sink = ScriptedSink::default();
            sink.set_down(true);
            let (router, age) = machine.restarted(&sink);
            assert_eq!(age, Duration::ZERO);
            settled_when_up(&router, &sink).await;
            let status = endpoint_status(&router, "only");
            assert_eq!(
                (status.delivered, status.dead_letters.all()),
                (2, 0),
                "{status:?}"
            );
        }
    }
}

/// Time in which no process ran counts where nobody can doubt it, and what was never tried is tried once all
/// the same.
#[tokio::test]
async fn ttl_clock_what_was_never_tried_is_tried_once() {
    let down = ScriptedSink::default();
    down.set_down(true);
    // Unavailable until the end, or healthy with the first attempt under way: then no time stood still.
    for before in [down, ScriptedSink::gated()] {
        let machine = TtlMachine::new().killed_with_two(&before).await;
        machine.clock.advance(25 * HOUR);
        for is_down in [false, true] {
            let sink = ScriptedSink::default();
            sink.set_down(is_down);
            let (router, age) = machine.forked().restarted(&sink);
            assert_eq!(age, 25 * HOUR);
            settled_when_up(&router, &sink).await;
            let status = endpoint_status(&router, "only");
            let ended = (status.delivered, status.dead_letters.all());
            assert_eq!(ended, (2, 0), "{is_down}: {status:?}");
        }
    }
}

/// What was tried and has lived for so long ends, over a restart too.
#[tokio::test]
async fn ttl_clock_what_was_tried_expires_after_true_time_alone() {
    for (true_time, expires) in [(23 * HOUR, false), (25 * HOUR, true)] {
        let mut machine = TtlMachine::new();
        machine.settings.retry_schedule = vec![Duration::from_secs(1)];
        let machine = machine.killed_with_two(&failing()).await;
        machine.clock.advance(true_time);
        machine.clock.set(START);
        let sink = ScriptedSink::default();
        let router = machine.router(&sink);
        router.settled().await;
        let status = endpoint_status(&router, "only");
        let expired = status
            .dead_letters
            .by_reason
            .contains_key(&DeadLetterReason::Expired);
        assert_eq!(expired, expires, "{status:?}");
    }
}

/// A clock that is set back makes nobody wait longer than one step of the schedule.
#[tokio::test]
async fn ttl_clock_set_back_puts_no_attempt_off() {
    let mut machine = TtlMachine::new();
    machine.settings.retry_schedule = vec![Duration::from_secs(10)];
    let machine = machine.killed_with_two(&failing()).await;
    machine.clock.set(Timestamp::from_unix_millis(0));
    let sink = ScriptedSink::default();
    let router = machine.router(&sink);
    tokio::time::pause();
    let begun = Instant::now();
    router.settled().await;
    assert_eq!(sink.ids().len(), 2);
    // Retry-After may have asked for more than the step, which is not recorded.
    let most = machine.settings.retry_after_max + Duration::from_secs(1);
    assert!(begun.elapsed() <= most, "{:?}", begun.elapsed());
}
