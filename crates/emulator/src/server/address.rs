//! Addresses of links and what they name.

use crate::amqp::state::AmqpError;
use crate::broker::access::{AccessClaim, path};
use crate::broker::hub::EventHub;
use crate::broker::message_broker::{BrokerEntity, MessageBroker};
use crate::broker::queue::MessageQueue;
use crate::broker::topic::MessageTopic;
use std::sync::Arc;

/// What a link may be attached to.
#[derive(Clone, Debug)]
pub(super) enum LinkNode {
    Cbs,
    /// `$management` of the namespace: reads hubs.
    Management,
    /// `$management` of a queue or subscription.
    QueueManagement(Arc<MessageQueue>),
    Hub(Arc<EventHub>, Option<u16>),
    HubReader {
        hub: Arc<EventHub>,
        group: String,
        partition: u16,
    },
    Queue(Arc<MessageQueue>),
    Topic(Arc<MessageTopic>),
}

impl LinkNode {
    /// The entity that faults are scripted for.
    pub(super) fn entity(&self) -> Option<&str> {
        match self {
            Self::Hub(hub, _) => Some(&hub.name),
            Self::Queue(queue) => Some(&queue.path),
            Self::Topic(topic) => Some(&topic.name),
            Self::Cbs | Self::Management | Self::QueueManagement(_) | Self::HubReader { .. } => {
                None
            }
        }
    }

    /// Counts a transfer to it.
    pub(super) fn add_request(&self) {
        match self {
            Self::Hub(hub, _) => hub.arrivals.add_request(),
            Self::Queue(queue) => queue.arrivals.add_request(),
            Self::Topic(topic) => topic.arrivals.add_request(),
            _ => return,
        };
    }

    /// What a token must allow who sends to the node or receives from it; nothing for `$cbs`.
    pub(super) fn claim(&self, receives: bool) -> Option<AccessClaim> {
        match self {
            Self::Cbs => None,
            Self::Management | Self::QueueManagement(_) => Some(AccessClaim::Either),
            _ if receives => Some(AccessClaim::Listen),
            _ => Some(AccessClaim::Send),
        }
    }

    /// Whether clients send to it; `not-found` where the address is none that is sent to.
    pub(super) fn check_sending(&self, address: &str) -> Result<(), AmqpError> {
        match self {
            Self::HubReader { .. } => Err(not_found(address)),
            Self::Queue(queue) if queue.path.contains('/') => {
                let text = "messages are sent to queues and topics, not to subscriptions or";
                let text = format!("{}: {text} dead-letter queues", queue.path);
                Err(AmqpError::new("amqp:not-allowed", text))
            }
            _ => Ok(()),
        }
    }

    /// Whether clients receive from it.
    pub(super) fn check_receiving(&self) -> Result<(), AmqpError> {
        let (what, instead) = match self {
            Self::Hub(hub, _) => (&hub.name, "ConsumerGroups/<group>/Partitions/<number>"),
            Self::Topic(topic) => (&topic.name, "Subscriptions/<name>"),
            _ => return Ok(()),
        };
        let text = format!("nothing is received from {what} itself: receive from {what}/{instead}");
        Err(AmqpError::new("amqp:not-allowed", text))
    }
}

fn not_found(address: &str) -> AmqpError {
    let path = path(address);
    let text = format!("the messaging entity '{path}' could not be found");
    AmqpError::new("amqp:not-found", text)
}

/// Finds what `address` names; case does not matter.
///
/// # Errors
/// `amqp:not-found`, or for a partition that the hub does not have `com.microsoft:argument-out-of-range`.
pub(super) fn resolve(broker: &MessageBroker, address: &str) -> Result<LinkNode, AmqpError> {
    let node = find(broker, address).ok_or_else(|| not_found(address))?;
    let (LinkNode::Hub(hub, Some(partition)) | LinkNode::HubReader { hub, partition, .. }) = &node
    else {
        return Ok(node);
    };
    if hub.partition(*partition).is_none() {
        let last = hub.partition_count() - 1;
        let text = format!(
            "hub {} has no partition {partition}: it has 0 to {last}",
            hub.name
        );
        return Err(AmqpError::new("com.microsoft:argument-out-of-range", text));
    }
    Ok(node)
}

fn find(broker: &MessageBroker, address: &str) -> Option<LinkNode> {
    let path = path(address);
    let segments: Vec<&str> = path.split('/').collect();
    let is = |at: usize, word: &str| {
        segments
            .get(at)
            .is_some_and(|segment| segment.eq_ignore_ascii_case(word))
    };
    if segments.len() == 1 && is(0, "$cbs") {
        return Some(LinkNode::Cbs);
    }
    if segments.len() == 1 && is(0, "$management") {
        return Some(LinkNode::Management);
    }
    match (broker.entity(segments[0])?, segments.len()) {
        (BrokerEntity::Hub(hub), 1) => Some(LinkNode::Hub(Arc::clone(hub), None)),
        // Some clients read a hub at its own node.
        (BrokerEntity::Hub(_), 2) if is(1, "$management") => Some(LinkNode::Management),
        (BrokerEntity::Hub(hub), 3) if is(1, "Partitions") => {
            let partition = segments[2].parse().ok()?;
            Some(LinkNode::Hub(Arc::clone(hub), Some(partition)))
        }
        (BrokerEntity::Hub(hub), 5) if is(1, "ConsumerGroups") && is(3, "Partitions") => {
            let partition = segments[4].parse().ok()?;
            let group = segments[2].to_owned();
            let hub = Arc::clone(hub);
            hub.has_group(&group).then_some(LinkNode::HubReader {
                hub,
                group,
                partition,
            })
        }
        (BrokerEntity::Topic(topic), 1) => Some(LinkNode::Topic(Arc::clone(topic))),
        (BrokerEntity::Topic(topic), 3..) if is(1, "Subscriptions") => {
            queue_node(topic.subscription(segments[2])?, &segments[3..])
        }
        (BrokerEntity::Queue(queue), _) => queue_node(queue, &segments[1..]),
        _ => None,
    }
}

fn queue_node(queue: &Arc<MessageQueue>, rest: &[&str]) -> Option<LinkNode> {
    let is = |segment: &str, word: &str| segment.eq_ignore_ascii_case(word);
    match rest {
        [] => Some(LinkNode::Queue(Arc::clone(queue))),
        [last] if is(last, "$management") => Some(LinkNode::QueueManagement(Arc::clone(queue))),
        [first, rest @ ..] if is(first, "$DeadLetterQueue") => {
            queue_node(queue.dead_letters.as_ref()?, rest)
        }
        _ => None,
    }
}
