//! Addresses of links and what they name.

use crate::broker::hub::Hub;
use crate::broker::queue::Queue;
use crate::broker::topic::Topic;
use crate::store::{Entity, Store};
use std::sync::Arc;

/// What a link may be attached to.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Cbs,
    /// `$management` of the namespace: reads hubs.
    Management,
    /// `$management` of a queue or subscription.
    QueueManagement(Arc<Queue>),
    Hub(Arc<Hub>, Option<u16>),
    HubReader {
        hub: Arc<Hub>,
        group: String,
        partition: u16,
    },
    Queue(Arc<Queue>),
    Topic(Arc<Topic>),
}

impl Node {
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

    pub(super) fn takes_messages(&self) -> bool {
        !matches!(self, Self::HubReader { .. })
    }

    pub(super) fn gives_messages(&self) -> bool {
        !matches!(self, Self::Hub(..) | Self::Topic(_))
    }
}

/// The path in an address: the Python clients put whole URIs, the others bare paths.
pub(super) fn path(address: &str) -> &str {
    let path = match address.split_once("://") {
        Some((_, rest)) => rest.split_once('/').map_or("", |(_, path)| path),
        None => address,
    };
    path.trim_matches('/')
}

/// Finds what `address` names; case does not matter.
pub(super) fn resolve(store: &Store, address: &str) -> Option<Node> {
    let path = path(address);
    let segments: Vec<&str> = path.split('/').collect();
    let is = |at: usize, word: &str| {
        segments
            .get(at)
            .is_some_and(|segment| segment.eq_ignore_ascii_case(word))
    };
    if segments.len() == 1 && is(0, "$cbs") {
        return Some(Node::Cbs);
    }
    if segments.len() == 1 && is(0, "$management") {
        return Some(Node::Management);
    }
    match (store.entity(segments[0])?, segments.len()) {
        (Entity::Hub(hub), 1) => Some(Node::Hub(Arc::clone(hub), None)),
        // Some clients read a hub at its own node.
        (Entity::Hub(_), 2) if is(1, "$management") => Some(Node::Management),
        (Entity::Hub(hub), 3) if is(1, "Partitions") => {
            let partition = segments[2].parse().ok()?;
            hub.partition(partition)?;
            Some(Node::Hub(Arc::clone(hub), Some(partition)))
        }
        (Entity::Hub(hub), 5) if is(1, "ConsumerGroups") && is(3, "Partitions") => {
            let partition = segments[4].parse().ok()?;
            hub.partition(partition)?;
            let group = segments[2].to_owned();
            let hub = Arc::clone(hub);
            hub.has_group(&group).then_some(Node::HubReader {
                hub,
                group,
                partition,
            })
        }
        (Entity::Topic(topic), 1) => Some(Node::Topic(Arc::clone(topic))),
        (Entity::Topic(topic), 3..) if is(1, "Subscriptions") => {
            queue_node(topic.subscription(segments[2])?, &segments[3..])
        }
        (Entity::Queue(queue), _) => queue_node(queue, &segments[1..]),
        _ => None,
    }
}

fn queue_node(queue: &Arc<Queue>, rest: &[&str]) -> Option<Node> {
    let is = |segment: &str, word: &str| segment.eq_ignore_ascii_case(word);
    match rest {
        [] => Some(Node::Queue(Arc::clone(queue))),
        [last] if is(last, "$management") => Some(Node::QueueManagement(Arc::clone(queue))),
        [first, rest @ ..] if is(first, "$DeadLetterQueue") => {
            queue_node(queue.dead_letters.as_ref()?, rest)
        }
        _ => None,
    }
}
