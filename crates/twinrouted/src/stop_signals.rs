//! The signals that end a command.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Hears SIGINT and SIGTERM from the moment it is made.
pub(crate) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        Ok(Self {
            terminate,
            interrupt,
        })
    }

    /// Resolves when the process is told to stop.
    pub(crate) async fn wait(&mut self) {
        // Service managers send the one, terminals the other.
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
