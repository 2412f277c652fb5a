use super::*;
use proptest::prelude::*;
use serde_json::Value;
use twinroute_credential::overlay::{PREFIX, SecretOverlay};
use twinroute_credential::secret_field::SecretField;
use twinroute_model::endpoint::{DeadLetterDestination, EndpointIdentity, NamespaceAccess};

const SAS: &str = "https://acc.blob.core.windows.net/dead?sv=2024-11-04&ss=b&srt=sco&sp=rwdlac\
                   &se=2099-01-01T00:00:00Z&spr=https&sig=c2VjcmV0";

fn main_instance() -> InstanceName {
    InstanceName::new("main").unwrap()
}

fn listing(endpoints: &[&str], routes: &[&str]) -> InstanceListing {
    let raw = |text: &&str| RawValue::from_string((*text).to_owned()).unwrap();
    InstanceListing {
        instance: raw(&"{}"),
        endpoints: endpoints.iter().map(raw).collect(),
        routes: routes.iter().map(raw).collect(),
    }
}

fn reading(listing: &InstanceListing, variables: &[(&str, &str)]) -> ListingResult {
    let own = |(name, value): &(&str, &str)| (format!("{PREFIX}{name}"), (*value).to_owned());
    let overlay = SecretOverlay::new(None, variables.iter().map(own));
    let main = main_instance();
    let names = listing.endpoint_names();
    let secrets = overlay.secrets(names.iter().map(|name| (&main, name)));
    read(&main, listing, &secrets)
}

fn lines(faults: &[DefinitionFault]) -> Vec<String> {
    faults.iter().map(ToString::to_string).collect()
}

/// Reads one endpoint of these properties, called `hub-1`.
fn one(properties: &str, variables: &[(&str, &str)]) -> (Endpoint, Vec<String>) {
    let resource = format!(r#"{{"name":"hub-1","properties":{properties}}}"#);
    let mut reading = reading(&listing(&[&resource], &[]), variables);
    (
        reading.instance.endpoints.remove(0),
        lines(&reading.warnings),
    )
}

fn waits_for(endpoint: &Endpoint) -> &str {
    match &endpoint.destination {
        EndpointDestination::Waiting(waiting) => &waiting.missing,
        other => panic!("does not wait: {other:?}"),
    }
}

const HUB: &str = "Endpoint=sb://h/;SharedAccessKeyName=r;SharedAccessKey=s3cret;EntityPath=e";

/// Recorded answers: Azure/azure-powershell, 2020 to 2025, and the published examples.
#[test]
fn masks_of_every_generation_wait_for_the_overlay() {
    for mask in [
        "***",
        "************",
        "",
        "(PLACEHOLDER)",
        "Endpoint=sb://***/;SharedAccessKeyName=***;SharedAccessKey=***;EntityPath=***",
        "Endpoint=sb://(PLACEHOLDER)/;SharedAccessKeyName=(PLACEHOLDER);\
         SharedAccessKey=(PLACEHOLDER);EntityPath=(PLACEHOLDER)",
    ] {
        let properties = format!(
            r#"{{"endpointType":"EventHub","authenticationType":"KeyBased",
                "connectionStringPrimaryKey":"{mask}","provisioningState":"Succeeded",
                "createdTime":"2025-06-06T11:16:50.9480318+00:00"}}"#
        );
        let (endpoint, warnings) = one(&properties, &[]);
        let expect = "its definition comes without `connectionStringPrimaryKey`; put it into the \
                      environment variable TWINROUTE_SECRET_HUB_1__CONNECTION_STRING_PRIMARY_KEY \
                      (or TWINROUTE_SECRET_MAIN__HUB_1__CONNECTION_STRING_PRIMARY_KEY) or a file \
                      hub-1/connectionStringPrimaryKey in a `secrets_folder`";
        assert_eq!(waits_for(&endpoint), expect, "{mask}");
        assert_eq!(endpoint.endpoint_type(), "EventHub");
        assert_eq!(
            endpoint.provisioning_state,
            Some(ProvisioningState::Succeeded)
        );
        assert_eq!(warnings, [] as [&str; 0]);
        let secret = [("HUB_1__CONNECTION_STRING_PRIMARY_KEY", HUB)];
        let (endpoint, _) = one(&properties, &secret);
        let EndpointDestination::EventHub(NamespaceAccess::Keys { primary, .. }) =
            &endpoint.destination
        else {
            panic!("{endpoint:?}");
        };
        assert_eq!(primary.host(), "h");
    }
}

