//! The list of all entities.

use crate::blob::BlobAccount;
use crate::broker::message_broker::{BrokerEntity, MessageBroker};
use crate::broker::queue::MessageQueue;
use crate::event_grid::EventGridService;
use serde_json::{Value, json};
use std::sync::Arc;

/// What can be inspected.
#[derive(Clone, Debug)]
pub(crate) struct HeldEntities {
    pub(crate) broker: Arc<MessageBroker>,
    pub(crate) event_grid: Arc<EventGridService>,
    pub(crate) blobs: Arc<BlobAccount>,
}

/// Every entity with how much it holds.
pub(super) fn entities(held: &HeldEntities) -> Value {
    let (mut hubs, mut topics, mut queues) = (Vec::new(), Vec::new(), Vec::new());
    for entity in held.broker.entities_by_name() {
        match entity {
            BrokerEntity::Hub(hub) => hubs.push(json!({
                "name": hub.name,
                "partitions": hub.partition_count(),
                "consumerGroups": hub.consumer_groups(),
                "events": hub.event_count(),
            })),
            BrokerEntity::Topic(topic) => {
                let subscriptions = topic.subscriptions.iter().map(|queue| render_queue(queue));
                topics.push(json!({
                    "name": topic.name,
                    "subscriptions": subscriptions.collect::<Vec<_>>(),
                }));
            }
            BrokerEntity::Queue(queue) => queues.push(render_queue(queue)),
        }
    }
    let grid = held.event_grid.topics.iter();
    let grid = grid.map(|topic| json!({ "name": topic.name, "events": topic.event_count() }));
    let containers = held.blobs.container_counts();
    let containers = containers
        .into_iter()
        .map(|(name, blobs)| json!({ "name": name, "blobs": blobs }));
    json!({
        "hubs": hubs,
        "topics": topics,
        "queues": queues,
        "eventGridTopics": grid.collect::<Vec<_>>(),
        "containers": containers.collect::<Vec<_>>(),
    })
}

/// Everything that has a name, by the parameter that names it.
pub(super) fn names(held: &HeldEntities) -> Vec<(&'static str, String)> {
    let mut all = Vec::new();
    for entity in held.broker.entities_by_name() {
        match entity {
            BrokerEntity::Hub(hub) => all.push(("hub", hub.name.clone())),
            BrokerEntity::Queue(queue) => all.push(("queue", queue.path.clone())),
            BrokerEntity::Topic(topic) => all.extend(topic.subscriptions.iter().map(|queue| {
                let name = format!("{}/{}", topic.name, queue.own_name());
                ("subscription", name)
            })),
        }
    }
    all.extend(
        held.event_grid
            .topics
            .iter()
            .map(|topic| ("topic", topic.name.clone())),
    );
    let containers = held.blobs.container_counts().into_iter();
    all.extend(containers.map(|(name, _)| ("container", name)));
    all
}

fn render_queue(queue: &MessageQueue) -> Value {
    json!({
        "name": queue.own_name(),
        "sessions": queue.settings.requires_session,
        "messages": queue.message_count(),
        "deadLetters": queue.dead_letters.as_ref().map_or(0, |dead| dead.message_count()),
    })
}
