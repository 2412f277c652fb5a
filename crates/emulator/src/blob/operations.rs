//! What each operation does.
//!
//! Source: Azure Storage REST API, the page of each operation: "Put Blob", "Put Block", "Put Block List",
//! "Get Blob", "Get Blob Properties", "Delete Blob", "Create Container" and so on.

use super::access::BlobRights;
use super::account::BlobAccount;
use super::call::{BlobCall, BlobOperation};
use super::container::{BlockBlob, BlockSource, ContentHeaders};
use super::containers::{AccountContainers, NewBlob};
use super::list::BlobListing;
use super::range;
use super::refusal::BlobRefusal;
use super::reply::{BlobReply, http_date};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::StatusCode;
use md5::{Digest, Md5};
use quick_xml::Reader;
use quick_xml::events::Event;
use twinroute_model::clock::Timestamp;

/// "Put Block": bytes of a block identifier before its encoding.
const BLOCK_ID_BYTES_MAX: usize = 64;

/// Does what an admitted request asks for; `endpoint` is the account's URL.
pub(super) fn perform(
    account: &BlobAccount,
    call: &BlobCall,
    body: Bytes,
    rights: BlobRights,
    endpoint: &str,
    now: Timestamp,
) -> Result<BlobReply, BlobRefusal> {
    match call.operation {
        BlobOperation::CreateContainer => {
            let metadata = call.metadata()?;
            let mut all = account.containers();
            all.create(&call.container, metadata, &account.limits, now)?;
            drop(all);
            container_reply(account, call, StatusCode::CREATED)
        }
        BlobOperation::DeleteContainer => {
            account.containers().delete(&call.container)?;
            Ok(BlobReply::new(StatusCode::ACCEPTED))
        }
        BlobOperation::ContainerProperties => container_reply(account, call, StatusCode::OK),
        BlobOperation::ListBlobs => {
            let listing = BlobListing::read(call)?;
            let mut state = account.containers();
            let container = state.container(&call.container)?;
            let xml = listing.page(endpoint, &call.container, container);
            Ok(BlobReply::xml(StatusCode::OK, xml))
        }
        BlobOperation::PutBlob => put_blob(account, call, body, rights, now),
        BlobOperation::PutBlock => put_block(account, call, body),
        BlobOperation::PutBlockList => put_block_list(account, call, &body, rights, now),
        BlobOperation::GetBlob | BlobOperation::BlobProperties => get_blob(account, call),
        BlobOperation::DeleteBlob => {
            let mut state = account.containers();
            let container = state.container(&call.container)?;
            let known = container.blobs.get(&call.blob);
            read_conditions(
                call,
                known.ok_or_else(|| BlobRefusal::blob_not_found(&call.blob))?,
            )?;
            state.delete_blob(&call.container, &call.blob)?;
            Ok(BlobReply::new(StatusCode::ACCEPTED).with("x-ms-delete-type-permanent", "true"))
        }
    }
}

fn container_reply(
    account: &BlobAccount,
    call: &BlobCall,
    status: StatusCode,
) -> Result<BlobReply, BlobRefusal> {
    let mut state = account.containers();
    let container = state.container(&call.container)?;
    let mut reply = BlobReply::new(status)
        .with("etag", &container.etag)
        .with("last-modified", &http_date(container.changed));
    if status == StatusCode::OK {
        reply = reply
            .with("x-ms-lease-status", "unlocked")
            .with("x-ms-lease-state", "available")
            .with("x-ms-has-immutability-policy", "false")
            .with("x-ms-has-legal-hold", "false");
        for (name, value) in &container.metadata {
            reply = reply.with(&format!("x-ms-meta-{name}"), value);
        }
    }
    Ok(reply)
}

