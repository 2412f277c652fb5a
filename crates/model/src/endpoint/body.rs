//! From an endpoint's body to the checked endpoint: the same rules for every source.

use super::authentication::AuthenticationType;
use super::location::ContainerLocation;
use super::location::scheme;
use super::members::{StateWord, TYPES};
use super::{
    ConnectionString, DeadLetterDestination, Endpoint, EndpointBody, EndpointDestination,
    EndpointIdentity, EndpointType, EventGridTopic, FieldError, NamespaceAccess, ProvisioningState,
    WaitingDestination,
};
use crate::body::{MemberSpelling, not_one_of};
use crate::json::JsonDocument;
use crate::name::EndpointName;
use crate::pasted;
use crate::secret::Secret;

type FieldErrors = Vec<FieldError>;

/// What a body came from: who may hold members that are of no use here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodySource {
    /// A file: it has only what is known, and a person is there to correct it.
    File,
    /// A request: members that nobody knows are kept, those that contradict are refused.
    Request,
    /// What was checked when it came: a store, or a listing of Azure's.
    Kept,
}

/// Reads the file of an endpoint and checks all of it.
///
/// `name` is the name it goes by (the file's stem); a `name` inside must agree.
///
/// # Errors
/// Every field that is wrong, not only the first.
pub fn parse(name: &EndpointName, json: &str) -> Result<Endpoint, FieldErrors> {
    let document = read(json)?;
    body(&document)?.check(name, BodySource::File)
}

/// As [`parse`], of what [`RevealedEndpoint`](super::RevealedEndpoint) wrote. What is wrong with its dead letters or its second key
/// does not keep the rest from being read.
///
/// # Errors
/// As [`parse`].
pub fn restore(name: &EndpointName, json: &str) -> Result<Endpoint, FieldErrors> {
    let document = read(json)?;
    let mut body = body(&document)?;
    let missing = body.word("waitingFor").map(str::to_owned);
    let provisioning_error = body.word("notInUseBecause").map(str::to_owned);
    let endpoint = match missing {
        Some(missing) => body.waiting(name, missing)?,
        None => body.check_main(name).map(|(endpoint, _)| endpoint)?,
    };
    Ok(Endpoint {
        provisioning_error,
        ..endpoint
    })
}

fn read(json: &str) -> Result<JsonDocument, FieldErrors> {
    JsonDocument::read(json.as_bytes()).map_err(|error| {
        vec![FieldError::new(
            "(body)",
            format!("not an endpoint: {error}"),
        )]
    })
}

fn body(document: &JsonDocument) -> Result<EndpointBody<'_>, FieldErrors> {
    let members = document.object().ok_or_else(|| {
        vec![FieldError::new(
            "(body)",
            "not an endpoint: must be an object",
        )]
    })?;
    Ok(EndpointBody::read(members, MemberSpelling::Published))
}

