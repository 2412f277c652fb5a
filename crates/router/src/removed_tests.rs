//! Endpoints that are removed, and a restart within their grace time or behind it.

use super::dead_letter_tests::MemoryStore;
use super::reload_tests::definitions;
use super::tests::{ScriptedSink, endpoint_status, event};
use super::*;
use crate::LastDefinitions;
use crate::sink::{Connect, ConnectError, DeadLetterStore, FaultKind, Sink};
use crate::table::source::Settings;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use tempfile::TempDir;
use twinroute_journal::sim::SimulatedDisk;
use twinroute_model::clock::{Clock as _, ManualClock, Timestamp};
use twinroute_model::endpoint::{Endpoint, EndpointDestination};
use twinroute_model::seal::{KEY_BYTES, SealKey};
use twinroute_model::secret::Secret;
use twinroute_model::settings::EndpointSettings;

const GRACE: Duration = Duration::from_secs(300);
const ROUTE: [(&str, &str, &str); 1] = [("all", "hub-1", "true")];
const MARK: &str = "bWFya2VkLWtleQ";

/// Makes sinks and stores, and remembers of what.
#[derive(Clone, Default)]
struct RecordingConnect {
    sink: ScriptedSink,
    shelf: MemoryStore,
    of: Arc<Mutex<Vec<(Endpoint, EndpointSettings)>>>,
}

impl Connect for RecordingConnect {
    fn connect(
        &self,
        endpoint: &Endpoint,
        settings: &EndpointSettings,
    ) -> Result<Arc<dyn Sink>, ConnectError> {
        let made = (endpoint.clone(), settings.clone());
        self.of.lock().unwrap().push(made);
        Ok(Arc::new(self.sink.clone()))
    }

    fn dead_letters(
        &self,
        _endpoint: &Endpoint,
    ) -> Result<Option<Arc<dyn DeadLetterStore>>, ConnectError> {
        Ok(Some(Arc::new(self.shelf.clone())))
    }
}

/// What outlives a process.
struct TestMachine {
    sim: SimulatedDisk,
    folder: TempDir,
    clock: ManualClock,
    key: u8,
}

impl TestMachine {
    fn new() -> Self {
        Self {
            sim: SimulatedDisk::default(),
            folder: tempfile::tempdir().unwrap(),
            clock: ManualClock::new(Timestamp::from_unix_millis(1_774_000_000_000)),
            key: 1,
        }
    }

    fn file(&self) -> LastDefinitions {
        LastDefinitions {
            path: self.folder.path().join("last-definitions"),
            key: SealKey::new(&[self.key; KEY_BYTES]),
        }
    }

    fn start(&self, made: &RecordingConnect, definitions: Definitions) -> Router {
        let settings = twinroute_journal::JournalSettings {
            segment_bytes: 64 << 10,
            commit_window: Duration::ZERO,
            retry_delay: Duration::from_secs(3_600),
            ..twinroute_journal::JournalSettings::default()
        };
        let storage = Arc::new(self.sim.clone());
        let (disk, recovered) =
            DiskJournal::open(settings, storage, Arc::new(self.clock.clone())).unwrap();
        Router::builder()
            .clock(self.clock.clone())
            .connect(made.clone())
            .journal_on_disk(disk, recovered)
            .last_definitions(self.file())
            .removed_grace(GRACE)
            .definitions(definitions)
            .build()
            .unwrap()
    }

    /// A process in which `hub-1` has three events and is then removed.
    async fn removed_with_a_queue(&self) {
        let made = RecordingConnect::default();
        made.sink.set_down(true);
        let router = self.start(&made, defined());
        accept(&router, 0..3).await;
        router.apply(&absent()).unwrap();
        router.stop(Duration::ZERO).await;
    }

    fn bytes(&self) -> Vec<u8> {
        fs::read(self.file().path).unwrap()
    }

    fn aside(&self, number: u8) -> Vec<u8> {
        let path = self.folder.path();
        fs::read(path.join(format!("last-definitions.unreadable-{number}"))).unwrap()
    }
}

