//! Why a lane sends nothing although nobody paused it: its endpoint is not ready to be sent to.
//!
//! A held lane takes deliveries into its queue within its limits, and nobody's time to live runs. When its
//! endpoint is ready it goes on with what waits.

use crate::sink::{
    BatchLimits, Delivery, DeliveryOutcome, EndpointFault, FailureReason, FaultKind, Sink,
};
use crate::status::EndpointState;
use futures_util::future::{BoxFuture, FutureExt as _, ready};
use twinroute_model::endpoint::{Endpoint, EndpointDestination, ProvisioningState};

/// Why nothing is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HoldReason {
    /// Events wait in the journal for an endpoint that nothing defines.
    Undefined,
    /// The management API says that the endpoint is not in use.
    State {
        state: ProvisioningState,
        error: Option<String>,
    },
    /// The endpoint's secret is not here.
    Secret {
        /// What is missing and where to put it.
        missing: String,
    },
}

impl HoldReason {
    /// What keeps an endpoint from being sent to, if anything does.
    pub(crate) fn of(endpoint: &Endpoint) -> Option<Self> {
        let state = endpoint.provisioning_state;
        if let Some(state) = state.filter(|state| state.waiting_word().is_some()) {
            let error = endpoint.provisioning_error.clone();
            return Some(Self::State { state, error });
        }
        match &endpoint.destination {
            EndpointDestination::Waiting(waiting) => Some(Self::Secret {
                missing: waiting.missing.clone(),
            }),
            _ => None,
        }
    }

    /// What `/status` shows.
    pub(crate) const fn state(&self) -> EndpointState {
        match self {
            Self::Undefined => EndpointState::Undefined,
            Self::State { state, .. } => EndpointState::Provisioning(*state),
            Self::Secret { .. } => EndpointState::WaitingForSecret,
        }
    }

    /// Why, and what ends it.
    pub(crate) fn why(&self) -> String {
        match self {
            Self::Undefined => {
                "not defined: its events wait for the grace time of removed endpoints and \
                 are dead letters then; define the endpoint again to have them delivered"
                    .to_owned()
            }
            Self::State { state, error } => {
                let error = error.as_deref().map(|error| format!(": {error}"));
                format!(
                    "its provisioning state is {state:?}{}; its events wait until that is Succeeded",
                    error.unwrap_or_default()
                )
            }
            Self::Secret { missing } => {
                format!("a secret is missing: {missing}; its events wait until it is there")
            }
        }
    }
}

/// Takes the place of the sink of a lane that is held; it is never asked to send.
pub(crate) struct HeldSink;

impl Sink for HeldSink {
    fn limits(&self) -> BatchLimits {
        BatchLimits {
            events_max: 1,
            bytes_max: 1,
            in_flight_max: 1,
        }
    }

    fn send<'a>(&'a self, batch: &'a [Delivery]) -> BoxFuture<'a, Vec<DeliveryOutcome>> {
        let fault = EndpointFault {
            kind: FaultKind::Unsupported,
            after: None,
            reason: FailureReason::new("held", "the endpoint is not ready to be sent to"),
        };
        ready(vec![DeliveryOutcome::Unavailable(fault); batch.len()]).boxed()
    }
}
