//! A plan for people.

use std::fmt::{self, Write as _};
use twinroute_model::visible::one_line;
use twinroute_router::history::{EndpointPlan, MatchChange, PlanReport};

/// The width of names: that of the longest, up to this, so that 80 columns hold a row.
const NAME_WIDTH_MAX: usize = 40;

/// The text of it.
pub(super) fn report(report: &PlanReport) -> String {
    let names = report.routes.keys().chain(report.endpoints.keys());
    let longest = names.map(|name| name.chars().count()).max();
    let mut page = PlanPage {
        text: String::new(),
        width: longest.unwrap_or_default().clamp(10, NAME_WIDTH_MAX),
    };
    page.heading("route");
    for (name, change) in &report.routes {
        page.row(name, change);
    }
    page.line("");
    page.heading("endpoint");
    for (name, plan) in &report.endpoints {
        page.row(name, &plan.events);
        page.too_large(plan);
        page.rate(plan);
    }
    page.line("");
    page.row("unmatched", &report.unmatched);
    let verdict = match report.is_change() {
        true => "some would go elsewhere",
        false => "nothing would change",
    };
    page.line("");
    let noun = if report.events == 1 {
        "event"
    } else {
        "events"
    };
    page.line(format_args!("{} {noun}, {verdict}", report.events));
    if report.events > 0 {
        let (since, until) = (&report.since, &report.until);
        page.line(format_args!("accepted from {since} to {until}"));
    }
    page.text
}

struct PlanPage {
    text: String,
    width: usize,
}

impl PlanPage {
    fn line(&mut self, line: impl fmt::Display) {
        self.text.push_str(one_line(&line.to_string()).trim_end());
        self.text.push('\n');
    }

    fn cells(&mut self, name: &str, cells: [&dyn fmt::Display; 4]) {
        let width = self.width;
        let mut line = format!("{name:<width$}");
        for (cell, width) in cells.iter().zip([10, 10, 8, 8]) {
            write!(line, "{:>width$}", cell.to_string()).expect("a String takes everything");
        }
        self.line(line);
    }

    fn heading(&mut self, what: &str) {
        self.cells(what, [&"now", &"changed", &"come", &"go"]);
    }

    fn row(&mut self, name: &str, change: &MatchChange) {
        let MatchChange {
            before,
            after,
            come,
            go,
            ..
        } = change;
        self.cells(name, [before, after, come, go]);
        for (word, ids, count) in [
            ("come", &change.come_ids, change.come),
            ("go", &change.go_ids, change.go),
        ] {
            self.ids(word, ids, count);
        }
    }

    fn ids(&mut self, word: &str, ids: &[String], count: u64) {
        if ids.is_empty() {
            return;
        }
        let more = match count.saturating_sub(ids.len() as u64) {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        self.line(format_args!("    {word}: {}{more}", ids.join(", ")));
    }

    /// Events that its destination would refuse for their size.
    fn too_large(&mut self, plan: &EndpointPlan) {
        let change = &plan.too_large;
        let limit = plan.limits.map(|limits| limits.event_bytes_max);
        let Some(limit) = limit.filter(|_| change.before + change.after > 0) else {
            return;
        };
        self.line(format_args!(
            "    too large: {}, now {}; it takes {limit} bytes",
            change.after, change.before
        ));
        self.ids("too large, new", &change.come_ids, change.come);
    }

    /// The most in a second, where that is known or more than is published.
    fn rate(&mut self, plan: &EndpointPlan) {
        let Some(limits) = plan.limits else {
            return;
        };
        let load = plan.load_after;
        if load.events_per_second == 0 {
            return;
        }
        let most = limits.bytes_per_second_max;
        let most = most.map_or_else(String::new, |most| format!(", {most} B/s"));
        let verdict = if plan.is_above_rate() {
            "above"
        } else {
            "within"
        };
        self.line(format_args!(
            "    peak {}/s, {} B/s: {verdict} the {}/s{most} of {}",
            load.events_per_second,
            load.bytes_per_second,
            limits.events_per_second_max,
            limits.rate_scope.as_str()
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use twinroute_router::history::{DestinationLimits, DestinationLoad, RateScope};

    #[test]
    fn a_plan_says_what_comes_goes_is_too_large_and_above_the_rate() {
        let change = |before, after, ids: &[&str]| MatchChange {
            before,
            after,
            come: 5,
            come_ids: ids.iter().map(|id| (*id).to_owned()).collect(),
            ..MatchChange::default()
        };
        let plan = EndpointPlan {
            events: change(2, 7, &["a", "b", "c"]),
            too_large: change(0, 1, &["b"]),
            load_after: DestinationLoad {
                events_per_second: 1_200,
                bytes_per_second: 2_000_000,
            },
            limits: Some(DestinationLimits {
                event_bytes_max: 1 << 20,
                events_per_second_max: 1_000,
                bytes_per_second_max: Some(1 << 20),
                rate_scope: RateScope::ThroughputUnit,
            }),
            ..EndpointPlan::default()
        };
        let text = report(&PlanReport {
            events: 7,
            since: "2026-11-30T10:00:00.000Z".to_owned(),
            until: "2026-11-30T10:00:09.000Z".to_owned(),
            routes: [("demo/hot".to_owned(), change(2, 7, &["a", "b", "c"]))].into(),
            endpoints: [("demo/hub".to_owned(), plan)].into(),
            ..PlanReport::default()
        });
        expect![[r#"
            route            now   changed    come      go
            demo/hot           2         7       5       0
                come: a, b, c, and 2 more

            endpoint         now   changed    come      go
            demo/hub           2         7       5       0
                come: a, b, c, and 2 more
                too large: 1, now 0; it takes 1048576 bytes
                too large, new: b, and 4 more
                peak 1200/s, 2000000 B/s: above the 1000/s, 1048576 B/s of a throughput unit

            unmatched          0         0       0       0

            7 events, some would go elsewhere
            accepted from 2026-11-30T10:00:00.000Z to 2026-11-30T10:00:09.000Z
        "#]]
        .assert_eq(&text);
        assert!(text.lines().all(|line| line.chars().count() <= 80));
    }
}
