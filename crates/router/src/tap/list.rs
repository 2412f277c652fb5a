//! The taps that are open, and what each is shown.

use super::selection::{TapOutcome, TapSelection, TapView};
use serde::Serialize;
use serde_json::value::RawValue;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{Instant, timeout};
use twinroute_model::clock::{Clock as _, SystemClock};
use twinroute_model::cloudevents::json;
use twinroute_model::event::Event;
use twinroute_model::twin::TwinKey;
use twinroute_model::visible;

/// Taps of one router.
const TAPS_MAX: usize = 16;

/// Lines that wait for a watcher.
const LINES_MAX: usize = 128;

/// Bytes of an event that is shown whole; of a larger one its size is shown.
const BODY_BYTES_MAX: usize = 32 << 10;

// What all taps hold together: 64 MiB and some attributes.
const _: () = assert!(TAPS_MAX * LINES_MAX * BODY_BYTES_MAX <= 64 << 20);

/// Events that a tap compares with its selection in a second; those beyond are counted as skipped. A filter takes
/// less than a microsecond each.
const EXAMINED_MAX: u32 = 5_000;

/// How often a watcher hears that there is nothing, or of what was missed.
const IDLE: Duration = Duration::from_secs(5);

/// As many watch as may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{TAPS_MAX} taps are open already; end one of them")]
pub struct TooManyTaps;

/// The taps of a router. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct EventTaps(Arc<TapList>);

#[derive(Default)]
struct TapList {
    /// A bit for each outcome that some tap shows.
    wanted: AtomicUsize,
    taps: Mutex<Vec<Arc<OpenTap>>>,
}

struct OpenTap {
    number: u64,
    selection: TapSelection,
    window: Mutex<TapWindow>,
    lines: Sender<String>,
    missed: Arc<MissedEvents>,
}

/// What a tap was not shown.
#[derive(Debug, Default)]
struct MissedEvents {
    /// The watcher was too slow.
    dropped: AtomicU64,
    /// They were more than its rate.
    skipped: AtomicU64,
}

/// What a tap saw in the present second.
struct TapWindow {
    began: Instant,
    examined: u32,
    emitted: u32,
    /// Events that were selected, ever.
    selected: u64,
}

/// Lines of a batch that is not accepted yet.
pub(crate) struct TapBatch {
    taps: Vec<Arc<OpenTap>>,
    /// Those that have shown or examined as much as they may in this second.
    spent: Vec<Arc<OpenTap>>,
    added: u64,
    lines: Vec<(usize, String)>,
}

impl EventTaps {
    /// Whether anybody watches for one of these.
    pub(crate) fn wants(&self, outcomes: &[TapOutcome]) -> bool {
        let wanted = self.0.wanted.load(Ordering::Relaxed);
        wanted != 0 && wanted & bits(outcomes) != 0
    }

    /// Watches from here on.
    pub(crate) fn open(&self, selection: TapSelection) -> Result<EventTap, TooManyTaps> {
        let mut taps = self.lock();
        if taps.len() >= TAPS_MAX {
            return Err(TooManyTaps);
        }
        let (sender, lines) = channel(LINES_MAX);
        let missed = Arc::new(MissedEvents::default());
        let number = taps.last().map_or(0, |last| last.number + 1);
        taps.push(Arc::new(OpenTap {
            number,
            selection,
            window: Mutex::new(TapWindow {
                began: Instant::now(),
                examined: 0,
                emitted: 0,
                selected: 0,
            }),
            lines: sender,
            missed: Arc::clone(&missed),
        }));
        self.0.note_wanted(&taps);
        drop(taps);
        Ok(EventTap {
            taps: self.clone(),
            number,
            lines,
            missed,
            reported: Instant::now(),
        })
    }

