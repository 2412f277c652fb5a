//! Records: numbers, message ids, expectations, reading and trimming.

use super::scene::{ContractBreach, ContractScene, GLANCE, same};
use crate::cluster_log::{
    AppendedRecord, ClusterLogError, ClusterRecord, PartitionNumber, RecordAppend, RecordSubject,
    RecordTail,
};
use bytes::Bytes;
use std::time::Duration;
use tokio::time::timeout;

use RecordSubject::{Events, Settlements};

/// A record may take so long from its answer to a tail: a lost server included.
const TAIL_MAX: Duration = Duration::from_secs(30);

pub(super) async fn records_are_numbered_without_a_gap(
    scene: &ContractScene<'_>,
) -> Result<(), ContractBreach> {
    let before = scene.bounds().await?;
    for (number, subject) in [Events, Settlements, Events].into_iter().enumerate() {
        let sequence = scene.append(subject, &format!("numbered-{number}")).await?;
        let expect = before.last + 1 + number as u64;
        same("sequence", &sequence, &expect)?;
        let after = scene.bounds().await?;
        same("last", &after.last, &expect)?;
        same("first", &after.first, &before.first)?;
    }
    Ok(())
}

pub(super) async fn a_message_id_is_appended_once_whatever_is_expected(
    scene: &ContractScene<'_>,
) -> Result<(), ContractBreach> {
    let sequence = scene.append(Settlements, "once").await?;
    let behind = scene.append(Settlements, "once-more").await?;
    for expected in [
        None,
        Some(0),
        Some(sequence),
        Some(behind),
        Some(behind + 7),
    ] {
        let mut again = scene.record(Settlements, "once");
        again.expected = expected;
        let found = scene.done("append again", scene.log.append(again)).await?;
        let expect = AppendedRecord {
            sequence,
            is_repeated: true,
        };
        same("append again", &found, &expect)?;
    }
    same("last", &scene.bounds().await?.last, &behind)
}

pub(super) async fn an_append_behind_another_sequence_is_refused(
    scene: &ContractScene<'_>,
) -> Result<(), ContractBreach> {
    scene.append(Settlements, "expected-0").await?;
    let last = scene.append(Settlements, "expected-1").await?;
    // The other subject is not asked.
    let event = scene.append(Events, "expected-2").await?;
    for expected in [0, last - 1, event, last + 100] {
        let mut append = scene.record(Settlements, "expected-3");
        append.expected = Some(expected);
        let found = scene.answer(scene.log.append(append)).await?;
        let expect = Err(ClusterLogError::Conflict {
            expected,
            found: last,
        });
        same("append behind another", &found, &expect)?;
        same("last", &scene.bounds().await?.last, &event)?;
    }
    // What was refused leaves no trace: its message id is free.
    let mut append = scene.record(Settlements, "expected-3");
    append.expected = Some(last);
    same("sequence", &scene.append_as(append).await?, &(event + 1))
}

pub(super) async fn a_tail_gives_all_records_in_order_and_those_to_come(
    scene: &ContractScene<'_>,
) -> Result<(), ContractBreach> {
    let first = scene.append(Events, "tail-0").await?;
    for number in 1..20 {
        let subject = if number % 3 == 0 { Settlements } else { Events };
        scene.append(subject, &format!("tail-{number}")).await?;
    }
    let mut tail = scene
        .done("tail", scene.log.tail(scene.partition, first + 2))
        .await?;
    for number in 2..20 {
        let subject = if number % 3 == 0 { Settlements } else { Events };
        expect_record(
            &mut *tail,
            first + number,
            subject,
            &format!("tail-{number}"),
        )
        .await?;
    }
    for number in 20..24 {
        scene.append(Events, &format!("tail-{number}")).await?;
        expect_record(
            &mut *tail,
            first + number,
            Events,
            &format!("tail-{number}"),
        )
        .await?;
    }
    Ok(())
}

pub(super) async fn a_dropped_wait_of_a_tail_loses_no_record(
    scene: &ContractScene<'_>,
) -> Result<(), ContractBreach> {
    let from = scene.bounds().await?.last + 1;
    let mut tail = scene
        .done("tail", scene.log.tail(scene.partition, from))
        .await?;
    for number in 0..4 {
        for _ in 0..2 {
            if let Ok(found) = timeout(GLANCE, tail.next()).await {
                return Err(format!("a tail gave {found:?}, which nobody appended"));
            }
        }
        let id = format!("dropped-{number}");
        let sequence = scene.append(Events, &id).await?;
        expect_record(&mut *tail, sequence, Events, &id).await?;
    }
    Ok(())
}

pub(super) async fn a_tail_from_a_trimmed_place_begins_with_the_first_record(
    scene: &ContractScene<'_>,
) -> Result<(), ContractBreach> {
    let trimmed = scene.append(Events, "trimmed-0").await?;
    let first = scene.append(Events, "trimmed-1").await?;
    scene.trim(first).await?;
    same("first", &scene.bounds().await?.first, &first)?;
    for from in [0, 1, trimmed, first] {
        let mut tail = scene
            .done("tail", scene.log.tail(scene.partition, from))
            .await?;
        expect_record(&mut *tail, first, Events, "trimmed-1").await?;
    }
    Ok(())
}

