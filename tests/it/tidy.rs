//! Rules about the source itself: who may depend on whom, how long a file may get, what no file may have.
//!
//! Each rule is a function from text to complaints, so that a test can show that it complains.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// The edges between crates: the table of rooms in the design. A new edge is a change of the design and
/// gets a commit of its own.
const MAY_USE: [(&str, &[&str]); 21] = [
    ("model", &[]),
    ("files", &["model"]),
    ("filter", &["model"]),
    ("journal", &["files", "model"]),
    ("jetstream", &["journal", "model"]),
    ("retry", &["outgoing", "model"]),
    (
        "router",
        &["cluster", "files", "filter", "journal", "retry", "model"],
    ),
    ("cluster", &["journal", "files", "model"]),
    ("credential", &["files", "outgoing", "model"]),
    ("outgoing", &["model"]),
    ("sinks", &["router", "credential", "outgoing", "model"]),
    ("listen", &["files", "outgoing", "model"]),
    ("audit", &["listen", "files", "model"]),
    ("ingress", &["listen", "router", "model"]),
    ("otlp", &["outgoing", "router", "files", "model"]),
    (
        "arm",
        &[
            "credential",
            "outgoing",
            "router",
            "filter",
            "files",
            "model",
        ],
    ),
    (
        "management",
        &["listen", "audit", "router", "filter", "files", "model"],
    ),
    (
        "admin",
        &[
            "listen", "audit", "router", "journal", "retry", "filter", "model",
        ],
    ),
    ("emulator", &["listen", "model"]),
    ("cloudevents-sdk", &["model"]),
    (
        LIBRARY,
        &[
            "router",
            "journal",
            "retry",
            "filter",
            "model",
            "sinks",
            "credential",
            "outgoing",
            "arm",
            "ingress",
            "listen",
            "cloudevents-sdk",
        ],
    ),
];

/// What the library has without any feature; a program that wants no more compiles no more.
const LIBRARY_ALWAYS_USES: [&str; 4] = ["router", "journal", "filter", "model"];

/// What tests of a crate may use besides. What takes several rooms is tested in this package, which may
/// use all; only the daemon's own tests know where its program is, so the crash oracle runs there.
const TESTS_MAY_USE: [(&str, &[&str]); 2] = [(DAEMON, &["tests"]), (LIBRARY, &["emulator"])];

/// Crates from outside that a room never has, by the beginning of their names.
const NEVER: [(&str, &[&str]); 9] = [
    ("files", &["hyper", "reqwest", "rustls"]),
    ("model", &["tokio", "hyper", "reqwest", "rustls", "notify"]),
    ("filter", &["tokio", "hyper", "reqwest", "rustls", "notify"]),
    ("journal", &["hyper", "reqwest", "rustls", "fe2o3"]),
    ("retry", &["hyper", "reqwest", "fe2o3"]),
    ("cluster", &["hyper", "reqwest", "fe2o3", "azure"]),
    (
        "router",
        &[
            "hyper",
            "reqwest",
            "rustls",
            "fe2o3",
            "azure",
            "opentelemetry",
        ],
    ),
    ("emulator", &["azure"]),
    (
        LIBRARY,
        &[
            "reqwest",
            "rustls",
            "fe2o3",
            "azure",
            "metrics-",
            "opentelemetry",
        ],
    ),
];

/// The daemon wires everything together.
const DAEMON: &str = "twinrouted";

/// The library that programs embed.
const LIBRARY: &str = "twinroute";

const LINES_MAX: usize = 500;

/// Longer than they should be. The list only gets shorter.
const LONG: [&str; 0] = [];

#[test]
fn crates_use_only_what_their_room_allows() {
    let mut complaints = Vec::new();
    for (folder, manifest) in manifests("crates") {
        complaints.extend(edges(&folder, &manifest));
        if folder == LIBRARY {
            complaints.extend(always_used(&manifest));
        }
    }
    assert_eq!(complaints, [] as [&str; 0]);
}

#[test]
fn every_package_takes_the_lints_of_the_workspace() {
    let mut all = manifests("crates");
    assert!(all.len() > 5, "the crates were not found");
    for folder in ["benches", "tests", "xtask"] {
        all.push((folder.to_owned(), manifest(&root().join(folder))));
    }
    let complaints = all
        .iter()
        .filter_map(|(folder, manifest)| lints(folder, manifest));
    assert_eq!(complaints.collect::<Vec<_>>(), [] as [&str; 0]);
}

