//! One endpoint of the floor: a bounded queue, batches of up to 100 events that wait 5 ms at most to fill,
//! four requests in flight. What fails is sent again until it is taken.

use crate::floor::OpenDeliveries;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};

const QUEUE_EVENTS: usize = 20_000;
const BATCH_EVENTS: usize = 100;
const LINGER: Duration = Duration::from_millis(5);
const IN_FLIGHT: usize = 4;
const PAUSE: Duration = Duration::from_millis(100);

/// An event on its way to one sink.
pub(crate) struct QueuedEvent {
    pub(crate) text: Bytes,
    pub(crate) open: Option<Arc<OpenDeliveries>>,
}

type SinkClient = SendRequest<Full<Bytes>>;

/// Starts a sink; it ends with the last sender.
pub(crate) fn start(address: &str) -> mpsc::Sender<QueuedEvent> {
    let (sender, events) = mpsc::channel(QUEUE_EVENTS);
    tokio::spawn(run(address.into(), events));
    sender
}

async fn run(address: Arc<str>, mut events: mpsc::Receiver<QueuedEvent>) {
    // A client that is idle is a place among those in flight.
    let (free, mut idle) = mpsc::channel::<Option<SinkClient>>(IN_FLIGHT);
    for _ in 0..IN_FLIGHT {
        drop(free.send(None).await);
    }
    while let Some(first) = events.recv().await {
        let batch = gather(first, &mut events).await;
        let Some(mut client) = idle.recv().await else {
            return;
        };
        let (address, free) = (Arc::clone(&address), free.clone());
        tokio::spawn(async move {
            post(&mut client, &address, joined(&batch)).await;
            for event in &batch {
                if let Some(open) = &event.open {
                    open.one_ended();
                }
            }
            drop(free.send(client).await);
        });
    }
}

async fn gather(first: QueuedEvent, events: &mut mpsc::Receiver<QueuedEvent>) -> Vec<QueuedEvent> {
    let mut batch = Vec::with_capacity(BATCH_EVENTS);
    batch.push(first);
    let until = Instant::now() + LINGER;
    while batch.len() < BATCH_EVENTS {
        let room = BATCH_EVENTS - batch.len();
        match timeout_at(until, events.recv_many(&mut batch, room)).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
    }
    batch
}

fn joined(batch: &[QueuedEvent]) -> Bytes {
    let length: usize = batch.iter().map(|event| event.text.len() + 1).sum();
    let mut body = Vec::with_capacity(length + 2);
    for event in batch {
        body.push(if body.is_empty() { b'[' } else { b',' });
        body.extend_from_slice(&event.text);
    }
    body.push(b']');
    body.into()
}

async fn post(client: &mut Option<SinkClient>, address: &str, body: Bytes) {
    loop {
        if client.as_ref().is_none_or(SendRequest::is_closed) {
            *client = connect(address).await.ok();
        }
        if let Some(open) = client
            && is_taken(open, address, body.clone()).await.unwrap_or(false)
        {
            return;
        }
        *client = None;
        sleep(PAUSE).await;
    }
}

async fn connect(address: &str) -> Result<SinkClient, Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (client, connection) = handshake(TokioIo::new(stream)).await?;
    // Its end is seen by the client.
    tokio::spawn(async move { drop(connection.await) });
    Ok(client)
}

async fn is_taken(client: &mut SinkClient, address: &str, body: Bytes) -> hyper::Result<bool> {
    client.ready().await?;
    let request = Request::post("/")
        .header("host", address)
        .header("content-type", "application/cloudevents-batch+json")
        .body(Full::new(body))
        .expect("a valid request");
    let response = client.send_request(request).await?;
    let taken = response.status().is_success();
    response.into_body().collect().await?;
    Ok(taken)
}
