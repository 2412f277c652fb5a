//! Two servers to hold against each other with a load generator: `bare` is hyper that reads a body and
//! drops it, `memory` is the whole of twinroute before a sink that takes everything at once.
//!
//! ```text
//! cargo run --profile dist -p twinroute-benches --example ingress -- memory 9001
//! wrk -t1 -c32 -d5s -s benches/examples/post.lua http://127.0.0.1:9001/events
//! ```
//!
//! Both run on the same runtime; compare only figures of one sitting. `twinroute-cpu` on standard output
//! tells the CPU time used when the program is stopped by SIGTERM.

use futures_util::future::{BoxFuture, FutureExt};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use std::error::Error;
use std::sync::Arc;
use tokio::net::TcpListener;
use twinroute_ingress::{IngressServer, Settings};
use twinroute_listen::ListeningSocket;
use twinroute_model::clock::SystemClock;
use twinroute_router::Router;
use twinroute_router::sink::{BatchLimits, Delivery, DeliveryOutcome, Sink};

/// Takes everything at once.
struct MemorySink;

impl Sink for MemorySink {
    fn limits(&self) -> BatchLimits {
        BatchLimits {
            events_max: 5_000,
            bytes_max: 4 << 20,
            in_flight_max: 4,
        }
    }

    fn send<'a>(&'a self, batch: &'a [Delivery]) -> BoxFuture<'a, Vec<DeliveryOutcome>> {
        async move { vec![DeliveryOutcome::Delivered; batch.len()] }.boxed()
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let kind = arguments.next().unwrap_or_default();
    let port: u16 = arguments
        .next()
        .ok_or("usage: ingress bare|memory PORT")?
        .parse()?;
    let serving = async {
        match kind.as_str() {
            "bare" => bare(port).await,
            "memory" => memory(port).await,
            other => Err(format!("bare or memory, not {other:?}").into()),
        }
    };
    let mut stop = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        result = serving => result?,
        _ = stop.recv() => {}
    }
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    println!(
        "twinroute-cpu {}.{:03} s",
        used.tv_sec,
        used.tv_nsec / 1_000_000
    );
    Ok(())
}

async fn bare(port: u16) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let service = hyper::service::service_fn(read_and_drop);
            // A client that goes away ends its connection; nobody needs to hear of it.
            drop(
                hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service)
                    .await,
            );
        });
    }
}

async fn read_and_drop(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = match request.into_body().collect().await {
        Ok(_) => StatusCode::ACCEPTED,
        Err(_) => StatusCode::BAD_REQUEST,
    };
    Ok(response)
}

async fn memory(port: u16) -> Result<(), Box<dyn Error>> {
    let router = Router::builder()
        .sink("memory", MemorySink)
        .route(
            "updates",
            "memory",
            "type = 'Microsoft.DigitalTwins.Twin.Update'",
        )
        .build()?;
    let settings = Settings {
        listen: vec![format!("127.0.0.1:{port}").parse()?],
        ..Settings::default()
    };
    let listeners = ListeningSocket::bind_all(&settings.listen, &settings.sockets())?;
    let ingress = IngressServer::new(&settings, router, Arc::new(SystemClock));
    ingress.serve(listeners, std::future::pending()).await;
    Ok(())
}
