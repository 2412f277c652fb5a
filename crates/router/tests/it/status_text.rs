//! The status as JSON is the same to the byte as when its states, times and reasons were texts.

use twinroute_router::dead_letters::DeadLetterPage;
use twinroute_router::status::{AdmissionState, RouterStatus};

/// Written by the build before that, with every state and every reason.
const STATUS: &str = include_str!("status.json");

const DEAD_LETTERS: &str = r#"{"dead_letters":[{"instance":"default","endpoint":"hub-1","sequence":7,"reason":"exhausted","outcome":"http-500: no","attempts":30,"accepted_at":"2026-11-22T10:00:00.5Z","last_attempt_at":"2026-11-22T10:00:01Z","died_at":"2026-11-22T10:00:01.25Z","busy":false,"unstorable":true,"id":"1","source":"press-7","type":"t","subject":"","bytes":100},{"instance":"default","endpoint":"hub-1","sequence":8,"reason":"overflow","outcome":"","attempts":0,"accepted_at":"2026-11-22T10:00:00.5Z","last_attempt_at":"","died_at":"2026-11-22T10:00:01.25Z","busy":true,"unstorable":false,"id":"2","source":"press-7","type":"t","subject":"s","bytes":100}],"next":"default/hub-1/8"}"#;

#[test]
fn typed_states_times_and_reasons_read_and_write_the_same_text() {
    let status: RouterStatus = serde_json::from_str(STATUS).unwrap();
    assert_eq!(
        serde_json::to_string_pretty(&status).unwrap() + "\n",
        STATUS
    );
    let page: DeadLetterPage = serde_json::from_str(DEAD_LETTERS).unwrap();
    assert_eq!(serde_json::to_string(&page).unwrap(), DEAD_LETTERS);
}

#[test]
fn the_last_build_without_some_members_is_read_too() {
    let mut status: serde_json::Value = serde_json::from_str(STATUS).unwrap();
    for member in ["warnings", "admission"] {
        status.as_object_mut().unwrap().remove(member);
    }
    let endpoint = status["instances"][0]["endpoints"][1]
        .as_object_mut()
        .unwrap();
    for member in ["address", "since", "failed_attempts", "credentials"] {
        endpoint.remove(member);
    }
    let status: RouterStatus = serde_json::from_value(status).unwrap();
    assert_eq!(status.admission.state, AdmissionState::Open);
}
