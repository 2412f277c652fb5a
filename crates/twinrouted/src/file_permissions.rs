//! Definitions in files that hold secrets and that others may read: they are warned about, not refused, for such
//! files come from checkouts and config maps too, where rights are what they are.

use crate::auditing;
use crate::config::{LoadedConfig, SourceKind};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use twinroute_files::file_permissions::file_exposure;

/// What stands before a secret.
const SECRETS: [&str; 4] = [
    "SharedAccessKey=",
    "SharedAccessSignature=",
    "accessKey1",
    "deadLetterSecret",
];

/// What stands where the keys are an emulator's, which are none to hide.
const EMULATED: [&str; 3] = [
    "UseDevelopmentEmulator=true",
    "http://127.0.0.1",
    "http://localhost",
];

/// Warns once, if there are any. Blocks on the file system.
pub(crate) fn warn(definitions: &Path) {
    let found = files_open_to_others(definitions);
    if let Some((path, why)) = found.first() {
        tracing::warn!(file = %path.display(), files = found.len(), %why,
            "definitions hold secrets, and others may read them");
    }
}

/// The files, each with who else may read it.
fn files_open_to_others(definitions: &Path) -> Vec<(PathBuf, String)> {
    let mut folders = vec![definitions.to_owned()];
    folders.extend(within(&definitions.join("instances")));
    let mut files: Vec<PathBuf> = folders
        .iter()
        .flat_map(|folder| within(&folder.join("endpoints")))
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        })
        .collect();
    files.sort();
    files
        .into_iter()
        .filter_map(|path| {
            let why = file_exposure(&path, &fs::metadata(&path).ok()?)?.to_string();
            holds_secret(&fs::read_to_string(&path).ok()?).then_some((path, why))
        })
        .collect()
}

/// Warnings about folders of data that others can use. Those that twinroute makes are for its user alone; these were
/// made by somebody else. Blocks on the file system.
pub(crate) fn open_folders(loaded: &LoadedConfig) -> Vec<String> {
    let stores = loaded.config.table.source != SourceKind::Files;
    let store = stores.then(|| loaded.store_folder());
    let folders = [
        ("[journal]", loaded.journal_folder()),
        ("[management]", store),
        ("[audit]", auditing::folder(loaded)),
    ];
    let each = folders
        .into_iter()
        .filter_map(|(table, folder)| Some((table, folder?)));
    let warning = |(table, folder): (&str, PathBuf)| {
        let why = open_to_others(&fs::metadata(&folder).ok()?)?;
        let folder = folder.display();
        Some(format!(
            "{table}: the folder {folder} {why}; run: chmod 0700 {folder}"
        ))
    };
    each.filter_map(warning).collect()
}

/// What others may do in a folder, if anything.
fn open_to_others(metadata: &fs::Metadata) -> Option<String> {
    let mode = metadata.mode() & 0o7777;
    let who = match mode {
        mode if mode & 0o007 != 0 => "everybody",
        mode if mode & 0o070 != 0 => "its group",
        _ => return None,
    };
    let what = match mode & 0o022 {
        0 => "look into it",
        _ => "remove and replace its files",
    };
    Some(format!("has mode {mode:04o}, so {who} may {what}"))
}

/// What stands in a folder; nothing where there is none.
fn within(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

fn holds_secret(text: &str) -> bool {
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    has(&SECRETS) && !has(&EMULATED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn data_folder_open_to_others_is_warned_about() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("twinroute.toml");
        fs::write(&config, "[journal]\npath = 'data'\n").unwrap();
        let loaded = LoadedConfig::read(&config).unwrap();
        assert_eq!(open_folders(&loaded), [""; 0], "it is not there yet");
        let data = folder.path().join("data");
        fs::create_dir(&data).unwrap();
        for (mode, expect) in [
            (0o700, None),
            (
                0o755,
                Some("has mode 0755, so everybody may look into it; run: chmod 0700 "),
            ),
            (
                0o770,
                Some("has mode 0770, so its group may remove and replace its files;"),
            ),
        ] {
            fs::set_permissions(&data, fs::Permissions::from_mode(mode)).unwrap();
            let warnings = open_folders(&loaded);
            assert_eq!(
                warnings.len(),
                usize::from(expect.is_some()),
                "{warnings:?}"
            );
            let said = warnings.first().map(String::as_str).unwrap_or_default();
            assert!(said.contains(expect.unwrap_or_default()), "{said}");
        }
    }

    #[test]
    fn only_files_with_real_secrets_that_others_may_read_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let put = |file: &str, mode: u32, text: &str| {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        };
        let key = r#"{"properties":{"accessKey1":"a2V5"}}"#;
        put("endpoints/open.json", 0o644, key);
        put("endpoints/closed.json", 0o600, key);
        put("endpoints/README.md", 0o644, key);
        put("instances/two/endpoints/open.json", 0o604, key);
        put("endpoints/identity.json", 0o644, r#"{"properties":{}}"#);
        let emulated = r#"{"properties":{"TopicEndpoint":"http://127.0.0.1:1/","accessKey1":"a"}}"#;
        put("endpoints/emulated.json", 0o644, emulated);
        let found = files_open_to_others(folder.path());
        let files: Vec<_> = found
            .iter()
            .map(|(path, _)| path.strip_prefix(folder.path()).unwrap().to_str().unwrap())
            .collect();
        assert_eq!(
            files,
            ["endpoints/open.json", "instances/two/endpoints/open.json"]
        );
        assert!(found[0].1.contains("has mode 0644"), "{}", found[0].1);
        assert!(files_open_to_others(&folder.path().join("none")).is_empty());
    }
}
