//! Everything that is stored as one JSON document, and back: for backups, and to move from one store to another.
//!
//! What is read in is sent, resource by resource, to a copy of the store in memory, by the requests that a
//! client would make: so the same checks hold. Only if all of it is taken does the store take it, at once.

use crate::arm::error::Error;
use crate::arm::id::{Kind, ResourceId};
use crate::arm::versions;
use crate::cause::Cause;
use crate::desk::Desk;
use crate::operations::{Operation, Step};
use crate::server::{self, Caller};
use crate::settings::{Checks, Settings};
use crate::store::record::Record;
use crate::store::{Change, State, Store};
use http::{Method, Request};
use http_body_util::BodyExt as _;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::Arc;
use twinroute_audit::ChangeAuthor;
use twinroute_model::clock::Timestamp;
use twinroute_model::secret::Secret;

/// Resources of one document.
const RESOURCES_MAX: usize = 500_000;

/// Refusals that are told of one document.
const REFUSALS_MAX: usize = 100;

/// What stands for a secret in an export without them.
const MASK: &str = "***";

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

/// What stands unescaped in a path (RFC 3986, 2.3), and what parts it.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'/');

/// Whether an export holds secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrets {
    /// Masks stand for them. Such an export shows what there is, but cannot be imported where secrets are.
    Masked,
    /// They stand in it in the clear.
    Revealed,
}

/// What an import does with a resource that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It stays as it is.
    Keep,
    /// The imported one takes its place.
    Replace,
}

/// What an import did, by the ids of the resources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Were not there.
    pub created: Vec<String>,
    /// Were there, and are as imported now.
    pub replaced: Vec<String>,
    /// Were there, and stay as they were.
    pub kept: Vec<String>,
}

/// One resource of a document that is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
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
    Refused(Vec<Refused>),
    /// The store does not take it.
    #[error("{0}")]
    Store(String),
}

fn tell(refused: &[Refused]) -> String {
    let lines = refused.iter();
    let lines = lines.map(|refused| format!("{}: {}", refused.resource, refused.reason));
    lines.collect::<Vec<_>>().join("\n")
}

/// All resources, parents before what belongs to them, but those that are being deleted.
pub(crate) fn export(desk: &Desk, secrets: Secrets) -> Value {
    let state = desk.store.read();
    let going = |id: &ResourceId| {
        let record = state.get(id);
        record.is_some_and(|record| record.state() == "Deleting")
    };
    let stays = |record: &Record| {
        let id = &record.id;
        let group = ResourceId::group(&id.subscription, &id.group);
        !going(id) && !going(&group) && !id.owner().is_some_and(|owner| going(&owner))
    };
    let mut resources = Vec::new();
    for kind in Kind::ALL {
        let records = state.kind(kind).filter(stays);
        resources.extend(records.map(|record| match secrets {
            Secrets::Masked => record.render_masked(|_, _| MASK.to_owned()),
            Secrets::Revealed => record.reveal(),
        }));
    }
    json!({ "resources": resources })
}

