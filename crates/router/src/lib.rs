//! Table, lanes and the embedding API.
