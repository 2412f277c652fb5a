//! Instances, endpoints and routes: what a router's table is made of, and changing it while the router runs.

mod change;
mod follow;

pub use change::DefinitionChange;
pub(crate) use change::{DefinitionKeeper, add_sink, change_definitions, plainly, remove_sink};
#[cfg(feature = "watch")]
pub use follow::FolderSource;
pub(crate) use follow::follow;
pub use follow::{FollowedSource, Source};
pub use twinroute_model::endpoint::Endpoint;
pub use twinroute_model::instance::Instance;
pub use twinroute_model::network::NetworkAccess;
pub use twinroute_model::route::Route;
pub use twinroute_router::source::{
    DefinitionFault, DefinitionFaults, DefinitionFolder, Definitions, Settings, StraySettings,
};
