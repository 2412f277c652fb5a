//! Every type that a program begins with shows how, in an example that is compiled and run.

use std::path::Path;

/// What others give, whose example shows it.
const SHOWN_ELSEWHERE: [&str; 19] = [
    "AzureDefinitionsError",
    "AzureError",
    "Connect",
    "DeadLetterPlace",
    "DeadLetterResults",
    "HistoryError",
    "HistoryOutcome",
    "HistorySearch",
    "InvalidIngress",
    "LetterListing",
    "ObservedEvent",
    "PastDelivery",
    "PastDeliveryPage",
    "PastEventPage",
    "PastPlace",
    "PastReplay",
    "PurgeScope",
    "PurgedDeliveries",
    "SinkReport",
];

/// Of other crates, with an example of this one.
const OF_OTHER_CRATES: [&str; 30] = [
    "AcceptError",
    "AcceptedBatch",
    "AckLevel",
    "BatchLimits",
    "BuildError",
    "Clock",
    "Delivery",
    "DeliveryOutcome",
    "DuplicateWindow",
    "EndpointName",
    "EndpointSettings",
    "EndpointStatus",
    "Event",
    "EventBuilder",
    "EventData",
    "ExtensionValue",
    "FilterExplanation",
    "InstanceName",
    "IntoMappedEvent",
    "InvalidEvent",
    "RouteFilter",
    "RouteId",
    "RouterReadiness",
    "RouterStatus",
    "SpanQueue",
    "Timestamp",
    "TraceContext",
    "TwinKey",
    "CustomDestination",
    "Definitions",
];

/// The items of the crate's files, each with its doc comment.
fn items() -> Vec<(String, String)> {
    let mut items = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let mut doc = String::new();
            for line in std::fs::read_to_string(path).unwrap().lines() {
                let text = line.trim_start();
                if text.starts_with("///") {
                    doc += text;
                    doc.push('\n');
                } else if !text.starts_with("#[") {
                    items.extend(item(text).map(|name| (name.to_owned(), doc.clone())));
                    doc.clear();
                }
            }
        }
    }
    items
}

/// The name of an item that a program may use, or that it is given of another crate.
fn item(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("pub ")?;
    let (kind, rest) = rest.split_once(' ')?;
    let name = match kind {
        "struct" | "enum" | "trait" => rest,
        "use" => rest.strip_suffix(';')?.rsplit("::").next()?,
        _ => return None,
    };
    let end = name.find(|letter: char| !letter.is_alphanumeric());
    Some(&name[..end.unwrap_or(name.len())]).filter(|name| !name.is_empty())
}

/// Whether an example does something: asserts, or fails the test where it does not work.
fn has_example(doc: &str) -> bool {
    doc.contains("```") && doc.contains("assert")
}

#[test]
fn every_type_that_a_program_begins_with_has_an_example_that_asserts() {
    let items = items();
    let without: Vec<&str> = items
        .iter()
        .filter(|(name, doc)| {
            let is_due = !doc.is_empty() && !SHOWN_ELSEWHERE.contains(&name.as_str());
            is_due && !has_example(doc)
        })
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(without, Vec::<&str>::new(), "no example that asserts");
}

#[test]
fn every_type_of_another_crate_that_programs_name_has_an_example_here() {
    let items = items();
    for name in OF_OTHER_CRATES {
        let shown = items
            .iter()
            .any(|(item, doc)| item == name && has_example(doc));
        assert!(shown, "{name}: no example that asserts");
    }
}

/// Snippets of Rust stand in one page, which `tests/src/lib.rs` has compiled, and none is skipped.
#[test]
fn every_snippet_of_the_pages_is_compiled() {
    const COMPILED: &str = "docs/guide/library.md";
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let compiler = std::fs::read_to_string(root.join("tests/src/lib.rs")).unwrap();
    assert!(compiler.contains(&format!("include_str!(\"../../{COMPILED}\")")));
    let mut pages = vec![root.join("README.md")];
    let mut folders = vec![root.join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => pages.push(path),
            }
        }
    }
    let mut snippets = 0;
    for page in pages
        .iter()
        .filter(|page| page.extension().is_some_and(|end| end == "md"))
    {
        let text = std::fs::read_to_string(page).unwrap();
        for fence in text.lines().filter(|line| line.starts_with("```rust")) {
            let page = page.display();
            assert!(
                page.to_string().ends_with(COMPILED),
                "{page}: is not compiled"
            );
            assert!(
                matches!(fence, "```rust" | "```rust,no_run"),
                "{page}: {fence}"
            );
            snippets += 1;
        }
    }
    assert!(snippets >= 12, "{snippets} snippets");
}
