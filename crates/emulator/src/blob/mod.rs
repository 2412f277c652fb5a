//! A blob container over HTTP: what clients of dead letters need of the Blob service.
//!
//! Block blobs, whole or by blocks, their metadata, ranges, listings, and containers. Access is checked as
//! the service does it: shared key, service and account signatures. A request that asks for more, such as
//! leases, snapshots, tags or other kinds of blobs, is refused and never answered as if it had been heard.
//!
//! Source: Azure Storage REST API, Blob service. Paths are those of the storage emulators:
//! `/<account>/<container>/<blob>`.

mod access;
pub(crate) mod account;
mod call;
mod container;
mod http;
mod list;
mod operations;
mod range;
mod refusal;
mod reply;

pub use account::StoredBlob;
pub(crate) use http::run;

/// The account that every storage emulator has.
pub(crate) const ACCOUNT: &str = "devstoreaccount1";
/// The published key of [`ACCOUNT`], base64.
pub(crate) const ACCOUNT_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
