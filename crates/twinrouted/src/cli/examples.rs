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

/// Of the commands below them.
const EXAMPLES_BELOW: [(&str, &str); 59] = [
    (
        "cluster status",
        "twinroute cluster status\ntwinroute cluster status --admin 10.0.0.2:8081 --json",
    ),
    ("cluster members", "twinroute cluster members"),
    (
        "cluster partitions",
        "twinroute cluster partitions\ntwinroute cluster partitions --json",
    ),
    (
        "config init",
        "twinroute config init sidecar twinroute.toml\ntwinroute config init azure",
    ),
    (
        "config show",
        "twinroute config show --config twinroute.toml --set",
    ),
    (
        "config schema",
        "twinroute config schema > twinroute.schema.json",
    ),
    (
        "history show",
        "twinroute history show 5c1f7a52\ntwinroute history show 5c1f7a52 --source plant --json",
    ),
    ("history explain", "twinroute history explain 5c1f7a52"),
    (
        "instance create",
        "twinroute instance create -n plant-1 -l westus2",
    ),
    ("instance show", "twinroute instance show -n plant-1"),
    ("instance list", "twinroute instance list"),
    (
        "instance update",
        "twinroute instance update -n plant-1 --tags site=berlin",
    ),
    (
        "instance delete",
        "twinroute instance delete -n plant-1 --yes",
    ),
    (
        "instance wait",
        "twinroute instance wait -n plant-1 --created",
    ),
    (
        "instance check-name",
        "twinroute instance check-name -n plant-1",
    ),
    (
        "endpoint create event-grid",
        "twinroute endpoint create event-grid --en alerts --topic-endpoint https://alerts.westus2-1.eventgrid.azure.net/api/events --key-env KEY",
    ),
    (
        "endpoint create event-hubs",
        "twinroute endpoint create event-hubs --en hub-1 --connection-string-env HUB\ntwinroute endpoint create event-hubs --en hub-1 --connection-string @hub.txt --deadletter-sas-uri-env SAS",
    ),
    (
        "endpoint create service-bus",
        "twinroute endpoint create service-bus --en orders --connection-string-env BUS",
    ),
    (
        "endpoint update",
        "twinroute endpoint update --en hub-1 --no-deadletter",
    ),
    (
        "endpoint rotate-key",
        "twinroute endpoint rotate-key --en hub-1 --key-env NEW_KEY\ntwinroute endpoint rotate-key --en hub-1 --swap",
    ),
    ("endpoint list", "twinroute endpoint list"),
    ("endpoint show", "twinroute endpoint show --en hub-1"),
    (
        "endpoint delete",
        "twinroute endpoint delete --en hub-1 --yes",
    ),
    (
        "endpoint wait",
        "twinroute endpoint wait --en hub-1 --created",
    ),
    ("endpoint pause", "twinroute endpoint pause hub-1"),
    ("endpoint resume", "twinroute endpoint resume hub-1"),
    ("endpoint retry-now", "twinroute endpoint retry-now hub-1"),
    (
        "endpoint purge",
        "twinroute endpoint purge hub-1\ntwinroute endpoint purge hub-1 --dead-letters --yes",
    ),
    (
        "route create",
        "twinroute route create --rn warm --en hub-1 --filter '$body.temperature > 25'",
    ),
    ("route list", "twinroute route list"),
    ("route show", "twinroute route show --rn warm"),
    ("route delete", "twinroute route delete --rn warm"),
    ("route test", "twinroute route test event.json"),
    (
        "private-endpoint approve",
        "twinroute private-endpoint approve --cn c1",
    ),
    (
        "private-endpoint reject",
        "twinroute private-endpoint reject --cn c1",
    ),
    (
        "private-endpoint create",
        "twinroute private-endpoint create --cn c1",
    ),
    ("private-endpoint list", "twinroute private-endpoint list"),
    (
        "private-endpoint show",
        "twinroute private-endpoint show --cn c1",
    ),
    (
        "private-endpoint delete",
        "twinroute private-endpoint delete --cn c1",
    ),
    ("dps create", "twinroute dps create -n dps1 --hub-env HUB"),
    ("dps show", "twinroute dps show -n dps1"),
    ("dps list", "twinroute dps list"),
    (
        "dps update",
        "twinroute dps update -n dps1 --allocation-policy GeoLatency",
    ),
    ("dps delete", "twinroute dps delete -n dps1 --yes"),
    ("dps keys", "twinroute dps keys -n dps1 --reveal"),
    (
        "management export",
        "twinroute management export --config twinroute.toml > store.json",
    ),
    (
        "management import",
        "twinroute management import --config twinroute.toml store.json",
    ),
    (
        "management rotate-key",
        "twinroute management rotate-key --config twinroute.toml --new-key-variable NEW_KEY",
    ),
    (
        "deadletter list",
        "twinroute deadletter list --endpoint hub-1 --since 2h\ntwinroute deadletter list --reason rejected --json",
    ),
    ("deadletter show", "twinroute deadletter show hub-1 4711"),
    (
        "deadletter export",
        "twinroute deadletter export --endpoint hub-1 > letters.ndjson",
    ),
    (
        "deadletter replay",
        "twinroute deadletter replay --endpoint hub-1 --dry-run\ntwinroute deadletter replay --endpoint hub-1 --sequence 4711 4712",
    ),
    ("replay list", "twinroute replay list"),
    ("replay cancel", "twinroute replay cancel 1"),
    ("journal verify", "twinroute journal verify data"),
    ("journal dump", "twinroute journal dump data | head"),
    ("journal repair", "twinroute journal repair data"),
    ("emulator list", "twinroute emulator list"),
    ("emulator read", "twinroute emulator read telemetry"),
];

