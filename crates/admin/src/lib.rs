//! The operational API: health, metrics, status.
