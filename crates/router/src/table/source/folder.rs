//! Definitions from a folder: one JSON body a file, in exactly the shape of Azure's APIs.
//!
//! `endpoints/<name>.json` and `routes/<id>.json` are the default instance's;
//! `instances/<instance>/endpoints/…` and `…/routes/…` those of others. `instance.json` beside them, where it is,
//! says from which networks the instance is reached.

use super::fault::{DefinitionFault, DefinitionFaults};
use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use twinroute_filter::{FilterOptions, RouteFilter};
use twinroute_model::endpoint::{self, Endpoint, FieldError};
use twinroute_model::instance::Instance;
use twinroute_model::json::JsonDocument;
use twinroute_model::json_place::{TextPlace, member_place};
use twinroute_model::name::{EndpointName, InstanceName, InvalidName, RouteId};
use twinroute_model::network::NetworkAccess;
use twinroute_model::route::{self, Route};

/// No definition is larger; Azure's limit for a request is 32 KB.
const FILE_BYTES_MAX: u64 = 256 << 10;

/// No folder has more; a mistyped path must not read a disk.
const FILES_MAX: usize = 100_000;

/// Warnings about files that are not read.
const UNREAD_MAX: usize = 20;

/// A folder of definitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefinitionFolder {
    root: PathBuf,
    default_instance: InstanceName,
}

impl DefinitionFolder {
    /// Definitions under `root`; what stands at its top belongs to `default_instance`.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>, default_instance: InstanceName) -> Self {
        Self {
            root: root.into(),
            default_instance,
        }
    }

    /// The folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Reads everything. Blocks on the file system.
    ///
    /// # Errors
    /// Everything that is wrong, not only the first.
    pub fn read(&self) -> Result<Vec<Instance>, DefinitionFaults> {
        let mut faults = Vec::new();
        if !self.root.is_dir() {
            let object = format!("folder {}", self.root.display());
            return Err(DefinitionFaults(vec![DefinitionFault::new(
                object,
                "is not there, or not a folder",
            )]));
        }
        let mut instances = vec![read_instance(
            &self.root,
            self.default_instance.clone(),
            &mut faults,
        )];
        for (name, path) in subfolders(&self.root.join("instances"), &mut faults) {
            match InstanceName::new(&name) {
                Ok(name) if instances.iter().any(|instance| instance.name == name) => {
                    faults.push(at(&path, &format!("instance {name}"), "is defined twice"));
                }
                Ok(name) => instances.push(read_instance(&path, name, &mut faults)),
                Err(error) => faults.push(at(&path, "", &error.to_string())),
            }
        }
        if faults.is_empty() {
            return Ok(instances);
        }
        // There will be no table to find these; they are named now, with all the rest.
        faults.extend(self.locate(DefinitionFaults(filter_faults(&instances))).0);
        Err(DefinitionFaults(faults))
    }

    /// Warnings about what looks like a definition and is not read: files in folders below `endpoints` and
    /// `routes`, files beside instances, other spellings of `.json`. Blocks on the file system.
    pub(crate) fn unread(&self) -> Vec<String> {
        let mut unread = Vec::new();
        let instances = self.root.join("instances");
        let mut bases = vec![self.root.clone()];
        for path in entries(&instances, &mut Vec::new()) {
            match path.is_dir() {
                true => bases.push(path),
                false if looks_like_json(&path) => {
                    unread.push(not_read(
                        &path,
                        "move it to `endpoints` or `routes` of its instance",
                    ));
                }
                false => {}
            }
        }
        for folder in bases
            .iter()
            .flat_map(|base| [base.join("endpoints"), base.join("routes")])
        {
            for path in entries(&folder, &mut Vec::new()) {
                if path.is_dir() {
                    let files = entries(&path, &mut Vec::new());
                    if let Some(file) = files.iter().find(|file| looks_like_json(file)) {
                        let way = format!("move it to {}", folder.display());
                        unread.push(not_read(file, &way));
                    }
                } else if looks_like_json(&path) && !is_json(&path) {
                    unread.push(not_read(&path, "let its name end in `.json`"));
                }
            }
        }
        unread.truncate(UNREAD_MAX);
        unread
    }

    /// The file that defines a route, for a message about it.
    fn route_file(&self, instance: &InstanceName, id: &RouteId) -> PathBuf {
        let base = if *instance == self.default_instance {
            self.root.clone()
        } else {
            self.root.join("instances").join(instance.as_str())
        };
        base.join("routes").join(format!("{id}.json"))
    }

    /// Adds file and place to faults that the table found in routes.
    pub(crate) fn locate(&self, faults: DefinitionFaults) -> DefinitionFaults {
        let locate = |mut fault: DefinitionFault| {
            let object = fault.object.clone();
            let parts = object
                .strip_prefix("route ")
                .and_then(|rest| rest.split_once('/'));
            if let Some((instance, id)) = parts
                && let (Ok(instance), Ok(id)) = (InstanceName::new(instance), RouteId::new(id))
            {
                let file = self.route_file(&instance, &id);
                let member = if fault.reason.starts_with("endpoint ") {
                    "endpointName"
                } else {
                    "filter"
                };
                let text = fs::read_to_string(&file).ok();
                let place = text.map(|text| member_place(&text, member));
                fault = placed(fault, place);
                fault.file = Some(file);
            }
            fault
        };
        DefinitionFaults(faults.0.into_iter().map(locate).collect())
    }
}

