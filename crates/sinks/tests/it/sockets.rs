//! AMQP over TCP and TLS: connection strings, ports, trust, and a broker that comes and goes.

use crate::broker::{TestBroker, TransferAction};
use crate::support::{
    certificate, connect, connect_with, deliveries, hub, settings, short, trusting,
};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;
use twinroute_model::settings::AmqpAuth;
use twinroute_router::sink::Sink;

fn emulator(address: SocketAddr) -> String {
    hub(&format!(
        "Endpoint=sb://{address};SharedAccessKeyName=RootManageSharedAccessKey;\
         SharedAccessKey=SAS_KEY_VALUE;EntityPath=hub;UseDevelopmentEmulator=true;"
    ))
}

#[tokio::test]
async fn an_emulators_port_is_kept_and_no_tls_is_used() {
    let broker = Arc::new(TestBroker::default());
    let (address, _tasks) = broker.listen("127.0.0.1:0").await;
    let sink = connect(&emulator(address), &settings());
    assert_eq!(
        short(&sink.send(&deliveries(0..40)).await),
        ["delivered"; 40]
    );
    // With buckets as default, one transfer for each of 32 keys.
    assert_eq!(broker.transfers().len(), 32);
    let audience = format!("sb://{address}/hub");
    assert_eq!(broker.tokens.lock().unwrap()[0].0, audience);
}

async fn tls_broker(
    broker: &Arc<TestBroker>,
    name: &str,
) -> (SocketAddr, Arc<rustls::ClientConfig>, JoinSet<()>) {
    let (trust, acceptor) = certificate(name);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let broker = Arc::clone(broker);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (acceptor, broker) = (acceptor.clone(), Arc::clone(&broker));
            connections.spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    broker.serve(stream).await;
                }
            });
        }
    });
    (address, trust, tasks)
}

#[tokio::test]
async fn tls_is_used_and_the_name_is_checked() {
    let broker = Arc::new(TestBroker::default());
    for (name, expected) in [
        ("localhost", "delivered"),
        ("elsewhere.example", "unreachable tls"),
    ] {
        let (address, trust, _tasks) = tls_broker(&broker, name).await;
        let port = address.port();
        let properties = hub(&format!(
            "Endpoint=sb://localhost:{port}/;SharedAccessKeyName=a;SharedAccessKey=b;EntityPath=hub"
        ));
        let sink = connect_with(trust, &properties, &settings()).unwrap();
        assert_eq!(
            short(&sink.send(&deliveries(0..1)).await),
            [expected],
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_broker_killed_mid_send_and_started_again_on_its_port_gets_everything() {
    let broker = Arc::new(TestBroker::default());
    broker.script(|_| TransferAction::Hold);
    let (address, tasks) = broker.listen("127.0.0.1:0").await;
    let sink = connect(&emulator(address), &settings());
    let sending = Arc::clone(&sink);
    let task = tokio::spawn(async move { sending.send(&deliveries(0..10)).await });
    while broker.ids().len() < 10 {
        tokio::task::yield_now().await;
    }
    let start = Instant::now();
    drop(tasks);
    for outcome in short(&task.await.unwrap()) {
        assert!(outcome.starts_with("unreachable"), "{outcome}");
    }
    assert!(
        start.elapsed() < Duration::from_secs(3),
        "{:?}",
        start.elapsed()
    );
    let down = short(&sink.send(&deliveries(0..10)).await);
    assert_eq!(down, ["unreachable connect"; 10]);
    let second = Arc::new(TestBroker::default());
    let (again, _tasks) = second.listen(&address.to_string()).await;
    assert_eq!(again, address);
    assert_eq!(
        short(&sink.send(&deliveries(0..10)).await),
        ["delivered"; 10]
    );
}

#[tokio::test]
async fn identities_and_impossible_credentials_are_reported() {
    let identity = r#""endpointType":"ServiceBus","authenticationType":"IdentityBased",
        "endpointUri":"sb://ns.servicebus.windows.net","entityPath":"topic",
        "identity":{"type":"SystemAssigned"}"#;
    let sink = connect(identity, &settings());
    assert_eq!(
        short(&sink.send(&deliveries(0..2)).await),
        ["unsupported identity"; 2]
    );
    let signature = hub(
        "Endpoint=sb://h;SharedAccessSignature=SharedAccessSignature sr=x&sig=hidden&se=1&skn=z;\
         EntityPath=hub",
    );
    let plain = settings().with(|own| own.amqp_auth = AmqpAuth::Plain);
    let roots = trusting(rustls::RootCertStore::empty());
    let error = connect_with(roots, &signature, &plain).err().unwrap();
    assert!(error.reason.contains("plain") && !error.to_string().contains("hidden"));
}

#[tokio::test]
async fn many_sends_at_once_share_one_connection() {
    let broker = Arc::new(TestBroker::default());
    let (address, _tasks) = broker.listen("127.0.0.1:0").await;
    let sink: Arc<dyn Sink> = connect(&emulator(address), &settings());
    let mut tasks = JoinSet::new();
    for first in 0..16 {
        let sink = Arc::clone(&sink);
        tasks.spawn(async move { sink.send(&deliveries(first * 100..first * 100 + 100)).await });
    }
    while let Some(outcomes) = tasks.join_next().await {
        assert!(
            short(&outcomes.unwrap())
                .iter()
                .all(|outcome| outcome == "delivered")
        );
    }
    assert_eq!((broker.ids().len(), broker.connections()), (1_600, 1));
}
