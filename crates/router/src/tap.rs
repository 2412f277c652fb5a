//! Events as they pass, shown to whoever watches. Watching never slows the way of events: a watcher who is slow misses
//! some and sees how many, and while nobody watches it costs one relaxed load for each batch. However many watch, they look at
//! no more than so many events a second together.

mod budget;
mod list;
mod selection;

pub use list::{EventTap, TooManyTaps};
pub(crate) use list::{EventTaps, TapBatch};
pub(crate) use selection::TapView;
pub use selection::{TapOutcome, TapRequest, TapSelection};

#[cfg(test)]
mod tests;
