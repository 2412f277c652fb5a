//! Table, lanes and the embedding API.

pub mod accept;
pub mod sink;
pub mod status;
