//! Table, lanes and the embedding API.

pub mod accept;
mod lane;
pub mod sink;
pub mod status;
