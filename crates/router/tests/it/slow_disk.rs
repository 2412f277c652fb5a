//! A disk whose writes are held up until they are let go.

use super::ScriptedSink;
use std::any::Any;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};
use twinroute_journal::sim::SimulatedDisk;
use twinroute_journal::storage::Storage;
use twinroute_journal::{DiskJournal, JournalSettings};
use twinroute_model::clock::SystemClock;
use twinroute_router::{Router, RouterBuilder};

#[derive(Clone, Default)]
pub(crate) struct SlowDisk {
    pub(crate) sim: SimulatedDisk,
    held: Arc<(Mutex<bool>, Condvar)>,
    /// Groups that are on disk, with what the manifest says behind each.
    groups: Arc<AtomicUsize>,
    /// Whether a group was synced, and the manifest does not say so yet.
    is_behind: Arc<AtomicBool>,
}

/// Groups that a journal writes by itself: one at its opening, one for the router's lane.
const GROUPS_AT_START: usize = 2;

impl SlowDisk {
    pub(crate) fn hold(&self, held: bool) {
        // What is held is then the next group with events, and nothing before.
        let latest = Instant::now() + Duration::from_secs(30);
        while self.groups.load(Ordering::Acquire) < GROUPS_AT_START {
            assert!(Instant::now() < latest, "the journal does not begin");
            std::thread::yield_now();
        }
        *self.held.0.lock().unwrap() = held;
        self.held.1.notify_all();
    }

    pub(crate) fn router(&self, sink: &ScriptedSink) -> RouterBuilder {
        let settings = JournalSettings {
            segment_bytes: 64 << 10,
            commit_window: Duration::ZERO,
            retry_delay: Duration::ZERO,
            ..JournalSettings::default()
        };
        let storage = Arc::new(self.clone());
        let (disk, recovered) =
            DiskJournal::open(settings, storage, Arc::new(SystemClock)).unwrap();
        Router::builder()
            .journal_on_disk(disk, recovered)
            .sink("only", sink.clone())
            .route("all", "only", "true")
    }
}

fn is_segment(name: &str) -> bool {
    name.ends_with(".seg")
}

impl Storage for SlowDisk {
    fn write_at(&self, name: &str, bytes: &[u8], offset: u64) -> io::Result<()> {
        let held = self.held.0.lock().unwrap();
        drop(self.held.1.wait_while(held, |held| *held).unwrap());
        self.sim.write_at(name, bytes, offset)?;
        if !is_segment(name) && self.is_behind.swap(false, Ordering::AcqRel) {
            self.groups.fetch_add(1, Ordering::Release);
        }
        Ok(())
    }

    fn lock(&self) -> io::Result<Box<dyn Any + Send + Sync>> {
        self.sim.lock()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.sim.list()
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<()> {
        self.sim.create(name, bytes)
    }

    fn read_at(&self, name: &str, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.sim.read_at(name, bytes, offset)
    }

    fn len(&self, name: &str) -> io::Result<u64> {
        self.sim.len(name)
    }

    fn sync_data(&self, name: &str) -> io::Result<()> {
        self.sim.sync_data(name)?;
        if is_segment(name) {
            self.is_behind.store(true, Ordering::Release);
        }
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.sim.sync_dir()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.sim.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.sim.remove(name)
    }

    fn describe(&self) -> String {
        self.sim.describe()
    }
}
