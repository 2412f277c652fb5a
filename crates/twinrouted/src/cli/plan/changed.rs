//! The table after a change: that of a changed folder, or the one in use with what JSON files put in it.

use super::json_document::{JsonDefinitions, PutDefinition};
use crate::connect::azure_connect;
use anyhow::bail;
use std::path::{Path, PathBuf};
use twinroute_filter::{FilterOptions, RouteFilter};
use twinroute_model::endpoint::EndpointType;
use twinroute_model::event::EventLimits;
use twinroute_model::name::InstanceName;
use twinroute_model::words::hint;
use twinroute_outgoing::OutgoingConnections;
use twinroute_router::history::{ComparedTable, RouteSnapshot};
use twinroute_router::source::{
    DefinitionFault, DefinitionFaults, DefinitionFolder, Definitions, StraySettings,
};
use twinroute_sinks::published;

/// What is given as changed definitions.
pub(super) struct ChangedDefinitions<'a> {
    pub(super) paths: &'a [PathBuf],
    /// That of definitions which name none.
    pub(super) instance: Option<InstanceName>,
    pub(super) before: &'a ComparedTable,
}

impl ChangedDefinitions<'_> {
    /// The table after the change. Blocks on the file system.
    ///
    /// # Errors
    /// Everything that is wrong with the definitions.
    pub(super) fn table(&self) -> anyhow::Result<ComparedTable> {
        match self.paths {
            [folder] if folder.is_dir() => self.folder(folder),
            paths => match paths.iter().find(|path| path.is_dir()) {
                Some(folder) => bail!(
                    "{}: a folder stands for all definitions, so it is given alone",
                    folder.display()
                ),
                None => self.documents(),
            },
        }
    }

    fn folder(&self, path: &Path) -> anyhow::Result<ComparedTable> {
        let Some(instance) = &self.instance else {
            bail!(
                "there are several instances, or none: name that of the folder with --for-instance"
            );
        };
        let folder = DefinitionFolder::new(path, instance.clone());
        let definitions = Definitions {
            instances: folder.read()?,
            folder: Some(folder),
            strays: StraySettings::Warn,
            ..Definitions::default()
        };
        let bytes_max = EventLimits::default().event_bytes_max;
        let connector = azure_connect(None, &OutgoingConnections::of_environment()?, bytes_max)?;
        twinroute_router::check(&definitions, &connector)?;
        Ok(table_of(&definitions))
    }

    fn documents(&self) -> anyhow::Result<ComparedTable> {
        let (mut puts, mut faults) = (Vec::new(), Vec::new());
        for path in self.paths {
            match JsonDefinitions::read(path, self.instance.as_ref()) {
                Ok(found) => puts.extend(found.into_iter().map(|put| (path, put))),
                Err(found) => faults.extend(found),
            }
        }
        let mut table = self.before.clone();
        for (_, put) in &puts {
            if let PutDefinition::Endpoint(instance, name, kind) = put {
                let same = |known: &(String, String)| {
                    known.0.eq_ignore_ascii_case(instance) && known.1.eq_ignore_ascii_case(name)
                };
                table.destinations.retain(|known, _| !same(known));
                let name = (instance.clone(), name.clone());
                table
                    .destinations
                    .insert(name, published::destination(*kind));
            }
        }
        for (path, put) in puts {
            if let PutDefinition::Route(route) = put {
                let fault = fault_of(&table, &route);
                faults.extend(fault.map(|fault| in_file(path, fault)));
                put_route(&mut table, route);
            }
        }
        match faults.is_empty() {
            true => Ok(table),
            false => Err(DefinitionFaults(faults).into()),
        }
    }
}

fn put_route(table: &mut ComparedTable, route: RouteSnapshot) {
    let same = |known: &RouteSnapshot| {
        known.instance.eq_ignore_ascii_case(&route.instance) && known.route == route.route
    };
    match table.routes.iter_mut().find(|known| same(known)) {
        // With the spelling of the instance that is in use.
        Some(known) => {
            let instance = std::mem::take(&mut known.instance);
            *known = RouteSnapshot { instance, ..route };
        }
        None => table.routes.push(route),
    }
}

/// What keeps a route from being put. Where endpoints are not known, any may be there.
fn fault_of(table: &ComparedTable, route: &RouteSnapshot) -> Option<DefinitionFault> {
    let object = format!("route {}/{}", route.instance, route.route);
    if let Err(error) = RouteFilter::parse(&route.filter, &FilterOptions::default()) {
        return Some(DefinitionFault::new(object, error.render()));
    }
    let names: Vec<&str> = table
        .destinations
        .keys()
        .filter(|(instance, _)| instance.eq_ignore_ascii_case(&route.instance))
        .map(|(_, name)| name.as_str())
        .collect();
    let is_known = |name: &&str| name.eq_ignore_ascii_case(&route.endpoint);
    if names.is_empty() || names.iter().any(is_known) {
        return None;
    }
    let near = hint(&route.endpoint, names.iter().copied());
    let reason = format!("endpoint {} is not found{near}", route.endpoint);
    Some(DefinitionFault::new(object, reason))
}

fn in_file(path: &Path, mut fault: DefinitionFault) -> DefinitionFault {
    fault.file = Some(path.to_owned());
    fault
}

/// The table that definitions make.
pub(super) fn table_of(definitions: &Definitions) -> ComparedTable {
    let mut table = ComparedTable::default();
    for instance in &definitions.instances {
        let routes = instance.routes.iter().map(|route| RouteSnapshot {
            instance: instance.name.to_string(),
            route: route.id.to_string(),
            endpoint: route.endpoint_name.to_string(),
            filter: route.filter.clone(),
        });
        table.routes.extend(routes);
        for endpoint in &instance.endpoints {
            let name = (instance.name.to_string(), endpoint.name.to_string());
            add_destination(&mut table, name, endpoint.endpoint_type());
        }
    }
    table
}

/// Adds what is published of an endpoint's type; nothing where there is no such type.
pub(super) fn add_destination(
    table: &mut ComparedTable,
    name: (String, String),
    endpoint_type: &str,
) {
    if let Some(kind) = EndpointType::parse(endpoint_type) {
        let published = published::destination(kind);
        table.destinations.insert(name, published);
    }
}
