//! `cargo xtask conformance`: plays every published example against `twinroute run` and judges the answers.
//!
//! Each example gets an empty server and the state that it presupposes. Its answer must have a status that it
//! lists, its members and headers, and a body as the published schema says; the operation that it begins must
//! end as the example shows.

mod operation;
mod play;
mod provisioning;
mod schema;
mod server;
mod shape;
mod spec;
mod state;
mod substitutes;

use crate::programs;
use anyhow::{Context as _, ensure};
use server::RunningServer;
use spec::{PublishedApi, SpecExample};
use std::path::Path;

/// Folders of the published definitions, and the files with their schemas.
const APIS: [(&str, &str); 4] = [
    ("microsoft.digitaltwins-2023-01-31", "digitaltwins.json"),
    ("microsoft.devices-2022-12-12", "iotdps.json"),
    ("digitaltwins-data-plane/2022-05-31", "digitaltwins.json"),
    ("digitaltwins-data-plane/2023-10-31", "digitaltwins.json"),
];

/// Plays the examples below `specs` whose name contains `only`; true when all passed.
///
/// # Errors
/// The folder is not there or not whole; the server cannot be built or started.
pub(super) fn run(specs: &Path, only: &str) -> anyhow::Result<bool> {
    let missing = || {
        format!(
            "there is no folder {}: it is to hold the published API definitions with their examples",
            specs.display()
        )
    };
    ensure!(specs.is_dir(), missing());
    let mut apis = Vec::new();
    for (name, file) in APIS {
        let api = PublishedApi::load(specs, name, file)?;
        let mut examples = api.examples()?;
        examples.retain(|example| example.name.contains(only));
        apis.push((api, examples));
    }
    let programs = programs::folder()?;
    programs::build(&programs, &[])?;
    let folder = programs.with_file_name("conformance");
    let server = RunningServer::start(&programs, &folder).context("the server does not start")?;
    let (mut passed, mut failed) = (0, 0);
    for (api, examples) in &apis {
        for example in examples {
            if judge(&server, api, example) {
                passed += 1;
            } else {
                failed += 1;
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    ensure!(passed + failed > 0, "no example's name contains {only:?}");
    Ok(failed == 0)
}

/// Prints what of the published files is known to be at fault, and what is taken in its place.
pub(super) fn list_faults() {
    for known in substitutes::PARAMETERS {
        println!(
            "{}: parameter {}: {}",
            known.example, known.parameter, known.why
        );
    }
    for fault in substitutes::ANSWERS {
        let place = fault.path.join("/");
        println!(
            "{}*: answer {} /{place}: {}",
            fault.examples, fault.status, fault.why
        );
    }
    for exception in substitutes::SCHEMAS {
        println!(
            "{}: schema …{}: {}",
            exception.api, exception.place, exception.why
        );
    }
}

fn judge(server: &RunningServer, api: &PublishedApi, example: &SpecExample) -> bool {
    let name = format!("{}/{}", api.name, example.name);
    let faults = play::play(server, api, example);
    let faults = faults.unwrap_or_else(|error| vec![format!("{error:#}")]);
    if faults.is_empty() {
        println!("ok {name}");
    } else {
        println!("FAILED {name}: {}", faults.join("\n    "));
    }
    faults.is_empty()
}