fn filter_faults(instances: &[Instance]) -> Vec<DefinitionFault> {
    let mut faults = Vec::new();
    for instance in instances {
        for route in &instance.routes {
            if let Err(error) = RouteFilter::parse(&route.filter, &FilterOptions::default()) {
                let object = format!("route {}/{}", instance.name, route.id);
                faults.push(DefinitionFault::new(object, error.render()));
            }
        }
    }
    faults
}

fn read_instance(folder: &Path, name: InstanceName, faults: &mut Vec<DefinitionFault>) -> Instance {
    let endpoints = read_all(
        &folder.join("endpoints"),
        "endpoint",
        EndpointName::new,
        endpoint::parse,
        |endpoint: &Endpoint| endpoint.name.as_str().to_ascii_lowercase(),
        faults,
    );
    let routes = read_all(
        &folder.join("routes"),
        "route",
        RouteId::new,
        route::parse,
        |route: &Route| route.id.to_string(),
        faults,
    );
    let network = read_network(&folder.join("instance.json"), faults);
    Instance {
        name,
        endpoints,
        routes,
        network,
    }
}

/// From which networks an instance is reached: from everywhere, where no file says.
fn read_network(path: &Path, faults: &mut Vec<DefinitionFault>) -> NetworkAccess {
    let text = match read_file(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return NetworkAccess::default(),
        Err(error) => {
            faults.push(at(path, "", &error.to_string()));
            return NetworkAccess::default();
        }
    };
    NetworkAccess::parse(&text).unwrap_or_else(|errors| {
        faults.extend(errors.into_iter().map(|error| {
            let fault = at(path, "instance", &error.to_string());
            placed(fault, Some(member_place(&text, &error.field)))
        }));
        NetworkAccess::default()
    })
}

/// Reads every JSON file of a folder as one kind of definition.
fn read_all<Name, Item>(
    folder: &Path,
    kind: &str,
    name: impl Fn(&str) -> Result<Name, InvalidName>,
    parse: impl Fn(&Name, &str) -> Result<Item, Vec<FieldError>>,
    key: impl Fn(&Item) -> String,
    faults: &mut Vec<DefinitionFault>,
) -> Vec<Item> {
    let mut items = Vec::new();
    let mut seen: HashMap<String, PathBuf> = HashMap::new();
    // All faults of all files are collected: whoever fixes them sees them at once.
    for (stem, path) in json_files(folder, faults) {
        let object = format!("{kind} {stem}");
        let name = match name(&stem) {
            Ok(name) => name,
            Err(error) => {
                faults.push(at(&path, "", &error.to_string()));
                continue;
            }
        };
        let text = match read_file(&path) {
            Ok(text) => text,
            Err(error) => {
                faults.push(at(&path, &object, &error.to_string()));
                continue;
            }
        };
        if let Err(error) = JsonDocument::read(text.as_bytes()) {
            let fault = at(&path, &object, &format!("is not JSON: {error}"));
            faults.push(placed(fault, error.place));
            continue;
        }
        match parse(&name, &text) {
            Ok(item) => {
                if let Some(other) = seen.insert(key(&item), path.clone()) {
                    let reason = format!("has the name of {}; names ignore case", other.display());
                    faults.push(at(&path, &object, &reason));
                }
                items.push(item);
            }
            Err(errors) => faults.extend(errors.into_iter().map(|error| {
                let fault = at(&path, &object, &error.to_string());
                placed(fault, Some(member_place(&text, &error.field)))
            })),
        }
    }
    items
}

