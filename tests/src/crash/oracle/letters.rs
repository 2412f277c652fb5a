//! Judges dead letters: where they are, what is in them, and whether there was a reason.

use super::violation::{Violation, Wrong};
use super::{LAG, RunJudge};
use crate::crash::history::{Endpoint, EventId, Letter, Place};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;
use twinroute_model::clock::Timestamp;

/// Where an event's dead letter is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lies {
    /// In the container, and not kept.
    pub(super) uploaded: bool,
    /// Since when.
    pub(super) since: Timestamp,
}

/// A name that a letter may have in its container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    First,
    /// When the first one is taken.
    Second,
}

impl RunJudge<'_> {
    /// Every dead letter is of something that was refused, is what was posted, stands where it belongs,
    /// and is alone; an event has one or arrived, and both only for a reason.
    pub(super) fn letters(&mut self) {
        let mut letters: Vec<&Letter> = self.history.letters.iter().collect();
        // Of two in a container the second name comes later, and is longer if they came at once.
        letters.sort_by_key(|letter| (letter.at, letter.place.to_string().len()));
        let mut lying: HashMap<(Endpoint, EventId), Lies> = HashMap::new();
        for letter in letters {
            if let Some(wrong) = self.letter(letter, &mut lying) {
                self.violations.push(Violation::Letter {
                    endpoint: letter.endpoint,
                    place: letter.place.to_string(),
                    wrong,
                });
            }
        }
        self.lying = lying;
    }

    fn letter(
        &mut self,
        letter: &Letter,
        lying: &mut HashMap<(Endpoint, EventId), Lies>,
    ) -> Option<Wrong> {
        let endpoint = letter.endpoint;
        let Some((id, post, event)) = self.accepted_event(endpoint, &letter.id) else {
            return Some(Wrong::Unknown);
        };
        self.show(post, id);
        let lies = Lies {
            uploaded: matches!(letter.place, Place::Container { .. }),
            since: letter.at,
        };
        let name = match &letter.place {
            Place::Container { name, seal } => name_of(letter, name, seal, post.sent_at),
            Place::Kept(_) => Some(Name::First),
        };
        let belongs = lies.uploaded == endpoint.has_container();
        let another = match lying.entry((endpoint, id)) {
            Entry::Vacant(vacant) => {
                vacant.insert(lies);
                None
            }
            Entry::Occupied(first) => Some(first.get().since),
        };
        if event.content != letter.content || event.json.is_some_and(|json| json != letter.json) {
            return Some(Wrong::Altered);
        }
        let Some(name) = name.filter(|_| belongs) else {
            return Some(Wrong::Misplaced);
        };
        match (name, another) {
            (Name::First, None) => {}
            (Name::Second, Some(since)) if self.disturbed(endpoint, early(since), letter.at) => {
                self.tally.second_names += 1;
                return None;
            }
            (Name::Second, None) => return Some(Wrong::Misplaced),
            (_, Some(_)) => return Some(Wrong::Repeated),
        }
        self.tally.uploaded += u64::from(lies.uploaded);
        self.tally.kept += u64::from(!lies.uploaded);
        if !event.refused_by.has(endpoint) {
            *self.refused.entry(endpoint).or_default() += 1;
            if !self.refusable(endpoint, post, letter.at) {
                return Some(Wrong::Unfounded);
            }
        }
        if self.arrived.contains_key(&(endpoint, id)) {
            self.tally.also_arrived += 1;
            let excused = self.disturbed(endpoint, post.sent_at, letter.at);
            if event.refused_by.has(endpoint) || !excused {
                return Some(Wrong::Delivered);
            }
        }
        None
    }

    /// Dead letters of an endpoint that stood in its container, in order.
    pub(super) fn uploads(&self, endpoint: Endpoint) -> Vec<Timestamp> {
        let of = |(place, lies): (&(Endpoint, EventId), &Lies)| {
            (place.0 == endpoint && lies.uploaded).then_some(lies.since)
        };
        let mut moments: Vec<Timestamp> = self.lying.iter().filter_map(of).collect();
        moments.sort_unstable();
        moments
    }
}

/// A little before: what a process sent before it was killed may be taken after it was.
pub(super) fn early(at: Timestamp) -> Timestamp {
    let lag = i64::try_from(LAG.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_unix_millis(at.unix_millis().saturating_sub(lag))
}

/// Which of its event's names a blob has, if it has one: of any hour from the event's post to the blob.
///
/// `docs/decisions/0010-dead-letters.md`. The ids of a run stand for themselves in names.
fn name_of(letter: &Letter, name: &str, seal: &str, sent_at: Timestamp) -> Option<Name> {
    const HOUR: Duration = Duration::from_secs(3_600);
    let mut moment = sent_at;
    loop {
        let time = moment.rfc3339();
        // `yyyy-MM-ddTHH`.
        let hour = time.get(..13)?.replace(['-', 'T'], "/");
        let stem = format!("{}/{hour}/{}", letter.endpoint, letter.id);
        if name == format!("{stem}.json") {
            return Some(Name::First);
        }
        if name == format!("{stem}-{seal}.json") {
            return Some(Name::Second);
        }
        if moment >= letter.at {
            return None;
        }
        moment = moment.after(HOUR).min(letter.at);
    }
}
