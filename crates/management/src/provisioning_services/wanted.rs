//! What a PUT of a service asks for.
//!
//! Source: Microsoft.Devices 2022-12-12, `ProvisioningServiceDescription`. What is new in 2026-11-01 is
//! taken with every version. Members that are the server's own are skipped: clients send back what they have read.
//! Those that nobody knows are kept and shown again.

use super::policies::{self, KeyPolicy};
use super::{hubs, namespaces};
use crate::arm::error::{Error, ServiceRefusal};
use crate::arm::id::ResourceId;
use crate::arm::identity;
use crate::arm::json::ArmObject;
use crate::arm::names;
use crate::store::masks::KeptSecrets;
use crate::store::record::{ResourceRecord, tags};
use crate::store::unknown::UnknownMembers;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use twinroute_listen::{IpMask, MaskError};
use twinroute_model::secret::Secret;

/// The one that is published.
pub(super) const SKU: &str = "S1";

const ALLOCATIONS: &[&str] = &["Hashed", "GeoLatency", "Static"];
const ACCESS: &[&str] = &["Enabled", "Disabled"];
const ACTIONS: &[&str] = &["Accept", "Reject"];
const TARGETS: &[&str] = &["all", "serviceApi", "deviceApi"];

/// IP filter rules of one service.
const RULES_MAX: usize = 100;

/// Characters of a rule's name.
const RULE_NAME_MAX: usize = 128;

/// Characters of a host name.
const HOST_MAX: usize = 253;

/// What is asked for.
#[derive(Debug)]
pub(super) struct WantedService {
    pub(super) location: Option<String>,
    /// In the body, where the service's etag may stand.
    pub(super) etag: Option<String>,
    pub(super) policies: Option<Vec<KeyPolicy>>,
    tags: Value,
    sku: Value,
    residency: Option<bool>,
    properties: Map<String, Value>,
    identity: Option<Value>,
    secrets: BTreeMap<String, Secret>,
    /// Secrets of the service that is there, which the body names by their masks.
    pub(super) kept: KeptSecrets,
    unknown: UnknownMembers,
}

/// Members beside `properties`: what the server says itself is sent back by clients.
const TOP: &[&str] = &[
    "etag",
    "id",
    "identity",
    "location",
    "name",
    "properties",
    "resourcegroup",
    "sku",
    "subscriptionid",
    "systemData",
    "tags",
    "type",
];

const PROPERTIES: &[&str] = &[
    "allocationPolicy",
    "authorizationPolicies",
    "deviceProvisioningHostName",
    "deviceRegistryNamespaces",
    "disableLocalAuth",
    "enableDataResidency",
    "idScope",
    "iotHubs",
    "ipFilterRules",
    "portalOperationsHostName",
    "privateEndpointConnections",
    "provisioningState",
    "publicNetworkAccess",
    "serviceOperationsHostName",
    "state",
];

const SKU_MEMBERS: &[&str] = &["capacity", "name", "tier"];
const RULE: &[&str] = &["action", "filterName", "ipMask", "target"];

/// Reads a body; masks keep secrets of `present`, the service that is there.
///
/// # Errors
/// The first member that is wrong, by its path.
pub(super) fn read(
    body: &ArmObject<'_>,
    id: &ResourceId,
    present: Option<&ResourceRecord>,
) -> Result<WantedService, Error> {
    let location = body.text("location")?.map(names::location).transpose()?;
    let given = body.object("properties")?;
    if !given.is_there() {
        return Err(body.missing("properties"));
    }
    let mut properties = Map::new();
    let mut set = |member: &str, value: Value| drop(properties.insert(member.to_owned(), value));
    let allocation = given.word("allocationPolicy", ALLOCATIONS)?;
    set("allocationPolicy", allocation.unwrap_or("Hashed").into());
    let access = given.word("publicNetworkAccess", ACCESS)?;
    set("publicNetworkAccess", access.unwrap_or("Enabled").into());
    if let Some(rules) = filter(&given)? {
        set("ipFilterRules", rules);
    }
    if let Some(host) = given.text("portalOperationsHostName")? {
        set("portalOperationsHostName", portal(&given, host)?);
    }
    let hubs = hubs::read(&given, present)?;
    set("iotHubs", hubs.views.into());
    if let Some(disabled) = given.boolean("disableLocalAuth")? {
        set("disableLocalAuth", disabled.into());
    }
    if let Some(namespaces) = namespaces::read(&given)? {
        set("deviceRegistryNamespaces", namespaces);
    }
    let mut kept = hubs.kept;
    let tags = match tags(body)? {
        Value::Null => json!({}),
        tags => tags,
    };
    Ok(WantedService {
        location,
        etag: body.text("etag")?.map(str::to_owned),
        policies: policies::read(&given, present, &mut kept)?,
        identity: identity::read(&body.object("identity")?, id)?,
        unknown: unknown(body)?,
        tags,
        sku: sku(&body.object("sku")?)?,
        residency: given.boolean("enableDataResidency")?,
        properties,
        secrets: hubs.secrets,
        kept,
    })
}

