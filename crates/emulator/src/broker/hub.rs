//! An event hub: partitions that are logs with bounded retention, and the epochs of their readers.

use super::partition_key::partition_of;
use super::received::{MessagePlace, ReceivedMessage};
use super::settings::{BrokerLimits, HubSettings};
use super::waiters::MessageWaiters;
use crate::amqp::message::AmqpMessage;
use crate::amqp::state::AmqpError;
use crate::amqp::value::{AmqpValue, symbols};
use crate::arrivals::ArrivalTally;
use crate::lock::lock;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use tokio::sync::Notify;
use twinroute_model::clock::Timestamp;

/// Receivers of one partition in one consumer group, as many as the service allows.
/// Source: "Azure Event Hubs quotas and limits", receivers per consumer group.
const READERS_MAX: usize = 5;
const PARTITION_KEY: &str = "x-opt-partition-key";

#[derive(Debug)]
pub(crate) struct EventHub {
    pub(crate) name: String,
    pub(crate) created_at: Timestamp,
    pub(crate) arrivals: ArrivalTally,
    partitions: Vec<HubPartition>,
    consumer_groups: Vec<String>,
    next_partition: AtomicUsize,
}

#[derive(Debug, Default)]
pub(crate) struct HubPartition {
    log: Mutex<PartitionLog>,
    pub(crate) waiters: MessageWaiters,
    readers: Mutex<Vec<ReaderEntry>>,
}

#[derive(Debug, Default)]
struct PartitionLog {
    events: VecDeque<Arc<HubEvent>>,
    bytes: usize,
    next_sequence: i64,
    next_offset: i64,
}

/// One event of a partition.
#[derive(Debug)]
pub(crate) struct HubEvent {
    pub(crate) arrival: u64,
    pub(crate) sequence: i64,
    /// Bytes before it in the partition since the beginning.
    pub(crate) offset: i64,
    pub(crate) enqueued_at: Timestamp,
    pub(crate) message: AmqpMessage,
}

/// Where a reader begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadStart {
    Earliest,
    Latest,
    Offset { at: i64, inclusive: bool },
    Sequence { at: i64, inclusive: bool },
    Time { at: Timestamp, inclusive: bool },
}

#[derive(Debug)]
struct ReaderEntry {
    group: String,
    epoch: Option<i64>,
    stolen: Weak<AtomicBool>,
    wake: Weak<Notify>,
}

/// What `$management` reports of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PartitionState {
    pub(crate) begin_sequence: i64,
    pub(crate) last_sequence: i64,
    pub(crate) last_offset: i64,
    pub(crate) last_enqueued_at: Option<Timestamp>,
}

/// What every append needs beside the messages.
#[derive(Clone, Copy)]
pub(crate) struct AppendContext<'a> {
    pub(crate) counter: &'a AtomicU64,
    pub(crate) now: Timestamp,
    pub(crate) limits: &'a BrokerLimits,
}

impl EventHub {
    pub(crate) fn new(settings: &HubSettings, created_at: Timestamp) -> Self {
        Self {
            name: settings.name.clone(),
            created_at,
            arrivals: ArrivalTally::default(),
            partitions: (0..settings.partitions)
                .map(|_| HubPartition::default())
                .collect(),
            consumer_groups: settings.consumer_groups.clone(),
            next_partition: AtomicUsize::new(0),
        }
    }

    pub(crate) fn partition_count(&self) -> usize {
        self.partitions.len()
    }

    pub(crate) fn partition(&self, index: u16) -> Option<&HubPartition> {
        self.partitions.get(usize::from(index))
    }

    pub(crate) fn has_group(&self, group: &str) -> bool {
        self.consumer_groups
            .iter()
            .any(|known| known.eq_ignore_ascii_case(group))
    }

