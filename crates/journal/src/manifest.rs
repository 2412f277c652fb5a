//! The manifest: a second place that says which segments there should be, and where the log ends.
//!
//! Segments alone cannot tell that the newest of them is gone, or how much of it. The manifest holds
//! a few numbers, in a file of its own that never grows.
//!
//! Constraints: it is a lower bound at any moment, so no crash makes it claim too much. A segment is
//! named in it once its file and its name are on disk, the end of a group once that is synced. It is
//! written behind each group without a sync of its own: a kill leaves it exact. It is synced, before
//! anything of the new segment is acknowledged, where a segment begins, and before segments go and
//! when the journal is closed: a loss of power leaves at least that.
//!
//! Layout: three slots of 4 KiB each, numbers little endian. The slot with the largest count among
//! those whose checksum holds is the one that is valid. Synced writings go to the first two in turn,
//! so that one of them is whole whatever is torn; the others go to the third.
//!
//! ```text
//!  0  4  magic  f1 54 57 4d
//!  4  4  version: 1
//!  8  8  count: how many writings came before
//! 16  8  oldest segment that is needed
//! 24  8  newest segment
//! 32  8  the last segment that holds anything
//! 40  8  its end: everything before is synced
//! 48  8  its first sequence
//! 56  8  the sequence that comes next
//! 64  8  deliveries that were ever made, of all lanes
//! 72  8  deliveries that are open, of all lanes
//! 80  8  of those, the ones of events that were accepted into that last segment
//! 88  8  deliveries that were ever lost
//! 96  4  CRC32C of bytes 0 to 95
//! ```

use super::file_names::{MANIFEST, MANIFEST_UNFINISHED};
use super::storage::Storage;
use std::io;
use std::sync::Arc;

const MAGIC: [u8; 4] = [0xf1, b'T', b'W', b'M'];
const VERSION: u32 = 1;
const SLOT_BYTES: u64 = 4 << 10;
const SLOTS: u64 = 3;
const FILE_BYTES: u64 = SLOTS * SLOT_BYTES;

/// Numbers in a slot.
const NUMBERS: usize = 11;
const CONTENT_BYTES: usize = 8 + 8 * NUMBERS;

/// What the manifest says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ManifestContent {
    /// The oldest segment that is needed.
    pub(crate) oldest: u64,
    /// The newest segment; 0: there never was one.
    pub(crate) newest: u64,
    /// The last segment that holds anything: the newest, or the one before.
    pub(crate) last: u64,
    /// Up to where that is synced.
    pub(crate) end: u64,
    /// Its first sequence.
    pub(crate) first_sequence: u64,
    /// The sequence that the next event gets.
    pub(crate) next_sequence: u64,
    /// Deliveries that were ever made, of all lanes.
    pub(crate) made: u64,
    /// Deliveries that are open, of all lanes.
    pub(crate) open: u64,
    /// Of those, the ones whose event was accepted into that last segment.
    pub(crate) fresh_open: u64,
    /// Deliveries that were ever lost.
    pub(crate) lost: u64,
}

/// A manifest as it was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FoundManifest {
    pub(crate) manifest: ManifestContent,
    count: u64,
}

impl FoundManifest {
    /// Reads the file; `None` when there is none, or nothing in it is valid.
    ///
    /// # Errors
    /// The disk does not give it back.
    pub(crate) fn read(storage: &dyn Storage) -> io::Result<Option<Self>> {
        let length = match storage.len(MANIFEST) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut newest: Option<Self> = None;
        for slot in 0..SLOTS {
            let at = slot * SLOT_BYTES;
            if at + SLOT_BYTES > length {
                break;
            }
            let mut bytes = [0; CONTENT_BYTES + 4];
            storage.read_at(MANIFEST, &mut bytes, at)?;
            let found = Self::decode(&bytes);
            let newer = |found: &Self| newest.is_none_or(|known| known.count < found.count);
            if let Some(found) = found.filter(newer) {
                newest = Some(found);
            }
        }
        Ok(newest)
    }

