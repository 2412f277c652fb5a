//! Producers that post batches as fast as they are answered, each on a connection and in a thread of its own.

use crate::process::pause;
use anyhow::{Context as _, bail};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What the id of each event begins with; its number follows.
pub(super) const ID_PREFIX: &str = "flood-";

const PRODUCERS: usize = 64;
const BATCH_EVENTS: usize = 100;
/// Bytes of an event, about.
const EVENT_BYTES: usize = 1_024;
/// Events are numbered up to here: what a run has time for, and more.
const EVENTS_MAX: usize = 20_000_000;
/// A producer that was refused waits so long: it is impatient.
const REFUSED_PAUSE: Duration = Duration::from_millis(50);
/// The longest that an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// What producers were told.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SentCounts {
    pub(super) acknowledged: u64,
    pub(super) refused: u64,
}

/// All producers at work.
pub(super) struct ProducerLoad(Vec<JoinHandle<anyhow::Result<SentCounts>>>);

impl ProducerLoad {
    /// Starts them; they begin no request after `until`.
    pub(super) fn start(router: SocketAddr, until: Instant) -> Self {
        let next = Arc::new(AtomicUsize::new(0));
        let producer = |producer| {
            let next = Arc::clone(&next);
            std::thread::spawn(move || produce(router, producer, &next, until))
        };
        Self((0..PRODUCERS).map(producer).collect())
    }

    pub(super) fn has_ended(&self) -> bool {
        self.0.iter().all(JoinHandle::is_finished)
    }

    /// What they were told together.
    ///
    /// # Errors
    /// An answer that none of them should get, or none.
    pub(super) fn join(self) -> anyhow::Result<SentCounts> {
        let mut all = SentCounts::default();
        for producer in self.0 {
            let sent = producer.join().ok().context("a producer panicked")??;
            all.acknowledged += sent.acknowledged;
            all.refused += sent.refused;
        }
        Ok(all)
    }
}

fn produce(
    router: SocketAddr,
    producer: usize,
    next: &AtomicUsize,
    until: Instant,
) -> anyhow::Result<SentCounts> {
    let mut sent = SentCounts::default();
    let mut connection = connect(router)?;
    while Instant::now() < until {
        let first = next.fetch_add(BATCH_EVENTS, Ordering::Relaxed);
        if first >= EVENTS_MAX {
            break;
        }
        let request = request(producer, first);
        loop {
            connection.get_mut().write_all(&request)?;
            let answer = answer(&mut connection)?;
            match answer.status {
                202 => {
                    sent.acknowledged += BATCH_EVENTS as u64;
                    break;
                }
                503 => sent.refused += 1,
                status => bail!("a batch was answered {status}"),
            }
            pause(REFUSED_PAUSE);
            if answer.closes {
                connection = connect(router)?;
            }
            if Instant::now() >= until {
                break;
            }
        }
    }
    Ok(sent)
}

fn connect(router: SocketAddr) -> anyhow::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect(router).context("cannot connect")?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    Ok(BufReader::new(stream))
}

fn request(producer: usize, first: usize) -> Vec<u8> {
    let padding = "x".repeat(EVENT_BYTES - 200);
    let mut body = String::with_capacity(BATCH_EVENTS * (EVENT_BYTES + 50));
    for number in first..first + BATCH_EVENTS {
        body.push(if body.is_empty() { '[' } else { ',' });
        let twin = number - first;
        body.push_str(&format!(
            r#"{{"specversion":"1.0","id":"{ID_PREFIX}{number}","source":"hall","#
        ));
        body.push_str(&format!(
            r#""type":"Microsoft.DigitalTwins.Twin.Update","subject":"room-{producer}-{twin}","#
        ));
        body.push_str(&format!(r#""data":{{"padding":"{padding}"}}}}"#));
    }
    body.push(']');
    let head = format!(
        "POST /events HTTP/1.1\r\nhost: localhost\r\n\
         content-type: application/cloudevents-batch+json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head, body].concat().into_bytes()
}

struct BatchAnswer {
    status: u16,
    closes: bool,
}

/// Reads an answer and its body.
fn answer(connection: &mut BufReader<TcpStream>) -> anyhow::Result<BatchAnswer> {
    let mut line = String::new();
    connection.read_line(&mut line)?;
    let status = line
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let status = status.with_context(|| format!("no answer, but {line:?}"))?;
    let (mut length, mut closes) = (0, false);
    loop {
        line.clear();
        connection.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().context("content-length")?,
            "connection" => closes = value.eq_ignore_ascii_case("close"),
            _ => {}
        }
    }
    let copied = std::io::copy(&mut connection.take(length), &mut std::io::sink())?;
    if copied < length {
        bail!("an answer is cut off");
    }
    Ok(BatchAnswer { status, closes })
}
