//! What one caller may send, and how fast.
//!
//! A batch is refused as a whole, before anything of it is stored. Rates are those of the generic cell rate
//! algorithm: over time `…_per_second`, at once at most `…_burst`.

use crate::callers::CallerSettings;
use crate::excerpt::excerpt;
use governor::clock::Clock as _;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use metrics::{Counter, counter, describe_counter};
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use twinroute_model::event::Event;

/// Prefixes that a refusal names.
const NAMED_MAX: usize = 10;

/// Why a batch is more than its caller may send. The texts are safe to send.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AllowanceExceeded {
    #[error(
        "event {index}: {attribute} {found:?} is not one that caller {caller} may send; it must begin with \
         {allowed}"
    )]
    Prefix {
        index: usize,
        attribute: &'static str,
        found: String,
        caller: String,
        allowed: String,
    },
    #[error(
        "the batch has {found} {unit}; caller {caller} may send {burst} at once ({unit}_burst) and {per_second} a \
         second; send smaller batches"
    )]
    Burst {
        unit: RateUnit,
        found: usize,
        caller: String,
        burst: u32,
        per_second: u32,
    },
    #[error(
        "caller {caller} sends more than {per_second} {unit} a second; try again in {} s",
        seconds(*.after)
    )]
    Rate {
        unit: RateUnit,
        caller: String,
        per_second: u32,
        after: Duration,
    },
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RateUnit {
    Events,
    Bytes,
}

impl fmt::Display for RateUnit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Events => "events",
            Self::Bytes => "bytes",
        })
    }
}

/// Whole seconds, at least one: what `Retry-After` takes (RFC 9110 §10.2.3).
pub(crate) fn seconds(after: Duration) -> u64 {
    let whole = after.as_secs() + u64::from(after.subsec_nanos() > 0);
    whole.max(1)
}

/// What one caller may send.
pub(crate) struct CallerAllowance {
    name: String,
    /// The same, for those who keep it.
    shared_name: Arc<str>,
    sources: Vec<String>,
    types: Vec<String>,
    events: Option<CallerRate>,
    bytes: Option<CallerRate>,
    refused: RefusedUntil,
}

struct RefusedUntil {
    source: Counter,
    kind: Counter,
    burst: Counter,
    events: Counter,
    bytes: Counter,
}

struct CallerRate {
    limiter: RateLimiter<NotKeyed, InMemoryState, RateTicks, NoOpMiddleware<Duration>>,
    unit: RateUnit,
    per_second: NonZeroU32,
    burst: NonZeroU32,
}

/// Time since a caller's rates were made, by tokio's clock, which tests can pause.
#[derive(Clone, Debug)]
struct RateTicks(Instant);

impl governor::clock::Clock for RateTicks {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

impl CallerAllowance {
    /// Uses settings that were checked. Must be made after the recorder is installed.
    pub(crate) fn new(settings: &CallerSettings) -> Self {
        const NAME: &str = "twinroute_ingress_refused_total";
        describe_counter!(
            NAME,
            "Batches refused because their caller may not send them"
        );
        let name = &settings.name;
        let refused =
            |reason: &'static str| counter!(NAME, "caller" => name.clone(), "reason" => reason);
        let bytes = |size: bytesize::ByteSize| {
            let size = u32::try_from(size.as_u64()).unwrap_or(u32::MAX);
            NonZeroU32::new(size).unwrap_or(NonZeroU32::MIN)
        };
        let events = settings.events_per_second.map(|per_second| {
            let burst = settings.events_burst.unwrap_or(per_second);
            CallerRate::new(RateUnit::Events, per_second, burst)
        });
        let bytes = settings.bytes_per_second.map(bytes).map(|per_second| {
            let burst = settings.bytes_burst.map_or(per_second, bytes);
            CallerRate::new(RateUnit::Bytes, per_second, burst)
        });
        Self {
            name: name.clone(),
            shared_name: name.as_str().into(),
            sources: settings.sources.clone(),
            types: settings.types.clone(),
            events,
            bytes,
            refused: RefusedUntil {
                source: refused("source"),
                kind: refused("type"),
                burst: refused("burst"),
                events: refused("events"),
                bytes: refused("bytes"),
            },
        }
    }

    pub(crate) fn shared_name(&self) -> Arc<str> {
        Arc::clone(&self.shared_name)
    }