#[test]
fn an_event_grid_topic_keeps_its_url_and_needs_its_key() {
    let properties = |url: &str| {
        format!(
            r#"{{"endpointType":"EventGrid","TopicEndpoint":"{url}","accessKey1":"(PLACEHOLDER)"}}"#
        )
    };
    let url = "https://t.weu-1.eventgrid.azure.net/api/events";
    let (endpoint, _) = one(&properties(url), &[]);
    assert!(waits_for(&endpoint).contains("TWINROUTE_SECRET_HUB_1__ACCESS_KEY1"));
    let key = [("HUB_1__ACCESS_KEY1", "k1")];
    let (endpoint, _) = one(&properties(url), &key);
    assert!(
        matches!(endpoint.destination, EndpointDestination::EventGrid(topic) if topic.endpoint == url)
    );
    let (endpoint, _) = one(&properties("https://###"), &key);
    let rule = "`properties.TopicEndpoint`: must be the topic's URL";
    assert!(waits_for(&endpoint).contains(rule), "{endpoint:?}");
}

#[test]
fn an_identity_needs_no_secret_and_words_no_case() {
    let (endpoint, warnings) = one(
        r#"{"ENDPOINTTYPE":"servicebus","authenticationtype":"identitybased","endpointUri":"sb://n",
            "EntityPath":"t","primaryConnectionString":null,"provisioningState":"succeeded",
            "identity":{"type":"userassigned","userAssignedIdentity":"/subscriptions/x"},
            "deadLetterUri":"https://acc.blob.core.windows.net/dead","more":[1]}"#,
        &[],
    );
    let EndpointDestination::ServiceBus(NamespaceAccess::Identity {
        entity_path,
        identity,
        ..
    }) = &endpoint.destination
    else {
        panic!("{endpoint:?}");
    };
    assert_eq!(entity_path, "t");
    assert_eq!(
        identity,
        &EndpointIdentity::UserAssigned("/subscriptions/x".to_owned())
    );
    assert!(matches!(
        endpoint.dead_letter,
        Some(DeadLetterDestination::Identity(_))
    ));
    assert_eq!(warnings, [] as [&str; 0]);
}

