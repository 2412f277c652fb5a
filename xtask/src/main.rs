//! Project chores that need more than cargo: `cargo xtask <chore>`.

mod conformance;
mod crash;
mod deny;
mod flood;
mod http;
mod peers;
mod process;
mod programs;
mod rotate;
mod structure;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask peers [--only NAME] [--list]
       cargo xtask conformance --specs DIR [--only NAME]
       cargo xtask conformance --faults
       cargo xtask crash [--kills N] [--seed N] [--seconds-max N]
       cargo xtask rotate [--seconds N] [--every N]
       cargo xtask flood [--seconds N]
       cargo xtask structure [--ties]
       cargo xtask deny

  peers          installs the pinned real peers and runs every check against them
    --only NAME  runs only the checks whose name contains NAME
    --list       names the checks and ends
  conformance    plays every published example of the management API against twinroute
    --specs DIR  the folder with the published definitions and their examples
    --only NAME  plays only the examples whose name contains NAME
    --faults     lists what of the published files is at fault, and what is taken in its place
  crash          kills the router over and over under load and judges what arrived
    --kills N    how often: 200
    --seed N     what is posted, what fails and when it is killed: another one each time
    --seconds-max N
                 after this long no more kills come: 300
  rotate         rotates every key over and over under load and judges what arrived
    --seconds N  for how long: 60
    --every N    how many seconds lie between two rotations: 5
  flood          sends more than a router on one core has time for, and judges what arrived
    --seconds N  for how long, with each kind of journal: 20
  structure      counts edges, circles of files, lines and names of types
    --ties       shows what ties each circle
  deny           holds the dependencies to deny.toml: licences, bans, versions, sources, advisories
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments.as_slice() {
        ["peers"] => peers::run(""),
        ["peers", "--only", name] => peers::run(name),
        ["peers", "--list"] => {
            peers::list();
            Ok(true)
        }
        ["conformance", "--specs", specs] => conformance::run(specs, ""),
        ["conformance", "--specs", specs, "--only", name] => conformance::run(specs, name),
        ["conformance", "--faults"] => {
            conformance::list_faults();
            Ok(true)
        }
        ["structure"] => structure::run(false),
        ["structure", "--ties"] => structure::run(true),
        ["deny"] => deny::run(),
        ["crash", options @ ..] => match crash::Options::parse(options) {
            Ok(options) => crash::run(&options),
            Err(error) => {
                eprintln!("xtask: {error:#}");
                eprint!("{USAGE}");
                return ExitCode::from(2);
            }
        },
        ["flood", options @ ..] => match flood::Options::parse(options) {
            Ok(options) => flood::run(&options),
            Err(error) => {
                eprintln!("xtask: {error:#}");
                eprint!("{USAGE}");
                return ExitCode::from(2);
            }
        },
        ["rotate", options @ ..] => match rotate::Options::parse(options) {
            Ok(options) => rotate::run(&options),
            Err(error) => {
                eprintln!("xtask: {error:#}");
                eprint!("{USAGE}");
                return ExitCode::from(2);
            }
        },
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
