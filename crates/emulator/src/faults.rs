//! Scripted faults: what the next sends, attaches, connections, posts, requests for blobs, tokens or secrets
//! are answered with.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

/// How a transfer to a hub, queue or topic is answered instead of being accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendAnswer {
    /// Outcome `rejected` with this condition, such as `com.microsoft:server-busy`.
    Reject(String),
    /// Outcome `released`.
    Release,
    /// Outcome `modified`.
    Modify,
    /// No disposition at all; the message is not stored.
    Stall,
    /// The message is stored, but no disposition follows: its outcome stays unknown.
    StoreAndStall,
    /// The message is stored and accepted after this time.
    AcceptAfter(Duration),
    /// The link is detached with this condition; the message is not stored.
    Detach(String),
    /// The connection is closed with this condition; the message is not stored.
    Close(String),
    /// The socket is dropped; the message is not stored.
    Drop,
    /// The message is stored, then the socket is dropped: a resend makes a duplicate.
    StoreAndDrop,
}

impl SendAnswer {
    /// Whether the message is kept.
    pub(crate) fn stores(&self) -> bool {
        matches!(
            self,
            Self::StoreAndStall | Self::AcceptAfter(_) | Self::StoreAndDrop
        )
    }
}

/// How a post to an Event Grid topic is answered instead of being accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PostAnswer {
    /// This status with an error body, and a `Retry-After` in seconds if given.
    Status(u16, Option<u64>),
    /// No answer at all; the events are not stored.
    Stall,
    /// The events are stored and accepted after this time.
    AcceptAfter(Duration),
    /// The connection is dropped; the events are not stored.
    Drop,
    /// The events are stored, then the connection is dropped: a resend makes duplicates.
    StoreAndDrop,
}

/// How a request to a blob container is answered instead of being done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlobAnswer {
    /// This status and error code, and a `Retry-After` in seconds if given. A service that is throttled
    /// says 503 `ServerBusy`, one that fails 500 `InternalError`.
    Status(u16, String, Option<u64>),
    /// 409, as when the store is full.
    Full,
    /// 404 `ContainerNotFound`, whatever the container holds.
    ContainerAbsent,
    /// No answer at all; nothing is done.
    Stall,
    /// The request is done and answered after this time.
    AnswerAfter(Duration),
    /// The connection is dropped; nothing is done.
    Drop,
    /// The request is done, then the connection is dropped: its outcome stays unknown.
    StoreAndDrop,
}

impl BlobAnswer {
    /// 503 `ServerBusy`, with a `Retry-After` in seconds if given.
    #[must_use]
    pub fn busy(retry_after_seconds: Option<u64>) -> Self {
        Self::Status(503, "ServerBusy".to_owned(), retry_after_seconds)
    }
}

/// How a request for a token is answered instead of being granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenAnswer {
    /// This status, and a `Retry-After` in seconds if given.
    Status(u16, Option<u64>),
    /// The no that is for good: the identity is not known, the application's secret has expired.
    Refuse,
    /// No answer at all.
    Stall,
    /// The token comes after this time.
    AnswerAfter(Duration),
    /// The connection is dropped.
    Drop,
    /// A token for another audience than was asked for.
    Audience(String),
    /// A token that ends after this time.
    Life(Duration),
}

/// How a request to the vault is answered instead of being done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VaultAnswer {
    /// This status, and a `Retry-After` in seconds if given. A vault that is throttled says 429.
    Status(u16, Option<u64>),
    /// No answer at all.
    Stall,
    /// The answer comes after this time.
    AnswerAfter(Duration),
    /// The connection is dropped.
    Drop,
}

/// The script. Faults of one entity are used up in the order they were added.
#[derive(Debug, Default)]
pub struct ScriptedFaults(Mutex<FaultScript>);

#[derive(Debug, Default)]
struct FaultScript {
    sends: FaultQueues<SendAnswer>,
    attaches: FaultQueues<String>,
    posts: FaultQueues<PostAnswer>,
    blobs: FaultQueues<BlobAnswer>,
    tokens: FaultQueues<TokenAnswer>,
    vault: FaultQueues<VaultAnswer>,
    refused_connections: usize,
}

type FaultQueues<T> = HashMap<String, VecDeque<(T, usize)>>;

impl ScriptedFaults {
    /// A count that is never used up: the fault lasts until [`ScriptedFaults::clear`] or the `clear_…` of its kind.
    pub const ALWAYS: usize = usize::MAX;

    /// Stands for every resource.
    pub const ANY: &str = "*";

    /// The next `count` transfers to the hub, queue or topic `entity` are answered so.
    pub fn sends(&self, entity: &str, answer: SendAnswer, count: usize) {
        self.with(|script| push(&mut script.sends, entity, answer, count));
    }

    /// The next `count` sender links to `entity` are refused with this condition.
    pub fn attaches(&self, entity: &str, condition: &str, count: usize) {
        self.with(|script| push(&mut script.attaches, entity, condition.to_owned(), count));
    }

    /// The next `count` posts to the Event Grid topic are answered so.
    pub fn posts(&self, topic: &str, answer: PostAnswer, count: usize) {
        self.with(|script| push(&mut script.posts, topic, answer, count));
    }

