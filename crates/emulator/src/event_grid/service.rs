//! The Event Grid topics of one emulator.

use super::settings::EventGridSettings;
use super::topic::{GridEvent, GridTopic};
use crate::access_key::KeySlot;
use crate::arrivals::{ArrivalCounts, TimedOut};
use crate::service_context::ServiceContext;
use crate::settings_error::SettingsError;
use std::time::Duration;

/// The Event Grid topics with their events and keys.
///
/// It outlives a shutdown. Methods that take a name panic when no such topic is in the settings.
#[derive(Debug)]
pub struct EventGridService {
    pub(crate) topics: Vec<GridTopic>,
    pub(crate) context: ServiceContext,
}

impl EventGridService {
    pub(crate) fn new(
        settings: &EventGridSettings,
        context: ServiceContext,
    ) -> Result<Self, SettingsError> {
        settings.check()?;
        let topics = settings.topics.iter();
        Ok(Self {
            topics: topics
                .map(|topic| GridTopic::new(topic, &settings.limits))
                .collect(),
            context,
        })
    }

    /// The events that a topic retains, in order of arrival.
    #[must_use]
    pub fn events(&self, topic: &str) -> Vec<GridEvent> {
        self.known(topic).events(0)
    }

    /// How much a topic took in.
    #[must_use]
    pub fn counts(&self, topic: &str) -> ArrivalCounts {
        self.known(topic).arrivals.counts()
    }

    /// Waits until a topic has stored `count` events overall.
    ///
    /// # Errors
    /// [`TimedOut`] with what had arrived.
    pub async fn wait_for(&self, topic: &str, count: u64, wait: Duration) -> Result<(), TimedOut> {
        self.known(topic)
            .arrivals
            .wait_for(topic, count, wait)
            .await
    }

    /// Makes a new access key of a topic in one place and gives it; the one before is refused from now on.
    pub fn regenerate_key(&self, topic: &str, slot: KeySlot) -> String {
        let key = self.context.key_maker.make();
        self.known(topic).set_key(slot, &key);
        key
    }

    /// Replaces both keys of a topic.
    pub fn set_keys(&self, topic: &str, key1: &str, key2: &str) {
        self.known(topic).set_keys(key1, key2);
    }

    pub(crate) fn topic(&self, name: &str) -> Option<&GridTopic> {
        let mut all = self.topics.iter();
        all.find(|topic| topic.name.eq_ignore_ascii_case(name))
    }

    /// The topic that is posted to at a path.
    pub(crate) fn topic_at(&self, path: &str) -> Option<&GridTopic> {
        let path = path.trim_end_matches('/');
        let mut all = self.topics.iter();
        all.find(|topic| topic.path.eq_ignore_ascii_case(path))
    }

    pub(crate) fn known(&self, name: &str) -> &GridTopic {
        self.topic(name)
            .unwrap_or_else(|| panic!("no Event Grid topic {name} in the settings"))
    }
}
