//! The conventions of Prometheus, held against every scrape of every test: <https://prometheus.io/docs/practices/naming/>
//! and the text format 0.0.4.

use crate::harness::repository;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// Units that are none of the base ones, and words that are said by the type.
const WRONG_ENDS: [&str; 14] = [
    "_ms",
    "_milliseconds",
    "_us",
    "_microseconds",
    "_minutes",
    "_hours",
    "_days",
    "_kb",
    "_kilobytes",
    "_megabytes",
    "_mb",
    "_percent",
    "_count",
    "_gauge",
];

/// Words that Prometheus, or whoever scrapes, gives itself.
const RESERVED_LABELS: [&str; 3] = ["instance", "job", "quantile"];

/// A scrape, taken apart.
#[derive(Debug, Default)]
pub(crate) struct MetricsScrape {
    /// Their types.
    pub(crate) families: BTreeMap<String, String>,
    pub(crate) series: BTreeMap<String, f64>,
}

impl MetricsScrape {
    /// Reads an answer of `/metrics`, and checks everything in it.
    pub(crate) fn checked(answer: &str) -> Self {
        let (head, text) = answer.split_once("\r\n\r\n").unwrap_or(("", answer));
        let scrape = Self::of(text);
        if head.starts_with("HTTP/1.1 200") {
            let documented = documented();
            for (name, kind) in &scrape.families {
                check_name(name, kind);
                if name.starts_with("process_") {
                    continue;
                }
                let expect = documented.get(name);
                assert_eq!(expect, Some(kind), "{name} in docs/operations.md");
            }
        }
        scrape
    }

    fn of(text: &str) -> Self {
        let (mut scrape, mut help) = (Self::default(), BTreeSet::new());
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(said) = line.strip_prefix("# HELP ") {
                let (name, words) = said.split_once(' ').unwrap();
                assert!(!words.is_empty(), "{line}");
                assert!(help.insert(name.to_owned()), "twice: {line}");
            } else if let Some(said) = line.strip_prefix("# TYPE ") {
                let (name, kind) = said.split_once(' ').unwrap();
                assert!(help.contains(name), "no HELP: {line}");
                let before = scrape.families.insert(name.to_owned(), kind.to_owned());
                assert_eq!(before, None, "twice: {line}");
            } else if !line.starts_with('#') {
                scrape.sample(line);
            }
        }
        scrape
    }

    fn sample(&mut self, line: &str) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let name = series.split('{').next().unwrap();
        let is_histogram =
            |base: &&str| self.families.get(*base).is_some_and(|of| of == "histogram");
        let mut base = ["_bucket", "_sum", "_count"].iter();
        let base = base.find_map(|end| name.strip_suffix(end).filter(is_histogram));
        let family = base.unwrap_or(name);
        assert!(self.families.contains_key(family), "no TYPE: {line}");
        for label in labels(series) {
            assert!(!RESERVED_LABELS.contains(&label.as_str()), "{line}");
        }
        let before = self
            .series
            .insert(series.to_owned(), value.parse().unwrap());
        assert_eq!(before, None, "twice: {line}");
    }
}

/// The names of the labels of a series. No value of ours holds a comma or an equals sign.
fn labels(series: &str) -> Vec<String> {
    let Some((_, rest)) = series.split_once('{') else {
        return Vec::new();
    };
    let pairs = rest.trim_end_matches('}').split(',');
    let names = pairs.map(|pair| pair.split('=').next().unwrap().to_owned());
    names.collect()
}

fn check_name(name: &str, kind: &str) {
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    assert!(name.bytes().all(legal), "{name}");
    let ours = name.starts_with("twinroute_") || name.starts_with("process_");
    assert!(ours, "{name} has no prefix");
    assert!(
        ["counter", "gauge", "histogram"].contains(&kind),
        "{name} is a {kind}"
    );
    assert_eq!(
        name.ends_with("_total"),
        kind == "counter",
        "{name} is a {kind}"
    );
    let wrong = WRONG_ENDS.iter().find(|end| name.ends_with(*end));
    assert_eq!(wrong, None, "{name}");
    if name.contains("expiry") {
        assert!(
            name.ends_with("_timestamp_seconds"),
            "{name}: when, not how long"
        );
    }
    if kind == "histogram" {
        assert!(
            name.ends_with("_seconds") || name.ends_with("_bytes"),
            "{name}"
        );
    }
}

/// The metrics that the page about operations describes, with their types.
pub(crate) fn documented() -> BTreeMap<String, String> {
    let page = fs::read_to_string(repository().join("docs/operations.md")).unwrap();
    let mut found = BTreeMap::new();
    for line in page.lines() {
        let cells: Vec<&str> = line.split(" | ").collect();
        // Of the tables of that page only one says types.
        let Some(kind @ ("counter" | "gauge" | "histogram")) = cells.get(1).copied() else {
            continue;
        };
        let words = cells[0].split('`');
        for name in words.filter(|word| word.starts_with("twinroute_")) {
            found.insert(name.to_owned(), kind.to_owned());
        }
    }
    found
}