#[test]
fn a_hidden_dead_letter_secret_keeps_dead_letters_here_and_says_what_is_missing() {
    let properties = format!(
        r#"{{"endpointType":"EventHub","connectionStringPrimaryKey":"{HUB}","deadLetterSecret":"***"}}"#
    );
    let (endpoint, warnings) = one(&properties, &[]);
    assert!(matches!(
        endpoint.destination,
        EndpointDestination::EventHub(_)
    ));
    assert_eq!(endpoint.dead_letter, None);
    let head = "endpoint main/hub-1: its dead letters stay here: the definition hides its \
                `deadLetterSecret`; put it into the environment variable \
                TWINROUTE_SECRET_HUB_1__DEAD_LETTER_SECRET";
    assert!(warnings[0].starts_with(head), "{warnings:?}");

    let (endpoint, warnings) = one(&properties, &[("HUB_1__DEAD_LETTER_SECRET", SAS)]);
    assert!(
        matches!(endpoint.dead_letter, Some(DeadLetterDestination::Sas(_))),
        "{warnings:?}"
    );
    assert_eq!(warnings, [] as [&str; 0]);

    // Expired is a warning of the table's, from every source: deliveries go on.
    let expired =
        "https://acc.blob.core.windows.net/dead?sv=2024-11-04&sr=c&sp=w&se=2020-01-01&sig=c2ln";
    let (endpoint, warnings) = one(&properties, &[("HUB_1__DEAD_LETTER_SECRET", expired)]);
    assert!(matches!(
        endpoint.destination,
        EndpointDestination::EventHub(_)
    ));
    assert!(
        matches!(endpoint.dead_letter, Some(DeadLetterDestination::Sas(_))),
        "{warnings:?}"
    );

    // The table would be refused as a whole for a location that cannot be used.
    for bad in ["nothing", "https://acc.blob.core.windows.net/dead?sig=x"] {
        let (endpoint, warnings) = one(&properties, &[("HUB_1__DEAD_LETTER_SECRET", bad)]);
        assert_eq!(endpoint.dead_letter, None);
        assert_eq!(warnings.len(), 1, "{warnings:?}");
    }

    let plain = format!(r#"{{"endpointType":"EventHub","connectionStringPrimaryKey":"{HUB}"}}"#);
    let (endpoint, warnings) = one(&plain, &[("HUB_1__DEAD_LETTER_SECRET", SAS)]);
    assert_eq!(endpoint.dead_letter, None);
    assert!(
        warnings[0].ends_with("its definition has none; not used"),
        "{warnings:?}"
    );
}

#[test]
fn what_is_wrong_with_one_is_that_ones_alone() {
    let good = format!(
        r#"{{"id":"/S/x/endpoints/good","properties":{{"endpointType":"EventHub",
            "connectionStringPrimaryKey":"{HUB}","connectionStringSecondaryKey":"x=y",
            "provisioningState":"Pondering"}}}}"#
    );
    let kinds = r#"{"name":"kafka-1","properties":{"endpointType":"Kafka"}}"#;
    let odd =
        r#"{"name":"odd-1","properties":{"endpointType":"EventHub","authenticationType":"Magic"}}"#;
    let none = r#"{"name":"none-1","properties":null,"systemData":null}"#;
    let going = r#"{"name":"going-1","properties":{"endpointType":"EventHub","provisioningState":"Deleting"}}"#;
    let reading = reading(
        &listing(
            &[
                &good,
                kinds,
                odd,
                none,
                going,
                "7",
                r#"{"name":"a_b"}"#,
                r#"{"name":"ODD-1"}"#,
                "{}",
            ],
            &[],
        ),
        &[],
    );
    let names: Vec<_> = (reading.instance.endpoints.iter())
        .map(|endpoint| (endpoint.name.as_str(), endpoint.provisioning_state))
        .collect();
    let expect = [
        ("going-1", Some(ProvisioningState::Deleting)),
        ("good", Some(ProvisioningState::Updating)),
        ("kafka-1", None),
        ("none-1", None),
        ("odd-1", None),
    ];
    assert_eq!(names, expect);
    let expect = [
        "endpoint main/good: `provisioningState` \"Pondering\" is not known; read as Updating",
        "endpoint main/good: `properties.connectionStringSecondaryKey`: `Endpoint` is missing; it \
         is skipped",
        "endpoints of main: one of the list is no object and is left out",
        "endpoints of main: \"a_b\" is no endpoint name; it is left out with its routes",
        "endpoint main/ODD-1: is listed twice; the first is used",
        "endpoints of main: one has no name and is left out",
    ];
    assert_eq!(lines(&reading.warnings), expect);
    let waiting = lines(&reading.waiting());
    assert_eq!(waiting.len(), 4);
    assert_eq!(
        waiting[1],
        "endpoint main/kafka-1: its `endpointType` \"Kafka\" is not known here"
    );
    let magic = "authenticationType`: must be KeyBased or IdentityBased, not \"Magic\"";
    assert!(waiting[3].contains(magic), "{waiting:?}");
}

