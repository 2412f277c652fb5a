//! Another key for what is stored: each step can be interrupted, and asking again goes on from there.
//!
//! The new key is on disk before anything is sealed with it, and the old one until nothing needs it.

use crate::auditing;
use crate::config::{LoadedConfig, SourceKind};
use crate::keys;
use crate::paths;
use anyhow::{Context as _, bail};
use std::path::PathBuf;
use twinroute_arm::source::SavedFile;
use twinroute_audit::AuditedChange;
use twinroute_credential::key_file::KeyRotation;
use twinroute_journal::storage::FolderStorage;
use twinroute_journal::{KEYS, reseal};
use twinroute_management::ManagementServer;
use twinroute_model::seal::SealKey;
use twinroute_router::LastDefinitions;

/// What was done.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct RotationResult {
    /// Values of the store; nothing where there is no store.
    pub(crate) values: Option<usize>,
    /// Whether a saved listing of Azure was sealed again.
    pub(crate) saved: bool,
    /// Whether last definitions of endpoints were sealed again.
    pub(crate) last: bool,
    /// Whether the journal's keys were sealed again.
    pub(crate) journal: bool,
    /// Where the old key is now; nothing where keys stand in variables.
    pub(crate) old_key: Option<PathBuf>,
}

/// The steps, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RotationStep {
    /// Both keys are on disk, or in variables.
    Keys,
    /// The store is sealed with the new one.
    Store,
    /// So is the saved listing.
    Saved,
    /// So are the last definitions of endpoints.
    Last,
    /// So are the keys of the journal's events.
    Journal,
    /// The new key is in its place.
    Done,
}

const STEPS: [RotationStep; 6] = [
    RotationStep::Keys,
    RotationStep::Store,
    RotationStep::Saved,
    RotationStep::Last,
    RotationStep::Journal,
    RotationStep::Done,
];

/// Seals what is stored with another key; `variable` holds it where `key_variable` holds the present one. Stops
/// behind `last`, which is [`RotationStep::Done`] but for tests. Blocks on the disk.
pub(crate) fn run(
    loaded: &LoadedConfig,
    variable: Option<&str>,
    last: RotationStep,
) -> anyhow::Result<RotationResult> {
    let _alone = keys::change_key(loaded)?;
    let audit = auditing::open(loaded)?;
    let keys = RotationKeys::of(loaded, variable)?;
    let folder = loaded.store_folder().display().to_string();
    audit.accept(
        &auditing::author(),
        &[AuditedChange::step("store/rotate-key", folder)],
    )?;
    let mut rotated = RotationResult::default();
    for step in STEPS.into_iter().take_while(|step| *step <= last) {
        let (old, new) = keys.both();
        match step {
            // They are there.
            RotationStep::Keys => {}
            RotationStep::Store => rotated.values = store(loaded, old, new)?,
            RotationStep::Saved => rotated.saved = saved(loaded, old, new)?,
            RotationStep::Last => rotated.last = last_definitions(loaded, old, new)?,
            RotationStep::Journal => rotated.journal = journal(loaded, old, new)?,
            RotationStep::Done => {
                if let RotationKeys::Files(rotation) = &keys {
                    rotated.old_key = Some(rotation.finish()?);
                }
            }
        }
    }
    Ok(rotated)
}

fn store(loaded: &LoadedConfig, old: &SealKey, new: &SealKey) -> anyhow::Result<Option<usize>> {
    let store = paths::store_file(loaded);
    if !store.exists() {
        return Ok(None);
    }
    let resealed = ManagementServer::reseal(&store, old, new);
    resealed.map(Some).context("[management]")
}

fn saved(loaded: &LoadedConfig, old: &SealKey, new: &SealKey) -> anyhow::Result<bool> {
    if loaded.config.table.source != SourceKind::Azure {
        return Ok(false);
    }
    let saved = SavedFile {
        path: paths::saved_file(loaded),
        key: old.clone(),
    };
    let resealed = saved.reseal(&loaded.azure(), new);
    resealed.with_context(|| saved.path.display().to_string())
}

fn last_definitions(loaded: &LoadedConfig, old: &SealKey, new: &SealKey) -> anyhow::Result<bool> {
    let Some(path) = paths::last_definitions_file(loaded) else {
        return Ok(false);
    };
    let key = old.clone();
    let file = LastDefinitions { path, key };
    let resealed = file.reseal(new);
    resealed.with_context(|| file.path.display().to_string())
}

/// The journal makes another key for its events at the next start by itself.
fn journal(loaded: &LoadedConfig, old: &SealKey, new: &SealKey) -> anyhow::Result<bool> {
    let folder = loaded.journal_folder();
    let Some(folder) = folder.filter(|folder| folder.join(KEYS).exists()) else {
        return Ok(false);
    };
    let storage = FolderStorage::existing(&folder).with_context(|| folder.display().to_string())?;
    reseal(&storage, old, new).context("[journal]")
}

enum RotationKeys {
    Files(Box<KeyRotation>),
    Variables(Box<SealKey>, Box<SealKey>),
}

