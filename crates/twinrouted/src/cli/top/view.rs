//! The pages of `twinroute top`.

use super::state::{EndpointRates, TopPage, TopState};
use crate::cli::ask::cut;
use crate::cli::paint::TextColor;
use crate::cli::problem::age;
use crate::cli::problem::{advice, failing, outlook, reasons};
use clap::ValueEnum as _;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph, Row, Sparkline, Table, TableState, Wrap};
use std::collections::VecDeque;
use twinroute_model::visible::one_line;
use twinroute_router::status::{EndpointStatus, RouterStatus};

/// From this many columns on everything is shown.
const WIDE: u16 = 110;

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Draws the present page. `colors`: whether states have some.
pub(super) fn draw(frame: &mut Frame<'_>, state: &TopState, colors: bool) {
    let rows = [
        Constraint::Length(2),
        Constraint::Min(3),
        Constraint::Length(1),
    ];
    let [head, body, foot] = Layout::vertical(rows).areas(frame.area());
    match &state.status {
        Some(status) => frame.render_widget(heading(status, state), head),
        None => frame.render_widget(Paragraph::new("waiting for the first status"), head),
    }
    let chosen = state.chosen().filter(|_| state.page == TopPage::Detail);
    match chosen {
        Some((instance, endpoint)) => detail(frame, body, (instance, endpoint), state, colors),
        None => list(frame, body, state, colors),
    }
    let keys = match state.page {
        TopPage::List => {
            "↑↓ choose  ⏎ more  p pause/resume  r retry  R replay  s sort  ! problems  q quit"
        }
        TopPage::Detail => {
            "esc back  ↑↓ next  p pause/resume  r retry  R replay dead letters  q quit"
        }
    };
    let foot_text = match state.message.as_str() {
        "" => Line::from(keys).style(Style::new().add_modifier(Modifier::DIM)),
        message => Line::from(cut(message, usize::from(foot.width).max(1)))
            .style(Style::new().add_modifier(Modifier::BOLD)),
    };
    frame.render_widget(foot_text, foot);
}

fn heading(status: &RouterStatus, state: &TopState) -> Paragraph<'static> {
    let journal = &status.journal;
    let problem = match (
        &*status.readiness.reason,
        status.warnings.first(),
        status.table.errors.first(),
    ) {
        ("", None, None) => String::new(),
        ("", Some(warning), _) => format!("warning: {warning}"),
        ("", None, Some(error)) => format!("refused: {error}"),
        (reason, _, _) => format!("not ready: {reason}"),
    };
    let order = state.order.to_possible_value();
    let order = order
        .map(|order| order.get_name().to_owned())
        .unwrap_or_default();
    let first = format!(
        "table {}  accepted {} ({}/s)  unmatched {}  backlog {} ({})  by {order}",
        status.table.generation,
        journal.accepted,
        state.accepted_rate,
        journal.unmatched,
        journal.events,
        bytesize::ByteSize(journal.bytes),
    );
    Paragraph::new(vec![
        Line::from(first),
        Line::from(one_line(&problem).into_owned()),
    ])
}

/// The columns of the list, by title, and how wide they are.
fn columns(is_wide: bool, bars: u16) -> (Vec<&'static str>, Vec<Constraint>) {
    let mut titles = vec!["endpoint", "state", "in/s", "out/s", "backlog", "dead"];
    let mut widths = vec![
        Constraint::Fill(1),
        Constraint::Length(12),
        Constraint::Length(6),
        Constraint::Length(6),
        Constraint::Length(8),
        Constraint::Length(6),
    ];
    if is_wide {
        titles.extend(["retrying", "oldest", "p50 ms", "p99 ms"]);
        widths.extend([9, 7, 8, 8].map(Constraint::Length));
    }
    titles.push("trend");
    widths.push(Constraint::Length(bars));
    (titles, widths)
}

fn list(frame: &mut Frame<'_>, area: Rect, state: &TopState, colors: bool) {
    let is_wide = area.width >= WIDE;
    let bars = if is_wide { 30 } else { 12 };
    let (titles, widths) = columns(is_wide, bars);
    let several = state
        .status
        .as_ref()
        .is_some_and(|status| status.instances.len() > 1);
    let rows = state.rows();
    // Only what can be seen is made: there may be ten thousand.
    let seen = usize::from(area.height.saturating_sub(1)).max(1);
    let first = state.selected.saturating_sub(seen - 1);
    let view = rows.iter().skip(first).take(seen);
    let lines = view.map(|(instance, endpoint)| {
        let name = match several {
            true => format!("{instance}/{}", endpoint.name),
            false => endpoint.name.clone(),
        };
        let key = ((*instance).to_owned(), endpoint.name.clone());
        let none = EndpointRates::default();
        let rates = state.rates.get(&key).unwrap_or(&none);
        let last = |rates: &VecDeque<u64>| {
            Line::from(rates.back().copied().unwrap_or(0).to_string()).right_aligned()
        };
        let number = |text: String| Line::from(text).right_aligned();
        let backlog = endpoint.queued + endpoint.in_flight + endpoint.retrying;
        let mut cells = vec![
            Line::from(one_line(&name).into_owned()),
            Line::from(Span::styled(word(endpoint), style(endpoint, colors))),
            last(&rates.came),
            last(&rates.went),
            number(backlog.to_string()),
            number(
                endpoint
                    .dead_letters
                    .all()
                    .saturating_sub(endpoint.replayed)
                    .to_string(),
            ),
        ];
        if is_wide {
            cells.extend([
                number(endpoint.retrying.to_string()),
                number(age(endpoint.oldest_age_ms)),
                number(format!("{:.1}", endpoint.latency_p50_ms)),
                number(format!("{:.1}", endpoint.latency_p99_ms)),
            ]);
        }
        cells.push(Line::from(sparks(&rates.went, usize::from(bars))));
        Row::new(cells)
    });
    let table = Table::new(lines, widths)
        .header(
            Row::new(titles.iter().map(|title| title_line(title)))
                .style(Style::new().add_modifier(Modifier::BOLD)),
        )
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let mut chosen = TableState::default();
    chosen.select((!rows.is_empty()).then(|| state.selected - first));
    frame.render_stateful_widget(table, area, &mut chosen);
}

