//! The one place where code of the embedding program is called: sinks, dead-letter stores, `Connect`, clocks, and
//! what it wants done with events before they are matched (`hooks`).
//!
//! Whatever such code does, it is the fault of its endpoint and of nobody else: a panic in a call, in a future or in a
//! `Drop` ends here, a future that never ends is given a limit, a wrong number of outcomes is not believed. No lock of
//! ours is held while it runs. What cannot be helped from here is a call that blocks: it keeps the thread it runs on.
//!
//! The texts of panics are not repeated: they may hold anything.

mod hooks;

pub use hooks::IntoMappedEvent;
pub(crate) use hooks::{EventHooks, MappingFault};

use crate::sink::{
    BatchLimits, Connect, ConnectError, CredentialState, DeadLetterDocument, DeadLetterStore,
    Delivery, DeliveryOutcome, EndpointFault, FailureReason, FaultKind, Sink, StoredLetter,
    StoredPage,
};
use futures_util::future::BoxFuture;
use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::timeout;
use twinroute_model::clock::{Clock, SystemClock, Timestamp};
use twinroute_model::endpoint::Endpoint;
use twinroute_model::settings::EndpointSettings;

/// The longest that one call of a dead-letter store may take; stores keep their own time below it.
const STORE_TIMEOUT: Duration = Duration::from_secs(120);

/// Code of the program panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct UserPanic;

/// Why a future of the program gave nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UserFault {
    Panicked,
    Late,
}

/// Calls into code of the program.
fn call<T>(code: impl FnOnce() -> T) -> Result<T, UserPanic> {
    catch_unwind(AssertUnwindSafe(code)).map_err(|payload| {
        forget(payload);
        UserPanic
    })
}

/// Lets go of what a panic carried. Anything but a text may panic again in its `Drop`, so that is leaked.
fn forget(payload: Box<dyn Any + Send>) {
    if !payload.is::<String>() && !payload.is::<&'static str>() {
        std::mem::forget(payload);
    }
}

/// Makes a future of the program and waits for it, no longer than `limit`.
async fn ask<'a, T>(
    make: impl FnOnce() -> BoxFuture<'a, T>,
    limit: Duration,
) -> Result<T, UserFault> {
    let made = call(make).map_err(|UserPanic| UserFault::Panicked)?;
    match timeout(limit, UserFuture(Some(made))).await {
        Ok(given) => given.map_err(|UserPanic| UserFault::Panicked),
        Err(_) => Err(UserFault::Late),
    }
}

/// A future of the program. One that panicked is not polled again.
struct UserFuture<'a, T>(Option<BoxFuture<'a, T>>);

impl<T> Future for UserFuture<'_, T> {
    type Output = Result<T, UserPanic>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(future) = &mut self.0 else {
            return Poll::Ready(Err(UserPanic));
        };
        let polled = call(|| future.as_mut().poll(context));
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(given)) => Poll::Ready(Ok(given)),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    }
}

impl<T> Drop for UserFuture<'_, T> {
    fn drop(&mut self) {
        let future = self.0.take();
        // A panic of its end is over here: whoever waited for it has gone.
        let _ended = call(|| drop(future));
    }
}

/// An object of the program, shared. Whoever lets it go last is safe from its `Drop`.
pub(crate) struct UserObject<T: ?Sized>(Option<Arc<T>>);

/// A sink of the program, or one that its [`Connect`] made.
pub(crate) type UserSink = UserObject<dyn Sink>;

/// A dead-letter store, as [`UserSink`].
pub(crate) type UserStore = UserObject<dyn DeadLetterStore>;

impl<T: ?Sized> UserObject<T> {
    fn new(object: Arc<T>) -> Self {
        Self(Some(object))
    }

    fn object(&self) -> &T {
        self.0.as_ref().expect("it is there until it is dropped")
    }

    /// Whether both are one object.
    pub(crate) fn is(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(own), Some(other)) => Arc::ptr_eq(own, other),
            _ => false,
        }
    }
}

impl<T: ?Sized> Clone for UserObject<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: ?Sized> Drop for UserObject<T> {
    fn drop(&mut self) {
        let object = self.0.take();
        if call(|| drop(object)).is_err() {
            tracing::error!("a sink or a dead-letter store panicked while it was dropped");
        }
    }
}

impl UserObject<dyn Sink> {
    pub(crate) fn of(sink: impl Sink) -> Self {
        Self::new(Arc::new(sink))
    }

    /// As [`Sink::limits`].
    pub(crate) fn limits(&self) -> Result<BatchLimits, EndpointFault> {
        call(|| self.object().limits()).map_err(|UserPanic| panicked("sink", "limits"))
    }

    /// As [`Sink::send`], with one outcome per delivery whatever the sink did.
    pub(crate) async fn send(&self, batch: &[Delivery], limit: Duration) -> Vec<DeliveryOutcome> {
        let fault = match ask(|| self.object().send(batch), limit).await {
            Ok(outcomes) if outcomes.len() == batch.len() => return outcomes,
            Ok(outcomes) => {
                let (given, deliveries) = (outcomes.len(), batch.len());
                let text = format!(
                    "the sink gave {given} outcomes for {deliveries} deliveries: none is believed"
                );
                unreachable("sink-outcomes", text)
            }
            Err(fault) => failed("sink", "send", fault, limit),
        };
        vec![DeliveryOutcome::Unavailable(fault); batch.len()]
    }

