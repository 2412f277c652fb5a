//! What happened in a run, as plain data: what the oracle judges and tests forge.

use twinroute_model::clock::Timestamp;

/// A destination of the scene.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Endpoint {
    /// The Event Grid topic `grid-1`.
    Grid,
    /// The event hub `hub-1`.
    Hub,
    /// The Service Bus topic `topic-1`.
    Topic,
}

impl Endpoint {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Grid, Self::Hub, Self::Topic];

    /// Its name in the definitions.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Grid => "grid-1",
            Self::Hub => "hub-1",
            Self::Topic => "topic-1",
        }
    }

    /// Whether one request is sent before the last one was answered.
    #[must_use]
    pub const fn has_pipeline(self) -> bool {
        match self {
            Self::Grid => false,
            Self::Hub | Self::Topic => true,
        }
    }

    /// Whether its dead letters go to a container; those of the others are kept by the process.
    #[must_use]
    pub const fn has_container(self) -> bool {
        match self {
            Self::Grid => false,
            Self::Hub | Self::Topic => true,
        }
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Some of the destinations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Endpoints([bool; Endpoint::ALL.len()]);

impl Endpoints {
    /// Every destination.
    pub const ALL: Self = Self([true; Endpoint::ALL.len()]);

    /// Whether `endpoint` is one of them.
    #[must_use]
    pub fn has(self, endpoint: Endpoint) -> bool {
        self.0[endpoint as usize]
    }

    /// Those of `self` that are not in `other`.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        let only = |endpoint: &Endpoint| self.has(*endpoint) && !other.has(*endpoint);
        Endpoint::ALL.into_iter().filter(only).collect()
    }

    /// They, in the order of [`Endpoint::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Endpoint> {
        Endpoint::ALL
            .into_iter()
            .filter(move |endpoint| self.has(*endpoint))
    }
}

impl FromIterator<Endpoint> for Endpoints {
    fn from_iter<I: IntoIterator<Item = Endpoint>>(endpoints: I) -> Self {
        let mut set = Self::default();
        for endpoint in endpoints {
            set.0[endpoint as usize] = true;
        }
        set
    }
}

/// An event by its place: orders the events of one producer as they were posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId {
    /// Who posted it.
    pub producer: u32,
    /// With which of its posts, from 0.
    pub post: u32,
    /// Its place in the post, from 0.
    pub index: u32,
}

impl EventId {
    /// Reads what [`std::fmt::Display`] writes; nothing else is an id of ours.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-').map(|part| part.parse().ok());
        let id = Self {
            producer: parts.next()??,
            post: parts.next()??,
            index: parts.next()??,
        };
        (id.to_string() == text).then_some(id)
    }
}

impl std::fmt::Display for EventId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}-{}-{}", self.producer, self.post, self.index)
    }
}

/// An event that was posted.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// Its twin, by number; no two producers share one.
    pub twin: u32,
    /// Hash over attributes and payload.
    pub content: u64,
    /// Hash over its bytes, where it was posted as JSON.
    pub json: Option<u64>,
    /// The endpoints that its routes name.
    pub matched: Endpoints,
    /// Those of them that can never take it.
    pub refused_by: Endpoints,
}

/// What a producer was told about a post.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Accepted, whole and on disk.
    Acknowledged(Timestamp),
    /// Not accepted.
    Refused(u16),
    /// The connection ended before an answer: nobody can say.
    None,
}

/// One request of a producer.
#[derive(Clone, Debug)]
pub struct Post {
    /// The producer.
    pub producer: u32,
    /// Its number among the producer's posts, from 0.
    pub number: u32,
    /// Just before it was sent.
    pub sent_at: Timestamp,
    /// What came back.
    pub answer: Answer,
    /// What it held.
    pub events: Vec<Event>,
}

/// One event that arrived somewhere.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Where.
    pub endpoint: Endpoint,
    /// The id it came with.
    pub id: String,
    /// Hash over what it came with, as [`Event::content`].
    pub content: u64,
    /// When.
    pub at: Timestamp,
}

/// A dead letter that stands in a container, or that the process keeps, in the end.
#[derive(Clone, Debug)]
pub struct Letter {
    /// Whose container, or whose it is in the listing.
    pub endpoint: Endpoint,
    /// Where.
    pub place: Place,
    /// The id of the event in it.
    pub id: String,
    /// Hash over that event, as [`Event::content`].
    pub content: u64,
    /// Hash over its bytes, as [`Event::json`].
    pub json: u64,
    /// When it was stored, or, if it is kept, when its event died.
    pub at: Timestamp,
}

