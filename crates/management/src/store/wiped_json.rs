//! JSON with secrets in it, written so that no copy of it stays behind.

use serde::Serialize;
use std::io;
use zeroize::Zeroizing;

/// Bytes that a record rarely outgrows.
const BYTES: usize = 1024;

/// A buffer that is zeroed when it is dropped, and whenever it outgrows its place.
struct WipedBuffer(Zeroizing<Vec<u8>>);

impl io::Write for WipedBuffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let needed = self.0.len() + bytes.len();
        if needed > self.0.capacity() {
            let mut larger = Zeroizing::new(Vec::with_capacity(needed * 2));
            larger.extend_from_slice(&self.0);
            self.0 = larger;
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes a value whose keys are texts.
pub(crate) fn write(value: &impl Serialize) -> Zeroizing<Vec<u8>> {
    let mut buffer = WipedBuffer(Zeroizing::new(Vec::with_capacity(BYTES)));
    serde_json::to_writer(&mut buffer, value).expect("values and texts are JSON");
    buffer.0
}
