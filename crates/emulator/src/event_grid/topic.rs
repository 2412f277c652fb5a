//! What one Event Grid topic holds.

use super::settings::{EventGridLimits, EventGridSchema, EventGridTopicSettings};
use crate::access_key::KeySlot;
use crate::arrivals::ArrivalTally;
use crate::lock::lock;
use serde_json::value::RawValue;
use std::collections::VecDeque;
use std::sync::Mutex;
use twinroute_model::clock::Timestamp;

/// An event that a topic received.
#[derive(Clone, Debug)]
pub struct GridEvent {
    /// Its place in the topic, from 1.
    pub number: u64,
    /// The post it came with, from 1.
    pub post: u64,
    /// When it came.
    pub received_at: Timestamp,
    json: Box<RawValue>,
}

impl GridEvent {
    /// The event's JSON, byte for byte as it was sent.
    #[must_use]
    pub fn text(&self) -> &str {
        self.json.get()
    }

    /// The event as a JSON tree.
    ///
    /// # Panics
    /// Never: the event was parsed when it was received.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(self.json.get()).expect("it was parsed when it was received")
    }
}

#[derive(Debug)]
pub(crate) struct GridTopic {
    pub(crate) name: String,
    pub(crate) path: String,
    pub(crate) schema: EventGridSchema,
    keys: Mutex<[String; 2]>,
    pub(crate) arrivals: ArrivalTally,
    limits: EventGridLimits,
    log: Mutex<TopicLog>,
}

#[derive(Debug, Default)]
struct TopicLog {
    events: VecDeque<GridEvent>,
    bytes: usize,
    last_number: u64,
}

impl GridTopic {
    pub(crate) fn new(settings: &EventGridTopicSettings, limits: &EventGridLimits) -> Self {
        Self {
            name: settings.name.clone(),
            path: settings.path.clone(),
            schema: settings.schema,
            keys: Mutex::new([settings.key1.clone(), settings.key2.clone()]),
            arrivals: ArrivalTally::default(),
            limits: limits.clone(),
            log: Mutex::default(),
        }
    }

    pub(crate) fn keys(&self) -> [String; 2] {
        lock(&self.keys).clone()
    }

    pub(crate) fn set_keys(&self, key1: &str, key2: &str) {
        *lock(&self.keys) = [key1.to_owned(), key2.to_owned()];
    }

    pub(crate) fn set_key(&self, slot: KeySlot, key: &str) {
        key.clone_into(&mut lock(&self.keys)[slot.index()]);
    }

    pub(crate) fn store(&self, events: Vec<Box<RawValue>>, post: u64, now: Timestamp) {
        let count = events.len();
        let mut log = lock(&self.log);
        for json in events {
            log.last_number += 1;
            log.bytes += json.get().len();
            let number = log.last_number;
            log.events.push_back(GridEvent {
                number,
                post,
                received_at: now,
                json,
            });
        }
        while log.events.len() > self.limits.events_per_topic_max
            || log.bytes > self.limits.bytes_per_topic_max
        {
            let Some(oldest) = log.events.pop_front() else {
                break;
            };
            log.bytes -= oldest.json.get().len();
        }
        drop(log);
        self.arrivals.add_stored(count);
    }

    pub(crate) fn event_count(&self) -> usize {
        lock(&self.log).events.len()
    }

    /// The retained events with a number above `after`.
    pub(crate) fn events(&self, after: u64) -> Vec<GridEvent> {
        let log = lock(&self.log);
        let first = log.events.partition_point(|event| event.number <= after);
        log.events.range(first..).cloned().collect()
    }
}
