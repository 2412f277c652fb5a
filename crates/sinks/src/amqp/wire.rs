//! Looks over one encoded frame body: whether it is well formed, and small enough to be decoded.
//!
//! serde_amqp 0.18 goes as deep as values are nested: 63 kB of lists within each other overflow the stack
//! of a worker, which ends the whole process. It also reserves what a length says before it looks whether
//! that many bytes are there. So nothing reaches it that was not walked through here first; walking
//! copies nothing and reserves nothing.
//!
//! Encodings: AMQP 1.0 part 1 §1.6; performatives: part 2 §2.7, part 5 §5.3.3.

/// Values within values. Azure's frames have five: section, map, described list, list, value.
const DEPTH_MAX: usize = 16;
/// Elements of an array whose elements take no bytes.
const EMPTY_ELEMENTS_MAX: usize = 256;

/// Why a frame is not passed on.
pub(super) type FrameFault = &'static str;

/// Descriptor codes that are looked at.
pub(super) mod code {
    pub(in super::super) const OPEN: u64 = 0x10;
    pub(in super::super) const BEGIN: u64 = 0x11;
    pub(in super::super) const ATTACH: u64 = 0x12;
    pub(in super::super) const TRANSFER: u64 = 0x14;
    pub(in super::super) const DISPOSITION: u64 = 0x15;
    pub(in super::super) const CLOSE: u64 = 0x18;
    pub(in super::super) const SASL_MECHANISMS: u64 = 0x40;
    pub(in super::super) const SASL_OUTCOME: u64 = 0x44;
}

/// A performative: its code and where its fields are.
#[derive(Debug)]
pub(super) struct FramePerformative<'a> {
    pub(super) code: u64,
    fields: &'a [u8],
    count: usize,
}

impl FramePerformative<'_> {
    /// The number in a field; `None` for null, for a field that is not there, and for what is no number.
    pub(super) fn number(&self, index: usize) -> Option<u64> {
        let field = self.field(index)?;
        match field {
            [0x43 | 0x44] => Some(0),
            [0x52 | 0x53, value] => Some(u64::from(*value)),
            [0x70, value @ ..] => value.try_into().ok().map(u32::from_be_bytes).map(u64::from),
            [0x80, value @ ..] => value.try_into().ok().map(u64::from_be_bytes),
            _ => None,
        }
    }

    /// Whether a field is true.
    pub(super) fn is_true(&self, index: usize) -> bool {
        matches!(self.field(index), Some([0x41] | [0x56, 1]))
    }

    fn field(&self, index: usize) -> Option<&[u8]> {
        if index >= self.count {
            return None;
        }
        let mut rest = self.fields;
        for _ in 0..index {
            rest = value(rest, 0).ok()?;
        }
        let after = value(rest, 0).ok()?;
        rest.get(..rest.len() - after.len())
    }
}

/// Walks through the body of a frame.
pub(super) fn body(bytes: &[u8]) -> Result<FramePerformative<'_>, FrameFault> {
    let (code, list) = descriptor(bytes)?;
    let rest = value(list, 1)?;
    let performative = match list {
        [0x45, ..] => FramePerformative {
            code,
            fields: &[],
            count: 0,
        },
        [0xc0 | 0xd0, ..] => {
            let (fields, count, _) = compound(list)?;
            FramePerformative {
                code,
                fields,
                count,
            }
        }
        _ => return Err("a performative that is no list"),
    };
    // Behind a transfer stand the sections of its message.
    if code == code::TRANSFER {
        sections(rest)?;
    } else if !rest.is_empty() {
        return Err("bytes behind a performative");
    }
    Ok(performative)
}

fn sections(mut rest: &[u8]) -> Result<(), FrameFault> {
    while !rest.is_empty() {
        if rest[0] != 0 {
            return Err("a message section without its descriptor");
        }
        rest = value(rest, 0)?;
    }
    Ok(())
}

/// A numeric descriptor; nobody writes the symbolic ones, and what Azure's clients read allows none.
fn descriptor(bytes: &[u8]) -> Result<(u64, &[u8]), FrameFault> {
    const RULE: FrameFault = "a performative without a numeric descriptor";
    match bytes {
        [0, 0x53, code, rest @ ..] => Ok((u64::from(*code), rest)),
        [0, 0x80, rest @ ..] => {
            let (code, rest) = rest.split_first_chunk().ok_or(RULE)?;
            Ok((u64::from_be_bytes(*code), rest))
        }
        _ => Err(RULE),
    }
}

/// Walks over one value; gives what stands behind it.
fn value(bytes: &[u8], depth: usize) -> Result<&[u8], FrameFault> {
    let (format, rest) = bytes.split_first().ok_or(TRUNCATED)?;
    if *format == 0 {
        let depth = deeper(depth)?;
        let described = value(rest, depth)?;
        return value(described, depth);
    }
    after_format(*format, bytes, rest, depth)
}