/// Members that nobody knows, wherever they stand.
pub(super) fn unknown(body: &ArmObject<'_>) -> Result<UnknownMembers, Error> {
    let properties = body.object("properties")?;
    let mut all = UnknownMembers::default();
    all.add("", body, TOP)?;
    all.add("/sku", &body.object("sku")?, SKU_MEMBERS)?;
    all.add_identity(body)?;
    all.add("/properties", &properties, PROPERTIES)?;
    let lists = [
        ("deviceRegistryNamespaces", namespaces::KNOWN),
        ("ipFilterRules", RULE),
        ("iotHubs", hubs::KNOWN),
    ];
    for (list, known) in lists {
        for (index, item) in properties.objects(list)?.iter().flatten().enumerate() {
            all.add(&format!("/properties/{list}/{index}"), item, known)?;
        }
    }
    Ok(all)
}

fn sku(sku: &ArmObject<'_>) -> Result<Value, Error> {
    if !sku.is_there() {
        let path = "sku".to_owned();
        return Err(Error::MissingMember { path });
    }
    let name = sku.required_text("name")?;
    if !name.eq_ignore_ascii_case(SKU) {
        let message = format!("sku.name: must be {SKU}");
        return Err(Error::service(ServiceRefusal::InvalidSku, message));
    }
    let capacity = sku.integer("capacity")?.unwrap_or(1);
    if capacity < 1 {
        return Err(Error::invalid(sku.path("capacity"), "must be 1 or more"));
    }
    Ok(json!({ "name": SKU, "tier": "Standard", "capacity": capacity }))
}

/// `ipFilterRules`, as they were given.
fn filter(properties: &ArmObject<'_>) -> Result<Option<Value>, Error> {
    let Some(given) = properties.objects("ipFilterRules")? else {
        return Ok(None);
    };
    if given.len() > RULES_MAX {
        let rule = format!("has at most {RULES_MAX} rules");
        return Err(Error::invalid(properties.path("ipFilterRules"), rule));
    }
    let mut names: Vec<String> = Vec::new();
    let mut rules = Vec::new();
    for rule in given {
        let name = rule.required_text("filterName")?;
        if !(1..=RULE_NAME_MAX).contains(&name.chars().count()) {
            let text = format!("has 1 to {RULE_NAME_MAX} characters");
            return Err(Error::invalid(rule.path("filterName"), text));
        }
        if names.iter().any(|other| other.eq_ignore_ascii_case(name)) {
            return Err(Error::invalid(
                rule.path("filterName"),
                "stands in the list twice",
            ));
        }
        names.push(name.to_owned());
        let action = rule.required_word("action", ACTIONS)?;
        let mask = rule.required_text("ipMask")?.trim();
        // The service takes a block whatever stands behind its length.
        if let Err(error @ MaskError::NotBlock) = IpMask::parse(mask) {
            return Err(Error::invalid(rule.path("ipMask"), error.to_string()));
        }
        let mut view = json!({ "filterName": name, "action": action, "ipMask": mask });
        if let Some(target) = rule.word("target", TARGETS)? {
            view["target"] = target.into();
        }
        rules.push(view);
    }
    Ok(Some(rules.into()))
}

fn portal(properties: &ArmObject<'_>, host: &str) -> Result<Value, Error> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
    if (1..=HOST_MAX).contains(&host.len()) && host.bytes().all(legal) {
        return Ok(host.into());
    }
    let path = properties.path("portalOperationsHostName");
    Err(Error::invalid(path, "must be a host name"))
}

impl WantedService {
    /// The record that it makes of `before`, without state and etag.
    ///
    /// # Errors
    /// When it changes what is settled at creation.
    pub(super) fn record(
        self,
        id: &ResourceId,
        location: String,
        before: Option<&ResourceRecord>,
    ) -> Result<ResourceRecord, Error> {
        let body = Map::from_iter([
            ("location".to_owned(), location.into()),
            ("tags".to_owned(), self.tags),
            ("sku".to_owned(), self.sku),
            ("properties".to_owned(), self.properties.into()),
        ]);
        let mut record = ResourceRecord::new(id.clone(), body, self.secrets);
        if let Some(identity) = self.identity {
            record.set("identity", identity);
        }
        self.unknown.keep(&mut record, before)?;
        let present =
            before.and_then(|before| before.properties().get("enableDataResidency")?.as_bool());
        if let (Some(wanted), Some(_)) = (self.residency, before)
            && wanted != present.unwrap_or(false)
        {
            let rule =
                "is settled when a service is created; delete it and create it again to change it";
            return Err(Error::invalid("properties.enableDataResidency", rule));
        }
        if let Some(residency) = present.or(self.residency) {
            record.set_property("enableDataResidency", residency);
        }
        policies::store(&mut record, self.policies, before)?;
        Ok(record)
    }
}
