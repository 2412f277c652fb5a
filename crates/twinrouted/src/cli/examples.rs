//! Examples at the end of each command's `--help`; `-h` leaves them out.

use clap::Command;

/// Of commands, each with what its page ends with.
const EXAMPLES: [(&str, &str); 27] = [
    (
        "run",
        "twinroute run --config twinroute.toml\nTWINROUTE_INGRESS__LISTEN=0.0.0.0:9080 twinroute run -c twinroute.toml",
    ),
    (
        "validate",
        "twinroute validate --config twinroute.toml\ntwinroute validate -c twinroute.toml --deny-warnings --json",
    ),
    (
        "config",
        "twinroute config init sidecar twinroute.toml\ntwinroute config show --config twinroute.toml --set",
    ),
    (
        "explain",
        "twinroute explain --config twinroute.toml event.json\ntwinroute explain --filter \"type = 't' AND \\$body.x > 1\" event.json\ntwinroute explain --id e1",
    ),
    (
        "test",
        "twinroute test --config twinroute.toml cases/*.toml",
    ),
    (
        "status",
        "twinroute status --problems\ntwinroute status --watch --sort backlog\ntwinroute status --state unreachable --json",
    ),
    (
        "top",
        "twinroute top\ntwinroute top --admin unix:/run/twinroute/admin.sock",
    ),
    (
        "tap",
        "twinroute tap --unmatched\ntwinroute tap --endpoint telemetry-hub --outcome dead-lettered\ntwinroute tap -n 1 --json --body --twin room7",
    ),
    (
        "send",
        "twinroute send events.json\ntwinroute send - --to localhost:9080 --ack delivered < events.ndjson",
    ),
    (
        "cluster",
        "twinroute cluster status\ntwinroute cluster partitions --json",
    ),
    (
        "graph",
        "twinroute graph --config twinroute.toml\ntwinroute graph --format dot | dot -Tsvg -o routes.svg",
    ),
    ("ledger", "twinroute ledger\ntwinroute ledger --json"),
    (
        "history",
        "twinroute history --twin room7 --since 1h\ntwinroute history --unmatched --json\ntwinroute history show 5c1f7a52",
    ),
    (
        "plan",
        "twinroute plan changed-definitions --since 1d\ntwinroute plan hot-rooms.json\ntwinroute plan hot-rooms.json --journal data --json",
    ),
    (
        "log-level",
        "twinroute log-level\ntwinroute log-level info,twinroute_sinks=debug",
    ),
    (
        "instance",
        "twinroute instance create -n plant-1\ntwinroute instance list",
    ),
    (
        "endpoint",
        "twinroute endpoint pause telemetry-hub\ntwinroute endpoint create event-hubs --en hub-1 --connection-string -",
    ),
    (
        "route",
        "twinroute route create --rn all --en hub-1\ntwinroute route test event.json",
    ),
    (
        "private-endpoint",
        "twinroute private-endpoint list\ntwinroute private-endpoint approve --cn c1",
    ),
    (
        "dps",
        "twinroute dps create -n dps1 --hub -\ntwinroute dps list",
    ),
    (
        "management",
        "twinroute management export --config twinroute.toml > store.json",
    ),
    ("audit", "twinroute audit --config twinroute.toml --verify"),
    (
        "deadletter",
        "twinroute deadletter list --endpoint hub-1\ntwinroute deadletter replay --endpoint hub-1",
    ),
    (
        "replay",
        "twinroute replay --from history --endpoint hub-1 --since 1h --dry-run\ntwinroute replay list\ntwinroute replay cancel 1",
    ),
    (
        "journal",
        "twinroute journal verify data\ntwinroute journal dump data",
    ),
    (
        "demo",
        "twinroute demo\ntwinroute demo --fault alerts-topic=rejects\ntwinroute demo --events 600 --fault telemetry-hub=unavailable",
    ),
    (
        "emulator",
        "twinroute emulator --hub telemetry --grid alerts",
    ),
];

/// Adds them.
pub(super) fn with_examples(mut command: Command) -> Command {
    for (name, examples) in EXAMPLES {
        let indented = examples.replace('\n', "\n  ");
        let text = format!("Examples:\n  {indented}\n\nExit codes: docs/exit-codes.md");
        command = command.mut_subcommand(name, |command| command.after_long_help(text));
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn every_command_has_examples_that_name_it() {
        let command = with_examples(crate::cli::CommandLine::command());
        for below in command.get_subcommands() {
            let name = below.get_name();
            if matches!(name, "completions" | "man") {
                continue;
            }
            let long = below.get_after_long_help().map(ToString::to_string);
            let long = long.unwrap_or_else(|| panic!("{name} has no examples"));
            assert!(long.starts_with("Examples:\n  "), "{name}: {long}");
            assert!(
                long.contains(&format!("twinroute {name}")),
                "{name}: {long}"
            );
            assert!(below.get_after_help().is_none(), "{name}: -h is short");
        }
    }
}
