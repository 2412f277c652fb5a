//! One endpoint resource.

use super::super::error::bounded;
use super::members::text;
use serde_json::{Map, Value};
use twinroute_credential::overlay::FoundSecrets;
use twinroute_credential::secret_field::SecretField;
use twinroute_model::body::MemberSpelling;
use twinroute_model::endpoint::{
    Endpoint, EndpointBody, EndpointDestination, EndpointType, ProvisioningState, StateWord,
    WaitingDestination,
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
        let excerpt: String = name.chars().take(NAME_CHARS_MAX).collect();
        format!("{excerpt:?} is no endpoint name; it is left out with its routes")
    })
}

/// Reads an endpoint; what is worth a warning goes into `notes`.
///
/// What keeps it from being sent to makes it wait. The error is for what has no name.
pub(super) fn read(
    resource: &Map<String, Value>,
    instance: &InstanceName,
    secrets: &FoundSecrets,
    notes: &mut Vec<String>,
) -> Result<Endpoint, String> {
    let name = name(resource)?;
    let mut body = EndpointBody::read(resource, MemberSpelling::AnyCase);
    let place = EndpointPlace {
        instance,
        name: &name,
        secrets,
    };
    let provisioning_state = state(&body, notes);
    let read = place.read(&mut body, notes);
    let mut endpoint = read.unwrap_or_else(|(endpoint_type, missing)| Endpoint {
        name: name.clone(),
        destination: EndpointDestination::Waiting(WaitingDestination {
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
fn state(body: &EndpointBody<'_>, notes: &mut Vec<String>) -> Option<ProvisioningState> {
    match body.state() {
        StateWord::Absent => None,
        StateWord::Known(state) => Some(state),
        StateWord::Unknown(word) => {
            let word = bounded(&word);
            notes.push(format!(
                "`provisioningState` {word:?} is not known; read as Updating"
            ));
            Some(ProvisioningState::Updating)
        }
    }
}

/// Whether the state that it says is one that passes by itself.
pub(super) fn is_changing(object: &Map<String, Value>) -> bool {
    let body = EndpointBody::read(object, MemberSpelling::AnyCase);
    state(&body, &mut Vec::new()).is_some_and(ProvisioningState::is_changing)
}

/// The secret fields of a type, the required one first.
fn fields(endpoint_type: EndpointType) -> [SecretField; 2] {
    match endpoint_type {
        EndpointType::EventGrid => [SecretField::AccessKey1, SecretField::AccessKey2],
        EndpointType::EventHub => [
            SecretField::ConnectionStringPrimaryKey,
            SecretField::ConnectionStringSecondaryKey,
        ],
        EndpointType::ServiceBus => [
            SecretField::PrimaryConnectionString,
            SecretField::SecondaryConnectionString,
        ],
    }
}

struct EndpointPlace<'a> {
    instance: &'a InstanceName,
    name: &'a EndpointName,
    secrets: &'a FoundSecrets,
}

/// Why an endpoint waits, and what it is.
type EndpointWait = (EndpointType, String);

impl EndpointPlace<'_> {
    fn read(
        &self,
        body: &mut EndpointBody<'_>,
        notes: &mut Vec<String>,
    ) -> Result<Endpoint, EndpointWait> {
        let endpoint_type = kind(body)?;
        let waits = |missing: String| (endpoint_type, missing);
        let [primary, secondary] = fields(endpoint_type);
        if body.is_key_based() || endpoint_type == EndpointType::EventGrid {
            match self.secret(body, primary) {
                Some(secret) => body.put_secret(primary.name(), &secret),
                None => {
                    let ways = self.secrets.ways(self.instance, self.name, primary);
                    let name = primary.name();
                    let text = format!("its definition comes without `{name}`; put it into {ways}");
                    return Err(waits(text));
                }
            }
            match self.secret(body, secondary) {
                Some(secret) => body.put_secret(secondary.name(), &secret),
                None => body.leave_out(secondary.name()),
            }
        }
        self.dead_letter(body, notes);
        let (endpoint, left_out) = body.check_main(self.name).map_err(|errors| {
            let texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
            waits(bounded(&format!(
                "its definition cannot be used: {}",
                texts.join("; ")
            )))
        })?;
        notes.extend(left_out.iter().map(|error| {
            match error.field.starts_with("properties.deadLetter") {
                true => format!("its dead letters stay here: {error}"),
                false => format!("{error}; it is skipped"),
            }
        }));
        Ok(endpoint)
    }

    /// The overlay's secret, else the definition's own where it shows one.
    fn secret(&self, body: &EndpointBody<'_>, field: SecretField) -> Option<Secret> {
        let overlay = self.secrets.get(self.instance, self.name, field).cloned();
        let view = || body.secret(field.name()).filter(|view| !view.is_masked());
        overlay.or_else(view)
    }

    fn dead_letter(&self, body: &mut EndpointBody<'_>, notes: &mut Vec<String>) {
        const FIELD: SecretField = SecretField::DeadLetterSecret;
        let defined = body.secret(FIELD.name()).is_some();
        match self.secret(body, FIELD) {
            Some(secret) if defined => body.put_secret(FIELD.name(), &secret),
            // A secret that was not given is absent on read, not masked.
            Some(_) => notes.push(
                "there is a `deadLetterSecret` for it, but its definition has none; not used"
                    .into(),
            ),
            None if defined => {
                body.leave_out(FIELD.name());
                let ways = self.secrets.ways(self.instance, self.name, FIELD);
                notes.push(format!(
                    "its dead letters stay here: the definition hides its `deadLetterSecret`; put it \
                     into {ways}"
                ));
            }
            None => {}
        }
    }
}

fn kind(body: &EndpointBody<'_>) -> Result<EndpointType, EndpointWait> {
    body.endpoint_type().ok_or_else(|| {
        let text = match body.word("endpointType") {
            Some(word) => format!("its `endpointType` {:?} is not known here", bounded(word)),
            None => "its definition has no `endpointType`".to_owned(),
        };
        // What it is instead cannot be said; nothing is sent to it.
        (EndpointType::EventHub, text)
    })
}