#[test]
fn files_are_short_and_skip_no_test() {
    let mut complaints = Vec::new();
    let mut files = 0;
    for folder in ["crates", "benches", "tests", "xtask", "fuzz"] {
        for path in sources(&root().join(folder)) {
            let name = path.strip_prefix(root()).expect("below the root");
            let name = name.to_str().expect("names are UTF-8").replace('\\', "/");
            let text = fs::read_to_string(&path).expect("a source is readable");
            complaints.extend(length(&name, &text, &LONG));
            complaints.extend(skips(&name, &text));
            complaints.extend(panics(&name, &text));
            complaints.extend(prints(&name, &text));
            files += 1;
        }
    }
    assert!(files > 50, "the sources were not found");
    assert_eq!(complaints, [] as [&str; 0]);
}

#[test]
fn the_rules_of_crates_can_complain() {
    let parse = |text: &str| text.parse::<Table>().expect("valid TOML");
    let filter = |dependencies: &str| {
        let head = "[package]\nname = 'twinroute-filter'\n[lints]\nworkspace = true\n";
        parse(&format!("{head}{dependencies}"))
    };
    for (dependencies, expect) in [
        ("[dependencies]\ntwinroute-model.workspace = true", None),
        (
            "[dependencies]\ntwinroute-router.workspace = true",
            Some("crates/filter: may not depend on twinroute-router"),
        ),
        (
            "[target.'cfg(unix)'.dependencies]\nr = { package = 'twinroute-retry', path = '../retry' }",
            Some("crates/filter: may not depend on twinroute-retry"),
        ),
        (
            "[dev-dependencies]\ntwinroute-emulator.workspace = true",
            Some("crates/filter: may not depend on twinroute-emulator in tests"),
        ),
        (
            "[build-dependencies]\ntwinroute-retry.workspace = true",
            Some("crates/filter: may not depend on twinroute-retry"),
        ),
        (
            "[dependencies]\ntokio.workspace = true",
            Some("crates/filter: never depends on tokio"),
        ),
    ] {
        let expect: Vec<&str> = expect.into_iter().collect();
        assert_eq!(edges("filter", &filter(dependencies)), expect);
    }
    let stray = parse("[package]\nname = 'twinroute-util'");
    let unknown = edges("util", &stray);
    assert_eq!(unknown, ["crates/util: is not in the table of rooms"]);
    let misnamed = edges("model", &stray);
    assert_eq!(
        misnamed,
        ["crates/model: holds twinroute-util, not twinroute-model"]
    );
    assert!(lints("util", &stray).is_some());
    assert!(lints("filter", &filter("")).is_none());
}

#[test]
fn the_rules_of_daemon_and_library_can_complain() {
    let parse = |text: &str| text.parse::<Table>().expect("valid TOML");
    let daemon = |kind: &str| {
        let manifest =
            format!("[package]\nname = 'twinrouted'\n[{kind}]\ntwinroute-tests.workspace = true");
        edges(DAEMON, &parse(&manifest))
    };
    assert_eq!(daemon("dev-dependencies"), [] as [&str; 0]);
    assert_eq!(
        daemon("dependencies"),
        ["crates/twinrouted: may not depend on twinroute-tests"]
    );
    let library = |dependency: &str| {
        let manifest = format!("[package]\nname = 'twinroute'\n[dependencies]\n{dependency}");
        always_used(&parse(&manifest))
    };
    assert_eq!(
        library("twinroute-router.workspace = true"),
        [] as [&str; 0]
    );
    let optional = "twinroute-sinks = { workspace = true, optional = true }";
    assert_eq!(library(optional), [] as [&str; 0]);
    assert_eq!(
        library("twinroute-sinks.workspace = true"),
        ["crates/twinroute: twinroute-sinks is for a feature, so it must be optional"]
    );
}

#[test]
fn the_rules_of_files_can_complain() {
    let long = "x\n".repeat(LINES_MAX + 1);
    assert_eq!(
        length("a/b.rs", &long, &[]),
        Some("a/b.rs: 501 lines; at most 500 stand before its tests".to_owned())
    );
    assert_eq!(length("a/b.rs", &long, &["a/b.rs"]), None);
    assert_eq!(length("a/b_tests.rs", &long, &[]), None);
    assert_eq!(
        length("a/b.rs", &format!("#[cfg(test)]\n{long}"), &[]),
        None
    );
    assert!(length("a/b.rs", "x", &["a/b.rs"]).is_some());
    assert!(skips("a.rs", &format!("#[test]\n{IGNORED}]")).is_some());
    assert!(skips("a.rs", &format!("{IGNORED} = \"slow\"]")).is_some());
    assert!(skips("a.rs", "#[test]").is_none());
}

