//! What the options about an event hub or a topic say together, without asking anybody.

use anyhow::bail;
use twinroute_model::secret::Secret;

/// The domain of namespaces in Azure's public cloud.
const DOMAIN: &str = "servicebus.windows.net";

/// An event hub or a Service Bus topic, as far as options name it.
pub(super) struct EntityOptions<'a> {
    /// `event hub` or `topic`.
    pub(super) noun: &'static str,
    pub(super) namespace: Option<&'a str>,
    pub(super) entity: Option<&'a str>,
    pub(super) policy: Option<&'a str>,
    /// The options of these three.
    pub(super) options: [&'static str; 3],
}

impl EntityOptions<'_> {
    /// The connection string with the entity in it; Azure's portal gives out strings of namespaces without.
    ///
    /// # Errors
    /// When it is for something else than the options say. Names no key.
    pub(super) fn complete(&self, option: &str, given: &Secret) -> anyhow::Result<Secret> {
        let noun = self.noun;
        let [namespace_option, entity_option, policy_option] = self.options;
        let part = |name: &str| {
            let mut parts = given.expose().split(';').map(str::trim);
            parts.find_map(|part| {
                let (key, value) = part.split_once('=')?;
                key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
            })
        };
        let Some(endpoint) = part("Endpoint") else {
            bail!(
                "{option}: give a connection string: Endpoint=sb://…;SharedAccessKeyName=…;SharedAccessKey=…"
            );
        };
        let host = endpoint.split("://").nth(1).unwrap_or_default();
        let host = host.split(['/', ':']).next().unwrap_or_default();
        if let Some(namespace) = self.namespace
            && !host.eq_ignore_ascii_case(namespace)
            && !host
                .split('.')
                .next()
                .is_some_and(|label| label.eq_ignore_ascii_case(namespace))
        {
            bail!("{option} is for the namespace {host}, {namespace_option} says {namespace}");
        }
        if let (Some(policy), Some(named)) = (self.policy, part("SharedAccessKeyName"))
            && !policy.eq_ignore_ascii_case(named)
        {
            bail!("{option} is for the policy {named}, {policy_option} says {policy}");
        }
        match (
            part("EntityPath").filter(|path| !path.is_empty()),
            self.entity,
        ) {
            (None, None) => bail!("{option} names no {noun}: say which with {entity_option}"),
            (Some(named), Some(entity)) if !named.eq_ignore_ascii_case(entity) => {
                bail!("{option} is for the {noun} {named}, {entity_option} says {entity}")
            }
            (Some(_), _) => Ok(given.clone()),
            (None, Some(entity)) => {
                let parts = given.expose().split(';').map(str::trim);
                let named = |part: &&str| {
                    let key = part.split('=').next().unwrap_or_default();
                    !part.is_empty() && !key.trim().eq_ignore_ascii_case("EntityPath")
                };
                let parts: Vec<&str> = parts.filter(named).collect();
                Ok(Secret::new(format!(
                    "{};EntityPath={entity}",
                    parts.join(";")
                )))
            }
        }
    }

    /// `endpointUri` of an identity-based endpoint.
    pub(super) fn uri(&self, given: Option<&str>) -> anyhow::Result<String> {
        match (given, self.namespace) {
            (Some(uri), _) => Ok(uri.to_owned()),
            (None, Some(namespace)) if namespace.contains('.') => Ok(format!("sb://{namespace}/")),
            (None, Some(namespace)) => Ok(format!("sb://{namespace}.{DOMAIN}/")),
            (None, None) => bail!(
                "say where the {} is: {} or --endpoint-uri",
                self.noun,
                self.options[0]
            ),
        }
    }

    /// `entityPath` of an identity-based endpoint.
    pub(super) fn path(&self, given: Option<&str>) -> anyhow::Result<String> {
        match given.or(self.entity) {
            Some(path) => Ok(path.to_owned()),
            None => bail!("say which {}: {}", self.noun, self.options[1]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: [&str; 3] = ["--eventhub-namespace", "--eventhub", "--eventhub-policy"];

    fn complete(names: [&str; 3], string: &str) -> String {
        let names = names.map(|name| (!name.is_empty()).then_some(name));
        let entity = EntityOptions {
            noun: "event hub",
            namespace: names[0],
            entity: names[1],
            policy: names[2],
            options: OPTIONS,
        };
        match entity.complete("--connection-string", &Secret::new(string)) {
            Ok(secret) => secret.expose().to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_connection_string_gets_its_entity_and_must_agree_with_the_options() {
        let of_namespace = "Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKeyName=send;SharedAccessKey=a2V5=";
        let whole = format!("{of_namespace};EntityPath=hub");
        assert_eq!(complete(["", "hub", ""], of_namespace), whole);
        assert_eq!(
            complete(["", "hub", ""], &format!("{of_namespace}; ")),
            whole
        );
        assert_eq!(complete(["NS", "HUB", "Send"], &whole), whole);
        assert_eq!(
            complete(["ns.servicebus.windows.net", "", ""], &whole),
            whole
        );
        let emulator =
            "Endpoint=sb://127.0.0.1:5672;SharedAccessKeyName=n;SharedAccessKey=k;EntityPath=";
        assert!(complete(["", "h", ""], emulator).ends_with(";SharedAccessKey=k;EntityPath=h"));
        for (names, string, expect) in [
            (
                ["", "", ""],
                of_namespace,
                "--connection-string names no event hub: say which with --eventhub",
            ),
            (
                ["", "other", ""],
                &whole,
                "--connection-string is for the event hub hub, --eventhub says other",
            ),
            (
                ["other", "", ""],
                &whole,
                "--connection-string is for the namespace ns.servicebus.windows.net, \
                 --eventhub-namespace says other",
            ),
            (
                ["", "", "listen"],
                &whole,
                "--connection-string is for the policy send, --eventhub-policy says listen",
            ),
        ] {
            assert_eq!(complete(names, string), expect);
        }
        let error = complete(["", "", ""], "a-key-alone");
        assert!(
            error.starts_with("--connection-string: give a connection string")
                && !error.contains("alone")
        );
    }

    #[test]
    fn an_identity_needs_an_address_which_the_names_give() {
        let entity = |namespace| EntityOptions {
            noun: "topic",
            namespace,
            entity: Some("t"),
            policy: None,
            options: ["--sbn", "--sbt", "--sbp"],
        };
        let uri = |namespace, given| entity(namespace).uri(given).unwrap();
        assert_eq!(uri(Some("ns"), None), "sb://ns.servicebus.windows.net/");
        assert_eq!(uri(Some("ns.example"), None), "sb://ns.example/");
        assert_eq!(uri(Some("ns"), Some("sb://x/")), "sb://x/");
        assert_eq!(entity(None).path(Some("p")).unwrap(), "p");
        assert_eq!(entity(None).path(None).unwrap(), "t");
        let error = entity(None).uri(None).unwrap_err().to_string();
        assert_eq!(error, "say where the topic is: --sbn or --endpoint-uri");
    }
}
