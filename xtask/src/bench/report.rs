//! The table: medians of all rounds, and what they are beside the program that does only what is necessary.

use super::cases::{BenchCase, PAIRS};
use super::run::CaseFigures;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What all rounds found.
pub(super) struct BenchReport {
    cases: Vec<String>,
    /// By case and program, the programs in the order of their first measurement.
    found: BTreeMap<String, Vec<(String, Vec<CaseFigures>)>>,
}

impl BenchReport {
    pub(super) fn new(cases: &[BenchCase]) -> Self {
        Self {
            cases: cases.iter().map(|case| case.name.clone()).collect(),
            found: BTreeMap::new(),
        }
    }

    pub(super) fn add(&mut self, case: &BenchCase, program: &str, figures: CaseFigures) {
        let programs = self.found.entry(case.name.clone()).or_default();
        match programs.iter_mut().find(|(name, _)| name == program) {
            Some((_, all)) => all.push(figures),
            None => programs.push((program.to_owned(), vec![figures])),
        }
    }

    /// Whether no event was lost or repeated.
    pub(super) fn all_arrived(&self) -> bool {
        let mut all = self.found.values().flatten().flat_map(|(_, all)| all);
        all.all(|figures| figures.missing == 0 && figures.repeated == 0)
    }

    /// The result as a page, below a description of the machine.
    pub(super) fn page(&self, machine: &str) -> String {
        let mut page = format!("# Measured\n\n{machine}\n");
        page.push_str(
            "| case | program | CPU-s/M | × | k ev/s | RSS MiB (idle) | age p50 / p99 ms \
             | ack p50 / p99 ms | |\n|---|---|---|---|---|---|---|---|---|\n",
        );
        for case in &self.cases {
            let programs = self.found.get(case).map_or(&[][..], Vec::as_slice);
            let base = programs.first().map(|(_, all)| median(all));
            for (program, all) in programs {
                let one = median(all);
                let times = base.map_or(1.0, |base| one.cpu_s_per_m / base.cpu_s_per_m);
                page.push_str(&row(case, program, &one, times));
            }
        }
        page.push_str(&self.pairs());
        page
    }

    /// Cases that are compared with each other.
    fn pairs(&self) -> String {
        let mut text = String::new();
        for (title, first, second) in PAIRS {
            let (Some(first), Some(second)) = (self.found.get(first), self.found.get(second))
            else {
                continue;
            };
            for (program, all) in first {
                let Some((_, other)) = second.iter().find(|(name, _)| name == program) else {
                    continue;
                };
                let (one, other) = (median(all), median(other));
                writeln!(
                    text,
                    "| {title} | {program} | {:.2} | {:.2} |",
                    one.cpu_s_per_m / other.cpu_s_per_m,
                    one.events_per_s / other.events_per_s,
                )
                .expect("a String takes all");
            }
        }
        if text.is_empty() {
            return text;
        }
        format!("\n| compared | program | CPU-s/M × | ev/s × |\n|---|---|---|---|\n{text}")
    }
}

fn row(case: &str, program: &str, one: &CaseFigures, times: f64) -> String {
    let mut notes = Vec::new();
    if one.of_capacity > 0.0 {
        notes.push(format!("{:.2} of capacity", one.of_capacity));
    }
    if one.rss_mib_end > 0.0 {
        notes.push(format!("later {:.0} MiB", one.rss_mib_end));
    }
    for (count, what) in [
        (one.refusals, "refused"),
        (one.missing, "missing"),
        (one.repeated, "repeated"),
    ] {
        if count > 0 {
            notes.push(format!("{count} {what}"));
        }
    }
    format!(
        "| {case} | {program} | {:.2} | {times:.2} | {:.1} | {:.0} ({:.0}) | {:.2} / {:.1} \
         | {:.2} / {:.1} | {} |\n",
        one.cpu_s_per_m,
        one.events_per_s / 1e3,
        one.rss_mib_max,
        one.rss_mib_idle,
        one.age_p50_ms,
        one.age_p99_ms,
        one.ack_p50_ms,
        one.ack_p99_ms,
        notes.join(", "),
    )
}

/// The median of each figure; of counts of what went wrong, the most.
fn median(all: &[CaseFigures]) -> CaseFigures {
    let of = |figure: fn(&CaseFigures) -> f64| {
        let mut values: Vec<f64> = all.iter().map(figure).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or_default()
    };
    let most = |count: fn(&CaseFigures) -> u64| all.iter().map(count).max().unwrap_or_default();
    CaseFigures {
        cpu_s_per_m: of(|one| one.cpu_s_per_m),
        events_per_s: of(|one| one.events_per_s),
        of_capacity: of(|one| one.of_capacity),
        rss_mib_max: of(|one| one.rss_mib_max),
        rss_mib_idle: of(|one| one.rss_mib_idle),
        rss_mib_end: of(|one| one.rss_mib_end),
        age_p50_ms: of(|one| one.age_p50_ms),
        age_p99_ms: of(|one| one.age_p99_ms),
        ack_p50_ms: of(|one| one.ack_p50_ms),
        ack_p99_ms: of(|one| one.ack_p99_ms),
        refusals: most(|one| one.refusals),
        missing: most(|one| one.missing),
        repeated: most(|one| one.repeated),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_shows_medians_and_ratios() {
        let mut report = BenchReport {
            cases: vec!["one".to_owned()],
            found: BTreeMap::new(),
        };
        let figures = |cpu_s_per_m, missing| CaseFigures {
            cpu_s_per_m,
            missing,
            ..CaseFigures::default()
        };
        let floor = [4.0, 2.0, 9.0].map(|cpu| figures(cpu, 0)).to_vec();
        let router = vec![figures(6.0, 0), figures(5.0, 0), figures(8.0, 0)];
        let programs = vec![("floor".to_owned(), floor), ("router".to_owned(), router)];
        report.found.insert("one".to_owned(), programs);
        let page = report.page("a machine\n");
        assert!(page.contains("| one | floor | 4.00 | 1.00 |"), "{page}");
        assert!(page.contains("| one | router | 6.00 | 1.50 |"), "{page}");
        assert!(report.all_arrived());
        let lost = report.found.get_mut("one").expect("a case");
        lost[1].1[0].missing = 1;
        assert!(!report.all_arrived());
    }
}
