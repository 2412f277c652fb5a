//! One endpoint resource.

use super::super::error::bounded;
use super::{member, text};
use reqwest::Url;
use serde_json::{Map, Value, json};
use twinroute_credential::overlay::{Field, Secrets};
use twinroute_model::endpoint::location::Location;
use twinroute_model::endpoint::{
    self, Destination, Endpoint, EndpointType, FieldError, ProvisioningState, Waiting,
};
use twinroute_model::name::{EndpointName, InstanceName};
use twinroute_model::secret::Secret;

/// A name that is none is shown up to here.
const NAME_CHARS_MAX: usize = 100;

/// The name: `name`, else the last segment of `id`.
pub(super) fn name(resource: &Map<String, Value>) -> Result<EndpointName, String> {
    let name = text(resource, "name");
    let name = name.or_else(|| text(resource, "id")?.rsplit('/').next());
    let name = name.ok_or("one has no name and is left out")?;
    EndpointName::new(name).map_err(|_| {
        let shown: String = name.chars().take(NAME_CHARS_MAX).collect();
        format!("{shown:?} is no endpoint name; it is left out with its routes")
    })
}

/// Reads an endpoint; what is worth a warning goes into `notes`.
///
/// What keeps it from being sent to makes it wait. The error is for what has no name.
pub(super) fn read(
    resource: &Map<String, Value>,
    instance: &InstanceName,
    secrets: &Secrets,
    notes: &mut Vec<String>,
) -> Result<Endpoint, String> {
    let name = name(resource)?;
    let empty = Map::new();
    let properties = match member(resource, "properties") {
        Some(Value::Object(properties)) => properties,
        _ => &empty,
    };
    let place = Place {
        instance,
        name: &name,
        secrets,
    };
    let provisioning_state = state(properties, notes);
    let read = place.read(properties, notes);
    let mut endpoint = read.unwrap_or_else(|(endpoint_type, missing)| Endpoint {
        name: name.clone(),
        destination: Destination::Waiting(Waiting {
            endpoint_type,
            missing,
        }),
        dead_letter: None,
        provisioning_state: None,
        provisioning_error: None,
    });
    endpoint.provisioning_state = provisioning_state;
    Ok(endpoint)
}

/// `provisioningState`. None at all means `Succeeded`; a word that is not published means "running"
/// (ARM resource provider contract), so that events wait.
fn state(properties: &Map<String, Value>, notes: &mut Vec<String>) -> Option<ProvisioningState> {
    use ProvisioningState as State;
    const ALL: [(&str, ProvisioningState); 12] = [
        ("Provisioning", State::Provisioning),
        ("Deleting", State::Deleting),
        ("Updating", State::Updating),
        ("Succeeded", State::Succeeded),
        ("Failed", State::Failed),
        ("Canceled", State::Canceled),
        ("Deleted", State::Deleted),
        ("Warning", State::Warning),
        ("Suspending", State::Suspending),
        ("Restoring", State::Restoring),
        ("Moving", State::Moving),
        ("Disabled", State::Disabled),
    ];
    let word = text(properties, "provisioningState")?;
    let known = ALL.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
    if known.is_none() {
        let word = bounded(word);
        notes.push(format!(
            "`provisioningState` {word:?} is not known; taken as Updating"
        ));
    }
    Some(known.map_or(State::Updating, |(_, state)| *state))
}

/// Whether the state that it says is one that passes by itself.
pub(super) fn is_changing(object: &Map<String, Value>) -> bool {
    use ProvisioningState as State;
    let properties = object.get("properties").and_then(Value::as_object);
    let state = properties.and_then(|properties| state(properties, &mut Vec::new()));
    match state {
        Some(
            State::Provisioning
            | State::Deleting
            | State::Updating
            | State::Suspending
            | State::Restoring
            | State::Moving,
        ) => true,
        Some(
            State::Succeeded
            | State::Failed
            | State::Canceled
            | State::Deleted
            | State::Warning
            | State::Disabled,
        )
        | None => false,
    }
}

/// The secret fields of a type, the required one first.
fn fields(endpoint_type: EndpointType) -> [Field; 2] {
    match endpoint_type {
        EndpointType::EventGrid => [Field::AccessKey1, Field::AccessKey2],
        EndpointType::EventHub => [
            Field::ConnectionStringPrimaryKey,
            Field::ConnectionStringSecondaryKey,
        ],
        EndpointType::ServiceBus => [
            Field::PrimaryConnectionString,
            Field::SecondaryConnectionString,
        ],
    }
}

struct Place<'a> {
    instance: &'a InstanceName,
    name: &'a EndpointName,
    secrets: &'a Secrets,
}

/// Why an endpoint waits, and what it is.
type Wait = (EndpointType, String);

