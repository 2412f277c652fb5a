//! Events as they pass, as an answer that does not end.

use crate::answer;
use crate::query;
use crate::refusal::AdminRefusal;
use futures_util::stream::unfold;
use http::Response;
use twinroute_listen::{BrokenOff, ServerBody};
use twinroute_router::Router;

/// Opens a tap. It is closed when the client goes, or takes nothing for as long as a connection may be idle.
pub(crate) fn watch(
    router: &Router,
    query: Option<&str>,
) -> Result<Response<ServerBody>, AdminRefusal> {
    let selection = query::tap(query).map_err(AdminRefusal::InvalidQuery)?;
    let tap = router.tap(selection)?;
    // An empty line at once, so that the client has the head of the answer and knows that it watches.
    let pieces = unfold((tap, true), |(mut tap, is_first)| async move {
        let line = match is_first {
            true => "\n".to_owned(),
            false => tap.next().await?,
        };
        Some((Ok::<_, BrokenOff>(line.into()), (tap, false)))
    });
    let body = ServerBody::pieces(pieces);
    Ok(answer::with_body("application/x-ndjson", body))
}
