//! A router that somebody else keeps alive.

use super::{Router, RouterParts};
use std::sync::{Arc, Weak};

/// A handle that does not keep its router alive: for tasks that end with it.
#[derive(Clone)]
pub struct WeakRouter(Weak<RouterParts>);

impl Router {
    /// A handle that does not keep this router alive.
    #[must_use]
    pub fn downgrade(&self) -> WeakRouter {
        WeakRouter(Arc::downgrade(&self.parts))
    }
}

impl WeakRouter {
    /// The router, for as long as anybody has it.
    #[must_use]
    pub fn upgrade(&self) -> Option<Router> {
        self.0.upgrade().map(|parts| Router { parts })
    }
}
