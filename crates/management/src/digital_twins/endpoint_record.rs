//! What the record of an endpoint shows and defines.

use crate::arm::error::Error;
use crate::store::operation::OperationFailure;
use crate::store::record::ResourceRecord;
use serde_json::Value;
use twinroute_model::body::MemberSpelling;
use twinroute_model::endpoint::{Endpoint, EndpointBody};
use twinroute_model::json::JsonDocument;
use twinroute_model::name::EndpointName;

/// The form of a mask that is published for connection strings.
const STRING_MASK: &str =
    "Endpoint=sb://***/;SharedAccessKeyName=***;SharedAccessKey=***;EntityPath=***";

/// What readers see: secrets as masks, and nothing at all of them while it provisions.
pub(crate) fn render(record: &ResourceRecord) -> Value {
    let provisioning = record.state() == "Provisioning";
    record.render_masked(|pointer, _| {
        if provisioning {
            String::new()
        } else if pointer.to_ascii_lowercase().contains("connectionstring") {
            STRING_MASK.to_owned()
        } else {
            "***".to_owned()
        }
    })
}

/// The endpoint that a record defines. One that an earlier version took and this one cannot read keeps its
/// lane and waits, rather than being gone.
pub(crate) fn definition(record: &ResourceRecord) -> Option<Endpoint> {
    let name = EndpointName::new(&record.id.name).ok()?;
    let reason = record.properties().get("provisioningError");
    let reason = reason.and_then(|reason| reason["message"].as_str());
    let document = JsonDocument::new(record.reveal());
    let mut body = EndpointBody::read(document.object()?, MemberSpelling::Published);
    match body.check_main(&name) {
        Ok((endpoint, left_out)) => {
            let left_out = left_out.first();
            let left_out = left_out.map(|error| format!("put the definition again: {error}"));
            Some(Endpoint {
                provisioning_error: reason.map(str::to_owned).or(left_out),
                ..endpoint
            })
        }
        Err(errors) => {
            let missing = Error::InvalidFields(errors).to_string();
            let missing = format!("the stored definition cannot be read; put it again: {missing}");
            let waiting = body.waiting(&name, missing).ok()?;
            Some(Endpoint {
                dead_letter: None,
                provisioning_state: None,
                ..waiting
            })
        }
    }
}

/// Notes why an endpoint is not simply `Succeeded`; takes the note away when it is.
///
/// Azure has no member for it; clients skip members that they do not know.
pub(crate) fn note(record: &mut ResourceRecord, failure: Option<&OperationFailure>) {
    match failure {
        Some(failure) => record.set_property("provisioningError", failure.body()),
        None => drop(record.properties_mut().remove("provisioningError")),
    }
}
