//! What an AMQP error condition or a CBS status means for a delivery: pure tables.
//!
//! Sources: AMQP 1.0 part 2 §2.8.14-17; Azure Service Bus "AMQP errors"; azure-eventhub 5.15.1 and
//! azure-servicebus 7.15.0 (which conditions their senders repeat). Where those disagree we choose
//! what loses no event: a condition that time or an administrator can cure is the endpoint's.
//!
//! | condition | outcome |
//! |---|---|
//! | `com.microsoft:server-busy` | unavailable, throttled, 4 s or what the text asks for |
//! | `amqp:resource-limit-exceeded` | unavailable, throttled |
//! | `com.microsoft:timeout`, `…:operation-cancelled`, `…:container-close` | unavailable, unreachable |
//! | `amqp:internal-error`, `amqp:connection:*`, `amqp:session:*`, `amqp:link:*` | unavailable, unreachable |
//! | `amqp:not-found`, `com.microsoft:entity-disabled` | unavailable, gone |
//! | `amqp:unauthorized-access`, `com.microsoft:auth-failed` | unavailable, unauthorized |
//! | `amqp:link:message-size-exceeded` | reject, `payload-too-large` |
//! | `amqp:not-allowed`, `…:not-implemented`, `…:decode-error`, `…:invalid-field`, `…:precondition-failed`, `com.microsoft:argument-error`, `…:argument-out-of-range`, `…:precondition-failed`; rejected without a condition | reject |
//! | any other | retry: it was said of this event, so it counts as the event's |
//! | outcome `released`, `modified` | retry; `modified` with `undeliverable-here`: reject |
//!
//! `released` and `modified` are not delivered. They are the event's and not the endpoint's: a
//! broker says them of one message (an unroutable one, say) while others pass, and only attempts
//! that count can end such an event. A broker that means "I am full" says so with a condition.

use std::time::Duration;
use twinroute_model::retry_after::decimal;
use twinroute_router::sink::{DeliveryOutcome, EndpointFault, FailureReason, FaultKind};

/// The event, or its request, is larger than the destination takes.
pub const PAYLOAD_TOO_LARGE: &str = "payload-too-large";

/// What the Azure clients wait after `server-busy`, at least.
const BUSY: Duration = Duration::from_secs(4);
/// Longest wait that is read out of an error text.
const ASKED_MAX: Duration = Duration::from_secs(300);

/// The outcome of a delivery that was rejected with `condition`.
#[must_use]
pub fn outcome(condition: &str, description: &str) -> DeliveryOutcome {
    let description = bounded(description);
    match condition {
        "amqp:link:message-size-exceeded" => {
            DeliveryOutcome::Reject(FailureReason::new(PAYLOAD_TOO_LARGE, description))
        }
        "amqp:not-allowed"
        | "amqp:not-implemented"
        | "amqp:decode-error"
        | "amqp:invalid-field"
        | "amqp:precondition-failed"
        | "com.microsoft:argument-error"
        | "com.microsoft:argument-out-of-range"
        | "com.microsoft:precondition-failed" => {
            DeliveryOutcome::Reject(FailureReason::new(word(condition).to_owned(), description))
        }
        "" => DeliveryOutcome::Reject(FailureReason::new("rejected", description)),
        _ => match kind(condition) {
            Some(_) => DeliveryOutcome::Unavailable(fault(condition, &description)),
            None => DeliveryOutcome::Retry {
                after: None,
                reason: FailureReason::new(word(condition).to_owned(), description),
            },
        },
    }
}

/// The fault of an endpoint whose link, session or connection ended with `condition`.
///
/// What ends a link is never held against an event.
#[must_use]
pub fn fault(condition: &str, description: &str) -> EndpointFault {
    EndpointFault {
        kind: kind(condition).unwrap_or(FaultKind::Unreachable),
        after: (condition == "com.microsoft:server-busy")
            .then(|| asked_wait(description).map_or(BUSY, |asked| asked.max(BUSY))),
        reason: FailureReason::new(word(condition).to_owned(), bounded(description)),
    }
}

