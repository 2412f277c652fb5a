//! How an endpoint signs in, as its body asks for it, and which members do not belong to that.

use super::members::{AUTHENTICATION, IDENTITIES, SECRETS};
use super::{EndpointBody, EndpointIdentity, EndpointType, FieldError};

/// How it is reached, as far as that is clear.
pub(super) enum AuthenticationType {
    Keys,
    /// Nothing, where the identity itself is wrong.
    Identity(Option<EndpointIdentity>),
    /// The word for it is wrong: nothing can be said to be missing.
    Unclear,
}

impl EndpointBody<'_> {
    pub(super) fn authentication(
        &self,
        kind: Option<EndpointType>,
        errors: &mut Vec<FieldError>,
    ) -> AuthenticationType {
        const FIELD: &str = "authenticationType";
        let before = errors.len();
        let word = self.properties.word(FIELD, &AUTHENTICATION, errors);
        if errors.len() > before {
            return AuthenticationType::Unclear;
        }
        if word.is_none() && self.looks_identity_based(kind) {
            let rule = "required beside endpointUri, but missing: IdentityBased, or give a connection \
                        string instead of endpointUri";
            self.properties.missing(FIELD, rule, errors);
            return AuthenticationType::Unclear;
        }
        let by_identity = match word {
            None => self.identity.is_there(),
            Some(word) => word == AUTHENTICATION[1],
        };
        if !by_identity {
            return AuthenticationType::Keys;
        }
        if kind == Some(EndpointType::EventGrid) {
            let rule = "Event Grid endpoints are key-based; identities are not supported for them: \
                        give accessKey1";
            errors.push(FieldError::new(&self.properties.path(FIELD), rule));
            return AuthenticationType::Unclear;
        }
        AuthenticationType::Identity(self.identity(errors))
    }

    /// Whether all but `authenticationType` and `identity` says that it is reached with an identity.
    fn looks_identity_based(&self, kind: Option<EndpointType>) -> bool {
        let has_key = |kind: EndpointType| kind.keys().iter().any(|key| self.secret(key).is_some());
        let kinds = [EndpointType::EventHub, EndpointType::ServiceBus];
        kind != Some(EndpointType::EventGrid)
            && !self.identity.is_there()
            && self.word("endpointUri").is_some()
            && !kinds.into_iter().any(has_key)
    }

    fn identity(&self, errors: &mut Vec<FieldError>) -> Option<EndpointIdentity> {
        let before = errors.len();
        let word = self.identity.word("type", &IDENTITIES, errors);
        let id = self.identity.text("userAssignedIdentity", errors);
        if errors.len() > before {
            return None;
        }
        let rule = match (word, id) {
            (None | Some("SystemAssigned"), None) => return Some(EndpointIdentity::SystemAssigned),
            (Some("SystemAssigned"), Some(_)) => "must be absent when the type is SystemAssigned",
            (_, Some(id)) if id.starts_with('/') => {
                return Some(EndpointIdentity::UserAssigned(id.to_owned()));
            }
            _ => "a UserAssigned identity needs its ARM resource id",
        };
        let field = self.identity.path("userAssignedIdentity");
        errors.push(FieldError::new(&field, rule));
        None
    }

    /// Members that are known, but not of use in what this is: they would be dropped in silence.
    pub(super) fn refuse_strays(
        &self,
        kind: Option<EndpointType>,
        authentication: &AuthenticationType,
        errors: &mut Vec<FieldError>,
    ) {
        let mut refuse = |member: &str, rule: String| {
            errors.push(FieldError::new(&self.properties.path(member), rule));
        };
        match authentication {
            AuthenticationType::Identity(_) => {
                let given = SECRETS
                    .into_iter()
                    .filter(|member| *member != "deadLetterSecret");
                for member in given.filter(|member| self.secret(member).is_some()) {
                    let rule = "is for key-based endpoints; leave it out of an identity-based one";
                    refuse(member, rule.to_owned());
                }
            }
            AuthenticationType::Keys if self.identity.is_there() => {
                let rule =
                    "is for identity-based endpoints; set authenticationType to IdentityBased";
                refuse("identity", rule.to_owned());
            }
            AuthenticationType::Keys | AuthenticationType::Unclear => {}
        }
        let Some(kind) = kind else {
            return;
        };
        if !matches!(authentication, AuthenticationType::Identity(_)) {
            for other in [
                EndpointType::EventGrid,
                EndpointType::EventHub,
                EndpointType::ServiceBus,
            ] {
                for (member, own) in other.keys().into_iter().zip(kind.keys()) {
                    if other != kind && self.secret(member).is_some() {
                        refuse(
                            member,
                            format!(
                                "is for {} endpoints; {} has `{own}`",
                                other.as_str(),
                                kind.as_str()
                            ),
                        );
                    }
                }
            }
        }
        let of_grid = kind == EndpointType::EventGrid;
        for (member, is_own) in [
            ("TopicEndpoint", of_grid),
            ("endpointUri", !of_grid),
            ("entityPath", !of_grid),
        ] {
            if !is_own && self.word(member).is_some() {
                refuse(
                    member,
                    format!("is for endpoints of another type than {}", kind.as_str()),
                );
            }
        }
        if self.word("deadLetterUri").is_some() && self.secret("deadLetterSecret").is_some() {
            let rule = "dead letters go to one place; give this or deadLetterSecret";
            refuse("deadLetterUri", rule.to_owned());
        }
    }
}