#[test]
fn a_route_that_cannot_be_used_is_left_out_and_named() {
    let hub = r#"{"name":"Hub-1","properties":{"endpointType":"EventHub"}}"#;
    let going = r#"{"name":"going-1","properties":{"endpointType":"EventHub","provisioningState":"Deleting"}}"#;
    let reading = reading(
        &listing(
            &[hub, going],
            &[
                r#"{"id":"b","endpointName":"HUB-1","filter":"true","extra":1}"#,
                r#"{"id":"a","endpointName":"hub-1","filter":"type = 'x'"}"#,
                r#"{"id":"c","endpointName":"hub-2","filter":"true"}"#,
                r#"{"id":"d","endpointName":"hub-1","filter":"a b"}"#,
                r#"{"id":"e","endpointName":"hub-1","filter":null}"#,
                r#"{"id":"f g","endpointName":"hub-1","filter":"true"}"#,
                r#"{"id":"h","endpointName":"going-1","filter":"true"}"#,
                r#"{"id":"a","endpointName":"hub-1","filter":"false"}"#,
                "null",
            ],
        ),
        &[],
    );
    let routes: Vec<_> = (reading.instance.routes.iter())
        .map(|route| (route.id.as_str(), route.filter.as_str()))
        .collect();
    assert_eq!(routes, [("a", "type = 'x'"), ("b", "true")]);
    let end = "; the route is left out, and what only it matches goes nowhere";
    let warnings = lines(&reading.warnings);
    let warnings: Vec<_> = warnings
        .iter()
        .map(|line| line.replace(end, " …"))
        .collect();
    let expect = [
        "route main/c: endpoint hub-2 is not defined …",
        "route main/d: its filter is not understood: Parsing error, Line=1, Position=3, \
         Message=Unexpected input 'b' …",
        "route main/e: has no `filter` …",
        "route main/f g: route name \"f g\": consists of letters, digits, `-`, `_` and `.` …",
        "route main/h: endpoint going-1 is not defined …",
        "route main/a: is listed twice; the first is used",
        "routes of main: one of the list is no object and is left out",
    ];
    assert_eq!(warnings, expect);
}

#[test]
fn nothing_that_is_shown_holds_a_secret() {
    let properties = format!(
        r#"{{"endpointType":"EventHub","connectionStringPrimaryKey":"{HUB}",
            "connectionStringSecondaryKey":"Endpoint=sb://h;SharedAccessKey=s3cret",
            "deadLetterSecret":"https://acc/s3cret?s3cret"}}"#
    );
    let resource = format!(r#"{{"name":"hub-1","properties":{properties}}}"#);
    let listing = listing(&[&resource], &[]);
    let reading = reading(&listing, &[("HUB_1__ACCESS_KEY1", "s3cret")]);
    let debug_text = format!("{listing:?} {reading:?} {:?}", lines(&reading.warnings));
    assert!(!debug_text.contains("s3cret"), "{debug_text}");
}

