//! What a path names, and which methods are taken there.

use http::Method;
use twinroute_audit::AuditedChange;

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AdminPath<'a> {
    Index,
    Live,
    Ready,
    Metrics,
    Status,
    Ledger,
    Cluster,
    LogLevel,
    Tap,
    Endpoint {
        instance: &'a str,
        endpoint: &'a str,
        step: EndpointAction,
    },
    DeadLetters,
    Export,
    DeadLetter {
        instance: &'a str,
        endpoint: &'a str,
        sequence: u64,
    },
    History,
    HistoryEvents,
    HistoryExport,
    Replays,
    Replay(u64),
}

/// What may be asked of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndpointAction {
    Pause,
    Resume,
    RetryNow,
    Purge,
}

impl EndpointAction {
    fn parse(word: &str) -> Option<Self> {
        match word {
            "pause" => Some(Self::Pause),
            "resume" => Some(Self::Resume),
            "retry-now" => Some(Self::RetryNow),
            "purge" => Some(Self::Purge),
            _ => None,
        }
    }
}

impl<'a> AdminPath<'a> {
    pub(crate) fn of(path: &'a str) -> Option<Self> {
        let path = path.strip_prefix('/')?;
        let segments: Vec<&str> = path.split('/').take(5).collect();
        Some(match segments[..] {
            [""] => Self::Index,
            ["livez"] => Self::Live,
            ["readyz"] => Self::Ready,
            ["metrics"] => Self::Metrics,
            ["status"] => Self::Status,
            ["ledger"] => Self::Ledger,
            ["cluster"] => Self::Cluster,
            ["log-level"] => Self::LogLevel,
            ["tap"] => Self::Tap,
            ["endpoints", instance, endpoint, step] => Self::Endpoint {
                instance,
                endpoint,
                step: EndpointAction::parse(step)?,
            },
            ["dead-letters"] => Self::DeadLetters,
            ["dead-letters", "export"] => Self::Export,
            ["dead-letters", instance, endpoint, sequence] => Self::DeadLetter {
                instance,
                endpoint,
                sequence: sequence.parse().ok()?,
            },
            ["history"] => Self::History,
            ["history", "events"] => Self::HistoryEvents,
            ["history", "export"] => Self::HistoryExport,
            ["replays"] => Self::Replays,
            ["replays", number] => Self::Replay(number.parse().ok()?),
            _ => return None,
        })
    }

    /// The methods that are taken, as the header `allow` lists them.
    pub(crate) fn allow(&self) -> &'static str {
        match self {
            Self::Index
            | Self::Live
            | Self::Ready
            | Self::Metrics
            | Self::Status
            | Self::Ledger
            | Self::Cluster
            | Self::DeadLetters
            | Self::History
            | Self::HistoryEvents
            | Self::HistoryExport
            | Self::Export
            | Self::DeadLetter { .. } => "GET, HEAD",
            // It has no end, so there is no head of it alone.
            Self::Tap => "GET",
            Self::Endpoint { .. } => "POST",
            Self::Replays | Self::LogLevel => "GET, HEAD, POST",
            Self::Replay(_) => "GET, HEAD, DELETE",
        }
    }

    pub(crate) fn takes(&self, method: &Method) -> bool {
        self.allow().split(", ").any(|taken| taken == method)
    }

    /// What it is called in the audit log, and what it is done to, if `method` changes something here.
    pub(crate) fn change(&self, method: &Method) -> Option<AuditedChange> {
        match (self, method) {
            (
                Self::Endpoint {
                    instance,
                    endpoint,
                    step,
                },
                &Method::POST,
            ) => {
                let step = match step {
                    EndpointAction::Pause => "endpoint/pause",
                    EndpointAction::Resume => "endpoint/resume",
                    EndpointAction::RetryNow => "endpoint/retry-now",
                    EndpointAction::Purge => "endpoint/purge",
                };
                Some(AuditedChange::step(step, format!("{instance}/{endpoint}")))
            }
            (Self::LogLevel, &Method::POST) => Some(AuditedChange::step("log/filter", "")),
            (Self::Replays, &Method::POST) => Some(AuditedChange::step("replay/begin", "")),
            (Self::Replay(number), &Method::DELETE) => {
                Some(AuditedChange::step("replay/cancel", number.to_string()))
            }
            _ => None,
        }
    }

    /// Whether it is for those who start, stop and balance programs, and hold no token.
    pub(crate) fn is_probe(&self) -> bool {
        matches!(self, Self::Live | Self::Ready)
    }

    /// Whether it shows what is in events.
    pub(crate) fn shows_events(&self) -> bool {
        match self {
            Self::DeadLetters
            | Self::Export
            | Self::DeadLetter { .. }
            | Self::History
            | Self::HistoryEvents
            | Self::HistoryExport
            | Self::Tap => true,
            Self::Index
            | Self::Live
            | Self::Ready
            | Self::Metrics
            | Self::Status
            | Self::Ledger
            | Self::Cluster
            | Self::LogLevel
            | Self::Endpoint { .. }
            | Self::Replays
            | Self::Replay(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_places() {
        let pause = AdminPath::Endpoint {
            instance: "demo",
            endpoint: "grid-1",
            step: EndpointAction::Pause,
        };
        let letter = AdminPath::DeadLetter {
            instance: "demo",
            endpoint: "grid-1",
            sequence: 7,
        };
        for (path, expect) in [
            ("/", Some(AdminPath::Index)),
            ("/endpoints/demo/grid-1/pause", Some(pause)),
            ("/dead-letters/export", Some(AdminPath::Export)),
            ("/dead-letters/demo/grid-1/7", Some(letter)),
            ("/replays/3", Some(AdminPath::Replay(3))),
            ("/log-level", Some(AdminPath::LogLevel)),
            ("/log-level/debug", None),
            ("/replays/x", None),
            ("/endpoints/demo/grid-1/stop", None),
            ("/endpoints/demo/grid-1/pause/now", None),
            ("/dead-letters/demo/grid-1", None),
            ("/status/", None),
            ("//", None),
            ("*", None),
        ] {
            assert_eq!(AdminPath::of(path), expect, "{path}");
        }
    }
}
