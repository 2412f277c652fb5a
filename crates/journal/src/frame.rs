//! Frames: what every record of a segment file is wrapped in.
//!
//! Constraints: a frame is valid only in the segment and at the offset it was written for, so that
//! stale bytes never look like records; a damaged length leads at worst to another damaged frame;
//! the header keeps this layout in every version, so that an old program can tell a newer file from
//! a broken one.
//!
//! ```text
//!  0  4  magic  f1 54 57 4a
//!  4  1  version
//!  5  1  kind
//!  6  2  zero
//!  8  4  length of the body
//! 12  4  CRC32C of segment id (8), offset in the file (8), bytes 0..12, body
//! 16  …  body
//! ```
//!
//! All numbers are little endian.

/// Bytes before the body.
pub(crate) const HEADER_BYTES: usize = 16;

/// The layout that this program writes.
pub(crate) const VERSION: u8 = 1;

/// No body is longer: an event of 64 MiB, 65,536 lanes with a dead letter each, and room.
pub(crate) const BODY_BYTES_MAX: usize = 96 << 20;

pub(crate) const MAGIC: [u8; 4] = [0xf1, b'T', b'W', b'J'];

/// Where a frame stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FramePlace {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
    pub(crate) bytes: u32,
}

/// A frame whose checksum holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordFrame<'a> {
    pub(crate) version: u8,
    pub(crate) kind: u8,
    pub(crate) body: &'a [u8],
}

impl RecordFrame<'_> {
    /// Bytes it takes in the file.
    pub(crate) fn len(&self) -> usize {
        HEADER_BYTES + self.body.len()
    }
}

/// Begins a frame; the body is appended to `out`, then [`end`] is called with what this gives.
pub(crate) fn begin(out: &mut Vec<u8>, kind: u8) -> usize {
    let start = out.len();
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[VERSION, kind, 0, 0]);
    out.extend_from_slice(&[0; 8]);
    start
}

/// Ends the frame that began at `start`. It is not valid before it is sealed.
pub(crate) fn end(out: &mut [u8], start: usize) {
    let body = out.len() - start - HEADER_BYTES;
    assert!(body <= BODY_BYTES_MAX, "bodies are bounded by their makers");
    let length = u32::try_from(body).expect("far below 4 GiB");
    out[start + 8..start + 12].copy_from_slice(&length.to_le_bytes());
}

/// Puts the checksum into the frame at the start of `bytes` and gives the frame's length.
pub(crate) fn seal(bytes: &mut [u8], segment: u64, offset: u64) -> usize {
    let length = u32::from_le_bytes(bytes[8..12].try_into().expect("4 bytes")) as usize;
    let frame = &mut bytes[..HEADER_BYTES + length];
    let crc = checksum(frame, segment, offset);
    frame[12..16].copy_from_slice(&crc.to_le_bytes());
    frame.len()
}

/// The frame at `at` of `bytes`, which are the segment's from its start, if a valid one stands
/// there.
pub(crate) fn read(bytes: &[u8], at: usize, segment: u64) -> Option<RecordFrame<'_>> {
    read_at(bytes.get(at..)?, segment, at as u64)
}

/// As [`read`], of bytes that begin at `offset` of the segment.
pub(crate) fn read_at(bytes: &[u8], segment: u64, offset: u64) -> Option<RecordFrame<'_>> {
    let header = bytes.first_chunk::<HEADER_BYTES>()?;
    if header[..4] != MAGIC || header[6..8] != [0, 0] {
        return None;
    }
    let length = u32::from_le_bytes([header[8], header[9], header[10], header[11]]) as usize;
    if length > BODY_BYTES_MAX {
        return None;
    }
    let frame = bytes.get(..HEADER_BYTES + length)?;
    let crc = u32::from_le_bytes([header[12], header[13], header[14], header[15]]);
    (checksum(frame, segment, offset) == crc).then_some(RecordFrame {
        version: header[4],
        kind: header[5],
        body: &frame[HEADER_BYTES..],
    })
}

/// How long the frame at the beginning of `bytes` says that it is, if one may stand there.
pub(crate) fn stated_length(bytes: &[u8]) -> Option<usize> {
    let header = bytes.first_chunk::<HEADER_BYTES>()?;
    let length = u32::from_le_bytes([header[8], header[9], header[10], header[11]]) as usize;
    (header[..4] == MAGIC && length <= BODY_BYTES_MAX).then_some(HEADER_BYTES + length)
}

/// What may be a frame of this version at `at`, whatever its checksum says.
pub(crate) fn unchecked(bytes: &[u8], at: usize) -> Option<RecordFrame<'_>> {
    let rest = bytes.get(at..)?;
    let header = rest.first_chunk::<HEADER_BYTES>()?;
    let length = u32::from_le_bytes([header[8], header[9], header[10], header[11]]) as usize;
    Some(RecordFrame {
        version: VERSION,
        kind: header[5],
        body: rest.get(HEADER_BYTES..)?.get(..length)?,
    })
}

/// The frame at `at` of bytes that this program made itself, sealed or not.
pub(crate) fn trusted(bytes: &[u8], at: usize) -> Option<RecordFrame<'_>> {
    let rest = bytes.get(at..).filter(|rest| !rest.is_empty())?;
    let length = u32::from_le_bytes(rest[8..12].try_into().expect("4 bytes")) as usize;
    Some(RecordFrame {
        version: rest[4],
        kind: rest[5],
        body: &rest[HEADER_BYTES..HEADER_BYTES + length],
    })
}

/// Where the next valid frame stands at or after `from`.
pub(crate) fn find(bytes: &[u8], from: usize, segment: u64) -> Option<usize> {
    let mut at = from;
    loop {
        let rest = bytes.get(at..)?;
        at += rest.iter().position(|byte| *byte == MAGIC[0])?;
        if read(bytes, at, segment).is_some() {
            return Some(at);
        }
        at += 1;
    }
}

fn checksum(frame: &[u8], segment: u64, offset: u64) -> u32 {
    let mut seed = [0; 16];
    seed[..8].copy_from_slice(&segment.to_le_bytes());
    seed[8..].copy_from_slice(&offset.to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&seed), &frame[..12]);
    crc32c::crc32c_append(crc, &frame[HEADER_BYTES..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(body: &[u8], segment: u64, offset: u64) -> Vec<u8> {
        let mut out = Vec::new();
        let start = begin(&mut out, 7);
        out.extend_from_slice(body);
        end(&mut out, start);
        assert_eq!(seal(&mut out, segment, offset), out.len());
        out
    }

    #[test]
    fn any_flipped_bit_and_any_cut_is_noticed() {
        let good = frame(b"what an event is about", 3, 0);
        assert_eq!(read(&good, 0, 3).unwrap().body, b"what an event is about");
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(read(&bad, 0, 3), None, "bit {bit}");
        }
        for cut in 0..good.len() {
            assert_eq!(read(&good[..cut], 0, 3), None, "cut at {cut}");
        }
    }

    #[test]
    fn a_frame_is_valid_in_its_own_place_only() {
        let good = frame(b"body", 3, 0);
        assert_eq!(read(&good, 0, 4), None);
        let moved = [&[0; 8][..], &good].concat();
        assert_eq!(read(&moved, 8, 3), None);
        let at_eight = [&[0; 8][..], &frame(b"body", 3, 8)].concat();
        assert_eq!(find(&at_eight, 0, 3), Some(8));
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes: Vec<u8>, at in 0_usize..64) {
            prop_assert_eq!(read(&bytes, at, 1), None);
            prop_assert_eq!(find(&bytes, at, 1), None);
        }
    }
}
