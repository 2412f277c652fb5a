//! Which events a tap shows.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use twinroute_filter::eval::{EventFields, EventScope, FilterProgram};
use twinroute_filter::{FilterOptions, RouteFilter};
use twinroute_model::event::Event;
use twinroute_model::twin::TwinKey;

/// Something that may be shown.
pub(crate) struct TapView<'a> {
    pub(crate) instance: &'a str,
    pub(crate) endpoints: &'a [&'a str],
    pub(crate) routes: &'a [&'a str],
    /// Known of deliveries.
    pub(crate) sequence: Option<u64>,
    /// Nothing where it is on disk only.
    pub(crate) event: Option<&'a Event>,
    pub(crate) outcome: TapOutcome,
    pub(crate) reason: &'a str,
}

/// Events a second that a tap shows unless it says otherwise, and the most that it may say.
const RATE: u32 = 100;
const RATE_MAX: u32 = 1_000;

/// What became of an event, or of one of its deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TapOutcome {
    /// It was accepted and matched some route.
    Accepted,
    /// It was accepted and matched none.
    Unmatched,
    /// An endpoint has it.
    Delivered,
    /// It failed alone, and waits for its next attempt.
    Retrying,
    /// It became a dead letter of an endpoint.
    DeadLettered,
    /// It was discarded for an endpoint.
    Discarded,
}

impl TapOutcome {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Accepted,
        Self::Unmatched,
        Self::Delivered,
        Self::Retrying,
        Self::DeadLettered,
        Self::Discarded,
    ];

    /// The word in queries and answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Unmatched => "unmatched",
            Self::Delivered => "delivered",
            Self::Retrying => "retrying",
            Self::DeadLettered => "dead-lettered",
            Self::Discarded => "discarded",
        }
    }

    /// Whether it is that of an event, not of a delivery.
    const fn is_of_event(self) -> bool {
        matches!(self, Self::Accepted | Self::Unmatched)
    }
}

impl fmt::Display for TapOutcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for TapOutcome {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|known| known.as_str() == word);
        known.ok_or_else(|| {
            let all = Self::ALL.map(Self::as_str).join(", ");
            format!("{word:?} is no outcome; there are {all}, and all")
        })
    }
}

/// A [`TapSelection`] as people and programs write it; what is empty is not asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TapRequest {
    /// Name of an instance.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub instance: String,
    /// Id of a route.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub route: String,
    /// Name of an endpoint.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub endpoint: String,
    /// An event type.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub event_type: String,
    /// A twin, whole or by the last segment of its key.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub twin: String,
    /// The filter of a route.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub filter: String,
    /// Outcomes, with commas between them, or `all`; `accepted,unmatched` when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub outcome: String,
    /// Events a second at most, 1 to 1,000; 100 when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub rate: String,
    /// Of the events that pass, one in so many is compared with the selection; all when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sample: String,
    /// `true`: with the whole event.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub body: String,
}

/// Which events a tap shows, and how many.
#[derive(Clone, Debug)]
pub struct TapSelection {
    instance: String,
    route: String,
    endpoint: String,
    event_type: String,
    twin: String,
    filter: Option<TapFilter>,
    outcomes: Vec<TapOutcome>,
    pub(super) rate: u32,
    pub(super) sample: u32,
    pub(super) with_body: bool,
}

/// A filter, compiled once: what a tap costs is mostly this.
#[derive(Clone, Debug)]
struct TapFilter {
    fields: EventFields,
    program: FilterProgram,
}

impl TapFilter {
    fn new(filter: &RouteFilter) -> Self {
        let mut fields = EventFields::new();
        let program = fields.compile(filter.expr());
        Self { fields, program }
    }

    fn matches(&self, event: &Event) -> bool {
        self.program.matches(&EventScope::new(&self.fields, event))
    }
}

impl TapRequest {
    /// Reads what is asked for.
    ///
    /// # Errors
    /// The first part that cannot be read, by name.
    pub fn parse(&self) -> Result<TapSelection, String> {
        let filter = match self.filter.as_str() {
            "" => None,
            text => {
                let filter = RouteFilter::parse(text, &FilterOptions::default());
                let filter = filter.map_err(|error| format!("filter: {error}"))?;
                Some(TapFilter::new(&filter))
            }
        };
        let outcomes = match self.outcome.as_str() {
            "" => Ok(vec![TapOutcome::Accepted, TapOutcome::Unmatched]),
            "all" => Ok(TapOutcome::ALL.to_vec()),
            words => words.split(',').map(|word| word.trim().parse()).collect(),
        };
        let outcomes: Vec<TapOutcome> =
            outcomes.map_err(|error: String| format!("outcome: {error}"))?;
        if !self.route.is_empty() && !outcomes.iter().all(|outcome| outcome.is_of_event()) {
            return Err(
                "route: what becomes of a delivery is its endpoint's; name that with endpoint"
                    .to_owned(),
            );
        }
        Ok(TapSelection {
            instance: self.instance.clone(),
            route: self.route.clone(),
            endpoint: self.endpoint.clone(),
            event_type: self.event_type.clone(),
            twin: self.twin.clone(),
            filter,
            outcomes,
            rate: number("rate", &self.rate, RATE, RATE_MAX)?,
            sample: number("sample", &self.sample, 1, 1_000_000)?,
            with_body: match self.body.as_str() {
                "" | "false" => false,
                "true" => true,
                other => return Err(format!("body: {other:?} is neither true nor false")),
            },
        })
    }
}

fn number(name: &str, text: &str, usual: u32, most: u32) -> Result<u32, String> {
    match text {
        "" => Ok(usual),
        text => match text.parse() {
            Ok(number) if (1..=most).contains(&number) => Ok(number),
            _ => Err(format!(
                "{name}: {text:?} must be a number from 1 to {most}"
            )),
        },
    }
}

impl TapSelection {
    /// Whether it shows anything of that outcome.
    pub(super) fn wants(&self, outcome: TapOutcome) -> bool {
        self.outcomes.contains(&outcome)
    }

    /// What it shows anything of.
    pub(super) fn outcomes(&self) -> &[TapOutcome] {
        &self.outcomes
    }

    /// Whether it shows this, which is of an outcome that it [wants](Self::wants).
    pub(super) fn takes(&self, view: &TapView<'_>) -> bool {
        let names = |wanted: &str, names: &[&str]| {
            wanted.is_empty() || names.iter().any(|name| name.eq_ignore_ascii_case(wanted))
        };
        names(&self.instance, &[view.instance])
            && names(&self.endpoint, view.endpoints)
            && (self.route.is_empty() || view.routes.contains(&self.route.as_str()))
            && self.takes_event(view)
    }

    fn takes_event(&self, view: &TapView<'_>) -> bool {
        let Some(event) = view.event else {
            let is_any = self.event_type.is_empty() && self.twin.is_empty();
            return is_any && self.filter.is_none();
        };
        let is_twin = || {
            let key = TwinKey::of(event).to_string();
            let last = key.rsplit('/').next();
            key == self.twin || last == Some(self.twin.as_str())
        };
        (self.event_type.is_empty() || self.event_type == event.event_type())
            && (self.twin.is_empty() || is_twin())
            && self
                .filter
                .as_ref()
                .is_none_or(|filter| filter.matches(event))
    }
}
