//! The whole necessary job of a router, done in the most direct way: hyper, one pass over each event,
//! hashed routes, a bounded queue a sink, batches of raw bytes. It has no settings, no metrics and no retry
//! policy, so it says what is attainable, not what is enough.

use crate::floor_log::{self, LogSender};
use crate::floor_sink::{self, QueuedEvent};
use crate::options::{ProgramError, ProgramOptions};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use sonic_rs::JsonValueTrait as _;
use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};

const TYPE: &str = "Microsoft.DigitalTwins.Twin.Update";

/// When a request is answered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AckMoment {
    Queued,
    Synced,
    Delivered,
}

struct FloorState {
    /// Beginnings of subjects, up to and with the slash; everything matches where there are none.
    areas: Option<HashSet<Vec<u8>>>,
    sinks: Vec<mpsc::Sender<QueuedEvent>>,
    log: Option<LogSender>,
    ack: AckMoment,
}

/// Counts deliveries down to the answer of a request.
pub(crate) struct OpenDeliveries {
    left: AtomicUsize,
    none_left: Notify,
}

impl OpenDeliveries {
    pub(crate) fn one_ended(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.none_left.notify_one();
        }
    }
}

/// Serves until the process is ended.
pub(crate) async fn serve(options: &ProgramOptions) -> Result<(), ProgramError> {
    let ack = match options.text("ack") {
        None | Some("queued") => AckMoment::Queued,
        Some("synced") => AckMoment::Synced,
        Some("delivered") => AckMoment::Delivered,
        Some(other) => return Err(format!("ack={other}: queued, synced or delivered").into()),
    };
    let areas = match options.number("routes", 0)? {
        0 => None,
        routes => Some((0..routes).map(|n| format!("area-{n:05}/").into_bytes())),
    };
    let sinks = options.text("sinks").ok_or("sinks=ADDRESS,…")?.split(',');
    let state = Arc::new(FloorState {
        areas: areas.map(Iterator::collect),
        sinks: sinks.map(floor_sink::start).collect(),
        log: options.text("log").map(floor_log::start).transpose()?,
        ack,
    });
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listens {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, &state));
            let connection = http1::Builder::new()
                .pipeline_flush(true)
                .serve_connection(TokioIo::new(stream), service);
            // A client that leaves ends its connection; nobody needs to hear of it.
            drop(connection.await);
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    state: &FloorState,
) -> Result<Response<Empty<Bytes>>, Infallible> {
    let mut response = Response::new(Empty::new());
    *response.status_mut() = match accept(request, state).await {
        Some(()) => StatusCode::ACCEPTED,
        None => StatusCode::BAD_REQUEST,
    };
    Ok(response)
}

/// None when a body or its events cannot be read, or the program ends.
async fn accept(request: Request<Incoming>, state: &FloorState) -> Option<()> {
    let kind = request.headers().get(CONTENT_TYPE)?.as_bytes();
    let is_batch = kind.starts_with(b"application/cloudevents-batch");
    let body = request.into_body().collect().await.ok()?.to_bytes();
    let matched = matched_events(&body, is_batch, state)?;
    if let Some(log) = &state.log {
        log.append(body).await?;
    }
    let deliveries = matched.len() * state.sinks.len();
    let open = (state.ack == AckMoment::Delivered && deliveries > 0).then(|| {
        Arc::new(OpenDeliveries {
            left: AtomicUsize::new(deliveries),
            none_left: Notify::new(),
        })
    });
    for event in matched {
        for sink in &state.sinks {
            let queued = QueuedEvent {
                text: event.clone(),
                open: open.clone(),
            };
            sink.send(queued).await.ok()?;
        }
    }
    if let Some(open) = open {
        open.none_left.notified().await;
    }
    Some(())
}

/// The raw bytes of the events that a route wants; all are checked to be JSON.
fn matched_events(body: &Bytes, is_batch: bool, state: &FloorState) -> Option<Vec<Bytes>> {
    if !is_batch {
        let wanted = is_wanted(body, state)?;
        return Some(wanted.then(|| body.clone()).into_iter().collect());
    }
    let mut matched = Vec::new();
    for event in sonic_rs::to_array_iter(&body[..]) {
        let event = event.ok()?;
        let text = event.as_raw_str().as_bytes();
        if is_wanted(text, state)? {
            matched.push(body.slice_ref(text));
        }
    }
    Some(matched)
}

fn is_wanted(event: &[u8], state: &FloorState) -> Option<bool> {
    let (mut kind, mut subject) = (None, None);
    for member in sonic_rs::to_object_iter(event) {
        let (name, value) = member.ok()?;
        match name.as_ref() {
            "type" => kind = Some(value),
            "subject" => subject = Some(value),
            _ => {}
        }
    }
    if kind?.as_str()? != TYPE {
        return Some(false);
    }
    let Some(areas) = &state.areas else {
        return Some(true);
    };
    let Some(subject) = &subject else {
        return Some(false);
    };
    let subject = subject.as_str()?.as_bytes();
    let slash = memchr::memchr(b'/', subject);
    Some(slash.is_some_and(|slash| areas.contains(&subject[..=slash])))
}
