//! The endpoint of our own that keeps what a sender which does not repeat delivered and nobody can read.

use twinroute_model::name::EndpointName;

/// The endpoint that keeps them. No definition may have this name.
pub const ENDPOINT: &str = "twinroute-unreadable";

/// What is wrong with a definition that has it.
pub(crate) const RESERVED: &str = "this name is twinroute's own; give the endpoint another";

/// What `/status` shows as the type of that endpoint.
pub(crate) const ENDPOINT_TYPE: &str = "Unreadable";

/// Whether an endpoint of this name would be taken for ours.
pub(crate) fn is_reserved(name: &EndpointName) -> bool {
    name.as_str().eq_ignore_ascii_case(ENDPOINT)
}

/// Its name.
pub(crate) fn name() -> EndpointName {
    EndpointName::new(ENDPOINT).expect("a legal name")
}
