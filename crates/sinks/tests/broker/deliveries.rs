//! Deliveries for sinks, and what becomes of them in a word.

use twinroute_model::event::{EventLimits, EventParts};
use twinroute_router::sink::{Delivery, DeliveryOutcome};

/// One of a twin of its own, with data of about so many bytes.
pub(crate) fn delivery(id: usize, data_bytes: usize) -> Delivery {
    let parts = EventParts::new(&id.to_string(), "h", "t");
    delivery_of(id, parts, &format!("twin{id}"), data_bytes)
}

/// An event of `subject`, with data of about so many bytes.
pub(crate) fn delivery_of(
    id: usize,
    parts: EventParts,
    subject: &str,
    data_bytes: usize,
) -> Delivery {
    let event = parts
        .set("subject", subject)
        .unwrap()
        .json(&format!("\"{}\"", "x".repeat(data_bytes)))
        .build(&EventLimits::default())
        .unwrap();
    Delivery::new(id as u64, event)
}

/// Outcomes in short: `delivered`, `reject <code>`, `<kind> <code>`.
pub(crate) fn short(outcomes: &[DeliveryOutcome]) -> Vec<String> {
    outcomes.iter().map(short_outcome).collect()
}

/// One outcome in short.
pub(crate) fn short_outcome(outcome: &DeliveryOutcome) -> String {
    match outcome {
        DeliveryOutcome::Delivered => "delivered".to_owned(),
        DeliveryOutcome::Retry { reason, .. } => format!("retry {}", reason.code),
        DeliveryOutcome::Reject(reason) => format!("reject {}", reason.code),
        DeliveryOutcome::Unavailable(fault) => {
            format!("{} {}", fault.kind.as_str(), fault.reason.code)
        }
        other => format!("{other:?}"),
    }
}
