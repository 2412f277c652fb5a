//! The routing table: where definitions come from, what is made of them, and how that comes into use as a whole.

mod fingerprint;
mod index;
pub(crate) mod last_definitions;
mod live;
mod plan;
mod plan_warnings;
mod previous;
mod recovered_lanes;
mod removed;
mod route;
mod routing_table;
mod running_lanes;
mod sink_definition;
pub(crate) mod snapshot;
pub mod source;

pub(crate) use live::{CustomEndpoints, LiveParts, LiveTable};
pub(crate) use plan::CustomEndpoint;
pub use plan_warnings::check;
pub(crate) use recovered_lanes::RecoveredLanes;
pub(crate) use route::LaneIndex;
pub(crate) use routing_table::{CompiledInstance, MatchScratch};
pub(crate) use running_lanes::RunningLanes;
