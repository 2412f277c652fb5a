//! What a server's answer means.
//!
//! | error code | meaning |
//! |---|---|
//! | 10071, 10164 | another sequence is the subject's last |
//! | 10077 with "maximum bytes", 10002, 10023, 10028, 10047 | no room: of the stream, the account or the server |
//! | 10054 | longer than the stream takes |
//! | 10037, 10043, 10057 | no such message |
//! | 10059 | no such stream |
//! | 10039, 10076 | JetStream is not enabled |
//! | 10065, 10058 | another stream has the subjects or the name |
//! | 10005, 10074 | not as many nodes as replicas |
//! | 10008, 10158, 10163, 10167, status 503 and all others with 5xx | not now |
//! | others | refused |
//!
//! Codes: nats-server 2.15.1, `server/errors.json`.

use async_nats::jetstream::{ErrorCode, response::Response};
use std::sync::Arc;
use twinroute_journal::ClusterLogError;
use twinroute_model::visible::{cut, one_line};

/// An error as a server of the log describes it.
pub(crate) type ServerFault = async_nats::jetstream::Error;

/// What an error of a server means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FaultMeaning {
    /// The last sequence is another one, where the answer says which.
    WrongSequence(Option<u64>),
    NoRoom,
    TooLong,
    NoMessage,
    NoStream,
    NotEnabled,
    Occupied,
    TooFewNodes,
    NotNow,
    Refused,
}

/// Why a request has no result.
#[derive(Clone, Debug)]
pub(crate) enum RequestFault {
    /// Nobody answered, or nothing that can be read: it may have been done.
    NoAnswer(Arc<str>),
    /// A server said no.
    Answered(ServerFault),
}

/// The most of a peer's text that an error repeats, in bytes.
const TEXT_BYTES_MAX: usize = 200;

impl FaultMeaning {
    pub(crate) fn of(fault: &ServerFault) -> Self {
        let text = fault.to_string();
        match fault.error_code() {
            ErrorCode::STREAM_WRONG_LAST_SEQUENCE
            | ErrorCode::STREAM_WRONG_LAST_SEQUENCE_CONSTANT => {
                Self::WrongSequence(found_sequence(&text))
            }
            ErrorCode::STREAM_STORE_FAILED if text.contains("maximum bytes") => Self::NoRoom,
            ErrorCode::ACCOUNT_RESOURCES_EXCEEDED
            | ErrorCode::INSUFFICIENT_RESOURCES
            | ErrorCode::STORAGE_RESOURCES_EXCEEDED
            | ErrorCode::MEMORY_RESOURCES_EXCEEDED => Self::NoRoom,
            ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM => Self::TooLong,
            ErrorCode::NO_MESSAGE_FOUND
            | ErrorCode::SEQUENCE_NOT_FOUND
            | ErrorCode::STREAM_MESSAGE_DELETE_FAILED => Self::NoMessage,
            ErrorCode::STREAM_NOT_FOUND => Self::NoStream,
            ErrorCode::JETSTREAM_NOT_ENABLED | ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT => {
                Self::NotEnabled
            }
            ErrorCode::STREAM_SUBJECT_OVERLAP | ErrorCode::STREAM_NAME_EXIST => Self::Occupied,
            ErrorCode::CLUSTER_NO_PEERS | ErrorCode::STREAM_REPLICAS_NOT_SUPPORTED => {
                Self::TooFewNodes
            }
            ErrorCode::CLUSTER_NOT_AVAILABLE
            | ErrorCode::STREAM_DUPLICATE_MESSAGE_CONFLICT
            | ErrorCode::STREAM_EXPECTED_LAST_SEQ_PER_SUBJECT_NOT_READY
            | ErrorCode::STREAM_TOO_MANY_REQUESTS => Self::NotNow,
            _ if fault.code() >= 500 => Self::NotNow,
            _ => Self::Refused,
        }
    }
}

impl RequestFault {
    /// What it means to whoever asked for something of `object`, where nothing more is known of it.
    pub(crate) fn into_error(self, object: &str) -> ClusterLogError {
        match self {
            Self::NoAnswer(reason) => {
                ClusterLogError::Unavailable(format!("{object}: {reason}").into())
            }
            Self::Answered(fault) => answered(object, &fault),
        }
    }
}

