//! The history for people.

use crate::cli::ask::{cut, seconds};
use std::fmt::Write as _;
use twinroute_model::visible::one_line;
use twinroute_router::history::{DeliveryRow, DeliveryView, EventView, RouteDecision};

/// One row a delivery, in at most 110 columns.
pub(in crate::cli) fn rows(rows: &[DeliveryRow], has_head: bool) -> String {
    let mut text = String::new();
    if has_head {
        line(
            &mut text,
            [
                "accepted", "id", "twin", "endpoint", "outcome", "tries", "type",
            ],
        );
    }
    for row in rows {
        let twin = row.twin.rsplit('/').next().unwrap_or_default();
        let outcome = match row.reason.as_str() {
            "" => row.outcome.clone(),
            reason => format!("{}: {reason}", row.outcome),
        };
        let endpoint = if row.endpoint.is_empty() {
            "-"
        } else {
            &row.endpoint
        };
        line(
            &mut text,
            [
                &seconds(&row.accepted_at),
                &row.id,
                twin,
                endpoint,
                &outcome,
                &row.attempts.to_string(),
                &row.event_type,
            ],
        );
    }
    text
}

fn line(text: &mut String, cells: [&str; 7]) {
    const WIDTHS: [usize; 6] = [19, 14, 16, 14, 16, 5];
    let mut line = String::new();
    for (cell, width) in cells.iter().zip(WIDTHS) {
        write!(line, "{:<width$}  ", cut(cell, width)).expect("a String takes everything");
    }
    line.push_str(&cut(cells[6], 24));
    text.push_str(line.trim_end());
    text.push('\n');
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