    fn decode(bytes: &[u8; CONTENT_BYTES + 4]) -> Option<Self> {
        let (content, crc) = bytes.split_at(CONTENT_BYTES);
        let valid = crc32c::crc32c(content).to_le_bytes() == *crc
            && content[..4] == MAGIC
            && content[4..8] == VERSION.to_le_bytes();
        let (numbers, _) = content[8..].as_chunks::<8>();
        let number = |at: usize| u64::from_le_bytes(numbers[at]);
        valid.then(|| Self {
            count: number(0),
            manifest: ManifestContent {
                oldest: number(1),
                newest: number(2),
                last: number(3),
                end: number(4),
                first_sequence: number(5),
                next_sequence: number(6),
                made: number(7),
                open: number(8),
                fresh_open: number(9),
                lost: number(10),
            },
        })
    }

    fn encode(&self) -> Vec<u8> {
        let said = &self.manifest;
        let numbers: [u64; NUMBERS] = [
            self.count,
            said.oldest,
            said.newest,
            said.last,
            said.end,
            said.first_sequence,
            said.next_sequence,
            said.made,
            said.open,
            said.fresh_open,
            said.lost,
        ];
        let mut bytes = Vec::with_capacity(CONTENT_BYTES + 4);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        for number in numbers {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }
}

/// The manifest's file, written by the one who has the log.
pub(crate) struct ManifestFile {
    storage: Arc<dyn Storage>,
    written: FoundManifest,
    synced_slot: u64,
    state: ManifestState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ManifestState {
    /// There is no file yet.
    Absent,
    /// It is written.
    InUse,
    /// The last writing failed, which was logged.
    Failing,
}

impl ManifestFile {
    /// Goes on behind what was found.
    pub(crate) fn new(storage: &Arc<dyn Storage>, found: Option<FoundManifest>) -> Self {
        Self {
            storage: Arc::clone(storage),
            written: found.unwrap_or_default(),
            synced_slot: 0,
            state: match found {
                None => ManifestState::Absent,
                Some(_) => ManifestState::InUse,
            },
        }
    }

    /// What was written last.
    pub(crate) fn written(&self) -> ManifestContent {
        self.written.manifest
    }

    /// Whether there is one that says something.
    pub(crate) fn is_there(&self) -> bool {
        self.state != ManifestState::Absent
    }

    /// Writes it behind a group, without a sync. It stays a lower bound when that fails.
    pub(crate) fn follow(&mut self, manifest: ManifestContent) {
        if self.is_there() && self.written.manifest != manifest {
            let written = self.put(manifest, SLOTS - 1);
            self.judge(written);
        }
    }

    /// Writes it and waits until it is on disk. Makes the file if there is none.
    pub(crate) fn sync(&mut self, manifest: ManifestContent) {
        let written = match self.state {
            ManifestState::Absent => self.make(manifest),
            ManifestState::InUse | ManifestState::Failing => self.put_synced(manifest),
        };
        self.judge(written);
    }

    fn put_synced(&mut self, manifest: ManifestContent) -> io::Result<()> {
        self.synced_slot = 1 - self.synced_slot;
        self.put(manifest, self.synced_slot)?;
        self.storage.sync_data(MANIFEST)
    }

    fn make(&mut self, manifest: ManifestContent) -> io::Result<()> {
        for name in [MANIFEST_UNFINISHED, MANIFEST] {
            if self.storage.list()?.iter().any(|known| known == name) {
                self.storage.remove(name)?;
            }
        }
        self.storage.create(MANIFEST_UNFINISHED, FILE_BYTES)?;
        self.storage.rename(MANIFEST_UNFINISHED, MANIFEST)?;
        self.put_synced(manifest)?;
        self.storage.sync_dir()?;
        self.state = ManifestState::InUse;
        Ok(())
    }

