//! Searching: one walk over the segments finds events, and what came of them behind.

use super::HistoryReader;
use super::page::{
    HistoryAttempt, HistoryCursor, HistoryDelivery, HistoryEvent, HistoryPage, HistorySelection,
    HistoryState,
};
use super::scan::SegmentScan;
use crate::JournalOpenError;
use crate::frame::FramePlace;
use crate::ledger::DeliverySettlement;
use crate::record::{AcceptedEvent, FailedSendFault, JournalRecord, LaneId, OpenDelivery};
use crate::survey::FolderSurvey;
use memchr::memmem;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use twinroute_model::clock::Timestamp;
use twinroute_model::dead_letter::DeadLetter;

/// Bytes of events on one page; the event that passes this is the last of it.
const PAGE_BYTES: usize = 16 << 20;

/// Attempts of one delivery that are given; of more, the latest.
const ATTEMPTS_MAX: usize = 100;

/// Routing tables that are remembered while searching.
const TABLES_MAX: usize = 64;

/// Where events come from, as records said last.
#[derive(Default)]
struct EventContext {
    clock: Option<Timestamp>,
    generation: u64,
    instance: Option<String>,
    caller: Option<String>,
    address: Option<IpAddr>,
    tables: BTreeMap<u64, Arc<[u8]>>,
}

/// One page that is being made.
struct PageSearch<'a> {
    reader: &'a HistoryReader,
    selection: &'a HistorySelection,
    wants: &'a mut dyn FnMut(&HistoryEvent) -> bool,
    after: HistoryCursor,
    most: usize,
    /// The first sequence that segments were begun with: what is older is there as a copy only.
    first_sequence: u64,
    context: EventContext,
    events: Vec<HistoryEvent>,
    /// Where the events with these sequences stand on the page.
    places: HashMap<u64, usize>,
    bytes: usize,
    deliveries: usize,
    /// Deliveries that are settled, and whose end was not found yet, by sequence and lane.
    missing: HashSet<(u64, u32)>,
    /// Whether the event that is looked at is a replay.
    is_replay: bool,
    /// What stands before this was taken in already.
    fresh_from: HistoryCursor,
    /// Where to go on, once the page is full.
    full: Option<HistoryCursor>,
}

impl HistoryReader {
    /// Events behind `after` that `selection` and `wants` let through, with about `most` deliveries and 16 MiB at
    /// most. Blocks for as long as reading takes, and gives way to other threads on the way.
    ///
    /// # Errors
    /// When the folder cannot be read. What cannot be read of a segment is skipped.
    pub fn page(
        &self,
        selection: &HistorySelection,
        wants: &mut dyn FnMut(&HistoryEvent) -> bool,
        after: HistoryCursor,
        most: usize,
    ) -> Result<HistoryPage, JournalOpenError> {
        let mut search = PageSearch {
            reader: self,
            selection,
            wants,
            after,
            most,
            first_sequence: 0,
            context: EventContext::default(),
            events: Vec::new(),
            places: HashMap::new(),
            bytes: 0,
            deliveries: 0,
            missing: HashSet::new(),
            is_replay: false,
            fresh_from: HistoryCursor::default(),
            full: None,
        };
        let end = self.end();
        search.walk(after, end)?;
        let at_end = search.full.is_none();
        let next = search.full.unwrap_or(end);
        // What was settled while this was looking stands behind the end as it was then.
        if !search.missing.is_empty() {
            search.full = Some(next);
            search.fresh_from = end;
            search.walk(end, self.end())?;
        }
        Ok(HistoryPage {
            events: search.events,
            next,
            at_end,
        })
    }

    fn end(&self) -> HistoryCursor {
        let (segment, offset) = self.index.lock().synced;
        HistoryCursor { segment, offset }
    }
}

