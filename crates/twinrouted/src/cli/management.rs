//! `twinroute management`: the store of a twinroute that is stopped, as a document.

use super::exit;
use crate::auditing;
use crate::cli::output;
use crate::config::LoadedConfig;
use crate::management;
use crate::paths;
use crate::rotation::{self, RotationResult};
use anyhow::{Context as _, bail};
use clap::Subcommand;
use serde_json::Value;
use std::io::{IsTerminal as _, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use twinroute_audit::AuditedChange;
use twinroute_management::{ExistingResources, ExportedSecrets, ImportError, ImportOutcome};

/// No document is larger.
const DOCUMENT_BYTES_MAX: u64 = 1 << 30;

#[derive(Debug, Subcommand)]
pub(crate) enum ManagementCommand {
    /// Prints all resources of the store as JSON.
    Export {
        /// The configuration file.
        #[arg(long, short)]
        config: PathBuf,
        /// With secrets in the clear: what an import needs.
        #[arg(long)]
        with_secrets: bool,
    },
    /// Takes an export into the store: all of it, or nothing if any of it is wrong.
    Import {
        /// The configuration file.
        #[arg(long, short)]
        config: PathBuf,
        /// Replaces resources that are there already; without it they stay as they are.
        #[arg(long)]
        replace: bool,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
        /// The export: a file, or `-` for standard input.
        document: PathBuf,
    },
    /// Seals all that is stored with a new key. Where it is interrupted, asking again goes on.
    RotateKey {
        /// The configuration file.
        #[arg(long, short)]
        config: PathBuf,
        /// The environment variable that holds the new key, where `key_variable` names one for the present key.
        #[arg(long, value_name = "NAME")]
        new_key_variable: Option<String>,
    },
}

pub(super) async fn run(step: &ManagementCommand) -> anyhow::Result<ExitCode> {
    let (ManagementCommand::Export { config, .. }
    | ManagementCommand::Import { config, .. }
    | ManagementCommand::RotateKey { config, .. }) = step;
    let loaded = match LoadedConfig::read(config) {
        Ok(loaded) => loaded,
        Err(error) => return Ok(exit::not_started(&error)),
    };
    match step {
        ManagementCommand::Export { with_secrets, .. } => {
            let secrets = match with_secrets {
                true => ExportedSecrets::Revealed,
                false => ExportedSecrets::Masked,
            };
            export(&loaded, secrets)?;
        }
        ManagementCommand::Import {
            replace,
            json,
            document,
            ..
        } => {
            let existing = match replace {
                true => ExistingResources::Replace,
                false => ExistingResources::Keep,
            };
            let imported = import(&loaded, document, existing).await?;
            if *json {
                let imported = serde_json::json!({
                    "created": imported.created, "replaced": imported.replaced, "kept": imported.kept,
                });
                output::line(format_args!("{imported:#}"))?;
            } else {
                output::print(import_summary(&imported))?;
            }
        }
        ManagementCommand::RotateKey {
            new_key_variable, ..
        } => {
            let variable = new_key_variable.as_deref();
            let rotated = rotation::run(&loaded, variable, rotation::RotationStep::Done)?;
            output::print(rotation_summary(&rotated))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn export(loaded: &LoadedConfig, secrets: ExportedSecrets) -> anyhow::Result<()> {
    let store = paths::store_file(loaded);
    if !store.exists() {
        bail!(
            "there is no store at {}: nothing has been put yet",
            store.display()
        );
    }
    let management = management::offline(loaded)?;
    if secrets == ExportedSecrets::Revealed {
        let text = AuditedChange::step("store/export-with-secrets", store.display().to_string());
        let audit = management.audit();
        audit.accept(&auditing::author(), &[text])?;
    }
    let document = management.export(secrets);
    if secrets == ExportedSecrets::Revealed {
        let what = if std::io::stdout().is_terminal() {
            "warning: these are secrets in the clear"
        } else {
            "warning: this holds secrets in the clear; let nobody else read it (chmod 600)"
        };
        output::error_line(what);
    }
    output::line(format_args!("{document:#}"))?;
    Ok(())
}

async fn import(
    loaded: &LoadedConfig,
    file: &Path,
    existing: ExistingResources,
) -> anyhow::Result<ImportOutcome> {
    let document = document(file)?;
    let management = management::offline(loaded)?;
    let imported = management
        .import(&document, existing, &auditing::author())
        .await;
    imported.map_err(|error| match error {
        ImportError::Refused(refused) => {
            for refused in &refused {
                output::error_line(format_args!(
                    "error: {}: {}",
                    refused.resource, refused.reason
                ));
            }
            let count = refused.len();
            let plural = if count == 1 { "" } else { "s" };
            anyhow::anyhow!("nothing was imported: correct {count} resource{plural}")
        }
        other => anyhow::Error::from(other).context("nothing was imported"),
    })
}

fn document(file: &Path) -> anyhow::Result<Value> {
    let read = |input: &mut dyn Read| {
        let mut text = Vec::new();
        input.take(DOCUMENT_BYTES_MAX + 1).read_to_end(&mut text)?;
        if text.len() as u64 > DOCUMENT_BYTES_MAX {
            bail!("has more than 1 GiB");
        }
        // serde_json's text may quote a value, which may be a secret.
        let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&text);
        serde_json::from_slice(text).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            anyhow::anyhow!("is no JSON (line {line}, column {column})")
        })
    };
    if file == Path::new("-") {
        return read(&mut std::io::stdin().lock()).context("standard input");
    }
    let opened = std::fs::File::open(file);
    opened
        .map_err(anyhow::Error::from)
        .and_then(|mut opened| read(&mut opened))
        .with_context(|| format!("the document {}", file.display()))
}

fn import_summary(imported: &ImportOutcome) -> String {
    let mut text = format!(
        "imported: {} new, {} replaced, {} kept as they were\n",
        imported.created.len(),
        imported.replaced.len(),
        imported.kept.len()
    );
    if !imported.kept.is_empty() {
        text.push_str("--replace puts the imported ones in their place\n");
    }
    text
}

fn rotation_summary(rotated: &RotationResult) -> String {
    let mut text = match rotated.values {
        Some(values) => format!("the store is sealed with the new key: {values} values\n"),
        None => "there is no store yet\n".to_owned(),
    };
    if rotated.saved {
        text.push_str("so is the saved listing of Azure\n");
    }
    if rotated.last {
        text.push_str("so are the last definitions of endpoints\n");
    }
    if rotated.journal {
        text.push_str("so are the keys of the journal\n");
    }
    match &rotated.old_key {
        Some(old) => {
            let line = format!(
                "the old key is in {}; remove it once no backup needs it\n",
                old.display()
            );
            text.push_str(&line);
        }
        None => text
            .push_str("set key_variable to the variable with the new key before the next start\n"),
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_reported() {
        let mut imported = ImportOutcome {
            created: vec!["/a".to_owned()],
            ..ImportOutcome::default()
        };
        assert_eq!(
            import_summary(&imported),
            "imported: 1 new, 0 replaced, 0 kept as they were\n"
        );
        imported.kept.push("/b".to_owned());
        assert!(
            import_summary(&imported)
                .ends_with("--replace puts the imported ones in their place\n")
        );
    }
}
