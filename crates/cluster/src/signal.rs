//! A wish that somebody has of a task, once.

use tokio::sync::watch;

/// Waits until it is true. A sender that is gone means the same: nobody is there who could still wish it.
pub(crate) async fn raised(signal: &mut watch::Receiver<bool>) {
    drop(signal.wait_for(|is_raised| *is_raised).await);
}
