//! What a loss of power leaves of a file, for the simulation of a disk.

/// What a loss of power leaves of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PowerLossRemains {
    /// Everything: the process died, not the machine.
    All,
    /// Nothing.
    Nothing,
    /// Some sectors of some writes, some names; which, follows from the number.
    Some(u64),
    /// All but the last write to a file, of which this many bytes.
    LastWriteCut(usize),
}

/// A file of a simulated disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct SimFile {
    pub(crate) durable: Vec<u8>,
    pub(crate) unsynced: Vec<(usize, Vec<u8>)>,
    pub(crate) name_synced: bool,
    /// The name that a crash may give back to it.
    pub(crate) renamed_from: Option<String>,
}

const SECTOR: usize = 512;

impl SimFile {
    pub(crate) fn seen(&self) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        for (offset, write) in &self.unsynced {
            put(&mut bytes, *offset, write);
        }
        bytes
    }

    pub(crate) fn after_crash(&self, leaves: PowerLossRemains, rng: &mut fastrand::Rng) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        let last = self.unsynced.len().wrapping_sub(1);
        for (index, (offset, write)) in self.unsynced.iter().enumerate() {
            match leaves {
                PowerLossRemains::All => put(&mut bytes, *offset, write),
                PowerLossRemains::Nothing => {}
                PowerLossRemains::LastWriteCut(kept) if index == last => {
                    put(&mut bytes, *offset, &write[..kept.min(write.len())]);
                }
                PowerLossRemains::LastWriteCut(_) => put(&mut bytes, *offset, write),
                PowerLossRemains::Some(_) => {
                    for (number, sector) in write.chunks(SECTOR).enumerate() {
                        if rng.bool() {
                            put(&mut bytes, offset + number * SECTOR, sector);
                        }
                    }
                }
            }
        }
        bytes
    }
}

pub(crate) fn put(bytes: &mut Vec<u8>, offset: usize, write: &[u8]) {
    if bytes.len() < offset + write.len() {
        bytes.resize(offset + write.len(), 0);
    }
    bytes[offset..offset + write.len()].copy_from_slice(write);
}
