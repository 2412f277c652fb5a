//! A blob container over HTTP: what clients of dead letters need of the Blob service.
//!
//! Block blobs, whole or by blocks, their metadata, ranges, listings, and containers. Access is checked as
//! the service does it: shared key, service and account signatures. A request that asks for more, such as
//! leases, snapshots, tags or other kinds of blobs, is refused and never answered as if it had been heard.
//!
//! Source: Azure Storage REST API, Blob service. Paths are those of the storage emulators:
//! `/<account>/<container>/<blob>`.

mod access;
mod account;
mod call;
mod container;
mod containers;
mod http;
mod list;
mod operations;
mod range;
mod refusal;
mod reply;
mod settings;

pub use account::{BlobAccount, StoredBlob};
pub(crate) use http::answer;
pub use settings::{BlobLimits, BlobSettings};
