//! Where a value stands in an event.

/// A stretch of an event's text, or of its unescaped values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TextSpan {
    start: u32,
    len: u32,
}

impl TextSpan {
    const UNESCAPED: u32 = 1 << 31;

    pub(crate) fn of_text(start: usize, len: usize) -> Self {
        Self {
            start: narrow(start),
            len: narrow(len),
        }
    }

    pub(crate) fn of_unescaped(start: usize, len: usize) -> Self {
        Self {
            start: narrow(start) | Self::UNESCAPED,
            len: narrow(len),
        }
    }

    /// The text at this span of an event that is still being made.
    pub(crate) fn within<'a>(self, text: &'a str, unescaped: &'a str) -> &'a str {
        let start = (self.start & !Self::UNESCAPED) as usize;
        let end = start + self.len as usize;
        if self.start & Self::UNESCAPED == 0 {
            &text[start..end]
        } else {
            &unescaped[start..end]
        }
    }
}

/// Events are at most [`Limits::EVENT_BYTES_CEILING`](super::EventLimits::EVENT_BYTES_CEILING) long, far below what 31 bits hold.
fn narrow(value: usize) -> u32 {
    u32::try_from(value)
        .ok()
        .filter(|value| value & TextSpan::UNESCAPED == 0)
        .expect("event under 2 GiB")
}
