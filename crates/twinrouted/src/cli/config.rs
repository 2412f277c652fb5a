//! `twinroute config`: makes a configuration, shows what is in force, and describes all keys.

use super::exit;
use crate::cli::output;
use crate::config::{ConfigOverrides, EffectiveValue, LoadedConfig, effective, reference};
use anyhow::Context as _;
use clap::{Subcommand, ValueEnum};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What is done.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Prints a commented configuration to begin with, or writes it to a file that is not there yet.
    Init {
        /// What it is for.
        #[arg(value_enum)]
        kind: ConfigKind,
        /// The file; its folder of definitions is made beside it.
        file: Option<PathBuf>,
    },
    /// Shows every key with its value and where that comes from: the file, a variable, or the default.
    Show {
        /// The configuration file.
        #[arg(long, short)]
        config: PathBuf,
        /// Shows keys that the file or a variable sets.
        #[arg(long)]
        set: bool,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Prints a JSON schema of the configuration, for editors.
    Schema,
}

/// What a configuration is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ConfigKind {
    /// Beside one producer, on this machine alone.
    Sidecar,
    /// For many producers, which show a key.
    Daemon,
    /// With definitions that are read from Azure.
    Azure,
    /// One of several routers that share a log.
    Cluster,
}

impl ConfigKind {
    const fn text(self) -> &'static str {
        match self {
            Self::Sidecar => include_str!("../config/templates/sidecar.toml"),
            Self::Daemon => include_str!("../config/templates/daemon.toml"),
            Self::Azure => include_str!("../config/templates/azure.toml"),
            Self::Cluster => include_str!("../config/templates/cluster.toml"),
        }
    }
}

pub(super) fn run(step: &ConfigCommand) -> anyhow::Result<ExitCode> {
    match step {
        ConfigCommand::Init { kind, file: None } => output::print(kind.text())?,
        ConfigCommand::Init {
            kind,
            file: Some(file),
        } => init(*kind, file)?,
        ConfigCommand::Show { config, set, json } => return show(config, *set, *json),
        ConfigCommand::Schema => {
            output::line(serde_json::to_string_pretty(&reference::schema())?)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn init(kind: ConfigKind, file: &Path) -> anyhow::Result<()> {
    let name = file.display();
    let opened = OpenOptions::new().write(true).create_new(true).open(file);
    let mut opened = opened.with_context(|| format!("cannot make {name}"))?;
    opened
        .write_all(kind.text().as_bytes())
        .with_context(|| format!("cannot write {name}"))?;
    if kind != ConfigKind::Azure {
        let folder = file.parent().unwrap_or(Path::new("")).join("definitions");
        for folder in [folder.join("endpoints"), folder.join("routes")] {
            let made = std::fs::create_dir_all(&folder);
            made.with_context(|| format!("cannot make the folder {}", folder.display()))?;
        }
    }
    output::line(format_args!(
        "{name}: written; next: twinroute validate --config {name}"
    ))?;
    Ok(())
}

fn show(file: &Path, only_set: bool, as_json: bool) -> anyhow::Result<ExitCode> {
    // What is wrong is said as elsewhere; what is in force is known of what is right.
    if let Err(error) = LoadedConfig::read(file) {
        return Ok(exit::not_started(&error));
    }
    let text = std::fs::read_to_string(file);
    let text = text.with_context(|| format!("cannot read the configuration {}", file.display()))?;
    let overrides = ConfigOverrides::of_environment();
    let mut values = effective(&file.display().to_string(), &text, &overrides);
    values.retain(|value| !only_set || !matches!(value.source.as_str(), "default" | "not set"));
    if as_json {
        let list = values.iter().map(|value| {
            serde_json::json!({ "key": value.key, "value": value.value, "source": value.source })
        });
        output::line(serde_json::to_string_pretty(&list.collect::<Vec<_>>())?)?;
        return Ok(ExitCode::SUCCESS);
    }
    output::print(values.iter().map(line).collect::<String>())?;
    Ok(ExitCode::SUCCESS)
}

fn line(value: &EffectiveValue) -> String {
    let set = match &value.value {
        Some(set) => format!("{} = {}", value.key, set.replace('\n', "\\n")),
        None => format!("# {} =", value.key),
    };
    format!("{set:<56} # {}\n", value.source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effective_values_say_where_they_come_from_and_hide_secrets() {
        let text = "instance = 'demo'\n[ingress]\naccess_keys = ['hush']\nwebhook_code = '${CODE}'\n\
                    [[ingress.callers]]\nname = 'press'\nkeys = ['hush-2']\n\
                    [endpoints.hub-1]\nordering = 'none'\n";
        let overrides = [("TWINROUTE_JOURNAL__PATH".to_owned(), "data".to_owned())];
        let values = effective("t.toml", text, &ConfigOverrides::of(overrides));
        let of = |key: &str| {
            let value = values.iter().find(|value| value.key == key).unwrap();
            (value.value.as_deref(), value.source.as_str())
        };
        assert_eq!(of("instance"), (Some("'demo'"), "t.toml:1"));
        assert_eq!(of("ingress.access_keys"), (Some("\"***\""), "t.toml:3"));
        assert_eq!(of("ingress.webhook_code"), (Some("\"***\""), "t.toml:4"));
        assert_eq!(of("ingress.ack"), (Some("\"auto\""), "default"));
        assert_eq!(
            of("journal.path"),
            (Some("\"data\""), "TWINROUTE_JOURNAL__PATH")
        );
        assert_eq!(of("outgoing.proxy"), (None, "not set"));
        assert_eq!(of("endpoints.hub-1.ordering"), (Some("'none'"), "t.toml:9"));
        assert!(
            values
                .iter()
                .all(|value| !format!("{value:?}").contains("hush"))
        );
    }

    #[test]
    fn schema_knows_every_key_of_the_reference() {
        let schema = reference::schema();
        for key in reference::keys() {
            let mut at = &schema;
            for part in key.path.split('.') {
                at = match part {
                    "*" => &at["additionalProperties"],
                    part => &at["properties"][part],
                };
            }
            assert!(
                at["type"].is_string() || at["type"].is_array(),
                "{}",
                key.path
            );
            assert!(at["description"].is_string(), "{}", key.path);
        }
        assert_eq!(
            schema["properties"]["ingress"]["additionalProperties"],
            false
        );
        assert_eq!(
            schema["properties"]["journal"]["properties"]["seal"]["default"],
            false
        );
        let ordering =
            &schema["properties"]["endpoints"]["additionalProperties"]["properties"]["ordering"];
        assert_eq!(ordering["default"], "twin");
    }
}
