//! The `$management` node of a queue or subscription.
//!
//! Its replies spell their keys in camel case, unlike those of `$cbs` and the namespace.

use crate::amqp::message::{MessageBody, MessageContent};
use crate::amqp::state::AmqpError;
use crate::amqp::value::{AmqpValue, find, texts};
use crate::broker::queue::{MessageQueue, ReceiveMode, ReceiverSettlement};
use crate::broker::stored::LockToken;
use twinroute_model::clock::Timestamp;

type ManagementAnswer = (Vec<(AmqpValue, AmqpValue)>, AmqpValue);

/// Messages one peek or receive may ask for.
const MESSAGES_MAX: usize = 1_000;
/// 9999-01-01; .NET's latest time lies in that year.
const YEAR_9999_MILLIS: i64 = 253_370_764_800_000;

/// Answers one request, if that is allowed.
pub(super) fn answer(
    queue: &MessageQueue,
    content: &MessageContent,
    allowed: Result<(), AmqpError>,
    now: Timestamp,
) -> ManagementAnswer {
    match allowed.and_then(|()| perform(queue, content, now)) {
        Ok(Some(body)) => (status(200, "OK", None), body),
        Ok(None) => (status(204, "No messages", None), AmqpValue::Null),
        Err(problem) => {
            let code = match problem.condition.as_str() {
                "com.microsoft:message-lock-lost" | "com.microsoft:session-lock-lost" => 410,
                "amqp:unauthorized-access" => 401,
                "amqp:not-implemented" => 501,
                _ => 400,
            };
            let status = status(code, &problem.description, Some(&problem.condition));
            (status, AmqpValue::Null)
        }
    }
}

fn perform(
    queue: &MessageQueue,
    content: &MessageContent,
    now: Timestamp,
) -> Result<Option<AmqpValue>, AmqpError> {
    let operation = find(&content.application, "operation").and_then(AmqpValue::as_str);
    let asked = match &content.body {
        MessageBody::Value(map) => map,
        _ => &AmqpValue::Null,
    };
    match operation.unwrap_or_default() {
        "com.microsoft:peek-message" => Ok(peek(queue, asked)),
        "com.microsoft:renew-lock" => renew(queue, asked, now),
        "com.microsoft:update-disposition" => update(queue, asked, now),
        "com.microsoft:receive-by-sequence-number" => Ok(receive(queue, asked, now)),
        "com.microsoft:renew-session-lock" => session(asked).and_then(|name| {
            let until = queue.renew_session(name, now)?;
            Ok(Some(AmqpValue::map([(
                "expiration",
                AmqpValue::time(until),
            )])))
        }),
        "com.microsoft:get-session-state" => session(asked).and_then(|name| {
            let kept = queue.session_state(name, now)?.unwrap_or(AmqpValue::Null);
            Ok(Some(AmqpValue::map([("session-state", kept)])))
        }),
        "com.microsoft:set-session-state" => session(asked).and_then(|name| {
            let kept = asked
                .get("session-state")
                .cloned()
                .unwrap_or(AmqpValue::Null);
            queue.set_session_state(name, kept, now)?;
            Ok(Some(AmqpValue::Null))
        }),
        "com.microsoft:get-message-sessions" => sessions(queue, asked),
        other => {
            let text = format!("the operation {other} is not offered here");
            Err(AmqpError::new("amqp:not-implemented", text))
        }
    }
}

fn status(code: i32, description: &str, condition: Option<&str>) -> Vec<(AmqpValue, AmqpValue)> {
    let mut pairs = texts([
        ("statusCode", AmqpValue::Int(code)),
        ("statusDescription", AmqpValue::string(description)),
    ]);
    let condition = condition.map(|condition| ("errorCondition", AmqpValue::symbol(condition)));
    pairs.extend(condition.into_iter().flat_map(|one| texts([one])));
    pairs
}

fn session(asked: &AmqpValue) -> Result<&str, AmqpError> {
    let missing = || AmqpError::new("amqp:invalid-field", "the session is missing");
    asked
        .get("session-id")
        .and_then(AmqpValue::as_str)
        .ok_or_else(missing)
}

