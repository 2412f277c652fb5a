//! Events: read, built, written.

/// ```
/// use twinroute::prelude::*;
///
/// # fn main() -> Result<(), twinroute::Error> {
/// let event = Event::from_json(r#"{"specversion":"1.0","id":"1","source":"press-7","type":"t","data":{"t":21}}"#)?;
/// assert_eq!((event.id(), event.json_data()), ("1", Some(r#"{"t":21}"#)));
/// let marked = event.clone().with_extension("site", "berlin")?;
/// assert_eq!(marked.extension("site"), Some(ExtensionValue::String("berlin")));
/// assert_eq!(marked.payload(), event.payload());
/// # Ok(())
/// # }
/// ```
pub use twinroute_model::event::Event;
/// ```
/// use twinroute::prelude::*;
///
/// # fn main() -> Result<(), twinroute::Error> {
/// let event = Event::builder().id("17").source("press-7").event_type("t").json(r#"{"t":21}"#).build()?;
/// assert_eq!(event.datacontenttype(), Some("application/json"));
/// let refused = Event::builder().id("17").event_type("t").build().unwrap_err();
/// assert!(refused.to_string().contains("source"));
/// # Ok(())
/// # }
/// ```
pub use twinroute_model::event::EventBuilder;
/// ```
/// use twinroute::event::EventData;
/// use twinroute::prelude::*;
///
/// # fn main() -> Result<(), twinroute::Error> {
/// let event = Event::builder().id("1").source("press-7").event_type("t").json(r#"{"t":21}"#).build()?;
/// assert_eq!(event.data(), EventData::Json(r#"{"t":21}"#));
/// # Ok(())
/// # }
/// ```
pub use twinroute_model::event::EventData;
/// ```
/// use twinroute::prelude::*;
///
/// # fn main() -> Result<(), twinroute::Error> {
/// let event = Event::builder().id("1").source("press-7").event_type("t").extension("line", 4).build()?;
/// assert_eq!(event.extension("line"), Some(ExtensionValue::Integer(4)));
/// # Ok(())
/// # }
/// ```
pub use twinroute_model::event::ExtensionValue;
/// ```
/// use twinroute::event::EventProblem;
/// use twinroute::prelude::*;
///
/// # fn main() -> Result<(), twinroute::Error> {
/// let refused = Event::from_json("{}").unwrap_err();
/// assert!(matches!(refused.problem, EventProblem::Missing { .. }));
/// assert_eq!(refused.index, None);
/// # Ok(())
/// # }
/// ```
pub use twinroute_model::event::InvalidEvent;
pub use twinroute_model::event::{EventLimits, EventProblem, TypedPayload};
/// ```
/// use twinroute::event::TwinKey;
/// use twinroute::prelude::*;
///
/// # fn main() -> Result<(), twinroute::Error> {
/// let event = Event::builder().id("1").source("contoso.net/digitaltwins/press-7").event_type("microsoft.iot.telemetry");
/// let event = event.build()?;
/// let twin = TwinKey::of(&event);
/// assert_eq!((twin.host, twin.twin), ("contoso.net", "press-7"));
/// # Ok(())
/// # }
/// ```
pub use twinroute_model::twin::TwinKey;
