//! Names of entities, as the services take them.
//!
//! Source: "Naming rules and restrictions for Azure resources", Microsoft.EventHub, Microsoft.ServiceBus and
//! Microsoft.EventGrid; "Azure Event Hubs quotas and limits" for the number of consumer groups.

use crate::settings::{HubSettings, QueueSettings, Settings};
use crate::store::SettingsError;

/// The group that every hub has.
const DEFAULT_GROUP: &str = "$Default";
/// Consumer groups of a hub in the Standard tier.
const GROUPS_MAX: usize = 20;

/// Checks the names of all hubs, topics, queues and Event Grid topics, and of what is in them.
pub(crate) fn check(settings: &Settings) -> Result<(), SettingsError> {
    for hub in &settings.hubs {
        check_hub(hub)?;
    }
    for topic in &settings.topics {
        check_name("topic", &topic.name, 1..=260)?;
        let names = |queue: &QueueSettings| queue.name.clone();
        check_distinct(&topic.subscriptions.iter().map(names).collect::<Vec<_>>())?;
        for subscription in &topic.subscriptions {
            check_name("subscription", &subscription.name, 1..=50)?;
        }
    }
    for queue in &settings.queues {
        check_name("queue", &queue.name, 1..=260)?;
    }
    for topic in &settings.event_grid_topics {
        // The service wants three characters; a short name is handy in a test and stands in no address there.
        check_name("Event Grid topic", &topic.name, 1..=50)?;
        if let Some(wrong) = topic
            .name
            .chars()
            .find(|letter| matches!(letter, '.' | '_'))
        {
            let rule = format!("it has {wrong:?}; letters, digits and hyphens are allowed");
            return Err(illegal("Event Grid topic", &topic.name, rule));
        }
    }
    Ok(())
}

fn check_hub(hub: &HubSettings) -> Result<(), SettingsError> {
    check_name("hub", &hub.name, 1..=256)?;
    for group in &hub.consumer_groups {
        if !group.eq_ignore_ascii_case(DEFAULT_GROUP) {
            check_name("consumer group", group, 1..=50)?;
        }
    }
    if hub.consumer_groups.len() > GROUPS_MAX {
        let rule = format!("it has more than {GROUPS_MAX} consumer groups");
        return Err(illegal("hub", &hub.name, rule));
    }
    check_distinct(&hub.consumer_groups)
}

fn check_name(
    what: &'static str,
    name: &str,
    lengths: std::ops::RangeInclusive<usize>,
) -> Result<(), SettingsError> {
    let letter = |letter: char| letter.is_ascii_alphanumeric();
    let inside = |one: char| letter(one) || matches!(one, '.' | '-' | '_');
    let rule = if !lengths.contains(&name.len()) {
        format!(
            "it must have {} to {} characters",
            lengths.start(),
            lengths.end()
        )
    } else if !name.chars().all(inside) {
        "letters, digits, dots, hyphens and underscores are allowed".to_owned()
    } else if !name.starts_with(letter) || !name.ends_with(letter) {
        "it must start and end with a letter or digit".to_owned()
    } else {
        return Ok(());
    };
    Err(illegal(what, name, rule))
}

/// Names are compared without case.
fn check_distinct(names: &[String]) -> Result<(), SettingsError> {
    for (at, name) in names.iter().enumerate() {
        if names[..at]
            .iter()
            .any(|other| other.eq_ignore_ascii_case(name))
        {
            return Err(SettingsError::NameTwice(name.clone()));
        }
    }
    Ok(())
}

fn illegal(what: &'static str, name: &str, rule: String) -> SettingsError {
    SettingsError::EntityName {
        what,
        name: name.to_owned(),
        rule,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{EventGridSettings, TopicSettings};

    #[test]
    fn names_that_the_services_refuse_are_refused() {
        let hub = |name: &str, groups: &[&str]| {
            let mut hub = HubSettings::new(name);
            let groups = groups.iter().map(|group| (*group).to_owned());
            hub.consumer_groups.extend(groups);
            Settings {
                hubs: vec![hub],
                ..Settings::default()
            }
        };
        let queue = |name: &str| Settings {
            queues: vec![QueueSettings::new(name)],
            ..Settings::default()
        };
        let topic = |name: &str, subscriptions: &[&str]| Settings {
            topics: vec![TopicSettings::new(name, subscriptions)],
            ..Settings::default()
        };
        let grid = |name: &str| Settings {
            event_grid_topics: vec![EventGridSettings::new(name)],
            ..Settings::default()
        };
        let many: Vec<String> = (0..20).map(|number| format!("g{number}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let long = "x".repeat(51);
        for (settings, text) in [
            (
                hub("a b", &[]),
                "hub \"a b\": letters, digits, dots, hyphens and underscores are allowed",
            ),
            (hub("", &[]), "hub \"\": it must have 1 to 256 characters"),
            (
                hub("-a", &[]),
                "it must start and end with a letter or digit",
            ),
            (hub("a", &[&long]), "it must have 1 to 50 characters"),
            (hub("a", &["$other"]), "consumer group \"$other\""),
            (hub("a", &["$default"]), "the name $default is used twice"),
            (hub("a", &many), "it has more than 20 consumer groups"),
            (queue("a/b"), "queue \"a/b\": letters"),
            (topic("a", &[""]), "subscription \"\": it must have 1 to 50"),
            (topic("a", &["b", "B"]), "the name B is used twice"),
            (grid(&long), "it must have 1 to 50 characters"),
            (grid("a_b"), "letters, digits and hyphens are allowed"),
        ] {
            let error = check(&settings).unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        }
        assert_eq!(check(&hub("telemetry.1", &["readers"])), Ok(()));
        assert_eq!(check(&topic("alerts", &["demo", "by-twin"])), Ok(()));
    }
}