#[test]
fn ten_thousand_of_each_are_read() {
    let endpoints: Vec<_> = (0..10_000)
        .map(|index| {
            format!(r#"{{"name":"hub-{index}","properties":{{"endpointType":"EventHub"}}}}"#)
        })
        .collect();
    let routes: Vec<_> = (0..10_000)
        .map(|index| format!(r#"{{"id":"r{index}","endpointName":"HUB-{index}","filter":"true"}}"#))
        .collect();
    let refer = |all: &[String]| all.iter().map(String::as_str).collect::<Vec<_>>().join(",");
    let raw = |text: String| serde_json::from_str(&format!("[{text}]")).unwrap();
    let listing = InstanceListing {
        instance: RawValue::from_string("{}".to_owned()).unwrap(),
        endpoints: raw(refer(&endpoints)),
        routes: raw(refer(&routes)),
    };
    let reading = reading(&listing, &[]);
    assert_eq!(reading.instance.endpoints.len(), 10_000);
    assert_eq!(reading.instance.routes.len(), 10_000);
    assert_eq!(reading.warnings, []);
    assert_eq!(reading.waiting().len(), 10_000);
}

/// JSON that looks like endpoints and routes, with anything anywhere; secrets where secrets belong.
fn any_json() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(vec![
        "EventHub",
        "eventgrid",
        "ServiceBus",
        "KeyBased",
        "IdentityBased",
        "hub-1",
        "***",
        "https://t/api",
        "https://###",
        "sb://n",
        "Deleting",
        "true",
        "SystemAssigned",
        "",
    ]);
    let secret = prop::sample::select(vec![HUB, SAS, "s3cret", "(PLACEHOLDER)", "a=s3cret;b"]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
        word.prop_map(Value::from),
    ];
    let key = prop::sample::select(vec![
        "name",
        "id",
        "properties",
        "endpointType",
        "authenticationType",
        "identity",
        "type",
        "userAssignedIdentity",
        "TopicEndpoint",
        "accessKey1",
        "ACCESSKEY2",
        "endpointUri",
        "connectionStringPrimaryKey",
        "connectionStringSecondaryKey",
        "primaryConnectionString",
        "entityPath",
        "deadLetterSecret",
        "deadLetterUri",
        "provisioningState",
        "endpointName",
        "filter",
        "other",
    ]);
    let hidden = prop::sample::select(SecretField::ALL.map(SecretField::name).to_vec());
    leaf.prop_recursive(4, 64, 12, move |inner| {
        let plain = (key.clone(), inner.clone());
        let secret = (hidden.clone(), secret.clone().prop_map(Value::from));
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(Value::from),
            prop::collection::vec(prop_oneof![3 => plain, 1 => secret], 0..14).prop_map(
                |members| {
                    let own = |(key, value): (&str, Value)| (key.to_owned(), value);
                    Value::Object(members.into_iter().map(own).collect())
                }
            ),
        ]
    })
}

proptest! {
    #[test]
    fn any_json_is_read_without_a_panic(items in prop::collection::vec(any_json(), 0..6)) {
        let raw = |item: &Value| RawValue::from_string(item.to_string()).unwrap();
        let endpoints: Vec<_> = items.iter().map(raw).collect();
        let listing = InstanceListing { instance: raw(&Value::Null), routes: endpoints.clone(), endpoints };
        let reading = reading(&listing, &[("HUB_1__ACCESS_KEY1", "s3cret")]);
        for route in &reading.instance.routes {
            prop_assert!(reading.instance.endpoints.iter().any(|e| e.name == route.endpoint_name));
        }
        let debug_text = format!("{listing:?} {reading:?}");
        prop_assert!(!debug_text.contains("s3cret") && !debug_text.contains("c2VjcmV0"), "{}", debug_text);
    }

    /// Most JSON from above is refused early; here endpoints are whole but for some members.
    #[test]
    fn whole_endpoints_with_odd_members_are_read(members in prop::collection::vec((0..9_usize, any_json()), 0..4)) {
        let mut properties = serde_json::json!({
            "endpointType": "EventGrid", "TopicEndpoint": "https://t/api/events", "accessKey1": "s3cret",
            "accessKey2": "s3cret", "deadLetterSecret": SAS, "provisioningState": "Succeeded",
            "primaryConnectionString": HUB, "connectionStringPrimaryKey": HUB, "identity": null,
        });
        for (at, value) in members {
            let names: Vec<String> = properties.as_object().unwrap().keys().cloned().collect();
            properties[&names[at]] = value;
        }
        let (endpoint, warnings) = one(&properties.to_string(), &[]);
        let debug_text = format!("{endpoint:?} {warnings:?}");
        prop_assert!(!debug_text.contains("s3cret") && !debug_text.contains("c2VjcmV0"), "{}", debug_text);
    }
}
