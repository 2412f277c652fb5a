//! A published API: its operations, and the example files that belong to them.

use super::schema::SchemaDefinitions;
use anyhow::{Context as _, bail, ensure};
use jsonschema::Validator;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// One API of the published definitions.
pub(super) struct PublishedApi {
    /// Folder of the API below the folder of all specs.
    pub(super) name: String,
    document: Value,
    definitions: SchemaDefinitions,
    folder: PathBuf,
}

/// An example file with the operation that it is of.
#[derive(Debug)]
pub(super) struct SpecExample {
    /// File name without its ending.
    pub(super) name: String,
    pub(super) operation: SpecOperation,
    pub(super) parameters: Value,
    /// By status.
    pub(super) responses: BTreeMap<u16, ExpectedAnswer>,
}

/// What the example says is answered with one status.
#[derive(Clone, Debug, Default)]
pub(super) struct ExpectedAnswer {
    /// Names in lower case.
    pub(super) headers: Vec<String>,
    pub(super) body: Option<Value>,
}

/// One operation.
#[derive(Clone, Debug)]
pub(super) struct SpecOperation {
    pub(super) id: String,
    /// In upper case.
    pub(super) method: String,
    /// With names in braces.
    pub(super) path: String,
    /// Name and place (`path`, `query`, `header`, `body`).
    pub(super) parameters: Vec<(String, String)>,
    /// Schemas by status or `default`; null where there is no body.
    schemas: BTreeMap<String, Value>,
}

impl PublishedApi {
    /// Reads `DIR/NAME/FILE`.
    ///
    /// # Errors
    /// The file is missing or is no JSON.
    pub(super) fn load(specs: &Path, name: &str, file: &str) -> anyhow::Result<Self> {
        let folder = specs.join(name);
        let document = read(&folder.join(file))?;
        let common = read(&specs.join("common-types/resource-management/v2/types.json"))?;
        Ok(Self {
            name: name.to_owned(),
            definitions: SchemaDefinitions::new(&document, &common),
            document,
            folder,
        })
    }

    /// All example files, in the order of their names.
    ///
    /// # Errors
    /// A file is no JSON, or no operation names it.
    pub(super) fn examples(&self) -> anyhow::Result<Vec<SpecExample>> {
        let folder = self.folder.join("examples");
        let entries = std::fs::read_dir(&folder).with_context(|| missing(&folder))?;
        let mut files = Vec::new();
        for entry in entries {
            files.push(entry?.path());
        }
        files.sort();
        ensure!(!files.is_empty(), "no examples in {}", folder.display());
        let files = files.iter().map(|file| self.example(file));
        files.collect()
    }

    fn example(&self, file: &Path) -> anyhow::Result<SpecExample> {
        let stem = file.file_stem().unwrap_or_default().to_string_lossy();
        let content = read(file)?;
        let name = format!("{stem}.json");
        let operation = self.operation(&name)?;
        let mut responses = BTreeMap::new();
        for (status, response) in content["responses"].as_object().into_iter().flatten() {
            let headers = response["headers"].as_object().into_iter().flatten();
            let expected = ExpectedAnswer {
                headers: headers.map(|(name, _)| name.to_ascii_lowercase()).collect(),
                body: response.get("body").cloned(),
            };
            responses.insert(status.parse()?, expected);
        }
        Ok(SpecExample {
            name: stem.into_owned(),
            operation,
            parameters: content["parameters"].clone(),
            responses,
        })
    }

    /// The operation whose `x-ms-examples` name a file.
    fn operation(&self, file: &str) -> anyhow::Result<SpecOperation> {
        for (path, item) in self.document["paths"].as_object().into_iter().flatten() {
            for (method, operation) in item.as_object().into_iter().flatten() {
                let examples = operation["x-ms-examples"].as_object().into_iter().flatten();
                let mut files = examples.filter_map(|(_, example)| example["$ref"].as_str());
                if files.any(|name| name.rsplit('/').next() == Some(file)) {
                    return self.read_operation(path, method, operation, &item["parameters"]);
                }
            }
        }
        bail!("{file}: no operation of {} names this example", self.name)
    }

    fn read_operation(
        &self,
        path: &str,
        method: &str,
        operation: &Value,
        shared: &Value,
    ) -> anyhow::Result<SpecOperation> {
        let own = operation["parameters"].as_array().into_iter().flatten();
        let shared = shared.as_array().into_iter().flatten();
        let parameters = own.chain(shared).map(|parameter| {
            let parameter = match parameter["$ref"].as_str() {
                Some(reference) => self.resolve(reference)?,
                None => parameter,
            };
            let text = |member: &str| {
                let text = parameter[member].as_str().map(str::to_owned);
                text.with_context(|| format!("a parameter of {path} has no {member}"))
            };
            Ok((text("name")?, text("in")?))
        });
        let responses = operation["responses"].as_object().into_iter().flatten();
        Ok(SpecOperation {
            id: operation["operationId"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            method: method.to_ascii_uppercase(),
            path: path.to_owned(),
            parameters: parameters.collect::<anyhow::Result<_>>()?,
            schemas: responses
                .map(|(status, response)| (status.clone(), response["schema"].clone()))
                .collect(),
        })
    }

    fn resolve(&self, reference: &str) -> anyhow::Result<&Value> {
        let pointer = reference.strip_prefix('#');
        let found = pointer.and_then(|pointer| self.document.pointer(pointer));
        found.with_context(|| format!("{reference} is not in {}", self.name))
    }

    /// What a body of a status is to look like; nothing where there is none.
    ///
    /// # Errors
    /// The operation lists no such status, or the schema cannot be used.
    pub(super) fn validator(
        &self,
        operation: &SpecOperation,
        status: &str,
    ) -> anyhow::Result<Option<Validator>> {
        let schema = operation.schemas.get(status);
        let schema =
            schema.with_context(|| format!("{} lists no status {status}", operation.id))?;
        match schema {
            Value::Null => Ok(None),
            schema => self.definitions.validator(schema).map(Some),
        }
    }

    /// A validator for one definition.
    ///
    /// # Errors
    /// The schema cannot be used.
    pub(super) fn definition(&self, name: &str) -> anyhow::Result<Validator> {
        let reference = json!({ "$ref": format!("#/definitions/{name}") });
        self.definitions.validator(&reference)
    }
}

fn read(file: &Path) -> anyhow::Result<Value> {
    let text = std::fs::read_to_string(file).with_context(|| missing(file))?;
    serde_json::from_str(&text).with_context(|| format!("{} is no JSON", file.display()))
}

fn missing(path: &Path) -> String {
    format!(
        "cannot read {}; --specs names the folder with the published API definitions",
        path.display()
    )
}
