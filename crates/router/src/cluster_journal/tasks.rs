//! The tasks of a router in its cluster, which end together.

use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::AbortHandle;

/// Tasks. Clones share them. Without a bound of its own: a few for each partition.
#[derive(Clone, Debug, Default)]
pub(super) struct ClusterTasks(Arc<Mutex<TaskList>>);

#[derive(Debug, Default)]
struct TaskList {
    handles: Vec<AbortHandle>,
    is_over: bool,
}

impl ClusterTasks {
    /// Runs a task; not when all have ended.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if list.is_over {
            return;
        }
        list.handles.retain(|handle| !handle.is_finished());
        list.handles.push(tokio::spawn(task).abort_handle());
    }

    /// Ends all of them, and those that would be next.
    pub(super) fn abort(&self) {
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        list.is_over = true;
        list.handles.drain(..).for_each(|handle| handle.abort());
    }
}
