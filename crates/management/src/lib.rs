//! The management API of Azure, served from an embedded store.

mod admission;
mod arm;
#[cfg(test)]
mod arm_tests;
mod audit_cause;
#[cfg(test)]
mod azure_tools_tests;
mod context;
mod definitions;
mod digital_twins;
mod event_routes;
mod export;
mod groups;
mod illegal;
mod listing;
mod management;
mod openapi;
mod operations;
mod preconditions;
mod private_link;
mod providers;
mod provision;
mod provisioning_services;
mod resource_filter;
mod server;
mod settings;
mod store;
#[cfg(test)]
mod testing;
mod transitions;

pub use export::{
    ExistingResources, ExportedSecrets, ImportError, ImportOutcome, RefusedResource, SECRET_MEMBERS,
};
pub use management::{ManagementServer, StoreBacking};
pub use settings::{ProvisioningChecks, Settings};
pub use store::disk::StoreError;
