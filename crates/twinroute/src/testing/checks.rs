//! The checks, one function each.

use super::probe::{CheckResult, NOT_TAKEN, ObservedEvent, SinkProbe, panic_text, panicked};
use super::samples::{deliveries, many, numbered, unusual};
use crate::event::Event;
use crate::sink::Delivery;
use crate::{Router, Sink};
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use std::collections::HashMap;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

/// Events in a batch that the kit makes itself, at most.
const BATCH_EVENTS: usize = 20;

/// Twins of a check, in turn.
const TWINS: usize = 3;

/// How often a batch is polled before it is dropped: at most.
const POLLS_MAX: usize = 16;

/// Runs all checks, each with sinks of its own.
pub(super) async fn all<S, M, W, O>(
    probe: &SinkProbe<M, W>,
    refused: Option<&Event>,
    events: usize,
) -> Vec<(&'static str, CheckResult)>
where
    S: Sink,
    M: Fn() -> S,
    W: AsyncFn() -> Vec<O>,
    O: Into<ObservedEvent>,
{
    vec![
        ("limits", probe.limits()),
        ("delivered is there", probe.delivered_is_there().await),
        ("outcomes", probe.outcomes().await),
        ("whole batches", probe.whole_batches().await),
        ("at once", probe.at_once().await),
        ("order", probe.order(events).await),
        ("partial", probe.partial(refused, events).await),
        ("cancelled", probe.cancelled().await),
        ("repeats", probe.repeats().await),
        ("restart", probe.restart(events).await),
    ]
}

impl<S, M, W, O> SinkProbe<M, W>
where
    S: Sink,
    M: Fn() -> S,
    W: AsyncFn() -> Vec<O>,
    O: Into<ObservedEvent>,
{
    fn limits(&self) -> CheckResult {
        let sink = self.sink()?;
        let limits = catch_unwind(AssertUnwindSafe(|| sink.limits()));
        let limits =
            limits.map_err(|panic| format!("it panicked in limits: {}", panic_text(&*panic)))?;
        for (name, value) in [
            ("events_max", limits.events_max),
            ("bytes_max", limits.bytes_max),
            ("in_flight_max", limits.in_flight_max),
        ] {
            if value == 0 {
                return Err(format!(
                    "{name} is 0: nothing could be sent; say 1 at least"
                ));
            }
        }
        Ok(())
    }

    async fn delivered_is_there(&self) -> CheckResult {
        let sink = self.sink()?;
        for events in many("there", 3 * BATCH_EVENTS, TWINS).chunks(self.batch_events(&sink)) {
            self.deliver(&sink, events).await?;
        }
        self.deliver(&sink, &[numbered("alone", 0, 1)]).await
    }

    /// For whatever it is given, legal and rare, it says what became of each.
    async fn outcomes(&self) -> CheckResult {
        let sink = self.sink()?;
        for event in unusual("outcomes") {
            // One that it does not take at all is a matter of `partial`.
            match self.send(&sink, &deliveries(&[event])).await {
                Err(why) if !why.starts_with(NOT_TAKEN) => return Err(why),
                Ok(_) | Err(_) => {}
            }
        }
        let events = many("outcomes", self.batch_events(&sink), TWINS);
        self.deliver(&sink, &events).await
    }

    /// As many events as it says that it takes.
    async fn whole_batches(&self) -> CheckResult {
        let sink = self.sink()?;
        let limits = sink.limits();
        let size = numbered("whole", 0, 1).size();
        let events = limits
            .events_max
            .min(limits.bytes_max / size)
            .clamp(1, 10_000);
        self.deliver(&sink, &many("whole", events, TWINS)).await
    }

    /// As many batches unanswered at a time as it says.
    async fn at_once(&self) -> CheckResult {
        let sink = self.sink()?;
        let batches = sink.limits().in_flight_max.clamp(1, 16);
        let events = many("once", batches * self.batch_events(&sink), batches);
        let sending = events.chunks(self.batch_events(&sink));
        let results = join_all(sending.map(|events| self.deliver(&sink, events))).await;
        results.into_iter().collect()
    }

    /// Events of a twin arrive in the order in which they were accepted.
    async fn order(&self, events: usize) -> CheckResult {
        let router = self.router().await?;
        let events = many("order", events, TWINS);
        accept(&router, &events).await?;
        self.until_there(&router, &events).await?;
        router.stop(Duration::ZERO).await;
        let arrivals = self.arrivals("order").await;
        let twin = |id: &String| number(id) % TWINS;
        let mut last: HashMap<usize, usize> = HashMap::new();
        for id in &arrivals {
            let before = last.insert(twin(id), number(id));
            if before.is_some_and(|before| before > number(id)) {
                let before = before.unwrap_or_default();
                return Err(format!(
                    "event {id} arrived after order-{before} of the same twin: send a batch in its order, and one \
                     at a time (`in_flight_max: 1`) where the destination keeps no order between two"
                ));
            }
        }
        Ok(())
    }

    /// What the destination refuses holds up no other event.
    async fn partial(&self, refused: Option<&Event>, events: usize) -> CheckResult {
        let router = self.router().await?;
        let good = many("partial", events.min(50), TWINS);
        let odd: Vec<Event> = match refused {
            Some(refused) => vec![refused.clone()],
            None => unusual("partial"),
        };
        let mut mixed = Vec::with_capacity(good.len() + odd.len());
        let (before, after) = good.split_at(good.len() / 2);
        mixed.extend_from_slice(before);
        mixed.extend(odd);
        mixed.extend_from_slice(after);
        accept(&router, &mixed).await?;
        let arrived = self.until_there(&router, &good).await;
        arrived.map_err(|why| format!("beside an event that may be refused: {why}"))?;
        if let Some(refused) = refused {
            self.is_refused(&router, refused).await?;
        }
        router.stop(Duration::ZERO).await;
        Ok(())
    }

    /// The one that is refused is a dead letter, and not at the destination.
    async fn is_refused(&self, router: &Router, refused: &Event) -> CheckResult {
        let settled = tokio::time::timeout(self.time_limit, router.settled()).await;
        let status = router.status();
        let endpoints = status.instances.iter().flat_map(|one| &one.endpoints);
        let dead: u64 = endpoints.map(|endpoint| endpoint.dead_letters.all()).sum();
        let id = refused.id();
        if settled.is_err() || dead != 1 {
            return Err(format!(
                "event {id}, which is refused, did not become a dead letter: say `DeliveryOutcome::reject` of it"
            ));
        }
        match self.are_there(std::iter::once(refused)).await {
            Ok(()) => Err(format!(
                "event {id} was said to be refused and is at the destination: say `Delivered` of what it has"
            )),
            Err(_) => Ok(()),
        }
    }

    /// A batch that is dropped on its way, wherever that is, leaves a sink that delivers it when it comes again.
    async fn cancelled(&self) -> CheckResult {
        let sink = self.sink()?;
        for polls in 1..=POLLS_MAX {
            let events = many(&format!("cancelled{polls}"), 3, TWINS);
            let ended = self.drop_after(&sink, &deliveries(&events), polls).await?;
            let again = self.deliver(&sink, &events).await;
            again.map_err(|why| format!("after a batch that was dropped: {why}"))?;
            if ended {
                break;
            }
        }
        Ok(())
    }

    /// Drops a batch after so many polls; whether it had ended before.
    async fn drop_after(&self, sink: &S, batch: &[Delivery], polls: usize) -> Result<bool, String> {
        let sending = AssertUnwindSafe(async { sink.send(batch).await }).catch_unwind();
        let mut sending = pin!(sending);
        let mut left = polls;
        let polled = poll_fn(|context| match sending.as_mut().poll(context) {
            Poll::Ready(Ok(_)) => Poll::Ready(Ok(true)),
            Poll::Ready(Err(panic)) => Poll::Ready(Err(panicked(batch.len(), &*panic))),
            Poll::Pending => {
                left -= 1;
                match left {
                    0 => Poll::Ready(Ok(false)),
                    _ => Poll::Pending,
                }
            }
        });
        let late = |_| "a batch of 3 events did not end in time".to_owned();
        tokio::time::timeout(self.time_limit, polled)
            .await
            .map_err(late)?
    }

    /// A batch that comes again is delivered.
    async fn repeats(&self) -> CheckResult {
        let sink = self.sink()?;
        let events = many("repeats", 3, TWINS);
        for _ in 0..2 {
            self.deliver(&sink, &events).await?;
        }
        Ok(())
    }

    /// A sink that is made again goes on where the one before was.
    async fn restart(&self, events: usize) -> CheckResult {
        let events = many("restart", events, TWINS);
        let (before, after) = events.split_at(events.len() / 2);
        let router = self.router().await?;
        accept(&router, before).await?;
        self.until_there(&router, before).await?;
        // In the middle of what it does, and what it had not delivered is repeated, as from a journal.
        accept(&router, after).await?;
        drop(router);
        let router = self.router().await?;
        let kept = self.are_there(before.iter()).await;
        kept.map_err(|why| format!("after a restart: {why}"))?;
        accept(&router, after).await?;
        let arrived = self.until_there(&router, &events).await;
        router.stop(Duration::ZERO).await;
        arrived.map_err(|why| format!("after a restart: {why}"))
    }

    /// Events in a batch of the kit's own.
    fn batch_events(&self, sink: &S) -> usize {
        sink.limits().events_max.clamp(1, BATCH_EVENTS)
    }
}

async fn accept(router: &Router, events: &[Event]) -> CheckResult {
    for batch in events.chunks(BATCH_EVENTS) {
        let accepted = router.accept_batch(batch.iter().cloned()).await;
        accepted.map_err(|error| format!("the router accepted nothing: {error}"))?;
    }
    Ok(())
}

/// The number at the end of an id.
fn number(id: &str) -> usize {
    let digits = id.rsplit('-').next();
    digits
        .and_then(|digits| digits.parse().ok())
        .unwrap_or_default()
}
