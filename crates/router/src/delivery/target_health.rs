//! What a lane sends to, its endpoint or its dead-letter container: whether that takes anything, and when it is tried
//! again if it does not.

use super::durable::ClockReading;
use crate::sink::{EndpointFault, FaultKind};
use tokio::time::Instant;
use twinroute_model::clock::Timestamp;
use twinroute_model::settings::EndpointSettings;
use twinroute_retry::schedule;

/// Why something takes nothing just now.
#[derive(Debug)]
pub(super) struct TargetFault {
    pub(super) kind: FaultKind,
    /// Faults in a row.
    pub(super) count: u32,
    pub(super) until: Instant,
    /// When the first of this kind came.
    pub(super) since: Timestamp,
    question: CredentialQuestion,
}

/// A credential that was refused is tried without an event before it is tried with one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CredentialQuestion {
    Open,
    Asked,
    /// The destination takes the credential; what becomes of a batch is the last word.
    Passed,
}

impl CredentialQuestion {
    const fn after(kind: FaultKind) -> Self {
        match kind {
            FaultKind::Unauthorized => Self::Open,
            _ => Self::Passed,
        }
    }
}

/// How one of them is.
#[derive(Debug, Default)]
pub(super) struct TargetHealth {
    /// Why it takes nothing just now.
    pub(super) fault: Option<TargetFault>,
    /// The last failure in words, also when it is over.
    pub(super) last_error: String,
}

impl TargetHealth {
    /// Whether it is left alone.
    pub(super) fn is_backing_off(&self, now: Instant) -> bool {
        self.fault.as_ref().is_some_and(|fault| fault.until > now)
    }

    /// It failed: it is left alone for a while, longer each time. True when the fault before was none, or of another
    /// kind. `random` is 0 to 1.
    pub(super) fn fail(
        &mut self,
        failed: &EndpointFault,
        settings: &EndpointSettings,
        random: f64,
        wall: &ClockReading,
    ) -> bool {
        let before = self.fault.take();
        let count = before.as_ref().map_or(0, |before| before.count) + 1;
        let same = before.filter(|before| before.kind == failed.kind);
        let delay = schedule::endpoint_delay(settings, count, failed.after, random);
        self.last_error = failed.reason.to_string();
        self.fault = Some(TargetFault {
            kind: failed.kind,
            count,
            until: wall.now + delay,
            since: same.as_ref().map_or(wall.wall, |same| same.since),
            question: CredentialQuestion::after(failed.kind),
        });
        same.is_none()
    }

    /// Has it tried at once.
    pub(super) fn retry_now(&mut self, now: Instant) {
        if let Some(fault) = &mut self.fault {
            fault.until = now;
        }
    }

    /// Whether its credential is to be asked for before it is sent anything: `Open` once, then `Asked`.
    pub(super) fn ask(&mut self) -> CredentialQuestion {
        let Some(fault) = &mut self.fault else {
            return CredentialQuestion::Passed;
        };
        let question = fault.question;
        if question == CredentialQuestion::Open {
            fault.question = CredentialQuestion::Asked;
        }
        question
    }

    /// It takes its credential.
    pub(super) fn pass(&mut self) {
        if let Some(fault) = &mut self.fault {
            fault.question = CredentialQuestion::Passed;
        }
    }
}
