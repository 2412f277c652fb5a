//! Why the store changes: who asked, for the audit log; and what of a change is recorded there.

use crate::arm::error::Error;
use crate::arm::id::{ResourceId, ResourceKind};
use crate::arm::request::ArmRequest;
use crate::digital_twins::endpoint_record;
use crate::store::record::ResourceRecord;
use crate::store::state::{StoreChange, StoreState};
use http::Method;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use twinroute_audit::{AuditError, ChangeAuthor};

/// Resources of one change that are recorded as they were and are; of more, only that they changed.
const BODIES_MAX: usize = 1_000;

/// A request that changes something. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct AuditCause(Arc<CauseDetails>);

#[derive(Debug)]
struct CauseDetails {
    author: ChangeAuthor,
    /// What follows a type in the name of an operation: `write`, `delete`, `verify/action`.
    action: String,
}

impl AuditCause {
    /// Of a request whose path ends in this segment, in lower case.
    pub(crate) fn new(author: ChangeAuthor, method: &Method, last_word: &str) -> Self {
        let action = match *method {
            Method::DELETE => "delete".to_owned(),
            Method::POST => format!("{last_word}/action"),
            _ => "write".to_owned(),
        };
        Self(Arc::new(CauseDetails { author, action }))
    }

    pub(crate) fn of(request: &ArmRequest) -> Self {
        Self::new(request.author.clone(), &request.method, request.last_word())
    }

    /// Of a command.
    pub(crate) fn command(author: &ChangeAuthor) -> Self {
        Self::new(author.clone(), &Method::PUT, "")
    }

    pub(crate) fn author(&self) -> &ChangeAuthor {
        &self.0.author
    }

    /// What is asked for at a path, before anything is known of it.
    pub(crate) fn asked(&self, path: &str) -> twinroute_audit::AuditedChange {
        let action = &self.0.action;
        let (kind, resource) = kind(path);
        let operation = match kind {
            Some(kind) => format!("{}/{action}", kind.type_name()),
            None => action.clone(),
        };
        twinroute_audit::AuditedChange::step(operation, resource)
    }

    /// What the log says of changes that are about to be made; nothing of operations, which only follow.
    pub(crate) fn changes(
        &self,
        state: &StoreState,
        changes: &[StoreChange],
    ) -> Vec<twinroute_audit::AuditedChange> {
        let mut audited = Vec::new();
        for change in changes {
            let (key, after) = match change {
                StoreChange::Put(key, record) => (&**key, Some(record.record())),
                StoreChange::Remove(key) => (key.as_str(), None),
                StoreChange::Note(_) | StoreChange::Forget(_) => continue,
            };
            let (before, after) = (&state.by_key(key), &after);
            let Some(id) = after.as_ref().or(before.as_ref()).map(|record| &record.id) else {
                continue;
            };
            let operation = format!("{}/{}", id.kind.type_name(), self.0.action);
            let mut change = twinroute_audit::AuditedChange::step(operation, id.to_string());
            if audited.len() < BODIES_MAX {
                change.before = before.as_ref().map(render);
                change.after = after.as_ref().map(render);
            }
            change.secrets_changed = secrets_changed(before.as_ref(), after.as_ref());
            audited.push(change);
        }
        audited
    }
}

/// The kind of what a path leads to, by as much of it as is an id; and that part, or all of it.
fn kind(path: &str) -> (Option<ResourceKind>, &str) {
    let mut end = path.len();
    loop {
        if let Some(id) = ResourceId::parse(&path[..end]) {
            return (Some(id.kind), &path[..end]);
        }
        match path[..end].rfind('/') {
            Some(slash) if slash > 0 => end = slash,
            _ => break,
        }
    }
    let lower = path.to_ascii_lowercase();
    let route = lower.contains("/eventroutes/");
    (route.then_some(ResourceKind::Route), path)
}

/// A resource as reads show it.
fn render(record: &ResourceRecord) -> Value {
    match record.id.kind {
        ResourceKind::Endpoint => endpoint_record::render(record),
        _ => record.render_hidden(),
    }
}

/// The places of secrets that are others than before.
fn secrets_changed(before: Option<&ResourceRecord>, after: Option<&ResourceRecord>) -> Vec<String> {
    let none = BTreeMap::new();
    let before = before.map_or(&none, |record| &record.secrets);
    let after = after.map_or(&none, |record| &record.secrets);
    let places = before.keys().chain(after.keys());
    let mut changed: Vec<String> = places
        .filter(|place| before.get(*place) != after.get(*place))
        .cloned()
        .collect();
    changed.sort();
    changed.dedup();
    changed
}

/// A change that cannot be recorded is not made.
pub(crate) fn unrecorded(error: &AuditError) -> Error {
    let reason = error.error_chain();
    tracing::error!(
        error = reason,
        "a change was rejected: it could not be recorded in the audit log"
    );
    Error::Audit { reason }
}

#[cfg(test)]
#[path = "audit_cause_tests.rs"]
mod tests;