impl Place<'_> {
    fn read(
        &self,
        properties: &Map<String, Value>,
        notes: &mut Vec<String>,
    ) -> Result<Endpoint, Wait> {
        let endpoint_type = kind(properties)?;
        let mut plain = plain(properties, endpoint_type);
        let waits = |missing: String| (endpoint_type, missing);
        let identity = plain.contains_key("identity");
        let key_based = match text(properties, "authenticationType") {
            None => !identity,
            Some(word) => word.eq_ignore_ascii_case("KeyBased"),
        };
        let [primary, secondary] = fields(endpoint_type);
        if key_based || endpoint_type == EndpointType::EventGrid {
            match self.secret(properties, primary) {
                Some(secret) => put(&mut plain, primary, &secret),
                None => {
                    let ways = self.secrets.ways(self.instance, self.name, primary);
                    let name = primary.name();
                    let text = format!("its definition comes without `{name}`; put it into {ways}");
                    return Err(waits(text));
                }
            }
            if let Some(secret) = self.secret(properties, secondary) {
                put(&mut plain, secondary, &secret);
            }
        }
        self.dead_letter(properties, &mut plain, notes);
        let optional = |error: &FieldError| {
            let name = error.field.rsplit('.').next().unwrap_or_default();
            let optional = [secondary.name(), "deadLetterSecret", "deadLetterUri"];
            optional.contains(&name).then(|| name.to_owned())
        };
        let mut parsed = self.parse(&plain);
        if let Err(errors) = &parsed
            && errors.iter().all(|error| optional(error).is_some())
        {
            for error in errors {
                notes.push(format!("{error}; it is passed over"));
                plain.remove(&optional(error).unwrap_or_default());
            }
            parsed = self.parse(&plain);
        }
        let mut endpoint = parsed.map_err(|errors| {
            let texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
            waits(bounded(&format!(
                "its definition cannot be used: {}",
                texts.join("; ")
            )))
        })?;
        if let Destination::EventGrid(topic) = &endpoint.destination
            && !Url::parse(&topic.endpoint).is_ok_and(|url| url.has_host())
        {
            // As in October 2020: `https://###`.
            let text = "its definition cannot be used: `properties.TopicEndpoint`: is no URL";
            return Err(waits(text.to_owned()));
        }
        if let Some(Err(problem)) = endpoint.dead_letter.as_ref().map(Location::of) {
            notes.push(format!(
                "its dead letters stay here: their location: {problem}"
            ));
            endpoint.dead_letter = None;
        }
        Ok(endpoint)
    }

    fn parse(&self, plain: &Map<String, Value>) -> Result<Endpoint, Vec<FieldError>> {
        endpoint::parse(self.name, &json!({ "properties": plain }).to_string())
    }

    /// The overlay's secret, else the definition's own where it shows one.
    fn secret(&self, properties: &Map<String, Value>, field: Field) -> Option<Secret> {
        let overlay = self.secrets.get(self.instance, self.name, field).cloned();
        overlay.or_else(|| {
            let shown = Secret::new(text(properties, field.name())?);
            // Empty while the endpoint is provisioned.
            let real = !shown.is_masked() && !shown.expose().trim().is_empty();
            real.then_some(shown)
        })
    }

    fn dead_letter(
        &self,
        properties: &Map<String, Value>,
        plain: &mut Map<String, Value>,
        notes: &mut Vec<String>,
    ) {
        const FIELD: Field = Field::DeadLetterSecret;
        if let Some(uri) = text(properties, "deadLetterUri") {
            plain.insert("deadLetterUri".to_owned(), uri.into());
        }
        let defined = text(properties, FIELD.name()).is_some_and(|shown| !shown.is_empty());
        let ways = || self.secrets.ways(self.instance, self.name, FIELD);
        match self.secret(properties, FIELD) {
            Some(secret) if defined => put(plain, FIELD, &secret),
            // A secret that was not given is absent on read, not masked.
            Some(_) => notes.push(
                "there is a `deadLetterSecret` for it, but its definition has none; not used"
                    .into(),
            ),
            None if defined => notes.push(format!(
                "its dead letters stay here: the definition hides its `deadLetterSecret`; put it \
                 into {}",
                ways()
            )),
            None => {}
        }
    }
}

fn put(plain: &mut Map<String, Value>, field: Field, secret: &Secret) {
    plain.insert(field.name().to_owned(), secret.expose().into());
}

fn kind(properties: &Map<String, Value>) -> Result<EndpointType, Wait> {
    const ALL: [EndpointType; 3] = [
        EndpointType::EventGrid,
        EndpointType::EventHub,
        EndpointType::ServiceBus,
    ];
    let word = text(properties, "endpointType");
    let known =
        |kind: &&EndpointType| word.is_some_and(|word| kind.as_str().eq_ignore_ascii_case(word));
    ALL.iter().find(known).copied().ok_or_else(|| {
        let text = match word {
            Some(word) => format!("its `endpointType` {:?} is not known here", bounded(word)),
            None => "its definition has no `endpointType`".to_owned(),
        };
        // What it is instead cannot be said; nothing is sent to it.
        (EndpointType::EventHub, text)
    })
}

/// The members that hold no secrets, in their published form.
fn plain(properties: &Map<String, Value>, endpoint_type: EndpointType) -> Map<String, Value> {
    let mut plain = Map::new();
    plain.insert("endpointType".to_owned(), endpoint_type.as_str().into());
    for name in ["TopicEndpoint", "endpointUri", "entityPath"] {
        if let Some(value) = text(properties, name) {
            plain.insert(name.to_owned(), value.into());
        }
    }
    let published = |word: &str, all: &[&str]| {
        let mut all = all.iter().copied();
        let known = all.find(|known| known.eq_ignore_ascii_case(word));
        Value::from(known.unwrap_or(word))
    };
    if let Some(word) = text(properties, "authenticationType") {
        let word = published(word, &["KeyBased", "IdentityBased"]);
        plain.insert("authenticationType".to_owned(), word);
    }
    if let Some(Value::Object(identity)) = member(properties, "identity") {
        let mut kept = Map::new();
        if let Some(word) = text(identity, "type") {
            let word = published(word, &["SystemAssigned", "UserAssigned"]);
            kept.insert("type".to_owned(), word);
        }
        if let Some(id) = text(identity, "userAssignedIdentity").filter(|id| !id.is_empty()) {
            kept.insert("userAssignedIdentity".to_owned(), id.into());
        }
        if !kept.is_empty() {
            plain.insert("identity".to_owned(), kept.into());
        }
    }
    plain
}
