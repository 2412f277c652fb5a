//! Microsoft Entra and what machines have of it: tokens that it signs itself.
//!
//! | door | who comes in |
//! |---|---|
//! | `/metadata/identity/oauth2/token` | programs on a virtual machine (IMDS) |
//! | `/msi/token` | programs of App Service, Functions, Container Apps |
//! | `/{tenant}/oauth2/v2.0/token` | applications with a secret, a certificate or a federated token |
//!
//! Nobody's rights are looked at: whoever is known gets a token for whatever they ask.

mod assertion;
mod entra;
mod http;
mod issuer;
mod managed;
mod service;
mod settings;

pub(crate) use http::answer;
pub(crate) use issuer::{TokenIssuer, check_bearer};
pub use service::{IdentityService, TokenEndpoint, TokenRequest};
pub use settings::{ApplicationSettings, IdentitySettings, ManagedIdentitySettings};
