//! What must be there before an example's request: derived from the answer that the example shows.

use super::operation;
use super::play::ExamplePlay;
use super::provisioning;
use super::server::DEFAULT_INSTANCE;
use crate::http::HttpRequest;
use anyhow::{Context as _, bail};
use serde_json::{Map, Value, json};

/// In every connection string that is put; no answer may hold it.
const KEY: &str = "c3RhdGUtb2YtdGhlLWV4YW1wbGU=";

const VERSION: &str = "2023-01-31";

/// Puts what the operation presupposes.
///
/// # Errors
/// It is refused; or the operation is none that is known here.
pub(super) fn prepare(play: &mut ExamplePlay<'_>) -> anyhow::Result<()> {
    play.secrets = vec![KEY.to_owned()];
    let id = play.example.operation.id.clone();
    let (group, step) = id.split_once('_').unwrap_or((&id, ""));
    match (group, step) {
        ("Operations", "List") | ("DigitalTwins", "CreateOrUpdate") => Ok(()),
        ("DigitalTwins", "CheckNameAvailability") => {
            let name = play.body().and_then(|body| body["name"].as_str());
            let name = name.context("the example asks for no name")?;
            let target = instance(play, "taken", name)?;
            put(play, &target, located(json!({})))
        }
        ("DigitalTwins", "List" | "ListByResourceGroup") => instances(play),
        ("DigitalTwins", _) => {
            let target = own_instance(play)?;
            let mut body = located(expected_body(play));
            unlike(&mut body, play.body());
            put(play, &target, body)?;
            let view = expected_body(play);
            let connections = view["properties"]["privateEndpointConnections"].as_array();
            for item in connections.into_iter().flatten() {
                let target = child(play, "privateEndpointConnections", last(item)?)?;
                put(play, &target, connection(item))?;
            }
            Ok(())
        }
        ("PrivateLinkResources", _) => parent(play),
        ("DigitalTwinsEndpoint", step) => {
            parent(play)?;
            children(play, step, "endpoints", "endpointName", endpoint)
        }
        ("PrivateEndpointConnections", step) => {
            parent(play)?;
            let name = "privateEndpointConnectionName";
            children(play, step, "privateEndpointConnections", name, connection)?;
            if step == "CreateOrUpdate" {
                // In Azure nobody makes a connection with a PUT.
                let name = play.text(name)?.to_owned();
                let target = child(play, "privateEndpointConnections", &name)?;
                put(play, &target, connection(&Value::Null))?;
            }
            Ok(())
        }
        ("TimeSeriesDatabaseConnections", step) => {
            parent(play)?;
            let name = "timeSeriesDatabaseConnectionName";
            children(
                play,
                step,
                "timeSeriesDatabaseConnections",
                name,
                time_series,
            )
        }
        ("EventRoutes", step) => event_routes(play, step),
        ("IotDpsResource" | "DpsCertificate", step) => provisioning::prepare(play, group, step),
        _ => bail!("nothing is known of the operation {id}"),
    }
}

/// Puts a resource and waits for it.
pub(super) fn put(play: &ExamplePlay<'_>, target: &str, body: Value) -> anyhow::Result<()> {
    let own = target.starts_with("/eventroutes") || play.api.name.starts_with("microsoft");
    let version = if own {
        play.text("api-version")?
    } else {
        VERSION
    };
    let target = format!("{target}?api-version={version}");
    operation::put(play.server, &HttpRequest::put(target, body)).map(drop)
}

/// The body that the example shows for the answer that is expected: the one of 202 or 200.
fn expected_body(play: &ExamplePlay<'_>) -> Value {
    let mut bodies = [202, 200]
        .iter()
        .filter_map(|status| play.example.responses.get(status)?.body.as_ref());
    bodies.next().cloned().unwrap_or_default()
}

fn instance(play: &ExamplePlay<'_>, group: &str, name: &str) -> anyhow::Result<String> {
    let subscription = play.text("subscriptionId")?;
    Ok(format!(
        "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.DigitalTwins/digitalTwinsInstances/{name}"
    ))
}

fn own_instance(play: &ExamplePlay<'_>) -> anyhow::Result<String> {
    instance(
        play,
        play.text("resourceGroupName")?,
        play.text("resourceName")?,
    )
}

fn child(play: &ExamplePlay<'_>, kind: &str, name: &str) -> anyhow::Result<String> {
    Ok(format!("{}/{kind}/{name}", own_instance(play)?))
}

fn parent(play: &ExamplePlay<'_>) -> anyhow::Result<()> {
    put(play, &own_instance(play)?, located(json!({})))
}

/// Every instance of a list, in the group that its id names.
fn instances(play: &ExamplePlay<'_>) -> anyhow::Result<()> {
    for item in expected_body(play)["value"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let id = item["id"].as_str().unwrap_or_default();
        let group = id.split('/').nth(4).context("an id names a group")?;
        let name = item["name"].as_str().context("an instance has a name")?;
        put(play, &instance(play, group, name)?, located(item.clone()))?;
    }
    Ok(())
}