fn put_blob(
    account: &BlobAccount,
    call: &BlobCall,
    body: Bytes,
    rights: BlobRights,
    now: Timestamp,
) -> Result<BlobReply, BlobRefusal> {
    match call.header("x-ms-blob-type") {
        "BlockBlob" => {}
        "" => {
            let text = "the header x-ms-blob-type is missing";
            return Err(BlobRefusal::bad("MissingRequiredHeader", text));
        }
        _ => {
            let why = "the emulator has no blobs but BlockBlob";
            return Err(BlobRefusal::header_value("x-ms-blob-type", why));
        }
    }
    let md5 = check_md5(call, "content-md5", &body)?;
    if !call.header("x-ms-blob-content-md5").is_empty() {
        check_md5(call, "x-ms-blob-content-md5", &body)?;
    }
    let mut headers = content_headers(call);
    for (field, name) in [
        (&mut headers.content_type, "content-type"),
        (&mut headers.encoding, "content-encoding"),
        (&mut headers.language, "content-language"),
        (&mut headers.cache_control, "cache-control"),
    ] {
        if field.is_empty() {
            call.header(name).clone_into(field);
        }
    }
    headers.md5.clone_from(&md5);
    let new = NewBlob {
        content: body,
        blocks: Vec::new(),
        headers,
        metadata: call.metadata()?,
    };
    let reply = store(account, call, rights, now, |_| Ok(new))?;
    Ok(reply.with("content-md5", &md5))
}

fn put_block(
    account: &BlobAccount,
    call: &BlobCall,
    body: Bytes,
) -> Result<BlobReply, BlobRefusal> {
    let Some(identifier) = call.query.get("blockid") else {
        let text = "query parameter blockid is missing";
        return Err(BlobRefusal::bad("MissingRequiredQueryParameter", text));
    };
    let decoded = BASE64.decode(identifier).map_or(0, |bytes| bytes.len());
    if !(1..=BLOCK_ID_BYTES_MAX).contains(&decoded) {
        let why = "it must be base64 of 1 to 64 bytes";
        return Err(BlobRefusal::query_value("blockid", why));
    }
    let md5 = check_md5(call, "content-md5", &body)?;
    let mut state = account.containers();
    state.put_block(
        &call.container,
        &call.blob,
        identifier,
        body,
        &account.limits,
    )?;
    Ok(BlobReply::new(StatusCode::CREATED)
        .with("content-md5", &md5)
        .with("x-ms-request-server-encrypted", "true"))
}

fn put_block_list(
    account: &BlobAccount,
    call: &BlobCall,
    body: &[u8],
    rights: BlobRights,
    now: Timestamp,
) -> Result<BlobReply, BlobRefusal> {
    check_md5(call, "content-md5", body)?;
    let limits = &account.limits;
    let list = block_list(body, limits.blocks_per_blob_max)?;
    let metadata = call.metadata()?;
    // The service does not compute the MD5 of a blob made of blocks; it keeps what the client says.
    let headers = content_headers(call);
    store(account, call, rights, now, |state| {
        let (content, blocks) = state.join(&call.container, &call.blob, &list, limits)?;
        Ok(NewBlob {
            content,
            blocks,
            headers,
            metadata,
        })
    })
}

/// Checks what may stand against a write and stores the blob, as one step.
fn store(
    account: &BlobAccount,
    call: &BlobCall,
    rights: BlobRights,
    now: Timestamp,
    make: impl FnOnce(&mut AccountContainers) -> Result<NewBlob, BlobRefusal>,
) -> Result<BlobReply, BlobRefusal> {
    let mut state = account.containers();
    let container = state.container(&call.container)?;
    let known = container.blobs.get(&call.blob);
    if known.is_some() && !rights.overwrite {
        // Permissions go before conditions, as seen of the service with signatures that may only create.
        let text = "the signature lacks the permission w, and the blob exists";
        return Err(BlobRefusal::forbidden("UnauthorizedBlobOverwrite", text));
    }
    let (wanted, unwanted) = (call.header("if-match"), call.header("if-none-match"));
    if !wanted.is_empty() && !known.is_some_and(|blob| names(wanted, blob)) {
        return Err(BlobRefusal::condition_not_met());
    }
    if !unwanted.is_empty() && known.is_some_and(|blob| names(unwanted, blob)) {
        if unwanted == "*" {
            let text = format!("there is a blob {} already", call.blob);
            let status = StatusCode::CONFLICT;
            return Err(BlobRefusal::new(status, "BlobAlreadyExists", text));
        }
        return Err(BlobRefusal::condition_not_met());
    }
    let new = make(&mut state)?;
    let limits = &account.limits;
    let blob = state.put(&call.container, &call.blob, new, limits, now)?;
    Ok(BlobReply::new(StatusCode::CREATED)
        .with("etag", &blob.etag)
        .with("last-modified", &http_date(blob.changed))
        .with("x-ms-request-server-encrypted", "true"))
}