/// The fault that a put-token reply with a status other than 2xx stands for.
#[must_use]
pub fn cbs_fault(status: i32, description: &str) -> EndpointFault {
    let kind = match status {
        401 | 403 => FaultKind::Unauthorized,
        404 | 410 => FaultKind::Gone,
        429 | 503 => FaultKind::Throttled,
        _ => FaultKind::Unreachable,
    };
    EndpointFault {
        kind,
        after: (kind == FaultKind::Throttled).then_some(BUSY),
        reason: FailureReason::new(format!("cbs-{status}"), bounded(description)),
    }
}

/// The fault of an endpoint that answers a WebSocket handshake with a status other than 101.
#[must_use]
pub fn websocket_fault(status: u16) -> EndpointFault {
    let kind = match status {
        401 | 403 => FaultKind::Unauthorized,
        404 | 410 => FaultKind::Gone,
        429 | 503 => FaultKind::Throttled,
        _ => FaultKind::Unreachable,
    };
    let detail = "the answer to the WebSocket handshake; redirects are not followed";
    EndpointFault {
        kind,
        after: (kind == FaultKind::Throttled).then_some(BUSY),
        reason: FailureReason::new(format!("websocket-{status}"), detail),
    }
}

/// No connection, or no answer.
#[must_use]
pub fn unreachable(code: &'static str, detail: impl Into<String>) -> EndpointFault {
    EndpointFault {
        kind: FaultKind::Unreachable,
        after: None,
        reason: FailureReason::new(code, detail),
    }
}

/// A text of the peer, cut to what a log line or a dead letter's metadata can bear.
#[must_use]
pub fn bounded(text: &str) -> String {
    const CHARS_MAX: usize = 1_000;
    text.trim().chars().take(CHARS_MAX).collect()
}

fn kind(condition: &str) -> Option<FaultKind> {
    Some(match condition {
        "com.microsoft:server-busy" | "amqp:resource-limit-exceeded" => FaultKind::Throttled,
        "amqp:not-found" | "com.microsoft:entity-disabled" => FaultKind::Gone,
        "amqp:unauthorized-access" | "com.microsoft:auth-failed" => FaultKind::Unauthorized,
        "com.microsoft:timeout"
        | "com.microsoft:operation-cancelled"
        | "com.microsoft:container-close"
        | "amqp:internal-error" => FaultKind::Unreachable,
        _ if ["amqp:connection:", "amqp:session:", "amqp:link:"]
            .iter()
            .any(|prefix| condition.starts_with(prefix)) =>
        {
            FaultKind::Unreachable
        }
        _ => return None,
    })
}

/// A condition without its name space; what cannot be one is `closed`.
fn word(condition: &str) -> &str {
    const BYTES_MAX: usize = 64;
    let legal = |word: &&str| {
        (1..=BYTES_MAX).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_graphic())
    };
    let word = condition.rsplit(':').next();
    word.filter(legal).unwrap_or("closed")
}

