//! Microsoft.Devices/provisioningServices: what is at each path below the provider.
//!
//! Source: Microsoft.Devices 2022-12-12; recorded answers of Azure where they differ from it.

use crate::arm::answer::Answer;
use crate::arm::error::Error;
use crate::arm::request::Request;
use crate::desk::Desk;
use crate::lookup::Scope;
use crate::store::record::Record;
use std::sync::Arc;
use twinroute_model::clock::Timestamp;

/// Answers what stands behind `…/providers/Microsoft.Devices`.
pub(crate) async fn answer(
    _desk: &Arc<Desk>,
    request: &Request,
    _scope: Scope<'_>,
    _rest: &[String],
    _words: &[String],
) -> Result<Answer, Error> {
    Err(Error::UnknownType {
        namespace: "Microsoft.Devices",
        version: request.query("api-version").unwrap_or_default().to_owned(),
    })
}

/// Gives a service its final state.
pub(crate) fn settle(record: &mut Record, _now: Timestamp) {
    record.set_state("Succeeded");
}