    /// Appends messages of one transfer to one partition: the fixed one, that of the key, or the
    /// next.
    pub(crate) fn append(
        &self,
        messages: Vec<AmqpMessage>,
        envelope_key: Option<&str>,
        fixed: Option<u16>,
        arrival: AppendContext<'_>,
    ) {
        let first_key = messages
            .first()
            .and_then(|first| first.annotation(PARTITION_KEY));
        let key = envelope_key.or_else(|| first_key.and_then(AmqpValue::as_str));
        let count = self.partitions.len();
        let index = match (fixed, key) {
            (Some(index), _) => usize::from(index),
            (None, Some(key)) => partition_of(key, count),
            (None, None) => self.next_partition.fetch_add(1, Ordering::Relaxed) % count,
        };
        let added = messages.len();
        let partition = &self.partitions[index];
        partition.append(messages, envelope_key, arrival);
        partition.waiters.wake();
        self.arrivals.add_stored(added);
    }

    pub(crate) fn consumer_groups(&self) -> &[String] {
        &self.consumer_groups
    }

    pub(crate) fn event_count(&self) -> usize {
        let all = self.partitions.iter();
        all.map(|partition| lock(&partition.log).events.len()).sum()
    }

    /// All retained events in order of arrival.
    pub(crate) fn events(&self) -> Vec<ReceivedMessage> {
        self.events_after(0, None, usize::MAX)
    }

    /// Up to `count` retained events that arrived as number `after` or later, counted from 0 over all of the
    /// emulator; of one partition if named.
    pub(crate) fn events_after(
        &self,
        after: u64,
        partition: Option<u16>,
        count: usize,
    ) -> Vec<ReceivedMessage> {
        let mut all = Vec::new();
        let partitions = (0u16..).zip(&self.partitions);
        for (index, known) in
            partitions.filter(|(index, _)| partition.is_none_or(|one| one == *index))
        {
            let log = lock(&known.log);
            let first = log.events.partition_point(|event| event.arrival < after);
            let later = log.events.range(first..).take(count);
            all.extend(later.map(|event| (index, Arc::clone(event))));
        }
        all.sort_by_key(|(_, event)| event.arrival);
        let all = all.into_iter().take(count);
        all.map(|(index, event)| {
            let place = MessagePlace {
                arrival: event.arrival,
                partition: Some(index),
                sequence: event.sequence,
                enqueued_at: event.enqueued_at,
                delivery_count: 0,
            };
            ReceivedMessage::new(place, &event.message)
        })
        .collect()
    }
}

impl HubPartition {
    fn append(&self, messages: Vec<AmqpMessage>, key: Option<&str>, arrival: AppendContext<'_>) {
        let mut log = lock(&self.log);
        for mut message in messages {
            if let Some(key) = key.filter(|_| message.annotation(PARTITION_KEY).is_none()) {
                message
                    .annotations
                    .push((AmqpValue::symbol(PARTITION_KEY), AmqpValue::string(key)));
            }
            let bytes = message.bytes();
            let event = HubEvent {
                arrival: arrival.counter.fetch_add(1, Ordering::Relaxed),
                sequence: log.next_sequence,
                offset: log.next_offset,
                enqueued_at: arrival.now,
                message,
            };
            log.next_sequence += 1;
            log.next_offset += i64::try_from(bytes).unwrap_or(i64::MAX);
            log.bytes += bytes;
            log.events.push_back(Arc::new(event));
        }
        while log.events.len() > arrival.limits.events_per_partition_max
            || log.bytes > arrival.limits.bytes_per_partition_max
        {
            let Some(oldest) = log.events.pop_front() else {
                break;
            };
            log.bytes -= oldest.message.bytes();
        }
    }

    /// The first retained event whose sequence is not below `sequence`.
    pub(crate) fn read(&self, sequence: i64) -> Option<Arc<HubEvent>> {
        let log = lock(&self.log);
        let first = log.events.front()?.sequence;
        let at = usize::try_from(sequence.saturating_sub(first)).unwrap_or(0);
        log.events.get(at).cloned()
    }

