//! What every server of twinroute shares: sockets, TLS, who may ask and from where, limits, shutdown.
//!
//! [`ListeningSocket::bind`] opens a TCP or unix socket, [`serve`] answers HTTP/1.1 and HTTP/2 on it with
//! one async function, and [`read_body`] collects a request's body within its limits. The caller
//! says when to stop. Nothing here knows what a request is for.

pub mod access;
mod activity;
mod address;
mod body;
mod budget;
mod certificate_end;
mod client_certificate;
mod connection;
mod cross_origin;
pub mod development;
mod inflate;
mod io;
mod ip_rules;
mod limits;
mod network;
mod peer;
mod scheme;
mod serve;
mod socket;
mod tls;
mod tls_error;

pub use address::{InvalidAddress, ListenAddress};
pub use body::{BodyError, BrokenOff, ServerBody, discard, read_body, read_body_within};
pub use budget::{BodyBudget, BodyPermit, BudgetExhausted};
pub use certificate_end::{CertificateEnd, CertificateStatus};
pub use client_certificate::ClientCertificate;
pub use cross_origin::{CrossOrigin, OwnHosts};
pub use inflate::{ContentEncoding, InflateError, inflate};
pub use ip_rules::{IpMask, IpRule, IpRuleAction, IpRules, MaskError};
pub use limits::HttpLimits;
pub use network::{InstanceNetworks, NetworkClosed, PrivateSettings, PrivateWay};
pub use peer::ClientPeer;
pub use scheme::RequestScheme;
pub use serve::serve;
pub use socket::{BindError, ListeningSocket, SocketMode, SocketSettings};
pub use tls::{MutualTlsSettings, ServerTls, TlsReload, TlsSettings};
pub use tls_error::TlsError;
