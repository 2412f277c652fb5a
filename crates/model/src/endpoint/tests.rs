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
            "deadLetterSecret":"https://a.blob.core.windows.net/dead?sv=1&sr=c&sp=w&se=2030-01-01&sig=hidden"}}}}"#
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
            "deadLetterUri":"https://a.blob.core.windows.net/dead"}}"#,
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
        `properties.deadLetterSecret`: must begin with https://; http:// is for an emulator on this machine only
        `properties.primaryConnectionString`: `EntityPath` is missing; append `;EntityPath=<event hub or topic>`: nothing else says where events go
        `properties.secondaryConnectionString`: is a mask, as read APIs show it; put the real connection string here
    "#]]
    .assert_eq(&check(
        r#"{"name":"other","properties":{"endpointType":"ServiceBus","deadLetterSecret":"dl",
            "primaryConnectionString":"Endpoint=sb://h;SharedAccessKeyName=a;SharedAccessKey=b",
            "secondaryConnectionString":"Endpoint=sb://***/;SharedAccessKey=***"}}"#,
    ));
    expect![[r#"
        `properties.authenticationType`: Event Grid endpoints are key-based; identities are not supported for them: give accessKey1
        `properties.TopicEndpoint`: required, but missing
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
    let ConnectionCredential::Key { key, .. } = local.credential() else {
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

#[test]
fn a_misspelt_keyword_of_a_connection_string_is_named() {
    let parse = |text: &str| ConnectionString::parse(&Secret::new(text));
    let whole = "Endpoint=sb://h;SharedAccessKeyName=r;SharedAccessKey=hidden;EntityPath=e";
    for (right, wrong) in [
        ("Endpoint", "Endpont"),
        ("SharedAccessKeyName", "SharedAccesKeyName"),
        ("SharedAccessKeyName", "SharedAccessKeyNam"),
        ("SharedAccessKey", "SharedAccesKey"),
        ("SharedAccessKey", "shared_access_key"),
        ("EntityPath", "EntityPaht"),
        ("EntityPath", "Entity Path"),
    ] {
        let text = whole.replacen(&format!("{right}="), &format!("{wrong}="), 1);
        let refused = parse(&text).unwrap_err().to_string();
        let expect = format!("`{wrong}` is not known; did you mean `{right}`?");
        assert_eq!(refused, expect);
    }
    let emulator = parse(&format!("{whole};UseDevelopmentEmulatr=true")).unwrap_err();
    assert!(
        emulator.to_string().contains("`UseDevelopmentEmulator`"),
        "it would ask for TLS: {emulator}"
    );
    let signature = "Endpoint=sb://h;SharedAccesSignature=hidden;EntityPath=e";
    let refused = parse(signature).unwrap_err().to_string();
    assert!(refused.contains("`SharedAccessSignature`"), "{refused}");
    for skipped in [
        "TransportType=Amqp",
        "StsEndpoint=https://x",
        "Secret=hidden",
        "Endpint=x",
    ] {
        assert!(parse(&format!("{whole};{skipped}")).is_ok(), "{skipped}");
    }
}

#[test]
fn an_endpoint_uri_without_authentication_type_says_what_is_missing() {
    let missing = "`properties.authenticationType`: required beside endpointUri, but missing: IdentityBased, or \
                   give a connection string instead of endpointUri\n";
    for kind in ["EventHub", "ServiceBus"] {
        let body =
            format!(r#"{{"endpointType":"{kind}","endpointUri":"sb://n","entityPath":"e"}}"#);
        assert_eq!(errors(&body), missing);
    }
    let misspelt = r#"{"endpointType":"EventHub","endpointUri":"sb://n","entityPath":"e",
        "authentificationType":"IdentityBased"}"#;
    assert_eq!(
        errors(misspelt),
        "`properties.authentificationType`: is not known here; did you mean `authenticationType`?\n"
    );
    // An identity says it as well, and a key says the contrary.
    let identity = r#"{"endpointType":"EventHub","endpointUri":"sb://n","entityPath":"e",
        "identity":{"type":"SystemAssigned"}}"#;
    assert!(
        errors(identity).starts_with("Endpoint"),
        "{}",
        errors(identity)
    );
    let said =
        r#"{"endpointType":"EventHub","endpointUri":"sb://n","authenticationType":"KeyBased"}"#;
    assert!(
        errors(said).contains("connectionStringPrimaryKey"),
        "{}",
        errors(said)
    );
    let grid =
        r#"{"endpointType":"EventGrid","endpointUri":"https://t/api/events","accessKey1":"k"}"#;
    assert!(
        !errors(grid).contains("authenticationType"),
        "{}",
        errors(grid)
    );
}

/// Errors of a body of these properties.
fn errors(properties: &str) -> String {
    check(&format!("{{\"properties\":{properties}}}"))
}

#[test]
fn errors_that_follow_are_not_reported() {
    let grid =
        r#""endpointType":"EventGrid","TopicEndpoint":"https://t/api/events","accessKey1":"k""#;
    for (properties, expect) in [
        (
            r#"{"endpointType":"EventHub","authenticationType":"IdentityBased","entityPath":"hub",
                "endpointUri":"sb://n","identity":{"type":"SystemAssigned,UserAssigned"}}"#,
            "`properties.identity.type`: must be SystemAssigned or UserAssigned, not what stands there\n",
        ),
        (
            r#"{"endpointType":"EventHub","authenticationType":"Identitybase","entityPath":"hub"}"#,
            "`properties.authenticationType`: must be KeyBased or IdentityBased, not \"Identitybase\"; \
             did you mean IdentityBased?\n",
        ),
        (
            r#"{"endpointType":"EventGrid","topicEndpoint":"https://t/api/events","accessKey1":"k"}"#,
            "`properties.topicEndpoint`: is not known here; did you mean `TopicEndpoint`?\n",
        ),
        (
            r#"{"endpointTyp":"EventGrid","TopicEndpoint":"https://t/api/events","accessKey1":"k"}"#,
            "`properties.endpointTyp`: is not known here; did you mean `endpointType`?\n",
        ),
        (
            r#"{"endpointType":"EventHub","primaryConnectionString":"Endpoint=sb://h"}"#,
            "`properties.primaryConnectionString`: is for ServiceBus endpoints; EventHub has \
             `connectionStringPrimaryKey`\n",
        ),
        (
            r#"{"endpointType":"Eventhubs","connectionStringPrimaryKey":"x"}"#,
            "`properties.endpointType`: must be EventGrid, EventHub or ServiceBus, not \"Eventhubs\"; \
             did you mean EventHub?\n",
        ),
        (
            r#"{"endpointType":"ServiceBus","authenticationType":"IdentityBased","endpointUri":"sb://n",
                "entityPath":"t","identity":{"type":"UserAssigned"}}"#,
            "`properties.identity.userAssignedIdentity`: a UserAssigned identity needs its ARM resource id\n",
        ),
        (
            &format!("{{{grid},\"provisioningState\":\"Suceeded\"}}"),
            "`properties.provisioningState`: \
            must be Provisioning, Deleting, Updating, Succeeded, Failed, Canceled, Deleted, Warning, Suspending, \
            Restoring, Moving or Disabled, not \"Suceeded\"; did you mean Succeeded?\n",
        ),
    ] {
        assert_eq!(errors(properties), expect, "{properties}");
    }
    let outside = check(r#"{"Properties":{"endpointType":"EventGrid"}}"#);
    assert_eq!(
        outside,
        "`Properties`: is not known here; did you mean `properties`?\n"
    );
}

/// RFC 3986 §3.1 and §3.5: a scheme ignores case; a fragment is never sent.
#[test]
fn text_hygiene_reads_a_topic_url_as_urls_are_read() {
    let with = |url: &str| {
        check(&format!(
            r#"{{"properties":{{"endpointType":"EventGrid","TopicEndpoint":"{url}","accessKey1":"k"}}}}"#
        ))
    };
    let text = with("HTTPS://t/api/events");
    assert!(text.contains(r#""https://t/api/events""#), "{text}");
    for wrong in [
        "https://t/api/events#top",
        "ftp://t/api/events",
        "//t/api/events",
    ] {
        let text = with(wrong);
        assert!(text.contains("must be the topic's URL"), "{wrong}: {text}");
    }
}

#[test]
fn no_member_is_dropped_in_silence() {
    let hub = format!(r#""endpointType":"EventHub","connectionStringPrimaryKey":"{HUB}""#);
    for (more, field) in [
        (r#""more":1"#, "properties.more"),
        (r#""deadletterSecret":"x""#, "properties.deadletterSecret"),
        (r#""accessKey2":"k""#, "properties.accessKey2"),
        (r#""TopicEndpoint":"https://t""#, "properties.TopicEndpoint"),
        (
            r#""authenticationType":"KeyBased","identity":{"type":"SystemAssigned"}"#,
            "properties.identity",
        ),
    ] {
        let found = errors(&format!("{{{hub},{more}}}"));
        assert!(found.starts_with(&format!("`{field}`: is ")), "{found}");
        assert_eq!(found.lines().count(), 1, "{found}");
    }
}

/// What `az dt endpoint show` prints, with the secret put in.
#[test]
fn what_the_azure_cli_prints_is_a_file() {
    let printed = format!(
        r#"{{"id":"/subscriptions/s/x/endpoints/my-endpoint","name":"my-endpoint","resourceGroup":"rg",
            "systemData":null,"type":"Microsoft.DigitalTwins/digitalTwinsInstances/endpoints","properties":{{
            "authenticationType":"KeyBased","connectionStringPrimaryKey":"{HUB}",
            "connectionStringSecondaryKey":null,"createdTime":"2025-06-06T11:16:50.950000+00:00",
            "deadLetterSecret":null,"deadLetterUri":null,"endpointType":"EventHub","endpointUri":null,
            "entityPath":null,"identity":null,"provisioningState":"Succeeded"}}}}"#
    );
    let read = check(&printed);
    assert!(read.starts_with("Endpoint {"), "{read}");
}

#[test]
fn absent_null_and_empty_are_one() {
    let hub = format!(r#""endpointType":"eventhub","connectionStringPrimaryKey":"{HUB}""#);
    let plain = errors(&format!("{{{hub}}}"));
    assert!(plain.starts_with("Endpoint {"), "{plain}");
    for more in [
        r#""authenticationType":"""#,
        r#""authenticationType":null"#,
        r#""authenticationType":"KEYBASED""#,
        r#""identity":null"#,
        r#""identity":{}"#,
        r#""identity":{"type":"","userAssignedIdentity":null}"#,
        r#""connectionStringSecondaryKey":"""#,
        r#""deadLetterSecret":" ""#,
        r#""deadLetterUri":"""#,
        r#""accessKey1":"""#,
        r#""provisioningState":"""#,
        r#""more":null"#,
    ] {
        assert_eq!(errors(&format!("{{{hub},{more}}}")), plain, "{more}");
    }
}

#[test]
fn text_hygiene_of_pasted_secrets() {
    let plain = errors(&format!(
        r#"{{"endpointType":"EventHub","connectionStringPrimaryKey":"{HUB}"}}"#
    ));
    let sas = "https://acct.blob.core.windows.net/dead?sv=1&sr=c&sp=w&se=2030-01-01&sig=c2ln";
    for around in [
        "{}\\n",
        "\u{feff}{}",
        "\u{a0}{}\u{200b}",
        "\\\"{}\\\"",
        "'{}'",
        "\u{201c}{}\u{201d}",
    ] {
        let put = |text: &str| around.replace("{}", text);
        let hub = put(HUB);
        let read = errors(&format!(
            r#"{{"endpointType":"EventHub","connectionStringPrimaryKey":"{hub}"}}"#
        ));
        assert_eq!(read, plain, "{around:?}");
        let body = format!(
            r#"\u{{feff}}{{"properties":{{"endpointType":"EventHub","connectionStringPrimaryKey":"{HUB}","deadLetterSecret":"{}"}}}}"#,
            put(sas)
        );
        let body = body.replace("\\u{feff}", "\u{feff}");
        let endpoint = parse(&EndpointName::new("my-endpoint").unwrap(), &body).unwrap();
        assert_eq!(
            endpoint.dead_letter,
            Some(DeadLetterDestination::Sas(Secret::new(sas))),
            "{around:?}"
        );
    }
    let inside = HUB.replace("very", "ve\u{200b}ry");
    let refused = errors(&format!(
        r#"{{"endpointType":"EventHub","connectionStringPrimaryKey":"{inside}"}}"#
    ));
    assert!(
        refused.contains("a zero-width character (U+200B) at character"),
        "{refused}"
    );
    for (query, parameter) in [
        ("restype=container&comp=list&", "restype"),
        ("comp=list&", "comp"),
        ("snapshot=1&", "snapshot"),
    ] {
        let listing = sas.replace('?', &format!("?{query}"));
        let refused = errors(&format!(
            r#"{{"endpointType":"EventHub","connectionStringPrimaryKey":"{HUB}","deadLetterSecret":"{listing}"}}"#
        ));
        let expect = format!(
            "`properties.deadLetterSecret`: is the URL of a request about the container, not of \
            the container: take `{parameter}` out of its query\n"
        );
        assert_eq!(refused, expect);
    }
}
