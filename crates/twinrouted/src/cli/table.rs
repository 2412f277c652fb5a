//! A status as a table for the terminal.

use super::paint::{PaintedText, TextColor};
use super::problem::{advice, age, failing, has_problem, outlook, reasons};
use super::screen::ScreenSize;
use super::selection::{EndpointOrder, EndpointSelection};
use crate::cli::output;
use std::collections::BTreeMap;
use twinroute_model::clock::Timestamp;
use twinroute_model::visible::one_line;
use twinroute_router::sink::CredentialSlot;
use twinroute_router::status::{EndpointStatus, InstanceStatus, RouterStatus, SourceStatus};

/// With more endpoints than that a table is a screen of them, unless all are asked for.
const ENDPOINTS_MAX: usize = 100;

/// Lines of a screen that are not for endpoints.
const OTHER_LINES: usize = 8;

/// How a table is drawn.
pub(super) struct TableView<'a> {
    pub(super) screen: ScreenSize,
    pub(super) selection: &'a EndpointSelection,
    /// Whether it has to fit the screen, because it is drawn again and again.
    pub(super) fits: bool,
}

/// All of a status, with lines as long as they are: for logs.
pub(super) fn render(status: &RouterStatus) -> String {
    let selection = EndpointSelection {
        all: true,
        ..EndpointSelection::default()
    };
    let view = TableView {
        screen: ScreenSize::FILE,
        selection: &selection,
        fits: false,
    };
    draw(status, &view).to_string()
}

/// Draws what a selection left: per endpoint the ledger, per route what it matched.
pub(super) fn draw(status: &RouterStatus, view: &TableView<'_>) -> PaintedText {
    let mut table = StatusTable::new(view);
    table.head(status);
    let endpoints = status.instances.iter();
    let endpoints = endpoints.map(|instance| instance.endpoints.len()).sum();
    let lines_max = view.screen.rows.saturating_sub(OTHER_LINES).max(5);
    if view.selection.all || (endpoints <= ENDPOINTS_MAX && !view.fits) {
        status
            .instances
            .iter()
            .for_each(|instance| table.instance(instance));
    } else {
        table.summary(status, view.selection.sort, lines_max, endpoints);
    }
    if status.instances.is_empty() && view.selection.chooses() {
        table.line("\nno endpoint is like that");
    }
    table.text
}

/// A column of numbers: those that are needed least go first where there is no room.
struct TableColumn {
    title: &'static str,
    width: usize,
    /// The lowest goes first.
    rank: u8,
    value: fn(&EndpointStatus) -> String,
}

const COLUMNS: [TableColumn; 10] = [
    column("matched", 9, 5, |of| of.matched.to_string()),
    column("queued", 9, 9, |of| of.queued.to_string()),
    column("in flight", 11, 4, |of| of.in_flight.to_string()),
    column("retrying", 10, 3, |of| of.retrying.to_string()),
    column("delivered", 11, 9, |of| of.delivered.to_string()),
    column("dead letters", 14, 9, open_dead_letters),
    column("discarded", 11, 2, |of| of.discarded.to_string()),
    column("oldest", 8, 8, |of| age(of.oldest_age_ms)),
    column("p50 ms", 9, 0, |of| format!("{:.1}", of.latency_p50_ms)),
    column("p99 ms", 9, 1, |of| format!("{:.1}", of.latency_p99_ms)),
];

const fn column(
    title: &'static str,
    width: usize,
    rank: u8,
    value: fn(&EndpointStatus) -> String,
) -> TableColumn {
    TableColumn {
        title,
        width,
        rank,
        value,
    }
}

/// Names of endpoints and routes, with what stands before them.
const NAME_WIDTH: usize = 22;

/// The longest state in one word, and a gap.
const STATE_WIDTH: usize = 2 + "waiting-for-secret".len();

/// The columns that fit.
fn fitting(width: Option<usize>) -> Vec<&'static TableColumn> {
    let mut columns: Vec<_> = COLUMNS.iter().collect();
    let Some(width) = width else {
        return columns;
    };
    let taken = |columns: &[&TableColumn]| columns.iter().map(|one| one.width).sum::<usize>();
    while NAME_WIDTH + taken(&columns) + STATE_WIDTH.min(14) > width {
        let least = columns.iter().map(|one| one.rank).min();
        let count = columns.len();
        columns.retain(|one| Some(one.rank) != least);
        if columns.is_empty() || columns.len() == count {
            break;
        }
    }
    columns
}

struct StatusTable {
    text: PaintedText,
    width: Option<usize>,
    columns: Vec<&'static TableColumn>,
    /// Whether some endpoints were chosen, mostly without their routes.
    is_choice: bool,
}

impl StatusTable {
    fn new(view: &TableView<'_>) -> Self {
        let width = view.screen.columns;
        Self {
            text: PaintedText::default(),
            width,
            columns: fitting(width),
            is_choice: view.selection.chooses(),
        }
    }

    fn line(&mut self, line: impl AsRef<str>) {
        self.painted(TextColor::Plain, line.as_ref());
    }

