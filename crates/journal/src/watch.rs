//! Watches how long the disk takes: a histogram of syncs, and a sync that does not end.
//!
//! The writer waits in the call, so somebody else has to say that it does: a thread that checks now and
//! then, for as long as the journal is open.

use super::storage::Storage;
use std::any::Any;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// Upper bounds of the buckets of the histogram, in microseconds.
const BOUNDS_US: [u64; 14] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000,
    5_000_000, 30_000_000,
];

/// The thread checks at least this often.
const POLL_INTERVAL_MAX: Duration = Duration::from_secs(1);

/// A call that goes on is logged again this often.
const REMIND_EVERY: Duration = Duration::from_secs(60);

/// How long syncs of the journal took since it was opened.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SyncTimes {
    /// Upper bounds in seconds, growing, with how many syncs took no longer than that.
    pub buckets: Vec<(f64, u64)>,
    /// How many there were.
    pub count: u64,
    /// How long all of them took, in seconds.
    pub sum_s: f64,
    /// How long the call that goes on has taken by now, in seconds; 0 where none does.
    pub running_s: f64,
}

/// A call that goes on.
#[derive(Clone, Copy, Debug)]
struct RunningCall {
    step: &'static str,
    since: Instant,
}

/// What is known of the disk.
pub(super) struct DiskWatch {
    overdue_after: Duration,
    running: Mutex<Option<RunningCall>>,
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

impl DiskWatch {
    /// A call is overdue when it has taken so long.
    pub(super) fn new(overdue_after: Duration) -> Arc<Self> {
        Arc::new(Self {
            overdue_after,
            running: Mutex::default(),
            buckets: std::array::from_fn(|_| AtomicU64::new(0)),
            sum_us: AtomicU64::new(0),
        })
    }

    /// The same storage, whose changing calls are watched. For one thread at a time.
    pub(super) fn watched(self: &Arc<Self>, storage: &Arc<dyn Storage>) -> Arc<dyn Storage> {
        Arc::new(WatchedStorage {
            inner: Arc::clone(storage),
            watch: Arc::clone(self),
        })
    }

    fn running(&self) -> MutexGuard<'_, Option<RunningCall>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn timed<T>(&self, step: &'static str, call: impl FnOnce() -> T) -> (T, Duration) {
        let since = Instant::now();
        *self.running() = Some(RunningCall { step, since });
        let done = call();
        *self.running() = None;
        (done, since.elapsed())
    }

    fn count_sync(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US.partition_point(|bound| *bound < micros);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(micros, Ordering::Relaxed);
    }

    /// What goes on for too long, and how long by now.
    pub(super) fn overdue(&self) -> Option<(&'static str, Duration)> {
        let running = (*self.running())?;
        let elapsed = running.since.elapsed();
        (elapsed >= self.overdue_after).then_some((running.step, elapsed))
    }

    /// A snapshot.
    pub(super) fn times(&self) -> SyncTimes {
        let counts = self
            .buckets
            .each_ref()
            .map(|count| count.load(Ordering::Relaxed));
        let mut sum = 0;
        let bounds = BOUNDS_US.iter().map(|bound| *bound as f64 / 1e6);
        let buckets = bounds.zip(counts).map(|(bound, count)| {
            sum += count;
            (bound, sum)
        });
        let running = *self.running();
        SyncTimes {
            buckets: buckets.collect(),
            count: counts.iter().sum(),
            sum_s: self.sum_us.load(Ordering::Relaxed) as f64 / 1e6,
            running_s: running.map_or(0.0, |running| running.since.elapsed().as_secs_f64()),
        }
    }
}

