//! Limits on a filter's text.

/// Limits on a filter's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct FilterOptions {
    /// The longest text, in bytes.
    pub bytes_max: usize,
    /// The most parentheses inside one another.
    pub depth_max: u8,
}

impl FilterOptions {
    /// The default of `bytes_max`; Azure publishes none for filters, its query texts have this one.
    pub const BYTES_MAX: usize = 8_000;
    /// The default of `depth_max`.
    pub const DEPTH_MAX: u8 = 64;
}

impl Default for FilterOptions {
    fn default() -> Self {
        Self {
            bytes_max: Self::BYTES_MAX,
            depth_max: Self::DEPTH_MAX,
        }
    }
}
