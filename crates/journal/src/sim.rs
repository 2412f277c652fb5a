//! Storage in memory that loses what a machine may lose, for tests: unsynced writes and names, torn
//! writes, full disks, I/O errors at a chosen call, flipped bits, and the power.

use super::power_loss::{SimFile, put};
use super::storage::Storage;
use std::any::Any;
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

pub use super::power_loss::PowerLossRemains;

/// What goes wrong at one call that changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFault {
    /// The call fails with an I/O error; a write has written half.
    Error,
    /// A write or a creation finds no room; a write has written half. A sync goes well.
    NoRoom,
    /// The power goes: this call and all that follow fail until [`SimulatedDisk::power_on`].
    PowerOff,
}

/// The storage. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct SimulatedDisk {
    state: Arc<Mutex<SimulatedState>>,
    locked: Arc<AtomicBool>,
    /// Whether syncs hang, and how many do.
    hanging: Arc<(Mutex<(bool, usize)>, Condvar)>,
}

/// As long as this is there, syncs hang.
#[derive(Debug)]
pub struct HangingSyncs(Arc<(Mutex<(bool, usize)>, Condvar)>);

impl HangingSyncs {
    /// Waits until one does.
    pub fn wait_for_one(&self) {
        let (state, changed) = &*self.0;
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        while state.1 == 0 {
            state = changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for HangingSyncs {
    fn drop(&mut self) {
        let (state, changed) = &*self.0;
        state.lock().unwrap_or_else(PoisonError::into_inner).0 = false;
        changed.notify_all();
    }
}

#[derive(Clone, Debug, Default)]
struct SimulatedState {
    /// Files as a running process sees them, and names that a crash would leave.
    files: BTreeMap<String, SimFile>,
    /// Removed, and the removal not synced.
    removed: BTreeMap<String, SimFile>,
    calls: u64,
    fault: Option<(u64, DiskFault)>,
    off: bool,
    /// Bytes that there is room for, and whether it says how many are left of them.
    room: Option<u64>,
    reports_room: bool,
    /// Stretches of files that the disk does not give back.
    unreadable: Vec<(String, Range<usize>)>,
}

impl SimulatedDisk {
    fn state(&self) -> MutexGuard<'_, SimulatedState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A storage of its own with the same contents and no owner.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self {
            state: Arc::new(Mutex::new(self.state().clone())),
            locked: Arc::default(),
            hanging: Arc::default(),
        }
    }

    /// Lets the `calls`-th changing call from now fail; 0 is the next.
    pub fn fail_after(&self, calls: u64, fault: DiskFault) {
        let mut state = self.state();
        state.fault = Some((state.calls + calls, fault));
    }

    /// Lets syncs hang for as long as what this gives is there.
    #[must_use]
    pub fn hang_syncs(&self) -> HangingSyncs {
        let (state, _) = &*self.hanging;
        state.lock().unwrap_or_else(PoisonError::into_inner).0 = true;
        HangingSyncs(Arc::clone(&self.hanging))
    }

    fn hang(&self) {
        let (state, changed) = &*self.hanging;
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        state.1 += 1;
        changed.notify_all();
        while state.0 {
            state = changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.1 -= 1;
    }

    /// Takes back what [`Self::fail_after`] said and has not happened.
    pub fn heal(&self) {
        self.state().fault = None;
    }

    /// Limits what new files may take together; `None`: no limit.
    pub fn set_room(&self, bytes: Option<u64>) {
        self.state().room = bytes;
    }

    /// Has it say from now on how much room is left, as a folder does and a quota may not.
    pub fn report_room(&self) {
        self.state().reports_room = true;
    }

    /// Turns the power off: every call fails from now on.
    pub fn power_off(&self) {
        self.state().off = true;
    }

    /// Turns the power on again; what was not synced is as `leaves` says.
    pub fn power_on(&self, leaves: PowerLossRemains) {
        let mut state = self.state();
        let mut rng = fastrand::Rng::with_seed(match leaves {
            PowerLossRemains::Some(seed) => seed,
            _ => 0,
        });
        let lost = |rng: &mut fastrand::Rng| match leaves {
            PowerLossRemains::All | PowerLossRemains::LastWriteCut(_) => false,
            PowerLossRemains::Nothing => true,
            PowerLossRemains::Some(_) => rng.bool(),
        };
        let mut files = BTreeMap::new();
        for (name, file) in &state.files {
            let before = file.renamed_from.as_ref();
            if file.name_synced || !lost(&mut rng) {
                files.insert(name.clone(), file.after_crash(leaves, &mut rng));
            } else if let Some(before) = before {
                // A rename happens, or it does not.
                files.insert(before.clone(), file.after_crash(leaves, &mut rng));
            }
        }
        for (name, file) in &state.removed {
            if lost(&mut rng) {
                files.insert(name.clone(), file.after_crash(leaves, &mut rng));
            }
        }
        state.files = files
            .into_iter()
            .map(|(name, durable)| {
                let file = SimFile {
                    durable,
                    unsynced: Vec::new(),
                    name_synced: true,
                    renamed_from: None,
                };
                (name, file)
            })
            .collect();
        state.removed.clear();
        state.off = false;
        state.fault = None;
    }

    /// Flips one bit of a file, wherever its bytes are.
    pub fn flip(&self, name: &str, byte: usize, bit: u8) {
        let mut state = self.state();
        if let Some(file) = state.files.get_mut(name) {
            let mut bytes = file.seen();
            if let Some(byte) = bytes.get_mut(byte) {
                *byte ^= 1 << (bit % 8);
            }
            file.durable = bytes;
            file.unsynced.clear();
        }
    }

    /// Overwrites bytes of a file behind the journal's back.
    pub fn overwrite(&self, name: &str, offset: usize, bytes: &[u8]) {
        if let Some(file) = self.state().files.get_mut(name) {
            put(&mut file.durable, offset, bytes);
        }
    }

    /// Removes a file behind the journal's back.
    pub fn delete(&self, name: &str) {
        self.state().files.remove(name);
    }

    /// Cuts a file behind the journal's back.
    pub fn truncate(&self, name: &str, bytes: usize) {
        if let Some(file) = self.state().files.get_mut(name) {
            let mut seen = file.seen();
            seen.truncate(bytes);
            file.durable = seen;
            file.unsynced.clear();
        }
    }

    /// Swaps the names of two files behind the journal's back.
    pub fn swap(&self, one: &str, other: &str) {
        let mut state = self.state();
        let (first, second) = (state.files.remove(one), state.files.remove(other));
        for (name, file) in [(one, second), (other, first)] {
            if let Some(file) = file {
                state.files.insert(name.to_owned(), file);
            }
        }
    }

    /// Has the disk give back these bytes of a file no more.
    pub fn break_reads(&self, name: &str, bytes: Range<usize>) {
        self.state().unreadable.push((name.to_owned(), bytes));
    }

    /// A file as the running process sees it.
    #[must_use]
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        self.state().files.get(name).map(SimFile::seen)
    }

    /// Where the last unsynced write to a file stands, and its length.
    #[must_use]
    pub fn last_write(&self, name: &str) -> Option<(usize, usize)> {
        let state = self.state();
        let (offset, bytes) = state.files.get(name)?.unsynced.last()?;
        Some((*offset, bytes.len()))
    }

    /// Bytes of all files.
    fn taken(state: &SimulatedState) -> u64 {
        let files = state.files.values();
        files.map(|file| file.durable.len() as u64).sum()
    }

    /// Counts a changing call; says whether and how it fails.
    fn call(state: &mut SimulatedState) -> io::Result<Option<DiskFault>> {
        if state.off {
            return Err(off());
        }
        let call = state.calls;
        state.calls += 1;
        match state.fault {
            Some((at, fault)) if at == call => {
                state.fault = None;
                if fault == DiskFault::PowerOff {
                    state.off = true;
                }
                Ok(Some(fault))
            }
            _ => Ok(None),
        }
    }
}

fn off() -> io::Error {
    io::Error::other("the power is off")
}

fn broken() -> io::Error {
    io::Error::other("the disk does not answer")
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

fn error_of(fault: DiskFault) -> io::Error {
    match fault {
        DiskFault::Error => broken(),
        DiskFault::NoRoom => io::ErrorKind::StorageFull.into(),
        DiskFault::PowerOff => off(),
    }
}

struct FolderOwner(Arc<AtomicBool>);

impl Drop for FolderOwner {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Storage for SimulatedDisk {
    fn lock(&self) -> io::Result<Box<dyn Any + Send + Sync>> {
        if self.locked.swap(true, Ordering::AcqRel) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(FolderOwner(Arc::clone(&self.locked))))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let state = self.state();
        if state.off {
            return Err(off());
        }
        Ok(state.files.keys().cloned().collect())
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<()> {
        let mut state = self.state();
        if let Some(fault) = Self::call(&mut state)? {
            return Err(error_of(fault));
        }
        let taken = Self::taken(&state);
        if state.room.is_some_and(|room| taken + bytes > room) {
            return Err(error_of(DiskFault::NoRoom));
        }
        if state.files.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = SimFile {
            durable: vec![0; usize::try_from(bytes).map_err(io::Error::other)?],
            ..SimFile::default()
        };
        state.files.insert(name.to_owned(), file);
        Ok(())
    }

    fn write_at(&self, name: &str, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.state();
        let fault = Self::call(&mut state)?;
        let file = state.files.get_mut(name).ok_or_else(missing)?;
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let kept = if fault.is_some() {
            bytes.len() / 2
        } else {
            bytes.len()
        };
        file.unsynced.push((offset, bytes[..kept].to_vec()));
        fault.map_or(Ok(()), |fault| Err(error_of(fault)))
    }

    fn read_at(&self, name: &str, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let state = self.state();
        if state.off {
            return Err(off());
        }
        let seen = state.files.get(name).ok_or_else(missing)?.seen();
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let asked = offset..offset.saturating_add(bytes.len());
        let is_broken = |(broken, range): &(String, Range<usize>)| {
            broken == name && range.start < asked.end && asked.start < range.end
        };
        if state.unreadable.iter().any(is_broken) {
            return Err(rustix::io::Errno::IO.into());
        }
        let from = seen.get(offset..offset + bytes.len());
        bytes.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn len(&self, name: &str) -> io::Result<u64> {
        let state = self.state();
        let file = state.files.get(name).ok_or_else(missing)?;
        Ok(file.seen().len() as u64)
    }

    fn sync_data(&self, name: &str) -> io::Result<()> {
        self.hang();
        let mut state = self.state();
        match Self::call(&mut state)? {
            None | Some(DiskFault::NoRoom) => {}
            Some(fault) => return Err(error_of(fault)),
        }
        let file = state.files.get_mut(name).ok_or_else(missing)?;
        file.durable = file.seen();
        file.unsynced.clear();
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut state = self.state();
        match Self::call(&mut state)? {
            None | Some(DiskFault::NoRoom) => {}
            Some(fault) => return Err(error_of(fault)),
        }
        state.removed.clear();
        state.files.values_mut().for_each(|file| {
            file.name_synced = true;
            file.renamed_from = None;
        });
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        if let Some(fault) = Self::call(&mut state)? {
            return Err(error_of(fault));
        }
        let mut file = state.files.remove(from).ok_or_else(missing)?;
        if file.name_synced {
            file.renamed_from = Some(from.to_owned());
        }
        file.name_synced = false;
        if let Some(replaced) = state.files.insert(to.to_owned(), file) {
            state.removed.insert(to.to_owned(), replaced);
        }
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        if let Some(fault) = Self::call(&mut state)? {
            return Err(error_of(fault));
        }
        let file = state.files.remove(name).ok_or_else(missing)?;
        if file.name_synced {
            state.removed.insert(name.to_owned(), file);
        }
        Ok(())
    }

    fn shorten(&self, name: &str, bytes: u64) -> io::Result<()> {
        let mut state = self.state();
        if let Some(fault) = Self::call(&mut state)? {
            return Err(error_of(fault));
        }
        let file = state.files.get_mut(name).ok_or_else(missing)?;
        let bytes = usize::try_from(bytes).map_err(io::Error::other)?;
        file.durable.truncate(bytes);
        file.unsynced.retain(|(offset, _)| *offset < bytes);
        Ok(())
    }

    fn free_bytes(&self) -> Option<u64> {
        let state = self.state();
        let room = state.room.filter(|_| state.reports_room)?;
        Some(room.saturating_sub(Self::taken(&state)))
    }

    fn is_concurrent(&self) -> bool {
        false
    }

    fn describe(&self) -> String {
        "simulated storage".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_unsynced() -> SimulatedDisk {
        let sim = SimulatedDisk::default();
        sim.create("a", 4_096).unwrap();
        sim.sync_dir().unwrap();
        sim.write_at("a", b"one", 0).unwrap();
        sim.sync_data("a").unwrap();
        sim.write_at("a", &[7; 2_048], 1_024).unwrap();
        sim
    }

    #[test]
    fn a_crash_leaves_what_was_synced() {
        for (leaves, sevens) in [
            (PowerLossRemains::All, 2_048..=2_048),
            (PowerLossRemains::Nothing, 0..=0),
            (PowerLossRemains::LastWriteCut(100), 100..=100),
            (PowerLossRemains::Some(3), 0..=2_048),
        ] {
            let sim = with_unsynced();
            sim.power_off();
            assert!(sim.sync_data("a").is_err());
            sim.power_on(leaves);
            let bytes = sim.contents("a").unwrap();
            assert_eq!(&bytes[..3], b"one");
            let count = bytes.iter().filter(|byte| **byte == 7).count();
            assert!(sevens.contains(&count), "{leaves:?}: {count}");
        }
    }

    #[test]
    fn names_are_lost_without_a_sync_of_the_folder() {
        let sim = with_unsynced();
        sim.create("b", 1).unwrap();
        sim.remove("a").unwrap();
        sim.power_off();
        sim.power_on(PowerLossRemains::Nothing);
        assert_eq!(sim.list().unwrap(), ["a"]);
    }

    #[test]
    fn a_fault_comes_once_at_its_call() {
        let sim = with_unsynced();
        sim.fail_after(1, DiskFault::NoRoom);
        sim.write_at("a", b"xx", 3_500).unwrap();
        let error = sim.write_at("a", b"xx", 3_502).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        sim.write_at("a", b"yy", 3_504).unwrap();
        assert_eq!(&sim.contents("a").unwrap()[3_500..3_506], b"xxx\0yy");
        sim.set_room(Some(4_096));
        assert!(sim.create("b", 1).is_err());
    }
}
