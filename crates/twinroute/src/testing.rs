//! Checks that a sink does what the router relies on.
//!
//! [`check_sink`] drives a sink through what happens in the life of a router and compares what the sink says with what
//! its destination has. It needs two functions of the program: one that makes a sink, and one that says what arrived.
//!
//! ```
//! use std::sync::{Arc, Mutex};
//! use twinroute::prelude::*;
//! use twinroute::testing::check_sink;
//!
//! /// Keeps what it is given.
//! #[derive(Clone, Default)]
//! struct ShelfSink(Arc<Mutex<Vec<Event>>>);
//!
//! impl Sink for ShelfSink {
//!     async fn send(&self, batch: &[Delivery]) -> SendResult {
//!         let events = batch.iter().map(|delivery| Event::clone(&delivery.event));
//!         self.0.lock().expect("no panic").extend(events);
//!         Ok(SendOutcome::all_delivered())
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let shelf = ShelfSink::default();
//! let arrived = async || shelf.0.lock().expect("no panic").clone();
//! check_sink(|| shelf.clone(), arrived).await.unwrap();
//! # }
//! ```
//!
//! | check | what it finds |
//! |---|---|
//! | `limits` | batches of nothing, or none at a time |
//! | `delivered is there` | a sink that says `Delivered` before its destination has the event, or changes it |
//! | `outcomes` | another number of outcomes than deliveries |
//! | `whole batches` | a batch as large as the sink says it may be is not taken |
//! | `at once` | batches that are unanswered at a time disturb each other |
//! | `order` | a twin's events arrive in another order |
//! | `partial` | an event that the destination refuses holds up the others |
//! | `cancelled` | a sink that is of no use after a batch was dropped on its way |
//! | `repeats` | a batch that comes again is not taken: deliveries are at least once |
//! | `restart` | a sink that is made again loses what the one before delivered |
//!
//! A panic, and a call that does not end in time, fail the check in which they happen.

mod checks;
mod probe;
mod samples;

pub use probe::ObservedEvent;

use crate::Sink;
use crate::event::Event;
use probe::SinkProbe;
use std::fmt;
use std::time::Duration;

/// How a sink is checked.
///
/// ```
/// use twinroute::prelude::*;
/// use twinroute::testing::SinkCheck;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), twinroute::Error> {
/// # use std::sync::{Arc, Mutex};
/// # type Shelf = Arc<Mutex<Vec<Event>>>;
/// # let shelf = Shelf::default();
/// # let make = || {
/// #     let shelf = Arc::clone(&shelf);
/// #     sink_fn(move |batch: Vec<Delivery>| {
/// #         let fits = |one: &Delivery| one.event.json_data().is_none_or(|page| page.len() < 100);
/// #         let kept = batch.iter().filter(|one| fits(one)).map(|one| Event::clone(&one.event));
/// #         shelf.lock().expect("no panic").extend(kept);
/// #         let outcomes = batch.iter().map(|one| match fits(one) {
/// #             true => DeliveryOutcome::Delivered,
/// #             false => DeliveryOutcome::reject("it fits no page"),
/// #         });
/// #         let outcome: SendOutcome = outcomes.collect();
/// #         async move { Ok(outcome) }
/// #     })
/// # };
/// # let arrived = async || shelf.lock().expect("no panic").clone();
/// let page = Event::builder().id("page").source("press-7").event_type("t").json(format_args!("\"{:200}\"", ""));
/// let check = SinkCheck::default().refused(page.build()?).time_limit(Duration::from_secs(3)).events(20);
/// let report = check.run(make, arrived).await.unwrap();
/// assert!(report.passed.contains(&"partial"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct SinkCheck {
    refused: Option<Event>,
    time_limit: Duration,
    events: usize,
}

impl Default for SinkCheck {
    fn default() -> Self {
        Self {
            refused: None,
            time_limit: Duration::from_secs(10),
            events: 200,
        }
    }
}

/// The checks that a sink passed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SinkReport {
    /// By name, in the order in which they ran.
    pub passed: Vec<&'static str>,
}

/// What a sink does not do.
///
/// ```
/// use twinroute::prelude::*;
/// use twinroute::testing::SinkCheck;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), twinroute::Error> {
/// // It says `Delivered`, and delivers nothing.
/// let make = || sink_fn(|_| async { Ok(SendOutcome::all_delivered()) });
/// let check = SinkCheck::default().time_limit(Duration::from_millis(200)).events(10);
/// let failures = check.run(make, async || Vec::<Event>::new()).await.unwrap_err();
/// assert_eq!(failures.failed[0].0, "delivered is there");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SinkFailures {
    /// The checks that it passed.
    pub passed: Vec<&'static str>,
    /// The checks that it failed, and why.
    pub failed: Vec<(&'static str, String)>,
}

impl fmt::Display for SinkFailures {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.passed.len() + self.failed.len();
        write!(
            formatter,
            "the sink fails {} of {all} checks",
            self.failed.len()
        )?;
        for (check, why) in &self.failed {
            write!(formatter, "\n{check}: {why}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for SinkFailures {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl std::error::Error for SinkFailures {}

/// Checks a sink; see the [module](self).
///
/// `make` gives a sink that delivers to one and the same destination each time, as after a restart; `observe` gives all
/// that this destination has, in the order of arrival: events, or their ids where no more is known.
///
/// # Errors
/// What the sink does not do.
pub async fn check_sink<S: Sink, O: Into<ObservedEvent>>(
    make: impl Fn() -> S,
    observe: impl AsyncFn() -> Vec<O>,
) -> Result<SinkReport, SinkFailures> {
    SinkCheck::default().run(make, observe).await
}

impl SinkCheck {
    /// An event that the destination refuses, such as one that is too large for it. The sink must say so of it alone, so
    /// that others are delivered. Without one, events with unusual names and payloads stand in its place, of which the
    /// sink may refuse any.
    #[must_use]
    pub fn refused(mut self, event: Event) -> Self {
        self.refused = Some(event);
        self
    }

    /// How long one call, or one check with a router, may take; 10 s unless set.
    #[must_use]
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = limit;
        self
    }

    /// How many events a check with a router sends; 200 unless set, 10 at least.
    #[must_use]
    pub fn events(mut self, events: usize) -> Self {
        self.events = events.max(10);
        self
    }

    /// Runs all checks, as [`check_sink`] does.
    ///
    /// # Errors
    /// What the sink does not do.
    pub async fn run<S: Sink, O: Into<ObservedEvent>>(
        &self,
        make: impl Fn() -> S,
        observe: impl AsyncFn() -> Vec<O>,
    ) -> Result<SinkReport, SinkFailures> {
        let probe = SinkProbe {
            make,
            observe,
            time_limit: self.time_limit,
        };
        let results = checks::all(&probe, self.refused.as_ref(), self.events).await;
        let mut report = SinkFailures {
            passed: Vec::new(),
            failed: Vec::new(),
        };
        for (check, result) in results {
            match result {
                Ok(()) => report.passed.push(check),
                Err(why) => report.failed.push((check, why)),
            }
        }
        match report.failed.is_empty() {
            true => Ok(SinkReport {
                passed: report.passed,
            }),
            false => Err(report),
        }
    }
}
