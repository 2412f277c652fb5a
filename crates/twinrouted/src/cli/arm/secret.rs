//! Secrets that are given to a command: on its line, in a file, on standard input, in the environment.

use anyhow::{Context as _, bail};
use std::convert::Infallible;
use std::io::Read;
use std::path::Path;
use twinroute_files::text_file::read_text;
use twinroute_model::pasted;
use twinroute_model::secret::Secret;

/// No connection string, key or SAS is longer.
const BYTES_MAX: u64 = 64 << 10;

/// What the help of each command with secrets says.
pub(crate) const HELP: &str = "\
Secrets: give the value, `@FILE` for the content of a file, or `-` for standard input; or name an
environment variable with the option's `-env` form. A value on the command line can be seen by others
in `ps` and stays in the shell's history: prefer one of the other ways.";

/// For clap: what was given, not printed by accident.
pub(crate) fn parse(text: &str) -> Result<Secret, Infallible> {
    Ok(Secret::new(text))
}

/// Reads the secrets of one command: only one may come from standard input.
pub(crate) struct SecretReader<'a> {
    input: &'a mut dyn Read,
    /// The option that has read it.
    taken: Option<&'static str>,
}

impl<'a> SecretReader<'a> {
    pub(crate) fn new(input: &'a mut dyn Read) -> Self {
        Self { input, taken: None }
    }

    /// Reads one; nothing when it is not given.
    ///
    /// # Errors
    /// By the option: when it is given twice, or cannot be read, or is empty.
    pub(crate) fn read(
        &mut self,
        option: &'static str,
        given: Option<&Secret>,
        variable: Option<&str>,
    ) -> anyhow::Result<Option<Secret>> {
        let secret = match (given, variable) {
            (Some(_), Some(_)) => bail!("give either {option} or {option}-env"),
            (None, None) => return Ok(None),
            (None, Some(name)) => {
                let value = std::env::var(name);
                let value = value.with_context(|| {
                    format!("set the environment variable {name}, which {option}-env names")
                })?;
                Secret::pasted(&value)
            }
            (Some(given), None) => match (given.expose(), given.expose().strip_prefix('@')) {
                ("-", _) => self.input(option)?,
                (_, Some(path)) => {
                    let text = read_text("the file", Path::new(path), BYTES_MAX).context(option)?;
                    Secret::pasted(text.expose())
                }
                _ => Secret::pasted(given.expose()),
            },
        };
        pasted::check(secret.expose()).with_context(|| option.to_owned())?;
        if secret.expose().is_empty() {
            bail!("{option}: give a value; this one is empty");
        }
        Ok(Some(secret))
    }

    fn input(&mut self, option: &'static str) -> anyhow::Result<Secret> {
        if let Some(other) = self.taken.replace(option) {
            bail!("{other} has read standard input; give {option} in another way");
        }
        let mut text = String::new();
        let read = (&mut *self.input)
            .take(BYTES_MAX + 1)
            .read_to_string(&mut text);
        read.with_context(|| format!("{option}: standard input"))?;
        if text.len() as u64 > BYTES_MAX {
            bail!("{option}: standard input: has more than {BYTES_MAX} bytes");
        }
        Ok(Secret::pasted(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_come_from_the_line_a_file_the_input_or_the_environment() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, "of-file\n").unwrap();
        let at_path = Secret::new(format!("@{}", path.display()));
        let mut input: &[u8] = b"of-input\n";
        let mut reader = SecretReader::new(&mut input);
        let mut read = |given: Option<&Secret>, variable| {
            let secret = reader.read("--key", given, variable);
            match secret {
                Ok(secret) => secret.map_or_else(String::new, |s| s.expose().to_owned()),
                Err(error) => format!("{error:#}"),
            }
        };
        assert_eq!(read(Some(&"of-line".into()), None), "of-line");
        assert_eq!(read(Some(&at_path), None), "of-file");
        assert_eq!(read(Some(&"-".into()), None), "of-input");
        assert_eq!(
            read(Some(&"-".into()), None),
            "--key has read standard input; give --key in another way"
        );
        assert_eq!(read(None, None), "");
        assert_eq!(
            read(Some(&"x".into()), Some("X")),
            "give either --key or --key-env"
        );
        assert!(
            read(None, Some("TWINROUTE_NO_SUCH_VARIABLE"))
                .starts_with("set the environment variable TWINROUTE_NO_SUCH_VARIABLE,")
        );
        assert_eq!(
            read(Some(&"".into()), None),
            "--key: give a value; this one is empty"
        );
        assert!(read(Some(&"@/no/such".into()), None).starts_with("--key: the file /no/such: "));
    }
}
