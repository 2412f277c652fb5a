//! The demo as it is watched: the table, and what each endpoint gets in a second.

use crate::cli::output;
use crate::cli::paint::{PaintedText, TextColor};
use crate::cli::screen::ScreenSize;
use crate::cli::selection::EndpointSelection;
use crate::cli::table::{self, TableView};
use crate::cli::top::{TopState, sparks};
use std::io;
use std::time::{Duration, Instant};
use twinroute_router::status::RouterStatus;

/// Bars of rates.
const BARS: usize = 40;

/// What is drawn again and again.
pub(super) struct LiveScreen {
    introduction: String,
    rates: TopState,
    before: Instant,
}

impl LiveScreen {
    pub(super) fn new(introduction: String) -> Self {
        Self {
            introduction,
            rates: TopState::new(),
            before: Instant::now(),
        }
    }

    /// Draws a status; `is_screen`: over the one before.
    pub(super) fn draw(&mut self, status: RouterStatus, is_screen: bool) -> io::Result<()> {
        let selection = EndpointSelection::default();
        let view = TableView {
            screen: ScreenSize::of_stdout(),
            selection: &selection,
            fits: false,
        };
        let table = table::draw(&status, &view);
        let since = self.before.elapsed();
        self.before = Instant::now();
        self.rates
            .update(status, since.max(Duration::from_millis(1)));
        if is_screen {
            // The whole screen again, since lines may have wrapped.
            output::clear_screen()?;
            output::line(&self.introduction)?;
        }
        output::print_painted(&table)?;
        output::print_painted(&self.rates_text())
    }

    fn rates_text(&self) -> PaintedText {
        let mut text = PaintedText::default();
        let accepted = self.rates.accepted_rate;
        text.add(
            TextColor::Strong,
            format!("\n{accepted} events a second come in\n"),
        );
        for ((_, name), rates) in self.rates.by_name() {
            let now = rates.went.back().copied().unwrap_or(0);
            text.plain(format!("  {name:<20}{now:>5}/s  "));
            text.add(TextColor::Good, sparks(&rates.went, BARS));
            text.plain("\n");
        }
        text
    }
}
