//! Everything that is stored as one JSON document, and back: for backups, and to move from one store to another.
//!
//! What is read in is sent, resource by resource, to a copy of the store in memory, by the requests that a
//! client would make: so the same checks hold. Only if all of it is taken does the store take it, at once.

use crate::arm::error::Error;
use crate::arm::id::{ResourceId, ResourceKind};
use crate::arm::versions;
use crate::audit_cause::AuditCause;
use crate::context::ServerContext;
use crate::server::{self, RequestCaller};
use crate::settings::{ProvisioningChecks, Settings};
use crate::store::RecordStore;
use crate::store::operation::{ArmOperation, OperationStep};
use crate::store::record::ResourceRecord;
use crate::store::state::{StoreChange, StoreState};
use crate::store::wiped_json;
use http::{Method, Request};
use http_body_util::BodyExt as _;
use percent_encoding::{AsciiSet, utf8_percent_encode};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::Arc;
use twinroute_audit::ChangeAuthor;
use twinroute_model::clock::Timestamp;
use twinroute_model::json::JsonDocument;
use twinroute_model::secret::Secret;
use twinroute_model::uri::RESERVED;

/// Resources of one document.
const RESOURCES_MAX: usize = 500_000;

/// Refusals that are reported of one document.
const REFUSALS_MAX: usize = 100;

/// Members that hold secrets, of all kinds of resources.
pub const SECRET_MEMBERS: &[&str] = &[
    "accessKey1",
    "accessKey2",
    "connectionString",
    "connectionStringPrimaryKey",
    "connectionStringSecondaryKey",
    "deadLetterSecret",
    "primaryConnectionString",
    "primaryKey",
    "secondaryConnectionString",
    "secondaryKey",
];

/// What is escaped in a path.
const ESCAPED: &AsciiSet = &RESERVED.remove(b'/');

/// Whether an export holds secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportedSecrets {
    /// Masks stand for them. Such an export shows what there is, but cannot be imported where secrets are.
    Masked,
    /// They stand in it in the clear.
    Revealed,
}

/// What an import does with a resource that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExistingResources {
    /// It stays as it is.
    Keep,
    /// The imported one takes its place.
    Replace,
}

/// What an import did, by the ids of the resources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportOutcome {
    /// Were not there.
    pub created: Vec<String>,
    /// Were there, and are as imported now.
    pub replaced: Vec<String>,
    /// Were there, and stay as they were.
    pub kept: Vec<String>,
}

/// One resource of a document that is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedResource {
    /// Its id, or its place in the document.
    pub resource: String,
    /// Why; never holds a secret.
    pub reason: String,
}

/// Why nothing was imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It has another form.
    #[error("the document is no export: {0}")]
    Shape(&'static str),
    /// Resources of it are not taken.
    #[error("{}", tell(.0))]
    Refused(Vec<RefusedResource>),
    /// The store does not take it.
    #[error("{0}")]
    Store(String),
}

fn tell(refused: &[RefusedResource]) -> String {
    let lines = refused.iter();
    let lines = lines.map(|refused| format!("{}: {}", refused.resource, refused.reason));
    lines.collect::<Vec<_>>().join("\n")
}

/// All resources, parents before what belongs to them, but those that are being deleted.
pub(crate) fn export(context: &ServerContext, secrets: ExportedSecrets) -> Value {
    let state = context.store.read();
    let going = |id: &ResourceId| {
        let record = state.get(id);
        record.is_some_and(|record| record.state() == "Deleting")
    };
    let stays = |record: &ResourceRecord| {
        let id = &record.id;
        let group = ResourceId::group(&id.subscription, &id.group);
        !going(id) && !going(&group) && !id.owner().is_some_and(|owner| going(&owner))
    };
    let mut resources = Vec::new();
    for kind in ResourceKind::ALL {
        let records = state.kind(kind).filter(stays);
        resources.extend(records.map(|record| match secrets {
            ExportedSecrets::Masked => record.render_hidden(),
            ExportedSecrets::Revealed => record.reveal(),
        }));
    }
    json!({ "resources": resources })
}

