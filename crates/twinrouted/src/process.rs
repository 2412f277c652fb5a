//! The process itself: what is left of its memory when it dies.

use rustix::process::{Resource, Rlimit, setrlimit};

/// Has the system write no core dump of this process, and let no other process of the same user read its memory
/// (prctl(2), PR_SET_DUMPABLE): secrets are in it. A system that refuses is named in the log.
pub(crate) fn without_core_dumps() {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    if let Err(error) = setrlimit(Resource::Core, none) {
        tracing::warn!(%error, "the size of core dumps cannot be limited");
    }
    #[cfg(target_os = "linux")]
    if let Err(error) =
        rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
    {
        tracing::warn!(%error, "core dumps cannot be switched off");
    }
}
