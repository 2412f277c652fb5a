//! The trace that a request is part of: W3C Trace Context, §3.2 and §3.3.

use http::{HeaderMap, HeaderName};
use std::borrow::Cow;
use twinroute_model::trace_context::TraceContext;

const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACE_STATE: HeaderName = HeaderName::from_static("tracestate");

/// What `traceparent` and `tracestate` say; nothing where a rule is broken, which refuses no event.
pub(crate) fn of_headers(headers: &HeaderMap) -> Option<TraceContext> {
    let mut parents = headers.get_all(TRACE_PARENT).iter();
    let (parent, other) = (parents.next()?, parents.next());
    // §3.2: exactly one; which of several counts nobody knows.
    if other.is_some() {
        return None;
    }
    let context = TraceContext::parse(parent.to_str().ok()?)?;
    Some(match state(headers) {
        None => context,
        Some(state) => context.with_state(&state),
    })
}

/// Several headers are one list (§3.3.1.1, RFC 9110 §5.3).
fn state(headers: &HeaderMap) -> Option<Cow<'_, str>> {
    let mut lines = headers.get_all(TRACE_STATE).iter();
    let first = Cow::Borrowed(lines.next()?.to_str().ok()?);
    lines.try_fold(first, |state, line| {
        Some(Cow::Owned(format!("{state},{}", line.to_str().ok()?)))
    })
}