/// An error of a server in the words of the log, where nothing was appended or written.
pub(crate) fn answered(object: &str, fault: &ServerFault) -> ClusterLogError {
    let text = foreign_text(&fault.to_string());
    match FaultMeaning::of(fault) {
        FaultMeaning::NoStream => ClusterLogError::Refused(
            format!(
                "{object}: is not there any more; restore it from a backup, or restart the routers to hear what is missing"
            )
            .into(),
        ),
        FaultMeaning::NoRoom => ClusterLogError::Refused(
            format!("{object}: the servers have no room; raise the limits of JetStream or of the account: {text}")
                .into(),
        ),
        FaultMeaning::NotNow | FaultMeaning::NotEnabled => {
            ClusterLogError::Unavailable(format!("{object}: {text}").into())
        }
        _ => ClusterLogError::Refused(format!("{object}: {text}").into()),
    }
}

/// Reads an answer of the API of JetStream.
pub(crate) fn read<T: serde::de::DeserializeOwned>(payload: &[u8]) -> Result<T, RequestFault> {
    match serde_json::from_slice(payload) {
        Ok(Response::Ok(answer)) => Ok(answer),
        Ok(Response::Err { error }) => Err(RequestFault::Answered(error)),
        Err(_) => Err(RequestFault::NoAnswer(
            "its answer cannot be read; are the servers of the version that twinroute asks for?"
                .into(),
        )),
    }
}

/// A peer's text as an error may repeat it.
pub(crate) fn foreign_text(text: &str) -> String {
    one_line(cut(text, TEXT_BYTES_MAX)).into_owned()
}

/// `wrong last sequence: 12 (code …)`.
fn found_sequence(text: &str) -> Option<u64> {
    let (_, rest) = text.split_once("wrong last sequence: ")?;
    let end = rest.find(|one: char| !one.is_ascii_digit());
    rest[..end.unwrap_or(rest.len())].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn fault(code: u32, err_code: u32, description: &str) -> ServerFault {
        let error = json!({"code": code, "err_code": err_code, "description": description});
        match read::<Value>(json!({"error": error}).to_string().as_bytes()) {
            Err(RequestFault::Answered(fault)) => fault,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_answer_means_what_a_router_can_act_upon() {
        use FaultMeaning::{
            NoMessage, NoRoom, NoStream, NotEnabled, NotNow, Occupied, Refused, TooFewNodes,
            TooLong, WrongSequence,
        };
        for (code, err_code, text, expect) in [
            (
                400,
                10071,
                "wrong last sequence: 12",
                WrongSequence(Some(12)),
            ),
            (400, 10164, "wrong last sequence", WrongSequence(None)),
            (503, 10077, "maximum bytes exceeded", NoRoom),
            (503, 10077, "write: input/output error", NotNow),
            (400, 10002, "resource limits exceeded", NoRoom),
            (503, 10023, "insufficient resources", NoRoom),
            (400, 10054, "message size exceeds maximum", TooLong),
            (404, 10037, "no message found", NoMessage),
            (404, 10059, "stream not found", NoStream),
            (503, 10076, "JetStream not enabled", NotEnabled),
            (400, 10065, "subjects overlap", Occupied),
            (500, 10074, "replicas > 1 not supported", TooFewNodes),
            (503, 10008, "temporarily unavailable", NotNow),
            (409, 10158, "message id is in process", NotNow),
            (503, 0, "", NotNow),
            (400, 10003, "bad request", Refused),
        ] {
            let meaning = FaultMeaning::of(&fault(code, err_code, text));
            assert_eq!(meaning, expect, "{err_code} {text}");
        }
    }

    #[test]
    fn what_a_server_says_is_one_short_line() {
        let long = format!("no\u{1b}[2J\nroom {}", "x".repeat(1_000));
        let error = answered("stream TR_c_P03", &fault(400, 10003, &long)).to_string();
        assert!(
            error.starts_with("the cluster's log refuses: stream TR_c_P03: "),
            "{error}"
        );
        assert!(
            error.len() < 400 && !error.contains(['\u{1b}', '\n']),
            "{error}"
        );
    }

    #[test]
    fn an_answer_that_cannot_be_read_is_no_answer() {
        for payload in [&b""[..], b"{}", b"[1]", b"+OK"] {
            let read = read::<async_nats::jetstream::publish::PublishAck>(payload);
            assert!(
                matches!(read, Err(RequestFault::NoAnswer(_))),
                "{payload:?}"
            );
        }
    }
}
