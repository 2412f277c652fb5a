//! What is wrong with the place of an endpoint's dead letters, however its definition came.
//!
//! It stops dead letters, which are kept here meanwhile; deliveries go on. So a source calls such an endpoint
//! `Warning`, never `Failed`.

use super::DeadLetterDestination;
use super::location::ContainerLocation;
use crate::clock::Timestamp;
use crate::sas::storage::SasValidity;

/// What is wrong, as `provisioningError` shows it. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetterProblem {
    /// For programs: `DeadLetterSasExpired` and the like.
    pub code: &'static str,
    /// For people, with the way out.
    pub message: String,
}

/// Looks at where dead letters go, as far as the definition itself says. Nothing is asked over a network.
#[must_use]
pub fn of(dead_letter: &DeadLetterDestination, now: Timestamp) -> Option<DeadLetterProblem> {
    let (code, message) = match ContainerLocation::of(dead_letter) {
        Err(problem) => ("DeadLetterLocationInvalid", problem.to_string()),
        Ok(location) if !location.writable() => (
            "DeadLetterSasWithoutWrite",
            "the SAS of deadLetterSecret allows neither to create nor to write blobs; make one with `w`"
                .to_owned(),
        ),
        Ok(location) => match location.sas()?.validity(now) {
            SasValidity::Valid => return None,
            SasValidity::ExpiredAt(at) => (
                "DeadLetterSasExpired",
                format!(
                    "the SAS of deadLetterSecret expired at {}; make a new one",
                    at.rfc3339()
                ),
            ),
            SasValidity::NotBefore(at) => (
                "DeadLetterSasNotYetValid",
                format!(
                    "the SAS of deadLetterSecret is not valid before {}",
                    at.rfc3339()
                ),
            ),
        },
    };
    Some(DeadLetterProblem { code, message })
}
