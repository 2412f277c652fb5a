//! Servers that answer as those that a log must not be made on.

use crate::{ClusterName, JetStreamLog, JetStreamSettings, LogAddress, LogCredentials};
use std::net::{Ipv4Addr, SocketAddr};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use twinroute_journal::{ClusterLogError, RouterName};
use twinroute_model::secret::Secret;

/// Accepts one connection, shows itself and answers its first PING; gives the verbs that it was sent.
async fn server(
    version: &'static str,
    answer: &'static str,
) -> (SocketAddr, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let serve = async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (reader, mut writer) = stream.split();
        let info = format!(
            "INFO {{\"server_id\":\"N\",\"server_name\":\"old\",\"version\":\"{version}\",\"proto\":1,\"headers\":true,\"max_payload\":1048576,\"jetstream\":true,\"auth_required\":true}}\r\n"
        );
        writer.write_all(info.as_bytes()).await.unwrap();
        let mut lines = BufReader::new(reader).lines();
        let mut verbs = Vec::new();
        while let Ok(Some(line)) = lines.next_line().await {
            let verb = line.split(' ').next().unwrap_or_default().to_owned();
            if verb == "PING" {
                writer.write_all(answer.as_bytes()).await.unwrap();
            }
            verbs.push(verb);
        }
        verbs
    };
    (address, tokio::spawn(serve))
}

async fn refused(address: SocketAddr) -> String {
    let mut settings = JetStreamSettings::new(
        vec![LogAddress::new(&format!("nats://{address}")).unwrap()],
        ClusterName::new("c").unwrap(),
        RouterName::new("west").unwrap(),
    );
    settings.credentials = LogCredentials::Password {
        user: "router".to_owned(),
        password: Secret::new("hush"),
    };
    match JetStreamLog::open(&settings).await {
        Err(error @ ClusterLogError::Refused(_)) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_server_that_is_too_old_is_refused_before_anything_is_asked_of_it() {
    for version in ["2.12.3", "2.9.0", "1.4.1", "unknown"] {
        let (address, verbs) = server(version, "PONG\r\n").await;
        let error = refused(address).await;
        assert_eq!(
            error,
            format!(
                "the cluster's log refuses: server old is of version {version:?}; twinroute needs NATS 2.14 or newer: update the servers"
            )
        );
        let verbs = verbs.await.unwrap();
        assert!(
            verbs
                .iter()
                .all(|verb| ["CONNECT", "PING"].contains(&verb.as_str())),
            "{verbs:?}"
        );
    }
}

#[tokio::test]
async fn credentials_that_are_not_accepted_are_not_shown() {
    let (address, verbs) = server("2.15.1", "-ERR 'Authorization Violation'\r\n").await;
    let error = refused(address).await;
    let expect = format!(
        "the cluster's log refuses: the servers at {address} do not accept the credentials"
    );
    assert!(error.starts_with(&expect), "{error}");
    assert!(!error.contains("hush"), "{error}");
    drop(verbs.await.unwrap());
}
