//! How large the screen is that a command prints on.

use std::io::{self, IsTerminal as _};

/// Columns that tables still fit in.
const COLUMNS_MIN: usize = 60;

/// Columns and rows to print in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ScreenSize {
    /// Nothing where lines may be as long as they are: a file, a pipe.
    pub(crate) columns: Option<usize>,
    pub(crate) rows: usize,
}

impl ScreenSize {
    /// A file or a pipe: no line is cut, and a table is still no book.
    pub(crate) const FILE: Self = Self {
        columns: None,
        rows: 60,
    };

    /// That of standard output. `COLUMNS` counts for more, as for other programs.
    pub(crate) fn of_stdout() -> Self {
        let columns = std::env::var("COLUMNS").ok();
        let columns = columns.and_then(|columns| columns.trim().parse().ok());
        let stdout = io::stdout();
        let window = match stdout.is_terminal() {
            true => rustix::termios::tcgetwinsize(&stdout).ok(),
            false => None,
        };
        let window = window.map(|window| (window.ws_col.into(), window.ws_row.into()));
        Self::of(columns, window, stdout.is_terminal())
    }

    fn of(columns: Option<usize>, window: Option<(usize, usize)>, is_terminal: bool) -> Self {
        // Terminals that do not know their size say 0.
        let known = window.filter(|(columns, rows)| *columns > 0 && *rows > 0);
        let (width, rows) = match (known, is_terminal) {
            (Some((columns, rows)), _) => (Some(columns), rows),
            (None, true) => (Some(80), 24),
            (None, false) => (None, Self::FILE.rows),
        };
        let columns = columns.filter(|columns| *columns > 0).or(width);
        Self {
            columns: columns.map(|columns| columns.max(COLUMNS_MIN)),
            rows,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn width_is_the_terminals_or_what_was_said() {
        let of = |columns, window, is_terminal| {
            let size = ScreenSize::of(columns, window, is_terminal);
            (size.columns, size.rows)
        };
        assert_eq!(of(None, Some((140, 50)), true), (Some(140), 50));
        assert_eq!(of(Some(100), Some((140, 50)), true), (Some(100), 50));
        assert_eq!(of(None, Some((0, 0)), true), (Some(80), 24));
        assert_eq!(of(None, None, false), (None, 60));
        assert_eq!(of(Some(80), None, false), (Some(80), 60));
        assert_eq!(of(Some(0), None, false), (None, 60));
        assert_eq!(of(Some(3), None, false), (Some(60), 60));
    }
}