/// Names of sessions, a page at a time. The latest time there is asks for those with messages.
fn sessions(queue: &MessageQueue, asked: &AmqpValue) -> Result<Option<AmqpValue>, AmqpError> {
    let number = |name: &str| asked.get(name).and_then(AmqpValue::as_i64).unwrap_or(0);
    let count = |name: &str| usize::try_from(number(name)).unwrap_or(0);
    let after = number("last-updated-time");
    let after = (after < YEAR_9999_MILLIS).then_some(Timestamp::from_unix_millis(after));
    let (skip, top) = (count("skip"), count("top"));
    let names = queue.session_names(after, skip, top)?;
    if names.is_empty() {
        return Ok(None);
    }
    let next = i32::try_from(skip + names.len()).unwrap_or(i32::MAX);
    let names = names.into_iter().map(AmqpValue::string).collect();
    Ok(Some(AmqpValue::map([
        ("skip", AmqpValue::Int(next)),
        ("sessions-ids", AmqpValue::Array(names)),
    ])))
}

fn tokens(asked: &AmqpValue) -> Result<Vec<LockToken>, AmqpError> {
    let missing = || AmqpError::new("amqp:invalid-field", "the lock tokens are missing");
    let items = asked.get("lock-tokens").ok_or_else(missing)?.items();
    let token = |item: &AmqpValue| match item {
        AmqpValue::Uuid(token) => Ok(*token),
        _ => Err(missing()),
    };
    items.iter().map(token).collect()
}

fn peek(queue: &MessageQueue, asked: &AmqpValue) -> Option<AmqpValue> {
    let number = |name: &str| asked.get(name).and_then(AmqpValue::as_i64);
    let from = number("from-sequence-number").unwrap_or(0);
    let count = number("message-count")
        .and_then(|count| usize::try_from(count).ok())
        .unwrap_or(1);
    let session = asked.get("session-id").and_then(AmqpValue::as_str);
    let found = queue.peek(from, count.min(MESSAGES_MAX), session);
    let messages: Vec<AmqpValue> = found
        .iter()
        .map(|stored| AmqpValue::map([("message", AmqpValue::Binary(stored.encode(None)))]))
        .collect();
    (!messages.is_empty()).then(|| AmqpValue::map([("messages", AmqpValue::List(messages))]))
}

fn renew(
    queue: &MessageQueue,
    asked: &AmqpValue,
    now: Timestamp,
) -> Result<Option<AmqpValue>, AmqpError> {
    let renewed = tokens(asked)?.into_iter().map(|token| {
        let until = queue.renew(token, now)?;
        Ok(AmqpValue::time(until))
    });
    let expirations = renewed.collect::<Result<Vec<_>, AmqpError>>()?;
    Ok(Some(AmqpValue::map([(
        "expirations",
        AmqpValue::Array(expirations),
    )])))
}

fn update(
    queue: &MessageQueue,
    asked: &AmqpValue,
    now: Timestamp,
) -> Result<Option<AmqpValue>, AmqpError> {
    let text = |name: &str| {
        asked
            .get(name)
            .and_then(AmqpValue::as_str)
            .map(str::to_owned)
    };
    let settlement = match text("disposition-status").as_deref() {
        Some("completed") => ReceiverSettlement::Complete,
        Some("abandoned") => ReceiverSettlement::Abandon,
        // The published name has one r.
        Some("defered" | "deferred") => ReceiverSettlement::Defer,
        Some("suspended") => ReceiverSettlement::DeadLetter {
            reason: text("deadletter-reason"),
            description: text("deadletter-description"),
        },
        _ => {
            let text = "the disposition is not known";
            return Err(AmqpError::new("amqp:invalid-field", text));
        }
    };
    for token in tokens(asked)? {
        queue.settle(token, settlement.clone(), now)?;
    }
    Ok(Some(AmqpValue::Null))
}

fn receive(queue: &MessageQueue, asked: &AmqpValue, now: Timestamp) -> Option<AmqpValue> {
    let numbers = asked.get("sequence-numbers").map(AmqpValue::items);
    let numbers = numbers.unwrap_or_default().iter();
    let numbers: Vec<i64> = numbers
        .filter_map(AmqpValue::as_i64)
        .take(MESSAGES_MAX)
        .collect();
    let second = asked
        .get("receiver-settle-mode")
        .and_then(AmqpValue::as_i64)
        == Some(1);
    let mode = if second {
        ReceiveMode::PeekLock
    } else {
        ReceiveMode::ReceiveAndDelete
    };
    let session = asked.get("session-id").and_then(AmqpValue::as_str);
    let taken = queue.take_deferred(&numbers, session, mode, now);
    let messages: Vec<AmqpValue> = taken
        .into_iter()
        .map(|taken| {
            let until = second.then_some(taken.locked_until);
            AmqpValue::map([
                ("message", AmqpValue::Binary(taken.stored.encode(until))),
                ("lock-token", AmqpValue::Uuid(taken.token)),
            ])
        })
        .collect();
    (!messages.is_empty()).then(|| AmqpValue::map([("messages", AmqpValue::List(messages))]))
}
