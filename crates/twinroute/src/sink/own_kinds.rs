//! Sinks of the program's own kinds, which definitions ask for by the name of a kind.

use super::send::LaneSink;
use super::{Connect, ConnectError, DeadLetterStore, Sink};
use crate::definitions::{CustomDestination, Endpoint, EndpointDestination};
use crate::settings::EndpointSettings;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Makes a sink of one kind, or says why not.
type MakeSink = Box<
    dyn Fn(&CustomDestination) -> Result<Arc<dyn twinroute_router::sink::Sink>, String>
        + Send
        + Sync,
>;

/// Makes the sinks of the program's own kinds itself, and leaves all others to what else the program brought.
#[derive(Default)]
pub(crate) struct OwnKinds {
    kinds: BTreeMap<String, MakeSink>,
    others: Option<Arc<dyn Connect>>,
}

impl OwnKinds {
    /// A kind; one of the same name takes its place.
    pub(crate) fn add<S: Sink, E: ToString>(
        &mut self,
        kind: &str,
        make: impl Fn(&CustomDestination) -> Result<S, E> + Send + Sync + 'static,
    ) {
        let make: MakeSink = Box::new(move |destination| match make(destination) {
            Ok(sink) => Ok(Arc::new(LaneSink(sink))),
            Err(reason) => Err(reason.to_string()),
        });
        self.kinds.insert(kind.to_owned(), make);
    }

    /// Who makes the sinks of all other endpoints.
    pub(crate) fn others(&mut self, others: impl Connect) {
        self.others = Some(Arc::new(others));
    }

    fn make(
        &self,
        destination: &CustomDestination,
    ) -> Result<Arc<dyn twinroute_router::sink::Sink>, String> {
        let kind = &destination.kind;
        match self.kinds.get(kind) {
            Some(make) => make(destination),
            None => {
                let known: Vec<&str> = self.kinds.keys().map(String::as_str).collect();
                let known = match known.is_empty() {
                    true => "none".to_owned(),
                    false => known.join(", "),
                };
                Err(format!(
                    "this router has no sinks of kind {kind:?}, it has: {known}; give its builder a \
                     function that makes them with `sinks_of_kind`"
                ))
            }
        }
    }
}

impl Connect for OwnKinds {
    fn connect(
        &self,
        endpoint: &Endpoint,
        settings: &EndpointSettings,
    ) -> Result<Arc<dyn twinroute_router::sink::Sink>, ConnectError> {
        let refused = |reason| ConnectError {
            endpoint: endpoint.name.to_string(),
            reason,
        };
        match (&endpoint.destination, &self.others) {
            (EndpointDestination::Custom(destination), _) => {
                self.make(destination).map_err(refused)
            }
            (_, Some(others)) => others.connect(endpoint, settings),
            (_, None) => Err(refused(format!(
                "this router has no protocol client for {}; give its builder one with `connect`",
                endpoint.endpoint_type()
            ))),
        }
    }

    fn dead_letters(
        &self,
        endpoint: &Endpoint,
    ) -> Result<Option<Arc<dyn DeadLetterStore>>, ConnectError> {
        match &self.others {
            Some(others) => others.dead_letters(endpoint),
            None => Ok(None),
        }
    }
}