#[test]
fn prints_past_the_one_writer_are_found() {
    for line in [
        "    println!(\"x\");",
        "eprint!(\"x\");",
        "io::stdout().lock()",
    ] {
        assert!(
            prints("crates/twinrouted/src/cli/status.rs", line).is_some(),
            "{line}"
        );
    }
    assert!(prints(MAY_PRINT[0], "io::stdout().lock()").is_none());
    assert!(prints("crates/router/src/lib.rs", "//! println!()").is_none());
    assert!(prints("crates/router/src/lib.rs", "#[cfg(test)]\nprintln!()").is_none());
    assert!(prints("crates/twinroute/examples/own_sink.rs", "println!()").is_none());
}

#[test]
fn panics_that_tell_values_are_found() {
    let source = "fn f() {\n    panic!(\n        \"the key {key}\"\n    );\n}";
    let why = panics("crates/sinks/src/a.rs", source).unwrap();
    assert!(why.starts_with("crates/sinks/src/a.rs: "), "{why}");
    assert!(panics("crates/sinks/src/a.rs", "assert_eq!(a, b);").is_some());
    assert!(panics("crates/sinks/src/a.rs", "x.expect(&format!(\"{y}\"))").is_some());
    for fine in [
        "panic!(\"it holds\");",
        "/// assert_eq!(a, b);",
        "#[cfg(test)]\nmod tests { assert_eq!(a, b); }",
    ] {
        assert_eq!(panics("crates/sinks/src/a.rs", fine), None, "{fine}");
    }
    assert!(panics("crates/emulator/src/a.rs", source).is_none());
    assert!(panics("crates/sinks/src/a_tests.rs", source).is_none());
}

/// What of the workspace the library depends on without a feature, and should not.
fn always_used(manifest: &Table) -> Vec<String> {
    let table = manifest.get("dependencies").and_then(Value::as_table);
    let always = table.into_iter().flatten().filter(|(_, value)| {
        let optional = value.get("optional").and_then(Value::as_bool);
        optional != Some(true)
    });
    let rooms = always.filter_map(|(package, _)| package.strip_prefix("twinroute-"));
    rooms
        .filter(|room| !LIBRARY_ALWAYS_USES.contains(room))
        .map(|room| {
            format!("crates/twinroute: twinroute-{room} is for a feature, so it must be optional")
        })
        .collect()
}

/// What a crate depends on and may not.
fn edges(folder: &str, manifest: &Table) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut complain = |complaint: String| complaints.push(format!("crates/{folder}: {complaint}"));
    let named = manifest["package"]["name"].as_str().unwrap_or_default();
    let daemon = folder == DAEMON;
    let Some(may_use) = allowed(&MAY_USE, folder).or(daemon.then_some(&[])) else {
        complain("is not in the table of rooms".to_owned());
        return complaints;
    };
    let name = match folder {
        DAEMON | LIBRARY => folder.to_owned(),
        _ => format!("twinroute-{folder}"),
    };
    if named != name {
        complain(format!("holds {named}, not {name}"));
    }
    let tests_may_use = allowed(&TESTS_MAY_USE, folder).unwrap_or_default();
    let never = allowed(&NEVER, folder).unwrap_or_default();
    for (kind, package) in dependencies(manifest) {
        let tests = kind == "dev-dependencies";
        match package.strip_prefix("twinroute-") {
            Some(room) if tests && tests_may_use.contains(&room) => {}
            Some("tests" | "benches") => complain(format!("may not depend on {package}")),
            Some(room) if daemon || may_use.contains(&room) => {}
            Some(_) if tests => complain(format!("may not depend on {package} in tests")),
            Some(_) => complain(format!("may not depend on {package}")),
            None if !tests && never.iter().any(|never| package.starts_with(never)) => {
                complain(format!("never depends on {package}"));
            }
            None => {}
        }
    }
    complaints
}

fn allowed<'a>(table: &[(&str, &'a [&'a str])], folder: &str) -> Option<&'a [&'a str]> {
    let row = table.iter().find(|(room, _)| *room == folder);
    row.map(|(_, names)| *names)
}

/// Every dependency of every kind and platform: its kind and its package.
fn dependencies(manifest: &Table) -> BTreeSet<(&'static str, String)> {
    let targets = manifest.get("target").and_then(Value::as_table);
    let targets = targets.into_iter().flat_map(Table::values);
    let places = std::iter::once(manifest).chain(targets.filter_map(Value::as_table));
    let mut found = BTreeSet::new();
    for place in places {
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let table = place.get(kind).and_then(Value::as_table);
            for (key, value) in table.into_iter().flatten() {
                // `key = { package = "name" }` renames.
                let package = value.get("package").and_then(Value::as_str);
                found.insert((kind, package.unwrap_or(key).to_owned()));
            }
        }
    }
    found
}

