//! What a program wants done with every event before it is matched: changed or dropped, kept in order by another key.

use super::{UserPanic, call};
use std::sync::Arc;
use twinroute_model::event::Event;
use twinroute_model::twin::TwinKey;

/// What a program makes of an event before it is matched: the event itself, changed or not; nothing, which drops it;
/// or an error, which refuses the batch that it is part of.
///
/// [`RouterBuilder::map_event`](crate::RouterBuilder::map_event) takes functions that give an `Event`, an
/// `Option<Event>`, or a `Result` of one of them.
pub trait IntoMappedEvent {
    /// The event to match, or none.
    ///
    /// # Errors
    /// Why the event cannot be accepted; producers see this text.
    fn into_mapped(self) -> Result<Option<Event>, String>;
}

impl IntoMappedEvent for Event {
    fn into_mapped(self) -> Result<Option<Event>, String> {
        Ok(Some(self))
    }
}

impl IntoMappedEvent for Option<Event> {
    fn into_mapped(self) -> Result<Option<Event>, String> {
        Ok(self)
    }
}

impl<M: IntoMappedEvent, E: std::fmt::Display> IntoMappedEvent for Result<M, E> {
    fn into_mapped(self) -> Result<Option<Event>, String> {
        self.map_err(|error| error.to_string())?.into_mapped()
    }
}

type MapFunction = dyn Fn(Event) -> Result<Option<Event>, String> + Send + Sync;
type OrderKeyFunction = dyn Fn(&Event) -> String + Send + Sync;

/// What a program wants done with every event before it is matched.
#[derive(Clone, Default)]
pub(crate) struct EventHooks {
    map: Option<Arc<MapFunction>>,
    key: Option<Arc<OrderKeyFunction>>,
}

/// Why the program made no event of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MappingFault(pub(crate) String);

/// An event as the program wants it matched.
#[derive(Debug)]
pub(crate) struct MappedEvent {
    pub(crate) event: Event,
    /// Whether it is another one than before.
    pub(crate) is_changed: bool,
}

impl EventHooks {
    pub(crate) fn map_with<M: IntoMappedEvent>(
        &mut self,
        map: impl Fn(Event) -> M + Send + Sync + 'static,
    ) {
        self.map = Some(Arc::new(move |event| map(event).into_mapped()));
    }

    pub(crate) fn partition_by<K: AsRef<str>>(
        &mut self,
        key: impl Fn(&Event) -> K + Send + Sync + 'static,
    ) {
        self.key = Some(Arc::new(move |event| key(event).as_ref().to_owned()));
    }

    /// The event to match; none if the program drops it.
    pub(crate) fn mapped(&self, event: Event) -> Result<Option<MappedEvent>, MappingFault> {
        let Some(map) = &self.map else {
            let is_changed = false;
            return Ok(Some(MappedEvent { event, is_changed }));
        };
        // An event is never changed in place, so one that was has its attributes elsewhere.
        let before = event.id().as_ptr();
        match call(|| map(event)) {
            Ok(Ok(mapped)) => Ok(mapped.map(|event| {
                let is_changed = event.id().as_ptr() != before;
                MappedEvent { event, is_changed }
            })),
            Ok(Err(reason)) => Err(MappingFault(reason)),
            Err(UserPanic) => Err(MappingFault("the program's map_event panicked".to_owned())),
        }
    }

    /// Stable hash of what order is kept for: the program's key, else the twin. The twin too when the program panics.
    pub(crate) fn order_key(&self, event: &Event) -> u64 {
        let own = self.key.as_ref().and_then(|key| {
            let key = call(|| key(event));
            if key.is_err() {
                tracing::error!("the program's partition_by panicked; the event's twin is used");
            }
            key.ok()
        });
        match own {
            // No source has an empty host beside a subject of this kind, so keys and twins stay apart.
            Some(key) => TwinKey {
                host: "",
                twin: &key,
            }
            .stable_hash(),
            None => TwinKey::of(event).stable_hash(),
        }
    }
}

#[cfg(test)]
#[path = "hooks_tests.rs"]
mod tests;
