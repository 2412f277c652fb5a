//! Management APIs, and what the command line asks.

use super::hostile::{ANSWERS, Endless, HostileServer};
use super::{COST_BYTES_MAX, cost, outgoing, together};
use std::sync::Arc;
use std::time::Duration;
use twinroute_admin::client::{ANSWER_BYTES_MAX, AdminClient};
use twinroute_arm::api::ArmApi;
use twinroute_arm::http;
use twinroute_listen::ListenAddress;
use twinroute_model::clock::SystemClock;

/// What ten definitions at a time may cost: their readers' own buffers are most of it, and vary by a quarter from run
/// to run.
const DEFINITIONS_COST_BYTES_MAX: usize = 12 << 20;

/// What the command line may spend on an admin API, which its user chose: an answer, and the next buffer of it.
const ADMIN_COST_BYTES_MAX: usize = 3 * ANSWER_BYTES_MAX;

/// Values without end in a list.
const LIST: Endless = Endless {
    name: "items of a list",
    begin: b"HTTP/1.1 200 OK\r\n\r\n{\"value\":[0",
    again: b",0,0,0,0",
};

/// A page with as many items as its bytes let it have.
const PAGE: Endless = Endless {
    name: "pages",
    begin: b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
    again: b"8\r\n{\"value\"\r\n",
};

pub(crate) async fn attack() {
    for answer in ANSWERS.into_iter().chain([LIST, PAGE]) {
        let server = HostileServer::start(answer).await;
        let client = http::client(&outgoing(), None).unwrap();
        let api = ArmApi::without_token(&server.url(), client, Arc::new(SystemClock)).unwrap();
        let name = format!("management API, a definition: {} without end", answer.name);
        let get = |_| get(api.clone());
        cost(&name, DEFINITIONS_COST_BYTES_MAX, together(get)).await;
        let name = format!("management API, a list: {} without end", answer.name);
        let list = api.list("/endpoints", "2023-01-31");
        let list = async { drop(tokio::time::timeout(Duration::from_millis(800), list).await) };
        cost(&name, COST_BYTES_MAX, list).await;
        let admin = AdminClient::plain(ListenAddress::Tcp(server.address));
        let name = format!(
            "admin API, asked by the command line: {} without end",
            answer.name
        );
        let status = async { drop(admin.get("/status", Duration::from_millis(800)).await) };
        cost(&name, ADMIN_COST_BYTES_MAX, status).await;
    }
}

async fn get(api: ArmApi) {
    let asked = api.get("/x", "2023-01-31");
    drop(tokio::time::timeout(Duration::from_millis(800), asked).await);
}
