//! Project chores that need more than cargo: `cargo xtask <chore>`.

mod peers;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask peers [--only NAME] [--list]

  peers          installs the pinned real peers and runs every check against them
    --only NAME  runs only the checks whose name contains NAME
    --list       names the checks and ends
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
