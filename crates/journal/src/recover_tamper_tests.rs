//! Files that somebody cut, swapped or removed, and what is reported of them.

use super::*;

impl ModelRun {
    /// Kills the process, does something to a file, and holds what is reported as lost against what is.
    pub(super) fn tamper(&mut self, n: usize, what: &FileTamper) {
        self.sim.heal();
        self.sim.set_room(None);
        // A group that goes well leaves a manifest that is exact.
        let is_exact = self.disk().flush().wait().is_ok();
        if is_exact {
            self.model.flushed();
        }
        self.sim.power_off();
        self.disk = None;
        self.sim.power_on(PowerLossRemains::All);
        let found = super::read(&self.sim, &mut |_, _| {}).unwrap();
        // A fault may have kept it from being written.
        let known = found.manifest.map(|found| found.manifest);
        let follows = known.is_some_and(|known| (known.last, known.end) == found.end);
        if !is_exact || !follows {
            return self.reopen();
        }
        self.apply(n, what);
        let whole = super::read(&self.sim, &mut |_, _| {}).unwrap().report;
        let (disk, recovered) = open_sealed(&self.sim, SETTINGS, &self.sealing);
        assert_eq!(whole.lost_all(), recovered.report.lost_all(), "{whole}");
        drop(disk);
        let first = self.held_against(&recovered);
        let (disk, recovered) = open_sealed(&self.sim, SETTINGS, &self.sealing);
        let again = self.held_against(&recovered);
        assert_eq!(first, again, "counted twice: {}", recovered.report);
        self.rebase(&recovered);
        drop(disk);
        self.lanes.clear();
        self.reopen_tampered();
    }

    fn apply(&self, n: usize, what: &FileTamper) {
        let mut names = self.sim.list().unwrap();
        names.retain(|name| crate::file_names::segment_of(name).is_some());
        let name = &names[n % names.len()];
        let file = self.sim.contents(name).unwrap();
        let used = file
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |at| at + 1);
        let at = |mille: usize| used * mille / 1_000;
        match what {
            FileTamper::Delete => self.sim.delete(name),
            FileTamper::Cut(mille) => self.sim.truncate(name, at(*mille)),
            FileTamper::ZeroTail(mille) => {
                let zeros = vec![0; file.len() - at(*mille)];
                self.sim.overwrite(name, at(*mille), &zeros);
            }
            FileTamper::Zero(mille, bytes) => {
                let bytes = (*bytes).min(file.len() - at(*mille));
                self.sim.overwrite(name, at(*mille), &vec![0; bytes]);
            }
            FileTamper::Swap(other) => self.sim.swap(name, &names[other % names.len()]),
            FileTamper::CopyOver(other) => {
                let other = self.sim.contents(&names[other % names.len()]).unwrap();
                self.sim.overwrite(name, 0, &other);
            }
        }
    }

    /// Holds the books against each other and against the model; gives what is lost in all, and what waits.
    fn held_against(&self, recovered: &RecoveredJournal) -> (u64, BTreeSet<(u32, u64)>) {
        let (report, model) = (&recovered.report, &self.model);
        let mut found = BTreeSet::new();
        let mut total = recovered.lost_unknown;
        for lane in &recovered.lanes {
            let settled = lane.ledger.settled();
            assert_eq!(lane.ledger.made(), settled + lane.pending.len() as u64);
            if lane.name.is_some() {
                total += lane.ledger.discarded(DiscardReason::Lost);
                found.extend(lane.pending.iter().map(|one| (lane.number.0, one.sequence)));
            }
        }
        assert_eq!(total, report.lost_all(), "{report}");
        assert!(recovered.next_sequence > model.last_sequence, "{report}");
        assert!(
            found
                .iter()
                .all(|(_, sequence)| model.ids.contains_key(sequence))
        );
        let open = &model.promised - &model.settled;
        let lost = (&open - &found).len() as u64;
        assert!(
            total >= model.lost,
            "{} were lost before: {report}",
            model.lost
        );
        let reported = total - model.lost;
        // Where a settlement is gone too, nobody can tell which of the two it was; nor what became of what
        // was never acknowledged.
        let vague = self.ends + model.uncertain.len() as u64;
        let at = || format!("lost {lost}, vague {vague}, reported {reported}: {report}");
        assert!(reported.abs_diff(lost) <= vague, "{}", at());
        (total, found)
    }

    /// Goes on from what a damaged journal has.
    fn rebase(&mut self, recovered: &RecoveredJournal) {
        let (total, found) = self.held_against(recovered);
        let last_sequence = self.model.last_sequence;
        let ids = std::mem::take(&mut self.model.ids);
        self.model = JournalModel {
            promised: found,
            ids,
            last_sequence,
            lost: total,
            tampered: true,
            ..JournalModel::default()
        };
        for lane in recovered.lanes.iter().filter(|lane| lane.name.is_some()) {
            let dead = lane.pending.iter().filter(|one| one.dead.is_some());
            let dead = dead.map(|one| (lane.number.0, one.sequence));
            self.model.dead.extend(dead);
            let states = vec![lane.state.paused];
            self.model.states.insert(lane.number.0, states);
        }
        self.model.dead_for_good = self.model.dead.clone();
    }

    /// Opens again; the damage that is still there is reported once more, until it is released.
    pub(super) fn reopen_tampered(&mut self) {
        repaired(&self.sim).unwrap();
        self.reopen();
    }
}
