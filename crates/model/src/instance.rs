//! An instance's definitions: its endpoints and routes, complete, and from where it is reached.

use crate::endpoint::Endpoint;
use crate::name::InstanceName;
use crate::network::NetworkAccess;
use crate::route::Route;

/// An Azure Digital Twins instance: a tenant with its own endpoints and routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its name.
    pub name: InstanceName,
    /// All of its endpoints.
    pub endpoints: Vec<Endpoint>,
    /// All of its routes.
    pub routes: Vec<Route>,
    /// From which networks it is reached.
    pub network: NetworkAccess,
}
