//! What the log says, changed while the process runs.

use crate::answer;
use crate::refusal::AdminRefusal;
use http::Response;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use twinroute_listen::ServerBody;

/// Characters of a filter.
const FILTER_CHARS_MAX: usize = 4_096;

/// Puts a filter in force, or says what is wrong with it.
type ApplyFilter = Box<dyn Fn(&str) -> Result<(), String> + Send + Sync>;

/// Shows and changes the filter of a process's log. Cheap to clone.
#[derive(Clone)]
pub struct LogControl(Arc<ControlledLog>);

struct ControlledLog {
    /// What it began with.
    configured: String,
    present: Mutex<String>,
    apply: ApplyFilter,
}

/// What is asked for: a filter, or nothing to go back to the one that is configured.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct LogRequest {
    filter: Option<String>,
}

/// The filter of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogFilter {
    /// The one in force.
    pub filter: String,
    /// The one that the process began with, and begins with again.
    pub configured: String,
}

impl LogControl {
    /// Of a log whose filter is `configured` now; `apply` changes it at once, or says why not and changes nothing.
    pub fn new(
        configured: &str,
        apply: impl Fn(&str) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(ControlledLog {
            configured: configured.to_owned(),
            present: Mutex::new(configured.to_owned()),
            apply: Box::new(apply),
        }))
    }

    fn present(&self) -> MutexGuard<'_, String> {
        let present = self.0.present.lock();
        present.unwrap_or_else(PoisonError::into_inner)
    }

    /// What is in force.
    #[must_use]
    pub fn filter(&self) -> LogFilter {
        LogFilter {
            filter: self.present().clone(),
            configured: self.0.configured.clone(),
        }
    }

    /// The filter that a body asks for.
    pub(crate) fn read(&self, body: &[u8]) -> Result<String, AdminRefusal> {
        let LogRequest { filter } = crate::endpoints::parse(body)?;
        let filter = filter.unwrap_or_else(|| self.0.configured.clone());
        if filter.chars().count() > FILTER_CHARS_MAX {
            let reason = format!("it must have at most {FILTER_CHARS_MAX} characters");
            return Err(AdminRefusal::InvalidLogFilter(reason));
        }
        Ok(filter)
    }

    /// Puts it in force. Lines that are being written may still go by the old one.
    pub(crate) fn apply(&self, filter: String) -> Result<(), AdminRefusal> {
        // Held while it is applied, so that two changes end with the one that is shown.
        let mut present = self.present();
        (self.0.apply)(&filter).map_err(AdminRefusal::InvalidLogFilter)?;
        tracing::info!(filter, before = *present, "the log filter was changed");
        *present = filter;
        Ok(())
    }

    pub(crate) fn answer(&self, pretty: bool) -> Response<ServerBody> {
        answer::json(&self.filter(), pretty)
    }
}
