//! Frames and protocol headers (AMQP 1.0 part 2 §2.3).

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Size of a protocol header.
pub(crate) const HEADER_BYTES: usize = 8;
/// The header before SASL frames.
pub(crate) const SASL_HEADER: [u8; HEADER_BYTES] = *b"AMQP\x03\x01\x00\x00";
/// The header before AMQP frames.
pub(crate) const AMQP_HEADER: [u8; HEADER_BYTES] = *b"AMQP\x00\x01\x00\x00";
/// A frame without a performative: it only shows that the peer lives.
pub(crate) const EMPTY: [u8; 8] = [0, 0, 0, 8, 2, 0, 0, 0];
/// Bytes of a frame before its body, as we write it.
pub(crate) const FRAME_HEADER_BYTES: usize = 8;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameKind {
    Amqp = 0,
    Sasl = 1,
}

/// One frame.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AmqpFrame {
    pub(crate) kind: FrameKind,
    pub(crate) channel: u16,
    /// Empty for a keep-alive.
    pub(crate) body: Bytes,
}

/// Why the input is no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("a frame of {0} bytes is larger than agreed")]
    TooLarge(u32),
    #[error("a frame's header is malformed")]
    Malformed,
}

/// Takes the next whole frame off the front of `input`.
pub(crate) fn take(input: &mut BytesMut, bytes_max: u32) -> Result<Option<AmqpFrame>, FrameError> {
    if input.len() < FRAME_HEADER_BYTES {
        return Ok(None);
    }
    let size = u32::from_be_bytes(input[..4].try_into().expect("four bytes"));
    if size > bytes_max {
        return Err(FrameError::TooLarge(size));
    }
    let body_start = usize::from(input[4]) * 4;
    let kind = match input[5] {
        0 => FrameKind::Amqp,
        1 => FrameKind::Sasl,
        _ => return Err(FrameError::Malformed),
    };
    let channel = u16::from_be_bytes([input[6], input[7]]);
    let size = usize::try_from(size).map_err(|_| FrameError::Malformed)?;
    if body_start < FRAME_HEADER_BYTES || body_start > size {
        return Err(FrameError::Malformed);
    }
    if input.len() < size {
        return Ok(None);
    }
    let mut body = input.split_to(size).freeze();
    body.advance(body_start);
    Ok(Some(AmqpFrame {
        kind,
        channel,
        body,
    }))
}

/// Appends a frame whose body `fill` writes.
pub(crate) fn put(
    kind: FrameKind,
    channel: u16,
    out: &mut BytesMut,
    fill: impl FnOnce(&mut BytesMut),
) {
    let start = out.len();
    out.put_u32(0);
    out.put_slice(&[2, kind as u8]);
    out.put_u16(channel);
    fill(out);
    let size = u32::try_from(out.len() - start).expect("frames are far below 4 GiB");
    out[start..start + 4].copy_from_slice(&size.to_be_bytes());
}