/// The writable part of an instance.
fn located(view: Value) -> Value {
    let mut body = Map::new();
    body.insert("location".to_owned(), "westus2".into());
    for member in ["tags", "identity"] {
        if let Some(value) = view.get(member) {
            body.insert(member.to_owned(), value.clone());
        }
    }
    if let Some(access) = view["properties"].get("publicNetworkAccess") {
        body.insert(
            "properties".to_owned(),
            json!({ "publicNetworkAccess": access }),
        );
    }
    Value::Object(body)
}

/// Makes what a PATCH changes another thing before.
fn unlike(body: &mut Value, patch: Option<&Value>) {
    let Some(patch) = patch else { return };
    if patch.get("tags").is_some() {
        body["tags"] = json!({ "before": "the patch" });
    }
    if patch.get("identity").is_some() {
        body["identity"] = json!({ "type": "SystemAssigned" });
    }
    let access = match patch["properties"]["publicNetworkAccess"].as_str() {
        Some("Enabled") => "Disabled",
        _ => "Enabled",
    };
    body["properties"] = json!({ "publicNetworkAccess": access });
}

/// The children that the example presupposes: one, or those of a list; none for a PUT.
fn children(
    play: &ExamplePlay<'_>,
    step: &str,
    kind: &str,
    name: &str,
    body: fn(&Value) -> Value,
) -> anyhow::Result<()> {
    let view = expected_body(play);
    match step {
        "CreateOrUpdate" => Ok(()),
        "List" => {
            let mut names = Vec::new();
            for item in view["value"].as_array().into_iter().flatten() {
                let name = match item["name"].as_str() {
                    Some(name) => name,
                    None => last(item)?,
                };
                // One example has two items of one name.
                let mut name = name.to_owned();
                if names.contains(&name) {
                    name.push('2');
                }
                put(play, &child(play, kind, &name)?, body(item))?;
                names.push(name);
            }
            Ok(())
        }
        _ => {
            let name = play.text(name)?.to_owned();
            put(play, &child(play, kind, &name)?, body(&view))
        }
    }
}

fn last(item: &Value) -> anyhow::Result<&str> {
    let id = item["id"].as_str().and_then(|id| id.rsplit('/').next());
    id.context("an item has an id")
}

/// The writable part of an endpoint, with connection strings in place of masks.
fn endpoint(view: &Value) -> Value {
    let mut properties = Map::new();
    for (name, value) in view["properties"].as_object().into_iter().flatten() {
        let value = match name.as_str() {
            "createdTime" | "provisioningState" => continue,
            name if name.to_ascii_lowercase().contains("connectionstring") => json!(format!(
                "Endpoint=sb://mysb.servicebus.windows.net/;SharedAccessKeyName=send;SharedAccessKey={KEY};EntityPath=twins"
            )),
            _ => value.clone(),
        };
        properties.insert(name.clone(), value);
    }
    json!({ "properties": properties })
}

fn connection(view: &Value) -> Value {
    let state = &view["properties"]["privateLinkServiceConnectionState"];
    let state = if state.is_object() {
        state.clone()
    } else {
        json!({ "status": "Pending", "description": "Please approve my request, thanks." })
    };
    json!({ "properties": { "privateLinkServiceConnectionState": state } })
}

fn time_series(view: &Value) -> Value {
    let mut properties = view["properties"].clone();
    if let Some(properties) = properties.as_object_mut() {
        properties.remove("provisioningState");
    }
    json!({ "properties": properties })
}

/// The default instance with endpoints and routes of the example. A list has one more route than a page.
fn event_routes(play: &mut ExamplePlay<'_>, step: &str) -> anyhow::Result<()> {
    const SUBSCRIPTION: &str = "00000000-0000-0000-0000-000000000000";
    let instance = format!(
        "/subscriptions/{SUBSCRIPTION}/resourceGroups/twins/providers/Microsoft.DigitalTwins/digitalTwinsInstances/{DEFAULT_INSTANCE}"
    );
    put(play, &instance, located(json!({})))?;
    for name in ["endpoint-001", "endpoint-002"] {
        let view = json!({ "properties": {
            "endpointType": "EventHub", "authenticationType": "KeyBased", "connectionStringPrimaryKey": "",
        } });
        put(
            play,
            &format!("{instance}/endpoints/{name}"),
            endpoint(&view),
        )?;
    }
    let route = |id: &str, endpoint: &Value, filter: &Value| {
        let body = json!({ "endpointName": endpoint, "filter": filter });
        put(play, &format!("/eventroutes/{id}"), body)
    };
    let view = expected_body(play);
    match step {
        "Add" => {}
        "List" => {
            let items = view["value"].as_array().map_or(&[][..], Vec::as_slice);
            for item in items {
                let id = item["id"].as_str().context("a route has an id")?;
                route(id, &item["endpointName"], &item["filter"])?;
            }
            route("eventroute-003", &"endpoint-001".into(), &"true".into())?;
            let size = items.len().into();
            play.parameters
                .insert("max-items-per-page".to_owned(), size);
        }
        "GetById" => {
            let id = play.text("id")?;
            route(id, &view["endpointName"], &view["filter"])?;
        }
        "Delete" => route(play.text("id")?, &"endpoint-001".into(), &"true".into())?,
        _ => bail!("nothing is known of EventRoutes_{step}"),
    }
    Ok(())
}
