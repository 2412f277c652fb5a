//! Calls that are under way together.

use super::scene::{ContractBreach, ContractScene, same};
use crate::cluster_log::{
    ClusterKey, ClusterLogError, ExpectedRevision, RecordAppend, RecordSubject,
};
use bytes::Bytes;

pub(super) async fn one_of_several_appends_with_one_expectation_wins(
    scene: &ContractScene<'_>,
) -> Result<(), ContractBreach> {
    let mut last = scene.append(RecordSubject::Settlements, "race").await?;
    for round in 0..5 {
        let append = |router: &str| {
            let id = format!("race-{round}-{router}");
            let append = RecordAppend {
                expected: Some(last),
                ..scene.record(RecordSubject::Settlements, &id)
            };
            scene.answer(scene.log.append(append))
        };
        let (one, two, three, four) =
            tokio::join!(append("a"), append("b"), append("c"), append("d"));
        let answers = [one?, two?, three?, four?];
        let winners: Vec<_> = answers.iter().flatten().map(|won| won.sequence).collect();
        let lost = |answer: &&Result<_, _>| matches!(answer, Err(ClusterLogError::Conflict { expected, .. }) if *expected == last);
        let losers = answers.iter().filter(lost).count();
        same("winners and losers", &(winners.len(), losers), &(1, 3))
            .map_err(|breach| format!("{breach}: {answers:?}"))?;
        same("sequence", &winners[0], &(last + 1))?;
        last += 1;
    }
    Ok(())
}

pub(super) async fn one_of_several_claims_wins(
    scene: &ContractScene<'_>,
) -> Result<(), ContractBreach> {
    let key = ClusterKey::Lease(scene.partition);
    for round in 0..5 {
        let entry = scene.done("entry", scene.log.entry(&key)).await?;
        let expected = entry.map_or(ExpectedRevision::Absent, |entry| {
            ExpectedRevision::Revision(entry.revision)
        });
        let claim = |router: &'static str| {
            let value = Bytes::from_static(router.as_bytes());
            scene.answer(scene.log.write_entry(&key, value, expected))
        };
        let (one, two, three) = tokio::join!(claim("a"), claim("b"), claim("c"));
        let answers = [("a", one?), ("b", two?), ("c", three?)];
        let winners: Vec<_> = answers
            .iter()
            .filter_map(|(router, answer)| Some((*router, answer.as_ref().ok()?)))
            .collect();
        let [(winner, revision)] = winners[..] else {
            return Err(format!("round {round}: {answers:?}"));
        };
        let entry = scene.done("entry", scene.log.entry(&key)).await?;
        let entry = entry.map(|entry| (entry.value, entry.revision));
        let expect = Some((Bytes::from_static(winner.as_bytes()), *revision));
        same("the winner's entry", &entry, &expect)?;
    }
    Ok(())
}

pub(super) async fn appends_with_one_message_id_stand_in_one_place(
    scene: &ContractScene<'_>,
) -> Result<(), ContractBreach> {
    for round in 0..5 {
        let before = scene.bounds().await?.last;
        let id = format!("repeated-{round}");
        // As a router does whose answer does not come: one that is still in process is "not now".
        let append = || async {
            loop {
                let record = scene.record(RecordSubject::Events, &id);
                match scene.answer(scene.log.append(record)).await? {
                    Err(ClusterLogError::Unavailable(_)) => tokio::task::yield_now().await,
                    Ok(appended) => return Ok(appended.sequence),
                    Err(error) => return Err(format!("append: {error}")),
                }
            }
        };
        let (one, two, three) = tokio::join!(append(), append(), append());
        let sequences: Vec<u64> = [one, two, three].into_iter().collect::<Result<_, _>>()?;
        same("sequences", &sequences, &vec![before + 1; 3])?;
        same("last", &scene.bounds().await?.last, &(before + 1))?;
    }
    Ok(())
}