fn get_blob(account: &BlobAccount, call: &BlobCall) -> Result<BlobReply, BlobRefusal> {
    let mut state = account.containers();
    let container = state.container(&call.container)?;
    let blob = container.blobs.get(&call.blob);
    let blob = blob.ok_or_else(|| BlobRefusal::blob_not_found(&call.blob))?;
    read_conditions(call, blob)?;
    let mut reply = BlobReply::new(StatusCode::OK)
        .with("accept-ranges", "bytes")
        .with("etag", &blob.etag)
        .with("last-modified", &http_date(blob.changed))
        .with("x-ms-creation-time", &http_date(blob.created))
        .with("x-ms-blob-type", "BlockBlob")
        .with("x-ms-lease-status", "unlocked")
        .with("x-ms-lease-state", "available")
        .with("x-ms-server-encrypted", "true");
    // "Create a service SAS", "Override response headers".
    for (name, parameter, kept) in [
        ("content-type", "rsct", &blob.headers.content_type),
        ("content-encoding", "rsce", &blob.headers.encoding),
        ("content-language", "rscl", &blob.headers.language),
        ("content-disposition", "rscd", &blob.headers.disposition),
        ("cache-control", "rscc", &blob.headers.cache_control),
    ] {
        let value = call.query.get(parameter).unwrap_or(kept);
        if !value.is_empty() {
            reply = reply.with(name, value);
        }
    }
    for (name, value) in &blob.metadata {
        reply = reply.with(&format!("x-ms-meta-{name}"), value);
    }
    let length = blob.content.len();
    let asked = [call.header("x-ms-range"), call.header("range")];
    let asked = asked.into_iter().find(|header| !header.is_empty());
    let range = match (call.operation, asked) {
        (BlobOperation::GetBlob, Some(header)) => range::parse(header, length)?,
        _ => None,
    };
    let whole = &blob.headers.md5;
    let Some(range) = range else {
        if !whole.is_empty() {
            reply = reply.with("content-md5", whole);
        }
        reply.body = blob.content.clone();
        return Ok(reply);
    };
    let text = format!("bytes {}-{}/{length}", range.start, range.end - 1);
    let part = blob.content.slice(range);
    if call
        .header("x-ms-range-get-content-md5")
        .eq_ignore_ascii_case("true")
    {
        reply = reply.with("content-md5", &md5_of(&part));
    }
    if !whole.is_empty() {
        reply = reply.with("x-ms-blob-content-md5", whole);
    }
    reply.status = StatusCode::PARTIAL_CONTENT;
    reply.body = part;
    Ok(reply.with("content-range", &text))
}

/// "Specifying conditional headers for Blob service operations", for what exists and is not replaced.
fn read_conditions(call: &BlobCall, blob: &BlockBlob) -> Result<(), BlobRefusal> {
    let (wanted, unwanted) = (call.header("if-match"), call.header("if-none-match"));
    if !wanted.is_empty() && !names(wanted, blob) {
        return Err(BlobRefusal::condition_not_met());
    }
    if !unwanted.is_empty() && names(unwanted, blob) {
        let mut refusal = BlobRefusal::condition_not_met();
        if call.operation != BlobOperation::DeleteBlob {
            refusal.status = StatusCode::NOT_MODIFIED;
        }
        return Err(refusal);
    }
    Ok(())
}

/// Whether a condition's value names the blob as it is.
fn names(condition: &str, blob: &BlockBlob) -> bool {
    let marks = condition.split(',').map(str::trim);
    let mut marks = marks.map(|mark| mark.trim_matches('"'));
    condition == "*" || marks.any(|mark| mark == blob.etag.trim_matches('"'))
}

fn content_headers(call: &BlobCall) -> ContentHeaders {
    let text = |name: &str| call.header(name).to_owned();
    ContentHeaders {
        content_type: text("x-ms-blob-content-type"),
        encoding: text("x-ms-blob-content-encoding"),
        language: text("x-ms-blob-content-language"),
        disposition: text("x-ms-blob-content-disposition"),
        cache_control: text("x-ms-blob-cache-control"),
        md5: text("x-ms-blob-content-md5"),
    }
}

