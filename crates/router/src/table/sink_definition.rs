//! What a lane's sink was made of: while that stays the same, the sink does.

use super::fingerprint::DefinitionFingerprint;
use std::sync::Arc;
use twinroute_model::endpoint::{Endpoint, ProvisioningState};
use twinroute_model::name::{EndpointName, InstanceName};
use twinroute_model::settings::EndpointSettings;

/// What a sink was made of; while it stays the same the sink does.
pub(super) enum SinkDefinition {
    Endpoint(Arc<Endpoint>, Arc<EndpointSettings>),
    Custom(Arc<EndpointSettings>),
}

impl SinkDefinition {
    /// What does not change a sink is left out: which of the states it is in in which it is sent to.
    pub(super) fn endpoint(endpoint: &Endpoint, settings: Arc<EndpointSettings>) -> Self {
        let (state, error) = state_that_holds(endpoint);
        let endpoint = Endpoint {
            provisioning_state: state,
            provisioning_error: error.cloned(),
            ..endpoint.clone()
        };
        Self::Endpoint(Arc::new(endpoint), settings)
    }

    /// Whether it is what [`Self::endpoint`] would make of these.
    pub(super) fn is_endpoint(&self, endpoint: &Endpoint, settings: &EndpointSettings) -> bool {
        let Self::Endpoint(own, own_settings) = self else {
            return false;
        };
        let Endpoint {
            name,
            destination,
            dead_letter,
            provisioning_state,
            provisioning_error,
        } = &**own;
        *name == endpoint.name
            && *destination == endpoint.destination
            && *dead_letter == endpoint.dead_letter
            && (*provisioning_state, provisioning_error.as_ref()) == state_that_holds(endpoint)
            && (std::ptr::eq(&raw const **own_settings, settings) || **own_settings == *settings)
    }

    /// The definition, unless the program brought the sink along.
    pub(super) fn endpoint_definition(&self) -> Option<(Arc<Endpoint>, Arc<EndpointSettings>)> {
        match self {
            Self::Endpoint(endpoint, settings) => {
                Some((Arc::clone(endpoint), Arc::clone(settings)))
            }
            Self::Custom(_) => None,
        }
    }

    pub(super) fn is_custom(&self, settings: &EndpointSettings) -> bool {
        matches!(self, Self::Custom(own) if **own == *settings)
    }

    /// Over everything but secrets, which print as masks.
    pub(super) fn fingerprint(
        &self,
        instance: &InstanceName,
        name: &EndpointName,
    ) -> DefinitionFingerprint {
        match self {
            Self::Endpoint(endpoint, settings) => DefinitionFingerprint::of(format_args!(
                "{instance}/endpoint/{name}/{endpoint:?} {settings:?}"
            )),
            Self::Custom(settings) => DefinitionFingerprint::of(format_args!(
                "{instance}/endpoint/{name}/custom {settings:?}"
            )),
        }
    }
}

/// State and error of an endpoint that is not sent to because of them.
fn state_that_holds(endpoint: &Endpoint) -> (Option<ProvisioningState>, Option<&String>) {
    match endpoint.provisioning_state {
        Some(state) if state.waiting_word().is_some() => {
            (Some(state), endpoint.provisioning_error.as_ref())
        }
        Some(_) | None => (None, None),
    }
}
