//! Errors of a management API as users read them: first what to do, then what the server said.

use std::fmt::Write as _;
use twinroute_arm::error::{ArmRefusal, Error};

/// Whether a token was sent.
#[derive(Clone, Copy)]
pub(super) enum TokenSent {
    Given,
    None,
}

/// The text of an error; `what` is the thing that was asked for or changed.
pub(super) fn error_text(
    error: &Error,
    url: &str,
    credential: TokenSent,
    what: &str,
) -> anyhow::Error {
    match error {
        Error::Refused(refusal) => {
            let mut text = advice(refusal, url, credential, what);
            text.push_str(&server_words(refusal));
            anyhow::anyhow!(text)
        }
        Error::Operation {
            status,
            code,
            message,
            ..
        } => {
            let first = match status.eq_ignore_ascii_case("Canceled") {
                true => format!("{what}: the change was canceled; try again"),
                false => format!("{what} does not work: correct it and create it again"),
            };
            anyhow::anyhow!("{first}\n  {code}: {message}")
        }
        Error::Unfinished { waited, .. } => anyhow::anyhow!(
            "{what}: not finished after {} s; it goes on: look again with `show` or `wait`",
            waited.as_secs()
        ),
        Error::Transport { reason, .. } if reason.contains("Connection refused") => {
            not_listening(url)
        }
        Error::Transport { request, reason } => anyhow::anyhow!(
            "no answer from {url}: check the network, --management-url and --routes-url\n  {request}: {reason}"
        ),
        Error::Answer { .. } => {
            anyhow::anyhow!(
                "check --management-url: {url} does not answer as a management API does\n  {error}"
            )
        }
        Error::Token(_) => {
            anyhow::anyhow!("get a token first: `az login`, or a fresh one in the file\n  {error}")
        }
        Error::Url { .. } | Error::Foreign { .. } => anyhow::anyhow!("{error}"),
    }
}

/// Nothing listens there.
pub(super) fn not_listening(url: &str) -> anyhow::Error {
    let listen = url.split_once("://").map_or(url, |(_, listen)| listen);
    anyhow::anyhow!(
        "nothing answers at {url}: start a server there, or say where it is with --management-url\n  \
         a configuration with `[table] source = \"store\"` and `[management] listen = [\"{listen}\"]`, \
         then: twinroute run --config FILE"
    )
}

fn advice(refusal: &ArmRefusal, url: &str, credential: TokenSent, what: &str) -> String {
    match (refusal.status, refusal.code.as_str()) {
        (401, _) => match credential {
            TokenSent::None => {
                format!(
                    "{url} asks for a token: give one with --token-env, --token-file or --azure-cli"
                )
            }
            TokenSent::Given => format!("{url} does not take this token: get another one"),
        },
        (403, _) => format!("{what}: this caller may not do that; ask for a role that allows it"),
        (404, "") => format!("check --management-url: {url} is no management API"),
        (404, "ResourceGroupNotFound") => {
            "there is no such resource group: check --resource-group/-g and --subscription"
                .to_owned()
        }
        (404, "ParentResourceNotFound") => {
            format!("{what}: make what it belongs to first, or check the names")
        }
        (404, "EventRouteNotFound" | "ResourceNotFound") => {
            format!("there is no {what}; `list` shows which there are")
        }
        (404, _) => format!("{what} is not known there: check the names and --management-url"),
        (409, "ScopeLocked") => format!("{what}: nothing can be changed over this API"),
        (409, "AnotherOperationInProgress") => {
            format!("{what} is being changed just now: wait until that has ended, and try again")
        }
        (409, _) => format!("{what} is in use, or its name is taken"),
        (412, _) => format!("{what} was changed meanwhile: look at it, and try again"),
        (429, _) => format!("{url} has too much to do: try again later"),
        (400, "EventRouteEndpointInvalid") => format!(
            "{what}: its endpoint must be there and work: `twinroute endpoint list` shows that"
        ),
        (status, _) if status >= 500 => format!("{url} failed: try again later"),
        _ => format!("{what} was rejected: correct what is listed below"),
    }
}

/// The server's own words, with what its operators need to find them again.
fn server_words(refusal: &ArmRefusal) -> String {
    let mut text = String::new();
    let code = match refusal.code.as_str() {
        "" => "no code",
        code => code,
    };
    let status = refusal.status;
    write!(text, "\n  {code} ({status})").expect("a String takes everything");
    if !refusal.message.is_empty() {
        write!(text, ": {}", refusal.message).expect("a String takes everything");
    }
    if let Some(id) = refusal.request_id.as_ref().filter(|_| status >= 500) {
        write!(text, "\n  request {id}").expect("a String takes everything");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, code: &str, credential: TokenSent) -> String {
        let refusal = ArmRefusal {
            request: "GET h/x".to_owned(),
            status,
            code: code.to_owned(),
            message: "The words.".to_owned(),
            request_id: Some("id-1".to_owned()),
            retry_after: None,
        };
        error_text(&refusal.into(), "http://h", credential, "endpoint e").to_string()
    }

    #[test]
    fn the_first_line_says_what_to_do_and_the_second_what_was_said() {
        let none = TokenSent::None;
        assert_eq!(
            refused(401, "AuthenticationFailed", none),
            "http://h asks for a token: give one with --token-env, --token-file or --azure-cli\n  \
             AuthenticationFailed (401): The words."
        );
        assert!(refused(401, "X", TokenSent::Given).starts_with("http://h does not take this"));
        assert!(refused(404, "", none).starts_with("check --management-url: http://h is no"));
        assert!(refused(404, "ResourceNotFound", none).starts_with("there is no endpoint e;"));
        assert_eq!(
            refused(503, "", none),
            "http://h failed: try again later\n  no code (503): The words.\n  request id-1"
        );
        let operation = Error::Operation {
            request: "PUT h/x".to_owned(),
            status: "Failed".to_owned(),
            code: "DestinationUnauthorized".to_owned(),
            message: "Refused.".to_owned(),
        };
        assert_eq!(
            error_text(&operation, "http://h", none, "endpoint e").to_string(),
            "endpoint e does not work: correct it and create it again\n  DestinationUnauthorized: Refused."
        );
    }

    #[test]
    fn who_is_not_there_is_named_with_how_to_start_it() {
        let error = Error::Transport {
            request: "GET h/x".to_owned(),
            reason: "client error (Connect): tcp connect error: Connection refused (os error 111)"
                .to_owned(),
        };
        let text = error_text(&error, "http://h:1", TokenSent::None, "x").to_string();
        assert!(
            text.starts_with("nothing answers at http://h:1: start a server there"),
            "{text}"
        );
        assert!(
            text.contains("listen = [\"h:1\"]") && text.contains("twinroute run"),
            "{text}"
        );
    }
}
