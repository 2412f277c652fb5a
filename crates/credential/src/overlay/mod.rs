//! The secret overlay: by endpoint name, the secrets that Azure masks when definitions are read.
//!
//! | place | for |
//! |---|---|
//! | variable `TWINROUTE_SECRET_<INSTANCE>__<ENDPOINT>__<FIELD>` | an endpoint of one instance |
//! | file `<folder>/<instance>/<endpoint>/<field>` | the same |
//! | variable `TWINROUTE_SECRET_<ENDPOINT>__<FIELD>` | endpoints of that name in every instance |
//! | file `<folder>/<endpoint>/<field>` | the same |
//!
//! A secret of a [key vault](crate::key_vault) comes after the file that is for the same.
//!
//! An upper place wins. In variables names are in upper case with `_` for `-`; two underscores stand
//! between the parts. `<FIELD>` is the field's name in upper case; underscores in it do not count, so
//! `ACCESSKEY1` and `ACCESS_KEY1` are one. A variable that could mean two endpoints (`a--b`, and `b` of
//! the instance `a`) is used for neither. In files names ignore case, and names that begin with a dot
//! are skipped, as Kubernetes keeps its own there. A line break at the end is no part of a secret.

mod folder;
mod stored;
mod watch;

pub use watch::SecretsWatch;

use crate::key_vault::{KeyVault, RefreshError};
use crate::secret_field::{SecretField, check_secret};
use std::collections::{HashMap, HashSet};
use std::future::pending;
use std::path::{Path, PathBuf};
use stored::StoredSecrets;
use twinroute_model::name::{EndpointName, InstanceName};
use twinroute_model::secret::Secret;

/// How variables of the overlay begin.
pub const PREFIX: &str = "TWINROUTE_SECRET_";

/// Where secrets are looked for.
pub struct SecretOverlay {
    /// By names (`HUB_1`, `MAIN__HUB_1`) and field.
    variables: HashMap<(String, SecretField), SecretVariable>,
    folder: Option<PathBuf>,
    vault: Option<KeyVault>,
    problems: Vec<String>,
}

struct SecretVariable {
    name: String,
    secret: Secret,
}

impl std::fmt::Debug for SecretOverlay {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Overlay")
            .field("variables", &self.variables.len())
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

impl SecretOverlay {
    /// An overlay of this process's environment and, where there is one, a folder. The folder need not
    /// exist yet.
    #[must_use]
    pub fn from_environment(folder: Option<PathBuf>) -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            let name = name.into_string().ok()?;
            // What is no text becomes a problem of its name below.
            let value = value.into_string().unwrap_or_default();
            name.starts_with(PREFIX).then_some((name, value))
        };
        Self::new(folder, std::env::vars_os().filter_map(text))
    }

    /// An overlay of these variables; those without [`PREFIX`] are skipped.
    #[must_use]
    pub fn new(
        folder: Option<PathBuf>,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Self {
        let mut overlay = Self {
            variables: HashMap::new(),
            folder,
            vault: None,
            problems: Vec::new(),
        };
        let mut variables: Vec<_> = variables.into_iter().collect();
        variables.sort_by(|(a, _), (b, _)| a.cmp(b));
        for (name, value) in variables {
            let Some(rest) = name.strip_prefix(PREFIX) else {
                continue;
            };
            if let Err(reason) = overlay.take(&name, rest, value) {
                let text = format!("environment variable {name}: {reason}");
                overlay.problems.push(text);
            }
        }
        overlay
    }

    fn take(&mut self, name: &str, rest: &str, value: String) -> Result<(), String> {
        let secret = check_secret(&value)?;
        let parts = rest.rsplit_once("__");
        let (names, field) = parts
            .and_then(|(names, field)| Some((names, SecretField::of(field)?)))
            .ok_or("ends in no field; it is __ACCESS_KEY1, __PRIMARY_CONNECTION_STRING, …")?;
        let name = name.to_owned();
        let key = (names.to_owned(), field);
        if let Some(other) = self.variables.get(&key) {
            return Err(format!("means the same as {}, which is used", other.name));
        }
        self.variables.insert(key, SecretVariable { name, secret });
        Ok(())
    }

    /// Looks into `vault` too.
    #[must_use]
    pub fn with_key_vault(self, vault: KeyVault) -> Self {
        Self {
            vault: Some(vault),
            ..self
        }
    }

    /// Keeps what is known of the key vault current; without one it waits for ever. Dropping the future
    /// stops that.
    pub async fn keep(&self) {
        match &self.vault {
            Some(vault) => match vault.run().await {},
            None => pending().await,
        }
    }

    /// Has the key vault looked at, while [`SecretOverlay::keep`] runs, and waits a bounded time for the end of
    /// that; at once where there is none. Folder and variables need no asking.
    ///
    /// # Errors
    /// [`RefreshError`]: the values of before are used.
    pub async fn refresh(&self) -> Result<(), RefreshError> {
        match &self.vault {
            Some(vault) => vault.refresh().await,
            None => Ok(()),
        }
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// Tells when folder or key vault change. Variables never do.
    #[must_use]
    pub fn watch(&self) -> SecretsWatch {
        let vault = self.vault.as_ref().map(KeyVault::changes);
        SecretsWatch::new(self.folder.as_deref(), vault)
    }

    /// The secrets of these endpoints as they are now. Blocks on the file system.
    ///
    /// What cannot be used is left out and named in [`FoundSecrets::problems`].
    #[must_use]
    pub fn secrets<'a>(
        &self,
        endpoints: impl IntoIterator<Item = (&'a InstanceName, &'a EndpointName)>,
    ) -> FoundSecrets {
        let mut secrets = FoundSecrets {
            found: HashMap::new(),
            problems: self.problems.clone(),
            folder: self.folder.clone(),
            vault: self.vault.clone(),
        };
        let files = match &self.folder {
            Some(folder) => folder::read(folder, &mut secrets.problems),
            None => HashMap::new(),
        };
        let endpoints: Vec<_> = endpoints.into_iter().collect();
        let ambiguous = self.ambiguous(&endpoints, &mut secrets.problems);
        let stored = self.vault.as_ref();
        let stored =
            stored.map(|vault| StoredSecrets::new(vault, &endpoints, &mut secrets.problems));
        let mut used = HashSet::new();
        for (instance, endpoint) in endpoints {
            // What names the instance goes before what names the endpoint alone; of each, variables go
            // before files, and files before the vault.
            let [narrow, wide] = keys(instance, endpoint);
            let lower = endpoint.as_str().to_ascii_lowercase();
            let narrow_file = format!("{}/{lower}", instance.as_str().to_ascii_lowercase());
            let narrow_name = narrow_file.replace('/', "--");
            for field in SecretField::ALL {
                let mut found = None;
                for (key, path, name) in [
                    (&narrow, &narrow_file, &narrow_name),
                    (&wide, &lower, &lower),
                ] {
                    let key = (key.clone(), field);
                    let variable = self.variables.get(&key);
                    if variable.is_some() {
                        used.insert(key.clone());
                    }
                    let variable = variable.filter(|_| !ambiguous.contains(&key.0));
                    let variable = variable.map(|variable| variable.secret.clone());
                    found = found
                        .or(variable)
                        .or_else(|| files.get(&(path.clone(), field)).cloned())
                        .or_else(|| stored.as_ref()?.find(name, field));
                }
                if let Some(secret) = found {
                    let key = (instance.clone(), endpoint.clone(), field);
                    secrets.found.insert(key, secret);
                }
            }
        }
        let mut unused: Vec<_> = (self.variables.iter())
            .filter(|(key, _)| !used.contains(*key))
            .map(|(_, variable)| {
                format!("environment variable {}: no such endpoint", variable.name)
            })
            .collect();
        unused.sort();
        secrets.problems.extend(unused);
        secrets
    }

    /// Names in variables that more than one endpoint could mean, where there is such a variable.
    fn ambiguous(
        &self,
        endpoints: &[(&InstanceName, &EndpointName)],
        problems: &mut Vec<String>,
    ) -> HashSet<String> {
        let present: HashSet<&str> = self.variables.keys().map(|(key, _)| key.as_str()).collect();
        let mut meant: HashMap<String, String> = HashMap::new();
        let mut ambiguous = HashSet::new();
        for (instance, endpoint) in endpoints {
            let [narrow, wide] = keys(instance, endpoint);
            let lower = endpoint.as_str().to_ascii_lowercase();
            let full = format!("{}/{lower}", instance.as_str().to_ascii_lowercase());
            for (key, object) in [(narrow, full), (wide, lower)] {
                if !present.contains(key.as_str()) {
                    continue;
                }
                let other = meant.entry(key.clone()).or_insert_with(|| object.clone());
                if *other != object && ambiguous.insert(key.clone()) {
                    problems.push(format!(
                        "environment variable {PREFIX}{key}__…: may mean endpoint {other} or \
                         endpoint {object} and is used for neither; use files, or rename one"
                    ));
                }
            }
        }
        ambiguous
    }
}

