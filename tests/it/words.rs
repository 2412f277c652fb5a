//! One word for one thing: words that no code, log, error, help text or page uses, with those that it does.
//!
//! Only what has a single meaning here is on the list, so that a test can tell; the rest is `docs/glossary.md`.

use crate::tidy::{root, sources};
use std::fs;
use std::path::{Path, PathBuf};

/// What is not said, in lower case, and what is. A word ends where letters do; `_` is read as a blank, so
/// identifiers are seen too.
const UNWANTED: [(&str, &str); 21] = [
    ("mend", "fix"),
    ("mends", "fixes"),
    ("mended", "fixed"),
    ("anew", "again"),
    ("flying", "in flight"),
    ("parked", "retrying"),
    ("given up", "discarded, or abandoned"),
    ("gave up", "discarded, or abandoned"),
    ("gives up", "discards, or abandons"),
    ("passed over", "skipped"),
    ("stands in for", "emulates, or replaces"),
    ("stand in for", "emulate, or replace"),
    ("by hand", "manually"),
    ("is noted", "is recorded, or logged"),
    ("are noted", "are recorded, or logged"),
    ("be noted", "be recorded, or logged"),
    ("not noted", "not recorded, or logged"),
    ("looked at again", "checked again"),
    ("there is none of this", "not found"),
    ("somebody has to act", "action required"),
    ("may not do what was meant", "warning"),
];

/// What no identifier is, and what it is instead. Between other words, and in a name of a test, they may stand.
const UNWANTED_NAMES: [(&str, &str); 17] = [
    ("told", "what it holds: a report, a message, causes"),
    ("noted", "recorded"),
    ("shown", "what it holds: a view, a text, what was printed"),
    ("desk", "context, or scene"),
    ("intake", "acceptor, or arrivals"),
    ("bury", "dead_letter"),
    ("buried", "dead_lettered"),
    ("dying", "dead_letter"),
    ("suspect", "affected"),
    ("landed", "completed"),
    ("puppet", "scripted_peer"),
    ("story", "events"),
    ("exposed", "file_permissions"),
    ("chance", "rng, or random"),
    ("made_of", "fingerprint"),
    ("wait_for_company", "wait_for_batch"),
    ("sleep_deaf", "sleep_uninterrupted"),
];

/// Files that quote such words: changes of words, this list, and the name that earlier builds kept a count
/// of replays under.
const QUOTE: [&str; 3] = [
    "CHANGELOG.md",
    "tests/it/words.rs",
    "crates/router/src/replay/job.rs",
];

#[test]
fn words_that_have_a_plain_one_are_not_used() {
    let mut complaints = Vec::new();
    let mut files = 0;
    for path in texts() {
        let name = path.strip_prefix(root()).expect("below the root");
        let name = name.to_str().expect("names are UTF-8").replace('\\', "/");
        if QUOTE.contains(&&*name) {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a text is readable");
        complaints.extend(unwanted(&name, &text));
        files += 1;
    }
    assert!(files > 300, "the texts were not found");
    assert_eq!(complaints, [] as [&str; 0]);
}

#[test]
fn unwanted_words_are_found_wherever_they_stand() {
    for (text, expect) in [
        ("it is taken again", vec![]),
        ("recommended, amended, mending", vec![]),
        (
            "let parked_at = 1;\n",
            vec!["x:1: \"parked\"; say: retrying"],
        ),
        (
            "/// All is\n    /// Given Up.\n",
            vec!["x:2: \"given up\"; say: discarded, or abandoned"],
        ),
        (
            "\nbail!(\"what was passed \\\n    over\")",
            vec!["x:2: \"passed over\"; say: skipped"],
        ),
        (
            "| `flying` | mend it |",
            vec!["x:1: \"mend\"; say: fix", "x:1: \"flying\"; say: in flight"],
        ),
    ] {
        assert_eq!(unwanted("x", text), expect, "{text}");
    }
}

#[test]
fn names_that_say_nothing_are_not_given() {
    let mut complaints = Vec::new();
    for path in texts() {
        let name = path.strip_prefix(root()).expect("below the root");
        let name = name.to_str().expect("names are UTF-8");
        if name.ends_with(".rs") && !QUOTE.contains(&name) {
            let file = Path::new(name).file_stem().and_then(|stem| stem.to_str());
            let text = fs::read_to_string(&path).expect("a source is readable");
            complaints.extend(unwanted_names(name, file.unwrap_or_default()));
            complaints.extend(unwanted_names(name, &text));
        }
    }
    assert_eq!(complaints, [] as [&str; 0]);
}

#[test]
fn names_that_say_nothing_are_found_in_code_only() {
    for (text, expect) in [
        ("    let told = 1;", vec!["x:1: told is no name; say: "]),
        ("as_told(); // what is told", vec![]),
        ("/// told\nfn f() {}", vec![]),
        ("log(\"told\", desk)", vec!["x:1: desk is no name; say: "]),
    ] {
        let found = unwanted_names("x", text);
        assert_eq!(found.len(), expect.len(), "{text}: {found:?}");
        let all = || found.iter().zip(&expect);
        assert!(
            all().all(|(found, expect)| found.starts_with(expect)),
            "{found:?}"
        );
    }
}

/// Identifiers of a text that say nothing. A line's comment is left out, and what stands in quotes in one line.
fn unwanted_names(name: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        for code in code.split('"').step_by(2) {
            let names = code.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
            complaints.extend(UNWANTED_NAMES.iter().filter_map(|(not, but)| {
                let found = names.clone().any(|name| name == *not);
                found.then(|| format!("{name}:{}: {not} is no name; say: {but}", number + 1))
            }));
        }
    }
    complaints
}

/// Complaints about one text. Words are compared over line ends, and over the signs of comments and of texts
/// that go on in the next line.
fn unwanted(name: &str, text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let parts = line.split(|letter: char| !letter.is_alphabetic());
        let parts = parts.filter(|part| !part.is_empty());
        words.extend(parts.map(|part| (number + 1, part.to_lowercase())));
    }
    let mut complaints = Vec::new();
    for (not, but) in UNWANTED {
        let not_words: Vec<&str> = not.split(' ').collect();
        for found in words.windows(not_words.len()) {
            if found.iter().map(|(_, word)| word).eq(&not_words) {
                let line = found[0].0;
                complaints.push(format!("{name}:{line}: {not:?}; say: {but}"));
            }
        }
    }
    complaints
}

/// All sources, pages and configurations.
fn texts() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in ["crates", "benches", "tests", "xtask", "fuzz"] {
        found.extend(sources(&root().join(folder)));
    }
    for folder in ["docs", "docs/guide", "docs/decisions", "config", ""] {
        found.extend(pages(&root().join(folder)));
    }
    found
}

fn pages(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the folder is there");
    let paths = entries.map(|entry| entry.expect("the folder is readable").path());
    let kinds = ["md", "toml", "json"];
    paths
        .filter(|path| {
            let kind = path.extension().and_then(|kind| kind.to_str());
            path.is_file() && kind.is_some_and(|kind| kinds.contains(&kind))
        })
        .collect()
}
