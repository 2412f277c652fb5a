//! Whose fault a lane's backlog is: the router's, which lacks time to send it, or the endpoint's, which
//! takes no more.

use std::sync::atomic::{AtomicU8, Ordering};

/// What a lane's backlog means for those who bring more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum LaneBacklog {
    /// The lane keeps up.
    Small,
    /// The endpoint is slow, or takes nothing: what is more goes into its queue, up to its cap.
    OfEndpoint,
    /// The endpoint answers at once, and yet there is more than it takes. While another lane keeps up, that
    /// is the endpoint's own matter; when none does, the router sends as fast as it can.
    OfPromptEndpoint,
    /// The endpoint would take more, and the router has not come to send it.
    OfRouter,
}

impl LaneBacklog {
    const ALL: [Self; 4] = [
        Self::Small,
        Self::OfEndpoint,
        Self::OfPromptEndpoint,
        Self::OfRouter,
    ];

    /// Whether it can keep a batch waiting.
    pub(crate) const fn makes_wait(self) -> bool {
        matches!(self, Self::OfPromptEndpoint | Self::OfRouter)
    }
}

/// The backlog of a lane as accepting reads it, without the lane's lock.
#[derive(Debug)]
pub(crate) struct SharedBacklog(AtomicU8);

impl SharedBacklog {
    pub(crate) const fn new() -> Self {
        Self(AtomicU8::new(LaneBacklog::Small as u8))
    }

    pub(crate) fn get(&self) -> LaneBacklog {
        LaneBacklog::ALL[usize::from(self.0.load(Ordering::Relaxed))]
    }

    pub(crate) fn set(&self, backlog: LaneBacklog) {
        self.0.store(backlog as u8, Ordering::Relaxed);
    }
}

/// Finds out whether a batch has to wait, from the backlogs of the lanes that it goes to.
#[derive(Debug, Default)]
pub(crate) struct BatchBacklog {
    has_small: bool,
    has_prompt: bool,
    has_router: bool,
}

impl BatchBacklog {
    /// Takes one more lane into account.
    pub(crate) fn add(&mut self, backlog: LaneBacklog) {
        match backlog {
            LaneBacklog::Small => self.has_small = true,
            LaneBacklog::OfEndpoint => {}
            LaneBacklog::OfPromptEndpoint => self.has_prompt = true,
            LaneBacklog::OfRouter => self.has_router = true,
        }
    }

    /// Whether the batch has to wait.
    pub(crate) fn makes_wait(&self) -> bool {
        self.has_router || (self.has_prompt && !self.has_small)
    }
}

#[cfg(test)]
mod tests {
    use super::LaneBacklog::{OfEndpoint, OfPromptEndpoint, OfRouter, Small};
    use super::*;

    #[test]
    fn a_batch_waits_for_the_router_and_for_no_endpoint_while_another_keeps_up() {
        let check = |lanes: &[LaneBacklog], expect: bool| {
            let mut batch = BatchBacklog::default();
            lanes.iter().for_each(|backlog| batch.add(*backlog));
            assert_eq!(batch.makes_wait(), expect, "{lanes:?}");
        };
        check(&[], false);
        check(&[Small, Small], false);
        check(&[OfEndpoint], false);
        check(&[Small, OfRouter, OfEndpoint], true);
        check(&[Small, OfPromptEndpoint], false);
        check(&[OfPromptEndpoint, OfPromptEndpoint], true);
        check(&[OfEndpoint, OfPromptEndpoint], true);
        check(&[OfPromptEndpoint, OfRouter], true);
    }

    #[test]
    fn what_is_shared_is_what_was_set() {
        let shared = SharedBacklog::new();
        for backlog in LaneBacklog::ALL {
            shared.set(backlog);
            assert_eq!(shared.get(), backlog);
        }
    }
}