/// How variables name an endpoint: with its instance, and without.
fn keys(instance: &InstanceName, endpoint: &EndpointName) -> [String; 2] {
    let upper = |name: &str| name.to_ascii_uppercase().replace('-', "_");
    let wide = upper(endpoint.as_str());
    [format!("{}__{wide}", upper(instance.as_str())), wide]
}

/// The secrets that were found.
#[derive(Clone, Default)]
pub struct FoundSecrets {
    found: HashMap<(InstanceName, EndpointName, SecretField), Secret>,
    problems: Vec<String>,
    folder: Option<PathBuf>,
    vault: Option<KeyVault>,
}

impl std::fmt::Debug for FoundSecrets {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Secrets")
            .field("found", &self.found.len())
            .field("problems", &self.problems)
            .finish_non_exhaustive()
    }
}

impl FoundSecrets {
    /// The secret of one field.
    #[must_use]
    pub fn get(
        &self,
        instance: &InstanceName,
        endpoint: &EndpointName,
        field: SecretField,
    ) -> Option<&Secret> {
        let key = (instance.clone(), endpoint.clone(), field);
        self.found.get(&key)
    }

    /// What could not be used, and files that everybody may read; each names its place, none a value.
    #[must_use]
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// In words: where a missing secret may be put.
    #[must_use]
    pub fn ways(
        &self,
        instance: &InstanceName,
        endpoint: &EndpointName,
        field: SecretField,
    ) -> String {
        let [narrow, wide] = keys(instance, endpoint);
        let name = field.name();
        let variable = field.variable();
        let file = self.folder.as_ref().map_or_else(
            || format!("a file {endpoint}/{name} in a `secrets_folder`"),
            |folder| {
                format!(
                    "the file {}",
                    folder.join(endpoint.as_str()).join(name).display()
                )
            },
        );
        let text = format!(
            "the environment variable {PREFIX}{wide}__{variable} (or \
             {PREFIX}{narrow}__{variable}) or {file}"
        );
        match &self.vault {
            Some(vault) => {
                let name = vault.name(&endpoint.as_str().to_ascii_lowercase(), field);
                format!("{text} or the secret {name} of the key vault")
            }
            None => text,
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
