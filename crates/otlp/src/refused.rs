//! Spans that a collector refuses in an answer that takes the others.

use crate::export::REMINDER;
use bytes::Bytes;
use metrics::{Counter, counter};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message as _;
use tokio::time::Instant;
use twinroute_model::visible;

/// Bytes of a collector's reason that are shown.
const REASON_BYTES_MAX: usize = 300;

/// A collector's answer to a request that it took (OTLP 1.9, "Partial Success"): the spans that it refused are not sent
/// again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PartialRefusal {
    pub(crate) spans: u64,
    /// Also where no span was refused: then it is a warning.
    pub(crate) reason: String,
}

impl PartialRefusal {
    /// What is no such answer refuses nothing.
    pub(crate) fn read(body: &Bytes) -> Self {
        let answer = ExportTraceServiceResponse::decode(body.clone());
        let Some(partial) = answer.ok().and_then(|answer| answer.partial_success) else {
            return Self::default();
        };
        let reason = visible::cut(partial.error_message.trim(), REASON_BYTES_MAX);
        Self {
            spans: u64::try_from(partial.rejected_spans).unwrap_or_default(),
            reason: visible::one_line(reason).into_owned(),
        }
    }
}

/// Counts them, and logs them seldom.
pub(crate) struct RefusedSpans {
    counter: Counter,
    all: u64,
    unlogged: u64,
    logged: Option<Instant>,
}

impl RefusedSpans {
    pub(crate) fn new() -> Self {
        let counter = counter!("twinroute_spans_dropped_total", "reason" => "refused");
        counter.increment(0);
        Self {
            counter,
            all: 0,
            unlogged: 0,
            logged: None,
        }
    }

    /// So many were refused so far.
    pub(crate) fn all(&self) -> u64 {
        self.all
    }

    /// Counts those of an answer to `sent` spans; gives how many they are.
    pub(crate) fn count(&mut self, refusal: &PartialRefusal, sent: u64, collector: &str) -> u64 {
        // It cannot refuse more than it was sent, whatever it says.
        let spans = refusal.spans.min(sent);
        self.counter.increment(spans);
        self.all += spans;
        self.unlogged += spans;
        let says_nothing = spans == 0 && refusal.reason.is_empty();
        let now = Instant::now();
        if says_nothing || self.logged.is_some_and(|logged| now - logged < REMINDER) {
            return spans;
        }
        self.logged = Some(now);
        let refused = std::mem::take(&mut self.unlogged);
        tracing::warn!(
            endpoint = collector,
            refused,
            reason = refusal.reason,
            "the collector refused spans of a request that it took; they are not sent again"
        );
        spans
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTracePartialSuccess;

    fn answer(rejected_spans: i64, error_message: &str) -> PartialRefusal {
        let partial_success = Some(ExportTracePartialSuccess {
            rejected_spans,
            error_message: error_message.to_owned(),
        });
        let answer = ExportTraceServiceResponse { partial_success };
        PartialRefusal::read(&answer.encode_to_vec().into())
    }

    #[test]
    fn refused_spans_are_read_and_their_reason_is_made_visible() {
        let refusal = |spans, reason: &str| PartialRefusal {
            spans,
            reason: reason.to_owned(),
        };
        assert_eq!(answer(2, " too old\n"), refusal(2, "too old"));
        assert_eq!(
            answer(0, "use another path"),
            refusal(0, "use another path")
        );
        assert_eq!(answer(-7, ""), PartialRefusal::default());
        let hidden = answer(1, "a\u{202e}b\nc").reason;
        assert!(!hidden.contains(['\u{202e}', '\n']), "{hidden}");
        assert!(answer(1, &"x".repeat(10_000)).reason.len() <= REASON_BYTES_MAX + 3);
        for empty in [&b""[..], b"{}", b"\xff\xff\xff"] {
            let read = PartialRefusal::read(&Bytes::from_static(empty));
            assert_eq!(read, PartialRefusal::default());
        }
    }

    #[test]
    fn more_refused_spans_than_were_sent_are_not_counted() {
        let mut refused = RefusedSpans::new();
        assert_eq!(refused.count(&answer(i64::MAX, "all"), 3, "here"), 3);
        assert_eq!(refused.count(&answer(1, ""), 3, "here"), 1);
        assert_eq!(refused.count(&answer(0, ""), 3, "here"), 0);
        assert_eq!(refused.all(), 4);
    }
}
