//! The parameters of an inspection.

use percent_encoding::percent_decode_str;

/// Events of one answer, and how many there are unless it is said.
pub(super) const EVENTS_MAX: usize = 10_000;

/// The parameters that name an entity; one of them must be there.
pub(super) const KINDS: [&str; 5] = ["hub", "queue", "subscription", "topic", "container"];
/// The others.
const FILTERS: [&str; 4] = ["partition", "dead-letters", "after", "max"];

/// Why an inspection is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum QueryError {
    /// The question is wrong.
    #[error("{0}")]
    Question(String),
    /// There is no such entity.
    #[error("{0}")]
    NotFound(String),
}

/// What is inspected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EntityQuery {
    /// One of [`KINDS`]; `None` when only one entity can be meant.
    pub(super) entity: Option<(&'static str, String)>,
    /// Of a hub.
    pub(super) partition: Option<u16>,
    /// Those of a queue or subscription, instead of its messages.
    pub(super) dead_letters: bool,
    /// Only what has a higher number.
    pub(super) after: u64,
    /// At most so many.
    pub(super) max: usize,
}

/// Refuses any parameter.
pub(super) fn none(query: &str) -> Result<(), QueryError> {
    match pairs(query)?.first() {
        None => Ok(()),
        Some((name, _)) => Err(wrong(format!("parameter {name:?}: there are none here"))),
    }
}

impl EntityQuery {
    pub(super) fn parse(query: &str) -> Result<Self, QueryError> {
        let mut question = Self::empty();
        let mut seen: Vec<String> = Vec::new();
        for (name, value) in pairs(query)? {
            if seen.contains(&name) {
                return Err(wrong(format!("parameter {name}: it is given twice")));
            }
            question.take(&name, &value)?;
            seen.push(name);
        }
        question.check()?;
        Ok(question)
    }

    /// For a path that names its topic.
    pub(super) fn of_topic(topic: &str, query: &str) -> Result<Self, QueryError> {
        let mut question = Self::parse(query)?;
        if let Some((kind, _)) = &question.entity {
            let text = format!("parameter {kind}: the path names the topic {topic} already");
            return Err(wrong(text));
        }
        question.entity = Some(("topic", topic.to_owned()));
        question.check()?;
        Ok(question)
    }

    fn empty() -> Self {
        Self {
            entity: None,
            partition: None,
            dead_letters: false,
            after: 0,
            max: EVENTS_MAX,
        }
    }

    fn take(&mut self, name: &str, value: &str) -> Result<(), QueryError> {
        let bad = |what: &str| wrong(format!("parameter {name}: {value:?} is not {what}"));
        if let Some(kind) = KINDS.into_iter().find(|kind| *kind == name) {
            if let Some((other, _)) = &self.entity {
                let text = format!("parameters {other} and {kind}: name one entity at a time");
                return Err(wrong(text));
            }
            self.entity = Some((kind, value.to_owned()));
            return Ok(());
        }
        match name {
            "partition" => {
                let number = value
                    .parse()
                    .map_err(|_| bad("the number of a partition"))?;
                self.partition = Some(number);
            }
            "dead-letters" => {
                self.dead_letters = value.parse().map_err(|_| bad("true or false"))?;
            }
            "after" => self.after = value.parse().map_err(|_| bad("a number"))?,
            "max" => {
                let max: usize = value.parse().map_err(|_| bad("a number"))?;
                if !(1..=EVENTS_MAX).contains(&max) {
                    return Err(bad(&format!("between 1 and {EVENTS_MAX}")));
                }
                self.max = max;
            }
            other => {
                let known: Vec<&str> = KINDS.into_iter().chain(FILTERS).collect();
                let known = known.join(", ");
                return Err(wrong(format!("parameter {other:?}: known are {known}")));
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<(), QueryError> {
        let kind = self.entity.as_ref().map(|(kind, _)| *kind);
        if self.partition.is_some() && kind != Some("hub") {
            return Err(wrong("parameter partition: only hubs have any".to_owned()));
        }
        if self.dead_letters && !matches!(kind, Some("queue" | "subscription")) {
            let text = "parameter dead-letters: only queues and subscriptions have any";
            return Err(wrong(text.to_owned()));
        }
        if self.after > 0 && kind == Some("container") {
            let text = "parameter after: the blobs of a container have no numbers";
            return Err(wrong(text.to_owned()));
        }
        Ok(())
    }
}

fn pairs(query: &str) -> Result<Vec<(String, String)>, QueryError> {
    let whole = percent_decode_str(query).decode_utf8();
    whole.map_err(|_| wrong("the query is not UTF-8".to_owned()))?;
    Ok(form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect())
}

fn wrong(text: String) -> QueryError {
    QueryError::Question(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_parameter_is_refused_and_the_known_ones_are_named() {
        for (query, text) in [
            (
                "hubs=telemetry",
                "parameter \"hubs\": known are hub, queue, subscription, topic, container, partition, \
                 dead-letters, after, max",
            ),
            ("Hub=telemetry", "parameter \"Hub\": known are"),
            ("hub=a&queue=b", "parameters hub and queue: name one"),
            ("hub=a&hub=b", "parameter hub: it is given twice"),
            ("hub=a&after=x", "parameter after: \"x\" is not a number"),
            ("hub=a&max=0", "is not between 1 and 10000"),
            ("hub=a&dead-letters=true", "only queues and subscriptions"),
            ("queue=a&partition=1", "only hubs have any"),
            ("queue=a&dead-letters=yes", "is not true or false"),
            ("container=a&after=1", "have no numbers"),
            ("hub=%FF", "not UTF-8"),
        ] {
            let refused = EntityQuery::parse(query).unwrap_err().to_string();
            assert!(refused.contains(text), "{query}: {refused}");
        }
        assert!(none("x=1").is_err());
        assert!(EntityQuery::of_topic("t", "hub=a").is_err());
    }

    #[test]
    fn a_question_is_read() {
        let question = EntityQuery::parse("subscription=alerts%2Fdemo&dead-letters=true&max=5");
        let expect = EntityQuery {
            entity: Some(("subscription", "alerts/demo".to_owned())),
            dead_letters: true,
            max: 5,
            ..EntityQuery::empty()
        };
        assert_eq!(question, Ok(expect));
        assert_eq!(EntityQuery::parse(""), Ok(EntityQuery::empty()));
    }
}