    /// The sequence a reader that begins at `start` wants next.
    pub(crate) fn first_sequence(&self, start: ReadStart) -> i64 {
        let log = lock(&self.log);
        let begin = log.begin();
        let after = |skipped: usize| begin + i64::try_from(skipped).unwrap_or(i64::MAX);
        let skip = |past: &dyn Fn(&HubEvent) -> bool| {
            after(log.events.partition_point(|event| past(event)))
        };
        match start {
            ReadStart::Earliest => begin,
            ReadStart::Latest => log.next_sequence,
            ReadStart::Sequence { at, inclusive } => at.saturating_add(i64::from(!inclusive)),
            ReadStart::Offset { at, inclusive } => {
                skip(&|event| event.offset < at || (event.offset == at && !inclusive))
            }
            ReadStart::Time { at, inclusive } => {
                skip(&|event| event.enqueued_at < at || (event.enqueued_at == at && !inclusive))
            }
        }
    }

    pub(crate) fn state(&self) -> PartitionState {
        let log = lock(&self.log);
        let last = log.events.back();
        PartitionState {
            begin_sequence: log.begin(),
            last_sequence: log.next_sequence - 1,
            last_offset: last.map_or(-1, |event| event.offset),
            last_enqueued_at: last.map(|event| event.enqueued_at),
        }
    }

    /// Registers a reader. A higher or equal epoch disconnects the group's other readers.
    ///
    /// Returns the flag that says when this reader was disconnected in its turn.
    pub(crate) fn claim(
        &self,
        group: &str,
        epoch: Option<i64>,
        wake: &Arc<Notify>,
    ) -> Result<Arc<AtomicBool>, AmqpError> {
        let mut readers = lock(&self.readers);
        readers.retain(|reader| reader.stolen.strong_count() > 0);
        let same = |reader: &&ReaderEntry| reader.group.eq_ignore_ascii_case(group);
        let live = |reader: &&ReaderEntry| {
            reader
                .stolen
                .upgrade()
                .is_some_and(|stolen| !stolen.load(Ordering::Relaxed))
        };
        let others = || readers.iter().filter(same).filter(live);
        if epoch.is_none() && others().count() >= READERS_MAX {
            let text = format!(
                "consumer group {group} has {READERS_MAX} receivers of this partition already; \
                 close one, or use another consumer group"
            );
            return Err(AmqpError::new("amqp:resource-limit-exceeded", text));
        }
        let highest = others().filter_map(|one| one.epoch).max();
        if highest > epoch {
            let text = format!("a reader with the higher epoch {highest:?} is connected");
            return Err(AmqpError::new("amqp:link:stolen", text));
        }
        if epoch.is_some() {
            for reader in readers.iter().filter(same) {
                if let (Some(stolen), Some(wake)) = (reader.stolen.upgrade(), reader.wake.upgrade())
                {
                    stolen.store(true, Ordering::Relaxed);
                    wake.notify_one();
                }
            }
        }
        let stolen = Arc::new(AtomicBool::new(false));
        readers.push(ReaderEntry {
            group: group.to_owned(),
            epoch,
            stolen: Arc::downgrade(&stolen),
            wake: Arc::downgrade(wake),
        });
        self.waiters.add(wake);
        Ok(stolen)
    }
}

impl PartitionLog {
    fn begin(&self) -> i64 {
        self.events
            .front()
            .map_or(self.next_sequence, |event| event.sequence)
    }
}

impl HubEvent {
    /// The event on the wire.
    pub(crate) fn encode(&self) -> bytes::Bytes {
        let annotations = symbols([
            ("x-opt-sequence-number", AmqpValue::Long(self.sequence)),
            ("x-opt-offset", AmqpValue::string(self.offset.to_string())),
            ("x-opt-enqueued-time", AmqpValue::time(self.enqueued_at)),
        ]);
        self.message.encode(&self.message.header, annotations)
    }
}
