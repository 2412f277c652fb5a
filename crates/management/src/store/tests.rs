use super::*;
use crate::arm::id::ResourceId;
use crate::store::operation::{ArmOperation, OperationStep};
use serde_json::{Map, json};
use std::collections::BTreeMap;
use twinroute_model::clock::Timestamp;
use twinroute_model::seal::SealKey;
use twinroute_model::secret::Secret;

fn id(name: &str) -> ResourceId {
    ResourceId::top(ResourceKind::Instance, "s", "g", "twins").child(ResourceKind::Endpoint, name)
}

fn record(name: &str, secret: &str) -> ResourceRecord {
    let body = Map::from_iter([(
        "properties".to_owned(),
        json!({ "endpointType": "EventGrid" }),
    )]);
    let secrets = BTreeMap::from([("/properties/accessKey1".to_owned(), Secret::new(secret))]);
    ResourceRecord::new(id(name), body, secrets)
}

fn put(store: &RecordStore, name: &str, secret: &str) {
    let change = StoreChange::put(&record(name, secret));
    store.change(|_| Ok((vec![change], ()))).unwrap();
}

fn key(byte: u8) -> SealKey {
    SealKey::new(&[byte; 32])
}

fn open(path: &std::path::Path, byte: u8) -> Result<RecordStore, disk::StoreError> {
    RecordStore::on_disk(StoreFile::open(path, key(byte))?)
}

#[test]
fn what_was_stored_is_there_again_and_cannot_be_read_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/store.redb");
    let store = open(&path, 1).unwrap();
    put(&store, "Hub", "marked-secret");
    put(&store, "gone", "x");
    let removed = StoreChange::Remove(id("gone").key());
    let operation = ArmOperation::begin(
        &id("Hub"),
        OperationStep::Create,
        Timestamp::from_unix_millis(0),
    );
    let running_id = operation.id;
    store
        .change(|_| Ok((vec![removed, StoreChange::Note(operation)], ())))
        .unwrap();
    assert!(matches!(
        open(&path, 1).err(),
        Some(disk::StoreError::Locked { .. })
    ));
    drop(store);
    let bytes = std::fs::read(&path).unwrap();
    for mark in [&b"marked-secret"[..], b"EventGrid"] {
        assert!(!bytes.windows(mark.len()).any(|part| part == mark));
    }
    let store = open(&path, 1).unwrap();
    let state = store.read();
    let found = state.get(&id("HUB")).unwrap();
    assert_eq!(found.id.name, "Hub");
    assert_eq!(
        found.secrets["/properties/accessKey1"].expose(),
        "marked-secret"
    );
    assert!(state.get(&id("gone")).is_none());
    assert!(state.operation(running_id).unwrap().is_running());
    assert!(state.running(&id("hub")).is_some());
}

#[test]
fn another_key_opens_nothing_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    drop(open(&path, 1).unwrap());
    let error = open(&path, 2).err().unwrap().to_string();
    assert!(
        error.ends_with("key was sealed with another key, or is damaged"),
        "{error}"
    );
}

#[test]
fn what_is_refused_changes_nothing_and_tells_nobody() {
    let store = RecordStore::in_memory();
    let changes = store.changes();
    let refused: Result<(), Error> = store.change(|_| Err(Error::MissingApiVersion));
    assert!(refused.is_err() && !changes.has_changed().unwrap());
    put(&store, "a", "x");
    assert!(changes.has_changed().unwrap());
    let mirror = RecordStore::mirror("definitions come from files");
    let change = StoreChange::put(&record("a", "x"));
    let refused = mirror.change(|_| Ok((vec![change], ()))).unwrap_err();
    assert_eq!(refused.code(), "ScopeLocked");
    mirror.show(vec![record("b", "x")]);
    assert!(mirror.read().get(&id("b")).is_some());
}

#[test]
fn ranges_go_on_behind_what_was_seen() {
    let store = RecordStore::in_memory();
    for name in ["c", "a", "B"] {
        put(&store, name, "x");
    }
    let state = store.read();
    let prefix =
        ResourceId::top(ResourceKind::Instance, "s", "g", "TWINS").children(ResourceKind::Endpoint);
    let names = |after: Option<&str>| -> Vec<String> {
        state
            .range(&prefix, after)
            .map(|record| record.id.name.clone())
            .collect()
    };
    assert_eq!(names(None), ["a", "B", "c"]);
    assert_eq!(names(Some(&format!("{prefix}b"))), ["c"]);
    assert_eq!(state.kind(ResourceKind::Endpoint).count(), 3);
    assert_eq!(state.kind(ResourceKind::Instance).count(), 0);
}

#[test]
fn a_record_is_written_once_for_disk_and_memory() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("store.redb"), 1).unwrap();
    let change = StoreChange::put(&record("hub", "x"));
    let StoreChange::Put(key, written) = &change else {
        unreachable!("it was put");
    };
    let (key, place) = (key.to_string(), written.written().as_ptr());
    store.change(|_| Ok((vec![change], ()))).unwrap();
    let state = store.read();
    let (_, stored) = state.stored(&key, None).next().unwrap();
    assert_eq!(stored.written().as_ptr(), place);
}
