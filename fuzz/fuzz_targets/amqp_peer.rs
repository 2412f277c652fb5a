//! Any bytes of a broker, in any pieces: what the guard lets through, fe2o3-amqp's decoder takes or refuses, and
//! lives.

#![no_main]

use bytes::{Buf as _, BytesMut};
use fe2o3_amqp::frames::amqp::FrameDecoder;
use libfuzzer_sys::fuzz_target;
use tokio_util::codec::Decoder as _;

/// Protocol headers, which come before frames.
const HEADER_BYTES: usize = 8;

fuzz_target!(|input: (u16, Vec<u8>)| {
    let (piece, bytes) = input;
    let pieces = bytes.chunks(usize::from(piece).max(1));
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
        let sasl = frame[5] == 1;
        // The codec below takes the length off.
        frame.advance(4);
        if !sasl {
            drop(decoder.decode(&mut frame));
        }
    }
    assert!(passed.is_empty(), "only whole frames pass");
});