    /// Sets the events apart that the caller may not send, each with the reason; they are counted.
    pub(crate) fn set_apart(
        &self,
        events: Vec<Event>,
    ) -> (Vec<Event>, Vec<(Event, AllowanceExceeded)>) {
        let mut refused = Vec::new();
        let mut permitted = Vec::with_capacity(events.len());
        for (index, event) in events.into_iter().enumerate() {
            match self.permit_one(&event, index) {
                Ok(()) => permitted.push(event),
                Err(reason) => refused.push((event, reason)),
            }
        }
        (permitted, refused)
    }

    /// Passes a batch whose body had so many bytes, and takes it off what may be sent.
    ///
    /// # Errors
    /// [`AllowanceExceeded`], counted. A batch that has too many bytes has used up its events: two rates cannot be asked
    /// as one. It is bounded, since the next look at the bytes comes no sooner than they are there.
    pub(crate) fn take(&self, events: &[Event], bytes: usize) -> Result<(), AllowanceExceeded> {
        self.permit(events)?;
        let found = [(&self.events, events.len()), (&self.bytes, bytes)];
        // What never passes uses nothing up.
        for (rate, count) in &found {
            if let Some(rate) = rate {
                rate.fits(*count, self)?;
            }
        }
        for (rate, count) in &found {
            if let Some(rate) = rate {
                rate.take(*count, self)?;
            }
        }
        Ok(())
    }

    fn permit(&self, events: &[Event]) -> Result<(), AllowanceExceeded> {
        let mut events = events.iter().enumerate();
        events.try_for_each(|(index, event)| self.permit_one(event, index))
    }

    fn permit_one(&self, event: &Event, index: usize) -> Result<(), AllowanceExceeded> {
        self.begins(&self.sources, "source", event.source(), index)?;
        self.begins(&self.types, "type", event.event_type(), index)
    }

    fn begins(
        &self,
        prefixes: &[String],
        attribute: &'static str,
        value: &str,
        index: usize,
    ) -> Result<(), AllowanceExceeded> {
        let mut all = prefixes.iter();
        if prefixes.is_empty() || all.any(|prefix| value.starts_with(prefix.as_str())) {
            return Ok(());
        }
        match attribute {
            "source" => self.refused.source.increment(1),
            _ => self.refused.kind.increment(1),
        }
        Err(AllowanceExceeded::Prefix {
            index,
            attribute,
            found: excerpt(value.as_bytes()),
            caller: self.name.clone(),
            allowed: named(prefixes),
        })
    }
}

impl CallerRate {
    fn new(unit: RateUnit, per_second: NonZeroU32, burst: NonZeroU32) -> Self {
        let clock = RateTicks(Instant::now());
        let quota = Quota::per_second(per_second).allow_burst(burst);
        Self {
            limiter: RateLimiter::direct_with_clock(quota, clock),
            unit,
            per_second,
            burst,
        }
    }

    fn fits(&self, found: usize, allowance: &CallerAllowance) -> Result<(), AllowanceExceeded> {
        if found <= self.burst.get() as usize {
            return Ok(());
        }
        allowance.refused.burst.increment(1);
        Err(AllowanceExceeded::Burst {
            unit: self.unit,
            found,
            caller: allowance.name.clone(),
            burst: self.burst.get(),
            per_second: self.per_second.get(),
        })
    }

