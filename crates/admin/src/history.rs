//! Showing the history.

use crate::answer;
use crate::query::parameters;
use crate::refusal::AdminRefusal;
use http::Response;
use serde_json::{Map, Value};
use twinroute_journal::history::HistoryCursor;
use twinroute_listen::ServerBody;
use twinroute_router::Router;
use twinroute_router::history::{EventHistory, HISTORY_PAGE_MAX, HistoryQuery, HistoryQueryText};

/// Deliveries on one page when nobody says how many.
const PAGE: usize = 1_000;

/// What is asked for.
struct HistoryParameters {
    query: HistoryQuery,
    after: HistoryCursor,
    most: usize,
}

impl HistoryParameters {
    fn parse(text: Option<&str>) -> Result<Self, String> {
        let (mut after, mut most) = (HistoryCursor::default(), PAGE);
        let mut about = Map::new();
        for (name, value) in parameters(text)? {
            match name.as_str() {
                "pretty" => {}
                "after" if value.is_empty() => {}
                "after" => {
                    after = value
                        .parse()
                        .map_err(|reason| format!("after: {value:?} is {reason}"))?;
                }
                "most" => {
                    most = match value.parse() {
                        Ok(most) if (1..=HISTORY_PAGE_MAX).contains(&most) => most,
                        _ => {
                            return Err(format!(
                                "most: {value:?} is no number from 1 to {HISTORY_PAGE_MAX}"
                            ));
                        }
                    };
                }
                _ => {
                    if about.insert(name.clone(), Value::String(value)).is_some() {
                        return Err(format!("{name}: given more than once"));
                    }
                }
            }
        }
        let text: HistoryQueryText =
            serde_json::from_value(Value::Object(about)).map_err(|error| error.to_string())?;
        Ok(Self {
            query: text.parse()?,
            after,
            most,
        })
    }
}

fn history(router: &Router) -> Result<&EventHistory, AdminRefusal> {
    router.history().ok_or(AdminRefusal::NoHistory)
}

/// One page of deliveries.
pub(crate) async fn page(
    router: &Router,
    query: Option<&str>,
    pretty: bool,
) -> Result<Response<ServerBody>, AdminRefusal> {
    let HistoryParameters { query, after, most } =
        HistoryParameters::parse(query).map_err(AdminRefusal::InvalidQuery)?;
    if let Some(recent) = router.recent_history() {
        let rows = recent.rows(query, after, most).await;
        return Ok(answer::json(&rows, pretty));
    }
    let rows = history(router)?.rows(query, after, most).await;
    let rows = rows.map_err(AdminRefusal::UnreadableHistory)?;
    Ok(answer::json(&rows, pretty))
}

/// One page of events alone.
pub(crate) async fn export(
    router: &Router,
    query: Option<&str>,
    pretty: bool,
) -> Result<Response<ServerBody>, AdminRefusal> {
    let HistoryParameters { query, after, most } =
        HistoryParameters::parse(query).map_err(AdminRefusal::InvalidQuery)?;
    let page = history(router)?.export(query, after, most).await;
    let page = page.map_err(AdminRefusal::UnreadableHistory)?;
    Ok(answer::json(&page, pretty))
}

/// Events in full.
pub(crate) async fn events(
    router: &Router,
    query: Option<&str>,
    pretty: bool,
) -> Result<Response<ServerBody>, AdminRefusal> {
    let parameters = HistoryParameters::parse(query).map_err(AdminRefusal::InvalidQuery)?;
    history(router)?;
    let events = router.past_events(parameters.query).await;
    let events = events.map_err(AdminRefusal::UnreadableHistory)?;
    Ok(answer::json(&events, pretty))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_named() {
        for (text, expect) in [
            ("most=0", "most: \"0\" is no number from 1 to 10000"),
            (
                "after=x",
                "after: \"x\" is no place in the history, segment-offset",
            ),
            ("id=a&id=b", "id: given more than once"),
            (
                "unmatched=maybe",
                "unmatched: \"maybe\" is neither true nor false",
            ),
            (
                "outcome=lost",
                "outcome: \"lost\" is not an outcome; there are queued, retrying, dead-letter, delivered, \
                 dead-lettered, replayed, discarded, unmatched, unknown",
            ),
            (
                "since=2h",
                "since: not a time as in 2026-11-22T10:00:00Z (RFC 3339)",
            ),
        ] {
            let error = HistoryParameters::parse(Some(text)).err();
            assert_eq!(error.as_deref(), Some(expect));
        }
        let wanted = HistoryParameters::parse(Some("id=a&after=3-17&most=5&pretty")).unwrap();
        assert_eq!(
            (wanted.after.to_string().as_str(), wanted.most),
            ("3-17", 5)
        );
    }
}
