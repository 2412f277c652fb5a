//! `twinroute ledger`: what became of every delivery.

use super::ask::{self, AdminTarget};
use crate::cli::output;
use std::fmt::Write as _;
use std::process::ExitCode;
use twinroute_admin::ledger::{DeliveryCounts, LedgerReport};

/// Ends with a failure when the ledger does not add up.
pub(super) async fn run(whom: &AdminTarget, as_json: bool) -> anyhow::Result<ExitCode> {
    let answer = whom.get("/ledger?pretty").await?;
    let ledger: LedgerReport = ask::read(&answer)?;
    if as_json {
        output::print(&answer)?;
    } else {
        output::print(render(&ledger))?;
    }
    Ok(if ledger.total.unaccounted == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

const COLUMNS: [&str; 8] = [
    "matched",
    "replayed",
    "queued",
    "in flight",
    "retrying",
    "delivered",
    "dead-lettered",
    "discarded",
];

fn render(ledger: &LedgerReport) -> String {
    let mut text = String::new();
    let mut line = |line: String| {
        text.push_str(line.trim_end());
        text.push('\n');
    };
    line(format!("{:<20}{}", "endpoint", row(COLUMNS)));
    for of in &ledger.endpoints {
        let name = ask::cut(&format!("{}/{}", of.instance, of.endpoint), 19);
        line(format!("{name:<20}{}", row(numbers(&of.counts))));
    }
    line(format!("{:<20}{}", "total", row(numbers(&ledger.total))));
    let total = &ledger.total;
    let dead = &total.dead_lettered;
    line(format!(
        "\ndead letters: {} uploaded, {} awaiting upload, {} local, {} replayed",
        dead.uploaded, dead.awaiting_upload, dead.local, dead.replayed
    ));
    let mut reasons = String::new();
    for (reason, count) in &total.discarded {
        let comma = if reasons.is_empty() { "" } else { ", " };
        write!(reasons, "{comma}{count} {reason}").expect("a String takes everything");
    }
    if !reasons.is_empty() {
        line(format!("discarded: {reasons}"));
    }
    line(format!("unmatched events: {}", ledger.unmatched));
    line(format!("\n{}", ledger.equation));
    line(format!(
        "{} + {} = {} + {} + {} + {} + {} + {}",
        total.matched,
        total.replayed,
        total.queued,
        total.in_flight,
        total.retrying,
        total.delivered,
        dead.all(),
        total.discarded_all()
    ));
    line(format!("unaccounted {}", total.unaccounted));
    text
}

fn numbers(counts: &DeliveryCounts) -> [String; 8] {
    [
        counts.matched,
        counts.replayed,
        counts.queued,
        counts.in_flight,
        counts.retrying,
        counts.delivered,
        counts.dead_lettered.all(),
        counts.discarded_all(),
    ]
    .map(|count| count.to_string())
}

fn row(cells: [impl AsRef<str>; 8]) -> String {
    let cells = COLUMNS.iter().zip(&cells).map(|(heading, cell)| {
        let width = heading.len().max(9);
        format!("{:>width$}", cell.as_ref())
    });
    cells.collect::<Vec<_>>().join(" ")
}
