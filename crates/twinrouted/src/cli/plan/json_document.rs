//! Routes and endpoints in a JSON document, in the forms in which Azure's tools and twinroute's have them.
//!
//! A body by itself, a list of bodies, a list in `value` (what Azure's APIs answer) or in `resources` (ARM templates,
//! `twinroute management export`). Secrets are not read.

use serde_json::{Map, Value};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use twinroute_model::endpoint::EndpointType;
use twinroute_model::json::JsonDocument;
use twinroute_model::name::{EndpointName, InstanceName, RouteId};
use twinroute_model::words::hint;
use twinroute_router::history::RouteSnapshot;
use twinroute_router::source::DefinitionFault;

/// Bytes of a document.
const DOCUMENT_BYTES_MAX: u64 = 64 << 20;

/// What endpoints are.
const TYPES: [&str; 3] = [
    EndpointType::EventGrid.as_str(),
    EndpointType::EventHub.as_str(),
    EndpointType::ServiceBus.as_str(),
];

/// How deep templates may stand in each other.
const DEPTH_MAX: usize = 8;

/// A definition that would be put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PutDefinition {
    Route(RouteSnapshot),
    /// Its instance, its name and what it is.
    Endpoint(String, String, EndpointType),
}

/// The definitions of a document, while it is read.
pub(super) struct JsonDefinitions<'a> {
    file: &'a Path,
    found: Vec<PutDefinition>,
    faults: Vec<DefinitionFault>,
}

/// Where in a document a definition stands.
#[derive(Clone, Copy)]
struct DocumentPlace<'a> {
    /// That of definitions which name none.
    instance: Option<&'a str>,
    /// The name of a definition that has none.
    name: Option<&'a str>,
    depth: usize,
}

impl<'a> JsonDefinitions<'a> {
    /// Reads a file, or standard input where it is `-`. Blocks.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(super) fn read(
        file: &'a Path,
        instance: Option<&InstanceName>,
    ) -> Result<Vec<PutDefinition>, Vec<DefinitionFault>> {
        let mut reader = Self {
            file,
            found: Vec::new(),
            faults: Vec::new(),
        };
        let place = DocumentPlace {
            instance: instance.map(InstanceName::as_str),
            name: file.file_stem().and_then(|stem| stem.to_str()),
            depth: 0,
        };
        match content(file) {
            Ok(text) => reader.document(&text, place),
            Err(error) => reader.fault("", format!("cannot be read: {error}")),
        }
        match reader.faults.is_empty() {
            true => Ok(reader.found),
            false => Err(reader.faults),
        }
    }

    fn document(&mut self, text: &[u8], place: DocumentPlace<'_>) {
        match JsonDocument::read(text) {
            Ok(document) => {
                self.value(document.value(), place);
                if self.found.is_empty() && self.faults.is_empty() {
                    let reason = "holds neither a route (endpointName and filter) nor an endpoint \
                        (properties.endpointType)";
                    self.fault("", reason);
                }
            }
            Err(error) => {
                let mut fault = DefinitionFault::new("", format!("is not JSON: {error}"));
                fault.file = Some(self.file.to_owned());
                fault.line = error.place.map(|place| place.line);
                fault.column = error.place.map(|place| place.column);
                self.faults.push(fault);
            }
        }
    }

    fn value(&mut self, value: &Value, place: DocumentPlace<'_>) {
        if place.depth > DEPTH_MAX {
            return self.fault(
                "",
                format!("resources stand deeper than {DEPTH_MAX} levels"),
            );
        }
        let inside = DocumentPlace {
            name: None,
            depth: place.depth + 1,
            ..place
        };
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.value(item, inside)),
            Value::Object(members) => {
                self.definition(members, place);
                // Resources of an instance stand in it, those of a template at its top.
                let instance = ArmName::of(members).instance;
                let inside = DocumentPlace {
                    instance: instance.as_deref().or(place.instance),
                    ..inside
                };
                for list in ["value", "resources"] {
                    if let Some(items @ Value::Array(_)) = members.get(list) {
                        self.value(items, inside);
                    }
                }
            }
            _ => self.fault("", "must be an object or a list of objects"),
        }
    }

    /// Takes a definition; any other resource is none of ours.
    fn definition(&mut self, members: &Map<String, Value>, place: DocumentPlace<'_>) {
        let properties = members.get("properties").and_then(Value::as_object);
        let properties = properties.unwrap_or(members);
        let text = |member: &str| properties.get(member).and_then(Value::as_str);
        let (is_route, is_endpoint) = (
            properties.contains_key("endpointName"),
            properties.contains_key("endpointType"),
        );
        if !is_route && !is_endpoint {
            return;
        }
        let arm = ArmName::of(members);
        let kind = if is_route { "route" } else { "endpoint" };
        let Some(name) = arm.name.as_deref().or(place.name) else {
            return self.fault(kind, "has no name: give it `id` or `name`");
        };
        let object = format!("{kind} {name}");
        let Some(instance) = arm.instance.as_deref().or(place.instance) else {
            let reason =
                "says no instance, and there are several, or none: name one with --for-instance";
            return self.fault(&object, reason);
        };
        if [name, instance].iter().any(|word| word.starts_with('[')) {
            return self.fault(
                &object,
                "has a template expression as its name: expand it first",
            );
        }
        let known_name = match is_route {
            true => RouteId::new(name).map(drop),
            false => EndpointName::new(name).map(drop),
        };
        let known_name = known_name.and_then(|()| InstanceName::new(instance).map(drop));
        if let Err(error) = known_name {
            return self.fault(&object, error.to_string());
        }
        if is_endpoint {
            let word = text("endpointType").unwrap_or_default();
            let Some(kind) = EndpointType::parse(word) else {
                let near = hint(word, TYPES);
                let reason = format!("`endpointType` is none of {}{near}", TYPES.join(", "));
                return self.fault(&object, reason);
            };
            let (instance, name) = (instance.to_owned(), name.to_owned());
            return self
                .found
                .push(PutDefinition::Endpoint(instance, name, kind));
        }
        let (Some(endpoint), Some(filter)) = (text("endpointName"), text("filter")) else {
            return self.fault(
                &object,
                "`endpointName` and `filter` must be texts; `true` routes every event",
            );
        };
        self.found.push(PutDefinition::Route(RouteSnapshot {
            instance: instance.to_owned(),
            route: name.to_owned(),
            endpoint: endpoint.to_owned(),
            filter: filter.to_owned(),
        }));
    }

    fn fault(&mut self, object: &str, reason: impl Into<String>) {
        let mut fault = DefinitionFault::new(object, reason);
        fault.file = Some(self.file.to_owned());
        self.faults.push(fault);
    }
}