impl PageSearch<'_> {
    /// Walks over the segments from that of `from` to `end`.
    fn walk(&mut self, from: HistoryCursor, end: HistoryCursor) -> Result<(), JournalOpenError> {
        let storage = &*self.reader.storage;
        let survey = FolderSurvey::of(storage)?;
        let limits = survey.limits();
        let mut heads = survey.segments.values().filter_map(|file| file.head);
        self.first_sequence = heads.next().map_or(0, |head| head.first_sequence);
        if from.segment > end.segment {
            return Ok(());
        }
        for (segment, file) in survey.segments.range(from.segment..=end.segment) {
            let mut limit = limits.get(segment).copied().unwrap_or(file.length);
            if *segment == end.segment {
                limit = limit.min(end.offset);
            }
            let mut scan = SegmentScan::new(storage, &file.name, *segment, limit);
            loop {
                match scan.advance() {
                    Ok(Some(place)) => {
                        let record = scan.present().map(|frame| JournalRecord::decode(&frame));
                        if let Some(Ok(record)) = record {
                            self.record(&record, place);
                        }
                    }
                    Ok(None) => break,
                    // Removed meanwhile, or the disk refuses: what can be read is shown.
                    Err(error) => {
                        tracing::debug!(segment, %error, "the history cannot be read further here");
                        break;
                    }
                }
                if self.full.is_some() && self.missing.is_empty() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn record(&mut self, record: &JournalRecord<'_>, place: FramePlace) {
        self.context.follow(record);
        let here = HistoryCursor {
            segment: place.segment,
            offset: place.offset,
        };
        if here < self.fresh_from {
            return;
        }
        match record {
            JournalRecord::Event { event, lanes } => {
                self.event(event, place, || {
                    lanes.iter().map(OpenDelivery::fresh).collect()
                });
            }
            JournalRecord::Replay {
                event,
                lane,
                replay_of,
            } => {
                self.settle(*lane, *replay_of, DeliverySettlement::Replayed);
                self.is_replay = true;
                self.event(event, place, || vec![OpenDelivery::fresh(*lane)]);
                self.is_replay = false;
            }
            JournalRecord::Copy { event, lanes } if event.sequence < self.first_sequence => {
                self.event(event, place, || lanes.clone());
            }
            JournalRecord::Unmatched { event } => self.event(event, place, Vec::new),
            JournalRecord::Settle { lane, settlements } => {
                for (sequence, settlement) in settlements {
                    self.settle(*lane, *sequence, *settlement);
                }
            }
            JournalRecord::Attempt {
                sequence,
                lane,
                attempts,
                ..
            } => {
                if let Some(delivery) = self.delivery(*sequence, *lane) {
                    delivery.failed_alone = delivery.failed_alone.max(*attempts);
                }
            }
            JournalRecord::Dead {
                lane,
                letter,
                sequences,
            } => {
                for sequence in sequences {
                    self.dead(*sequence, *lane, letter);
                }
            }
            JournalRecord::Failed {
                lane,
                fault,
                text,
                sequences,
            } => {
                for sequence in sequences {
                    self.failed(*sequence, *lane, *fault, text);
                }
            }
            _ => {}
        }
    }

    fn delivery(&mut self, sequence: u64, lane: u32) -> Option<&mut HistoryDelivery> {
        let place = *self.places.get(&sequence)?;
        let deliveries = &mut self.events[place].deliveries;
        deliveries
            .iter_mut()
            .find(|delivery| delivery.lane.0 == lane)
    }

    fn settle(&mut self, lane: u32, sequence: u64, settlement: DeliverySettlement) {
        let at = self.context.clock;
        let Some(delivery) = self.delivery(sequence, lane) else {
            return;
        };
        let letter = match &delivery.state {
            HistoryState::Settled(..) => return,
            HistoryState::Dead(letter) => Some(Arc::clone(letter)),
            _ => None,
        };
        delivery.state = HistoryState::Settled(settlement, letter);
        delivery.at = at;
        self.missing.remove(&(sequence, lane));
    }

    /// It became a dead letter, whatever came of that later.
    fn dead(&mut self, sequence: u64, lane: u32, letter: &Arc<DeadLetter>) {
        if let Some(delivery) = self.delivery(sequence, lane)
            && delivery.state == HistoryState::Unknown
        {
            delivery.state = HistoryState::Dead(Arc::clone(letter));
            delivery.failed_alone = delivery.failed_alone.max(letter.attempts);
        }
    }

    fn failed(&mut self, sequence: u64, lane: u32, fault: FailedSendFault, text: &str) {
        let at = self.context.clock;
        let Some(delivery) = self.delivery(sequence, lane) else {
            return;
        };
        if delivery.attempts.len() >= ATTEMPTS_MAX {
            delivery.attempts.remove(0);
        }
        delivery.attempts.push(HistoryAttempt {
            at,
            fault,
            outcome: text.to_owned(),
        });
    }

    /// Takes an event onto the page, if it is one that is looked for.
    fn event(
        &mut self,
        accepted: &AcceptedEvent<'_>,
        place: FramePlace,
        lanes: impl FnOnce() -> Vec<OpenDelivery>,
    ) {
        let here = HistoryCursor {
            segment: place.segment,
            offset: place.offset,
        };
        if self.full.is_some() || here < self.after || !self.is_selected(accepted) {
            return;
        }
        let Some(event) = self.reader.keys.read_event(accepted) else {
            return;
        };
        let bytes = event.size();
        let is_unmatched = accepted.sequence == 0;
        let mut found = HistoryEvent {
            sequence: (!is_unmatched).then_some(accepted.sequence),
            accepted_at: accepted.accepted_at,
            event,
            twin: accepted.twin.unwrap_or_default(),
            generation: self.context.generation,
            table: self.context.present_table(),
            instance: self.context.instance.clone(),
            caller: self.context.caller.clone(),
            address: self.context.address,
            is_replay: self.is_replay,
            deliveries: lanes().iter().map(unknown).collect(),
        };
        self.look_up(&mut found);
        if !(self.wants)(&found) {
            return;
        }
        let untried = |delivery: &HistoryDelivery| delivery.state == HistoryState::Queued;
        let is_recent = |after| found.accepted_at > after;
        if found.deliveries.iter().any(untried)
            && self.selection.untried_after.is_some_and(is_recent)
        {
            self.full = Some(here);
            return;
        }
        self.bytes += bytes;
        self.deliveries += found.deliveries.len().max(1);
        if let Some(sequence) = found.sequence {
            self.places.insert(sequence, self.events.len());
            let unknown = found.deliveries.iter();
            let unknown = unknown.filter(|one| one.state == HistoryState::Unknown);
            self.missing
                .extend(unknown.map(|one| (sequence, one.lane.0)));
        }
        self.events.push(found);
        if self.bytes >= PAGE_BYTES || self.deliveries >= self.most {
            self.full = Some(HistoryCursor {
                offset: place.offset + u64::from(place.bytes),
                ..here
            });
        }
    }

    fn is_selected(&self, accepted: &AcceptedEvent<'_>) -> bool {
        let HistorySelection {
            since,
            until,
            sequence,
            texts,
            ..
        } = self.selection;
        let holds = |text: &String| {
            accepted.stamp.is_some()
                || memmem::find(accepted.content, text.as_bytes()).is_some()
                // It may be written otherwise.
                || accepted.content.contains(&b'\\')
        };
        let is_known = self.places.contains_key(&accepted.sequence);
        since.is_none_or(|since| accepted.accepted_at >= since)
            && until.is_none_or(|until| accepted.accepted_at < until)
            && sequence.is_none_or(|sequence| accepted.sequence == sequence)
            && !is_known
            && texts.iter().all(holds)
    }

    /// What is open is known without reading on.
    fn look_up(&self, found: &mut HistoryEvent) {
        let index = self.reader.index.lock();
        let live = found
            .sequence
            .and_then(|sequence| index.events.get(sequence));
        for delivery in &mut found.deliveries {
            let lane = index.lanes.get(&delivery.lane.0);
            delivery.name = lane.and_then(|lane| lane.name.clone());
            let open = live.map(|live| live.open.as_slice()).unwrap_or_default();
            let Some(open) = open.iter().find(|open| open.lane == delivery.lane.0) else {
                continue;
            };
            let of_letter = open.dead.as_ref().map_or(0, |letter| letter.attempts);
            delivery.failed_alone = open.attempts.max(of_letter);
            delivery.state = match &open.dead {
                Some(letter) => HistoryState::Dead(Arc::clone(letter)),
                None if open.attempts > 0 => HistoryState::Retrying(open.due),
                None => HistoryState::Queued,
            };
        }
    }
}

fn unknown(open: &OpenDelivery) -> HistoryDelivery {
    HistoryDelivery {
        lane: LaneId(open.lane),
        name: None,
        state: HistoryState::Unknown,
        at: None,
        failed_alone: open.attempts,
        attempts: Vec::new(),
    }
}

impl EventContext {
    /// Takes note of what a record says about those behind it.
    fn follow(&mut self, record: &JournalRecord<'_>) {
        match record {
            JournalRecord::Group(_) => {
                self.clock = None;
                self.come_from(0, ("", ""), None);
            }
            JournalRecord::Clock { at } => self.clock = Some(*at),
            JournalRecord::Origin {
                generation,
                instance,
                caller,
                address,
            } => self.come_from(*generation, (instance, caller), *address),
            JournalRecord::Table {
                generation,
                content,
            } => self.table(*generation, content),
            _ => {}
        }
    }

    fn come_from(
        &mut self,
        generation: u64,
        (instance, caller): (&str, &str),
        address: Option<IpAddr>,
    ) {
        fn take(known: &mut Option<String>, text: &str) {
            if known.as_deref().unwrap_or_default() != text {
                *known = (!text.is_empty()).then(|| text.to_owned());
            }
        }
        self.generation = generation;
        self.address = address;
        take(&mut self.instance, instance);
        take(&mut self.caller, caller);
    }

    fn table(&mut self, generation: u64, content: &[u8]) {
        let known = self.tables.get(&generation);
        if known.is_none_or(|known| **known != *content) {
            if self.tables.len() >= TABLES_MAX {
                self.tables.pop_first();
            }
            self.tables.insert(generation, content.into());
        }
    }

    fn present_table(&self) -> Option<Arc<[u8]>> {
        self.tables.get(&self.generation).cloned()
    }
}
