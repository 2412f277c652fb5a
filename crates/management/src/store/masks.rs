//! Secrets that a body keeps by sending back their masks.

use super::record::ResourceRecord;
use crate::arm::error::Error;
use std::collections::BTreeMap;
use twinroute_model::secret::Secret;

/// Secrets of a stored record that a body was filled with, by their place in that record.
#[derive(Debug, Default)]
pub(crate) struct KeptSecrets(BTreeMap<String, Secret>);

impl KeptSecrets {
    pub(crate) fn add(&mut self, pointer: String, secret: &Secret) {
        self.0.insert(pointer, secret.clone());
    }

    /// Whether they are still those of the record: the body was read before the change had its turn.
    ///
    /// # Errors
    /// [`Error::Conflict`]: a mask must not bring back a key that was replaced meanwhile.
    pub(crate) fn check(&self, present: Option<&ResourceRecord>) -> Result<(), Error> {
        let same = |(pointer, secret): (&String, &Secret)| {
            present.is_some_and(|present| present.secrets.get(pointer) == Some(secret))
        };
        if self.0.iter().all(same) {
            return Ok(());
        }
        let text = "A secret that the request keeps was changed meanwhile; read the resource and send it again.";
        Err(Error::Conflict(text.to_owned()))
    }
}
