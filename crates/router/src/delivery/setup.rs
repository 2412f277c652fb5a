//! What a lane is made of.

use super::hold::HoldReason;
use super::recent_outcomes::RecentOutcomes;
use crate::credential_refresh::RefreshTrigger;
use crate::tap::EventTaps;
use crate::user_code::{UserSink, UserStore};
use std::borrow::Cow;
use std::sync::Arc;
use twinroute_model::name::{EndpointName, InstanceName};
use twinroute_model::settings::EndpointSettings;

/// The endpoint of an instance that a lane serves.
pub(crate) type LaneKey = (InstanceName, EndpointName);

/// Whom a lane reports to, the same for all lanes of a router.
#[derive(Clone, Default)]
pub(crate) struct LaneReports {
    /// Where it tells that its credential is refused.
    pub(crate) refresh_trigger: RefreshTrigger,
    /// Where it shows what became of deliveries.
    pub(crate) taps: EventTaps,
    /// Where that is kept for a while, if the journal is in memory.
    pub(crate) recent: Option<RecentOutcomes>,
}

/// What a lane is made of and may be given again while it runs.
pub(crate) struct LaneSetup {
    pub(crate) endpoint_type: Cow<'static, str>,
    /// Host and port, for people; empty where nobody knows.
    pub(crate) address: String,
    pub(crate) sink: UserSink,
    /// Where dead letters go; they stay here when there is none.
    pub(crate) store: Option<UserStore>,
    pub(crate) settings: Arc<EndpointSettings>,
    /// Why nothing is sent, if that is so.
    pub(crate) hold: Option<HoldReason>,
}

impl std::fmt::Debug for LaneSetup {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = formatter.debug_struct("LaneSetup");
        debug.field("endpoint_type", &self.endpoint_type);
        debug.finish_non_exhaustive()
    }
}
