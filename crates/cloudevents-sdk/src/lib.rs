//! Conversion to and from `cloudevents-sdk`'s `Event`, for programs that embed the router and hold events
//! of the SDK.
//!
//! A crate of its own, because the SDK brings some forty crates along that the router does without. Events
//! that come in as bytes are better read by [`twinroute_model::cloudevents`], which keeps them byte for
//! byte: an event of the SDK has its time in UTC and its JSON as a tree, so digits and the order of
//! members are those of the SDK.
//!
//! ```
//! use cloudevents::{EventBuilder, EventBuilderV10};
//! use twinroute_model::event::EventLimits;
//!
//! let theirs = EventBuilderV10::new()
//!     .id("1")
//!     .source("contoso.api.weu.digitaltwins.azure.net")
//!     .ty("Microsoft.DigitalTwins.Twin.Update")
//!     .subject("room1")
//!     .extension("priority", 7)
//!     .data("application/json", serde_json::json!({"modelId": "dtmi:contoso:Room;1", "patch": []}))
//!     .build()?;
//! let event = twinroute_cloudevents_sdk::from_sdk(&theirs, &EventLimits::default())?;
//! assert_eq!(event.subject(), Some("room1"));
//! assert_eq!(twinroute_cloudevents_sdk::to_sdk(&event)?, theirs);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use cloudevents::event::{ExtensionValue as SdkValue, TryIntoUrl};
use cloudevents::{
    AttributesReader, AttributesWriter, Data as SdkData, Event as SdkEvent, EventBuilder,
    EventBuilderV10,
};
use twinroute_model::event::{
    Event, EventData, EventLimits, EventParts, EventProblem, ExtensionValue,
};

/// Why an event cannot be converted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It breaks a rule of CloudEvents 1.0 that the SDK does not hold it to.
    #[error(transparent)]
    Problem(#[from] EventProblem),
    /// CloudEvents 1.0.2, "Type System": integers have 32 bits.
    #[error("extension `{name}`: {value} is not an integer of 32 bits")]
    Integer {
        /// The extension's name.
        name: String,
        /// Its value.
        value: i64,
    },
    /// The SDK cannot hold an attribute.
    #[error("the SDK does not take an attribute")]
    Attribute(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The SDK's tree cannot hold the payload: it is nested too deeply or has a number beyond a double.
    #[error("the SDK cannot hold the payload")]
    Data(#[source] serde_json::Error),
}

/// Reads an event of the SDK. One of CloudEvents 0.3 becomes one of 1.0.
///
/// Text and bytes under a JSON content type are taken as JSON text, since that is how the SDK gives the
/// body of a request in binary mode. Without a content type, text is a JSON string, and of bytes nothing is
/// assumed.
///
/// # Errors
/// The first rule that the event breaks.
pub fn from_sdk(event: &SdkEvent, limits: &EventLimits) -> Result<Event, Error> {
    let mut parts = EventParts::new(event.id(), event.source(), event.ty());
    let time = event.time().map(|time| {
        let text = time.to_rfc3339();
        text.strip_suffix("+00:00")
            .map_or(text.clone(), |moment| format!("{moment}Z"))
    });
    let content_type = event.datacontenttype();
    for (name, value) in [
        ("subject", event.subject()),
        ("time", time.as_deref()),
        (
            "dataschema",
            event.dataschema().map(|schema| schema.as_str()),
        ),
        ("datacontenttype", content_type),
    ] {
        if let Some(value) = value {
            parts = parts.set(name, value)?;
        }
    }
    let mut extensions: Vec<_> = event.iter_extensions().collect();
    // The SDK keeps them in a hash map; equal events are to have equal bytes.
    extensions.sort_unstable_by_key(|(name, _)| *name);
    for (name, value) in extensions {
        parts = parts.extension(name, extension_from_sdk(name, value)?)?;
    }
    parts = match event.data() {
        None => parts,
        Some(SdkData::Json(value)) => parts.json(&value.to_string()),
        Some(SdkData::String(text)) if content_type.is_none() => {
            parts.json(&serde_json::Value::from(text.as_str()).to_string())
        }
        Some(SdkData::String(text)) => parts.data(text.clone().into()),
        Some(SdkData::Binary(bytes)) => parts.data(bytes.clone().into()),
    };
    Ok(parts.build(limits)?)
}

fn extension_from_sdk<'a>(name: &str, value: &'a SdkValue) -> Result<ExtensionValue<'a>, Error> {
    Ok(match value {
        SdkValue::String(text) => ExtensionValue::String(text),
        SdkValue::Boolean(truth) => ExtensionValue::Boolean(*truth),
        SdkValue::Integer(value) => match i32::try_from(*value) {
            Ok(value) => ExtensionValue::Integer(value),
            Err(_) => {
                let name = name.to_owned();
                return Err(Error::Integer {
                    name,
                    value: *value,
                });
            }
        },
    })
}

/// Makes an event of the SDK.
///
/// # Errors
/// When the SDK's types cannot hold an attribute or the payload.
pub fn to_sdk(event: &Event) -> Result<SdkEvent, Error> {
    let mut builder = EventBuilderV10::new()
        .id(event.id())
        .source(event.source())
        .ty(event.event_type());
    if let Some(subject) = event.subject() {
        builder = builder.subject(subject);
    }
    if let Some(time) = event.time() {
        builder = builder.time(time);
    }
    for (name, value) in event.extensions() {
        builder = match value {
            ExtensionValue::String(text) => builder.extension(name, text),
            ExtensionValue::Boolean(truth) => builder.extension(name, truth),
            ExtensionValue::Integer(value) => builder.extension(name, i64::from(value)),
        };
    }
    let attribute = |error: Box<dyn std::error::Error + Send + Sync>| Error::Attribute(error);
    let mut theirs = builder.build().map_err(|error| attribute(error.into()))?;
    if let Some(schema) = event.dataschema() {
        let url = schema.into_url().map_err(|error| attribute(error.into()))?;
        theirs.set_dataschema(Some(url));
    }
    theirs.set_datacontenttype(event.datacontenttype());
    match event.data() {
        EventData::None => None,
        EventData::Json(json) => theirs.set_data_unchecked(
            serde_json::from_str::<serde_json::Value>(json).map_err(Error::Data)?,
        ),
        EventData::Text(text) => theirs.set_data_unchecked(text.into_owned()),
        EventData::Binary(bytes) => theirs.set_data_unchecked(bytes.into_owned()),
    };
    Ok(theirs)
}

#[cfg(test)]
mod tests;
