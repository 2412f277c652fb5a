//! From which networks an instance is asked: over a listener for everybody, or over one that stands for a
//! private endpoint connection.
//!
//! What holds is an immutable snapshot behind a swap, and it is looked at for each request: a change acts on
//! connections that are open too. A unix socket or a loopback address is a listener for everybody unless it is
//! declared private, as in Azure, where only the way in counts and not how near the caller is.
//! Source: Azure Digital Twins, "Private Link": with `publicNetworkAccess` disabled, requests of the data plane
//! from elsewhere are answered 403, management requests are not.

use crate::address::ListenAddress;
use arc_swap::ArcSwap;
use http::{Extensions, Request};
use serde::Deserialize;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use twinroute_model::name::InstanceName;
use twinroute_model::network::{ConnectionStatus, NetworkAccess, PrivateConnection, PublicAccess};

/// Private listeners of one server.
const PRIVATE_MAX: usize = 100;

/// Bytes of a connection's name.
const NAME_BYTES_MAX: usize = 256;

/// One table `[[ingress.private]]` or `[[management.private]]`: listeners for one connection.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrivateSettings {
    /// Where to listen for plain HTTP.
    #[serde(default)]
    pub listen: Vec<ListenAddress>,
    /// Where to listen for HTTPS, with the certificate of the server's other listeners.
    #[serde(default)]
    pub listen_tls: Vec<ListenAddress>,
    /// Whose connection; the default instance's when not set.
    pub instance: Option<String>,
    /// The private endpoint connection's name.
    pub connection: String,
}

impl PrivateSettings {
    /// Checks the tables of one server.
    ///
    /// # Errors
    /// The first value that cannot be used, by its key.
    pub fn check(all: &[Self]) -> Result<(), String> {
        if all.len() > PRIVATE_MAX {
            return Err(format!("private has more than {PRIVATE_MAX} entries"));
        }
        for (position, one) in all.iter().enumerate() {
            let at = |rule: &str| Err(format!("private[{position}].{rule}"));
            if one.listen.is_empty() && one.listen_tls.is_empty() {
                return at("listen or listen_tls must name at least one address");
            }
            if let Some(name) = &one.instance
                && let Err(error) = InstanceName::new(name)
            {
                return at(&format!("instance: {error}"));
            }
            let name = &one.connection;
            if !(1..=NAME_BYTES_MAX).contains(&name.len()) || name.chars().any(char::is_control) {
                return at("connection must have 1 to 256 bytes and no control characters");
            }
        }
        Ok(())
    }
}

/// Which private endpoint connection a listener stands for. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrivateWay(Arc<NetworkNames>);

#[derive(Debug, PartialEq, Eq)]
struct NetworkNames {
    instance: InstanceName,
    connection: String,
}

impl PrivateWay {
    /// The connection of that name of an instance.
    #[must_use]
    pub fn new(instance: InstanceName, connection: &str) -> Self {
        Self(Arc::new(NetworkNames {
            instance,
            connection: connection.to_owned(),
        }))
    }

    /// The way of a request that [`serve`](crate::serve) gave to its service; nothing for a listener that is
    /// for everybody.
    #[must_use]
    pub fn of<B>(request: &Request<B>) -> Option<&Self> {
        Self::of_extensions(request.extensions())
    }

    /// As [`PrivateWay::of`], of a request whose extensions were taken out.
    #[must_use]
    pub fn of_extensions(extensions: &Extensions) -> Option<&Self> {
        extensions.get()
    }

    /// Whose connection.
    #[must_use]
    pub fn instance(&self) -> &InstanceName {
        &self.0.instance
    }

    /// Its name.
    #[must_use]
    pub fn connection(&self) -> &str {
        &self.0.connection
    }
}

impl fmt::Display for PrivateWay {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.instance(), self.connection())
    }
}

/// Why a request does not reach an instance from where it came. The texts are safe to send.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkClosed {
    /// It came over a listener for everybody.
    #[error(
        "instance {instance} is not reached from public networks: its publicNetworkAccess is Disabled; come \
         over a private endpoint connection that is approved, or enable it: twinroute instance update \
         --dt-name {instance} --public-network-access Enabled"
    )]
    Public {
        /// Which.
        instance: String,
    },
    /// It came over a private listener whose connection is not there.
    #[error(
        "private endpoint connection {way} is not there (status: none): this listener answers once it is \
         Approved; make it and approve it: twinroute private-endpoint create --dt-name {} --connection-name \
         {connection}, then twinroute private-endpoint approve --dt-name {} --connection-name {connection}",
        .way.instance(), .way.instance(), connection = .way.connection()
    )]
    NoConnection {
        /// Which.
        way: PrivateWay,
    },
    /// It came over a private listener whose connection is not approved.
    #[error(
        "private endpoint connection {way} is {status}: this listener answers once it is Approved: twinroute \
         private-endpoint approve --dt-name {} --connection-name {}",
        .way.instance(), .way.connection()
    )]
    NotApproved {
        /// Which.
        way: PrivateWay,
        /// What was decided about it.
        status: ConnectionStatus,
    },
    /// It came over a private listener and asks for another instance.
    #[error(
        "private endpoint connection {way} leads to instance {} alone, not to {asked}",
        .way.instance()
    )]
    Elsewhere {
        /// Over which.
        way: PrivateWay,
        /// What it asks for.
        asked: String,
    },
}