/// Service Bus throttling texts end in `Please wait 2 seconds and try again.`
///
/// Read in any case, with any unit from milliseconds to hours, with a number of any length.
fn asked_wait(description: &str) -> Option<Duration> {
    let text = description.to_ascii_lowercase();
    text.match_indices("wait").find_map(|(at, wait)| {
        let words = text[at + wait.len()..].split_ascii_whitespace();
        let mut words = words.map(|word| word.trim_end_matches(['.', ',', ';']));
        let mut word = words.next()?;
        if matches!(word, "for" | "at" | "least" | "about") {
            word = words.find(|word| !matches!(*word, "least" | "about"))?;
        }
        let digits = word.trim_end_matches(|character: char| character.is_ascii_alphabetic());
        let unit = match &word[digits.len()..] {
            "" => words.next()?,
            unit => unit,
        };
        let unit = match unit {
            "ms" | "millisecond" | "milliseconds" => Duration::from_millis(1),
            "s" | "sec" | "secs" | "second" | "seconds" => Duration::from_secs(1),
            "m" | "min" | "mins" | "minute" | "minutes" => Duration::from_secs(60),
            "h" | "hour" | "hours" => Duration::from_secs(3_600),
            _ => return None,
        };
        Some(decimal(digits, unit)?.min(ASKED_MAX))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(outcome: &DeliveryOutcome) -> String {
        match outcome {
            DeliveryOutcome::Delivered => "delivered".to_owned(),
            DeliveryOutcome::Retry { reason, .. } => format!("retry {}", reason.code),
            DeliveryOutcome::Reject(reason) => format!("reject {}", reason.code),
            DeliveryOutcome::Unavailable(fault) => format!(
                "{} {} {}",
                fault.kind.as_str(),
                fault.reason.code,
                fault.after.map_or(0, |after| after.as_secs())
            ),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn every_condition_has_its_outcome() {
        let table = [
            ("com.microsoft:server-busy", "throttled server-busy 4"),
            (
                "amqp:resource-limit-exceeded",
                "throttled resource-limit-exceeded 0",
            ),
            ("com.microsoft:timeout", "unreachable timeout 0"),
            (
                "com.microsoft:operation-cancelled",
                "unreachable operation-cancelled 0",
            ),
            (
                "com.microsoft:container-close",
                "unreachable container-close 0",
            ),
            ("amqp:internal-error", "unreachable internal-error 0"),
            ("amqp:connection:forced", "unreachable forced 0"),
            (
                "amqp:connection:framing-error",
                "unreachable framing-error 0",
            ),
            ("amqp:link:detach-forced", "unreachable detach-forced 0"),
            ("amqp:link:stolen", "unreachable stolen 0"),
            ("amqp:not-found", "gone not-found 0"),
            ("com.microsoft:entity-disabled", "gone entity-disabled 0"),
            (
                "amqp:unauthorized-access",
                "unauthorized unauthorized-access 0",
            ),
            ("com.microsoft:auth-failed", "unauthorized auth-failed 0"),
            (
                "amqp:link:message-size-exceeded",
                "reject payload-too-large",
            ),
            ("amqp:not-allowed", "reject not-allowed"),
            ("amqp:not-implemented", "reject not-implemented"),
            ("amqp:decode-error", "reject decode-error"),
            ("amqp:invalid-field", "reject invalid-field"),
            ("amqp:precondition-failed", "reject precondition-failed"),
            ("com.microsoft:argument-error", "reject argument-error"),
            (
                "com.microsoft:argument-out-of-range",
                "reject argument-out-of-range",
            ),
            (
                "com.microsoft:precondition-failed",
                "reject precondition-failed",
            ),
            ("", "reject rejected"),
            ("com.example:new", "retry new"),
        ];
        for (condition, expected) in table {
            assert_eq!(render(&outcome(condition, "")), expected, "{condition}");
        }
    }

    #[test]
    fn a_wait_is_read_out_of_the_throttling_text() {
        let text = "The request was terminated because the entity is being throttled. \
                    Error code: 50009. Please wait 7 seconds and try again.";
        let busy = "com.microsoft:server-busy";
        assert_eq!(fault(busy, text).after, Some(Duration::from_secs(7)));
        for (text, seconds) in [
            ("Please wait 99999999 seconds", 300),
            ("Please wait 99999999999999999999999 seconds", 300),
            ("please wait 1 minute.", 60),
            ("PLEASE WAIT 7 SECONDS", 7),
            ("wait for 7s, then try again", 7),
            ("wait at least 9000 milliseconds", 9),
            ("Do not wait. Please wait 7.5 seconds and try again.", 8),
            ("Please wait 7", 4),
            ("Please wait some seconds", 4),
            ("Please wait -7 seconds", 4),
            ("wait", 4),
        ] {
            let expect = Some(Duration::from_secs(seconds));
            assert_eq!(fault(busy, text).after, expect, "{text}");
        }
    }

    #[test]
    fn what_ends_a_link_is_the_endpoints() {
        assert_eq!(fault("amqp:not-allowed", "").kind, FaultKind::Unreachable);
        assert_eq!(fault("", "").reason.code, "closed");
    }

    #[test]
    fn a_condition_becomes_a_code_only_where_it_can_be_one() {
        for condition in ["x".repeat(65), "amqp:a b".to_owned(), "é".to_owned()] {
            assert_eq!(fault(&condition, "").reason.code, "closed");
        }
        let text = "x".repeat(1 << 16);
        assert_eq!(fault("x:y", &text).reason.detail.len(), 1_000);
    }

    #[test]
    fn put_token_statuses_map_like_http() {
        for (status, kind) in [
            (401, FaultKind::Unauthorized),
            (403, FaultKind::Unauthorized),
            (404, FaultKind::Gone),
            (429, FaultKind::Throttled),
            (500, FaultKind::Unreachable),
            (503, FaultKind::Throttled),
        ] {
            assert_eq!(cbs_fault(status, "").kind, kind, "{status}");
        }
    }
}
