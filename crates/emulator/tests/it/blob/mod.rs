//! Blob containers over plain HTTP.

mod access;
mod faults;
mod operations;

use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use twinroute_emulator::{BlobSettings, RunningEmulator, Settings};
use twinroute_model::clock::{ManualClock, Timestamp};

/// Wed, 01 Jan 2025 00:00:00 GMT.
const NOW: Timestamp = Timestamp::from_unix_millis(1_735_689_600_000);
const END: Timestamp = Timestamp::from_unix_millis(1_735_693_200_000);
const CONTAINER: &str = "letters";
const BLOCK_BLOB: (&str, &str) = ("x-ms-blob-type", "BlockBlob");
const NEW_ONLY: (&str, &str) = ("if-none-match", "*");

/// An emulator with one container, and the clock it lives by.
struct ContainerScene {
    emulator: RunningEmulator,
    clock: ManualClock,
}

/// What came back for a request.
#[derive(Debug)]
struct BlobAnswer {
    status: u16,
    head: String,
    body: String,
}

impl BlobAnswer {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (known, value) = line.split_once(": ")?;
            known.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    /// Status and error code.
    fn refusal(&self) -> (u16, &str) {
        (self.status, self.header("x-ms-error-code").unwrap_or("-"))
    }

    /// The texts of all elements of this name.
    fn elements(&self, name: &str) -> Vec<&str> {
        let (start, end) = (format!("<{name}>"), format!("</{name}>"));
        let parts = self.body.split(&start).skip(1);
        parts
            .map(|part| part.split(&end).next().unwrap_or_default())
            .collect()
    }
}

impl ContainerScene {
    async fn set() -> Self {
        let settings = Settings {
            blob: BlobSettings {
                containers: vec![CONTAINER.to_owned()],
                ..BlobSettings::default()
            },
            ..Settings::default()
        };
        Self::with(settings).await
    }

    async fn with(settings: Settings) -> Self {
        let clock = ManualClock::new(NOW);
        let emulator = RunningEmulator::start(settings, Arc::new(clock.clone())).await;
        Self {
            emulator: emulator.unwrap(),
            clock,
        }
    }

    /// A query with a signature for the container until [`END`].
    fn signed(&self, permissions: &str) -> String {
        self.signed_for(CONTAINER, permissions)
    }

    fn signed_for(&self, container: &str, permissions: &str) -> String {
        let url = self.emulator.container_sas_url(container, permissions, END);
        url.split_once('?').unwrap().1.to_owned()
    }

    /// A request to `/devstoreaccount1/<path>?<query>`; everything until the server closes.
    async fn send(
        &self,
        method: &str,
        path: &str,
        query: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> BlobAnswer {
        let head = format!("{method} /devstoreaccount1/{path}?{query} HTTP/1.1\r\n");
        self.send_raw(&head, headers, body)
            .await
            .unwrap_or_else(|| panic!("no answer to {head}"))
    }

    /// `None` when the connection ends without an answer.
    async fn send_raw(
        &self,
        head: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Option<BlobAnswer> {
        let mut text = format!("{head}Host: x\r\nConnection: close\r\n");
        if !headers.iter().any(|(name, _)| *name == "transfer-encoding") {
            text.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str(&format!("\r\n{body}"));
        let mut stream = TcpStream::connect(self.emulator.blob_address())
            .await
            .unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap_or_default();
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some(BlobAnswer {
            status: head.split(' ').nth(1)?.parse().unwrap(),
            head: head.to_owned(),
            body: body.to_owned(),
        })
    }

    /// Puts a blob with all permissions.
    async fn put(&self, name: &str, headers: &[(&str, &str)], body: &str) -> BlobAnswer {
        let headers = [&[BLOCK_BLOB], headers].concat();
        let path = format!("{CONTAINER}/{name}");
        self.send("PUT", &path, &self.signed("racwdl"), &headers, body)
            .await
    }

    /// Any other request for the container or a blob in it, with all permissions.
    async fn ask(&self, method: &str, name: &str, query: &str, body: &str) -> BlobAnswer {
        let query = format!("{query}&{}", self.signed("racwdl"));
        let path = format!("{CONTAINER}{name}");
        self.send(method, &path, &query, &[], body).await
    }
}
