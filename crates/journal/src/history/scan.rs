//! The records of one segment, read in windows.

use crate::frame::{self, FramePlace, HEADER_BYTES, RecordFrame};
use crate::storage::Storage;
use memchr::memchr;
use std::io;

/// Bytes that are read at once, unless one record is longer.
const WINDOW_BYTES: u64 = 1 << 20;

/// Reads one segment from its beginning. What is no record is skipped.
pub(super) struct SegmentScan<'a> {
    storage: &'a dyn Storage,
    name: &'a str,
    segment: u64,
    /// The records end here.
    limit: u64,
    window: Vec<u8>,
    /// Where the window begins in the file.
    start: u64,
    /// Where the next record is looked for in the window, and where the present one stands.
    at: usize,
    present: usize,
}

impl<'a> SegmentScan<'a> {
    pub(super) fn new(storage: &'a dyn Storage, name: &'a str, segment: u64, limit: u64) -> Self {
        Self {
            storage,
            name,
            segment,
            limit,
            window: Vec::new(),
            start: 0,
            at: 0,
            present: 0,
        }
    }

    /// Goes on to the next record; nothing behind the last.
    pub(super) fn advance(&mut self) -> io::Result<Option<FramePlace>> {
        loop {
            if self.ensure(HEADER_BYTES)? < HEADER_BYTES {
                return Ok(None);
            }
            if let Some(bytes) = frame::stated_length(&self.window[self.at..])
                && self.ensure(bytes)? >= bytes
            {
                let offset = self.start + self.at as u64;
                let found = &self.window[self.at..self.at + bytes];
                if frame::read_at(found, self.segment, offset).is_some() {
                    self.present = self.at;
                    self.at += bytes;
                    return Ok(Some(FramePlace {
                        segment: self.segment,
                        offset,
                        bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
                    }));
                }
            }
            let behind = self.at + 1;
            let next = memchr(frame::MAGIC[0], &self.window[behind..]);
            self.at = next.map_or(self.window.len(), |next| behind + next);
        }
    }

    /// The record that [`Self::advance`] went on to.
    pub(super) fn present(&self) -> Option<RecordFrame<'_>> {
        frame::trusted(&self.window, self.present)
    }

    /// Has so many bytes in the window, if they are there; gives how many there are.
    fn ensure(&mut self, bytes: usize) -> io::Result<usize> {
        let there = self.window.len() - self.at;
        if there >= bytes {
            return Ok(there);
        }
        self.window.drain(..self.at);
        self.start += self.at as u64;
        self.at = 0;
        let left = self.limit.saturating_sub(self.start);
        let wanted = (bytes as u64).max(WINDOW_BYTES).min(left);
        let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
        if wanted > there {
            self.window.resize(wanted, 0);
            let from = self.start + there as u64;
            let read = self
                .storage
                .read_at(self.name, &mut self.window[there..], from);
            if read.is_err() {
                self.window.truncate(there);
            }
            read?;
            // Deliveries first: a search has time.
            std::thread::yield_now();
        }
        Ok(self.window.len())
    }
}