/// Titles of numbers stand above them.
fn title_line(title: &'static str) -> Line<'static> {
    match title {
        "endpoint" | "state" | "trend" => Line::from(title),
        _ => Line::from(title).right_aligned(),
    }
}

fn detail(
    frame: &mut Frame<'_>,
    area: Rect,
    (instance, endpoint): (&str, &EndpointStatus),
    state: &TopState,
    colors: bool,
) {
    let rows = [
        Constraint::Min(8),
        Constraint::Length(4),
        Constraint::Length(4),
    ];
    let [text, came, went] = Layout::vertical(rows).areas(area);
    let title = one_line(&format!(" {instance}/{} ", endpoint.name)).into_owned();
    let text_lines = Paragraph::new(facts(endpoint, colors)).wrap(Wrap { trim: false });
    frame.render_widget(text_lines.block(Block::bordered().title(title)), text);
    let none = EndpointRates::default();
    let key = (instance.to_owned(), endpoint.name.clone());
    let rates = state.rates.get(&key).unwrap_or(&none);
    for (rates, what, area) in [
        (&rates.came, "matched", came),
        (&rates.went, "delivered", went),
    ] {
        let room = usize::from(area.width.saturating_sub(2));
        let last: Vec<u64> = rates
            .iter()
            .skip(rates.len().saturating_sub(room))
            .copied()
            .collect();
        let now = rates.back().copied().unwrap_or(0);
        let most = last.iter().max().copied().unwrap_or(0);
        let title = format!(" {what} {now}/s, at most {most}/s ");
        let bars = Sparkline::default()
            .data(last)
            .block(Block::bordered().title(title));
        frame.render_widget(bars, area);
    }
}

fn facts(endpoint: &EndpointStatus, colors: bool) -> Vec<Line<'static>> {
    let letters = &endpoint.dead_letters;
    let mut lines = vec![
        Line::from(vec![
            Span::raw(format!(
                "{}  {}  ",
                endpoint.endpoint_type, endpoint.address
            )),
            Span::styled(word(endpoint), style(endpoint, colors)),
        ]),
        Line::from(format!(
            "matched {}  replayed {}  delivered {}  discarded {}",
            endpoint.matched, endpoint.replayed, endpoint.delivered, endpoint.discarded
        )),
        Line::from(format!(
            "queued {}  in flight {}  retrying {}  oldest {}  {} of {}",
            endpoint.queued,
            endpoint.in_flight,
            endpoint.retrying,
            age(endpoint.oldest_age_ms),
            bytesize::ByteSize(endpoint.queue_bytes),
            bytesize::ByteSize(endpoint.queue_bytes_max)
        )),
        Line::from(format!(
            "dead letters: uploaded {}  waiting for upload {}  here {}  replayed {}",
            letters.uploaded, letters.awaiting_upload, letters.local, letters.replayed
        )),
        Line::from(format!(
            "latency p50 {:.1} ms, p99 {:.1} ms  batches in flight at most {}",
            endpoint.latency_p50_ms, endpoint.latency_p99_ms, endpoint.batches_in_flight_max
        )),
    ];
    let below = reasons(endpoint).into_iter().chain(outlook(endpoint));
    let advice = advice(endpoint).map(|advice| format!("to do: {advice}"));
    lines.extend(
        below
            .chain(advice)
            .map(|line| Line::from(one_line(&line).into_owned())),
    );
    lines
}

fn word(endpoint: &EndpointStatus) -> String {
    match failing(endpoint) {
        0 => endpoint.state.to_string(),
        _ => "rejecting".to_owned(),
    }
}

fn style(endpoint: &EndpointStatus, colors: bool) -> Style {
    let color = match failing(endpoint) {
        0 => TextColor::of_state(endpoint.state.as_str()),
        _ => TextColor::Bad,
    };
    match (colors, color) {
        (false, _) | (_, TextColor::Plain) => Style::new(),
        (true, TextColor::Good) => Style::new().fg(Color::Green),
        (true, TextColor::Caution) => Style::new().fg(Color::Yellow),
        (true, TextColor::Bad) => Style::new().fg(Color::Red),
        (true, TextColor::Strong) => Style::new().add_modifier(Modifier::BOLD),
        (true, TextColor::Faint) => Style::new().add_modifier(Modifier::DIM),
    }
}

/// The last rates as bars, the highest as high as there are.
pub(in crate::cli) fn sparks(rates: &VecDeque<u64>, width: usize) -> String {
    let last = rates.iter().skip(rates.len().saturating_sub(width));
    let most = last.clone().max().copied().unwrap_or(0);
    last.map(|rate| match most {
        0 => BARS[0],
        most => BARS[usize::try_from(rate * 7 / most).unwrap_or(7).min(7)],
    })
    .collect()
}
