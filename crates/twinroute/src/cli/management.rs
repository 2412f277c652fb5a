//! `twinroute management`: the store of a twinroute that is stopped, as a document.

use super::config_error;
use crate::config::Loaded;
use crate::serving;
use anyhow::{Context as _, bail};
use clap::Subcommand;
use serde_json::Value;
use std::io::{IsTerminal as _, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use twinroute_management::{Existing, ImportError, Imported, Secrets};

/// No document is larger.
const DOCUMENT_BYTES_MAX: u64 = 1 << 30;

#[derive(Debug, Subcommand)]
pub(crate) enum Step {
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
}

pub(super) async fn run(step: &Step) -> anyhow::Result<ExitCode> {
    let (Step::Export { config, .. } | Step::Import { config, .. }) = step;
    let loaded = match Loaded::read(config) {
        Ok(loaded) => loaded,
        Err(error) => return Ok(config_error(&error)),
    };
    match step {
        Step::Export { with_secrets, .. } => {
            let secrets = match with_secrets {
                true => Secrets::Revealed,
                false => Secrets::Masked,
            };
            export(&loaded, secrets)?;
        }
        Step::Import {
            replace,
            json,
            document,
            ..
        } => {
            let existing = match replace {
                true => Existing::Replace,
                false => Existing::Keep,
            };
            let imported = import(&loaded, document, existing).await?;
            if *json {
                let imported = serde_json::json!({
                    "created": imported.created, "replaced": imported.replaced, "kept": imported.kept,
                });
                println!("{imported:#}");
            } else {
                print!("{}", told(&imported));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn export(loaded: &Loaded, secrets: Secrets) -> anyhow::Result<()> {
    let store = serving::store_file(loaded);
    if !store.exists() {
        bail!(
            "there is no store at {}: nothing has been put yet",
            store.display()
        );
    }
    let management = serving::offline(loaded)?;
    let document = management.export(secrets);
    if secrets == Secrets::Revealed {
        let what = if std::io::stdout().is_terminal() {
            "warning: these are secrets in the clear"
        } else {
            "warning: this holds secrets in the clear; let nobody else read it (chmod 600)"
        };
        eprintln!("{what}");
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "{document:#}").context("standard output")
}

async fn import(loaded: &Loaded, file: &Path, existing: Existing) -> anyhow::Result<Imported> {
    let document = document(file)?;
    let management = serving::offline(loaded)?;
    let imported = management.import(&document, existing).await;
    imported.map_err(|error| match error {
        ImportError::Refused(refused) => {
            for refused in &refused {
                eprintln!("error: {}: {}", refused.resource, refused.reason);
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
        serde_json::from_slice(&text).map_err(|error| {
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

fn told(imported: &Imported) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_told() {
        let mut imported = Imported {
            created: vec!["/a".to_owned()],
            ..Imported::default()
        };
        assert_eq!(
            told(&imported),
            "imported: 1 new, 0 replaced, 0 kept as they were\n"
        );
        imported.kept.push("/b".to_owned());
        assert!(told(&imported).ends_with("--replace puts the imported ones in their place\n"));
    }
}
