//! The posting end: connections that stay open, one request at a time each.

use crate::{BenchError, monotonic, percentile};
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Events are of so many twins.
const TWINS: u64 = 1_000;
/// Bytes of an event.
const EVENT_BYTES: usize = 1024;

/// What is posted.
#[derive(Clone, Copy)]
pub(crate) struct PostPlan {
    pub(crate) connections: usize,
    pub(crate) events: u64,
    /// Events of one request.
    pub(crate) batch: u64,
}

/// What came of it.
pub(crate) struct PostResult {
    /// Events that were acknowledged.
    pub(crate) acknowledged: u64,
    /// Requests that were refused.
    pub(crate) refused: u64,
    pub(crate) seconds: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

#[derive(Default)]
struct PostPart {
    acknowledged: u64,
    refused: u64,
    micros: Vec<u32>,
}

/// Posts as fast as it is acknowledged.
pub(crate) async fn flat_out(address: &str, posts: PostPlan) -> Result<PostResult, BenchError> {
    let begun = monotonic();
    let next = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..posts.connections {
        let (next, address) = (Arc::clone(&next), address.to_owned());
        tasks.spawn(async move {
            let mut connection = PostConnection::open(&address).await?;
            let mut part = PostPart::default();
            loop {
                let first = next.fetch_add(posts.batch, Ordering::Relaxed);
                if first >= posts.events {
                    return Ok(part);
                }
                connection
                    .post(first, posts.batch, monotonic(), &mut part)
                    .await?;
            }
        });
    }
    sum(tasks, begun).await
}

/// Posts single events when each is due, whatever became of those before, as far as connections go.
pub(crate) async fn at_rate(
    address: &str,
    posts: PostPlan,
    rate: u64,
) -> Result<PostResult, BenchError> {
    let begun = monotonic();
    let (send, due) = mpsc::unbounded_channel::<(u64, u64)>();
    let due = Arc::new(Mutex::new(due));
    // Timers of the runtime are good to a millisecond only.
    let pace = move || {
        for index in 0..posts.events {
            let at = begun + index * (1_000_000_000 / rate);
            loop {
                let left = at.saturating_sub(monotonic());
                if left == 0 {
                    break;
                }
                std::thread::park_timeout(Duration::from_nanos(left));
            }
            if send.send((index, at)).is_err() {
                return;
            }
        }
    };
    std::thread::spawn(pace);
    let mut tasks = JoinSet::new();
    for _ in 0..posts.connections {
        let (due, address) = (Arc::clone(&due), address.to_owned());
        tasks.spawn(async move {
            let mut connection = PostConnection::open(&address).await?;
            let mut part = PostPart::default();
            loop {
                let next = due.lock().await.recv().await;
                let Some((index, at)) = next else {
                    return Ok(part);
                };
                connection.post(index, 1, at, &mut part).await?;
            }
        });
    }
    sum(tasks, begun).await
}

async fn sum(
    mut tasks: JoinSet<Result<PostPart, std::io::Error>>,
    begun: u64,
) -> Result<PostResult, BenchError> {
    let mut all = PostPart::default();
    while let Some(part) = tasks.join_next().await {
        let part = part??;
        all.acknowledged += part.acknowledged;
        all.refused += part.refused;
        all.micros.extend(part.micros);
    }
    Ok(PostResult {
        acknowledged: all.acknowledged,
        refused: all.refused,
        seconds: (monotonic() - begun) as f64 / 1e9,
        p50_ms: percentile(&mut all.micros, 0.5),
        p99_ms: percentile(&mut all.micros, 0.99),
    })
}

struct PostConnection {
    stream: TcpStream,
    request: String,
    body: String,
    answer: Vec<u8>,
    padding: String,
}

impl PostConnection {
    async fn open(address: &str) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut connection = Self {
            stream,
            request: String::new(),
            body: String::new(),
            answer: Vec::new(),
            padding: String::new(),
        };
        connection.event(0, 0);
        connection.padding = "x".repeat(EVENT_BYTES - connection.body.len());
        Ok(connection)
    }

    fn event(&mut self, index: u64, at: u64) {
        write!(
            self.body,
            concat!(
                r#"{{"specversion":"1.0","id":"e{:010}","sentat":"{:020}","#,
                r#""type":"Microsoft.DigitalTwins.Twin.Update","#,
                r#""source":"plant.api.weu.digitaltwins.azure.net","subject":"room-{:04}","#,
                r#""time":"2026-01-01T00:00:00Z","datacontenttype":"application/json","#,
                r#""traceparent":"00-2aa957558db348f387ef704b37631a1d-590d733a1b798149-01","#,
                r#""data":{{"modelId":"dtmi:plant:Room;1","patch":[{{"op":"replace","#,
                r#""path":"/temperature","value":21.50}}],"padding":"{}"}}}}"#,
            ),
            index,
            at,
            index % TWINS,
            self.padding
        )
        .expect("a String takes all");
    }

    async fn post(
        &mut self,
        first: u64,
        events: u64,
        at: u64,
        part: &mut PostPart,
    ) -> std::io::Result<()> {
        self.body.clear();
        let kind = if events == 1 { "" } else { "-batch" };
        for index in first..first + events {
            if events > 1 {
                self.body.push(if index == first { '[' } else { ',' });
            }
            self.event(index, at);
        }
        if events > 1 {
            self.body.push(']');
        }
        self.request.clear();
        write!(
            self.request,
            "POST /events HTTP/1.1\r\nhost: twinroute\r\n\
             content-type: application/cloudevents{kind}+json\r\ncontent-length: {}\r\n\r\n{}",
            self.body.len(),
            self.body
        )
        .expect("a String takes all");
        self.stream.write_all(self.request.as_bytes()).await?;
        if self.accepted().await? {
            part.acknowledged += events;
        } else {
            part.refused += 1;
        }
        let micros = monotonic().saturating_sub(at) / 1000;
        part.micros.push(u32::try_from(micros).unwrap_or(u32::MAX));
        Ok(())
    }

    /// Reads one answer; whether it is 2xx.
    async fn accepted(&mut self) -> std::io::Result<bool> {
        self.answer.clear();
        loop {
            if self.stream.read_buf(&mut self.answer).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            let head = self.answer.windows(4).position(|four| four == b"\r\n\r\n");
            let Some(head) = head.map(|at| at + 4) else {
                continue;
            };
            if self.answer.len() >= head + content_length(&self.answer[..head]) {
                return Ok(self.answer.starts_with(b"HTTP/1.1 2"));
            }
        }
    }
}

/// The length of the body that follows a head; 0 when it does not say.
pub(crate) fn content_length(head: &[u8]) -> usize {
    let name = b"content-length:";
    let at = head
        .windows(name.len())
        .position(|bytes| bytes.eq_ignore_ascii_case(name));
    let Some(at) = at else {
        return 0;
    };
    let digits = head[at + name.len()..].iter().copied();
    let digits = digits.skip_while(|byte| *byte == b' ');
    let digits = digits.take_while(u8::is_ascii_digit);
    digits.fold(0, |length, digit| length * 10 + usize::from(digit - b'0'))
}
