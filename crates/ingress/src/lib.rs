//! HTTP in: CloudEvents and the Event Grid publish surface.
//!
//! A request becomes events, all of them or none, and the router says whether they are kept.
//! Nothing here knows routes, endpoints or the journal; see [`IngressServer::handle`] for a request's
//! way.

mod allowance;
mod answer;
mod callers;
mod cloudevents;
mod counters;
mod credentials;
mod error;
mod event_grid;
mod excerpt;
mod form;
mod ingress;
mod notification;
mod preference;
mod settings;
mod target;
mod trace;

pub use callers::CallerSettings;
pub use ingress::IngressServer;
pub use settings::Settings;
