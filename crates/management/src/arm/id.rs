//! Ids of the resources that are stored: as they are shown, and as they are compared.
//!
//! ARM RPC 1.0: everything in an id compares without case; what is shown keeps the casing that the caller
//! gave last. Event routes are no ARM resources; here they stand below their instance, and their own
//! names compare with case.

use std::fmt;

/// The kinds of resources that are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum ResourceKind {
    Group,
    Instance,
    Endpoint,
    Connection,
    TimeSeries,
    Route,
    Service,
    ServiceConnection,
    Certificate,
}

/// Namespace, type and, for a child, the kind of its parent.
struct KindShape {
    namespace: &'static str,
    segment: &'static str,
    parent: Option<ResourceKind>,
}

impl ResourceKind {
    pub(crate) const ALL: [Self; 9] = [
        Self::Group,
        Self::Instance,
        Self::Endpoint,
        Self::Connection,
        Self::TimeSeries,
        Self::Route,
        Self::Service,
        Self::ServiceConnection,
        Self::Certificate,
    ];

    const fn shape(self) -> KindShape {
        const TWINS: &str = "Microsoft.DigitalTwins";
        const DEVICES: &str = "Microsoft.Devices";
        let (namespace, segment, parent) = match self {
            Self::Group => ("Microsoft.Resources", "resourceGroups", None),
            Self::Instance => (TWINS, "digitalTwinsInstances", None),
            Self::Endpoint => (TWINS, "endpoints", Some(Self::Instance)),
            Self::Connection => (TWINS, "privateEndpointConnections", Some(Self::Instance)),
            Self::TimeSeries => (TWINS, "timeSeriesDatabaseConnections", Some(Self::Instance)),
            Self::Route => (TWINS, "eventRoutes", Some(Self::Instance)),
            Self::Service => (DEVICES, "provisioningServices", None),
            Self::ServiceConnection => (DEVICES, "privateEndpointConnections", Some(Self::Service)),
            Self::Certificate => (DEVICES, "certificates", Some(Self::Service)),
        };
        KindShape {
            namespace,
            segment,
            parent,
        }
    }

    pub(crate) const fn namespace(self) -> &'static str {
        self.shape().namespace
    }

    /// The last segment of its type, as ids have it: `endpoints`.
    pub(crate) const fn segment(self) -> &'static str {
        self.shape().segment
    }

    pub(crate) const fn parent(self) -> Option<Self> {
        self.shape().parent
    }

    /// The type in full: `Microsoft.DigitalTwins/digitalTwinsInstances/endpoints`.
    pub(crate) fn type_name(self) -> String {
        let (namespace, segment) = (self.namespace(), self.segment());
        match self.parent() {
            Some(parent) => format!("{namespace}/{}/{segment}", parent.segment()),
            None => format!("{namespace}/{segment}"),
        }
    }
}

/// Which resource: its kind, where it is, and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResourceId {
    pub(crate) kind: ResourceKind,
    pub(crate) subscription: String,
    pub(crate) group: String,
    /// The parent's name, of a child.
    pub(crate) parent: Option<String>,
    pub(crate) name: String,
}

/// Whether a text begins as an ARM id of a resource does. ARM compares ids without case.
pub(crate) fn has_subscription(id: &str) -> bool {
    const HEAD: &str = "/subscriptions/";
    id.get(..HEAD.len())
        .is_some_and(|head| head.eq_ignore_ascii_case(HEAD))
}

impl ResourceId {
    pub(crate) fn group(subscription: &str, group: &str) -> Self {
        Self::top(ResourceKind::Group, subscription, group, group)
    }

    /// A resource that stands in a group.
    pub(crate) fn top(kind: ResourceKind, subscription: &str, group: &str, name: &str) -> Self {
        Self {
            kind,
            subscription: subscription.to_owned(),
            group: group.to_owned(),
            parent: None,
            name: name.to_owned(),
        }
    }

    pub(crate) fn child(&self, kind: ResourceKind, name: &str) -> Self {
        Self {
            kind,
            subscription: self.subscription.clone(),
            group: self.group.clone(),
            parent: Some(self.name.clone()),
            name: name.to_owned(),
        }
    }

    /// The resource that a child belongs to.
    pub(crate) fn owner(&self) -> Option<Self> {
        let kind = self.kind.parent()?;
        let name = self.parent.as_deref()?;
        Some(Self::top(kind, &self.subscription, &self.group, name))
    }

    /// What it is found by: everything but a route's own name in lower case.
    pub(crate) fn key(&self) -> String {
        let mut key = self.siblings();
        if self.kind == ResourceKind::Route {
            key.push_str(&self.name);
        } else {
            key.extend(self.name.chars().map(|c| c.to_ascii_lowercase()));
        }
        key
    }

    /// Begins the keys of all resources of a kind.
    pub(crate) fn kind_prefix(kind: ResourceKind) -> String {
        format!("{}:", kind.type_name()).to_ascii_lowercase()
    }

    /// Begins the keys of all resources of a kind in a subscription.
    pub(crate) fn subscription_prefix(kind: ResourceKind, subscription: &str) -> String {
        format!("{}:{subscription}/", kind.type_name()).to_ascii_lowercase()
    }