const TRUNCATED: FrameFault = "a value that is longer than its frame";

fn deeper(depth: usize) -> Result<usize, FrameFault> {
    match depth < DEPTH_MAX {
        true => Ok(depth + 1),
        false => Err("values nested too deep"),
    }
}

/// `whole` begins at the format code.
fn after_format<'a>(
    format: u8,
    whole: &'a [u8],
    rest: &'a [u8],
    depth: usize,
) -> Result<&'a [u8], FrameFault> {
    match format >> 4 {
        0xc | 0xd => elements(format, whole, deeper(depth)?),
        0xe | 0xf => array(whole, deeper(depth)?),
        _ => scalar(format, rest),
    }
}

/// Walks over what follows the format code of a value without inner values.
fn scalar(format: u8, rest: &[u8]) -> Result<&[u8], FrameFault> {
    let (width, rest) = match format {
        0x40..=0x45 => (0, rest),
        0x50..=0x56 => (1, rest),
        0x60 | 0x61 => (2, rest),
        0x70..=0x74 => (4, rest),
        0x80..=0x84 => (8, rest),
        0x94 | 0x98 => (16, rest),
        0xa0 | 0xa1 | 0xa3 => length(rest, SizePrefix::Byte)?,
        0xb0 | 0xb1 | 0xb3 => length(rest, SizePrefix::Four)?,
        _ => return Err("a value of an unknown kind"),
    };
    rest.get(width..).ok_or(TRUNCATED)
}

#[derive(Clone, Copy)]
enum SizePrefix {
    Byte,
    Four,
}

impl SizePrefix {
    /// Of the lengths of a compound or array.
    fn of(format: u8) -> Self {
        match format >> 4 {
            0xc | 0xe => Self::Byte,
            _ => Self::Four,
        }
    }
}

fn length(bytes: &[u8], size: SizePrefix) -> Result<(usize, &[u8]), FrameFault> {
    match size {
        SizePrefix::Byte => {
            let (length, rest) = bytes.split_first().ok_or(TRUNCATED)?;
            Ok((usize::from(*length), rest))
        }
        SizePrefix::Four => {
            let (length, rest) = bytes.split_first_chunk().ok_or(TRUNCATED)?;
            let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| TRUNCATED)?;
            Ok((length, rest))
        }
    }
}

/// The content of a compound or array, its count, and what stands behind it.
fn compound(whole: &[u8]) -> Result<(&[u8], usize, &[u8]), FrameFault> {
    let (format, rest) = whole.split_first().ok_or(TRUNCATED)?;
    let size = SizePrefix::of(*format);
    let (bytes, rest) = length(rest, size)?;
    if bytes > rest.len() {
        return Err(TRUNCATED);
    }
    let (inside, behind) = rest.split_at(bytes);
    let (count, content) = length(inside, size)?;
    Ok((content, count, behind))
}

fn elements(format: u8, whole: &[u8], depth: usize) -> Result<&[u8], FrameFault> {
    let map = match format {
        0xc0 | 0xd0 => false,
        0xc1 | 0xd1 => true,
        _ => return Err("a value of an unknown kind"),
    };
    let (mut content, count, behind) = compound(whole)?;
    // Each takes a byte at least.
    if count > content.len() || (map && count % 2 == 1) {
        return Err("a count that does not fit its size");
    }
    for _ in 0..count {
        content = value(content, depth)?;
    }
    match content.is_empty() {
        true => Ok(behind),
        false => Err("a count that does not fit its size"),
    }
}

fn array(whole: &[u8], depth: usize) -> Result<&[u8], FrameFault> {
    if !matches!(whole[0], 0xe0 | 0xf0) {
        return Err("a value of an unknown kind");
    }
    let (mut content, count, behind) = compound(whole)?;
    // Some leave the constructor away where there is nothing to construct.
    if count == 0 && content.is_empty() {
        return Ok(behind);
    }
    let mut depth = depth;
    while let Some((0, rest)) = content.split_first() {
        depth = deeper(depth)?;
        content = value(rest, depth)?;
    }
    let (format, rest) = content.split_first().ok_or(TRUNCATED)?;
    let bound = match format >> 4 {
        4 => EMPTY_ELEMENTS_MAX,
        _ => rest.len(),
    };
    if count > bound {
        return Err("a count that does not fit its size");
    }
    content = rest;
    for _ in 0..count {
        content = element(*format, content, depth)?;
    }
    match content.is_empty() {
        true => Ok(behind),
        false => Err("a count that does not fit its size"),
    }
}

/// One element of an array: what stands behind a format code that is written once for all.
fn element(format: u8, content: &[u8], depth: usize) -> Result<&[u8], FrameFault> {
    match format >> 4 {
        // Arrays in arrays, or lists: no frame of ours or of Azure's has them.
        0xc..=0xf => {
            deeper(depth)?;
            Err("an array of lists, maps or arrays")
        }
        _ => scalar(format, content),
    }
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