    /// As [`Sink::probe`].
    pub(crate) async fn probe(&self, limit: Duration) -> Result<(), EndpointFault> {
        let asked = ask(|| self.object().probe(), limit).await;
        asked.unwrap_or_else(|fault| Err(failed("sink", "probe", fault, limit)))
    }

    /// As [`Sink::credentials`]; none when that panics.
    pub(crate) fn credentials(&self) -> Result<Vec<CredentialState>, EndpointFault> {
        call(|| self.object().credentials()).map_err(|UserPanic| panicked("sink", "credentials"))
    }
}

impl UserObject<dyn DeadLetterStore> {
    pub(crate) fn of(store: impl DeadLetterStore) -> Self {
        Self::new(Arc::new(store))
    }

    /// As [`DeadLetterStore::put`].
    pub(crate) async fn put(&self, letter: DeadLetterDocument<'_>) -> Result<(), EndpointFault> {
        let asked = ask(|| self.object().put(letter), STORE_TIMEOUT).await;
        asked.unwrap_or_else(|fault| Err(failed("store", "put", fault, STORE_TIMEOUT)))
    }

    /// As [`DeadLetterStore::expires_at`].
    pub(crate) fn expires_at(&self) -> Result<Option<Timestamp>, EndpointFault> {
        call(|| self.object().expires_at()).map_err(|UserPanic| panicked("store", "expires_at"))
    }

    /// As [`DeadLetterStore::list`].
    pub(crate) async fn list(
        &self,
        prefix: &str,
        marker: Option<&str>,
    ) -> Result<StoredPage, EndpointFault> {
        let asked = ask(|| self.object().list(prefix, marker), STORE_TIMEOUT).await;
        asked.unwrap_or_else(|fault| Err(failed("store", "list", fault, STORE_TIMEOUT)))
    }

    /// As [`DeadLetterStore::read`].
    pub(crate) async fn read(&self, name: &str) -> Result<Vec<StoredLetter>, EndpointFault> {
        let asked = ask(|| self.object().read(name), STORE_TIMEOUT).await;
        asked.unwrap_or_else(|fault| Err(failed("store", "read", fault, STORE_TIMEOUT)))
    }
}

/// As [`Connect::connect`].
pub(crate) fn connect(
    connect: &dyn Connect,
    endpoint: &Endpoint,
    settings: &EndpointSettings,
) -> Result<UserSink, ConnectError> {
    let made = call(|| connect.connect(endpoint, settings));
    let made = made.unwrap_or_else(|UserPanic| Err(refused(endpoint, "connect")));
    made.map(UserObject::new)
}

/// As [`Connect::dead_letters`].
pub(crate) fn dead_letters(
    connect: &dyn Connect,
    endpoint: &Endpoint,
) -> Result<Option<UserStore>, ConnectError> {
    let made = call(|| connect.dead_letters(endpoint));
    let made = made.unwrap_or_else(|UserPanic| Err(refused(endpoint, "dead_letters")));
    made.map(|store| store.map(UserObject::new))
}

/// What a function of the program answers; nothing when it panics.
pub(crate) fn call_named<T>(name: &'static str, show: impl FnOnce() -> T) -> Option<T> {
    let answer = call(show);
    if answer.is_err() {
        tracing::error!(
            name,
            "a function that the program gave panicked; nothing is shown of it"
        );
    }
    answer.ok()
}

/// A clock of the program. When it panics the time that it gave last goes on, or the machine's if it gave none.
pub(crate) struct UserClock<C> {
    clock: C,
    last: AtomicI64,
    has_panicked: AtomicBool,
}

impl<C> UserClock<C> {
    pub(crate) fn new(clock: C) -> Self {
        Self {
            clock,
            last: AtomicI64::new(i64::MIN),
            has_panicked: AtomicBool::new(false),
        }
    }
}

impl<C: Clock> Clock for UserClock<C> {
    fn now(&self) -> Timestamp {
        if let Ok(now) = call(|| self.clock.now()) {
            self.last.store(now.unix_millis(), Ordering::Relaxed);
            return now;
        }
        if !self.has_panicked.swap(true, Ordering::Relaxed) {
            tracing::error!("the program's clock panicked; the time that it gave last is used");
        }
        match self.last.load(Ordering::Relaxed) {
            i64::MIN => SystemClock.now(),
            last => Timestamp::from_unix_millis(last),
        }
    }
}

fn refused(endpoint: &Endpoint, function: &str) -> ConnectError {
    ConnectError {
        endpoint: endpoint.name.to_string(),
        reason: format!("the program's Connect panicked in {function}; fix it, then apply again"),
    }
}

fn failed(whose: &'static str, function: &str, fault: UserFault, limit: Duration) -> EndpointFault {
    let code = match (whose, fault) {
        (_, UserFault::Panicked) => return panicked(whose, function),
        ("store", UserFault::Late) => "store-timeout",
        (_, UserFault::Late) => "sink-timeout",
    };
    let seconds = limit.as_secs_f64();
    unreachable(
        code,
        format!("the {whose} did not end {function} within {seconds} s"),
    )
}

fn panicked(whose: &'static str, function: &str) -> EndpointFault {
    let code = if whose == "store" {
        "store-panicked"
    } else {
        "sink-panicked"
    };
    unreachable(code, format!("the {whose} panicked in {function}"))
}

fn unreachable(code: &'static str, detail: String) -> EndpointFault {
    EndpointFault {
        kind: FaultKind::Unreachable,
        after: None,
        reason: FailureReason::new(code, detail),
    }
}

#[cfg(test)]
#[path = "user_code_tests.rs"]
mod tests;
