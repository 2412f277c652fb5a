//! What is logged of dead letters over the wire. In a process of its own: who logs first decides for all threads whether
//! anybody listens.

#![cfg(feature = "blob")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

#[path = "dead_letter_container/fake.rs"]
#[allow(dead_code, reason = "the tests of containers use all of it")]
mod fake;

use fake::{FakeAnswer, FakeContainer, NOW, SIGNATURE, dead, putting};
use std::io::Write;
use std::sync::{Arc, Mutex};

/// What was logged.
#[derive(Clone, Default)]
struct TestLog(Arc<Mutex<Vec<u8>>>);

impl Write for TestLog {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn not_even_the_finest_log_has_the_signature() {
    let log = TestLog::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let fake = FakeContainer::start([
        FakeAnswer::status(201),
        FakeAnswer::status(500),
        FakeAnswer::cut(),
    ])
    .await;
    let container = fake.container("w");
    putting(&container, NOW).await.unwrap();
    for _ in 0..2 {
        putting(&container, NOW).await.unwrap_err();
    }
    assert!(!format!("{container:?} {:?}", dead()).contains(SIGNATURE));
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("PUT"), "nothing was logged: {text}");
    assert!(!text.contains(SIGNATURE), "{text}");
}