    /// Begins the keys of all resources of a kind in a group.
    pub(crate) fn group_prefix(kind: ResourceKind, subscription: &str, group: &str) -> String {
        match kind {
            ResourceKind::Group => Self::subscription_prefix(kind, subscription),
            _ => format!("{}:{subscription}/{group}/", kind.type_name()).to_ascii_lowercase(),
        }
    }

    /// Begins the keys of all children of a kind.
    pub(crate) fn children_prefix(
        kind: ResourceKind,
        subscription: &str,
        group: &str,
        parent: &str,
    ) -> String {
        format!("{}:{subscription}/{group}/{parent}/", kind.type_name()).to_ascii_lowercase()
    }

    /// Begins the keys of this resource's children of a kind.
    pub(crate) fn children(&self, kind: ResourceKind) -> String {
        Self::children_prefix(kind, &self.subscription, &self.group, &self.name)
    }

    /// Begins the keys of all resources of its kind where it is.
    pub(crate) fn siblings(&self) -> String {
        match &self.parent {
            Some(parent) => {
                Self::children_prefix(self.kind, &self.subscription, &self.group, parent)
            }
            None => Self::group_prefix(self.kind, &self.subscription, &self.group),
        }
    }

    /// Reads an id as [`fmt::Display`] writes it, in any casing.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let segments: Vec<&str> = text.strip_prefix('/')?.split('/').collect();
        let is = |segment: &str, word: &str| segment.eq_ignore_ascii_case(word);
        let [subscriptions, subscription, groups, group, rest @ ..] = segments.as_slice() else {
            return None;
        };
        if !is(subscriptions, "subscriptions") || !is(groups, "resourceGroups") {
            return None;
        }
        let top = |kind, name| Self::top(kind, subscription, group, name);
        let (provider, rest) = match rest {
            [] => return Some(Self::group(subscription, group)),
            [providers, provider, rest @ ..] if is(providers, "providers") => (provider, rest),
            _ => return None,
        };
        let mut kinds = ResourceKind::ALL
            .into_iter()
            .filter(|kind| is(provider, kind.namespace()));
        match rest {
            [segment, name] => kinds
                .find(|kind| kind.parent().is_none() && is(segment, kind.segment()))
                .map(|kind| top(kind, name)),
            [above, owner, segment, name] => {
                let kind = kinds.find(|kind| {
                    let parent = kind.parent();
                    parent.is_some_and(|parent| is(above, parent.segment()))
                        && is(segment, kind.segment())
                })?;
                Some(top(kind.parent()?, owner).child(kind, name))
            }
            _ => None,
        }
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (subscription, group) = (&self.subscription, &self.group);
        write!(
            formatter,
            "/subscriptions/{subscription}/resourceGroups/{group}"
        )?;
        if self.kind == ResourceKind::Group {
            return Ok(());
        }
        write!(formatter, "/providers/{}", self.kind.namespace())?;
        if let (Some(kind), Some(parent)) = (self.kind.parent(), &self.parent) {
            write!(formatter, "/{}/{parent}", kind.segment())?;
        }
        write!(formatter, "/{}/{}", self.kind.segment(), self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_they_are_written_in_any_casing() {
        let instance = ResourceId::top(ResourceKind::Instance, "S-1", "Rg", "Twins");
        for id in [
            ResourceId::group("S-1", "Rg"),
            instance.clone(),
            instance.child(ResourceKind::Endpoint, "Hub"),
            instance.child(ResourceKind::Route, "All"),
            ResourceId::top(ResourceKind::Service, "S-1", "Rg", "dps")
                .child(ResourceKind::Certificate, "c1"),
        ] {
            let text = id.to_string();
            assert_eq!(ResourceId::parse(&text), Some(id.clone()));
            let lower = ResourceId::parse(&text.to_ascii_lowercase()).unwrap();
            assert_eq!(
                lower.key() == id.key(),
                id.kind != ResourceKind::Route,
                "{text}"
            );
        }
        assert_eq!(
            instance.child(ResourceKind::Endpoint, "Hub").to_string(),
            "/subscriptions/S-1/resourceGroups/Rg/providers/Microsoft.DigitalTwins/\
             digitalTwinsInstances/Twins/endpoints/Hub"
        );
        for bad in [
            "",
            "/",
            "/subscriptions/s",
            "/subscriptions/s/resourceGroups/g/providers/X/y/z",
        ] {
            assert_eq!(ResourceId::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_route_keeps_its_case_and_a_prefix_holds_its_children_only() {
        let instance = ResourceId::top(ResourceKind::Instance, "s", "g", "Twins");
        let route = instance.child(ResourceKind::Route, "All");
        assert!(route.key().ends_with("/twins/All"));
        assert!(
            route
                .key()
                .starts_with(&instance.children(ResourceKind::Route))
        );
        let other = ResourceId::top(ResourceKind::Instance, "s", "g", "Twins2")
            .child(ResourceKind::Route, "All");
        assert!(
            !other
                .key()
                .starts_with(&instance.children(ResourceKind::Route))
        );
        assert_eq!(route.owner(), Some(instance));
    }
}
