//! Long-running operations: from the answer that begins one to its end.
//!
//! Source: public ARM resource provider contract, asynchronous operations; what Azure's clients accept
//! beside it: `Location` alone, or nothing but a `provisioningState` that has not come to its end.

use super::api::{ApiAnswer, ApiRequest, ArmApi};
use super::error::{Error, bounded, error_text};
use super::link::at_home;
use super::retry;
use bytes::Bytes;
use reqwest::{Method, Url};
use serde::Deserialize;
use std::time::Duration;
use tokio::time::timeout;

/// Between two polls where the server says nothing, or 0.
const POLL: Duration = Duration::from_secs(1);

/// The longest between two polls, whatever the server says.
const POLL_MAX: Duration = Duration::from_secs(60);

/// Where the end of an operation shows.
enum OperationLocation {
    /// `Azure-AsyncOperation`: a record with a `status`.
    Record(Url),
    /// `Location`: 202 until it answers as the call would have.
    Result(Url),
    /// The resource's own `provisioningState`.
    Resource,
    /// At once.
    Finished,
}

/// What a poll showed.
enum OperationState {
    Running,
    Succeeded(ApiAnswer),
    Ended {
        status: String,
        code: String,
        message: String,
    },
}

impl ArmApi {
    /// Makes one call and waits for the end of the operation it begins, at most `patience`.
    ///
    /// Gives the resource as it is then; after a DELETE, the last answer. Dropping the future leaves the
    /// operation going on.
    ///
    /// # Errors
    /// [`Error::Operation`] when it fails, [`Error::Unfinished`] when it takes longer, else as
    /// [`ArmApi::call`].
    pub async fn call_and_wait(
        &self,
        method: Method,
        path: &str,
        api_version: &str,
        body: Option<Bytes>,
        patience: Duration,
    ) -> Result<ApiAnswer, Error> {
        let url = self.url(path, api_version)?;
        let request = ApiRequest::new(method, url, body);
        let begun = self.send(&request).await?;
        let waited = timeout(patience, self.follow(&request, begun)).await;
        waited.unwrap_or_else(|_| {
            Err(Error::Unfinished {
                request: request.name(),
                waited: patience,
            })
        })
    }

    async fn follow(&self, request: &ApiRequest, begun: ApiAnswer) -> Result<ApiAnswer, Error> {
        let mut follow = self.first(request, &begun)?;
        let result = match begun.header("location") {
            Some(link) if request.method == Method::POST => Some(self.link(request, link)?),
            _ => None,
        };
        let mut last = begun;
        loop {
            if matches!(follow, OperationLocation::Finished) {
                return Ok(last);
            }
            self.sleep(self.pause(&last)).await;
            let (seen, answer) = self.poll(request, &follow).await?;
            match seen {
                OperationState::Running => {}
                OperationState::Succeeded(answer) => {
                    let record = matches!(follow, OperationLocation::Record(_));
                    return match result {
                        Some(url) if record => self.read(url).await,
                        None if record
                            && request.method != Method::DELETE
                            && request.method != Method::POST =>
                        {
                            self.read(request.url.clone()).await
                        }
                        _ => Ok(answer),
                    };
                }
                OperationState::Ended {
                    status,
                    code,
                    message,
                } => {
                    return Err(Error::Operation {
                        request: request.name(),
                        status,
                        code,
                        message,
                    });
                }
            }
            let Some(answer) = answer else {
                continue;
            };
            // A server may move its record.
            match &mut follow {
                OperationLocation::Record(url) => {
                    if let Some(link) = answer.header("azure-asyncoperation") {
                        *url = self.link(request, link)?;
                    }
                }
                OperationLocation::Result(url) => {
                    if let Some(link) = answer.header("location") {
                        *url = self.link(request, link)?;
                    }
                }
                OperationLocation::Resource | OperationLocation::Finished => {}
            }
            last = answer;
        }
    }

