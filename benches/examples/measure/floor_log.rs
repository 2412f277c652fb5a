//! The log of the floor: bodies are appended in groups, and each group is synced once before it is answered.

use crate::options::ProgramError;
use hyper::body::Bytes;
use std::fs::File;
use std::io::{Seek as _, Write as _};
use tokio::sync::{mpsc, oneshot};

/// Bodies that wait to be written.
const QUEUE: usize = 4_096;
/// The most of one group.
const GROUP_BYTES: usize = 4 << 20;
/// The file begins again from here on.
const FILE_BYTES: usize = 128 << 20;

struct WaitingBody {
    body: Bytes,
    synced: oneshot::Sender<()>,
}

/// Where bodies are handed over.
pub(crate) struct LogSender(mpsc::Sender<WaitingBody>);

impl LogSender {
    /// Ends when the body is on disk; none when the log is at its end.
    pub(crate) async fn append(&self, body: Bytes) -> Option<()> {
        let (synced, wait) = oneshot::channel();
        self.0.send(WaitingBody { body, synced }).await.ok()?;
        wait.await.ok()
    }
}

/// Starts the thread that writes.
pub(crate) fn start(path: &str) -> Result<LogSender, ProgramError> {
    let file = File::create(path)?;
    let (sender, bodies) = mpsc::channel(QUEUE);
    std::thread::spawn(move || {
        if let Err(error) = write(file, bodies) {
            eprintln!("the log failed: {error}");
        }
    });
    Ok(LogSender(sender))
}

fn write(mut file: File, mut bodies: mpsc::Receiver<WaitingBody>) -> std::io::Result<()> {
    let mut group = Vec::new();
    let mut waiting = Vec::new();
    let mut at = 0;
    while let Some(first) = bodies.blocking_recv() {
        let mut next = Some(first);
        while let Some(WaitingBody { body, synced }) = next {
            group.extend_from_slice(&(body.len() as u64).to_le_bytes());
            group.extend_from_slice(&body);
            waiting.push(synced);
            let has_room = group.len() < GROUP_BYTES;
            next = has_room.then(|| bodies.try_recv().ok()).flatten();
        }
        if at + group.len() > FILE_BYTES {
            file.rewind()?;
            file.set_len(0)?;
            at = 0;
        }
        file.write_all(&group)?;
        file.sync_data()?;
        at += group.len();
        group.clear();
        for synced in waiting.drain(..) {
            // Nobody waits where the client left.
            synced.send(()).ok();
        }
    }
    Ok(())
}