/// Why a journal whose disk does not answer is not ready.
pub(super) fn reason((step, elapsed): (&'static str, Duration)) -> Arc<str> {
    format!(
        "the disk does not answer: {step} of the journal has not ended for {} s",
        elapsed.as_secs()
    )
    .into()
}

/// The thread that logs what goes on for too long. Dropping it ends the thread.
pub(super) struct WatchThread {
    ended: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl WatchThread {
    pub(super) fn start(watch: Arc<DiskWatch>) -> io::Result<Self> {
        let ended = Arc::new((Mutex::new(false), Condvar::new()));
        let end = Arc::clone(&ended);
        let thread = Builder::new().name("journal-watch".to_owned());
        let thread = thread.spawn(move || keep_checking(&watch, &end))?;
        Ok(Self {
            ended,
            thread: Some(thread),
        })
    }
}

impl Drop for WatchThread {
    fn drop(&mut self) {
        let (ended, wake) = &*self.ended;
        *ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
        wake.notify_one();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn keep_checking(watch: &DiskWatch, end: &(Mutex<bool>, Condvar)) {
    let interval = (watch.overdue_after / 2).clamp(Duration::from_millis(10), POLL_INTERVAL_MAX);
    let mut logged: Option<(Instant, Instant)> = None;
    let mut ended = end.0.lock().unwrap_or_else(PoisonError::into_inner);
    while !*ended {
        let woken = end.1.wait_timeout(ended, interval);
        ended = woken.unwrap_or_else(PoisonError::into_inner).0;
        match (watch.overdue(), logged) {
            (Some((step, elapsed)), before) => {
                let now = Instant::now();
                let begun = before.map_or(now, |(begun, _)| begun);
                if before.is_none_or(|(_, last)| now.duration_since(last) >= REMIND_EVERY) {
                    tracing::warn!(
                        step,
                        ?elapsed,
                        "the journal's disk does not answer: nothing is acknowledged until it does"
                    );
                    logged = Some((begun, now));
                }
            }
            (None, Some((begun, _))) => {
                let took = begun.elapsed() + watch.overdue_after;
                tracing::info!(about = ?took, "the journal's disk answers again");
                logged = None;
            }
            (None, None) => {}
        }
    }
}

/// A storage whose changing calls are watched.
struct WatchedStorage {
    inner: Arc<dyn Storage>,
    watch: Arc<DiskWatch>,
}

impl Storage for WatchedStorage {
    fn lock(&self) -> io::Result<Box<dyn Any + Send + Sync>> {
        self.inner.lock()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.inner.list()
    }

    /// Takes as long as the file is long, and another thread may do it meanwhile.
    fn create(&self, name: &str, bytes: u64) -> io::Result<()> {
        self.inner.create(name, bytes)
    }

    fn write_at(&self, name: &str, bytes: &[u8], offset: u64) -> io::Result<()> {
        let write = || self.inner.write_at(name, bytes, offset);
        self.watch.timed("a write", write).0
    }

    fn read_at(&self, name: &str, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.inner.read_at(name, bytes, offset)
    }

    fn will_read(&self, name: &str) {
        self.inner.will_read(name);
    }

    fn len(&self, name: &str) -> io::Result<u64> {
        self.inner.len(name)
    }

    fn sync_data(&self, name: &str) -> io::Result<()> {
        let sync = || self.inner.sync_data(name);
        let (synced, took) = self.watch.timed("a sync", sync);
        self.watch.count_sync(took);
        synced
    }

    fn sync_dir(&self) -> io::Result<()> {
        let sync = || self.inner.sync_dir();
        let (synced, took) = self.watch.timed("a sync of the folder", sync);
        self.watch.count_sync(took);
        synced
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let rename = || self.inner.rename(from, to);
        self.watch.timed("a rename", rename).0
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let remove = || self.inner.remove(name);
        self.watch.timed("a removal", remove).0
    }

    fn shorten(&self, name: &str, bytes: u64) -> io::Result<()> {
        self.inner.shorten(name, bytes)
    }

    fn free_bytes(&self) -> Option<u64> {
        self.inner.free_bytes()
    }

    fn is_concurrent(&self) -> bool {
        self.inner.is_concurrent()
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }
}

#[cfg(test)]
mod tests {
    use super::super::disk::tests::{SETTINGS, append, clock, lane, new};
    use super::super::sim::SimulatedDisk;
    use super::super::{DiskJournal, JournalHealth, JournalSettings};
    use super::*;

    #[test]
    fn hanging_sync_makes_the_journal_unready_until_it_returns() {
        let sim = SimulatedDisk::default();
        let settings = JournalSettings {
            disk_overdue_after: Duration::ZERO,
            ..SETTINGS
        };
        let storage = Arc::new(sim.clone());
        let (disk, _) = DiskJournal::open(settings, storage, clock()).unwrap();
        let hub = lane(&disk, "hub");
        append(&disk, "a", &[hub]);
        let before = disk.sync_times();
        assert!(before.count > 0 && before.running_s == 0.0, "{before:?}");
        assert_eq!(disk.health(), JournalHealth::Ok);
        let hanging = sim.hang_syncs();
        let appended = disk.append(vec![new("b", &[hub])]).unwrap();
        hanging.wait_for_one();
        let JournalHealth::Stalled(reason) = disk.health() else {
            panic!("{:?}", disk.health());
        };
        assert!(
            reason.contains("a sync of the journal has not ended for 0 s"),
            "{reason}"
        );
        assert!(disk.sync_times().running_s > 0.0);
        drop(hanging);
        appended.durable.wait().unwrap();
        append(&disk, "c", &[hub]);
        assert_eq!(disk.health(), JournalHealth::Ok);
        assert!(disk.sync_times().count > before.count);
    }

    #[test]
    fn syncs_are_counted_by_how_long_they_took() {
        let watch = DiskWatch::new(Duration::from_secs(5));
        for millis in [0, 1, 2, 40, 7_000, 90_000] {
            watch.count_sync(Duration::from_millis(millis));
        }
        let times = watch.times();
        let at = |bound: f64| {
            let of = |known: &&(f64, u64)| known.0 == bound;
            times.buckets.iter().find(of).unwrap().1
        };
        assert_eq!((at(0.0001), at(0.001), at(0.0025), at(0.05)), (1, 2, 3, 4));
        assert_eq!((at(5.0), at(30.0), times.count), (4, 5, 6));
        assert!((times.sum_s - 97.043).abs() < 1e-9, "{times:?}");
    }
}