    fn put(&mut self, manifest: ManifestContent, slot: u64) -> io::Result<()> {
        let written = FoundManifest {
            manifest,
            count: self.written.count + 1,
        };
        let bytes = written.encode();
        self.storage.write_at(MANIFEST, &bytes, slot * SLOT_BYTES)?;
        self.written = written;
        Ok(())
    }

    /// The journal goes on without: it is not needed to read what is there, only to know what is not.
    fn judge(&mut self, written: io::Result<()>) {
        match written {
            Ok(()) if self.state == ManifestState::Failing => {
                self.state = ManifestState::InUse;
                tracing::info!("the journal's manifest is written again");
            }
            Ok(()) => {}
            Err(error) if self.state == ManifestState::InUse => {
                self.state = ManifestState::Failing;
                tracing::warn!(
                    %error,
                    "the journal's manifest cannot be written; until it can, a segment that is lost \
                     may go unnoticed"
                );
            }
            Err(error) => tracing::debug!(%error, "the journal's manifest cannot be written"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sim::{DiskFault, PowerLossRemains, SimulatedDisk};
    use super::*;

    fn numbered(newest: u64) -> ManifestContent {
        ManifestContent {
            oldest: 1,
            newest,
            end: newest * 100,
            ..ManifestContent::default()
        }
    }

    fn read(sim: &SimulatedDisk) -> Option<u64> {
        let found = FoundManifest::read(sim).unwrap();
        found.map(|found| found.manifest.newest)
    }

    #[test]
    fn the_last_writing_counts_after_a_kill_and_the_last_sync_after_a_loss_of_power() {
        let sim = SimulatedDisk::default();
        let storage: Arc<dyn Storage> = Arc::new(sim.clone());
        let mut file = ManifestFile::new(&storage, None);
        assert_eq!(read(&sim), None);
        file.sync(numbered(1));
        file.sync(numbered(2));
        file.follow(numbered(3));
        file.follow(numbered(4));
        for (leaves, newest) in [(PowerLossRemains::All, 4), (PowerLossRemains::Nothing, 2)] {
            let crashed = sim.fork();
            crashed.power_off();
            crashed.power_on(leaves);
            assert_eq!(read(&crashed), Some(newest), "{leaves:?}");
        }
        let found = FoundManifest::read(&sim).unwrap();
        let mut file = ManifestFile::new(&storage, found);
        file.sync(numbered(5));
        assert_eq!(read(&sim), Some(5), "counts go on");
    }

    #[test]
    fn whatever_is_torn_an_older_one_is_left() {
        let sim = SimulatedDisk::default();
        let storage: Arc<dyn Storage> = Arc::new(sim.clone());
        let mut file = ManifestFile::new(&storage, None);
        file.sync(numbered(1));
        file.sync(numbered(2));
        file.follow(numbered(3));
        sim.sync_data(MANIFEST).unwrap();
        for (slot, left) in [(2, Some(2)), (0, Some(3)), (1, Some(3))] {
            let torn = sim.fork();
            torn.overwrite(MANIFEST, slot * SLOT_BYTES as usize + 30, &[0xff; 20]);
            assert_eq!(read(&torn), left, "slot {slot}");
        }
        sim.overwrite(MANIFEST, 0, &[0; FILE_BYTES as usize]);
        assert_eq!(read(&sim), None);
    }

    #[test]
    fn a_failed_writing_is_tried_again_with_the_next() {
        let sim = SimulatedDisk::default();
        let storage: Arc<dyn Storage> = Arc::new(sim.clone());
        let mut file = ManifestFile::new(&storage, None);
        sim.fail_after(0, DiskFault::NoRoom);
        file.sync(numbered(1));
        assert!(!file.is_there());
        file.sync(numbered(1));
        assert!(file.is_there());
        sim.fail_after(0, DiskFault::Error);
        file.follow(numbered(2));
        file.follow(numbered(3));
        assert_eq!(read(&sim), Some(3));
    }
}
