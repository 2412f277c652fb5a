//! `$cbs` and the `$management` of a namespace: requests on one link, replies on another.

use super::address::LinkNode;
use super::context::PeerContext;
use super::entity_management;
use super::session::{LinkSession, LinkSource, OutboundLink, SessionLink};
use crate::amqp::message::{self, MessageBody, MessageContent};
use crate::amqp::value::{AmqpValue, find, texts};
use crate::broker::access::AccessClaim;
use crate::broker::hub::EventHub;
use crate::broker::message_broker::BrokerEntity;
use bytes::Bytes;

/// Replies that wait for credit on one link; a client that takes none loses the oldest.
const REPLIES_MAX: usize = 1_000;

/// Answers a request on the fitting reply link.
pub(super) fn request(
    context: &mut PeerContext,
    session: &mut LinkSession,
    node: &LinkNode,
    address: &str,
    request: &Bytes,
) {
    // What cannot be read cannot be answered either: there is no id to answer to.
    let Ok(content) = message::content(request) else {
        return;
    };
    let property = |at: usize| {
        content
            .properties
            .get(at)
            .cloned()
            .unwrap_or(AmqpValue::Null)
    };
    let correlation = property(0);
    let (application, body) = match node {
        LinkNode::Cbs => (put_token(context, &content), AmqpValue::Null),
        LinkNode::Management => read(context, &content),
        LinkNode::QueueManagement(queue) => {
            let (now, live) = (context.broker.now(), context.broker.rules.live());
            // All that is offered there is a receiver's: peeking, locks, settling, sessions.
            let allowed = context
                .grants
                .allow(address, AccessClaim::Listen, now, &live);
            entity_management::answer(queue, &content, allowed, now)
        }
        _ => return,
    };
    let reply_to = property(4);
    let bytes = message::reply(correlation, application, body);
    queue_reply(session, address, reply_to.as_str(), bytes);
}

/// JavaScript names the link or its target in reply-to; Python names nothing and has one link.
fn queue_reply(session: &mut LinkSession, address: &str, reply_to: Option<&str>, reply: Bytes) {
    let named = |link: &OutboundLink| {
        reply_to.is_some_and(|to| to == link.name || link.reply_to.as_deref() == Some(to))
    };
    let mut best = None;
    for (handle, link) in &session.links {
        let SessionLink::Outbound(link) = link else {
            continue;
        };
        let same = link.address.eq_ignore_ascii_case(address);
        if same && matches!(link.source, LinkSource::Replies(_)) && (best.is_none() || named(link))
        {
            best = Some(*handle);
        }
    }
    let link = best.and_then(|handle| session.links.get_mut(&handle));
    if let Some(SessionLink::Outbound(OutboundLink {
        source: LinkSource::Replies(replies),
        ..
    })) = link
    {
        if replies.len() >= REPLIES_MAX {
            replies.pop_front();
        }
        replies.push_back(reply);
    }
}

fn status(code: i32, description: &str) -> Vec<(AmqpValue, AmqpValue)> {
    let description = AmqpValue::string(description);
    texts([
        ("status-code", AmqpValue::Int(code)),
        ("status-description", description),
    ])
}

fn put_token(context: &mut PeerContext, content: &MessageContent) -> Vec<(AmqpValue, AmqpValue)> {
    let application = |name: &str| find(&content.application, name).and_then(AmqpValue::as_str);
    if application("operation") != Some("put-token") {
        return status(400, "only put-token is known here");
    }
    let Some(audience) = application("name") else {
        return status(400, "the audience is missing");
    };
    let MessageBody::Value(AmqpValue::String(token)) = &content.body else {
        return status(400, "the token is missing");
    };
    let broker = &context.broker;
    let issuer = broker.issuer.as_deref();
    let checked = broker.rules.check(token, audience, issuer, broker.now());
    match checked.and_then(|grant| context.grants.add(grant)) {
        Ok(()) => status(200, "OK"),
        Err(why) => status(401, &why),
    }
}

fn read(
    context: &PeerContext,
    content: &MessageContent,
) -> (Vec<(AmqpValue, AmqpValue)>, AmqpValue) {
    let found = find_asked(context, content);
    found.map_or_else(
        |(code, text)| (status(code, &text), AmqpValue::Null),
        |map| (status(200, "OK"), map),
    )
}

/// What a request to `$management` is about; a status and its text when there is no such thing.
fn find_asked(context: &PeerContext, content: &MessageContent) -> Result<AmqpValue, (i32, String)> {
    let application = |name: &str| find(&content.application, name).and_then(AmqpValue::as_str);
    if application("operation") != Some("READ") {
        return Err((400, "only READ is known here".to_owned()));
    }
    let name = application("name").unwrap_or_default();
    let Some(BrokerEntity::Hub(hub)) = context.broker.entity(name) else {
        let text = format!("the messaging entity '{name}' could not be found");
        return Err((404, text));
    };
    match application("type") {
        Some("com.microsoft:eventhub") => Ok(hub_map(hub)),
        Some("com.microsoft:partition") => {
            let map = application("partition").and_then(|number| partition_map(hub, number));
            map.ok_or_else(|| (404, "no such partition".to_owned()))
        }
        _ => Err((400, "the type is not known".to_owned())),
    }
}

fn hub_map(hub: &EventHub) -> AmqpValue {
    let count = hub.partition_count();
    let ids = (0..count).map(|number| AmqpValue::string(number.to_string()));
    let count = i32::try_from(count).unwrap_or(i32::MAX);
    AmqpValue::map([
        ("name", AmqpValue::string(&hub.name)),
        ("type", AmqpValue::string("com.microsoft:eventhub")),
        ("created_at", AmqpValue::time(hub.created_at)),
        ("partition_count", AmqpValue::Int(count)),
        ("partition_ids", AmqpValue::Array(ids.collect())),
        ("georeplication_factor", AmqpValue::Int(1)),
    ])
}

fn partition_map(hub: &EventHub, number: &str) -> Option<AmqpValue> {
    let state = hub.partition(number.parse().ok()?)?.state();
    let last = state.last_enqueued_at;
    let last_sequence = AmqpValue::Long(state.last_sequence);
    let last_offset = AmqpValue::string(state.last_offset.to_string());
    let last_time = AmqpValue::time(last.unwrap_or(hub.created_at));
    Some(AmqpValue::map([
        ("name", AmqpValue::string(&hub.name)),
        ("type", AmqpValue::string("com.microsoft:partition")),
        ("partition", AmqpValue::string(number)),
        (
            "begin_sequence_number",
            AmqpValue::Long(state.begin_sequence),
        ),
        ("last_enqueued_sequence_number", last_sequence),
        ("last_enqueued_offset", last_offset),
        ("last_enqueued_time_utc", last_time),
        ("is_partition_empty", AmqpValue::Bool(last.is_none())),
    ]))
}
