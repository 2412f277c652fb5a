//! What goes on in a connection: its body, its byte stream and its timer share it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

/// What goes on in a connection, recorded by its requests and reads.
#[derive(Debug, Default)]
pub(crate) struct ConnectionActivity {
    in_flight: AtomicUsize,
    finished: AtomicUsize,
    /// Bytes came while no request ran: the beginning of one.
    head: AtomicBool,
    refused: AtomicBool,
}

impl ConnectionActivity {
    pub(crate) fn record_read(&self) {
        if !self.is_busy() {
            self.head.store(true, Relaxed);
        }
    }

    /// A piece of an answer was asked for: the client takes what it is given.
    pub(crate) fn record_piece(&self) {
        self.finished.fetch_add(1, Relaxed);
    }

    pub(crate) fn record_refusal(&self) {
        self.refused.store(true, Relaxed);
    }

    /// Whether a request was refused, so that some of its body may still be on its way.
    pub(crate) fn lingers(&self) -> bool {
        self.refused.load(Relaxed)
    }

    /// Whether a request runs.
    pub(crate) fn is_busy(&self) -> bool {
        self.in_flight.load(Relaxed) > 0
    }

    /// Whether a request has begun to arrive.
    pub(crate) fn has_head(&self) -> bool {
        self.head.load(Relaxed)
    }

    /// Changes with each request that ends and each piece of an answer.
    pub(crate) fn finished(&self) -> usize {
        self.finished.load(Relaxed)
    }
}

/// A request that runs, until it is dropped.
pub(crate) struct RequestGuard(pub(crate) Arc<ConnectionActivity>);

impl RequestGuard {
    pub(crate) fn new(activity: Arc<ConnectionActivity>) -> Self {
        activity.in_flight.fetch_add(1, Relaxed);
        activity.head.store(false, Relaxed);
        Self(activity)
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
        self.0.finished.fetch_add(1, Relaxed);
    }
}
