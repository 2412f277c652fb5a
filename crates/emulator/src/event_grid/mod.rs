//! Event Grid: topics that events are posted to over HTTP.

mod check;
mod http;
mod refusal;
mod service;
mod settings;
mod topic;

pub(crate) use http::answer;
pub(crate) use refusal::GridRefusal;
pub use service::EventGridService;
pub use settings::{EventGridLimits, EventGridSchema, EventGridSettings, EventGridTopicSettings};
pub use topic::GridEvent;
