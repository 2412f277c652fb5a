//! What every server of twinroute shares: sockets, TLS, who may ask, limits, shutdown.
//!
//! [`Listener::bind`] opens a TCP or unix socket, [`serve`] answers HTTP/1.1 and HTTP/2 on it with
//! one async function, and [`read_body`] collects a request's body within its limits. The caller
//! says when to stop. Nothing here knows what a request is for.

pub mod access;
mod address;
mod body;
mod budget;
mod client_certificate;
mod connection;
pub mod development;
mod file;
mod foreign;
mod inflate;
mod io;
mod limits;
mod serve;
mod socket;
mod tls;

pub use address::{Address, InvalidAddress};
pub use body::{Body, BodyError, BrokenOff, discard, read_body, read_body_within};
pub use budget::{Budget, Hold};
pub use client_certificate::ClientCertificate;
pub use foreign::{Foreign, Hosts};
pub use inflate::{Encoding, InflateError, inflate};
pub use limits::Limits;
pub use serve::serve;
pub use socket::{BindError, Listener, Peer, Scheme, SocketMode, SocketSettings};
pub use tls::{MutualTlsSettings, Reloaded, Tls, TlsError, TlsSettings};
