//! The last definitions of endpoints, on disk: with them the queue of an endpoint that was removed is delivered
//! after a restart too, as long as its grace time lasts.
//!
//! All that are defined are in it, for one may be removed while no process runs; and those that were removed, with
//! the time of that, until nothing of them waits. It is written before a change takes effect, and only if something
//! in it changed. That it cannot be read or written stops nothing: it is reported.

mod file;

pub(super) use file::EndpointRemoval;
pub use file::LastDefinitions;

use crate::delivery::LaneKey;
use file::KeptDefinition;
use std::collections::BTreeMap;
use std::sync::Arc;
use twinroute_model::endpoint::Endpoint;
use twinroute_model::settings::EndpointSettings;

/// An endpoint that is defined: with its definition, or nothing where the program brings its sink.
pub(crate) type DefinedEndpoint = (LaneKey, Option<(Arc<Endpoint>, Arc<EndpointSettings>)>);

/// All of them, and their file.
pub(crate) struct LastEndpoints {
    file: LastDefinitions,
    kept: BTreeMap<LaneKey, KeptDefinition>,
    /// Whether the file holds just that.
    saved: bool,
    /// What is in the file's place must not be written over.
    blocked: bool,
    /// Why not all that was kept could be read.
    unread: Option<String>,
    /// Why it could not be written the last time.
    unsaved: Option<String>,
}

impl LastEndpoints {
    /// Reads the file. One that cannot be read is renamed, for it may be needed with another key.
    pub(crate) fn open(file: LastDefinitions) -> Self {
        let mut last = Self {
            file,
            kept: BTreeMap::new(),
            saved: false,
            blocked: false,
            unread: None,
            unsaved: None,
        };
        match last.file.load() {
            Ok(None) => {}
            Ok(Some(found)) => {
                last.kept = found.kept;
                last.saved = found.unreadable.is_empty();
                if !last.saved {
                    let names = found.unreadable.join(", ");
                    last.set_aside(&format!("holds what cannot be read, of {names}"));
                }
            }
            Err(error) => last.set_aside(&error.to_string()),
        }
        last
    }

    fn set_aside(&mut self, reason: &str) {
        let path = self.file.path.display();
        let problem = match self.file.set_aside() {
            Ok(aside) => format!(
                "the last definitions of endpoints in {path}: the file {reason}; it is now {}. Events of endpoints \
                 that were removed before this start become dead letters kept here, unless they are defined again; \
                 with the right key in place, a start with the file back in its place delivers them",
                aside.display()
            ),
            Err(error) => {
                self.blocked = true;
                format!(
                    "the last definitions of endpoints in {path}: the file {reason}, and cannot be set aside: \
                     {error}. It is not written over, so endpoints that are removed from here on are forgotten at \
                     the next start: move it away and start again"
                )
            }
        };
        tracing::error!(problem, "last definitions cannot be read");
        self.unread = Some(problem);
    }

    pub(crate) fn get(&self, key: &LaneKey) -> Option<&KeptDefinition> {
        self.kept.get(key)
    }

    /// Takes in what is defined from here on; see [`Self::save`].
    ///
    /// What is not defined any more stays while `is_waited_for` says so.
    pub(crate) fn note(
        &mut self,
        defined: impl Iterator<Item = DefinedEndpoint>,
        is_waited_for: impl Fn(&LaneKey) -> bool,
        now: EndpointRemoval,
    ) {
        let mut removed = std::mem::take(&mut self.kept);
        let before = removed.len();
        let mut same = 0;
        for (key, definition) in defined {
            let old = removed.remove(&key);
            let Some((endpoint, settings)) = definition else {
                continue;
            };
            let new = KeptDefinition {
                endpoint,
                settings,
                removed_at: None,
            };
            same += usize::from(old.as_ref() == Some(&new));
            self.kept.insert(key, new);
        }
        for (key, mut kept) in removed {
            if is_waited_for(&key) {
                let removal = kept.removed_at.get_or_insert(now);
                same += usize::from(removal.time.is_some() && *removal != now);
                removal.time = removal.time.or(now.time);
                self.kept.insert(key, kept);
            }
        }
        self.saved &= same == before && same == self.kept.len();
    }

    /// Forgets those of the removed that nothing waits for; see [`Self::save`].
    pub(crate) fn forget(&mut self, is_waited_for: impl Fn(&LaneKey) -> bool) {
        let before = self.kept.len();
        self.kept
            .retain(|key, kept| kept.removed_at.is_none() || is_waited_for(key));
        self.saved &= self.kept.len() == before;
    }

    /// Writes what is not written yet. Blocks on the disk.
    pub(crate) fn save(&mut self) {
        if self.saved || self.blocked {
            return;
        }
        // Where there is nothing to keep and no file, none is made.
        if self.kept.is_empty() && !self.file.path.exists() {
            self.saved = true;
            return;
        }
        match self.file.store(&self.kept) {
            Ok(()) => {
                self.saved = true;
                self.unsaved = None;
            }
            Err(error) => {
                let problem = format!(
                    "the last definitions of endpoints cannot be written to {}: {error}. Endpoints that are removed \
                     are forgotten at the next start; it is tried again with the next change",
                    self.file.path.display()
                );
                if self.unsaved.as_ref() != Some(&problem) {
                    tracing::error!(problem, "last definitions are not saved");
                }
                self.unsaved = Some(problem);
            }
        }
    }

    /// What is wrong, for people.
    pub(crate) fn problems(&self) -> Vec<String> {
        let problems = self.unread.iter().chain(&self.unsaved);
        problems.cloned().collect()
    }
}