/// Takes a document in, all of it or nothing. Endpoints are then to be provisioned: [`Desk::resume`].
///
/// Dropping the future may leave it done or not, but not by half.
pub(crate) async fn import(
    desk: &Arc<Desk>,
    document: &Value,
    existing: Existing,
    author: &ChangeAuthor,
) -> Result<Imported, ImportError> {
    let changes = desk.store.changes();
    let given = read(document)?;
    let copy = copy(desk);
    let mut refused = Vec::new();
    let mut imported = Imported::default();
    let mut taken = Vec::new();
    for kind in Kind::ALL {
        let of_kind = given.iter().filter(|resource| resource.id.kind == kind);
        for resource in of_kind {
            let there = desk.store.read().has(&resource.id);
            if there && existing == Existing::Keep {
                imported.kept.push(resource.id.to_string());
                continue;
            }
            match put(&copy, resource).await {
                Ok(()) if there => imported.replaced.push(resource.id.to_string()),
                Ok(()) => imported.created.push(resource.id.to_string()),
                Err(reason) => {
                    let resource = resource.id.to_string();
                    refused.push(Refused { resource, reason });
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
    let outcome = outcome(desk, &copy, &taken);
    let cause = Cause::command(author);
    let stored = desk.change(Some(&cause), move |_, state| {
        // What was checked was checked against what was there then.
        if changes.has_changed().unwrap_or(true) {
            let text = "The store changed meanwhile; nothing was imported: import again.";
            return Err(Error::Conflict(text.to_owned()));
        }
        let mut running = outcome.iter().filter_map(|change| match change {
            Change::Put(record) => state.running(&record.id).map(|_| &record.id),
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
struct Given {
    id: ResourceId,
    body: Value,
}

/// Takes a document apart.
fn read(document: &Value) -> Result<Vec<Given>, ImportError> {
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
            Ok(id) if !keys.insert(id.key()) => refused.push(Refused {
                resource: id.to_string(),
                reason: "stands in the document twice".to_owned(),
            }),
            Ok(id) => {
                let mut body = body.clone();
                // It is that of another time and place.
                if let Some(members) = body.as_object_mut() {
                    members.remove("etag");
                }
                given.push(Given { id, body });
            }
            Err(reason) => refused.push(Refused {
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
    let id = ResourceId::parse(id).ok_or("its `id` is none of a resource that is stored here")?;
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
fn copy(desk: &Desk) -> Arc<Desk> {
    let store = Store::in_memory();
    let state = desk.store.read();
    store.show(state.all().collect());
    drop(state);
    let settings = Settings {
        provisioning_checks: Checks::Definitions,
        ..desk.settings.clone()
    };
    let copy = Desk::new(
        store,
        settings,
        desk.default_instance.clone(),
        Arc::clone(&desk.connect),
        Arc::clone(&desk.clock),
    );
    copy.beside.store(desk.beside.load_full());
    copy
}

/// Makes the request that a client would make.
async fn put(copy: &Arc<Desk>, resource: &Given) -> Result<(), String> {
    let id = &resource.id;
    let (path, version) = match id.kind {
        Kind::Route => {
            let owner = id.owner().expect("a route has an instance");
            // Its path names the instance alone.
            if !copy.store.read().has(&owner) {
                return Err(format!("there is no {owner} that it could belong to"));
            }
            let path = format!("/instances/{}/eventroutes/{}", owner.name, id.name);
            (path, versions::DATA_PLANE.last())
        }
        Kind::Service | Kind::ServiceConnection | Kind::Certificate => {
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
    if id.kind == Kind::Certificate {
        request = request.header("if-match", "*");
    }
    let request = request.body(()).map_err(|error| error.to_string())?;
    let caller = Caller {
        name: "import".to_owned(),
        scheme: "http",
        // The copy notes nothing.
        author: ChangeAuthor::command("command", "import"),
    };
    let (head, ()) = request.into_parts();
    let body = resource.body.to_string();
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
async fn settle(copy: &Arc<Desk>) {
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
        let used = state.kind(Kind::Endpoint).map(|record| {
            let mut record = record;
            record.set_state("Succeeded");
            Change::Put(record)
        });
        Ok((used.collect(), ()))
    });
    used.expect("a store in memory takes changes");
}

/// What the store is to take over of the copy.
fn outcome(desk: &Desk, copy: &Desk, taken: &[&Given]) -> Vec<Change> {
    let (before, after) = (desk.store.read(), copy.store.read());
    let now = desk.clock.now();
    let made = after
        .kind(Kind::Group)
        .filter(|group| !before.has(&group.id));
    let mut changes: Vec<Change> = made.map(Change::Put).collect();
    for given in taken {
        let Some(record) = after.get(&given.id) else {
            continue;
        };
        let mut record = record;
        match record.id.kind {
            Kind::Endpoint => changes.push(provision(&mut record, &before, now)),
            Kind::Service => keep_scope(&mut record, given, &before),
            _ => {}
        }
        changes.push(Change::Put(record));
    }
    changes
}

/// Begins what a PUT begins: the destination is asked before the endpoint is in use.
fn provision(record: &mut Record, before: &State, now: Timestamp) -> Change {
    record.set_state("Provisioning");
    let step = Step::over(before.get(&record.id).as_ref());
    Change::Note(Operation::begin(&record.id, step, now))
}

/// Devices know a service by its id scope: a new one would lose them.
fn keep_scope(record: &mut Record, given: &Given, before: &State) {
    let scope = given.body["properties"]["idScope"].as_str();
    let Some(scope) = scope.filter(|scope| is_scope(scope)) else {
        return;
    };
    let mut others = before.kind(Kind::Service);
    let used = others.any(|other| other.property("idScope") == Some(scope));
    if !used && !before.has(&record.id) {
        let properties = record.properties_mut();
        properties.insert("idScope".to_owned(), scope.into());
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