    /// Ends all of them.
    pub(crate) fn close(&self) {
        let mut taps = self.lock();
        taps.clear();
        self.0.note_wanted(&taps);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<OpenTap>>> {
        self.0.taps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For the events of a batch, which are shown once it is accepted.
    pub(crate) fn batch(&self) -> TapBatch {
        let now = Instant::now();
        let (spent, taps) = self
            .lock()
            .iter()
            .map(Arc::clone)
            .partition(|tap| tap.is_spent(now));
        TapBatch {
            taps,
            spent,
            added: 0,
            lines: Vec::new(),
        }
    }

    /// Shows something at once.
    pub(crate) fn show(&self, view: &TapView<'_>) {
        let mut batch = self.batch();
        batch.add(view);
        batch.publish();
    }
}

impl TapList {
    fn note_wanted(&self, taps: &[Arc<OpenTap>]) {
        let wanted = taps.iter().map(|tap| bits(tap.selection.outcomes()));
        let wanted = wanted.fold(0, |all, one| all | one);
        self.wanted.store(wanted, Ordering::Relaxed);
    }
}

fn bits(outcomes: &[TapOutcome]) -> usize {
    outcomes
        .iter()
        .fold(0, |bits, outcome| bits | 1 << *outcome as usize)
}

impl TapBatch {
    /// Has whoever wants it see this once the batch is accepted.
    pub(crate) fn add(&mut self, view: &TapView<'_>) {
        self.added += 1;
        for (place, tap) in self.taps.iter().enumerate() {
            if tap.selection.wants(view.outcome) && tap.admits(view) {
                self.lines
                    .push((place, line(view, tap.selection.with_body)));
            }
        }
    }

    /// The batch is accepted.
    pub(crate) fn publish(self) {
        for tap in self.spent {
            tap.missed.skipped.fetch_add(self.added, Ordering::Relaxed);
        }
        for (place, line) in self.lines {
            let tap = &self.taps[place];
            // Nobody waits here: who is too slow misses it.
            if tap.lines.try_send(line).is_err() {
                tap.missed.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl OpenTap {
    /// Whether it can show nothing more in this second.
    fn is_spent(&self, now: Instant) -> bool {
        let Ok(mut window) = self.window.try_lock() else {
            return false;
        };
        if now.saturating_duration_since(window.began) >= Duration::from_secs(1) {
            (window.began, window.examined, window.emitted) = (now, 0, 0);
        }
        window.examined >= EXAMINED_MAX || window.emitted >= self.selection.rate
    }

    /// Whether it shows this now. Another thread that asks just then counts as its rate.
    fn admits(&self, view: &TapView<'_>) -> bool {
        let skip = || {
            self.missed.skipped.fetch_add(1, Ordering::Relaxed);
            false
        };
        let Ok(mut window) = self.window.try_lock() else {
            return skip();
        };
        if window.examined >= EXAMINED_MAX {
            return skip();
        }
        window.examined += 1;
        if !self.selection.takes(view) {
            return false;
        }
        window.selected += 1;
        if !(window.selected - 1).is_multiple_of(u64::from(self.selection.sample)) {
            return false;
        }
        if window.emitted >= self.selection.rate {
            return skip();
        }
        window.emitted += 1;
        true
    }
}

/// A tap that is open until it is dropped. It gives lines of JSON, each ended.
#[derive(Debug)]
pub struct EventTap {
    taps: EventTaps,
    number: u64,
    lines: Receiver<String>,
    missed: Arc<MissedEvents>,
    reported: Instant,
}

impl std::fmt::Debug for EventTaps {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let wanted = self.0.wanted.load(Ordering::Relaxed);
        formatter.debug_tuple("EventTaps").field(&wanted).finish()
    }
}

impl Drop for EventTap {
    fn drop(&mut self) {
        let mut taps = self.taps.lock();
        taps.retain(|tap| tap.number != self.number);
        self.taps.0.note_wanted(&taps);
    }
}

impl EventTap {
    /// The next line; an empty one after some seconds without any, so that whoever passes them on hears of a watcher
    /// who is gone. Nothing once the router stops. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<String> {
        if self.reported.elapsed() >= Duration::from_secs(1)
            && let Some(missed) = self.missed.line()
        {
            self.reported = Instant::now();
            return Some(missed);
        }
        match timeout(IDLE, self.lines.recv()).await {
            Ok(line) => line,
            Err(_) => Some(self.missed.line().unwrap_or_else(|| "\n".to_owned())),
        }
    }
}

impl MissedEvents {
    /// What was missed since the last time, if anything was.
    fn line(&self) -> Option<String> {
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        let skipped = self.skipped.swap(0, Ordering::Relaxed);
        let some = dropped + skipped > 0;
        some.then(|| format!("{{\"dropped\":{dropped},\"skipped\":{skipped}}}\n"))
    }
}

/// One line of a tap.
#[derive(Serialize)]
struct TapLine<'a> {
    time: String,
    outcome: TapOutcome,
    #[serde(skip_serializing_if = "str::is_empty")]
    instance: &'a str,
    endpoints: &'a [&'a str],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    routes: &'a [&'a str],
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'a str>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    event_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    twin: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<Box<RawValue>>,
}

fn line(view: &TapView<'_>, with_body: bool) -> String {
    let event = view.event;
    let line = TapLine {
        time: SystemClock.now().rfc3339(),
        outcome: view.outcome,
        instance: view.instance,
        endpoints: view.endpoints,
        routes: view.routes,
        reason: view.reason,
        sequence: view.sequence,
        id: event.map(Event::id),
        source: event.map(Event::source),
        event_type: event.map(Event::event_type),
        subject: event.and_then(Event::subject),
        twin: event.map(|event| TwinKey::of(event).to_string()),
        bytes: event.map(Event::size),
        event: event.filter(|_| with_body).and_then(whole),
    };
    let line = serde_json::to_string(&line).expect("text and numbers are JSON");
    visible::json(line) + "\n"
}

/// An event on one line. RFC 8259 §2 and §7: in JSON a line break stands between tokens only, where it is as good as a
/// space.
fn whole(event: &Event) -> Option<Box<RawValue>> {
    if event.size() > BODY_BYTES_MAX {
        return None;
    }
    let mut text = Vec::with_capacity(event.size() + 256);
    json::write(event, &mut text);
    let text = String::from_utf8(text).ok()?.replace(['\n', '\r'], " ");
    RawValue::from_string(text).ok()
}
