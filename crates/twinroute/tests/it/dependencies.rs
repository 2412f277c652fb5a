//! What a program compiles that adds the library.

use std::collections::BTreeSet;
use std::process::Command;

/// A router that speaks no protocol has no more crates than this.
const CRATES_MAX: usize = 85;

/// The crates that are compiled with some features, as Cargo resolves them for a package alone.
fn crates(features: &[&str]) -> BTreeSet<String> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["tree", "--offline", "--package", "twinroute"]);
    cargo.args(["--edges", "normal", "--prefix", "none", "--format", "{p}"]);
    cargo.args(features);
    cargo.env_remove("CARGO_RESOLVER_FEATURE_UNIFICATION");
    let output = cargo
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    // `name v1.2.3 (path) (*)`: the same crate may be listed again with a star.
    let name = |line: &str| line.trim_end_matches(" (*)").to_owned();
    text.lines()
        .filter(|line| !line.is_empty())
        .map(name)
        .collect()
}

fn has(crates: &BTreeSet<String>, beginning: &str) -> bool {
    crates.iter().any(|name| name.starts_with(beginning))
}

#[test]
fn a_router_alone_has_few_crates_and_no_http_client_and_no_azure() {
    let default = crates(&[]);
    assert!(
        default.len() <= CRATES_MAX,
        "{}: {default:#?}",
        default.len()
    );
    for unwanted in [
        "reqwest",
        "hyper",
        "rustls",
        "azure_",
        "fe2o3",
        "twinroute-sinks",
        "tower",
        "opentelemetry",
    ] {
        assert!(!has(&default, unwanted), "{unwanted}");
    }
    let bare = crates(&["--no-default-features"]);
    assert!(bare.len() < default.len() && !has(&bare, "notify"));
}

#[test]
fn each_feature_brings_what_it_says() {
    for (feature, brought) in [
        (
            "azure",
            ["twinroute-sinks", "twinroute-arm", "azure_storage_blob"],
        ),
        (
            "ingress",
            ["twinroute-ingress", "twinroute-listen", "hyper"],
        ),
        (
            "cloudevents-sdk",
            ["twinroute-cloudevents-sdk", "cloudevents-sdk", "chrono"],
        ),
    ] {
        let crates = crates(&["--features", feature]);
        for name in brought {
            assert!(has(&crates, name), "{feature}: {name}");
        }
    }
}
