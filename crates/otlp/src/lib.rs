//! Spans of a router, sent to an OpenTelemetry collector: OTLP over HTTP, in protobuf.
//!
//! Spans wait in a queue with a limit ([`twinroute_router::trace::SpanQueue`]), which one task empties. So a collector that is
//! slow or unreachable costs spans, which are counted, and nobody's time. Encoding is the project's own that defines OTLP;
//! the connection is one of ours, with our trust, proxies and limits. What the environment says to OpenTelemetry's libraries
//! (`OTEL_…`) changes nothing here: the configuration says all.

mod collector;
mod export;
mod headers;
mod refused;
mod settings;
mod span_data;

pub use export::{ExportError, SpanExport};
pub use settings::Settings;