impl RotationKeys {
    /// Makes the new key, where keys are in files.
    fn of(loaded: &LoadedConfig, variable: Option<&str>) -> anyhow::Result<Self> {
        let present = &loaded.config.management.key_variable;
        let of_variable = |name| keys::key_of_variable(name).map(Box::new);
        match (present.as_str(), variable) {
            ("", None) => {
                let rotation = KeyRotation::begin(&paths::key_file(loaded))?;
                Ok(Self::Files(Box::new(rotation)))
            }
            ("", Some(_)) => bail!(
                "the key is in a file, and a new one is made beside it: leave --new-key-variable out"
            ),
            (present, Some(new)) => Ok(Self::Variables(of_variable(present)?, of_variable(new)?)),
            (present, None) => bail!(
                "the key is in the variable {present}: name one that holds the new key with \
                 --new-key-variable"
            ),
        }
    }

    /// The old and the new one.
    fn both(&self) -> (&SealKey, &SealKey) {
        match self {
            Self::Files(rotation) => (&rotation.old, &rotation.new),
            Self::Variables(old, new) => (old, new),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connect::azure_connect;
    use crate::daemon;
    use crate::management;
    use std::fs;
    use std::path::Path;
    use std::sync::Arc;
    use std::time::Duration;
    use twinroute_audit::ChangeAuthor;
    use twinroute_journal::{DiskJournal, NewEvent, RecoveredJournal};
    use twinroute_management::{ExistingResources, ExportedSecrets};
    use twinroute_model::clock::SystemClock;
    use twinroute_model::event::{EventLimits, EventParts};
    use twinroute_model::name::{EndpointName, InstanceName};
    use twinroute_router::source::Definitions;
    use twinroute_router::trace::SpanQueue;

    const KEY: &str = "bWFya2VkLWtleQ==";

    fn loaded(folder: &Path) -> LoadedConfig {
        let file = folder.join("twinroute.toml");
        let text = "instance = 'plant'\n[table]\nsource = 'store'\n[journal]\npath = 'data'\n\
                    segment_bytes = '1MiB'\n";
        fs::write(&file, text).unwrap();
        LoadedConfig::read(&file).unwrap()
    }

    fn document() -> serde_json::Value {
        let plant = "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/rg/providers/\
                     Microsoft.DigitalTwins/digitalTwinsInstances/plant";
        serde_json::json!({ "resources": [
            { "id": plant, "location": "westus2" },
            { "id": format!("{plant}/endpoints/grid-1"), "properties": {
                "endpointType": "EventGrid", "TopicEndpoint": "https://t.example/api/events",
                "accessKey1": KEY, "accessKey2": KEY } },
        ] })
    }

    async fn fill(loaded: &LoadedConfig) {
        let management = management::offline(loaded).unwrap();
        let author = ChangeAuthor::command("command", "tests");
        let imported = management
            .import(&document(), ExistingResources::Keep, &author)
            .await;
        imported.unwrap();
    }

    /// What a daemon leaves beside its journal.
    async fn run_once(loaded: &LoadedConfig) {
        let outgoing = loaded.outgoing().unwrap();
        let endpoints = Arc::new(azure_connect(None, &outgoing, 1 << 20).unwrap());
        let definitions = Definitions {
            instances: management::offline(loaded).unwrap().instances(),
            ..Definitions::default()
        };
        let router =
            daemon::built(loaded, &endpoints, definitions, SpanQueue::default(), None).unwrap();
        assert_eq!(router.status().table.warnings, [""; 0]);
        router.stop(Duration::ZERO).await;
    }

    fn secrets(loaded: &LoadedConfig) -> String {
        let management = management::offline(loaded).unwrap();
        management.export(ExportedSecrets::Revealed).to_string()
    }

    #[tokio::test]
    async fn interrupted_behind_any_step_it_goes_on_and_loses_nothing() {
        for step in STEPS {
            let folder = tempfile::tempdir().unwrap();
            let loaded = loaded(folder.path());
            fill(&loaded).await;
            let before = secrets(&loaded);
            run_once(&loaded).await;
            let last = paths::last_definitions_file(&loaded).unwrap();
            let last_before = fs::read(&last).unwrap();
            assert!(last_before.len() > 100);
            assert!(before.contains(KEY));
            let old = fs::read(paths::key_file(&loaded)).unwrap();
            run(&loaded, None, step).unwrap();
            if step < RotationStep::Done {
                let error = management::offline(&loaded).err().unwrap();
                let message = format!("{error:#}");
                assert!(message.contains("rotate-key"), "{step:?}: {message}");
                let rotated = run(&loaded, None, RotationStep::Done).unwrap();
                let values = rotated.values.unwrap();
                assert!(values > 2, "{rotated:?}");
            }
            assert_eq!(secrets(&loaded), before, "{step:?}");
            assert_ne!(fs::read(paths::key_file(&loaded)).unwrap(), old);
            // The last definitions open with the new key: nothing is wrong, and nothing has to be written.
            let last_after = fs::read(&last).unwrap();
            assert_ne!(last_after, last_before, "{step:?}");
            run_once(&loaded).await;
            assert_eq!(fs::read(&last).unwrap(), last_after, "{step:?}");
            let kept = loaded.store_folder().join("store.key.old");
            assert_eq!(fs::read(&kept).unwrap(), old);
            // The store does not open with the old key any more.
            fs::copy(&kept, paths::key_file(&loaded)).unwrap();
            let error = management::offline(&loaded).err().unwrap();
            assert!(format!("{error:#}").contains("another key"), "{error:#}");
        }
    }

    fn journal(loaded: &LoadedConfig) -> anyhow::Result<(DiskJournal, RecoveredJournal)> {
        let folder = loaded.journal_folder().unwrap();
        let sealing = keys::sealing(loaded, &folder)?;
        let storage = Arc::new(FolderStorage::create(&folder)?);
        let settings = loaded.config.journal.settings();
        let opened = DiskJournal::open_sealed(settings, storage, Arc::new(SystemClock), &sealing);
        Ok(opened?)
    }

    fn append(disk: &DiskJournal) -> u64 {
        let endpoint = EndpointName::new("hub").unwrap();
        let lane = disk.bind(&InstanceName::new("plant").unwrap(), &endpoint);
        let parts = EventParts::new("1", "s", "t").json("\"marked\"");
        let event = parts.build(&EventLimits::default()).unwrap();
        let (twin, lanes) = (7, vec![lane]);
        let appended = disk.append(vec![NewEvent { event, twin, lanes }]).unwrap();
        appended.durable.wait().unwrap();
        appended.entries[0].sequence
    }

    #[test]
    fn a_sealed_journal_follows_the_key_and_is_refused_without_it() {
        for step in STEPS {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("twinroute.toml");
            fs::write(&file, "[journal]\npath = 'events'\nseal = true\n").unwrap();
            let loaded = LoadedConfig::read(&file).unwrap();
            let (disk, _) = journal(&loaded).unwrap();
            let sequence = append(&disk);
            // A journal that is open keeps its keys.
            let done = run(&loaded, None, step).is_ok();
            assert_eq!(done, step < RotationStep::Journal, "{step:?}");
            drop(disk);
            run(&loaded, None, step).unwrap();
            if step < RotationStep::Done {
                let message = format!("{:#}", journal(&loaded).unwrap_err());
                assert!(message.contains("rotate-key"), "{step:?}: {message}");
                run(&loaded, None, RotationStep::Done).unwrap();
            }
            let (disk, recovered) = journal(&loaded).unwrap();
            assert!(recovered.report.is_whole());
            assert_eq!(disk.read(&[sequence]).remove(0).unwrap().id(), "1");
            drop(disk);
            // Neither the old key nor a new one, and none is made.
            let key = paths::key_file(&loaded);
            let kept = key.with_file_name("store.key.old");
            fs::rename(&kept, &key).unwrap();
            let message = format!("{:#}", journal(&loaded).unwrap_err());
            assert!(message.contains("sealed with another key"), "{message}");
            fs::remove_file(&key).unwrap();
            let message = format!("{:#}", journal(&loaded).unwrap_err());
            assert!(message.contains("bring it back"), "{message}");
            assert!(!key.exists());
        }
    }

    #[tokio::test]
    async fn a_store_that_is_in_use_keeps_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let loaded = loaded(folder.path());
        fill(&loaded).await;
        let held = management::offline(&loaded).unwrap();
        let error = run(&loaded, None, RotationStep::Done).unwrap_err();
        let message = format!("{error:#}");
        assert!(message.contains("another process has it open"), "{message}");
        drop(held);
        run(&loaded, None, RotationStep::Done).unwrap();
        assert!(secrets(&loaded).contains(KEY));
    }

    #[test]
    fn a_daemon_that_runs_keeps_its_key_whatever_its_source() {
        let azure = "source = 'azure'\n[azure]\nsubscription = '11111111-1111-1111-1111-111111111111'\n\
                     resource_group = 'rg'\ninstance = 'plant'";
        for source in ["source = 'files'", "source = 'store'", azure] {
            for journal in ["", "\n[journal]\npath = 'data'"] {
                let folder = tempfile::tempdir().unwrap();
                let file = folder.path().join("twinroute.toml");
                fs::write(&file, format!("[table]\n{source}{journal}")).unwrap();
                let loaded = LoadedConfig::read(&file).unwrap();
                let used = keys::use_key(&loaded).unwrap();
                if source.contains("files") && journal.is_empty() {
                    assert!(used.is_none(), "nothing is sealed there");
                    continue;
                }
                keys::key(&loaded).unwrap();
                let also = keys::use_key(&loaded).unwrap();
                for held in [used, also] {
                    let error = run(&loaded, None, RotationStep::Done).unwrap_err();
                    let message = format!("{error:#}");
                    assert!(
                        message.contains("a twinroute that runs uses the key; stop it"),
                        "{message}"
                    );
                    drop(held);
                }
                let changing = keys::change_key(&loaded).unwrap();
                let error = keys::use_key(&loaded).unwrap_err();
                assert!(
                    format!("{error:#}").contains("is being changed"),
                    "{error:#}"
                );
                drop(changing);
                run(&loaded, None, RotationStep::Done).unwrap();
            }
        }
    }
}