fn not_read(path: &Path, way_out: &str) -> String {
    format!("{}: is not read: {way_out}, or rename it", path.display())
}

fn is_json(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "json")
}

/// Whether somebody may take a file for a definition.
fn looks_like_json(path: &Path) -> bool {
    path.extension()
        .is_some_and(|end| end.eq_ignore_ascii_case("json"))
        && !path.is_dir()
}

fn at(path: &Path, object: &str, reason: &str) -> DefinitionFault {
    DefinitionFault {
        file: Some(path.to_owned()),
        ..DefinitionFault::new(object, reason)
    }
}

fn placed(fault: DefinitionFault, place: Option<TextPlace>) -> DefinitionFault {
    DefinitionFault {
        line: place.map(|place| place.line),
        column: place.map(|place| place.column),
        ..fault
    }
}

fn read_file(path: &Path) -> io::Result<String> {
    let bytes = fs::metadata(path)?.len();
    if bytes > FILE_BYTES_MAX {
        let text = format!("has {bytes} bytes; the limit is {FILE_BYTES_MAX}");
        return Err(io::Error::other(text));
    }
    fs::read_to_string(path).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => {
            io::Error::new(error.kind(), "is not UTF-8 text: save it as UTF-8")
        }
        _ => error,
    })
}

/// Files `<stem>.json` of a folder, by stem. A folder that is not there has none.
///
/// Hidden files are skipped: Kubernetes and editors keep theirs beside ours.
fn json_files(folder: &Path, faults: &mut Vec<DefinitionFault>) -> Vec<(String, PathBuf)> {
    let mut files = Vec::new();
    for path in entries(folder, faults)
        .into_iter()
        .filter(|path| is_json(path))
    {
        match found(&path) {
            Ok(None) => continue,
            Ok(Some(found)) if found.is_file() => {}
            // What is not read counts as absent, and what is absent is removed: never by a link that leads nowhere.
            Ok(Some(_)) => {
                faults.push(at(&path, "", "is not a file; remove or rename it"));
                continue;
            }
            Err(error) => {
                faults.push(at(&path, "", &format!("cannot be read: {error}")));
                continue;
            }
        }
        if let Some(stem) = path.file_stem().and_then(|stem| stem.to_str()) {
            files.push((stem.to_owned(), path));
        }
    }
    files
}

/// What stands at a path, along links; nothing when it was removed since its folder was read.
fn found(path: &Path) -> io::Result<Option<fs::Metadata>> {
    match fs::metadata(path) {
        Ok(found) => Ok(Some(found)),
        Err(_)
            if fs::symlink_metadata(path)
                .is_err_and(|error| error.kind() == io::ErrorKind::NotFound) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn subfolders(folder: &Path, faults: &mut Vec<DefinitionFault>) -> Vec<(String, PathBuf)> {
    let mut folders = Vec::new();
    for path in entries(folder, faults) {
        match found(&path) {
            Ok(Some(found)) if found.is_dir() => {}
            Ok(_) => continue,
            Err(error) => {
                faults.push(at(&path, "", &format!("cannot be read: {error}")));
                continue;
            }
        }
        if let Some(name) = path.file_name().and_then(|name| name.to_str()) {
            folders.push((name.to_owned(), path));
        }
    }
    folders
}

fn entries(folder: &Path, faults: &mut Vec<DefinitionFault>) -> Vec<PathBuf> {
    let read = match fs::read_dir(folder) {
        Ok(read) => read,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            faults.push(at(folder, "", &format!("cannot be read: {error}")));
            return Vec::new();
        }
    };
    let visible = |path: &PathBuf| {
        path.file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| !name.starts_with('.'))
    };
    let mut paths = Vec::new();
    for entry in read.take(FILES_MAX + 1) {
        match entry {
            Ok(entry) => paths.push(entry.path()),
            Err(error) => faults.push(at(folder, "", &format!("cannot be read: {error}"))),
        }
    }
    paths.retain(visible);
    if paths.len() > FILES_MAX {
        faults.push(at(folder, "", &format!("has more than {FILES_MAX} files")));
    }
    paths.sort();
    paths
}

#[cfg(test)]
#[path = "folder_tests.rs"]
mod tests;
