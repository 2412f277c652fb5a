//! What Event Grid serves: its topics, and its limits.

use crate::settings_error::{SettingsError, check_name};

/// The Event Grid topics.
#[derive(Clone, Debug, Default)]
pub struct EventGridSettings {
    /// The topics.
    pub topics: Vec<EventGridTopicSettings>,
    /// Bounds that a test may want to reach.
    pub limits: EventGridLimits,
}

impl EventGridSettings {
    /// Checks the names of the topics, and that no two share a name or a path.
    pub(crate) fn check(&self) -> Result<(), SettingsError> {
        for (at, topic) in self.topics.iter().enumerate() {
            // The service wants three characters; a short name is handy in a test and stands in no address there.
            check_name("Event Grid topic", &topic.name, 1..=50)?;
            let mut letters = topic.name.chars();
            if let Some(wrong) = letters.find(|letter| matches!(letter, '.' | '_')) {
                let rule = format!("it has {wrong:?}; letters, digits and hyphens are allowed");
                let name = &topic.name;
                return Err(SettingsError::entity_name("Event Grid topic", name, rule));
            }
            for known in &self.topics[..at] {
                if known.name.eq_ignore_ascii_case(&topic.name) {
                    return Err(SettingsError::NameTwice(topic.name.clone()));
                }
                if known.path.eq_ignore_ascii_case(&topic.path) {
                    return Err(SettingsError::PathTwice(topic.path.clone()));
                }
            }
        }
        Ok(())
    }
}

/// Bounds of each Event Grid topic.
#[derive(Clone, Debug)]
pub struct EventGridLimits {
    /// Events kept per topic; the oldest go first.
    pub events_per_topic_max: usize,
    /// Bytes kept per topic.
    pub bytes_per_topic_max: usize,
}

impl Default for EventGridLimits {
    fn default() -> Self {
        Self {
            events_per_topic_max: 1_000_000,
            bytes_per_topic_max: 256 * 1024 * 1024,
        }
    }
}

/// One Event Grid topic.
#[derive(Clone, Debug)]
pub struct EventGridTopicSettings {
    /// Its name.
    pub name: String,
    /// The path events are posted to.
    pub path: String,
    /// What it takes.
    pub schema: EventGridSchema,
    /// First access key, base64.
    pub key1: String,
    /// Second access key, base64.
    pub key2: String,
}

impl EventGridTopicSettings {
    /// A CloudEvents topic at `/topics/<name>/api/events`.
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            path: format!("/topics/{name}/api/events"),
            name,
            schema: EventGridSchema::CloudEvents,
            key1: "Zmlyc3Qta2V5LW9mLXRoZS10b3BpYw==".to_owned(),
            key2: "c2Vjb25kLWtleS1vZi10aGUtdG9waWM=".to_owned(),
        }
    }
}

/// The input schema of an Event Grid topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventGridSchema {
    /// CloudEvents 1.0, one or a batch.
    CloudEvents,
    /// An array in the Event Grid event schema.
    EventGrid,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_event_grid_refuses_are_refused() {
        for (name, text) in [
            ("x".repeat(51).as_str(), "it must have 1 to 50 characters"),
            ("a_b", "letters, digits and hyphens are allowed"),
        ] {
            let settings = EventGridSettings {
                topics: vec![EventGridTopicSettings::new(name)],
                ..EventGridSettings::default()
            };
            let error = settings.check().unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        }
    }
}
