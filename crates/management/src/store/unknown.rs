//! Members that nobody knows: kept in the record and shown again, so that none is dropped in silence.

use super::hidden::escaped;
use super::record::ResourceRecord;
use crate::arm::error::Error;
use crate::arm::identity;
use crate::arm::json::ArmObject;
use serde_json::Value;
use twinroute_model::json::wipe;

/// Members of one body, each with the pointer of the object it stands in. Zeroed when dropped.
#[derive(Default)]
pub(crate) struct UnknownMembers(Vec<(String, String, Value)>);

impl std::fmt::Debug for UnknownMembers {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("UnknownMembers")
    }
}

impl Drop for UnknownMembers {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(|(_, _, value)| wipe(value));
    }
}

/// Members beside `properties` that every resource has, and that are the server's own or read elsewhere.
const TOP: &[&str] = &[
    "etag",
    "id",
    "identity",
    "location",
    "name",
    "properties",
    "systemData",
    "tags",
    "type",
];

impl UnknownMembers {
    /// Those at the top of a resource's body and in its `properties`, of which `properties` are known.
    ///
    /// # Errors
    /// As [`Self::add`], and when `properties` is no object.
    pub(crate) fn of(body: &ArmObject<'_>, properties: &[&str]) -> Result<Self, Error> {
        let mut unknown = Self::default();
        unknown.add("", body, TOP)?;
        unknown.add("/properties", &body.object("properties")?, properties)?;
        Ok(unknown)
    }

    /// Those of `object`, which stands at `pointer`.
    ///
    /// # Errors
    /// When one is known but for its case: it would be kept without being obeyed.
    pub(crate) fn add(
        &mut self,
        pointer: &str,
        object: &ArmObject<'_>,
        known: &[&str],
    ) -> Result<(), Error> {
        for (name, _) in object.unknown(known) {
            let mut known = known.iter();
            if let Some(known) = known.find(|known| known.eq_ignore_ascii_case(name)) {
                let rule = format!("is not known here; did you mean `{known}`?");
                return Err(Error::invalid(object.path(name), rule));
            }
        }
        let members = object.unknown(known);
        let members =
            members.map(|(name, value)| (pointer.to_owned(), name.to_owned(), value.clone()));
        self.0.extend(members);
        Ok(())
    }

    /// Those of `identity` in a resource's body, and of each of its user-assigned ones.
    ///
    /// # Errors
    /// As [`Self::add`], and when one is no object.
    pub(crate) fn add_identity(&mut self, body: &ArmObject<'_>) -> Result<(), Error> {
        let found = body.object("identity")?;
        self.add("/identity", &found, identity::KNOWN)?;
        let users = found.object(identity::USERS)?;
        for (name, _) in users.members() {
            let pointer = format!("/identity/{}/{}", identity::USERS, escaped(name));
            self.add(&pointer, &users.object(name)?, identity::USER_KNOWN)?;
        }
        Ok(())
    }

    /// Puts them into a record.
    ///
    /// # Errors
    /// When a mask stands where `present` has no secret.
    pub(crate) fn keep(
        &self,
        record: &mut ResourceRecord,
        present: Option<&ResourceRecord>,
    ) -> Result<(), Error> {
        for (pointer, name, value) in &self.0 {
            record.keep_unknown(pointer, name, value, present)?;
        }
        Ok(())
    }
}
