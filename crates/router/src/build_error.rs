//! Why no router could be built.

use crate::table::source::DefinitionFaults;
use std::path::PathBuf;
use twinroute_model::name::{EndpointName, InvalidName};

/// Why no router could be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// There is no tokio runtime, whose tasks a router consists of.
    #[error("a router needs a tokio runtime: build it within one, as in `#[tokio::main]`")]
    NoRuntime,
    /// A name is not allowed.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// The definitions cannot become a table.
    #[error(transparent)]
    Definitions(#[from] DefinitionFaults),
    /// Settings of a sink are out of range.
    #[error("endpoint {endpoint}: {rule}")]
    Settings {
        /// The endpoint.
        endpoint: EndpointName,
        /// The field, and what it must be.
        rule: String,
    },
    /// Two sinks have one name.
    #[error("endpoint {0}: it was given two sinks; give each an endpoint of its own")]
    TwoSinks(EndpointName),
    /// Two dead-letter stores are for one endpoint.
    #[error("endpoint {0}: it was given two dead-letter stores; keep one of them")]
    TwoStores(EndpointName),
    /// Something is for an endpoint that has no sink of the program's own.
    #[error("endpoint {endpoint}: the program gave no sink of this name; {hint}")]
    UnknownEndpoint {
        /// The name.
        endpoint: String,
        /// What may have been meant.
        hint: String,
    },
    /// A dead-letter store, and no sink at all.
    #[error("dead letters: the builder was given a store and no sink; add one with `sink`")]
    StoreWithoutSink,
    /// The folder for notes about replays cannot be made.
    #[error("folder {}: cannot be made", folder.display())]
    ReplayNotes {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}
