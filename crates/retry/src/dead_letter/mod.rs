//! Dead letters: deliveries that could not be made, and why; how they are written to an endpoint's
//! container and read back from one.

#[cfg(feature = "blob")]
pub mod blob_store;
#[cfg(feature = "blob")]
pub mod container;
pub mod document;
#[cfg(feature = "blob")]
pub mod fault;
pub mod listing;
pub mod name;
#[cfg(feature = "blob")]
mod page_guard;
pub mod read;
pub mod store;
