//! Entries as text: a line with what they are, the version and a checksum, then a line for each field.
//!
//! ```text
//! twinroute lease 1 5f0c21aa
//! owner west
//! incarnation 17
//! ```
//!
//! Whoever looks at a cluster's entries with the tools of its log can read them. A changed layout is a new version.

use bytes::Bytes;
use std::fmt::{Display, Write as _};
use std::str::FromStr;

const VERSION: &str = "1";

/// Writes an entry.
pub(crate) struct EntryWriter {
    kind: &'static str,
    fields: String,
}

impl EntryWriter {
    pub(crate) fn new(kind: &'static str) -> Self {
        Self {
            kind,
            fields: String::new(),
        }
    }

    /// Adds a field. Neither has a line break, and the name no blank.
    pub(crate) fn field(mut self, name: &str, value: impl Display) -> Self {
        writeln!(self.fields, "{name} {value}").expect("a string takes all");
        self
    }

    pub(crate) fn finish(self) -> Bytes {
        let checksum = crc32c::crc32c(self.fields.as_bytes());
        let head = format!("twinroute {} {VERSION} {checksum:08x}\n", self.kind);
        Bytes::from(head + &self.fields)
    }
}

/// Reads an entry.
pub(crate) struct EntryReader<'a>(std::str::Lines<'a>);

impl<'a> EntryReader<'a> {
    /// Of an entry of this kind and version whose checksum holds.
    pub(crate) fn new(bytes: &'a [u8], kind: &str) -> Option<Self> {
        let (head, fields) = std::str::from_utf8(bytes).ok()?.split_once('\n')?;
        let checksum = crc32c::crc32c(fields.as_bytes());
        let expect = format!("twinroute {kind} {VERSION} {checksum:08x}");
        (head == expect).then(|| Self(fields.lines()))
    }

    /// The next field, which must have this name.
    pub(crate) fn field<T: FromStr>(&mut self, name: &str) -> Option<T> {
        let value = self.0.next()?.strip_prefix(name)?.strip_prefix(' ')?;
        value.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        let bytes = EntryWriter::new("lease")
            .field("owner", "west")
            .field("epoch", 7)
            .finish();
        let expect = "twinroute lease 1 15bd1a9e\nowner west\nepoch 7\n";
        assert_eq!(std::str::from_utf8(&bytes).unwrap(), expect);
        let mut reader = EntryReader::new(&bytes, "lease").unwrap();
        assert_eq!(reader.field::<String>("owner").as_deref(), Some("west"));
        assert_eq!(reader.field::<u64>("epoch"), Some(7));
        assert_eq!(reader.field::<u64>("epoch"), None);
        assert!(EntryReader::new(&bytes, "member").is_none());
        for at in 0..bytes.len() {
            let mut bad = bytes.to_vec();
            bad[at] ^= 1;
            assert!(EntryReader::new(&bad, "lease").is_none(), "{at}");
        }
    }
}