impl EndpointBody<'_> {
    /// Checks all of it.
    ///
    /// # Errors
    /// Every field that is wrong, each mistake once.
    pub fn check(&self, name: &EndpointName, source: BodySource) -> Result<Endpoint, FieldErrors> {
        let mut errors = self.errors.clone();
        self.check_name(name, &mut errors);
        for object in [&self.top, &self.properties, &self.identity] {
            match source {
                BodySource::File => object.refuse_unknown(&mut errors),
                BodySource::Request => object.refuse_other_case(&mut errors),
                BodySource::Kept => {}
            }
        }
        if !self.has_properties {
            if self.errors.is_empty() {
                let rule = "required, but missing";
                self.top.missing("properties", rule, &mut errors);
            }
            return Err(errors);
        }
        let kind = self.kind(&mut errors);
        let authentication = self.authentication(kind, &mut errors);
        if source != BodySource::Kept {
            self.refuse_strays(kind, &authentication, &mut errors);
        }
        let dead_letter = self.dead_letter(&mut errors);
        let destination = match kind {
            Some(EndpointType::EventGrid) => self
                .topic(&authentication, &mut errors)
                .map(EndpointDestination::EventGrid),
            Some(EndpointType::EventHub) => self
                .access(EndpointType::EventHub, &authentication, &mut errors)
                .map(EndpointDestination::EventHub),
            Some(EndpointType::ServiceBus) => self
                .access(EndpointType::ServiceBus, &authentication, &mut errors)
                .map(EndpointDestination::ServiceBus),
            None => None,
        };
        let provisioning_state = self.known_state(source, &mut errors);
        match destination {
            Some(destination) if errors.is_empty() => Ok(Endpoint {
                name: name.clone(),
                destination,
                dead_letter,
                provisioning_state,
                provisioning_error: None,
            }),
            _ => Err(errors),
        }
    }

    /// As [`Self::check`] of what was kept, but what is wrong with members that deliveries do without (the dead
    /// letters, the second key) is reported and left out.
    ///
    /// # Errors
    /// What keeps it from being delivered to.
    pub fn check_main(
        &mut self,
        name: &EndpointName,
    ) -> Result<(Endpoint, FieldErrors), FieldErrors> {
        let aside = |error: &FieldError| {
            let member = error.field.strip_prefix("properties.")?;
            let second = self.endpoint_type().map(|kind| kind.keys()[1]);
            let mut known = ["deadLetterSecret", "deadLetterUri"]
                .into_iter()
                .chain(second);
            known.find(|known| *known == member)
        };
        let errors = match self.check(name, BodySource::Kept) {
            Ok(endpoint) => return Ok((endpoint, Vec::new())),
            Err(errors) => errors,
        };
        let Some(left_out) = errors.iter().map(aside).collect::<Option<Vec<_>>>() else {
            return Err(errors);
        };
        for member in left_out {
            self.leave_out(member);
        }
        // What is wrong with the form of these is reported already.
        self.errors.clear();
        let rest = self.check(name, BodySource::Kept);
        rest.map(|endpoint| (endpoint, errors))
    }

    /// The endpoint while it waits for its secret: nothing is known of where it goes.
    ///
    /// # Errors
    /// When it does not say what it is.
    pub fn waiting(&self, name: &EndpointName, missing: String) -> Result<Endpoint, FieldErrors> {
        let mut errors = Vec::new();
        let Some(endpoint_type) = self.kind(&mut errors) else {
            return Err(errors);
        };
        let provisioning_state = self.known_state(BodySource::Kept, &mut errors);
        Ok(Endpoint {
            name: name.clone(),
            destination: EndpointDestination::Waiting(WaitingDestination {
                endpoint_type,
                missing,
            }),
            dead_letter: self.dead_letter(&mut errors),
            provisioning_state,
            provisioning_error: None,
        })
    }

    fn check_name(&self, name: &EndpointName, errors: &mut FieldErrors) {
        if let Some(inside) = self.top.text("name", errors)
            && !inside.eq_ignore_ascii_case(name.as_str())
        {
            let rule = format!(
                "is {inside:?}, but the endpoint goes by {:?}",
                name.as_str()
            );
            errors.push(FieldError::new("name", rule));
        }
    }

    fn kind(&self, errors: &mut FieldErrors) -> Option<EndpointType> {
        if self.properties.get("endpointType").is_none() {
            let rule = "required, but missing; it is EventGrid, EventHub or ServiceBus";
            self.properties.missing("endpointType", rule, errors);
        }
        let word = self.properties.word("endpointType", &TYPES, errors)?;
        EndpointType::parse(word)
    }

    /// A state is the server's to say; in a file it is a word like another.
    fn known_state(
        &self,
        source: BodySource,
        errors: &mut FieldErrors,
    ) -> Option<ProvisioningState> {
        match self.state() {
            StateWord::Known(state) => Some(state),
            StateWord::Unknown(word) if source == BodySource::File => {
                let all = ProvisioningState::ALL.map(ProvisioningState::as_str);
                let rule = not_one_of(&word, &all);
                errors.push(FieldError::new("properties.provisioningState", rule));
                None
            }
            StateWord::Absent | StateWord::Unknown(_) => None,
        }
    }

    fn dead_letter(&self, errors: &mut FieldErrors) -> Option<DeadLetterDestination> {
        let (member, dead_letter) = match self.secret("deadLetterSecret") {
            Some(secret) => ("deadLetterSecret", DeadLetterDestination::Sas(secret)),
            None => {
                let uri = self.word("deadLetterUri")?;
                (
                    "deadLetterUri",
                    DeadLetterDestination::Identity(uri.to_owned()),
                )
            }
        };
        let rule = match &dead_letter {
            DeadLetterDestination::Sas(secret) if secret.is_masked() => {
                "is a mask; put the real container SAS URI here".to_owned()
            }
            dead_letter => match ContainerLocation::of(dead_letter) {
                Ok(_) => return Some(dead_letter.clone()),
                Err(problem) => problem.to_string(),
            },
        };
        errors.push(FieldError::new(&self.properties.path(member), rule));
        None
    }

    fn topic(
        &self,
        authentication: &AuthenticationType,
        errors: &mut FieldErrors,
    ) -> Option<EventGridTopic> {
        const RULE: &str = "must be the topic's URL, such as \
                            https://<topic>.<region>-1.eventgrid.azure.net/api/events";
        let endpoint = self.required_text("TopicEndpoint", "required, but missing", errors);
        if endpoint.is_some_and(|url| !is_url(url)) {
            errors.push(FieldError::new("properties.TopicEndpoint", RULE));
        }
        let [first, second] = EndpointType::EventGrid.keys();
        let key = |member: &str, errors: &mut FieldErrors| {
            let secret = self.secret(member)?;
            let checked = check_access_key(&secret);
            checked
                .map_err(|rule| errors.push(FieldError::new(&self.properties.path(member), rule)))
                .ok()?;
            Some(secret)
        };
        if self.secret(first).is_none() && matches!(authentication, AuthenticationType::Keys) {
            self.missing_key(EndpointType::EventGrid, "required, but missing", errors);
        }
        let access_key1 = key(first, errors);
        let access_key2 = key(second, errors);
        let (scheme, rest) = scheme(endpoint?)?;
        Some(EventGridTopic {
            endpoint: format!("{scheme}://{rest}"),
            access_key1: access_key1?,
            access_key2,
        })
    }

    fn required_text(&self, member: &str, rule: &str, errors: &mut FieldErrors) -> Option<&str> {
        if self.properties.get(member).is_none() {
            self.properties.missing(member, rule, errors);
        }
        self.properties.text(member, errors)
    }

    /// Says that the first key is missing, unless that of another type stands there, which is said already.
    fn missing_key(&self, kind: EndpointType, rule: &str, errors: &mut FieldErrors) {
        let others = [
            EndpointType::EventGrid,
            EndpointType::EventHub,
            EndpointType::ServiceBus,
        ];
        let mut others = others
            .into_iter()
            .map(|other| self.properties.path(other.keys()[0]));
        if !others.any(|field| errors.iter().any(|error| error.field == field)) {
            self.properties.missing(kind.keys()[0], rule, errors);
        }
    }

    fn access(
        &self,
        kind: EndpointType,
        authentication: &AuthenticationType,
        errors: &mut FieldErrors,
    ) -> Option<NamespaceAccess> {
        match authentication {
            AuthenticationType::Identity(identity) => {
                self.identity_access(identity.as_ref(), errors)
            }
            AuthenticationType::Keys => self.key_access(kind, errors),
            AuthenticationType::Unclear => None,
        }
    }

    fn key_access(&self, kind: EndpointType, errors: &mut FieldErrors) -> Option<NamespaceAccess> {
        let [primary, secondary] = kind.keys();
        let read = |member: &str, errors: &mut FieldErrors| {
            let string = ConnectionString::parse(&self.secret(member)?);
            string
                .map_err(|error| {
                    let field = self.properties.path(member);
                    errors.push(FieldError::new(&field, error.to_string()));
                })
                .ok()
        };
        if self.secret(primary).is_none() {
            let rule = "required for a key-based endpoint, but missing";
            self.missing_key(kind, rule, errors);
        }
        let first = read(primary, errors);
        let second = read(secondary, errors);
        if let (Some(first), Some(second)) = (&first, &second)
            && (!first.host().eq_ignore_ascii_case(second.host())
                || first.entity_path() != second.entity_path())
        {
            let rule = format!("must name the same namespace and entity as {primary}");
            errors.push(FieldError::new(&self.properties.path(secondary), rule));
        }
        Some(NamespaceAccess::Keys {
            primary: first?,
            secondary: second,
        })
    }

    fn identity_access(
        &self,
        identity: Option<&EndpointIdentity>,
        errors: &mut FieldErrors,
    ) -> Option<NamespaceAccess> {
        const MISSING: &str = "required for an identity-based endpoint, but missing";
        let endpoint_uri = self.required_text("endpointUri", MISSING, errors);
        let is_sb = |uri: &str| {
            uri.get(..5)
                .is_some_and(|head| head.eq_ignore_ascii_case("sb://"))
        };
        if endpoint_uri.is_some_and(|uri| !is_sb(uri) || uri.len() == 5) {
            let rule = "must begin with `sb://`";
            errors.push(FieldError::new("properties.endpointUri", rule));
        }
        let entity_path = self.required_text("entityPath", MISSING, errors);
        Some(NamespaceAccess::Identity {
            endpoint_uri: endpoint_uri?.to_owned(),
            entity_path: entity_path?.to_owned(),
            identity: identity?.clone(),
        })
    }
}

/// The key travels in a header.
fn check_access_key(key: &Secret) -> Result<(), String> {
    if key.is_masked() {
        return Err("is a mask; put the real access key here".to_owned());
    }
    pasted::check(key.expose()).map_err(|error| error.to_string())?;
    if !key.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("must be the topic's access key, without blanks".to_owned());
    }
    Ok(())
}

fn is_url(text: &str) -> bool {
    scheme(text).is_some_and(|(_, rest)| {
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
        !authority.is_empty()
            && authority.bytes().all(legal)
            && text.bytes().all(|b| b.is_ascii_graphic() && b != b'#')
    })
}