/// Adds them.
pub(super) fn with_examples(mut command: Command) -> Command {
    for (path, examples) in EXAMPLES.into_iter().chain(EXAMPLES_BELOW) {
        let names: Vec<&str> = path.split(' ').collect();
        command = with_example(command, &names, examples);
    }
    command
}

fn with_example(command: Command, path: &[&'static str], examples: &str) -> Command {
    match path {
        [] => {
            let indented = examples.replace('\n', "\n  ");
            let text = format!("Examples:\n  {indented}\n\nExit codes: docs/exit-codes.md");
            // What stands below `-h` stands below `--help` too.
            let before = command.get_after_help().map(ToString::to_string);
            let before = before.map(|before| before + "\n\n").unwrap_or_default();
            command.after_long_help(before + &text)
        }
        [name, below @ ..] => {
            command.mut_subcommand(name, |command| with_example(command, below, examples))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    /// Every command with its path, those that have commands below them too.
    fn all(command: &Command, path: &str, found: &mut Vec<(String, Command)>) {
        for below in command.get_subcommands() {
            let path = format!("{path} {}", below.get_name());
            found.push((path.clone(), below.clone()));
            all(below, &path, found);
        }
    }

    fn commands() -> Vec<(String, Command)> {
        let mut found = Vec::new();
        let command = with_examples(crate::cli::CommandLine::command());
        all(&command, "twinroute", &mut found);
        let is_plain = |path: &str| matches!(path, "twinroute completions" | "twinroute man");
        found.retain(|(path, command)| {
            // `endpoint create` alone is no command, and its page lists those that are.
            !is_plain(path) && (!command.has_subcommands() || path.split(' ').count() == 2)
        });
        found
    }

    /// Words as a shell makes them, up to where it redirects.
    fn words(line: &str) -> Vec<String> {
        let mut words = vec![String::new()];
        let (mut quote, mut letters) = (None, line.chars());
        while let Some(letter) = letters.next() {
            let last = words.last_mut().expect("there is one");
            match letter {
                '\\' if quote != Some('\'') => last.extend(letters.next()),
                '"' | '\'' if quote.is_none() => quote = Some(letter),
                _ if quote == Some(letter) => quote = None,
                ' ' if quote.is_none() => words.push(String::new()),
                _ => last.push(letter),
            }
        }
        let end = words
            .iter()
            .position(|word| ["|", "<", ">"].contains(&word.as_str()));
        words.truncate(end.unwrap_or(words.len()));
        words.retain(|word| !word.starts_with("TWINROUTE_"));
        words
    }

    #[test]
    fn every_command_has_examples_that_name_it() {
        for (path, mut command) in commands() {
            let long = command.render_long_help().to_string();
            let (_, examples) = long
                .split_once("Examples:\n")
                .unwrap_or_else(|| panic!("{path} has no examples"));
            assert!(examples.contains(&path), "{path}: {examples}");
            let short = command.render_help().to_string();
            assert!(!short.contains("Examples:"), "{path}: -h is short");
            let before = command.get_after_help().map(ToString::to_string);
            assert!(long.contains(&before.unwrap_or_default()), "{path}: {long}");
        }
    }

    #[test]
    fn every_example_can_be_typed() {
        for (path, examples) in EXAMPLES.into_iter().chain(EXAMPLES_BELOW) {
            for line in examples.lines() {
                let parsed = crate::cli::CommandLine::command().try_get_matches_from(words(line));
                assert!(parsed.is_ok(), "{path}: {line}\n{}", parsed.unwrap_err());
            }
        }
    }
}
