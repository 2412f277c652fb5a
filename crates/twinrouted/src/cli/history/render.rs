//! The history for people.

use crate::cli::ask::{cut, seconds};
use std::fmt::Write as _;
use twinroute_model::visible::one_line;
use twinroute_router::history::{DeliveryRow, DeliveryView, EventView, RouteDecision};

const HEAD: [&str; 7] = [
    "accepted", "id", "twin", "endpoint", "outcome", "tries", "type",
];

/// The widths that columns have at least, so that pages stand below each other.
const WIDTHS: [usize; 7] = [19, 14, 16, 14, 16, 5, 4];

/// The widths that they have at most on a screen. An id is never cut: it is what the next command is asked with.
const WIDTHS_MAX: [usize; 7] = [19, usize::MAX, 24, 24, 40, 5, 60];

/// Columns that a narrow screen has less of, or goes without: the type, then the tries, then why it came to its outcome.
const TYPE: usize = 6;
const TRIES: usize = 5;
const OUTCOME: usize = 4;

const TYPE_MIN: usize = 8;
const OUTCOME_MIN: usize = 12;

/// One row a delivery, in as many columns as the screen has where that is known, and as long as it is elsewhere.
pub(in crate::cli) fn rows(rows: &[DeliveryRow], has_head: bool, columns: Option<usize>) -> String {
    let mut table: Vec<[String; 7]> = rows.iter().map(cells).collect();
    if has_head {
        table.insert(0, HEAD.map(str::to_owned));
    }
    let widths = widths(&table, columns);
    let mut text = String::new();
    for cells in &table {
        let mut line = String::new();
        for (cell, width) in cells.iter().zip(widths).filter(|(_, width)| *width > 0) {
            write!(line, "{:<width$}  ", cut(cell, width)).expect("a String takes everything");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn cells(row: &DeliveryRow) -> [String; 7] {
    let endpoint = match row.endpoint.as_str() {
        "" => "-",
        endpoint => endpoint,
    };
    let outcome = match row.reason.as_str() {
        "" => row.outcome.clone(),
        reason => format!("{}: {reason}", row.outcome),
    };
    [
        seconds(&row.accepted_at),
        row.id.clone(),
        row.twin.rsplit('/').next().unwrap_or_default().to_owned(),
        endpoint.to_owned(),
        outcome,
        row.attempts.to_string(),
        row.event_type.clone(),
    ]
}

/// The widths of columns; 0 for one that is left out.
fn widths(table: &[[String; 7]], columns: Option<usize>) -> [usize; 7] {
    let mut widths = WIDTHS;
    for (place, width) in widths.iter_mut().enumerate() {
        let cells = table
            .iter()
            .map(|cells| one_line(&cells[place]).chars().count());
        let most = columns.map_or(usize::MAX, |_| WIDTHS_MAX[place]);
        *width = cells.max().unwrap_or_default().max(*width).min(most);
    }
    let Some(columns) = columns else {
        return widths;
    };
    // On a screen that has no room for the usual widths, nothing is wider than what is in it.
    let taken = |widths: &[usize; 7]| {
        widths
            .iter()
            .map(|width| width + 2 * usize::from(*width > 0))
            .sum::<usize>()
            - 2
    };
    if taken(&widths) > columns {
        for (place, width) in widths.iter_mut().enumerate() {
            let cells = table
                .iter()
                .map(|cells| one_line(&cells[place]).chars().count());
            *width = cells.max().unwrap_or_default().min(*width);
        }
    }
    let beyond = |widths: &[usize; 7]| taken(widths).saturating_sub(columns);
    widths[TYPE] = match widths[TYPE].saturating_sub(beyond(&widths)) {
        left if left < TYPE_MIN => 0,
        left => left,
    };
    if beyond(&widths) > 0 {
        widths[TRIES] = 0;
    }
    let left = widths[OUTCOME].saturating_sub(beyond(&widths));
    widths[OUTCOME] = left.max(OUTCOME_MIN);
    widths
}

/// One object a line.
pub(in crate::cli) fn json_lines(rows: &[DeliveryRow]) -> serde_json::Result<String> {
    let mut text = String::new();
    for row in rows {
        text.push_str(&serde_json::to_string(row)?);
        text.push('\n');
    }
    Ok(text)
}

/// Events in full.
pub(super) fn events(events: &[EventView]) -> String {
    let each: Vec<String> = events.iter().map(event).collect();
    each.join("\n")
}

/// What each route decided, and decides now.
pub(in crate::cli) fn explanations(events: &[EventView]) -> String {
    let mut text = String::new();
    for event in events {
        let gap = if text.is_empty() { "" } else { "\n" };
        let head = head(event);
        text.push_str(gap);
        text.push_str(&one_line(&head));
        text.push('\n');
        let since = match event.table_since.as_str() {
            "" => "then: the table is not kept".to_owned(),
            since => format!("then: table {}, in use since {since}", event.generation),
        };
        let now = match event.now.as_slice() {
            [] => "now: no route was asked",
            _ => "now:",
        };
        for (words, decisions) in [(since.as_str(), &event.routes), (now, &event.now)] {
            text.push('\n');
            text.push_str(&one_line(words));
            text.push('\n');
            decisions.iter().for_each(|one| route(&mut text, one));
        }
    }
    text
}

/// An event that no route matched has no place in the order of acceptance.
fn head(event: &EventView) -> String {
    let what = if event.replay { "replay" } else { "event" };
    match event.sequence {
        0 => format!("{what} of twin {}", event.twin),
        sequence => format!("{what} {sequence} of twin {}", event.twin),
    }
}

fn event(event: &EventView) -> String {
    let mut text = String::new();
    let mut line = |line: String| {
        text.push_str(&one_line(&line));
        text.push('\n');
    };
    line(head(event));
    let mut from = String::new();
    for (word, value) in [("caller", &event.caller), ("address", &event.address)] {
        if !value.is_empty() {
            write!(from, ", {word} {value}").expect("a String takes everything");
        }
    }
    line(format!("accepted {}{from}", event.accepted_at));
    if event.table_since.is_empty() {
        line("the table of then is not kept".to_owned());
    } else {
        line(format!(
            "table {}, in use since {}",
            event.generation, event.table_since
        ));
    }
    for decision in &event.routes {
        route(&mut text, decision);
    }
    for delivery in &event.deliveries {
        deliveries(&mut text, delivery);
    }
    if event.deliveries.is_empty() {
        text.push_str("\nno route matched it\n");
    }
    text.push('\n');
    text.push_str(&one_line(event.event.get()));
    text.push('\n');
    text
}

fn route(text: &mut String, decision: &RouteDecision) {
    let verdict = if decision.matches {
        "matches"
    } else {
        "does not match"
    };
    let head = format!(
        "route {} -> {}: {verdict}",
        decision.route, decision.endpoint
    );
    text.push('\n');
    text.push_str(&one_line(&head));
    text.push('\n');
    for line in decision.explanation.lines() {
        text.push_str("    ");
        text.push_str(&one_line(line));
        text.push('\n');
    }
}

fn deliveries(text: &mut String, delivery: &DeliveryView) {
    let mut line = |line: String| {
        text.push_str(&one_line(&line));
        text.push('\n');
    };
    let reason = match delivery.reason.as_str() {
        "" => String::new(),
        reason => format!(": {reason}"),
    };
    let at = match (delivery.settled_at.as_str(), delivery.due_at.as_str()) {
        ("", "") => String::new(),
        ("", due) => format!(", again at {due}"),
        (settled, _) => format!(" at {settled}"),
    };
    line(String::new());
    line(format!(
        "endpoint {}/{}: {}{reason}{at}, attempts {}",
        delivery.instance, delivery.endpoint, delivery.outcome, delivery.attempts
    ));
    for failed in &delivery.failed {
        line(format!(
            "    {}  {} ({})",
            failed.at, failed.outcome, failed.fault
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn delivery(outcome: &str, reason: &str, endpoint: &str) -> DeliveryRow {
        DeliveryRow {
            id: "f899803e-00000005".to_owned(),
            twin: "plant.api.weu.digitaltwins.azure.net/room103".to_owned(),
            accepted_at: "2026-11-22T10:00:00.123Z".to_owned(),
            event_type: "Microsoft.DigitalTwins.Twin.Update".to_owned(),
            endpoint: endpoint.to_owned(),
            outcome: outcome.to_owned(),
            reason: reason.to_owned(),
            attempts: 1,
            ..DeliveryRow::default()
        }
    }

    fn table() -> Vec<DeliveryRow> {
        vec![
            delivery(
                "dead-letter",
                "rejected: http-400: it fits no page",
                "telemetry-hub",
            ),
            delivery("unmatched", "", ""),
        ]
    }

    /// `history show` wants the whole id.
    #[test]
    fn no_id_of_the_history_is_cut_on_any_screen() {
        for columns in [None, Some(40), Some(80), Some(110), Some(140), Some(300)] {
            let text = rows(&table(), true, columns);
            let ids = text
                .lines()
                .filter(|line| line.contains("f899803e-00000005 "));
            assert_eq!(ids.count(), 2, "{columns:?}: {text}");
        }
    }

    #[test]
    fn history_fits_a_screen_and_is_whole_in_a_pipe() {
        for columns in [80, 110, 140] {
            let text = rows(&table(), true, Some(columns));
            let longest = text.lines().map(|line| line.chars().count()).max();
            assert!(longest <= Some(columns), "{columns}: {longest:?} {text}");
        }
        expect![[r#"
            accepted             id                 twin     endpoint       outcome
            2026-11-22 10:00:00  f899803e-00000005  room103  telemetry-hub  dead-letter: re…
            2026-11-22 10:00:00  f899803e-00000005  room103  -              unmatched
        "#]]
        .assert_eq(&rows(&table(), true, Some(80)));
        expect![[r#"
            accepted             id                 twin     endpoint       outcome                                   tries  type
            2026-11-22 10:00:00  f899803e-00000005  room103  telemetry-hub  dead-letter: rejected: http-400: it fit…  1      Microsoft.DigitalTwins.Twi…
            2026-11-22 10:00:00  f899803e-00000005  room103  -              unmatched                                 1      Microsoft.DigitalTwins.Twi…
        "#]].assert_eq(&rows(&table(), true, Some(140)));
        let piped = rows(&table(), false, None);
        assert!(
            piped.contains("dead-letter: rejected: http-400: it fits no page"),
            "{piped}"
        );
        assert!(
            piped.contains("Microsoft.DigitalTwins.Twin.Update"),
            "{piped}"
        );
    }
}
