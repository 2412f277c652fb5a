//! Entries: compare-and-set, removal, listing.

use super::scene::{ContractBreach, ContractScene, same};
use crate::cluster_log::{
    ClusterEntry, ClusterKey, ClusterKeyKind, ClusterLogError, ExpectedRevision,
};
use bytes::Bytes;

use ExpectedRevision::{Absent, Revision};

impl ContractScene<'_> {
    async fn read(&self, key: &ClusterKey) -> Result<Option<ClusterEntry>, ContractBreach> {
        self.done("entry", self.log.entry(key)).await
    }

    /// The revision of a writing that must succeed.
    async fn write(
        &self,
        key: &ClusterKey,
        value: &'static str,
        expected: ExpectedRevision,
    ) -> Result<u64, ContractBreach> {
        let value = Bytes::from_static(value.as_bytes());
        self.done("write_entry", self.log.write_entry(key, value, expected))
            .await
    }

    /// One that must not.
    async fn write_refused(
        &self,
        key: &ClusterKey,
        expected: ExpectedRevision,
        found: u64,
    ) -> Result<(), ContractBreach> {
        let value = Bytes::from_static(b"refused");
        let answer = self
            .answer(self.log.write_entry(key, value, expected))
            .await?;
        let expected = match expected {
            Absent => 0,
            Revision(revision) => revision,
        };
        same(
            "write_entry",
            &answer,
            &Err(ClusterLogError::Conflict { expected, found }),
        )
    }

    /// Removes what an earlier run left.
    async fn clear(&self, key: &ClusterKey) -> Result<(), ContractBreach> {
        if let Some(entry) = self.read(key).await? {
            self.done("remove_entry", self.log.remove_entry(key, entry.revision))
                .await?;
        }
        same("entry after its removal", &self.read(key).await?, &None)
    }
}

fn entry(revision: u64, value: &'static str) -> Option<ClusterEntry> {
    Some(ClusterEntry {
        revision,
        value: Bytes::from_static(value.as_bytes()),
    })
}

pub(super) async fn an_entry_is_written_only_as_it_is_expected(
    scene: &ContractScene<'_>,
) -> Result<(), ContractBreach> {
    for key in [
        ClusterKey::Lease(scene.partition),
        ClusterKey::Checkpoint(scene.partition),
        ClusterKey::Member(scene.router("written")?),
    ] {
        scene.clear(&key).await?;
        scene.write_refused(&key, Revision(1), 0).await?;
        let first = scene.write(&key, "one", Absent).await?;
        same("entry", &scene.read(&key).await?, &entry(first, "one"))?;
        scene.write_refused(&key, Absent, first).await?;
        scene
            .write_refused(&key, Revision(first + 1), first)
            .await?;
        let second = scene.write(&key, "two", Revision(first)).await?;
        if second <= first {
            return Err(format!("revision {second} follows revision {first}"));
        }
        scene.write_refused(&key, Revision(first), second).await?;
        same("entry", &scene.read(&key).await?, &entry(second, "two"))?;
    }
    Ok(())
}

pub(super) async fn a_late_renewal_is_refused(
    scene: &ContractScene<'_>,
) -> Result<(), ContractBreach> {
    let key = ClusterKey::Lease(scene.partition);
    scene.clear(&key).await?;
    let owned = scene.write(&key, "owner", Absent).await?;
    let claimed = scene.write(&key, "claimant", Revision(owned)).await?;
    scene.write_refused(&key, Revision(owned), claimed).await?;
    // Nor does one that comes after the claimant has released it.
    scene
        .done("remove_entry", scene.log.remove_entry(&key, claimed))
        .await?;
    scene.write_refused(&key, Revision(owned), 0).await?;
    scene.write_refused(&key, Revision(claimed), 0).await
}

pub(super) async fn an_entry_is_removed_only_as_it_is_expected(
    scene: &ContractScene<'_>,
) -> Result<(), ContractBreach> {
    let key = ClusterKey::Checkpoint(scene.partition);
    scene.clear(&key).await?;
    let first = scene.write(&key, "one", Absent).await?;
    let second = scene.write(&key, "two", Revision(first)).await?;
    let answer = scene.answer(scene.log.remove_entry(&key, first)).await?;
    let expect = Err(ClusterLogError::Conflict {
        expected: first,
        found: second,
    });
    same("remove_entry", &answer, &expect)?;
    same("entry", &scene.read(&key).await?, &entry(second, "two"))?;
    for _ in 0..2 {
        scene
            .done("remove_entry", scene.log.remove_entry(&key, second))
            .await?;
        same("entry", &scene.read(&key).await?, &None)?;
    }
    Ok(())
}

pub(super) async fn revisions_rise_over_a_removal(
    scene: &ContractScene<'_>,
) -> Result<(), ContractBreach> {
    let key = ClusterKey::Lease(scene.partition);
    scene.clear(&key).await?;
    let mut last = 0;
    for _ in 0..3 {
        let revision = scene.write(&key, "claim", Absent).await?;
        if revision <= last {
            return Err(format!("revision {revision} follows revision {last}"));
        }
        last = revision;
        scene
            .done("remove_entry", scene.log.remove_entry(&key, revision))
            .await?;
    }
    // Leases and members share one row of revisions with what comes after.
    let member = ClusterKey::Member(scene.router("rises")?);
    scene.clear(&member).await?;
    let mut before = 0;
    for _ in 0..2 {
        let revision = scene.write(&member, "here", Absent).await?;
        if revision <= before {
            return Err(format!("revision {revision} follows revision {before}"));
        }
        before = revision;
        scene
            .done("remove_entry", scene.log.remove_entry(&member, revision))
            .await?;
    }
    Ok(())
}

pub(super) async fn entries_are_listed_by_kind_and_in_order(
    scene: &ContractScene<'_>,
) -> Result<(), ContractBreach> {
    let members = ["list-b", "list-a", "list-c"].map(|name| scene.router(name));
    let mut expect = Vec::new();
    for name in members {
        let key = ClusterKey::Member(name?);
        scene.clear(&key).await?;
        let revision = scene.write(&key, "here", Absent).await?;
        expect.push((key, entry(revision, "here").into_iter().next()));
    }
    let lease = ClusterKey::Lease(scene.partition);
    scene.clear(&lease).await?;
    scene.write(&lease, "owner", Absent).await?;
    expect.sort_by(|(left, _), (right, _)| left.cmp(right));
    let found = scene
        .done("entries", scene.log.entries(ClusterKeyKind::Member))
        .await?;
    let found: Vec<_> = found
        .into_iter()
        .filter(|(key, _)| expect.iter().any(|(expected, _)| expected == key))
        .map(|(key, entry)| (key, Some(entry)))
        .collect();
    same("members", &found, &expect)?;
    let leases = scene
        .done("entries", scene.log.entries(ClusterKeyKind::Lease))
        .await?;
    let keys: Vec<_> = leases.iter().map(|(key, _)| key.clone()).collect();
    if !keys.contains(&lease) || keys.iter().any(|key| key.kind() != ClusterKeyKind::Lease) {
        return Err(format!("leases: {keys:?}"));
    }
    match keys.is_sorted() {
        true => Ok(()),
        false => Err(format!("leases are not in order: {keys:?}")),
    }
}
