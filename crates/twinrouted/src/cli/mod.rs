//! The command line: one module a command.

mod address;
mod arm;
mod ask;
mod audit;
mod cases;
mod client_certificate;
mod cluster;
mod completions;
mod config;
mod dead_letters;
mod demo;
mod dps;
mod emulator;
mod endpoint;
mod event_input;
mod examples;
pub(crate) mod exit;
mod explain;
mod graph;
mod history;
mod instance;
mod journal;
mod ledger;
mod log_level;
mod man;
mod management;
mod offline_router;
pub(crate) mod output;
mod paint;
mod plan;
mod private_endpoint;
mod problem;
mod replay;
mod replay_history;
mod route;
mod run;
#[cfg(test)]
mod sample_status;
mod screen;
mod selection;
mod send;
mod status;
mod table;
mod tap;
mod top;
mod validate;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// Reads the command line; `--help` and `--version` are answered, and what is wrong is said, here.
///
/// # Errors
/// The exit code, when there is nothing to run.
pub(crate) fn arguments() -> Result<CommandLine, ExitCode> {
    let command = examples::with_examples(CommandLine::command());
    let parsed = command.try_get_matches();
    let parsed = parsed.and_then(|matches| CommandLine::from_arg_matches(&matches));
    parsed.map_err(|error| {
        if error.use_stderr() {
            output::usage_error(&error);
            // What `clap` would have ended with.
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
        match output::help(&error) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => exit::failed(&failure.into()),
        }
    })
}

/// Routes digital-twin events to Event Grid topics, Event Hubs and Service Bus topics.
#[derive(Debug, Parser)]
#[command(name = "twinroute", version, about)]
pub(crate) struct CommandLine {
    #[command(subcommand)]
    command: TopCommand,
}

#[derive(Debug, Subcommand)]
enum TopCommand {
    /// Routes events as a configuration says, until it is stopped.
    Run {
        /// The configuration file.
        #[arg(long, short)]
        config: PathBuf,
    },
    /// Checks a configuration with its endpoints, routes and filters; all errors at once.
    Validate(validate::ValidateOptions),
    /// Makes a configuration, shows what is in force, describes all keys.
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Says for every route whether and why it would match an event.
    Explain(explain::ExplainOptions),
    /// Checks that events reach the routes and endpoints that they must; exit code 1 with a diff when they do not.
    Test(cases::TestOptions),
    /// Shows what a running twinroute does.
    Status(status::StatusOptions),
    /// Posts events of a file to a running twinroute.
    Send(send::SendOptions),
    /// Shows the routers that share a log, and who owns which partition.
    #[command(subcommand)]
    Cluster(cluster::ClusterCommand),
    /// Draws instances, routes and endpoints, for Mermaid or Graphviz.
    Graph(graph::GraphOptions),
    /// Shows events as they pass a running twinroute, without slowing it.
    Tap(tap::TapOptions),
    /// Shows endpoints as they work, on one screen; pauses, resumes, retries and replays by key.
    Top(top::TopOptions),
    /// Shows what became of every delivery; exit code 1 when that does not add up.
    Ledger {
        #[command(flatten)]
        whom: ask::AdminTarget,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Shows which events went where, and what became of each delivery.
    History(Box<history::HistoryOptions>),
    /// Shows or changes what the log of a running twinroute says.
    LogLevel(log_level::LogLevelOptions),
    /// Creates and shows instances over a management API.
    #[command(subcommand)]
    Instance(instance::InstanceCommand),
    /// Makes endpoints over a management API; pauses, resumes, retries or purges those of a running twinroute.
    #[command(subcommand)]
    Endpoint(endpoint::EndpointCommand),
    /// Makes event routes, and says which of them an event would match.
    #[command(subcommand)]
    Route(route::RouteCommand),
    /// Approves and rejects private endpoint connections of an instance.
    #[command(subcommand)]
    PrivateEndpoint(private_endpoint::PrivateEndpointCommand),
    /// Creates and shows device provisioning services over a management API.
    #[command(subcommand)]
    Dps(dps::DpsCommand),
    /// Reads and fills the store of a twinroute that is stopped.
    #[command(subcommand)]
    Management(management::ManagementCommand),
    /// Shows who changed what over the management and the admin API, and checks that the log of it is whole.
    Audit(audit::AuditOptions),
    /// Shows dead letters that are kept here, and replays them.
    #[command(subcommand, name = "deadletter")]
    DeadLetter(dead_letters::DeadLetterCommand),
    /// Says what changed routes would do to the events of the history; exit code 2 when that is anything.
    Plan(Box<plan::PlanOptions>),
    /// Replays events of the history; shows replays, or ends one.
    Replay(Box<replay_history::ReplayOptions>),
    /// Inspects and repairs a journal on disk.
    #[command(subcommand)]
    Journal(journal::JournalCommand),
    /// Shows the whole of it on this machine: emulated endpoints, a router, a stream of twin events.
    Demo(demo::DemoOptions),
    /// Emulates Event Grid topics, Event Hubs, Service Bus and blob containers on this machine.
    Emulator(emulator::EmulatorOptions),
    /// Prints the manual page, or writes those of all commands.
    Man {
        /// The folder for the pages of all commands.
        folder: Option<PathBuf>,
    },
    /// Prints what a shell needs to complete these commands.
    Completions {
        /// For which shell.
        shell: clap_complete::Shell,
    },
}

/// Runs the command; errors are printed here, once.
pub(crate) async fn run(arguments: CommandLine) -> ExitCode {
    let result = match arguments.command {
        TopCommand::Run { config } => run::run(&config).await,
        TopCommand::Validate(options) => validate::run(&options),
        TopCommand::Explain(options) => explain::run(&options).await,
        TopCommand::Test(options) => cases::run(&options),
        TopCommand::Status(options) => status::run(&options).await,
        TopCommand::Cluster(step) => cluster::run(&step).await,
        TopCommand::Tap(options) => tap::run(&options).await,
        TopCommand::Top(options) => top::run(&options).await,
        TopCommand::Send(options) => send::run(&options).await,
        TopCommand::Graph(options) => graph::run(&options).await,
        TopCommand::Config(step) => config::run(&step),
        TopCommand::Ledger { whom, json } => ledger::run(&whom, json).await,
        TopCommand::History(options) => history::run(&options).await,
        TopCommand::LogLevel(options) => log_level::run(&options).await,
        TopCommand::Instance(step) => instance::run(&step).await,
        TopCommand::Endpoint(step) => endpoint::run(&step).await,
        TopCommand::Route(step) => route::run(&step).await,
        TopCommand::PrivateEndpoint(step) => private_endpoint::run(&step).await,
        TopCommand::Dps(step) => dps::run(&step).await,
        TopCommand::Management(step) => management::run(&step).await,
        TopCommand::Audit(options) => audit::run(&options).await,
        TopCommand::DeadLetter(step) => dead_letters::run(&step).await,
        TopCommand::Plan(options) => plan::run(&options).await,
        TopCommand::Replay(options) => replay_history::run(&options).await,
        TopCommand::Journal(look) => journal::run(&look),
        TopCommand::Demo(options) => demo::run(options).await,
        TopCommand::Emulator(options) => emulator::run(options).await,
        TopCommand::Man { folder } => man::run(
            folder.as_deref(),
            examples::with_examples(CommandLine::command()),
        ),
        TopCommand::Completions { shell } => completions::run(shell, &mut CommandLine::command()),
    };
    result.unwrap_or_else(|error| exit::failed(&error))
}