    fn first(&self, request: &ApiRequest, begun: &ApiAnswer) -> Result<OperationLocation, Error> {
        if let Some(link) = begun.header("azure-asyncoperation") {
            return Ok(OperationLocation::Record(self.link(request, link)?));
        }
        if begun.status == 202
            && let Some(link) = begun.header("location")
        {
            return Ok(OperationLocation::Result(self.link(request, link)?));
        }
        let running = state(&begun.body).is_some_and(|state| terminal(&state).is_none());
        // Azure's clients take a DELETE without any header for finished, whatever it answers.
        if request.method == Method::DELETE || !(running || begun.status == 201) {
            return Ok(OperationLocation::Finished);
        }
        Ok(match begun.header("location") {
            Some(link) => OperationLocation::Result(self.link(request, link)?),
            None if running => OperationLocation::Resource,
            None => OperationLocation::Finished,
        })
    }

    fn link(&self, request: &ApiRequest, link: &str) -> Result<Url, Error> {
        at_home(self.base(), &request.name(), link)
    }

    fn pause(&self, last: &ApiAnswer) -> Duration {
        let after = retry::after(&last.headers, self.now());
        after.unwrap_or(POLL).clamp(POLL, POLL_MAX)
    }

    async fn read(&self, url: Url) -> Result<ApiAnswer, Error> {
        self.send(&ApiRequest::new(Method::GET, url, None)).await
    }

    /// Polls once; gives the answer too, for its headers, unless it is the end's.
    async fn poll(
        &self,
        request: &ApiRequest,
        follow: &OperationLocation,
    ) -> Result<(OperationState, Option<ApiAnswer>), Error> {
        let url = match follow {
            OperationLocation::Record(url) | OperationLocation::Result(url) => url.clone(),
            OperationLocation::Resource | OperationLocation::Finished => request.url.clone(),
        };
        let answer = match (self.read(url).await, follow) {
            (Ok(answer), _) => answer,
            // `Location` answers with the operation's own error.
            (Err(Error::Refused(refusal)), OperationLocation::Result(_))
                if !retry::repeats(&Method::GET, refusal.status) && refusal.status != 401 =>
            {
                let ended = OperationState::Ended {
                    status: "Failed".to_owned(),
                    code: refusal.code,
                    message: refusal.message,
                };
                return Ok((ended, None));
            }
            (Err(error), _) => return Err(error),
        };
        let status = match follow {
            OperationLocation::Record(_) => {
                record_status(&answer.body).or_else(|| state(&answer.body))
            }
            OperationLocation::Result(_) => None,
            OperationLocation::Resource | OperationLocation::Finished => state(&answer.body),
        };
        // No status at all is the end's answer, unless it is 202 still.
        let running = answer.status == 202 && !matches!(follow, OperationLocation::Record(_));
        Ok(
            match status.as_deref().map(|status| (status, terminal(status))) {
                None if running || answer.status == 202 => (OperationState::Running, Some(answer)),
                None | Some((_, Some(true))) => (OperationState::Succeeded(answer), None),
                Some((_, None)) => (OperationState::Running, Some(answer)),
                Some((status, Some(false))) => {
                    let (code, message) = error_text(&answer.body);
                    let status = bounded(status);
                    (
                        OperationState::Ended {
                            status,
                            code,
                            message,
                        },
                        None,
                    )
                }
            },
        )
    }
}

/// Whether a status is the end, and a good one; compared without case. Any other word means "running".
fn terminal(status: &str) -> Option<bool> {
    let is = |word: &str| status.eq_ignore_ascii_case(word);
    if is("Succeeded") {
        Some(true)
    } else if is("Failed") || is("Canceled") {
        Some(false)
    } else {
        None
    }
}

// Only what is asked for is read: as a tree of values, JSON takes many times its bytes.

/// `status` of an operation's record.
fn record_status(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct OperationRecord {
        status: String,
    }
    let record: OperationRecord = serde_json::from_slice(body).ok()?;
    Some(record.status)
}

/// `properties.provisioningState` of a resource.
fn state(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct PolledResource {
        properties: PolledProperties,
    }
    #[derive(Deserialize)]
    struct PolledProperties {
        #[serde(rename = "provisioningState")]
        state: String,
    }
    let resource: PolledResource = serde_json::from_slice(body).ok()?;
    Some(resource.properties.state)
}
