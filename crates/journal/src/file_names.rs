//! What the files in a journal's folder are called. The lock is the folder's, see [`super::storage`].

use std::collections::BTreeSet;

/// The keys that events are sealed with.
pub const KEYS: &str = "keys";

/// The same while they are written.
pub(crate) const KEYS_UNFINISHED: &str = "keys.tmp";

/// The manifest.
pub(crate) const MANIFEST: &str = "manifest";

/// The same until its first slot is on disk.
pub(crate) const MANIFEST_UNFINISHED: &str = "manifest.tmp";

/// The next segment, before it is one.
pub(crate) const NEXT_SEGMENT: &str = "next.tmp";

/// A file that was set aside because it holds another segment than its name said begins so.
pub(crate) const MISNAMED: &str = "misnamed-";

/// A file that was set aside because it is damaged or none of the journal's begins so.
pub(crate) const QUARANTINED: &str = "quarantine-";

/// Files that were being prepared when the program ended: they are removed when the journal is opened.
pub(crate) fn is_left_over(name: &str) -> bool {
    [NEXT_SEGMENT, KEYS_UNFINISHED, MANIFEST_UNFINISHED].contains(&name)
}

/// The name of a segment file.
pub(crate) fn segment_name(segment: u64) -> String {
    format!("{segment:016x}.seg")
}

/// The segment that a file of this name is.
pub(crate) fn segment_of(name: &str) -> Option<u64> {
    let digits = name
        .strip_suffix(".seg")
        .filter(|digits| digits.len() == 16)?;
    let segment = u64::from_str_radix(digits, 16).ok()?;
    (segment_name(segment) == name).then_some(segment)
}

/// The number in the name of a file that was set aside because it holds another segment.
pub(crate) fn aside_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(MISNAMED)?.get(..16)?;
    u64::from_str_radix(digits, 16).ok()
}

/// A name that no file has.
pub(crate) fn free_name(prefix: &str, segment: u64, taken: &BTreeSet<&str>) -> String {
    let first = format!("{prefix}{segment:016x}.seg");
    let others = (2_u64..).map(|number| format!("{prefix}{segment:016x}-{number}.seg"));
    let mut names = std::iter::once(first).chain(others);
    let free = names.find(|name| !taken.contains(name.as_str()));
    free.expect("there are more numbers than files")
}