    /// A line within the width, its further lines indented.
    fn painted(&mut self, color: TextColor, line: &str) {
        // A gap above is ours; what else would end a line is not.
        let (gap, line) = match line.strip_prefix('\n') {
            Some(line) => ("\n", line),
            None => ("", line),
        };
        self.text.plain(gap);
        for line in wrapped(&one_line(line), self.width) {
            self.text.add(color, line);
            self.text.plain('\n');
        }
    }

    /// A text that may have lines of its own.
    fn several(&mut self, color: TextColor, lines: &str) {
        for line in output::indented(lines).lines() {
            self.painted(color, line);
        }
    }

    fn head(&mut self, status: &RouterStatus) {
        let journal = &status.journal;
        self.line(format!(
            "table {}   accepted {}   unmatched {}   backlog {} ({} of {})",
            status.table.generation,
            journal.accepted,
            journal.unmatched,
            journal.events,
            bytesize::ByteSize(journal.bytes),
            bytesize::ByteSize(journal.bytes_max),
        ));
        for warning in &status.warnings {
            self.painted(TextColor::Caution, &format!("warning: {warning}"));
        }
        if let Some(source) = &status.table.source {
            self.source(source);
        }
        for warning in &status.table.warnings {
            self.several(TextColor::Caution, &format!("warning: {warning}"));
        }
        for error in &status.table.errors {
            self.several(TextColor::Bad, &format!("refused: {error}"));
        }
    }

    /// How the source of the definitions goes.
    fn source(&mut self, source: &SourceStatus) {
        let kind = &source.kind;
        let read = match source.age_ms {
            Some(0..1_000) => "definitions as of now".to_owned(),
            Some(age_ms) => format!("definitions as of {} ago", age(age_ms)),
            None => "no definitions yet".to_owned(),
        };
        let saved = match source.saved {
            true => ", saved by an earlier run",
            false => "",
        };
        self.line(format!("source {kind}: {read}{saved}"));
        if !source.last_error.is_empty() {
            let (failures, error) = (source.failures, &source.last_error);
            let reads = if failures == 1 { "read" } else { "reads" };
            let line = format!("    {failures} {reads} failed since, the last one: {error}");
            self.painted(TextColor::Bad, &line);
        }
        for waiting in &source.waiting {
            self.line(format!("    waiting: {waiting}"));
        }
        for warning in &source.warnings {
            self.painted(TextColor::Caution, &format!("    warning: {warning}"));
        }
    }

    fn instance(&mut self, instance: &InstanceStatus) {
        self.titles(&instance.name);
        for endpoint in &instance.endpoints {
            self.endpoint(&endpoint.name, endpoint);
        }
        if !(self.is_choice && instance.routes.is_empty()) {
            self.routes(instance);
        }
    }

    fn titles(&mut self, name: &str) {
        let mut line = format!("\n{:<NAME_WIDTH$}", self.name(name, NAME_WIDTH - 1));
        for column in &self.columns {
            line.push_str(&format!("{:>1$}", column.title, column.width));
        }
        self.painted(TextColor::Strong, &format!("{line}  state"));
    }

    /// A name, cut where lines have a width.
    fn name(&self, name: &str, most: usize) -> String {
        match self.width {
            Some(_) => super::ask::cut(name, most),
            None => one_line(name).into_owned(),
        }
    }

    fn endpoint(&mut self, name: &str, endpoint: &EndpointStatus) {
        let name = self.name(name, NAME_WIDTH - 2);
        let mut line = format!("  {name:<0$}", NAME_WIDTH - 2);
        for column in &self.columns {
            line.push_str(&format!("{:>1$}", (column.value)(endpoint), column.width));
        }
        self.text.plain(one_line(&line));
        let state = match (self.width, failing(endpoint)) {
            // The rest of it stands below.
            (Some(_), 1..) => format!("{}, but", endpoint.state),
            _ => state(endpoint),
        };
        let color = match failing(endpoint) {
            0 => TextColor::of_state(endpoint.state.as_str()),
            _ => TextColor::Bad,
        };
        self.text.plain("  ");
        self.text.add(color, one_line(&state));
        self.text.plain('\n');
        if self.width.is_some() && failing(endpoint) > 0 {
            let rest = state_rest(failing(endpoint));
            self.painted(TextColor::Bad, &format!("    {rest}"));
        }
        for line in below(endpoint) {
            self.line(format!("    {line}"));
        }
    }

    fn routes(&mut self, instance: &InstanceStatus) {
        let title = format!(
            "\n  {:<20}{:<20}{:>9}  filter",
            "route", "endpoint", "matched"
        );
        self.painted(TextColor::Strong, &title);
        let before = 2 + 20 + 20 + 9 + 2;
        let room = self
            .width
            .map_or(60, |width| width.saturating_sub(before).clamp(10, 60));
        for route in &instance.routes {
            self.line(format!(
                "  {:<20}{:<20}{:>9}  {}",
                self.name(&route.id, 19),
                self.name(&route.endpoint, 19),
                route.matched,
                shortened(&route.filter, room)
            ));
        }
    }

