//! What most programs need: `use twinroute::prelude::*;`.
//!
//! Of the standard library and of tokio it holds what a sink that writes a file is made of. A name that the program
//! imports itself comes before those of the prelude.

pub use crate::event::{Event, ExtensionValue};
pub use crate::sink::{
    BatchLimits, Delivery, DeliveryOutcome, SendError, SendOutcome, SendResult, Sink, SinkSetup,
    sink_fn,
};
pub use crate::{AcceptError, AckLevel, Router};
pub use std::path::PathBuf;
pub use std::time::Duration;
pub use tokio::fs::File;
pub use tokio::io::AsyncWriteExt;

#[cfg(feature = "journal")]
pub use crate::JournalOptions;
