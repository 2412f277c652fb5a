//! A status as a table for the terminal.

use std::fmt::Write as _;
use twinroute_model::visible::one_line;
use twinroute_router::status::{EndpointStatus, SourceStatus, Status};

/// Draws all instances: per endpoint the ledger, per route what it matched.
pub(super) fn render(status: &Status) -> String {
    let mut text = String::new();
    let journal = &status.journal;
    line(
        &mut text,
        format_args!(
            "table {}   accepted {}   unmatched {}   waiting {} ({} of {})",
            status.table.generation,
            journal.accepted,
            journal.unmatched,
            journal.events,
            bytesize::ByteSize(journal.bytes),
            bytesize::ByteSize(journal.bytes_max),
        ),
    );
    for warning in &status.warnings {
        line(&mut text, format_args!("warning: {warning}"));
    }
    if let Some(source) = &status.table.source {
        source_lines(&mut text, source);
    }
    for error in &status.table.errors {
        line(&mut text, format_args!("refused: {error}"));
    }
    for instance in &status.instances {
        line(&mut text, format_args!("\n{:<22}{COLUMNS}", instance.name));
        for endpoint in &instance.endpoints {
            line(&mut text, format_args!("{}", endpoint_line(endpoint)));
            if !endpoint.last_error.is_empty() && endpoint.backing_off_ms > 0 {
                line(&mut text, format_args!("    {}", endpoint.last_error));
            }
            if let Some(credential) = credential_line(endpoint) {
                line(&mut text, format_args!("    {credential}"));
            }
        }
        line(
            &mut text,
            format_args!(
                "\n  {:<20}{:<20}{:>9}  filter",
                "route", "endpoint", "matched"
            ),
        );
        for route in &instance.routes {
            line(
                &mut text,
                format_args!(
                    "  {:<20}{:<20}{:>9}  {}",
                    route.id,
                    route.endpoint,
                    route.matched,
                    shortened(&route.filter)
                ),
            );
        }
    }
    text
}

/// How the source of the definitions goes.
fn source_lines(text: &mut String, source: &SourceStatus) {
    let kind = &source.kind;
    let read = match source.age_ms {
        Some(0..1_000) => "definitions as of now".to_owned(),
        Some(age_ms) => format!("definitions as of {} ago", age(age_ms)),
        None => "no definitions yet".to_owned(),
    };
    let saved = if source.saved {
        ", saved by an earlier run"
    } else {
        ""
    };
    line(text, format_args!("source {kind}: {read}{saved}"));
    if !source.last_error.is_empty() {
        let (failures, error) = (source.failures, &source.last_error);
        let looks = if failures == 1 { "look" } else { "looks" };
        line(
            text,
            format_args!("    {failures} {looks} failed since, the last one: {error}"),
        );
    }
    for waiting in &source.waiting {
        line(text, format_args!("    waiting: {waiting}"));
    }
    for warning in &source.warnings {
        line(text, format_args!("    warning: {warning}"));
    }
}

const COLUMNS: &str = "  matched   queued  flying  parked delivered   dead  given up  oldest   p50 ms   \
                       p99 ms  state";

fn endpoint_line(endpoint: &EndpointStatus) -> String {
    format!(
        "  {:<20}{:>9}{:>9}{:>8}{:>8}{:>10}{:>7}{:>10}{:>8}{:>9.1}{:>9.1}  {}",
        endpoint.name,
        endpoint.matched,
        endpoint.queued,
        endpoint.in_flight,
        endpoint.parked,
        endpoint.delivered,
        endpoint.dead_letters.all(),
        endpoint.discarded,
        age(endpoint.oldest_age_ms),
        endpoint.latency_p50_ms,
        endpoint.latency_p99_ms,
        endpoint.state
    )
}

/// Which credential is in use, where that is not the first one, it ends, or it is refused.
fn credential_line(endpoint: &EndpointStatus) -> Option<String> {
    let used = endpoint.credentials.iter().find(|one| one.active)?;
    let end = match used.expires_at.as_str() {
        "" => String::new(),
        end => format!(", ends {end}"),
    };
    if endpoint.state == "unauthorized" {
        let since = &endpoint.since;
        return Some(format!(
            "refused since {since}; tried first: {}{end}",
            used.slot
        ));
    }
    let usual = used.slot == "primary" && end.is_empty();
    (!usual).then(|| format!("credential: {}{end}", used.slot))
}

/// In the largest unit that leaves a number above one.
fn age(millis: u64) -> String {
    match millis / 1_000 {
        0 => "0".to_owned(),
        seconds @ 1..120 => format!("{seconds}s"),
        seconds @ 120..7_200 => format!("{}m", seconds / 60),
        seconds @ 7_200..172_800 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

fn shortened(filter: &str) -> String {
    const MAX: usize = 60;
    let flat: String = filter.split_whitespace().collect::<Vec<_>>().join(" ");
    if flat.chars().count() <= MAX {
        return flat;
    }
    flat.chars().take(MAX - 1).chain(['…']).collect()
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    let line = arguments.to_string();
    // A gap above is ours; what else would end a line is not.
    let (gap, line) = match line.strip_prefix('\n') {
        Some(line) => ("\n", line),
        None => ("", &*line),
    };
    writeln!(text, "{gap}{}", one_line(line)).expect("a String takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_short() {
        for (millis, expect) in [
            (999, "0"),
            (119_999, "119s"),
            (120_000, "2m"),
            (7_200_000, "2h"),
            (172_800_000, "2d"),
        ] {
            assert_eq!(age(millis), expect);
        }
    }
}