    /// As much as `lines_max` lines hold, those with problems first.
    fn summary(
        &mut self,
        status: &RouterStatus,
        order: Option<EndpointOrder>,
        lines_max: usize,
        count: usize,
    ) {
        let mut all = Vec::with_capacity(count);
        let mut states: BTreeMap<&str, usize> = BTreeMap::new();
        for instance in &status.instances {
            for endpoint in &instance.endpoints {
                *states.entry(endpoint.state.as_str()).or_default() += 1;
                all.push((&instance.name, endpoint));
            }
        }
        let order = order.unwrap_or(EndpointOrder::State);
        all.sort_by_key(|(_, endpoint)| order.key(endpoint));
        let states: Vec<_> = states
            .iter()
            .map(|(state, count)| format!("{count} {state}"))
            .collect();
        self.line(format!("\n{count} endpoints: {}", states.join(", ")));
        let several = status.instances.len() > 1;
        self.titles("endpoint");
        let (mut lines, mut printed) = (0, 0);
        for (instance, endpoint) in &all {
            let below = below(endpoint).into_iter();
            let below = below.map(|line| wrapped(&format!("    {line}"), self.width).len());
            lines += 1 + usize::from(failing(endpoint) > 0) + below.sum::<usize>();
            if lines > lines_max && printed > 0 {
                break;
            }
            match several {
                true => self.endpoint(&format!("{instance}/{}", endpoint.name), endpoint),
                false => self.endpoint(&endpoint.name, endpoint),
            }
            printed += 1;
        }
        if printed < count {
            let rest = count - printed;
            self.painted(
                TextColor::Faint,
                &format!(
                    "  and {rest} more: choose with --problems, --endpoint or --state, order them with --sort, \
                     show them and their routes with --all"
                ),
            );
        }
    }
}

/// What stands below an endpoint.
fn below(endpoint: &EndpointStatus) -> Vec<String> {
    let mut lines = reasons(endpoint);
    lines.extend(credential_line(endpoint));
    lines.extend(outlook(endpoint));
    if has_problem(endpoint) {
        lines.extend(advice(endpoint).map(|advice| format!("to do: {advice}")));
    }
    lines
}

/// Dead letters that were not replayed, and behind a slash all there ever were, where that is more.
fn open_dead_letters(endpoint: &EndpointStatus) -> String {
    let ever = endpoint.dead_letters.all();
    match ever.saturating_sub(endpoint.replayed) {
        left if left == ever => ever.to_string(),
        left => format!("{left}/{ever}"),
    }
}

/// The state; an endpoint that answers and takes nothing is not simply healthy.
fn state(endpoint: &EndpointStatus) -> String {
    match failing(endpoint) {
        0 => endpoint.state.to_string(),
        count => format!("{}, but {}", endpoint.state, state_rest(count)),
    }
}

fn state_rest(failing: u64) -> String {
    match failing {
        1 => "the last event became a dead letter".to_owned(),
        count => format!("the last {count} events became dead letters"),
    }
}

/// Which credential is in use, where that is not the first one, it ends, or it is refused.
fn credential_line(endpoint: &EndpointStatus) -> Option<String> {
    let used = endpoint.credentials.iter().find(|one| one.active)?;
    let end = used.expires_at.map(|end| format!(", ends {end}"));
    let (slot, end) = (used.slot.as_str(), end.unwrap_or_default());
    if endpoint.state == "unauthorized" {
        let since = endpoint.since.map(Timestamp::rfc3339).unwrap_or_default();
        return Some(format!("refused since {since}; tried first: {slot}{end}"));
    }
    let usual = used.slot == CredentialSlot::Primary && end.is_empty();
    (!usual).then(|| format!("credential: {slot}{end}"))
}

fn shortened(filter: &str, most: usize) -> String {
    let flat: String = filter.split_whitespace().collect::<Vec<_>>().join(" ");
    if flat.chars().count() <= most {
        return flat;
    }
    flat.chars().take(most - 1).chain(['…']).collect()
}

/// A line in lines of `width`, broken at spaces where there are some; all but the first are indented.
fn wrapped(line: &str, width: Option<usize>) -> Vec<String> {
    let Some(width) = width.filter(|width| line.chars().count() > *width) else {
        return vec![line.to_owned()];
    };
    let indent = line
        .chars()
        .take_while(|character| *character == ' ')
        .count();
    let indent = " ".repeat((indent + 4).min(width / 2));
    let mut lines = Vec::new();
    let mut rest: Vec<char> = line.chars().collect();
    while rest.len() > width {
        let begin = rest
            .iter()
            .take_while(|character| **character == ' ')
            .count();
        let space = rest[..=width]
            .iter()
            .rposition(|character| *character == ' ');
        let end = space.filter(|at| *at > begin).unwrap_or(width);
        let tail = rest.split_off(end);
        lines.push(rest.into_iter().collect());
        let tail = tail.into_iter().skip_while(|character| *character == ' ');
        rest = indent.chars().chain(tail).collect();
    }
    lines.push(rest.into_iter().collect());
    lines
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