/// Takes a document in, all of it or nothing. Endpoints are then to be provisioned: [`crate::provision::resume`].
///
/// Dropping the future may leave it done or not, but not by half.
pub(crate) async fn import(
    context: &Arc<ServerContext>,
    document: &Value,
    existing: ExistingResources,
    author: &ChangeAuthor,
) -> Result<ImportOutcome, ImportError> {
    let changes = context.store.changes();
    let given = read(document)?;
    let copy = copy(context);
    let mut refused = Vec::new();
    let mut imported = ImportOutcome::default();
    let mut taken = Vec::new();
    for kind in ResourceKind::ALL {
        let of_kind = given.iter().filter(|resource| resource.id.kind == kind);
        for resource in of_kind {
            let there = context.store.read().has(&resource.id);
            if there && existing == ExistingResources::Keep {
                imported.kept.push(resource.id.to_string());
                continue;
            }
            match put(&copy, resource).await {
                Ok(()) if there => imported.replaced.push(resource.id.to_string()),
                Ok(()) => imported.created.push(resource.id.to_string()),
                Err(reason) => {
                    let resource = resource.id.to_string();
                    refused.push(RefusedResource { resource, reason });
                }
            }
            if refused.len() >= REFUSALS_MAX {
                return Err(ImportError::Refused(refused));
            }
            taken.push(resource);
        }
        settle(&copy).await;
    }
    if !refused.is_empty() {
        return Err(ImportError::Refused(refused));
    }
    let outcome = outcome(context, &copy, &taken);
    let cause = AuditCause::command(author);
    let stored = context.change(Some(cause), move |_, state| {
        // What was checked was checked against what was there then.
        if changes.has_changed().unwrap_or(true) {
            let text = "The store changed meanwhile; nothing was imported: import again.";
            return Err(Error::Conflict(text.to_owned()));
        }
        let mut running = outcome.iter().filter_map(|change| match change {
            StoreChange::Put(key, record) => state.running_on(key).map(|_| record.record().id),
            _ => None,
        });
        match running.next() {
            Some(id) => Err(Error::OperationInProgress { id: id.to_string() }),
            None => Ok((outcome, ())),
        }
    });
    let stored = stored.await;
    stored.map_err(|error| ImportError::Store(error.to_string()))?;
    Ok(imported)
}

/// A resource of a document.
struct GivenResource {
    id: ResourceId,
    body: JsonDocument,
}

/// Takes a document apart.
fn read(document: &Value) -> Result<Vec<GivenResource>, ImportError> {
    let resources = document.get("resources").and_then(Value::as_array);
    let resources = resources.ok_or(ImportError::Shape("it has no list `resources`"))?;
    if resources.len() > RESOURCES_MAX {
        return Err(ImportError::Shape("it has more than 500,000 resources"));
    }
    let mut refused = Vec::new();
    let mut keys = HashSet::new();
    let mut given = Vec::new();
    for (index, body) in resources.iter().enumerate() {
        match one(body) {
            Ok(id) if !keys.insert(id.key()) => refused.push(RefusedResource {
                resource: id.to_string(),
                reason: "stands in the document twice".to_owned(),
            }),
            Ok(id) => {
                let mut body = body.clone();
                // It is that of another time and place.
                if let Some(members) = body.as_object_mut() {
                    members.remove("etag");
                }
                let body = JsonDocument::new(body);
                given.push(GivenResource { id, body });
            }
            Err(reason) => refused.push(RefusedResource {
                resource: body["id"]
                    .as_str()
                    .map_or_else(|| format!("resources[{index}]"), str::to_owned),
                reason,
            }),
        }
        if refused.len() >= REFUSALS_MAX {
            break;
        }
    }
    if refused.is_empty() {
        return Ok(given);
    }
    Err(ImportError::Refused(refused))
}

fn one(body: &Value) -> Result<ResourceId, String> {
    let id = body["id"].as_str().ok_or("has no `id`")?;
    let id = ResourceId::parse(id).ok_or("its `id` is not that of a resource stored here")?;
    let kind = id.kind.type_name();
    if let Some(said) = body["type"].as_str()
        && !said.eq_ignore_ascii_case(&kind)
    {
        return Err(format!(
            "its `type` is {said}, but by its `id` it is {kind}"
        ));
    }
    let mut masked = Vec::new();
    masks(body, "", &mut masked);
    if masked.is_empty() {
        return Ok(id);
    }
    let all = masked.join(", ");
    Err(format!(
        "holds masks for secrets: {all}; put the secrets there, or export with secrets"
    ))
}

/// The places where a mask stands for a secret.
fn masks(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                let path = match path {
                    "" => name.clone(),
                    path => format!("{path}.{name}"),
                };
                match value {
                    Value::String(text) if SECRET_MEMBERS.contains(&name.as_str()) => {
                        if Secret::new(text.as_str()).is_masked() {
                            found.push(path);
                        }
                    }
                    _ => masks(value, &path, found),
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                masks(item, &format!("{path}[{index}]"), found);
            }
        }
        _ => {}
    }
}

/// The same with a store in memory. Destinations are not asked there: that comes when the store is in use.
fn copy(context: &ServerContext) -> Arc<ServerContext> {
    let store = RecordStore::in_memory();
    let state = context.store.read();
    store.show(state.all());
    drop(state);
    let settings = Settings {
        provisioning_checks: ProvisioningChecks::Definitions,
        ..context.settings.clone()
    };
    let copy = ServerContext::new(
        store,
        settings,
        context.default_instance.clone(),
        Arc::clone(&context.connect),
        Arc::clone(&context.clock),
    );
    copy.beside.store(context.beside.load_full());
    copy
}