/// The MD5 of a body in base64; an error if the header of that name says another.
fn check_md5(call: &BlobCall, header: &str, body: &[u8]) -> Result<String, BlobRefusal> {
    let computed = md5_of(body);
    let said = call.header(header);
    if said.is_empty() || said == computed {
        return Ok(computed);
    }
    if BASE64.decode(said).is_ok_and(|bytes| bytes.len() == 16) {
        let text = format!("the body's MD5 is {computed}, header {header} says {said}");
        return Err(BlobRefusal::bad("Md5Mismatch", text));
    }
    let text = format!("header {header}: it is not base64 of 16 bytes");
    Err(BlobRefusal::bad("InvalidMd5", text))
}

fn md5_of(bytes: &[u8]) -> String {
    BASE64.encode(Md5::digest(bytes))
}

/// "Put Block List", the request body.
pub(super) fn block_list(
    xml: &[u8],
    blocks_max: usize,
) -> Result<Vec<(BlockSource, String)>, BlobRefusal> {
    let invalid =
        |why: String| BlobRefusal::bad("InvalidXmlDocument", format!("the block list: {why}"));
    let xml = std::str::from_utf8(xml).map_err(|_| invalid("it is not UTF-8".to_owned()))?;
    let mut reader = Reader::from_str(xml);
    reader.config_mut().trim_text(true);
    let mut list = Vec::new();
    let mut open: Vec<Option<BlockSource>> = Vec::new();
    let mut rooted = false;
    loop {
        let event = reader.read_event();
        match event.map_err(|error| invalid(error.to_string()))? {
            Event::Start(start) => {
                let from = match (open.len(), start.local_name().as_ref()) {
                    (0, b"BlockList") if !rooted => None,
                    (1, b"Committed") => Some(BlockSource::Committed),
                    (1, b"Uncommitted") => Some(BlockSource::Uncommitted),
                    (1, b"Latest") => Some(BlockSource::Latest),
                    _ => return Err(invalid("it has an element of another name".to_owned())),
                };
                rooted = true;
                open.push(from);
            }
            // A list of nothing makes an empty blob.
            Event::Empty(empty) if !rooted && empty.local_name().as_ref() == b"BlockList" => {
                rooted = true;
            }
            Event::End(_) => {
                open.pop();
            }
            Event::Text(text) => {
                let Some(from) = open.last().copied().flatten() else {
                    return Err(invalid("it has text between its elements".to_owned()));
                };
                if list.len() >= blocks_max {
                    let text = format!("a blob has at most {blocks_max} blocks");
                    return Err(BlobRefusal::bad("BlockListTooLong", text));
                }
                let text = text.decode().map_err(|error| invalid(error.to_string()))?;
                list.push((from, text.into_owned()));
            }
            Event::Decl(_) | Event::Comment(_) => {}
            Event::Eof if open.is_empty() && rooted => return Ok(list),
            Event::Eof => return Err(invalid("it ends too early".to_owned())),
            _ => return Err(invalid("it has more than elements and text".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn block_lists_are_read_in_order_and_bounded() {
        let xml = "<?xml version=\"1.0\"?><BlockList><Latest>MQ==</Latest>\n<!-- two -->\
                   <Committed>Mg==</Committed><Uncommitted>Mw==</Uncommitted></BlockList>";
        let list = block_list(xml.as_bytes(), 3).unwrap();
        let expect = [
            (BlockSource::Latest, "MQ=="),
            (BlockSource::Committed, "Mg=="),
            (BlockSource::Uncommitted, "Mw=="),
        ];
        assert_eq!(
            list,
            expect.map(|(from, identifier)| (from, identifier.to_owned()))
        );
        let long = block_list(xml.as_bytes(), 2).unwrap_err();
        assert_eq!(long.code, "BlockListTooLong");
        assert_eq!(block_list(b"<BlockList/>", 1), Ok(Vec::new()));
        for xml in [
            "",
            "<Latest/>",
            "<BlockList><Latest/></BlockList>",
            "<BlockList/><BlockList/>",
        ] {
            let refusal = block_list(xml.as_bytes(), 1).unwrap_err();
            assert_eq!(refusal.code, "InvalidXmlDocument", "{xml}");
        }
    }

    proptest! {
        #[test]
        fn no_block_list_panics(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            text in "(<|>|/|&|BlockList|Latest|MQ==|<!--|\"|\\?){0,30}",
        ) {
            for xml in [bytes.as_slice(), text.as_bytes()] {
                let read = block_list(xml, 5);
                prop_assert!(read.is_ok_and(|list| list.len() <= 5) || block_list(xml, 5).is_err());
            }
        }
    }
}