fn defined() -> Definitions {
    let mut definitions = definitions(&["hub-1"], &ROUTE);
    let EndpointDestination::EventGrid(topic) =
        &mut definitions.instances[0].endpoints[0].destination
    else {
        panic!("a topic");
    };
    topic.access_key1 = Secret::new(MARK);
    let settings = EndpointSettings::default().with(|own| own.attempts_max = 7);
    let settings = [("hub-1".to_owned(), settings)];
    definitions.settings = Settings::new(settings);
    definitions
}

fn absent() -> Definitions {
    definitions(&[], &[])
}

async fn accept(router: &Router, ids: std::ops::Range<usize>) {
    for id in ids {
        let events = vec![event(id, "a")];
        router
            .accept(None, events, AckLevel::Durable)
            .await
            .unwrap();
    }
}

/// Waits until the router shows that.
async fn until(router: &Router, is_so: impl Fn(&Router) -> bool) {
    let waiting = async {
        while !is_so(router) {
            tokio::task::yield_now().await;
        }
    };
    timeout_at(Instant::now() + Duration::from_secs(30), waiting)
        .await
        .unwrap();
}

fn holds(path: &Path, text: &str) -> bool {
    let bytes = fs::read(path).unwrap();
    bytes
        .windows(text.len())
        .any(|part| part == text.as_bytes())
}

#[tokio::test]
async fn within_the_grace_time_it_is_delivered_by_its_last_definition() {
    let machine = TestMachine::new();
    machine.removed_with_a_queue().await;
    let file = machine.file().path;
    for text in [MARK, "hub-1", "api/events"] {
        assert!(!holds(&file, text), "{text} is to be read in the file");
    }
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);

    machine.clock.advance(GRACE - Duration::from_secs(1));
    let made = RecordingConnect::default();
    made.sink.set_down(true);
    let router = machine.start(&made, absent());
    let status = endpoint_status(&router, "hub-1");
    assert_eq!(
        (
            status.endpoint_type.as_str(),
            status.queued + status.in_flight
        ),
        ("EventGrid", 3)
    );
    made.sink.set_down(false);
    router.endpoint(None, "hub-1").unwrap().retry_now();
    until(&router, |router| {
        endpoint_status(router, "hub-1").delivered == 3
    })
    .await;
    assert_eq!(endpoint_status(&router, "hub-1").state, "removed");
    assert_eq!(made.sink.ids(), ["0", "1", "2"]);
    let of = made.of.lock().unwrap().clone();
    let before = defined();
    assert_eq!(of.len(), 1);
    assert_eq!(of[0].0, before.instances[0].endpoints[0]);
    assert_eq!(of[0].1.attempts_max, 7);
    assert!(router.status().table.warnings.is_empty());
}

#[tokio::test]
async fn behind_the_grace_time_it_goes_to_its_own_store_and_is_not_sent() {
    let machine = TestMachine::new();
    machine.removed_with_a_queue().await;
    machine.clock.advance(GRACE);
    let made = RecordingConnect::default();
    let router = machine.start(&made, absent());
    until(&router, |_| made.shelf.ids().len() == 3).await;
    assert!(made.sink.ids().is_empty());
    let status = endpoint_status(&router, "hub-1");
    assert_eq!((status.delivered, status.dead_letters.uploaded), (0, 3));
}

#[tokio::test]
async fn restarts_do_not_make_the_grace_time_longer() {
    let machine = TestMachine::new();
    machine.removed_with_a_queue().await;
    for _ in 0..3 {
        machine.clock.advance(GRACE / 3);
        let made = RecordingConnect::default();
        made.sink.set_down(true);
        let router = machine.start(&made, absent());
        if machine.clock.now().unix_millis() < 1_774_000_300_000 {
            assert!(made.shelf.ids().is_empty());
        } else {
            until(&router, |_| made.shelf.ids().len() == 3).await;
        }
        router.stop(Duration::ZERO).await;
    }
}

