//! Listings of a container, in pages.
//!
//! Source: Azure Storage REST API, "List Blobs".

use super::call::BlobCall;
use super::container::{BlobContainer, BlockBlob};
use super::refusal::BlobRefusal;
use super::reply::http_date;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use quick_xml::escape::escape;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Bound;

/// Most blobs and prefixes in one page.
pub(super) const PAGE_MAX: usize = 5_000;

/// What `include` may ask for. There is nothing of these kinds here, but for metadata.
const INCLUDES: [&str; 8] = [
    "metadata",
    "snapshots",
    "versions",
    "deleted",
    "deletedwithversions",
    "copy",
    "tags",
    "",
];

#[derive(Debug)]
pub(super) struct BlobListing<'a> {
    prefix: &'a str,
    delimiter: &'a str,
    marker: &'a str,
    /// The name to begin with.
    from: String,
    page_max: usize,
    metadata: bool,
}

/// One thing in a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ListingEntry<'a> {
    Blob(&'a str),
    /// Everything below a delimiter.
    Prefix(&'a str),
}

impl<'a> BlobListing<'a> {
    pub(super) fn read(call: &'a BlobCall) -> Result<Self, BlobRefusal> {
        let text = |name: &str| call.query.get(name).unwrap_or_default();
        for name in ["prefix", "delimiter"] {
            // They are repeated in the answer, and XML 1.0 cannot hold these.
            if text(name).contains(|letter: char| {
                letter.is_control() || matches!(letter, '\u{FFFE}'..='\u{FFFF}')
            }) {
                return Err(BlobRefusal::query_value(name, "it has control characters"));
            }
        }
        let marker = text("marker");
        let from = URL_SAFE_NO_PAD.decode(marker).ok();
        let from = from.and_then(|bytes| String::from_utf8(bytes).ok());
        let page_max = match text("maxresults") {
            "" => PAGE_MAX,
            number => match number.parse::<usize>() {
                Ok(0) => {
                    let text = "query parameter maxresults: it must be at least 1";
                    return Err(BlobRefusal::bad("OutOfRangeQueryParameterValue", text));
                }
                Ok(number) => number.min(PAGE_MAX),
                Err(_) => return Err(BlobRefusal::query_value("maxresults", "it is no number")),
            },
        };
        let includes: Vec<&str> = text("include").split(',').map(str::trim).collect();
        if let Some(other) = includes.iter().find(|include| !INCLUDES.contains(include)) {
            let why = format!("{other:?} is not supported by the emulator");
            return Err(BlobRefusal::query_value("include", &why));
        }
        Ok(Self {
            prefix: text("prefix"),
            delimiter: text("delimiter"),
            marker,
            from: from
                .ok_or_else(|| BlobRefusal::query_value("marker", "it is not from a page"))?,
            page_max,
            metadata: includes.contains(&"metadata"),
        })
    }

    /// The page as XML; `endpoint` is the account's URL.
    pub(super) fn page(&self, endpoint: &str, name: &str, container: &BlobContainer) -> String {
        let (entries, next) = self.entries(&container.blobs);
        let mut xml = String::from("<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults");
        let endpoint = escape(endpoint);
        attribute(&mut xml, "ServiceEndpoint", &endpoint);
        attribute(&mut xml, "ContainerName", name);
        xml.push('>');
        for (name, value) in [
            ("Prefix", self.prefix),
            ("Marker", self.marker),
            ("Delimiter", self.delimiter),
        ] {
            if !value.is_empty() {
                element(&mut xml, name, value);
            }
        }
        element(&mut xml, "MaxResults", &self.page_max.to_string());
        xml.push_str("<Blobs>");
        for entry in entries {
            match entry {
                ListingEntry::Prefix(prefix) => {
                    xml.push_str("<BlobPrefix>");
                    name_element(&mut xml, prefix);
                    xml.push_str("</BlobPrefix>");
                }
                ListingEntry::Blob(name) => self.blob(&mut xml, name, &container.blobs[name]),
            }
        }
        xml.push_str("</Blobs>");
        let next = next.map(|name| URL_SAFE_NO_PAD.encode(name));
        element(&mut xml, "NextMarker", &next.unwrap_or_default());
        xml.push_str("</EnumerationResults>");
        xml
    }

    /// A page and the name that the next one begins with.
    fn entries<'b>(
        &self,
        blobs: &'b BTreeMap<String, BlockBlob>,
    ) -> (Vec<ListingEntry<'b>>, Option<&'b str>) {
        let mut page = Vec::new();
        let mut at = Bound::Included(self.from.as_str().max(self.prefix).to_owned());
        loop {
            let Some((name, _)) = blobs.range::<String, _>((at, Bound::Unbounded)).next() else {
                return (page, None);
            };
            let Some(rest) = name.strip_prefix(self.prefix) else {
                return (page, None);
            };
            if page.len() == self.page_max {
                return (page, Some(name));
            }
            let cut = rest
                .find(self.delimiter)
                .filter(|_| !self.delimiter.is_empty());
            if let Some(cut) = cut {
                let prefix = &name[..self.prefix.len() + cut + self.delimiter.len()];
                page.push(ListingEntry::Prefix(prefix));
                at = match after_prefix(prefix) {
                    Some(next) => Bound::Included(next),
                    None => return (page, None),
                };
            } else {
                page.push(ListingEntry::Blob(name));
                at = Bound::Excluded(name.clone());
            }
        }
    }

    fn blob(&self, xml: &mut String, name: &str, blob: &BlockBlob) {
        xml.push_str("<Blob>");
        name_element(xml, name);
        xml.push_str("<Properties>");
        let length = blob.content.len().to_string();
        let (created, changed) = (http_date(blob.created), http_date(blob.changed));
        for (name, value) in [
            ("Creation-Time", created.as_str()),
            ("Last-Modified", &changed),
            ("Etag", blob.etag.trim_matches('"')),
            ("Content-Length", &length),
            ("Content-Type", &blob.headers.content_type),
            ("Content-Encoding", &blob.headers.encoding),
            ("Content-Language", &blob.headers.language),
            ("Content-MD5", &blob.headers.md5),
            ("Content-Disposition", &blob.headers.disposition),
            ("Cache-Control", &blob.headers.cache_control),
            ("BlobType", "BlockBlob"),
            ("LeaseStatus", "unlocked"),
            ("LeaseState", "available"),
            ("ServerEncrypted", "true"),
        ] {
            element(xml, name, value);
        }
        xml.push_str("</Properties>");
        if self.metadata {
            xml.push_str("<Metadata>");
            for (name, value) in &blob.metadata {
                element(xml, name, value);
            }
            xml.push_str("</Metadata>");
        }
        xml.push_str("</Blob>");
    }
}

