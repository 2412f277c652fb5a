//! Follows a long-running operation to its end, as clients do.

use super::server::RunningServer;
use crate::http::{HttpRequest, HttpResponse};
use crate::process;
use anyhow::{Context as _, ensure};
use std::time::{Duration, Instant};

const END_MAX: Duration = Duration::from_secs(10);

/// What stands behind an absolute URL of this server.
///
/// # Errors
/// The URL is relative or of another server.
pub(super) fn follow(server: &RunningServer, url: &str) -> anyhow::Result<HttpResponse> {
    let target = url.strip_prefix(&server.base());
    let target = target.with_context(|| format!("{url} does not begin with {}", server.base()))?;
    server.ask(&HttpRequest::get(target))
}

/// Polls `Azure-AsyncOperation`, if the answer has it, until the operation has ended well.
///
/// # Errors
/// It fails, or does not end in time.
pub(super) fn finish(
    server: &RunningServer,
    answer: &HttpResponse,
) -> anyhow::Result<Option<HttpResponse>> {
    let Some(url) = answer.headers.get("azure-asyncoperation") else {
        return Ok(None);
    };
    let deadline = Instant::now() + END_MAX;
    let ended = process::until("the operation ends", deadline, || {
        let status = follow(server, url)?;
        ensure!(status.status == 200, "{url} answers {}", status.status);
        let word = status.body["status"].as_str().unwrap_or_default();
        let terminal = ["Succeeded", "Failed", "Canceled"].contains(&word);
        Ok(terminal.then_some(status))
    })?;
    ensure!(
        ended.body["status"] == "Succeeded",
        "the operation ended with {}",
        ended.text
    );
    Ok(Some(ended))
}

/// Puts something and waits until it is there.
///
/// # Errors
/// It is refused, or its operation fails.
pub(super) fn put(server: &RunningServer, request: &HttpRequest) -> anyhow::Result<HttpResponse> {
    let answer = server.expect(request)?;
    finish(server, &answer).with_context(|| format!("PUT {}", request.target))?;
    Ok(answer)
}

/// Deletes all resource groups with all that is in them.
///
/// # Errors
/// A group does not go.
pub(super) fn clear(server: &RunningServer) -> anyhow::Result<()> {
    const VERSION: &str = "api-version=2022-12-01";
    let subscriptions = server.expect(&HttpRequest::get(format!("/subscriptions?{VERSION}")))?;
    for subscription in subscriptions.body["value"].as_array().into_iter().flatten() {
        let id = subscription["id"].as_str().unwrap_or_default();
        let list = HttpRequest::get(format!("{id}/resourcegroups?{VERSION}"));
        let groups = server.expect(&list)?;
        for group in groups.body["value"].as_array().into_iter().flatten() {
            let id = group["id"].as_str().unwrap_or_default();
            let delete = HttpRequest {
                method: "DELETE".to_owned(),
                target: format!("{id}?{VERSION}"),
                ..HttpRequest::default()
            };
            finish(server, &server.expect(&delete)?).context(delete.target)?;
        }
    }
    Ok(())
}
