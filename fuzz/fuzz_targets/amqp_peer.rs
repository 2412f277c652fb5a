//! Any bytes of a broker, in any pieces: what the guard lets through, fe2o3-amqp's decoder takes or refuses, and
//! lives.
//!
//! The first byte of the input is the size of the pieces. After an odd second byte the rest is what the broker
//! sends; after an even one the rest is bodies of frames behind a good opening, a byte of length before each.

#![no_main]

use bytes::{Buf as _, BytesMut};
use fe2o3_amqp::frames::amqp::FrameDecoder;
use libfuzzer_sys::fuzz_target;
use tokio_util::codec::Decoder as _;

/// Protocol headers, which come before frames.
const HEADER_BYTES: usize = 8;
/// A header, an open and a begin frame.
const OPENING: &[u8] = b"AMQP\x00\x01\x00\x00\
    \x00\x00\x00\x11\x02\x00\x00\x00\x00\x53\x10\xc0\x04\x01\xa1\x01p\
    \x00\x00\x00\x12\x02\x00\x00\x00\x00\x53\x11\xc0\x05\x04\x40\x43\x43\x43";

fn framed(mut bodies: &[u8]) -> Vec<u8> {
    let mut sent = OPENING.to_vec();
    while let [length, rest @ ..] = bodies {
        let (body, rest) = rest.split_at(rest.len().min(usize::from(*length)));
        sent.extend(u32::to_be_bytes(8 + body.len() as u32));
        sent.extend([2, 0, 0, 0]);
        sent.extend(body);
        bodies = rest;
    }
    sent
}

fuzz_target!(|input: &[u8]| {
    let [piece, kind, rest @ ..] = input else {
        return;
    };
    let bytes = match kind % 2 {
        0 => framed(rest),
        _ => rest.to_vec(),
    };
    let pieces = bytes.chunks(usize::from(*piece).max(1));
    let mut passed: BytesMut = twinroute_sinks::fuzzing::passed(pieces)
        .into_iter()
        .flatten()
        .collect();
    let mut decoder = FrameDecoder {};
    while passed.len() >= HEADER_BYTES {
        if passed.starts_with(b"AMQP") {
            passed.advance(HEADER_BYTES);
            continue;
        }
        let size = u32::from_be_bytes([passed[0], passed[1], passed[2], passed[3]]);
        let mut frame = passed.split_to(size as usize);
        // The codec below takes the length off.
        frame.advance(4);
        let sasl = frame[1] == 1;
        if !sasl {
            drop(decoder.decode(&mut frame));
        }
    }
    assert!(passed.is_empty(), "only whole frames pass");
});
