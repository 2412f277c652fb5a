//! What a source gives: definitions as of one listing.

use twinroute_model::instance::Instance;
use twinroute_router::source::DefinitionFault;

/// Definitions as they are now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefinitionsSnapshot {
    /// Counts snapshots of this process, from 1.
    pub generation: u64,
    /// SHA-256 of the listing they were made of, in hexadecimal digits.
    pub hash: String,
    /// The one instance; ready for `Definitions`.
    pub instances: Vec<Instance>,
    /// What was skipped, left out or cannot be used.
    pub warnings: Vec<DefinitionFault>,
    /// Endpoints that wait, and for what.
    pub waiting: Vec<DefinitionFault>,
}
