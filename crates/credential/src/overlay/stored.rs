//! Secrets of a key vault, as the overlay asks for them.

use crate::key_vault::KeyVault;
use crate::secret_field::SecretField;
use std::collections::{HashMap, HashSet};
use twinroute_model::name::{EndpointName, InstanceName};
use twinroute_model::secret::Secret;

/// What a vault holds for certain endpoints.
pub(super) struct StoredSecrets<'a> {
    vault: &'a KeyVault,
    /// Names that more than one endpoint could mean.
    ambiguous: HashSet<String>,
}

impl<'a> StoredSecrets<'a> {
    pub(super) fn new(
        vault: &'a KeyVault,
        endpoints: &[(&InstanceName, &EndpointName)],
        problems: &mut Vec<String>,
    ) -> Self {
        problems.extend(vault.problem());
        let mut meant: HashMap<String, String> = HashMap::new();
        let mut ambiguous = HashSet::new();
        for (instance, endpoint) in endpoints {
            let lower = endpoint.as_str().to_ascii_lowercase();
            let full = format!("{}/{lower}", instance.as_str().to_ascii_lowercase());
            for (name, object) in [(full.replace('/', "--"), full), (lower.clone(), lower)] {
                let present = SecretField::ALL.map(|field| vault.find(&name, field));
                if present.iter().all(Option::is_none) {
                    continue;
                }
                let other = meant.entry(name.clone()).or_insert_with(|| object.clone());
                if *other != object && ambiguous.insert(name.clone()) {
                    problems.push(format!(
                        "key vault secret {name}--…: may mean endpoint {other} or endpoint {object} \
                         and is used for neither; use files, or rename one"
                    ));
                }
            }
        }
        Self { vault, ambiguous }
    }

    /// The secret of this name, without prefix and field.
    pub(super) fn find(&self, name: &str, field: SecretField) -> Option<Secret> {
        match self.ambiguous.contains(name) {
            true => None,
            false => self.vault.find(name, field),
        }
    }
}
