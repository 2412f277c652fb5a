//! Under which labels a lane counts, and what.

/// The labels `adt_instance` and `endpoint` of what the endpoints without series of their own count together. No
/// endpoint has this name: `_` is none of the characters that names consist of.
pub const REMAINDER: &str = "_other";

/// Under which labels an endpoint is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum SeriesOwner {
    /// Its own.
    #[default]
    Endpoint,
    /// Those of [`REMAINDER`].
    Remainder,
}

/// What a lane counts for the metrics recorder, and where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LaneSeries {
    pub(crate) owner: SeriesOwner,
    /// Whether the recorder gets its durations too; the status has them in any case.
    pub(crate) has_durations: bool,
}