    /// The next `count` requests to the container, or to anything in it, are answered so.
    pub fn blobs(&self, container: &str, answer: BlobAnswer, count: usize) {
        self.with(|script| push(&mut script.blobs, container, answer, count));
    }

    /// Forgets the faults of a container that have not happened yet.
    pub fn clear_blobs(&self, container: &str) {
        self.with(|script| script.blobs.remove(&container.to_ascii_lowercase()));
    }

    /// The next `count` requests for tokens for `resource`, such as `https://eventhubs.azure.net`, are
    /// answered so; those for any resource when it is [`ScriptedFaults::ANY`].
    pub fn tokens(&self, resource: &str, answer: TokenAnswer, count: usize) {
        let resource = resource.trim_end_matches('/');
        self.with(|script| push(&mut script.tokens, resource, answer, count));
    }

    /// Forgets the faults of tokens that have not happened yet.
    pub fn clear_tokens(&self) {
        self.with(|script| script.tokens.clear());
    }

    /// Forgets those of one resource, or those of any when it is [`ScriptedFaults::ANY`].
    pub fn clear_tokens_of(&self, resource: &str) {
        let resource = resource.trim_end_matches('/').to_ascii_lowercase();
        self.with(|script| script.tokens.remove(&resource));
    }

    /// The next `count` requests to the vault are answered so.
    pub fn vault(&self, answer: VaultAnswer, count: usize) {
        self.with(|script| push(&mut script.vault, Self::ANY, answer, count));
    }

    /// The next `count` AMQP connections are dropped when they are accepted.
    pub fn connections(&self, count: usize) {
        self.with(|script| script.refused_connections += count);
    }

    /// Forgets every fault that has not happened yet.
    pub fn clear(&self) {
        self.with(|script| *script = FaultScript::default());
    }

    pub(crate) fn next_send(&self, entity: &str) -> Option<SendAnswer> {
        self.with(|script| pop(&mut script.sends, entity))
    }

    pub(crate) fn next_attach(&self, entity: &str) -> Option<String> {
        self.with(|script| pop(&mut script.attaches, entity))
    }

    pub(crate) fn next_post(&self, topic: &str) -> Option<PostAnswer> {
        self.with(|script| pop(&mut script.posts, topic))
    }

    pub(crate) fn next_blob(&self, container: &str) -> Option<BlobAnswer> {
        self.with(|script| pop(&mut script.blobs, container))
    }

    pub(crate) fn next_token(&self, resource: &str) -> Option<TokenAnswer> {
        let resource = resource.trim_end_matches('/');
        self.with(|script| {
            let own = pop(&mut script.tokens, resource);
            own.or_else(|| pop(&mut script.tokens, Self::ANY))
        })
    }

    pub(crate) fn next_vault(&self) -> Option<VaultAnswer> {
        self.with(|script| pop(&mut script.vault, Self::ANY))
    }

    pub(crate) fn next_connection_refused(&self) -> bool {
        self.with(|script| {
            let refused = script.refused_connections > 0;
            script.refused_connections -= usize::from(refused);
            refused
        })
    }

    fn with<T>(&self, change: impl FnOnce(&mut FaultScript) -> T) -> T {
        change(&mut self.0.lock().expect("no fault panics"))
    }
}

fn push<T>(queues: &mut FaultQueues<T>, entity: &str, answer: T, count: usize) {
    if count > 0 {
        queues
            .entry(entity.to_ascii_lowercase())
            .or_default()
            .push_back((answer, count));
    }
}

fn pop<T: Clone>(queues: &mut FaultQueues<T>, entity: &str) -> Option<T> {
    if queues.is_empty() {
        return None;
    }
    let entity = entity.to_ascii_lowercase();
    let queue = queues.get_mut(&entity)?;
    let (answer, left) = queue.front_mut()?;
    let answer = answer.clone();
    if *left != ScriptedFaults::ALWAYS {
        *left -= 1;
    }
    if *left == 0 {
        queue.pop_front();
    }
    if queue.is_empty() {
        queues.remove(&entity);
    }
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_used_up_in_order_and_per_entity() {
        let faults = ScriptedFaults::default();
        faults.sends("Hub", SendAnswer::Stall, 2);
        faults.sends("hub", SendAnswer::Drop, 1);
        assert_eq!(faults.next_send("other"), None);
        let seen: Vec<_> = std::iter::from_fn(|| faults.next_send("hub")).collect();
        assert_eq!(
            seen,
            [SendAnswer::Stall, SendAnswer::Stall, SendAnswer::Drop]
        );
        faults.connections(1);
        assert!(faults.next_connection_refused());
        assert!(!faults.next_connection_refused());
        faults.blobs("letters", BlobAnswer::Full, ScriptedFaults::ALWAYS);
        assert_eq!(faults.next_blob("letters"), Some(BlobAnswer::Full));
        assert_eq!(faults.next_blob("Letters"), Some(BlobAnswer::Full));
        faults.clear_blobs("letters");
        assert_eq!(faults.next_blob("letters"), None);
    }
}
