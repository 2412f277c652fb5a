//! A scripted HTTP server for the tests of the client.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// One request as it arrived.
#[derive(Clone, Debug)]
pub(super) struct ArrivedRequest {
    pub(super) method: String,
    /// Path and query.
    pub(super) target: String,
    /// The head in lower case.
    pub(super) head: String,
    pub(super) body: String,
}

/// What is answered.
#[derive(Clone, Debug)]
pub(super) struct FakeReply {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: String,
}

impl FakeReply {
    pub(super) fn new(status: u16, body: impl Into<String>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
        }
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

type FakeHandler = dyn Fn(&ArrivedRequest) -> FakeReply + Send + Sync;

/// Answers on a port of its own until it is dropped.
pub(super) struct FakeArm {
    pub(super) url: String,
    arrived: Arc<Mutex<Vec<ArrivedRequest>>>,
    task: JoinHandle<()>,
}

impl FakeArm {
    /// Answers each request with what `handler` says.
    pub(super) async fn serve(
        handler: impl Fn(&ArrivedRequest) -> FakeReply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let arrived = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&arrived);
        let handler: Arc<FakeHandler> = Arc::new(handler);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (log, handler) = (Arc::clone(&log), Arc::clone(&handler));
                tokio::spawn(async move {
                    // A client that goes away is no concern of the test.
                    drop(converse(stream, &log, &*handler).await);
                });
            }
        });
        Self { url, arrived, task }
    }

    /// Gives these answers in turn, then 500 with a text that no test expects.
    pub(super) async fn script(replies: impl IntoIterator<Item = FakeReply>) -> Self {
        let replies = Mutex::new(replies.into_iter().collect::<VecDeque<_>>());
        Self::serve(move |_| {
            let next = replies.lock().unwrap().pop_front();
            next.unwrap_or_else(|| FakeReply::new(418, "the script is over"))
        })
        .await
    }

    pub(super) fn arrived(&self) -> Vec<ArrivedRequest> {
        self.arrived.lock().unwrap().clone()
    }

    /// Method and target of what arrived.
    pub(super) fn targets(&self) -> Vec<String> {
        let name = |request: &ArrivedRequest| format!("{} {}", request.method, request.target);
        self.arrived().iter().map(name).collect()
    }
}

impl Drop for FakeArm {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn converse(
    mut stream: TcpStream,
    log: &Mutex<Vec<ArrivedRequest>>,
    handler: &FakeHandler,
) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = bytes.windows(4).position(|part| part == b"\r\n\r\n") {
                break at + 4;
            }
            let end = stream.read_buf(&mut bytes).await? == 0;
            // A method begins with a letter; what does not is TLS, which would wait for an answer.
            if end || !bytes[0].is_ascii_uppercase() {
                return Ok(());
            }
        };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let lower = head.to_ascii_lowercase();
        let length = lower.split("content-length:").nth(1);
        let length = length.and_then(|rest| rest.split("\r\n").next()?.trim().parse().ok());
        let length: usize = length.unwrap_or(0);
        while bytes.len() < end + length {
            if stream.read_buf(&mut bytes).await? == 0 {
                return Ok(());
            }
        }
        let mut words = head.split(' ');
        let request = ArrivedRequest {
            method: words.next().unwrap_or_default().to_owned(),
            target: words.next().unwrap_or_default().to_owned(),
            head: lower,
            body: String::from_utf8_lossy(&bytes[end..end + length]).into_owned(),
        };
        bytes.drain(..end + length);
        log.lock().unwrap().push(request.clone());
        let reply = handler(&request);
        let mut text = format!("HTTP/1.1 {} X\r\n", reply.status);
        for (name, value) in &reply.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        let length = reply.body.len();
        if reply.status != 204 {
            text.push_str(&format!("content-length: {length}\r\n"));
        }
        text.push_str(&format!("\r\n{}", reply.body));
        stream.write_all(text.as_bytes()).await?;
    }
}
