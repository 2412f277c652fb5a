//! Wall time as a value that tests can hold.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A moment of wall time: milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since the Unix epoch.
    #[must_use]
    pub const fn from_unix_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn unix_millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch.
    #[must_use]
    pub const fn unix_seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// The moment `duration` later; saturates.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// How long after `earlier` this moment is; zero when it is not after it.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Whole seconds from `now` until this moment, below 0 after it. A second that has begun to be over is over.
    #[must_use]
    pub const fn seconds_from(self, now: Self) -> i64 {
        self.0.saturating_sub(now.0).div_euclid(1_000)
    }

    /// Reads RFC 3339; what is finer than a millisecond is cut off.
    #[must_use]
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let format = &time::format_description::well_known::Rfc3339;
        let moment = time::OffsetDateTime::parse(text, format).ok()?;
        let millis = moment.unix_timestamp_nanos().div_euclid(1_000_000);
        i64::try_from(millis).ok().map(Self)
    }

    /// RFC 3339 in UTC with milliseconds.
    #[must_use]
    pub fn rfc3339(self) -> String {
        time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000)
            .ok()
            .and_then(|time| {
                time.format(&time::format_description::well_known::Rfc3339)
                    .ok()
            })
            .unwrap_or_else(|| self.0.to_string())
    }
}

/// As RFC 3339.
impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.rfc3339())
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'_, str>::deserialize(deserializer)?;
        Self::parse_rfc3339(&text)
            .ok_or_else(|| D::Error::custom(format_args!("{text:?} is no time of RFC 3339")))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.rfc3339())
    }
}

/// How a warning says that something ends which has `left_s` seconds: nothing until `before` its end.
#[must_use]
pub fn end_word(left_s: i64, before: Duration) -> Option<&'static str> {
    match u64::try_from(left_s) {
        Err(_) | Ok(0) => Some("ended"),
        Ok(left) if Duration::from_secs(left) < before => Some("ends"),
        Ok(_) => None,
    }
}

/// Where stored and compared wall time comes from. Timers are tokio's.
pub trait Clock: Send + Sync + 'static {
    /// The present moment.
    fn now(&self) -> Timestamp;

    /// A reading of a clock that nobody sets: differences of two are true, also from one process to the
    /// next, as long as the machine is not booted between them. The machine's own, unless said otherwise.
    fn steady(&self) -> SteadyTime {
        SteadyTime::of_machine()
    }
}

/// A reading of a clock that nobody sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SteadyTime {
    /// Which boot of the machine it counts from; 0: not known, so that no other process's reading can be
    /// compared with it.
    pub boot: u64,
    /// How long ago that was.
    pub since_boot: Duration,
}

impl SteadyTime {
    /// The machine's. The first reading of a process looks at files in `/proc`, where there are such.
    #[must_use]
    pub fn of_machine() -> Self {
        static FIRST: OnceLock<(SteadyTime, Instant)> = OnceLock::new();
        let (first, read_at) = FIRST.get_or_init(|| (Self::read(), Instant::now()));
        Self {
            boot: first.boot,
            since_boot: first.since_boot + read_at.elapsed(),
        }
    }

    /// Both files or none. proc(5): `uptime` is in seconds, `boot_id` is drawn at each boot.
    fn read() -> Self {
        let read = || {
            let boot = std::fs::read("/proc/sys/kernel/random/boot_id").ok()?;
            let uptime = std::fs::read_to_string("/proc/uptime").ok()?;
            let seconds: f64 = uptime.split_ascii_whitespace().next()?.parse().ok()?;
            Some(Self {
                boot: hash(&boot).max(1),
                since_boot: Duration::try_from_secs_f64(seconds).ok()?,
            })
        };
        read().unwrap_or_default()
    }
}

/// FNV-1a, 64 bits: it tells boots apart, and is the same in every process.
fn hash(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the machine's clock"
    )]
    fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }
}

/// A clock that moves only when told to.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<ManualState>);

#[derive(Debug)]
struct ManualState {
    wall: AtomicI64,
    boot: AtomicU64,
    since_boot: AtomicU64,
}

impl ManualClock {
    /// Starts at `now`.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self(Arc::new(ManualState {
            wall: AtomicI64::new(now.0),
            boot: AtomicU64::new(1),
            since_boot: AtomicU64::new(0),
        }))
    }

    /// Lets time pass.
    pub fn advance(&self, duration: Duration) {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        self.0.wall.fetch_add(millis, Ordering::Relaxed);
        let steady = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        self.0.since_boot.fetch_add(steady, Ordering::Relaxed);
    }

    /// Sets the wall's clock; no time passes.
    pub fn set(&self, now: Timestamp) {
        self.0.wall.store(now.0, Ordering::Relaxed);
    }

    /// Boots the machine: what the steady clock said before is of no use any more.
    pub fn reboot(&self) {
        self.0.boot.fetch_add(1, Ordering::Relaxed);
        self.0.since_boot.store(0, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.wall.load(Ordering::Relaxed))
    }

    fn steady(&self) -> SteadyTime {
        SteadyTime {
            boot: self.0.boot.load(Ordering::Relaxed),
            since_boot: Duration::from_millis(self.0.since_boot.load(Ordering::Relaxed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let time = Timestamp::from_unix_millis(1_774_000_000_123);
        assert_eq!(Timestamp::parse_rfc3339(&time.rfc3339()), Some(time));
        let shifted = Timestamp::parse_rfc3339("2026-11-22T12:00:00+02:00");
        assert_eq!(shifted, Timestamp::parse_rfc3339("2026-11-22T10:00:00Z"));
        assert_eq!(Timestamp::parse_rfc3339("yesterday"), None);
    }

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let clock = ManualClock::new(Timestamp::from_unix_millis(1_000));
        let start = clock.now();
        clock.advance(Duration::from_secs(2));
        assert_eq!(clock.now().since(start), Duration::from_secs(2));
        assert_eq!(start.since(clock.now()), Duration::ZERO);
        assert_eq!(clock.now().rfc3339(), "1970-01-01T00:00:03Z");
    }

    #[test]
    fn a_moment_is_read_as_it_is_written() {
        let text = "2026-11-22T08:15:30.123Z";
        let read = Timestamp::parse_rfc3339(text);
        assert_eq!(read.map(Timestamp::rfc3339).as_deref(), Some(text));
        let finer = Timestamp::parse_rfc3339("2026-11-22T10:15:30.1239999+02:00");
        assert_eq!(finer, read);
        assert_eq!(Timestamp::parse_rfc3339("2026-11-22"), None);
    }
}
