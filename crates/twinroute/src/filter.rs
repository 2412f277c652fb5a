//! Filters: parsed, and explained.

pub use twinroute_filter::FilterOptions;
/// ```
/// use twinroute::filter::{FilterOptions, RouteFilter};
/// use twinroute::prelude::*;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let filter = RouteFilter::parse("$body.temperature > 20", &FilterOptions::default())?;
/// let event = Event::builder().id("1").source("press-7").event_type("t").json(r#"{"temperature":21}"#).build()?;
/// assert!(filter.matches(&event));
/// let wrong = RouteFilter::parse("type == 't'", &FilterOptions::default()).unwrap_err();
/// assert!(wrong.to_string().contains("Position=6"));
/// # Ok(())
/// # }
/// ```
pub use twinroute_filter::RouteFilter;
pub use twinroute_filter::anchor::{FieldCondition, FilterAnchor, IndexedField, StringTest};
pub use twinroute_filter::ast::{
    CompareExpr, CompareOp, CompareOperand, ExprGroup, FieldPath, FilterExpr, FilterFunction,
    FilterSpan, FunctionCall, LiteralValue, PathTarget,
};
pub use twinroute_filter::check::{CheckCode, FilterWarning};
/// ```
/// use twinroute::filter::FilterExplanation;
/// use twinroute::prelude::*;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), twinroute::Error> {
/// # let sink = sink_fn(|_| async { Ok(SendOutcome::all_delivered()) });
/// # let event = Event::builder().id("1").source("press-7").event_type("t").build()?;
/// let builder = Router::builder().sink("archive", sink);
/// let router = builder.route("rooms", "archive", "subject = 'room7'").start().await?;
/// let explained = router.explain(None, &event).expect("the default instance is there");
/// let (route, endpoint, why): &(_, _, FilterExplanation) = &explained[0];
/// assert_eq!((route.as_str(), endpoint.as_str(), why.matches), ("rooms", "archive", false));
/// assert_eq!(why.root.seen[0].path, "subject");
/// assert!(!why.root.seen[0].present);
/// # Ok(())
/// # }
/// ```
pub use twinroute_filter::explain::FilterExplanation;
pub use twinroute_filter::explain::{ClauseResult, SeenValue};
