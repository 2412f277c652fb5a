//! A router for digital-twin events in your own program.
//!
//! # Features
//!
//! | feature | on unless switched off | what it brings |
//! |---|---|---|
//! | `journal` | yes | a journal on disk |
//! | `watch` | yes | following a folder of definitions |
//! | `azure` | | sinks of Event Grid, Event Hubs and Service Bus, containers of dead letters, identities, Azure as a source |
//! | `ingress` | | events over HTTP, in a server of the program's own |
//! | `cloudevents-sdk` | | conversion to and from the events of that crate |

pub use twinroute_router::Router;

#[cfg(feature = "cloudevents-sdk")]
pub use twinroute_cloudevents_sdk as cloudevents_sdk;