/// Makes the request that a client would make.
async fn put(copy: &Arc<ServerContext>, resource: &GivenResource) -> Result<(), String> {
    let id = &resource.id;
    let (path, version) = match id.kind {
        ResourceKind::Route => {
            let owner = id.owner().expect("a route has an instance");
            // Its path names the instance alone.
            if !copy.store.read().has(&owner) {
                return Err(format!("there is no {owner} that it could belong to"));
            }
            let path = format!("/instances/{}/eventroutes/{}", owner.name, id.name);
            (path, versions::DATA_PLANE.last())
        }
        ResourceKind::Service | ResourceKind::ServiceConnection | ResourceKind::Certificate => {
            (id.to_string(), Some(&"2022-12-12"))
        }
        _ => (id.to_string(), versions::DIGITAL_TWINS.last()),
    };
    let version = version.copied().unwrap_or_default();
    let path = utf8_percent_encode(&path, ESCAPED);
    let mut request = Request::builder()
        .method(Method::PUT)
        .uri(format!("{path}?api-version={version}"))
        .header("content-type", "application/json");
    if id.kind == ResourceKind::Certificate {
        request = request.header("if-match", "*");
    }
    let request = request.body(()).map_err(|error| error.to_string())?;
    let caller = RequestCaller {
        name: "import".to_owned(),
        scheme: "http",
        // The copy notes nothing.
        author: ChangeAuthor::command("command", "import"),
    };
    let (head, ()) = request.into_parts();
    let body = std::mem::take(&mut *wiped_json::write(resource.body.value()));
    let answer = server::reply(copy, head, body.into(), caller).await;
    if answer.status().is_success() {
        return Ok(());
    }
    let status = answer.status();
    let body = answer.into_body().collect().await;
    let body = body.map(|body| body.to_bytes()).unwrap_or_default();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    // The provisioning service's own refusals are flat.
    let message = body["error"]["message"].as_str();
    let message = message.or_else(|| body["message"].as_str());
    Err(message.map_or_else(|| format!("is refused with {status}"), str::to_owned))
}

/// Waits until all operations have ended, and has endpoints in use: whether they work is asked later, and
/// must not keep routes from being taken.
async fn settle(copy: &Arc<ServerContext>) {
    let mut changes = copy.store.changes();
    loop {
        let running = {
            let state = copy.store.read();
            let mut operations = state.operations();
            operations.any(|operation| operation.is_running())
        };
        if !running || changes.changed().await.is_err() {
            break;
        }
    }
    let used = copy.store.change(|state| {
        let used = state.kind(ResourceKind::Endpoint).map(|record| {
            let mut record = record;
            record.set_state("Succeeded");
            StoreChange::put(&record)
        });
        Ok((used.collect(), ()))
    });
    used.expect("a store in memory takes changes");
}

/// What the store is to take over of the copy.
fn outcome(
    context: &ServerContext,
    copy: &ServerContext,
    taken: &[&GivenResource],
) -> Vec<StoreChange> {
    let (before, after) = (context.store.read(), copy.store.read());
    let now = context.clock.now();
    let made = after
        .kind(ResourceKind::Group)
        .filter(|group| !before.has(&group.id));
    let mut changes: Vec<StoreChange> = made.map(|group| StoreChange::put(&group)).collect();
    for given in taken {
        let Some(record) = after.get(&given.id) else {
            continue;
        };
        let mut record = record;
        match record.id.kind {
            ResourceKind::Endpoint => changes.push(provision(&mut record, &before, now)),
            ResourceKind::Service => keep_scope(&mut record, given, &before),
            _ => {}
        }
        changes.push(StoreChange::put(&record));
    }
    changes
}

/// Begins what a PUT begins: the destination is asked before the endpoint is in use.
fn provision(record: &mut ResourceRecord, before: &StoreState, now: Timestamp) -> StoreChange {
    record.set_state("Provisioning");
    let step = OperationStep::over(before.get(&record.id).as_ref());
    StoreChange::Note(ArmOperation::begin(&record.id, step, now))
}

/// Devices know a service by its id scope: a new one would lose them.
fn keep_scope(record: &mut ResourceRecord, given: &GivenResource, before: &StoreState) {
    let scope = given.body.value()["properties"]["idScope"].as_str();
    let Some(scope) = scope.filter(|scope| is_scope(scope)) else {
        return;
    };
    let mut others = before.kind(ResourceKind::Service);
    let used = others.any(|other| other.property("idScope") == Some(scope));
    if !used && !before.has(&record.id) {
        record.set_property("idScope", scope);
    }
}

fn is_scope(text: &str) -> bool {
    text.strip_prefix("0ne").is_some_and(|digits| {
        digits.len() == 8 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

#[cfg(test)]
#[path = "export_tests.rs"]
mod tests;
