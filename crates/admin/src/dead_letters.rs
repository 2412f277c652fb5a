//! Showing dead letters that are kept here.

use crate::answer;
use crate::query::{DeadLetterParameters, PAGE, PAGE_MAX};
use crate::refusal::AdminRefusal;
use bytes::Bytes;
use futures_util::stream::unfold;
use http::Response;
use std::collections::VecDeque;
use twinroute_listen::{BrokenOff, ServerBody};
use twinroute_model::cloudevents::json;
use twinroute_model::event::Event;
use twinroute_model::visible;
use twinroute_router::Router;
use twinroute_router::dead_letters::{DeadLetterCursor, DeadLetterView};

/// Dead letters that an export looks up at a time, without their events.
const EXPORT_PAGE: usize = 100;

/// Bytes that an export collects before it hands them over; the event that passes this is whole.
const EXPORT_PIECE_BYTES: usize = 64 << 10;

/// Reads what is asked for, and refuses names that nothing has.
fn wanted(router: &Router, query: Option<&str>) -> Result<DeadLetterParameters, AdminRefusal> {
    let wanted = DeadLetterParameters::parse(query).map_err(AdminRefusal::InvalidQuery)?;
    let (instance, endpoint) = (&wanted.query.instance, &wanted.query.endpoint);
    if instance.is_none() && endpoint.is_none() {
        return Ok(wanted);
    }
    let named =
        |name: Option<&str>, known: &str| name.is_none_or(|name| name.eq_ignore_ascii_case(known));
    let instance = instance.as_ref().map(|name| name.as_str());
    let endpoint = endpoint.as_ref().map(|name| name.as_str());
    let status = router.status();
    let mut instances = status
        .instances
        .iter()
        .filter(|known| named(instance, &known.name));
    let known = match endpoint {
        None => instances.next().is_some(),
        Some(_) => instances
            .flat_map(|known| &known.endpoints)
            .any(|known| named(endpoint, &known.name)),
    };
    if known {
        return Ok(wanted);
    }
    let name = format!("{}/{}", instance.unwrap_or("*"), endpoint.unwrap_or("*"));
    Err(AdminRefusal::unknown_endpoint(router, name))
}

/// One page.
pub(crate) async fn page(
    router: &Router,
    query: Option<&str>,
    pretty: bool,
) -> Result<Response<ServerBody>, AdminRefusal> {
    let wanted = wanted(router, query)?;
    let most = wanted.most.unwrap_or(PAGE);
    if most > PAGE_MAX {
        let reason = format!("most: {most} is above {PAGE_MAX}; go on with after=<next>");
        return Err(AdminRefusal::InvalidQuery(reason));
    }
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let page = router
        .dead_letters(&wanted.query, wanted.after.as_ref(), most)
        .await;
    Ok(answer::json(&page, pretty))
}

/// One dead letter with its event.
pub(crate) async fn one(
    router: &Router,
    (instance, endpoint): (&str, &str),
    sequence: u64,
) -> Result<Response<ServerBody>, AdminRefusal> {
    if router.endpoint(Some(instance), endpoint).is_none() {
        let name = format!("{instance}/{endpoint}");
        return Err(AdminRefusal::unknown_endpoint(router, name));
    }
    let found = router.dead_letter(Some(instance), endpoint, sequence).await;
    let Some((view, event)) = found else {
        return Err(AdminRefusal::UnknownDeadLetter {
            name: format!("{instance}/{endpoint}/{sequence}"),
        });
    };
    let mut json = Vec::new();
    write(&view, &event, &mut json);
    json.push(b'\n');
    Ok(answer::with_type("application/json", json))
}

/// All that is asked for, one line each, in the memory of a piece.
pub(crate) fn export(
    router: &Router,
    query: Option<&str>,
) -> Result<Response<ServerBody>, AdminRefusal> {
    let wanted = wanted(router, query)?;
    let export = DeadLetterExport {
        left: wanted.most.unwrap_or(u64::MAX),
        after: wanted.after.clone(),
        router: router.clone(),
        wanted,
        page: VecDeque::new(),
        at_end: false,
    };
    let pieces = unfold(export, |mut export| async move {
        let piece = export.piece().await?;
        Some((Ok::<_, BrokenOff>(piece), export))
    });
    let body = ServerBody::pieces(pieces);
    Ok(answer::with_body("application/x-ndjson", body))
}

struct DeadLetterExport {
    router: Router,
    wanted: DeadLetterParameters,
    after: Option<DeadLetterCursor>,
    page: VecDeque<DeadLetterView>,
    at_end: bool,
    /// Dead letters that are still wanted.
    left: u64,
}

impl DeadLetterExport {
    async fn piece(&mut self) -> Option<Bytes> {
        let mut piece = Vec::new();
        while piece.len() < EXPORT_PIECE_BYTES && self.left > 0 {
            let Some(view) = self.page.pop_front() else {
                if self.at_end {
                    break;
                }
                self.turn_page().await;
                continue;
            };
            let (instance, endpoint) = (Some(view.instance.as_str()), &view.endpoint);
            let found = self
                .router
                .dead_letter(instance, endpoint, view.sequence)
                .await;
            // One that was settled meanwhile is no dead letter any more.
            if let Some((view, event)) = found {
                write_line(&view, &event, &mut piece);
                self.left -= 1;
            }
        }
        (!piece.is_empty()).then(|| piece.into())
    }

    async fn turn_page(&mut self) {
        let after = self.after.as_ref();
        let page = self
            .router
            .dead_letters(&self.wanted.query, after, EXPORT_PAGE)
            .await;
        self.page = page.dead_letters.into();
        self.after = page.next.parse().ok();
        self.at_end = self.after.is_none();
    }
}

/// Writes `{"dead_letter": …, "event": …}`; the event as it was accepted.
fn write(view: &DeadLetterView, event: &Event, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"dead_letter\":");
    let view = serde_json::to_string(view).expect("a view has text and numbers only");
    out.extend_from_slice(visible::json(view).as_bytes());
    out.extend_from_slice(b",\"event\":");
    json::write(event, out);
    out.push(b'}');
}

/// As [`write`], on one line. RFC 8259 §2 and §7: in JSON a line break stands between tokens only, where it is
/// as good as a space.
fn write_line(view: &DeadLetterView, event: &Event, out: &mut Vec<u8>) {
    let start = out.len();
    write(view, event, out);
    for byte in &mut out[start..] {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
    out.push(b'\n');
}