    fn take(&self, found: usize, allowance: &CallerAllowance) -> Result<(), AllowanceExceeded> {
        let found = u32::try_from(found).unwrap_or(u32::MAX);
        let Some(found) = NonZeroU32::new(found) else {
            return Ok(());
        };
        let after = match self.limiter.check_n(found) {
            // What is above the burst was refused before.
            Ok(Ok(())) | Err(_) => return Ok(()),
            Ok(Err(wait)) => wait.wait_time_from(self.limiter.clock().now()),
        };
        match self.unit {
            RateUnit::Events => allowance.refused.events.increment(1),
            RateUnit::Bytes => allowance.refused.bytes.increment(1),
        }
        Err(AllowanceExceeded::Rate {
            unit: self.unit,
            caller: allowance.name.clone(),
            per_second: self.per_second.get(),
            after,
        })
    }
}

fn named(prefixes: &[String]) -> String {
    let view = prefixes.iter().take(NAMED_MAX);
    let mut text = view
        .map(|prefix| format!("{prefix:?}"))
        .collect::<Vec<_>>()
        .join(" or ");
    let more = prefixes.len().saturating_sub(NAMED_MAX);
    if more > 0 {
        text.push_str(&format!(" or {more} more"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use tokio::time::advance;
    use twinroute_model::event::{EventLimits, EventParts};

    fn allowance(toml: &str) -> CallerAllowance {
        let text = format!("name = 'press-7'\nkeys = ['a2V5']\n{toml}");
        CallerAllowance::new(&toml::from_str(&text).unwrap())
    }

    fn batch(count: usize) -> Vec<Event> {
        let event = |id: usize| {
            let parts = EventParts::new(&id.to_string(), "urn:plant:press-7", "com.plant.moved");
            parts.build(&EventLimits::default()).unwrap()
        };
        (0..count).map(event).collect()
    }

    fn check(allowance: &CallerAllowance, events: usize, bytes: usize, expect: Expect) {
        let taken = allowance.take(&batch(events), bytes);
        expect.assert_eq(&taken.map_or_else(|error| error.to_string(), |()| "taken".to_owned()));
    }

    #[test]
    fn prefixes_decide_about_each_event() {
        let open = allowance("");
        check(&open, 3, 100, expect!["taken"]);
        let ours = allowance("sources = ['urn:a', 'urn:plant:press-7']\ntypes = ['com.plant.']");
        check(&ours, 3, 100, expect!["taken"]);
        let others = allowance("sources = ['urn:plant:press-8', 'urn:lab']");
        check(
            &others,
            2,
            100,
            expect![[
                r#"event 0: source "urn:plant:press-7" is not one that caller press-7 may send; it must begin with "urn:plant:press-8" or "urn:lab""#
            ]],
        );
        let kinds = allowance("types = ['Com.plant']");
        check(
            &kinds,
            2,
            100,
            expect![[
                r#"event 0: type "com.plant.moved" is not one that caller press-7 may send; it must begin with "Com.plant""#
            ]],
        );
        let many: Vec<_> = (0..12).map(|number| format!("'s{number}'")).collect();
        let many = allowance(&format!("sources = [{}]", many.join(", ")));
        check(
            &many,
            1,
            100,
            expect![[
                r#"event 0: source "urn:plant:press-7" is not one that caller press-7 may send; it must begin with "s0" or "s1" or "s2" or "s3" or "s4" or "s5" or "s6" or "s7" or "s8" or "s9" or 2 more"#
            ]],
        );
    }

    #[tokio::test(start_paused = true)]
    async fn rates_refill_with_time() {
        let caller = allowance("events_per_second = 10\nevents_burst = 20");
        check(&caller, 20, 1, expect!["taken"]);
        check(
            &caller,
            1,
            1,
            expect!["caller press-7 sends more than 10 events a second; try again in 1 s"],
        );
        check(
            &caller,
            15,
            1,
            expect!["caller press-7 sends more than 10 events a second; try again in 2 s"],
        );
        advance(Duration::from_millis(1500)).await;
        check(&caller, 15, 1, expect!["taken"]);
        check(
            &caller,
            1,
            1,
            expect!["caller press-7 sends more than 10 events a second; try again in 1 s"],
        );
        check(&caller, 0, 1, expect!["taken"]);
        check(
            &caller,
            21,
            1,
            expect![
                "the batch has 21 events; caller press-7 may send 20 at once (events_burst) and 10 a second; send smaller batches"
            ],
        );
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_are_counted_beside_events() {
        let caller =
            allowance("events_per_second = 2\nbytes_per_second = '1 KB'\nbytes_burst = '3 KB'");
        check(&caller, 1, 3000, expect!["taken"]);
        check(
            &caller,
            1,
            2000,
            expect!["caller press-7 sends more than 1000 bytes a second; try again in 2 s"],
        );
        check(
            &caller,
            1,
            3001,
            expect![
                "the batch has 3001 bytes; caller press-7 may send 3000 at once (bytes_burst) and 1000 a second; send smaller batches"
            ],
        );
        advance(Duration::from_secs(2)).await;
        check(&caller, 1, 2000, expect!["taken"]);
    }
}