/// The first text behind everything that begins with `prefix`; `None` when there is none.
fn after_prefix(prefix: &str) -> Option<String> {
    let mut characters: Vec<char> = prefix.chars().collect();
    while let Some(last) = characters.pop() {
        let next = (u32::from(last) + 1..=0x10_FFFF).find_map(char::from_u32);
        if let Some(next) = next {
            characters.push(next);
            return Some(characters.into_iter().collect());
        }
    }
    None
}

fn attribute(xml: &mut String, name: &str, escaped: &str) {
    write!(xml, " {name}=\"{escaped}\"").expect("a String takes everything");
}

fn element(xml: &mut String, name: &str, value: &str) {
    let value = escape(value);
    write!(xml, "<{name}>{value}</{name}>").expect("a String takes everything");
}

/// Names that XML 1.0 cannot hold are percent-encoded and marked so.
fn name_element(xml: &mut String, name: &str) {
    if name.contains(['\u{FFFE}', '\u{FFFF}']) {
        let encoded = utf8_percent_encode(name, NON_ALPHANUMERIC);
        write!(xml, "<Name Encoded=\"true\">{encoded}</Name>").expect("a String takes everything");
    } else {
        element(xml, "Name", name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blob::container::ContentHeaders;
    use bytes::Bytes;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use twinroute_model::clock::Timestamp;

    fn blob() -> BlockBlob {
        BlockBlob {
            content: Bytes::new(),
            headers: ContentHeaders::default(),
            metadata: BTreeMap::new(),
            etag: String::new(),
            created: Timestamp::from_unix_millis(0),
            changed: Timestamp::from_unix_millis(0),
            blocks: Vec::new(),
        }
    }

    /// All pages of a listing, each no longer than it may be.
    fn pages(
        blobs: &BTreeMap<String, BlockBlob>,
        prefix: &str,
        delimiter: &str,
        max: usize,
    ) -> Vec<String> {
        let mut all = Vec::new();
        let mut from = String::new();
        loop {
            let listing = BlobListing {
                prefix,
                delimiter,
                marker: "",
                from,
                page_max: max,
                metadata: false,
            };
            let (page, next) = listing.entries(blobs);
            assert!(page.len() <= max);
            all.extend(page.iter().map(|entry| match entry {
                ListingEntry::Blob(name) => format!("blob {name}"),
                ListingEntry::Prefix(name) => format!("below {name}"),
            }));
            match next {
                Some(next) => from = next.to_owned(),
                None => return all,
            }
        }
    }

    proptest! {
        #[test]
        fn pages_together_are_the_whole_listing(
            names in proptest::collection::btree_set("[a/\u{e9}\u{10FFFF}]{1,6}", 0..30),
            prefix in "[a/]{0,2}",
            by_folder in any::<bool>(),
            max in 1_usize..8,
        ) {
            let delimiter = if by_folder { "/" } else { "" };
            let mut seen = BTreeSet::new();
            let mut expect = Vec::new();
            for name in names.iter().filter(|name| name.starts_with(&prefix)) {
                let cut = name[prefix.len()..].find('/').filter(|_| by_folder);
                match cut {
                    None => expect.push(format!("blob {name}")),
                    Some(cut) => {
                        let below = &name[..=prefix.len() + cut];
                        if seen.insert(below) {
                            expect.push(format!("below {below}"));
                        }
                    }
                }
            }
            let blobs = names.iter().map(|name| (name.clone(), blob())).collect();
            prop_assert_eq!(pages(&blobs, &prefix, delimiter, max), expect);
        }
    }
}
