//! Sinks of the program's own that come and go while a router runs.

use super::Router;
use crate::build_error::BuildError;
use crate::builder::{add_custom, unknown};
use crate::sink::{DeadLetterStore, Sink};
use crate::table::CustomEndpoint;
use crate::table::source::Definitions;
use crate::user_code::{UserSink, UserStore};
use std::sync::Arc;
use twinroute_model::name::EndpointName;
use twinroute_model::settings::EndpointSettings;

impl Router {
    /// As [`Self::apply`], with one more endpoint of the program's own in the default instance.
    ///
    /// Gives the generation in use afterwards.
    ///
    /// # Errors
    /// Everything that is wrong; nothing was changed then. A sink of that name must be removed first.
    pub fn add_sink(
        &self,
        definitions: &Definitions,
        endpoint: &str,
        (sink, store): (impl Sink, Option<impl DeadLetterStore>),
        settings: EndpointSettings,
    ) -> Result<u64, BuildError> {
        let made = CustomEndpoint {
            sink: UserSink::of(sink),
            store: store.map(UserStore::of),
            settings: Arc::new(settings),
        };
        let live = &self.parts.acceptor.live;
        live.apply_with_sinks(definitions, |custom| {
            add_custom(custom, endpoint, made).map(drop)
        })
    }

    /// As [`Self::apply`], without an endpoint of the program's own. What waits for it is delivered within the grace time,
    /// and becomes dead letters then.
    ///
    /// Gives the generation in use afterwards.
    ///
    /// # Errors
    /// There is none of that name; or a route names it, or anything else is wrong. Nothing was changed then.
    pub fn remove_sink(
        &self,
        definitions: &Definitions,
        endpoint: &str,
    ) -> Result<u64, BuildError> {
        let name = EndpointName::new(endpoint)?;
        let live = &self.parts.acceptor.live;
        live.apply_with_sinks(definitions, |custom| match custom.remove(&name) {
            Some(_) => Ok(()),
            None => {
                let names: Vec<EndpointName> = custom.keys().cloned().collect();
                Err(unknown(endpoint.to_owned(), &names))
            }
        })
    }
}
