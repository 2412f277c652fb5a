//! What a router says of the past.

use super::Router;
use crate::history::EventHistory;

impl Router {
    /// The history of its journal; nothing where that is in memory.
    #[must_use]
    pub fn history(&self) -> Option<&EventHistory> {
        self.parts.history.as_ref()
    }
}
