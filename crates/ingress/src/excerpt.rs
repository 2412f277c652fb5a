//! What an answer may repeat of a request.

/// What a client may show of a value it sent: enough to know it again.
pub(crate) fn excerpt(value: &[u8]) -> String {
    const CHARS_MAX: usize = 100;
    let text = String::from_utf8_lossy(value);
    text.chars().take(CHARS_MAX).collect()
}