impl NetworkClosed {
    /// The code of an answer that says so; its status is 403.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Public { .. } => "PublicNetworkAccessDisabled",
            Self::NoConnection { .. } | Self::NotApproved { .. } => {
                "PrivateEndpointConnectionNotApproved"
            }
            Self::Elsewhere { .. } => "PrivateEndpointOfAnotherInstance",
        }
    }
}

/// From which networks each instance is reached at present. Clones share it. To begin with there are no
/// instances: those that are unknown are open to everybody, and no connection is approved.
#[derive(Clone, Debug, Default)]
pub struct InstanceNetworks(Arc<ArcSwap<NetworkSnapshot>>);

/// By the instance's name in lower case.
#[derive(Debug, Default, PartialEq, Eq)]
struct NetworkSnapshot {
    /// Those that are not simply open to everybody.
    instances: HashMap<String, NetworkAccess>,
}

impl InstanceNetworks {
    /// Tells what holds from now on: of all instances there are. A change is logged.
    pub fn set<'a>(
        &self,
        instances: impl IntoIterator<Item = (&'a InstanceName, &'a NetworkAccess)>,
    ) {
        let open = NetworkAccess::default();
        let named = instances
            .into_iter()
            .filter(|(_, access)| **access != open)
            .map(|(name, access)| (name.as_str().to_ascii_lowercase(), access.clone()));
        let snapshot = Arc::new(NetworkSnapshot {
            instances: named.collect(),
        });
        let before = self.0.swap(Arc::clone(&snapshot));
        if before != snapshot {
            let all = snapshot.instances.values();
            let closed = |access: &&NetworkAccess| access.public == PublicAccess::Disabled;
            let approved = |one: &&PrivateConnection| one.status == ConnectionStatus::Approved;
            let connections = all.clone().flat_map(|access| &access.connections);
            tracing::info!(
                closed = all.filter(closed).count(),
                approved = connections.filter(approved).count(),
                "from which networks instances are reached has changed"
            );
        }
    }

    /// Passes what may come over a private listener at all; everything, where the listener is none.
    ///
    /// # Errors
    /// [`NetworkClosed`], where the connection is not approved.
    pub fn check_way(&self, way: Option<&PrivateWay>) -> Result<(), NetworkClosed> {
        match way {
            None => Ok(()),
            Some(way) => self.0.load().approved(way),
        }
    }

    /// Passes who asks for something of `instance` over the listener that they came by.
    ///
    /// # Errors
    /// [`NetworkClosed`].
    pub fn check(&self, way: Option<&PrivateWay>, instance: &str) -> Result<(), NetworkClosed> {
        let snapshot = self.0.load();
        let Some(way) = way else {
            return snapshot.public(instance);
        };
        snapshot.approved(way)?;
        if way.instance().as_str().eq_ignore_ascii_case(instance) {
            return Ok(());
        }
        Err(NetworkClosed::Elsewhere {
            way: way.clone(),
            asked: instance.chars().take(64).collect(),
        })
    }
}

impl NetworkSnapshot {
    fn of(&self, instance: &str) -> Option<&NetworkAccess> {
        // Mostly there is none, and the name need not be folded.
        (!self.instances.is_empty()).then_some(())?;
        self.instances.get(&instance.to_ascii_lowercase())
    }

    fn public(&self, instance: &str) -> Result<(), NetworkClosed> {
        let disabled = |access: &NetworkAccess| access.public == PublicAccess::Disabled;
        if self.of(instance).is_some_and(disabled) {
            return Err(NetworkClosed::Public {
                instance: instance.to_owned(),
            });
        }
        Ok(())
    }

