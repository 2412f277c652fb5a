//! Table, lanes and the embedding API.

pub mod sink;
