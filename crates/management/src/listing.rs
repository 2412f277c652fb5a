//! Lists in pages: `{"value": […], "nextLink": "…"}`.
//!
//! ARM RPC 1.0: `nextLink` is absolute and absent on the last page; the key of the place to go on is
//! `$skipToken`. The token is the key of the last item that was given, so that a list that changes
//! meanwhile neither repeats nor loses what stays in it.

use crate::arm::answer::ArmAnswer;
use crate::arm::error::Error;
use crate::arm::id::{ResourceId, ResourceKind};
use crate::arm::link::{next, read_token, token};
use crate::arm::request::ArmRequest;
use crate::context::ServerCall;
use crate::preconditions::need_parent;
use crate::store::record::ResourceRecord;
use crate::store::state::StoreState;
use serde_json::{Value, json};

/// Items of a page, unless fewer are asked for with `$top`.
pub(crate) const ITEMS_MAX: usize = 500;

/// The records below a prefix that one page holds, and where the next begins.
pub(crate) struct RecordPage {
    pub(crate) records: Vec<ResourceRecord>,
    pub(crate) next: Option<String>,
}

impl RecordPage {
    /// Takes the page that follows `after`.
    pub(crate) fn of(
        state: &StoreState,
        prefix: &str,
        after: Option<&str>,
        items_max: usize,
    ) -> Self {
        let mut rest = state.range(prefix, after);
        let records: Vec<_> = rest.by_ref().take(items_max).collect();
        let more = rest.next().is_some();
        let last = records.last().filter(|_| more);
        Self {
            next: last.map(|record| token(&record.id.key()[prefix.len()..])),
            records,
        }
    }
}

/// A list of ARM resources.
///
/// # Errors
/// When the token is none of ours.
pub(crate) fn list(
    request: &ArmRequest,
    state: &StoreState,
    prefix: &str,
    render: impl Fn(&ResourceRecord) -> Value,
) -> Result<ArmAnswer, Error> {
    let after = match request.query("$skipToken") {
        None => None,
        Some(token) => Some(format!("{prefix}{}", read_token(token, "$skipToken")?)),
    };
    let items_max = items_max(request)?;
    let page = RecordPage::of(state, prefix, after.as_deref(), items_max);
    let value: Vec<Value> = page.records.iter().map(render).collect();
    let mut body = json!({ "value": value });
    if let Some(token) = page.next {
        body["nextLink"] = next(request, &token).into();
    }
    Ok(ArmAnswer::ok(body))
}

/// A list of what belongs to `owner`.
///
/// # Errors
/// As [`list`], and when there is no such owner.
pub(crate) fn children(
    call: ServerCall<'_>,
    owner: &ResourceId,
    kind: ResourceKind,
    render: impl Fn(&ResourceRecord) -> Value,
) -> Result<ArmAnswer, Error> {
    need_parent(call, owner)?;
    list(call.request, &call.state(), &owner.children(kind), render)
}

/// How many items a page has: `$top` of them at most.
///
/// # Errors
/// When `$top` is no number of items.
pub(crate) fn items_max(request: &ArmRequest) -> Result<usize, Error> {
    let Some(top) = request.query("$top").filter(|top| !top.is_empty()) else {
        return Ok(ITEMS_MAX);
    };
    let is_number = top.bytes().all(|byte| byte.is_ascii_digit());
    let number = is_number.then(|| top.parse().unwrap_or(usize::MAX));
    match number {
        Some(items @ 1..) => Ok(items.min(ITEMS_MAX)),
        _ => Err(Error::invalid("$top", "must be a whole number from 1 on")),
    }
}