    fn approved(&self, way: &PrivateWay) -> Result<(), NetworkClosed> {
        let access = self.of(way.instance().as_str());
        let found = access.and_then(|access| access.connection(way.connection()));
        let way = || way.clone();
        match found.map(|connection| connection.status) {
            Some(ConnectionStatus::Approved) => Ok(()),
            Some(status) => Err(NetworkClosed::NotApproved { way: way(), status }),
            None => Err(NetworkClosed::NoConnection { way: way() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn name(name: &str) -> InstanceName {
        InstanceName::new(name).unwrap()
    }

    fn access(public: PublicAccess, status: Option<ConnectionStatus>) -> NetworkAccess {
        let name = "Plant-net".to_owned();
        let connections = status.map(|status| PrivateConnection { name, status });
        NetworkAccess {
            public,
            connections: connections.into_iter().collect(),
        }
    }

    fn check(
        network: &InstanceNetworks,
        way: Option<&PrivateWay>,
        instance: &str,
        expect: &Expect,
    ) {
        let checked = network.check(way, instance);
        let said = checked.map_or_else(
            |closed| format!("{}: {closed}", closed.code()),
            |()| "open".to_owned(),
        );
        expect.assert_eq(&said);
    }

    #[test]
    fn everybody_reaches_what_is_not_closed() {
        let network = InstanceNetworks::default();
        check(&network, None, "plant", &expect!["open"]);
        let disabled = access(PublicAccess::Disabled, Some(ConnectionStatus::Approved));
        network.set([
            (&name("plant"), &disabled),
            (&name("lab"), &NetworkAccess::default()),
        ]);
        check(&network, None, "lab", &expect!["open"]);
        check(&network, None, "unknown", &expect!["open"]);
        check(
            &network,
            None,
            "PLANT",
            &expect![
                "PublicNetworkAccessDisabled: instance PLANT is not reached from public networks: its publicNetworkAccess is Disabled; come over a private endpoint connection that is approved, or enable it: twinroute instance update --dt-name PLANT --public-network-access Enabled"
            ],
        );
    }

    #[test]
    fn a_private_way_is_as_open_as_its_connection() {
        let network = InstanceNetworks::default();
        let way = PrivateWay::new(name("plant"), "plant-NET");
        check(
            &network,
            Some(&way),
            "plant",
            &expect![
                "PrivateEndpointConnectionNotApproved: private endpoint connection plant/plant-NET is not there (status: none): this listener answers once it is Approved; make it and approve it: twinroute private-endpoint create --dt-name plant --connection-name plant-NET, then twinroute private-endpoint approve --dt-name plant --connection-name plant-NET"
            ],
        );
        for status in [
            ConnectionStatus::Pending,
            ConnectionStatus::Rejected,
            ConnectionStatus::Disconnected,
            ConnectionStatus::Unknown,
        ] {
            let access = access(PublicAccess::Enabled, Some(status));
            network.set([(&name("Plant"), &access)]);
            let refused = network.check(Some(&way), "plant");
            let way = way.clone();
            assert_eq!(refused, Err(NetworkClosed::NotApproved { way, status }));
        }
        assert!(network.check_way(Some(&way)).is_err() && network.check_way(None).is_ok());
        let pending = access(PublicAccess::Disabled, Some(ConnectionStatus::Pending));
        network.set([(&name("plant"), &pending)]);
        check(
            &network,
            Some(&way),
            "lab",
            &expect![
                "PrivateEndpointConnectionNotApproved: private endpoint connection plant/plant-NET is Pending: this listener answers once it is Approved: twinroute private-endpoint approve --dt-name plant --connection-name plant-NET"
            ],
        );
        let approved = access(PublicAccess::Disabled, Some(ConnectionStatus::Approved));
        network.set([(&name("plant"), &approved)]);
        check(&network, Some(&way), "PLANT", &expect!["open"]);
        check(
            &network,
            Some(&way),
            "lab",
            &expect![
                "PrivateEndpointOfAnotherInstance: private endpoint connection plant/plant-NET leads to instance plant alone, not to lab"
            ],
        );
        network.set([]);
        assert!(network.check(Some(&way), "plant").is_err());
    }

    #[test]
    fn settings_name_a_connection_and_an_address() {
        let check = |text: &str, expect: Expect| {
            let one: PrivateSettings = toml::from_str(text).unwrap();
            let checked = PrivateSettings::check(&[one]);
            expect.assert_eq(&checked.err().unwrap_or_default());
        };
        check("listen = ['127.0.0.1:1']\nconnection = 'c'", expect![""]);
        check(
            "connection = 'c'",
            expect!["private[0].listen or listen_tls must name at least one address"],
        );
        check(
            "listen_tls = ['127.0.0.1:1']\nconnection = ''",
            expect!["private[0].connection must have 1 to 256 bytes and no control characters"],
        );
        check(
            "listen = ['127.0.0.1:1']\nconnection = 'c'\ninstance = 'a_b'",
            expect![[
                r#"private[0].instance: instance name "a_b": consists of letters, digits and hyphens"#
            ]],
        );
    }
}
