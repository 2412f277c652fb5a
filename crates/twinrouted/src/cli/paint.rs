//! Texts with colors: what is colored is decided where a text is made, whether it is, where it is printed.

use std::fmt::{self, Write as _};
use twinroute_model::visible;

/// What a color says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextColor {
    /// None.
    Plain,
    /// In order.
    Good,
    /// It will have to be seen to.
    Caution,
    /// Something does not work.
    Bad,
    /// A heading.
    Strong,
    /// Of less interest.
    Faint,
}

impl TextColor {
    /// The color of an endpoint in this state.
    pub(crate) fn of_state(state: &str) -> Self {
        match state {
            "healthy" => Self::Good,
            "removed" | "stopped" => Self::Faint,
            "unreachable" | "unauthorized" | "gone" | "unsupported" | "failed" | "undefined"
            | "canceled" => Self::Bad,
            // Paused, throttled, waiting for its secret, on its way to another state.
            _ => Self::Caution,
        }
    }

    /// Select graphic rendition, ECMA-48 8.3.117.
    const fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Good => "32",
            Self::Caution => "33",
            Self::Bad => "31",
            Self::Strong => "1",
            Self::Faint => "2",
        }
    }
}

/// A text in pieces, each with its color. No piece holds anything that a terminal would obey.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PaintedText(Vec<(TextColor, String)>);

impl PaintedText {
    /// Adds a piece; line ends in it are the text's own.
    pub(crate) fn add(&mut self, color: TextColor, piece: impl fmt::Display) {
        let piece = piece.to_string();
        self.0.push((color, visible::lines(&piece).into_owned()));
    }

    /// Adds a piece without a color.
    pub(crate) fn plain(&mut self, piece: impl fmt::Display) {
        self.add(TextColor::Plain, piece);
    }

    /// With its colors, for a terminal.
    pub(crate) fn ansi(&self) -> String {
        let mut text = String::new();
        for (color, piece) in &self.0 {
            match color.code() {
                "" => text.push_str(piece),
                code => write!(text, "\x1b[{code}m{piece}\x1b[0m").expect("a String takes all"),
            }
        }
        text
    }
}

/// Without colors.
impl fmt::Display for PaintedText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|(_, piece)| formatter.write_str(piece))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colors_are_ours_alone() {
        let mut text = PaintedText::default();
        text.plain("state ");
        text.add(TextColor::Bad, "gone\u{1b}[2J");
        assert_eq!(text.to_string(), "state gone\\u001b[2J");
        assert_eq!(text.ansi(), "state \u{1b}[31mgone\\u001b[2J\u{1b}[0m");
    }
}
