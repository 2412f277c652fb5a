use super::*;
use expect_test::expect;

fn check(json: &str) -> String {
    match parse(&EndpointName::new("my-endpoint").unwrap(), json) {
        Ok(endpoint) => format!("{endpoint:?}"),
        Err(errors) => errors.iter().map(|error| format!("{error}\n")).collect(),
    }
}

const HUB: &str = "Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKeyName=send;\
                   SharedAccessKey=very+secret=;EntityPath=hub";

#[test]
fn each_type_is_read_and_debug_keeps_secrets() {
    let hub = check(&format!(
        r#"{{"properties":{{"endpointType":"EventHub","connectionStringPrimaryKey":"{HUB}"}}}}"#
    ));
    assert!(
        hub.contains("ns.servicebus.windows.net") && !hub.contains("very+secret"),
        "{hub}"
    );
    let bus = check(&format!(
        r#"{{"name":"My-Endpoint","properties":{{"endpointType":"ServiceBus",
            "provisioningState":"Succeeded","primaryConnectionString":"{HUB}",
            "deadLetterSecret":"https://a.blob.core.windows.net/dl?sv=1&sig=hidden"}}}}"#
    ));
    assert!(
        bus.contains("Succeeded") && !bus.contains("hidden"),
        "{bus}"
    );
    let grid = check(
        r#"{"properties":{"endpointType":"EventGrid","accessKey1":"k1=","accessKey2":null,
            "TopicEndpoint":"https://t.weu-1.eventgrid.azure.net/api/events"}}"#,
    );
    assert!(grid.contains("t.weu-1") && !grid.contains("k1="), "{grid}");
    let identity = check(
        r#"{"properties":{"endpointType":"EventHub","authenticationType":"IdentityBased",
            "endpointUri":"sb://ns.servicebus.windows.net","entityPath":"hub",
            "identity":{"type":"UserAssigned","userAssignedIdentity":"/subscriptions/1/x"},
            "deadLetterUri":"https://a.blob.core.windows.net/dl"}}"#,
    );
    assert!(
        identity.contains("UserAssigned(\"/subscriptions/1/x\")"),
        "{identity}"
    );
}

#[test]
fn every_wrong_field_is_named_at_once() {
    expect![[r#"
        `name`: is "other", but the endpoint goes by "my-endpoint"
        `properties.deadLetterSecret`: must be a container's URL with its SAS token: https://<account>.blob.core.windows.net/<container>?<sas>
        `properties.primaryConnectionString`: `EntityPath` is missing; append `;EntityPath=<event hub or topic>`: nothing else says where events go
        `properties.secondaryConnectionString`: is a mask, as read APIs show it; put the real connection string here
    "#]]
    .assert_eq(&check(
        r#"{"name":"other","properties":{"endpointType":"ServiceBus","deadLetterSecret":"dl",
            "primaryConnectionString":"Endpoint=sb://h;SharedAccessKeyName=a;SharedAccessKey=b",
            "secondaryConnectionString":"Endpoint=sb://***/;SharedAccessKey=***"}}"#,
    ));
    expect![[r#"
        `properties.authenticationType`: Event Grid endpoints are key-based; identities are not supported for them
        `properties.TopicEndpoint`: required, but missing
        `properties.accessKey1`: required, but missing
    "#]]
    .assert_eq(&check(
        r#"{"properties":{"endpointType":"EventGrid","authenticationType":"IdentityBased"}}"#,
    ));
    expect![[r#"
        `properties.endpointUri`: must begin with `sb://`
        `properties.entityPath`: required for an identity-based endpoint, but missing
    "#]]
    .assert_eq(&check(
        r#"{"properties":{"endpointType":"EventHub","authenticationType":"IdentityBased",
            "endpointUri":"https://ns"}}"#,
    ));
    expect![[r#"
        `properties.endpointType`: must be EventGrid, EventHub or ServiceBus, not "Kafka"
    "#]]
    .assert_eq(&check(r#"{"properties":{"endpointType":"Kafka"}}"#));
    expect![[r#"
        `properties`: required, but missing
    "#]]
    .assert_eq(&check("{}"));
}

#[test]
fn connection_strings() {
    let parse = |text: &str| ConnectionString::parse(&Secret::new(text));
    let local = parse(
        "endpoint=sb://localhost:5690;SHAREDACCESSKEYNAME=r;SharedAccessKey=a=b=;\
         UseDevelopmentEmulator=true;EntityPath=hub;",
    )
    .unwrap();
    assert_eq!((local.host(), local.port()), ("localhost", Some(5690)));
    assert!(local.development_emulator());
    let Credential::Key { key, .. } = local.credential() else {
        panic!("a key was given")
    };
    assert_eq!(key.expose(), "a=b=");
    let rest = "SharedAccessKeyName=r;SharedAccessKey=k;EntityPath=e";
    assert!(
        !parse(&format!(
            "Endpoint=sb://h;UseDevelopmentEmulator=True;{rest}"
        ))
        .unwrap()
        .development_emulator()
    );
    assert_eq!(
        parse(&format!("Endpoint=sb://[::1]:5;{rest}"))
            .unwrap()
            .host(),
        "[::1]"
    );
    for bad in [
        "h", "http://h", "sb://", "sb:///", "sb://h:x", "sb://u@h", "sb://h h",
    ] {
        let refused = parse(&format!("Endpoint={bad};{rest}")).unwrap_err();
        assert_eq!(refused, InvalidConnectionString::Endpoint, "{bad}");
    }
    let refused = parse("Endpoint=sb://h;SharedAccessKeyName=r;EntityPath=e").unwrap_err();
    assert_eq!(refused, InvalidConnectionString::Credential);
    assert_eq!(
        parse("Endpoint"),
        Err(InvalidConnectionString::NotAPair { part: 1 })
    );
}
