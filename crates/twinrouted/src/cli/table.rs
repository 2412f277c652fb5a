//! A status as a table for the terminal.

use crate::cli::output;
use std::fmt::Write as _;
use twinroute_model::visible::one_line;
use twinroute_router::status::{EndpointStatus, RouterStatus, SourceStatus};

/// Draws all instances: per endpoint the ledger, per route what it matched.
pub(super) fn render(status: &RouterStatus) -> String {
    let mut text = String::new();
    let journal = &status.journal;
    line(
        &mut text,
        format_args!(
            "table {}   accepted {}   unmatched {}   backlog {} ({} of {})",
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
    for warning in &status.table.warnings {
        several(&mut text, &format!("warning: {warning}"));
    }
    for error in &status.table.errors {
        several(&mut text, &format!("refused: {error}"));
    }
    for instance in &status.instances {
        line(&mut text, format_args!("\n{:<22}{COLUMNS}", instance.name));
        for endpoint in &instance.endpoints {
            line(&mut text, format_args!("{}", endpoint_line(endpoint)));
            for reason in reasons(endpoint) {
                line(&mut text, format_args!("    {reason}"));
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
        let reads = if failures == 1 { "read" } else { "reads" };
        line(
            text,
            format_args!("    {failures} {reads} failed since, the last one: {error}"),
        );
    }
    for waiting in &source.waiting {
        line(text, format_args!("    waiting: {waiting}"));
    }
    for warning in &source.warnings {
        line(text, format_args!("    warning: {warning}"));
    }
}

const COLUMNS: &str = "  matched   queued  in flight  retrying  delivered  dead letters  discarded  oldest   \
                       p50 ms   p99 ms  state";

fn endpoint_line(endpoint: &EndpointStatus) -> String {
    format!(
        "  {:<20}{:>9}{:>9}{:>11}{:>10}{:>11}{:>14}{:>11}{:>8}{:>9.1}{:>9.1}  {}",
        endpoint.name,
        endpoint.matched,
        endpoint.queued,
        endpoint.in_flight,
        endpoint.retrying,
        endpoint.delivered,
        open_dead_letters(endpoint),
        endpoint.discarded,
        age(endpoint.oldest_age_ms),
        endpoint.latency_p50_ms,
        endpoint.latency_p99_ms,
        state(endpoint)
    )
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
        0 => endpoint.state.clone(),
        1 => format!(
            "{}, but the last event became a dead letter",
            endpoint.state
        ),
        count => format!(
            "{}, but the last {count} events became dead letters",
            endpoint.state
        ),
    }
}

/// Events in a row that it did not take, though nothing is wrong with itself.
fn failing(endpoint: &EndpointStatus) -> u64 {
    if endpoint.state != "healthy" {
        return 0;
    }
    // Counts of events outlive a restart, and this one does not.
    match (endpoint.failed_in_a_row, endpoint.delivered) {
        (0, 0) => endpoint
            .dead_letters
            .all()
            .saturating_sub(endpoint.replayed),
        (count, _) => count,
    }
}

/// Why events do not arrive, or dead letters do not.
fn reasons(endpoint: &EndpointStatus) -> Vec<String> {
    let mut reasons = Vec::new();
    let works = matches!(endpoint.state.as_str(), "healthy" | "paused" | "stopped");
    let waits = endpoint.backing_off_ms > 0 || endpoint.retrying > 0;
    if (!works || waits || failing(endpoint) > 0) && !endpoint.last_error.is_empty() {
        reasons.push(endpoint.last_error.clone());
    }
    let letters = &endpoint.dead_letters;
    if !matches!(letters.store.as_str(), "local" | "ok" | "") {
        let count = letters.awaiting_upload;
        reasons.push(format!(
            "{count} dead letters wait for their container, which is {}: {}",
            letters.store, letters.last_error
        ));
    }
    reasons
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

/// A text that may have lines of its own.
fn several(text: &mut String, lines: &str) {
    writeln!(text, "{}", output::indented(lines)).expect("a String takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::sample_status::endpoint_json;

    fn endpoint(state: &str, last_error: &str) -> EndpointStatus {
        let status = endpoint_json("hub-1", state, last_error);
        serde_json::from_value(status).unwrap()
    }

    #[test]
    fn hidden_reasons_of_states_are_shown() {
        for state in [
            "failed",
            "waiting-for-secret",
            "unauthorized",
            "undefined",
            "gone",
        ] {
            assert_eq!(reasons(&endpoint(state, "why")), ["why"], "{state}");
        }
        // The last failure is shown also when it is over.
        assert_eq!(reasons(&endpoint("healthy", "why")), [""; 0]);
        let mut container = endpoint("healthy", "");
        container.dead_letters.store = "unauthorized".to_owned();
        container.dead_letters.awaiting_upload = 2;
        container.dead_letters.last_error = "the SAS has expired".to_owned();
        let expect =
            "2 dead letters wait for their container, which is unauthorized: the SAS has expired";
        assert_eq!(reasons(&container), [expect]);
    }

    #[test]
    fn hidden_reasons_of_an_endpoint_that_rejects_all_it_gets() {
        let mut all = endpoint("healthy", "http-400: no");
        all.dead_letters.local = 8;
        for in_a_row in [0, 8] {
            all.failed_in_a_row = in_a_row;
            let expect = "healthy, but the last 8 events became dead letters";
            assert_eq!(state(&all), expect);
            assert_eq!(reasons(&all), ["http-400: no"]);
        }
        (all.delivered, all.failed_in_a_row) = (1, 0);
        assert_eq!(state(&all), "healthy");
        assert_eq!(state(&endpoint("throttled", "")), "throttled");
    }

    #[test]
    fn hidden_reasons_dead_letters_that_were_replayed_are_not_there_any_more() {
        let mut of = endpoint("healthy", "");
        assert_eq!(open_dead_letters(&of), "0");
        of.dead_letters.local = 16;
        assert_eq!(open_dead_letters(&of), "16");
        of.dead_letters.local = 0;
        of.dead_letters.replayed = 16;
        of.replayed = 16;
        assert_eq!(open_dead_letters(&of), "0/16");
        // A container keeps what was replayed from it.
        of.dead_letters.replayed = 0;
        of.dead_letters.uploaded = 16;
        of.replayed = 10;
        assert_eq!(open_dead_letters(&of), "6/16");
    }

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
