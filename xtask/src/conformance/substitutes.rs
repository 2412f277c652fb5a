//! Where examples and the published API are at fault, and what is taken in their place.
//!
//! Sources: the examples themselves; what real Azure was seen to answer.

use serde_json::Value;

/// A parameter of an example that cannot be sent as it is.
pub(super) struct ParameterSubstitute {
    pub(super) example: &'static str,
    pub(super) parameter: &'static str,
    pub(super) given: SubstituteValue,
    pub(super) why: &'static str,
}

/// What is sent in place of a parameter.
#[derive(Clone, Copy, Debug)]
pub(super) enum SubstituteValue {
    Text(&'static str),
    /// The same under another name.
    Named(&'static str),
    Nothing,
    /// What the server gave out when the state was put: an etag, an operation's id, a certificate.
    FromState,
}

pub(super) const PARAMETERS: &[ParameterSubstitute] = &[
    ParameterSubstitute {
        example: "PrivateLinkResourcesByGroupId_example",
        parameter: "resourceId",
        given: SubstituteValue::Text("API"),
        why: "real Azure has one resource, and it is called API",
    },
    ParameterSubstitute {
        example: "TimeSeriesDatabaseConnectionsDelete_example",
        parameter: "deleteConnectionArtifacts",
        given: SubstituteValue::Named("cleanupConnectionArtifacts"),
        why: "the operation's parameter has the other name",
    },
    ParameterSubstitute {
        example: "DPSPatch",
        parameter: "location",
        given: SubstituteValue::Nothing,
        why: "the operation has no such parameter",
    },
    ParameterSubstitute {
        example: "DPSPatch",
        parameter: "type",
        given: SubstituteValue::Nothing,
        why: "the operation has no such parameter",
    },
    ParameterSubstitute {
        example: "DPSCertificateCreateOrUpdate",
        parameter: "certificateDescription",
        given: SubstituteValue::FromState,
        why: "`MA==` is no certificate",
    },
    ParameterSubstitute {
        example: "DPSDeleteCertificate",
        parameter: "If-Match",
        given: SubstituteValue::FromState,
        why: "etags are the server's",
    },
    ParameterSubstitute {
        example: "DPSGenerateVerificationCode",
        parameter: "If-Match",
        given: SubstituteValue::FromState,
        why: "etags are the server's",
    },
    ParameterSubstitute {
        example: "DPSVerifyCertificate",
        parameter: "If-Match",
        given: SubstituteValue::FromState,
        why: "etags are the server's",
    },
    ParameterSubstitute {
        example: "DPSVerifyCertificate",
        parameter: "request",
        given: SubstituteValue::FromState,
        why: "the proof depends on the verification code",
    },
    ParameterSubstitute {
        example: "DPSGetOperationResult",
        parameter: "operationId",
        given: SubstituteValue::FromState,
        why: "operation ids are the server's",
    },
];

/// A member of an example's answer that is at fault. It is not compared.
pub(super) struct ExampleFault {
    /// What the example's name begins with.
    pub(super) examples: &'static str,
    /// 0 for all.
    pub(super) status: u16,
    /// Members from the top; `*` for every item of an array.
    pub(super) path: &'static [&'static str],
    pub(super) why: &'static str,
}

pub(super) const ANSWERS: &[ExampleFault] = &[
    ExampleFault {
        examples: "DPSCreate",
        status: 0,
        path: &["properties", "authorizationPolicies"],
        why: "real Azure shows policies where keys are asked for alone",
    },
    ExampleFault {
        examples: "DPSGet",
        status: 200,
        path: &["properties", "authorizationPolicies"],
        why: "real Azure shows policies where keys are asked for alone",
    },
    ExampleFault {
        examples: "DPSCreate",
        status: 201,
        path: &["etag"],
        why: "real Azure gives an etag once the service is active",
    },
    ExampleFault {
        examples: "DPSCreate",
        status: 201,
        path: &["properties", "idScope"],
        why: "real Azure has none while the service is activating",
    },
    ExampleFault {
        examples: "DPSCreate",
        status: 201,
        path: &["properties", "serviceOperationsHostName"],
        why: "real Azure has none while the service is activating",
    },
    ExampleFault {
        examples: "DPSCreate",
        status: 201,
        path: &["properties", "deviceProvisioningHostName"],
        why: "real Azure has none while the service is activating",
    },
    ExampleFault {
        examples: "DPSCreate",
        status: 201,
        path: &["properties", "portalOperationsHostName"],
        why: "real Azure has none while the service is activating",
    },
    ExampleFault {
        examples: "DigitalTwinsEndpointsGet_WithIdentity_example",
        status: 200,
        path: &["value", "*", "name"],
        why: "two endpoints have one name",
    },
    ExampleFault {
        examples: "DigitalTwinsPut_",
        status: 200,
        path: &["tags"],
        why: "the request has no tags",
    },
    ExampleFault {
        examples: "DigitalTwinsList",
        status: 200,
        path: &["value", "*", "properties", "hostName"],
        why: "the second instance is still provisioning in the example",
    },
    ExampleFault {
        examples: "DigitalTwinsOperationsList_example",
        status: 200,
        path: &["value"],
        why: "which operations there are is the provider's to say",
    },
    ExampleFault {
        examples: "DPSOperations",
        status: 200,
        path: &["value"],
        why: "which operations there are is the provider's to say",
    },
    ExampleFault {
        examples: "DigitalTwinsPatch_example",
        status: 0,
        path: &["properties", "publicNetworkAccess"],
        why: "the state before is not recorded; it is put as Enabled",
    },
    ExampleFault {
        examples: "PrivateEndpointConnectionPut_example",
        status: 202,
        path: &["properties", "privateLinkServiceConnectionState"],
        why: "the example shows the state of before the change",
    },
    ExampleFault {
        examples: "PrivateEndpointConnection",
        status: 0,
        path: &["properties", "groupIds"],
        why: "real Azure answers API",
    },
    ExampleFault {
        examples: "PrivateEndpointConnectionsList_example",
        status: 200,
        path: &["value", "*", "properties", "groupIds"],
        why: "real Azure answers API",
    },
    ExampleFault {
        examples: "DigitalTwinsGet_WithPrivateEndpointConnection_example",
        status: 200,
        path: &[
            "properties",
            "privateEndpointConnections",
            "*",
            "properties",
            "groupIds",
        ],
        why: "real Azure answers API",
    },
    ExampleFault {
        examples: "PrivateLinkResourcesByGroupId_example",
        status: 200,
        path: &["name"],
        why: "real Azure answers API",
    },
    ExampleFault {
        examples: "PrivateLinkResourcesByGroupId_example",
        status: 200,
        path: &["properties"],
        why: "real Azure has another group id, members and zones",
    },
    ExampleFault {
        examples: "PrivateLinkResourcesList_example",
        status: 200,
        path: &["value", "*", "name"],
        why: "real Azure answers API",
    },
    ExampleFault {
        examples: "PrivateLinkResourcesList_example",
        status: 200,
        path: &["value", "*", "properties"],
        why: "real Azure has another group id, members and zones",
    },
];

/// What the published schema refuses though real Azure answers it.
pub(super) struct SchemaException {
    pub(super) api: &'static str,
    /// How the place in the body ends.
    pub(super) place: &'static str,
    /// What the answer has there.
    pub(super) values: &'static [&'static str],
    pub(super) why: &'static str,
}