/// What a resource goes by.
#[derive(Debug, Default, PartialEq, Eq)]
struct ArmName {
    instance: Option<String>,
    name: Option<String>,
}

impl ArmName {
    /// By its `id`, which is a path in ARM and a name in the data plane, or its `name`, which has its parent's before
    /// it in templates.
    fn of(members: &Map<String, Value>) -> Self {
        let text = |member: &str| members.get(member).and_then(Value::as_str);
        if let Some(id) = text("id").filter(|id| id.starts_with('/')) {
            let mut parts = id.split('/');
            let is_instance = |part: &&str| part.eq_ignore_ascii_case("digitalTwinsInstances");
            let instance = parts.find(is_instance).and_then(|_| parts.next());
            return Self {
                instance: instance.map(str::to_owned),
                name: parts.nth(1).map(str::to_owned),
            };
        }
        let kind = text("type").unwrap_or_default();
        let is_instance = kind
            .rsplit('/')
            .next()
            .is_some_and(|last| last.eq_ignore_ascii_case("digitalTwinsInstances"));
        match text("id").or_else(|| text("name")) {
            Some(name) if is_instance => Self {
                instance: Some(name.to_owned()),
                name: None,
            },
            Some(name) => match name.split_once('/') {
                Some((instance, name)) => Self {
                    instance: Some(instance.to_owned()),
                    name: Some(name.to_owned()),
                },
                None => Self {
                    instance: None,
                    name: Some(name.to_owned()),
                },
            },
            None => Self::default(),
        }
    }
}

fn content(file: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut read =
        |input: &mut dyn Read| input.take(DOCUMENT_BYTES_MAX + 1).read_to_end(&mut bytes);
    match file == Path::new("-") {
        true => read(&mut std::io::stdin())?,
        false => read(&mut File::open(file)?)?,
    };
    if bytes.len() as u64 > DOCUMENT_BYTES_MAX {
        return Err(std::io::Error::other("it is larger than 64 MiB"));
    }
    Ok(bytes)
}

#[cfg(test)]
#[path = "json_document_tests.rs"]
mod tests;
