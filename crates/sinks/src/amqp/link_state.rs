//! What the task that owns the connection tells the sink: sizes of the link, and the credential in use.

use super::batch::SizeLimits;
use super::entity::AmqpEntity;
use super::target::AmqpTarget;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use twinroute_model::clock::Timestamp;
use twinroute_router::sink::{CredentialSlot, CredentialState};

/// What is assumed before a link has named its limits: batches as for Event Hubs Standard. No event is refused
/// by a guess.
const FIRST_LIMITS: SizeLimits = SizeLimits {
    message_max: usize::MAX,
    batch_max: 1 << 20,
};

/// Stands for no end.
const NO_END: i64 = i64::MAX;

/// Kept over reconnects. Cheap to clone.
#[derive(Clone)]
pub(crate) struct LinkState(Arc<LinkStateInner>);

struct LinkStateInner {
    limits: Mutex<SizeLimits>,
    /// The place of the credential that is tried first: the one that worked last.
    current: AtomicUsize,
    /// When the token of an identity ends that was put last, in milliseconds since 1970.
    token_ends: AtomicI64,
}

impl LinkState {
    pub(crate) fn new() -> Self {
        Self(Arc::new(LinkStateInner {
            limits: Mutex::new(FIRST_LIMITS),
            current: AtomicUsize::new(0),
            token_ends: AtomicI64::new(NO_END),
        }))
    }

    pub(crate) fn limits(&self) -> SizeLimits {
        let limits = self.0.limits.lock();
        *limits.unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_limits(&self, limits: SizeLimits) {
        let known = self.0.limits.lock();
        *known.unwrap_or_else(PoisonError::into_inner) = limits;
    }

    pub(crate) fn current(&self) -> usize {
        self.0.current.load(Ordering::Relaxed)
    }

    pub(crate) fn set_current(&self, index: usize) {
        self.0.current.store(index, Ordering::Relaxed);
    }

    /// Notes when the token ends that was put last.
    pub(crate) fn set_token_end(&self, end: Option<Timestamp>) {
        let millis = end.map_or(NO_END, Timestamp::unix_millis);
        self.0.token_ends.store(millis, Ordering::Relaxed);
    }

    /// The credentials that these targets are.
    pub(crate) fn credentials(&self, targets: &[AmqpTarget]) -> Vec<CredentialState> {
        let current = self.current();
        let state = |(index, target): (usize, &AmqpTarget)| {
            let (slot, expires_at) = match &target.entity {
                AmqpEntity::Keys(text) => (slot(index), text.expires_at()),
                AmqpEntity::Identity(_) => {
                    let millis = self.0.token_ends.load(Ordering::Relaxed);
                    let end = (millis != NO_END).then_some(Timestamp::from_unix_millis(millis));
                    (CredentialSlot::Identity, end)
                }
            };
            CredentialState {
                slot,
                active: index == current,
                expires_at,
            }
        };
        targets.iter().enumerate().map(state).collect()
    }
}

/// The name of a connection string by its place.
pub(crate) const fn slot(index: usize) -> CredentialSlot {
    match index {
        0 => CredentialSlot::Primary,
        _ => CredentialSlot::Secondary,
    }
}