pub(super) const SCHEMAS: &[SchemaException] = &[
    SchemaException {
        api: "microsoft.digitaltwins-2023-01-31",
        place: "/properties/provisioningState",
        values: &["\"Succeeded\"", "\"Updating\"", "\"Deleting\""],
        why: "the words of a private endpoint connection's state are those of its approval in the schema, and \
              the usual ones in the examples and in real Azure",
    },
    SchemaException {
        api: "microsoft.devices-2022-12-12",
        place: "/rights",
        values: &[
            "\"ServiceConfig, EnrollmentRead, EnrollmentWrite, DeviceConnect, RegistrationStatusRead, RegistrationStatusWrite\"",
        ],
        why: "real Azure puts several rights into one text",
    },
    SchemaException {
        api: "digitaltwins-data-plane/2023-10-31",
        place: "/nextLink",
        values: &["null"],
        why: "real Azure answers null on the last page",
    },
    SchemaException {
        api: "digitaltwins-data-plane/2022-05-31",
        place: "/nextLink",
        values: &["null"],
        why: "real Azure answers null on the last page",
    },
];

/// What an example's answer of a status is compared with.
pub(super) fn substituted(example: &str, status: u16, body: &Value) -> Value {
    let mut body = body.clone();
    for fault in ANSWERS {
        if example.starts_with(fault.examples) && [0, status].contains(&fault.status) {
            remove(&mut body, fault.path);
        }
    }
    body
}

fn remove(body: &mut Value, path: &[&str]) {
    match (path, body) {
        ([last], Value::Object(members)) => drop(members.remove(*last)),
        (["*", rest @ ..], Value::Array(items)) => {
            items.iter_mut().for_each(|item| remove(item, rest));
        }
        ([name, rest @ ..], Value::Object(members)) => {
            if let Some(member) = members.get_mut(*name) {
                remove(member, rest);
            }
        }
        _ => {}
    }
}

/// Whether a schema's refusal is one of the listed ones.
pub(super) fn is_excepted(api: &str, place: &str, value: &Value) -> bool {
    let value = value.to_string();
    SCHEMAS.iter().any(|exception| {
        exception.api == api
            && place.ends_with(exception.place)
            && exception.values.contains(&value.as_str())
    })
}
