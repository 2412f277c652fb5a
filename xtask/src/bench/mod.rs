//! `cargo xtask bench`: what the router costs beside programs that do only what is necessary.
//!
//! `bare` reads bodies, `floor` does the whole job directly (`benches/examples/measure`). All take turns in
//! every round, the measured one on the first core, what posts and receives on the second. A figure without
//! the one beside it says nothing: quote ratios of one run.

mod cases;
mod machine;
mod report;
mod run;
mod stage;

use crate::{cores, programs};
use anyhow::{Context as _, ensure};
use cases::{BenchCase, BesideProgram};
use clap::{Args, value_parser};
use report::BenchReport;
use stage::{BenchStage, MeasuredProgram};
use std::path::PathBuf;

/// What is measured, and how often.
#[derive(Args, Clone, Debug)]
pub(super) struct BenchOptions {
    /// How often each case is measured; the table shows medians
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = value_parser!(u32).range(1..))]
    rounds: u32,
    /// Only cases whose names begin with one of these
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    only: Vec<String>,
    /// Only throughput, with a third of the events
    #[arg(long)]
    quick: bool,
    /// Names the cases and ends
    #[arg(long)]
    list: bool,
    /// The profile that the programs are built with
    #[arg(long, value_name = "PROFILE", default_value = "dist")]
    profile: String,
    /// Takes the programs that lie in DIR instead of building them
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
    /// Measures another build of the router too
    #[arg(long, value_name = "NAME=PATH", value_parser = other_router)]
    router: Vec<(String, PathBuf)>,
}

fn other_router(text: &str) -> Result<(String, PathBuf), String> {
    let (name, path) = text.split_once('=').ok_or("expected NAME=PATH")?;
    Ok((name.to_owned(), PathBuf::from(path)))
}

/// Measures, prints the table and writes it to `benches/results` unless it is a short run; true when every event arrived once.
pub(super) fn run(options: &BenchOptions) -> anyhow::Result<bool> {
    let wanted = wanted(options);
    if options.list {
        for case in wanted {
            println!("{}", case.name);
        }
        return Ok(true);
    }
    ensure!(
        !wanted.is_empty(),
        "no case has such a name; --list names them"
    );
    let own = programs::folder()?;
    let folder = match &options.programs {
        Some(folder) => folder.clone(),
        None => {
            let folder = own.with_file_name(&options.profile);
            programs::build(&folder, &["measure"])?;
            folder
        }
    };
    let allowed = cores::allowed()?;
    let [first, second] = *allowed.get(..2).context("two cores are needed")? else {
        anyhow::bail!("two cores are needed");
    };
    let alone = programs::alone(&own, "bench-run")?;
    let stage = BenchStage {
        folder: alone.folder.clone(),
        measure: folder.join("examples/measure"),
        router: folder.join("twinroute"),
        cores: [first, second],
    };
    let mut report = BenchReport::new(&wanted);
    let begun = machine::load();
    for round in 1..=options.rounds {
        for case in &wanted {
            for program in programs_of(case, options) {
                let figures = run::measure(&stage, case, &program)
                    .with_context(|| format!("{} of {}", case.name, program.name()))?;
                println!("{round} {:<24} {:<8} {figures}", case.name, program.name());
                report.add(case, program.name(), figures);
            }
        }
    }
    let page = report.page(&machine::described(options.rounds, &begun)?);
    println!("\n{page}");
    if options.quick {
        return Ok(report.all_arrived());
    }
    let file = machine::result_file()?;
    std::fs::create_dir_all(file.parent().context("a file in no folder")?)?;
    std::fs::write(&file, &page).with_context(|| file.display().to_string())?;
    println!("written to {}", file.display());
    Ok(report.all_arrived())
}

fn wanted(options: &BenchOptions) -> Vec<BenchCase> {
    let mut cases = cases::all();
    let begins = |case: &BenchCase| options.only.iter().any(|name| case.name.starts_with(name));
    cases.retain(|case| options.only.is_empty() || begins(case));
    if options.quick {
        cases.retain(|case| case.is_quick);
        for load in cases.iter_mut().flat_map(|case| &mut case.loads) {
            load.events = load.events / 3 / load.batch * load.batch;
        }
    }
    cases
}

/// Who is measured in a case: the router, its other builds, and what stands beside it.
fn programs_of(case: &BenchCase, options: &BenchOptions) -> Vec<MeasuredProgram> {
    let mut programs = match case.beside {
        BesideProgram::Bare => vec![MeasuredProgram::Bare],
        BesideProgram::Floor => vec![MeasuredProgram::Floor],
        BesideProgram::Nothing => vec![],
    };
    programs.push(MeasuredProgram::Router);
    for (name, path) in &options.router {
        programs.push(MeasuredProgram::OtherRouter(name.clone(), path.clone()));
    }
    programs
}
