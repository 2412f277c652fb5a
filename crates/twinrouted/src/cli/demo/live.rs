//! The demo as it is watched: the table, and what each endpoint gets in a second.

use crate::cli::output;
use crate::cli::paint::{PaintedText, TextColor};
use crate::cli::screen::ScreenSize;
use crate::cli::selection::EndpointSelection;
use crate::cli::table::{self, TableView};
use crate::cli::tap;
use crate::cli::top::{TopState, sparks};
use serde_json::Value;
use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};
use twinroute_router::status::RouterStatus;

/// Bars of rates.
const BARS: usize = 100;

/// Rows from which on the routes are shown too.
const ROUTES_ROWS_MIN: usize = 30;

/// Events that the feed has at most.
const FEED_MAX: usize = 12;

/// What is drawn again and again.
pub(super) struct LiveScreen {
    head: String,
    rates: TopState,
    before: Instant,
    /// The latest events, the newest last.
    feed: VecDeque<Value>,
}

impl LiveScreen {
    pub(super) fn new(head: String) -> Self {
        Self {
            head,
            rates: TopState::new(),
            before: Instant::now(),
            feed: VecDeque::new(),
        }
    }

    /// Takes a line of a tap for the feed.
    pub(super) fn feed(&mut self, line: &str) {
        if let Ok(event @ Value::Object(_)) = serde_json::from_str(line)
            && event["id"].is_string()
        {
            self.feed.push_back(event);
            let surplus = self.feed.len().saturating_sub(FEED_MAX);
            self.feed.drain(..surplus);
        }
    }

    /// Draws a status over the one before, with `keys` at the end.
    pub(super) fn draw(&mut self, status: RouterStatus, keys: &PaintedText) -> io::Result<()> {
        let texts = self.texts(status, keys, ScreenSize::of_stdout());
        output::clear_screen()?;
        texts.iter().try_for_each(output::print_painted)
    }

    /// Prints a status below the one before.
    pub(super) fn print(&mut self, status: RouterStatus) -> io::Result<()> {
        let size = ScreenSize::of_stdout();
        let table = Self::table(&status, size);
        self.update(status);
        output::print_painted(&table)?;
        output::print_painted(&self.rates_text(size))
    }

    /// A screen, which fits.
    fn texts(
        &mut self,
        mut status: RouterStatus,
        keys: &PaintedText,
        size: ScreenSize,
    ) -> Vec<PaintedText> {
        if size.rows < ROUTES_ROWS_MIN {
            status
                .instances
                .iter_mut()
                .for_each(|one| one.routes.clear());
        }
        let mut head = PaintedText::default();
        head.plain(&self.head);
        let table = Self::table(&status, size);
        self.update(status);
        let rates = self.rates_text(size);
        let taken = [&head, &table, &rates, keys];
        let taken = taken.map(|text| text.to_string().lines().count());
        // With the line that the cursor is on, and the one that leads the feed in.
        let room = size.rows.saturating_sub(taken.iter().sum::<usize>() + 2);
        let mut texts = vec![head, table, rates];
        if room > 0 {
            let mut lead = PaintedText::default();
            lead.plain("\n");
            texts.push(lead);
            let first = self.feed.len().saturating_sub(room);
            let rows = self.feed.iter().skip(first);
            texts.extend(rows.map(|event| tap::row(event, None, size.columns)));
        }
        texts.push(keys.clone());
        texts
    }

    fn table(status: &RouterStatus, screen: ScreenSize) -> PaintedText {
        let selection = EndpointSelection::default();
        let view = TableView {
            screen,
            selection: &selection,
            fits: false,
        };
        table::draw(status, &view)
    }

    fn update(&mut self, status: RouterStatus) {
        let since = self.before.elapsed();
        self.before = Instant::now();
        self.rates
            .update(status, since.max(Duration::from_millis(1)));
    }

    fn rates_text(&self, size: ScreenSize) -> PaintedText {
        // Name, number and what is around them take 32 columns.
        let bars = size.columns.unwrap_or(80).saturating_sub(32).min(BARS);
        let mut text = PaintedText::default();
        let accepted = self.rates.accepted_rate;
        text.add(
            TextColor::Strong,
            format!("\n{accepted} events a second come in\n"),
        );
        for ((_, name), rates) in self.rates.by_name() {
            let now = rates.went.back().copied().unwrap_or(0);
            text.plain(format!("  {name:<20}{now:>5}/s  "));
            text.add(TextColor::Good, sparks(&rates.went, bars));
            text.plain("\n");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::sample_status::{endpoint_json, status_json};
    use serde_json::json;

    fn status() -> RouterStatus {
        let names = ["alerts-topic", "lifecycle-grid", "telemetry-hub"];
        let endpoints = names.map(|name| endpoint_json(name, "healthy", ""));
        let route = |id: usize| {
            json!({
                "id": format!("route-{id}"), "endpoint": "telemetry-hub", "matched": 7,
                "filter": "type = 'microsoft.iot.telemetry' AND $body.temperature > 27.5",
            })
        };
        let routes: Vec<_> = (0..6).map(route).collect();
        let instance = json!({"name": "demo", "endpoints": endpoints, "routes": routes});
        serde_json::from_value(status_json(&json!([instance]))).unwrap()
    }

    fn screen(columns: usize, rows: usize) -> String {
        let mut live = LiveScreen::new("twinroute demo\n".to_owned());
        for number in 0..40 {
            let event = json!({
                "time": "2026-11-30T12:00:01.123Z", "outcome": "accepted", "instance": "demo",
                "endpoints": ["telemetry-hub"], "routes": ["telemetry"], "id": number.to_string(),
                "type": "microsoft.iot.telemetry", "twin": "demo/digitaltwins/room7", "bytes": 90,
            });
            live.feed(&event.to_string());
        }
        live.feed("\n");
        let size = ScreenSize {
            columns: Some(columns),
            rows,
        };
        let mut keys = PaintedText::default();
        keys.plain("keys\n");
        let texts = live.texts(status(), &keys, size);
        texts.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_screen_fits_its_terminal_and_ends_with_the_newest_event_and_the_keys() {
        for (columns, rows) in [(80, 24), (80, 40), (140, 50)] {
            let text = screen(columns, rows);
            assert!(text.lines().count() < rows, "{columns}x{rows}:\n{text}");
            let widest = text.lines().map(|line| line.chars().count()).max();
            assert!(widest.unwrap() <= columns, "{columns}x{rows}:\n{text}");
            let mut last = text.lines().rev();
            assert_eq!(last.next(), Some("keys"), "{text}");
            assert!(last.next().unwrap().contains("  39"), "{text}");
        }
        assert!(
            !screen(80, 10).contains("  39"),
            "without room there is no feed"
        );
    }
}