fn lints(folder: &str, manifest: &Table) -> Option<String> {
    let workspace = manifest
        .get("lints")
        .and_then(|lints| lints.get("workspace"));
    (workspace != Some(&Value::Boolean(true)))
        .then(|| format!("{folder}: lacks `[lints] workspace = true`"))
}

/// Whether a file is too long, its tests not counted, or is said to be and is not.
fn length(name: &str, text: &str, long: &[&str]) -> Option<String> {
    let tests = name.ends_with("tests.rs") || name.starts_with("tests/");
    let lines = text
        .lines()
        .take_while(|line| !line.trim_start().starts_with("#[cfg(test)]"))
        .count();
    match (lines > LINES_MAX, long.contains(&name)) {
        (true, false) if !tests => Some(format!(
            "{name}: {lines} lines; at most {LINES_MAX} stand before its tests"
        )),
        (false, true) => Some(format!("{name}: is short enough, so take it off the list")),
        _ => None,
    }
}

/// In two parts, so that this file does not have it.
const IGNORED: &str = concat!("#[", "ignore");

fn skips(name: &str, text: &str) -> Option<String> {
    text.contains(IGNORED)
        .then(|| format!("{name}: a test is skipped"))
}

/// A panic's words go to the log as they are, so they hold no values: one of them may be a secret.
fn panics(name: &str, text: &str) -> Option<String> {
    let helps_tests = ["tests", "testing", "scripted", "fixtures", "arbitrary"];
    let parts = || name.split(['/', '.', '_']);
    if !name.starts_with("crates/")
        || !name.contains("/src/")
        || name.starts_with("crates/emulator/")
        || parts().any(|part| helps_tests.contains(&part))
    {
        return None;
    }
    let lines = text
        .lines()
        .take_while(|line| !line.trim_start().starts_with("#[cfg(test)]"));
    let code: Vec<&str> = lines
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect();
    let code = code.join("\n");
    let has_value = ["panic!(", "unreachable!(", "assert!("].iter().any(|call| {
        let mut calls = code.match_indices(call);
        calls.any(|(at, _)| {
            let rest = &code[at..];
            let end = rest.find(");").unwrap_or(rest.len());
            rest[..end].contains('{')
        })
    });
    let compared = code.contains("assert_eq!(") || code.contains("assert_ne!(");
    let formatted = code.contains(".expect(&format!(");
    (has_value || compared || formatted)
        .then(|| format!("{name}: a panic tells a value, which may be a secret"))
}

/// The one place that writes to standard output, and those that write to standard error.
const MAY_PRINT: [&str; 2] = [
    "crates/twinrouted/src/cli/output.rs",
    "crates/twinrouted/src/logging.rs",
];

/// `println!` panics where its reader has gone, so what crates print goes through one writer.
fn prints(name: &str, text: &str) -> Option<String> {
    if !name.starts_with("crates/") || !name.contains("/src/") || MAY_PRINT.contains(&name) {
        return None;
    }
    let lines = text
        .lines()
        .take_while(|line| !line.trim_start().starts_with("#[cfg(test)]"));
    let mut code = lines.filter(|line| !line.trim_start().starts_with("//"));
    let macros = ["println!(", "print!(", "stdout().write", "stdout().lock"];
    code.any(|line| macros.iter().any(|call| line.contains(call)))
        .then(|| format!("{name}: prints past crates/twinrouted/src/cli/output.rs"))
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests stand below the root")
}

fn manifest(folder: &Path) -> Table {
    let path = folder.join("Cargo.toml");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    text.parse()
        .unwrap_or_else(|error| panic!("{path:?}: {error}"))
}

/// The packages in a folder, by the names of theirs.
fn manifests(below: &str) -> Vec<(String, Table)> {
    let entries = fs::read_dir(root().join(below)).expect("the folder is there");
    let mut found: Vec<_> = entries
        .map(|entry| entry.expect("the folder is readable"))
        .filter(|entry| entry.path().join("Cargo.toml").exists())
        .map(|entry| {
            let folder = entry.file_name().into_string().expect("names are UTF-8");
            (folder, manifest(&entry.path()))
        })
        .collect();
    found.sort_by(|(left, _), (right, _)| left.cmp(right));
    found
}

pub(crate) fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("the folder is readable").path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}
