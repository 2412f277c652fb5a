//! Producers: each posts one request after the other over one connection until the process is gone.

use super::content;
use super::daemon::PATIENCE;
use super::history::{Answer, History, Post};
use super::wire::Connection;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use twinroute_model::clock::{Clock as _, SystemClock, Timestamp};

/// How many there are.
const PRODUCERS: u32 = 6;

/// What happens, as it is written down from everywhere.
#[derive(Clone, Debug, Default)]
pub(super) struct Record(Arc<Mutex<History>>);

impl Record {
    pub(super) fn lock(&self) -> MutexGuard<'_, History> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn failed(&self, what: impl Into<String>) {
        self.lock().failures.push(what.into());
    }

    /// Writes down a post that is about to be sent; gives its place.
    fn sent(&self, post: Post) -> usize {
        let mut history = self.lock();
        history.posts.push(post);
        history.posts.len() - 1
    }

    fn answered(&self, place: usize, answer: Answer) {
        self.lock().posts[place].answer = answer;
    }
}

pub(super) fn now() -> Timestamp {
    SystemClock.now()
}

/// All producers over all lives: each goes on where it was.
pub(super) struct Producers {
    seed: u64,
    next: Vec<u32>,
    record: Record,
}

/// Producers at work in one life.
pub(super) struct Working {
    tasks: JoinSet<(u32, u32)>,
    acknowledged: watch::Receiver<u32>,
    stop: watch::Sender<bool>,
}

impl Producers {
    pub(super) fn new(seed: u64, record: Record) -> Self {
        Self {
            seed,
            next: vec![0; PRODUCERS as usize],
            record,
        }
    }

    /// Sets them to work.
    pub(super) fn start(&self, address: SocketAddr) -> Working {
        let (count, acknowledged) = watch::channel(0);
        let (stop, stopped) = watch::channel(false);
        let count = Arc::new(count);
        let mut tasks = JoinSet::new();
        for (producer, next) in (0..).zip(&self.next) {
            let producer = Producer {
                seed: self.seed,
                number: producer,
                next: *next,
                record: self.record.clone(),
                acknowledged: Arc::clone(&count),
                stopped: stopped.clone(),
            };
            tasks.spawn(producer.run(address));
        }
        Working {
            tasks,
            acknowledged,
            stop,
        }
    }

    /// Waits until all of them are refused.
    ///
    /// # Errors
    /// Some of them still are not after a while.
    pub(super) async fn until_refused(&mut self, working: Working) -> anyhow::Result<u32> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        // Each producer has its end of the channel until it ends.
        while working.acknowledged.has_changed().is_ok() {
            anyhow::ensure!(
                tokio::time::Instant::now() < deadline,
                "posts are accepted for ever"
            );
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        Ok(self.end(working).await)
    }

    /// Waits until they have ended: told to, or because the process is gone.
    pub(super) async fn end(&mut self, mut working: Working) -> u32 {
        working.stop.send_replace(true);
        while let Some(ended) = working.tasks.join_next().await {
            match ended {
                Ok((producer, next)) => self.next[producer as usize] = next,
                Err(error) => self.record.failed(format!("a producer: {error}")),
            }
        }
        *working.acknowledged.borrow()
    }
}

impl Working {
    /// Waits until so many posts of this life were acknowledged; false when that takes too long.
    pub(super) async fn reach(&mut self, count: u32) -> bool {
        let reached = self.acknowledged.wait_for(|reached| *reached >= count);
        matches!(timeout(PATIENCE, reached).await, Ok(Ok(_)))
    }
}

struct Producer {
    seed: u64,
    number: u32,
    next: u32,
    record: Record,
    acknowledged: Arc<watch::Sender<u32>>,
    stopped: watch::Receiver<bool>,
}

impl Producer {
    /// Gives its number and that of its next post.
    async fn run(mut self, address: SocketAddr) -> (u32, u32) {
        if let Ok(mut connection) = Connection::open(address).await {
            while !*self.stopped.borrow() && self.post(&mut connection).await {}
        }
        (self.number, self.next)
    }

    /// Posts once and gives whether there is anybody to post to again.
    ///
    /// A post that was not answered is not repeated: whether it was accepted is for the oracle.
    async fn post(&mut self, connection: &mut Connection) -> bool {
        let request = content::request(self.seed, self.number, self.next);
        let place = self.record.sent(Post {
            producer: self.number,
            number: self.next,
            sent_at: now(),
            answer: Answer::None,
            events: request.events,
        });
        self.next += 1;
        match timeout(PATIENCE, connection.exchange(&request.bytes)).await {
            Ok(Ok((202, _))) => {
                self.record.answered(place, Answer::Acknowledged(now()));
                self.acknowledged.send_modify(|count| *count += 1);
                true
            }
            Ok(Ok((status, body))) => {
                self.record.answered(place, Answer::Refused(status));
                // What a process that stops, or whose journal is full, says.
                if status != 503 {
                    let body = String::from_utf8_lossy(&body);
                    self.record.failed(format!("a post got {status}: {body}"));
                }
                false
            }
            Ok(Err(_)) => false,
            Err(_) => {
                self.record.failed("a post got no answer in time");
                false
            }
        }
    }
}
