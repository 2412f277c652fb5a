//! What all services of one emulator share: the clock, the script of faults, where new keys come from.

use crate::access_key::KeyMaker;
use crate::faults::ScriptedFaults;
use std::fmt;
use std::sync::Arc;
use twinroute_model::clock::{Clock, Timestamp};

#[derive(Clone)]
pub(crate) struct ServiceContext {
    clock: Arc<dyn Clock>,
    pub(crate) faults: Arc<ScriptedFaults>,
    pub(crate) key_maker: KeyMaker,
}

impl ServiceContext {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            faults: Arc::default(),
            key_maker: KeyMaker::default(),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

impl fmt::Debug for ServiceContext {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ServiceContext")
    }
}