/// Where a dead letter is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In its endpoint's container.
    Container {
        /// The name of the blob.
        name: String,
        /// SHA-256 of source, id and bytes, with NUL in between, hexadecimal: what a second name ends in.
        seal: String,
    },
    /// With the process, under this sequence.
    Kept(u64),
}

impl std::fmt::Display for Place {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Container { name, .. } => formatter.write_str(name),
            Self::Kept(sequence) => write!(formatter, "kept as {sequence}"),
        }
    }
}

/// A replay of an endpoint's dead letters. It goes on in later lives.
#[derive(Clone, Copy, Debug)]
pub struct Replay {
    /// Whose.
    pub endpoint: Endpoint,
    /// Just before it was asked for.
    pub from: Timestamp,
}

/// A time in which something was wrong, on purpose.
#[derive(Clone, Copy, Debug)]
pub struct Disturbance {
    /// When it began at the earliest.
    pub from: Timestamp,
    /// When it was over at the latest.
    pub to: Timestamp,
    /// Who was touched.
    pub endpoints: Endpoints,
    /// Events that each of them may have refused for good.
    pub refusals: u32,
    /// Whether each of them may have failed to take single requests, while others passed.
    pub alone: bool,
    /// Whether the process was dead in it.
    pub kill: bool,
}

impl Disturbance {
    /// Whether some of it lies in this time, ends included.
    #[must_use]
    pub fn touches(&self, endpoint: Endpoint, from: Timestamp, to: Timestamp) -> bool {
        self.endpoints.has(endpoint) && self.from <= to && from <= self.to
    }
}

/// The counts of one endpoint, as `/status` tells them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
pub struct Ledger {
    /// Deliveries that routes made.
    pub matched: u64,
    /// Deliveries that replays made.
    pub replayed: u64,
    /// Deliveries that wait.
    pub queued: u64,
    /// Deliveries on their way.
    pub in_flight: u64,
    /// Deliveries that failed alone and wait.
    pub retrying: u64,
    /// Deliveries that arrived.
    pub delivered: u64,
    /// Deliveries that ended as dead letters.
    pub dead_letters: DeadLetters,
    /// Deliveries discarded.
    pub discarded: u64,
}

/// The dead letters of one endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
pub struct DeadLetters {
    /// In the container.
    pub uploaded: u64,
    /// Kept until the container takes them.
    pub awaiting_upload: u64,
    /// Kept.
    pub local: u64,
    /// Kept until a replay took their place.
    pub replayed: u64,
}

impl Ledger {
    /// What is not settled, or not yet where it stays.
    #[must_use]
    pub const fn pending(&self) -> u64 {
        self.queued + self.in_flight + self.retrying + self.dead_letters.awaiting_upload
    }

    /// Whether every delivery is in exactly one state.
    #[must_use]
    pub const fn adds_up(&self) -> bool {
        let dead = &self.dead_letters;
        let stay = dead.uploaded + dead.local + dead.replayed;
        self.matched + self.replayed == self.pending() + self.delivered + stay + self.discarded
    }
}

/// One look at `/status`.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot {
    /// The life of the process it is from, from 0.
    pub life: u32,
    /// Just before it was asked for.
    pub asked_at: Timestamp,
    /// Just after it came.
    pub answered_at: Timestamp,
    /// By [`Endpoint::ALL`].
    pub ledgers: [Ledger; Endpoint::ALL.len()],
}

/// A whole run.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// All posts; those of one producer stand in their order.
    pub posts: Vec<Post>,
    /// All that arrived; what came to one endpoint stands in the order it came.
    pub deliveries: Vec<Delivery>,
    /// All dead letters that there are in the end.
    pub letters: Vec<Letter>,
    /// All that was done to the process and its destinations.
    pub disturbances: Vec<Disturbance>,
    /// All replays that were begun.
    pub replays: Vec<Replay>,
    /// From when on nothing is wrong any more, and everything from before is settled.
    pub calm_from: Option<Timestamp>,
    /// All looks at `/status`, in order; the last was taken when all had been drained.
    pub snapshots: Vec<Snapshot>,
    /// What went wrong besides: a start that failed, a journal that does not verify, a panic.
    pub failures: Vec<String>,
}