/// Over a boot nobody can tell how long it was, so what is left of the grace time stays.
#[tokio::test]
async fn ttl_clock_a_clock_that_is_set_changes_no_grace_time() {
    const DAYS: Duration = Duration::from_secs(14 * 24 * 60 * 60);
    for (reboots, set_to) in [(false, 0), (true, 0), (true, 1_900_000_000_000)] {
        let machine = TestMachine::new();
        machine.removed_with_a_queue().await;
        if reboots {
            machine.clock.reboot();
        }
        machine.clock.set(Timestamp::from_unix_millis(set_to));
        machine.clock.set(machine.clock.now().after(DAYS));
        let made = RecordingConnect::default();
        made.sink.set_down(true);
        let router = machine.start(&made, absent());
        let status = endpoint_status(&router, "hub-1");
        assert_eq!(
            (status.queued, status.dead_letters.all()),
            (3, 0),
            "{status:?}"
        );
        router.stop(Duration::ZERO).await;
        let made = RecordingConnect::default();
        let router = machine.start(&made, absent());
        until(&router, |_| made.sink.ids().len() == 3).await;
    }
}

#[tokio::test]
async fn one_that_is_removed_while_nothing_runs_has_the_grace_time_from_the_next_start() {
    let machine = TestMachine::new();
    let made = RecordingConnect::default();
    made.sink.set_down(true);
    let router = machine.start(&made, defined());
    accept(&router, 0..3).await;
    router.stop(Duration::ZERO).await;
    machine.clock.advance(GRACE * 10);
    let router = machine.start(&made, absent());
    let status = endpoint_status(&router, "hub-1");
    assert_eq!(
        (status.endpoint_type.as_str(), status.dead_letters.all()),
        ("EventGrid", 0)
    );
    router.stop(Duration::ZERO).await;
    // That start counts, not this one.
    machine.clock.advance(GRACE);
    let router = machine.start(&made, absent());
    until(&router, |_| made.shelf.ids().len() == 3).await;
    router.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn defined_again_it_takes_its_queue_and_has_a_grace_time_of_its_own_later() {
    let machine = TestMachine::new();
    machine.removed_with_a_queue().await;
    machine.clock.advance(GRACE * 2);
    let made = RecordingConnect::default();
    made.sink.set_down(true);
    let router = machine.start(&made, defined());
    let status = endpoint_status(&router, "hub-1");
    assert_eq!((status.matched, status.dead_letters.all()), (3, 0));
    router.apply(&absent()).unwrap();
    router.stop(Duration::ZERO).await;
    machine.clock.advance(GRACE / 2);
    // Removed and defined again across the restart, within the run.
    let made = RecordingConnect::default();
    made.sink.set_down(true);
    let router = machine.start(&made, absent());
    router.apply(&defined()).unwrap();
    made.sink.set_down(false);
    router.endpoint(None, "hub-1").unwrap().retry_now();
    router.settled().await;
    let status = endpoint_status(&router, "hub-1");
    assert_eq!((status.state.as_str(), status.delivered), ("healthy", 3));
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_set_aside_and_stops_nothing() {
    for damage in ["another key", "a flipped bit", "half of it", "nothing"] {
        let mut machine = TestMachine::new();
        machine.removed_with_a_queue().await;
        let good = machine.bytes();
        let mut bad = good.clone();
        match damage {
            "another key" => machine.key = 2,
            "a flipped bit" => bad[20] ^= 1,
            "half of it" => bad.truncate(good.len() / 2),
            _ => bad.clear(),
        }
        fs::write(machine.file().path, &bad).unwrap();
        let made = RecordingConnect::default();
        let router = machine.start(&made, absent());
        let status = endpoint_status(&router, "hub-1");
        let seen = (status.state.as_str(), status.queued);
        assert_eq!(seen, ("undefined", 3), "{damage}");
        let warnings = router.status().table.warnings.join("\n");
        assert!(warnings.contains("unreadable-1"), "{damage}: {warnings}");
        assert!(!warnings.contains(MARK));
        assert_eq!(machine.aside(1), bad, "{damage}");
        // What is defined from here on is kept, in a file of its own.
        router.apply(&defined()).unwrap();
        router.stop(Duration::ZERO).await;
        let last = crate::table::last_definitions::LastEndpoints::open(machine.file());
        assert_eq!(last.problems(), [""; 0], "{damage}");
        // A second one does not take the place of the first.
        fs::write(machine.file().path, "other").unwrap();
        let router = machine.start(&made, absent());
        router.stop(Duration::ZERO).await;
        assert_eq!(
            (machine.aside(1), machine.aside(2)),
            (bad, b"other".to_vec())
        );
    }
}

#[tokio::test]
async fn with_the_right_key_and_the_file_back_it_is_delivered() {
    let mut machine = TestMachine::new();
    machine.removed_with_a_queue().await;
    machine.key = 2;
    let made = RecordingConnect::default();
    let router = machine.start(&made, absent());
    router.stop(Duration::ZERO).await;
    machine.key = 1;
    fs::write(machine.file().path, machine.aside(1)).unwrap();
    let router = machine.start(&made, absent());
    until(&router, |_| made.sink.ids().len() == 3).await;
    router.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn it_is_written_when_definitions_change_and_forgotten_when_nothing_waits() {
    let machine = TestMachine::new();
    let made = RecordingConnect::default();
    let router = machine.start(&made, defined());
    let first = machine.bytes();
    // Other routes are no other definitions, and sealing the same twice would look different.
    router
        .apply(&{
            let mut other = defined();
            other.instances[0].routes.clear();
            other
        })
        .unwrap();
    assert_eq!(machine.bytes(), first);
    let mut other = defined();
    other.instances[0].endpoints[0].provisioning_state =
        Some(twinroute_model::endpoint::ProvisioningState::Failed);
    router.apply(&other).unwrap();
    let second = machine.bytes();
    assert_ne!(second, first);
    router.stop(Duration::ZERO).await;
    let router = machine.start(&made, other);
    assert_eq!(machine.bytes(), second, "a start alone changes nothing");

    // Removed, its definition stays until its lane is over: for what may still be on its way there.
    router.apply(&absent()).unwrap();
    assert_eq!(kept(&machine), 1);
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(6)).await;
    tokio::time::resume();
    until(&router, |_| kept(&machine) == 0).await;
}

/// Endpoints in the file.
fn kept(machine: &TestMachine) -> usize {
    let key = (
        InstanceName::new("default").unwrap(),
        EndpointName::new("hub-1").unwrap(),
    );
    let last = crate::table::last_definitions::LastEndpoints::open(machine.file());
    usize::from(last.get(&key).is_some())
}

#[tokio::test]
async fn a_file_that_cannot_be_written_stops_nothing_and_is_written_later() {
    let machine = TestMachine::new();
    let made = RecordingConnect::default();
    made.sink.set_down_as(Some(FaultKind::Unreachable));
    // A folder stands where the draft would be written.
    let draft = machine.folder.path().join("last-definitions.new");
    fs::create_dir(&draft).unwrap();
    let router = machine.start(&made, defined());
    accept(&router, 0..1).await;
    let warnings = router.status().table.warnings.join("\n");
    assert!(warnings.contains("cannot be written"), "{warnings}");
    assert!(!machine.file().path.exists());
    fs::remove_dir(&draft).unwrap();
    router.apply(&defined()).unwrap();
    assert_eq!(router.status().table.warnings, [""; 0]);
    assert_eq!(kept(&machine), 1);
    router.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn another_key_takes_over_and_may_be_asked_again() {
    let mut machine = TestMachine::new();
    let new = SealKey::new(&[2; KEY_BYTES]);
    assert!(!machine.file().reseal(&new).unwrap());
    machine.removed_with_a_queue().await;
    for _ in 0..2 {
        assert!(machine.file().reseal(&new).unwrap());
    }
    machine.key = 2;
    assert_eq!(kept(&machine), 1);
    // What opens with neither is left alone.
    let (good, third) = (machine.bytes(), SealKey::new(&[3; KEY_BYTES]));
    machine.key = 4;
    assert!(!machine.file().reseal(&third).unwrap());
    assert_eq!(machine.bytes(), good);
}