pub(super) async fn one_record_is_read_unless_it_is_trimmed_or_to_come(
    scene: &ContractScene<'_>,
) -> Result<(), ContractBreach> {
    let sequence = scene.append(Settlements, "read").await?;
    let read = |sequence| scene.done("record", scene.log.record(scene.partition, sequence));
    let expect = ClusterRecord {
        sequence,
        subject: Settlements,
        bytes: Bytes::from("record read"),
    };
    same("record", &read(sequence).await?, &Some(expect))?;
    same("record to come", &read(sequence + 1).await?, &None)?;
    scene.append(Events, "read-behind").await?;
    scene.trim(sequence + 1).await?;
    same("trimmed record", &read(sequence).await?, &None)
}

pub(super) async fn a_trim_beyond_the_end_skips_no_number(
    scene: &ContractScene<'_>,
) -> Result<(), ContractBreach> {
    let last = scene.append(Settlements, "trim-0").await?;
    for before in [0, 1, 1] {
        scene.trim(before).await?;
        let bounds = scene.bounds().await?;
        same("last after a trim of nothing", &bounds.last, &last)?;
        if bounds.first > last {
            return Err(format!("a trim before {before} removed record {last}"));
        }
    }
    for before in [last + 1_000, last + 1, last] {
        scene.trim(before).await?;
        let bounds = scene.bounds().await?;
        same(
            "bounds without a record",
            &(bounds.first, bounds.last),
            &(last + 1, last),
        )?;
    }
    // The subject has no record any more.
    let mut append = scene.record(Settlements, "trim-1");
    append.expected = Some(0);
    same("sequence", &scene.append_as(append).await?, &(last + 1))
}

pub(super) async fn a_trimmed_record_is_still_known_by_its_message_id(
    scene: &ContractScene<'_>,
) -> Result<(), ContractBreach> {
    let sequence = scene.append(Events, "known").await?;
    scene.trim(sequence + 1).await?;
    let again = scene.record(Events, "known");
    let found = scene.done("append again", scene.log.append(again)).await?;
    let expect = AppendedRecord {
        sequence,
        is_repeated: true,
    };
    same("append again", &found, &expect)
}

pub(super) async fn a_record_that_is_too_long_is_refused_with_the_limit(
    scene: &ContractScene<'_>,
) -> Result<(), ContractBreach> {
    let bytes_max = scene
        .done("facts", scene.log.facts())
        .await?
        .record_bytes_max;
    let mut append = scene.record(Events, "long");
    append.bytes = Bytes::from(vec![b'x'; bytes_max + 1]);
    let found = scene.answer(scene.log.append(append.clone())).await?;
    let expect = Err(ClusterLogError::TooLarge {
        bytes: bytes_max + 1,
        bytes_max,
    });
    same("append", &found, &expect)?;
    append.bytes.truncate(bytes_max);
    let sequence = scene.append_as(append).await?;
    let record = scene
        .done("record", scene.log.record(scene.partition, sequence))
        .await?;
    let bytes = record.map(|record| record.bytes.len());
    same("bytes of the longest record", &bytes, &Some(bytes_max))
}

pub(super) async fn a_partition_that_is_not_there_is_refused(
    scene: &ContractScene<'_>,
) -> Result<(), ContractBreach> {
    let partitions = scene.done("facts", scene.log.facts()).await?.partitions;
    // With as many as there can be, there is no such number.
    let Some(missing) = PartitionNumber::new(partitions) else {
        return Ok(());
    };
    let bounds = scene.answer(scene.log.bounds(missing)).await?.map(drop);
    let tail = scene.answer(scene.log.tail(missing, 1)).await?.map(drop);
    let append = RecordAppend {
        partition: missing,
        ..scene.record(Events, "missing")
    };
    let append = scene.answer(scene.log.append(append)).await?.map(drop);
    for (what, found) in [("bounds", bounds), ("tail", tail), ("append", append)] {
        if !matches!(found, Err(ClusterLogError::Refused(_))) {
            return Err(format!(
                "{what} of partition {missing}: {found:?}, not refused"
            ));
        }
    }
    Ok(())
}

async fn expect_record(
    tail: &mut dyn RecordTail,
    sequence: u64,
    subject: RecordSubject,
    id: &str,
) -> Result<(), ContractBreach> {
    let record = timeout(TAIL_MAX, tail.next()).await;
    let record = record.map_err(|_| format!("a tail does not give record {sequence}"))?;
    let expect = ClusterRecord {
        sequence,
        subject,
        bytes: Bytes::from(format!("record {id}")),
    };
    same("record of a tail", &record, &Ok(expect))
}
