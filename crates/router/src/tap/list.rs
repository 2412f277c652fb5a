//! The taps that are open, and what each is shown.

use super::budget::TapBudget;
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
    budget: TapBudget,
    taps: Mutex<Vec<Arc<OpenTap>>>,
}

struct OpenTap {
    number: u64,
    selection: TapSelection,
    window: Mutex<TapWindow>,
    /// Lines that all taps which show an event share.
    lines: Sender<Arc<str>>,
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
    emitted: u32,
    /// Events that it might have shown, ever.
    passed: u64,
}

/// What is shown of a batch once it is accepted.
pub(crate) struct TapBatch<'a> {
    list: &'a TapList,
    now: Instant,
    /// Those that are open, once there is an event for them to look at.
    taps: Option<Vec<Arc<OpenTap>>>,
    lines: Vec<(Arc<OpenTap>, Arc<str>)>,
}

impl EventTaps {
    /// Whether anybody watches for one of these.
    pub(crate) fn wants(&self, outcomes: &[TapOutcome]) -> bool {
        let wanted = self.0.wanted.load(Ordering::Relaxed);
        wanted != 0 && wanted & bits(outcomes) != 0
    }

    /// Whether something of that outcome is to be shown now. If so it has to be.
    pub(crate) fn admits(&self, outcome: TapOutcome, now: Instant) -> bool {
        self.wants(&[outcome]) && self.0.admits(outcome, now)
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
        let outcomes = selection.outcomes().into();
        let skipped = self.0.budget.skipped(selection.outcomes());
        taps.push(Arc::new(OpenTap {
            number,
            selection,
            window: Mutex::new(TapWindow {
                began: Instant::now(),
                emitted: 0,
                passed: 0,
            }),
            lines: sender,
            missed: Arc::clone(&missed),
        }));
        self.0.note_wanted(&taps);
        drop(taps);
        Ok(EventTap {
            taps: self.clone(),
            number,
            outcomes,
            lines,
            missed,
            skipped,
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
        self.0.lock()
    }

    /// For the events of a batch, which are shown once it is accepted. Nothing while nobody watches.
    pub(crate) fn batch(&self, now: Instant) -> Option<TapBatch<'_>> {
        let watched = self.wants(&[TapOutcome::Accepted, TapOutcome::Unmatched]);
        watched.then(|| TapBatch::new(&self.0, now))
    }

    /// Shows something that was admitted.
    pub(crate) fn show(&self, view: &TapView<'_>, now: Instant) {
        let mut batch = TapBatch::new(&self.0, now);
        batch.add(view);
        batch.publish();
    }
}

impl TapList {
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<OpenTap>>> {
        self.taps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn admits(&self, outcome: TapOutcome, now: Instant) -> bool {
        let admits = self.budget.admits(outcome, now);
        if !admits {
            self.budget.skip(outcome, 1);
        }
        admits
    }

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

impl<'a> TapBatch<'a> {
    fn new(list: &'a TapList, now: Instant) -> Self {
        Self {
            list,
            now,
            taps: None,
            lines: Vec::new(),
        }
    }

    /// Whether an event of that outcome is to be [added](Self::add). If so it has to be.
    pub(crate) fn admits(&self, outcome: TapOutcome) -> bool {
        self.list.admits(outcome, self.now)
    }

    /// Has whoever wants it see this once the batch is accepted. All who show it share its line.
    pub(crate) fn add(&mut self, view: &TapView<'_>) {
        let taps = self.taps.get_or_insert_with(|| self.list.lock().clone());
        let (mut short, mut whole) = (None, None);
        for tap in taps.iter().filter(|tap| tap.admits(view, self.now)) {
            let with_body = tap.selection.with_body;
            let line = if with_body { &mut whole } else { &mut short };
            let line = line.get_or_insert_with(|| Arc::from(line_of(view, with_body)));
            self.lines.push((Arc::clone(tap), Arc::clone(line)));
        }
    }

    /// The batch is accepted.
    pub(crate) fn publish(self) {
        for (tap, line) in self.lines {
            // Nobody waits here: who is too slow misses it.
            if tap.lines.try_send(line).is_err() {
                tap.missed.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl OpenTap {
    /// Whether it shows this now. What is cheap comes first: the outcome, the rate, the sample, and only then what was
    /// selected. Another thread that asks just then counts as its rate.
    fn admits(&self, view: &TapView<'_>, now: Instant) -> bool {
        if !self.selection.wants(view.outcome) {
            return false;
        }
        let Ok(mut window) = self.window.try_lock() else {
            return self.skip();
        };
        if now.saturating_duration_since(window.began) >= Duration::from_secs(1) {
            (window.began, window.emitted) = (now, 0);
        }
        if window.emitted >= self.selection.rate {
            return self.skip();
        }
        window.passed += 1;
        let sampled = (window.passed - 1).is_multiple_of(u64::from(self.selection.sample));
        let takes = sampled && self.selection.takes(view);
        window.emitted += u32::from(takes);
        takes
    }

    fn skip(&self) -> bool {
        self.missed.skipped.fetch_add(1, Ordering::Relaxed);
        false
    }
}

/// A tap that is open until it is dropped. It gives lines of JSON, each ended.
#[derive(Debug)]
pub struct EventTap {
    taps: EventTaps,
    number: u64,
    outcomes: Box<[TapOutcome]>,
    lines: Receiver<Arc<str>>,
    missed: Arc<MissedEvents>,
    /// What no tap looked at, as it was last reported.
    skipped: u64,
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
            && let Some(missed) = self.missed_line()
        {
            self.reported = Instant::now();
            return Some(missed);
        }
        match timeout(IDLE, self.lines.recv()).await {
            Ok(line) => line.map(|line| line.as_ref().to_owned()),
            Err(_) => Some(self.missed_line().unwrap_or_else(|| "\n".to_owned())),
        }
    }

    /// What was missed since the last time, if anything was.
    fn missed_line(&mut self) -> Option<String> {
        let dropped = self.missed.dropped.swap(0, Ordering::Relaxed);
        let unseen = self.taps.0.budget.skipped(&self.outcomes);
        let skipped = self.missed.skipped.swap(0, Ordering::Relaxed);
        let skipped = skipped + (unseen - std::mem::replace(&mut self.skipped, unseen));
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

fn line_of(view: &TapView<'_>, with_body: bool) -> String {
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
