//! What does not fit is refused by name, before anything is written.

use super::nodes::{self, NKEY_SEED};
use super::scene::{ClusterScene, PARTITIONS, password};
use crate::tally::CheckTally;
use anyhow::{Context as _, bail, ensure};
use async_nats::jetstream::stream::Config;
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use twinroute_jetstream::{JetStreamLog, JetStreamSettings, LogAddress, LogCredentials};
use twinroute_journal::{
    ClusterKey, ClusterLog as _, ClusterLogError, ExpectedRevision, PartitionNumber, RecordAppend,
    RecordSubject,
};
use twinroute_model::secret::Secret;

type RefusalCheck = fn(&mut ClusterScene) -> anyhow::Result<()>;

const CHECKS: [(&str, RefusalCheck); 11] = [
    ("wrong-credentials", wrong_credentials),
    ("nkey", nkey),
    ("account-without-jetstream", account_without_jetstream),
    ("user-without-permission", user_without_permission),
    ("durable", durable),
    ("durable-not-reported", durable_not_reported),
    ("other-settings", other_settings),
    ("streams-of-others", streams_of_others),
    ("lost-stream", lost_stream),
    ("full-partition", full_partition),
    ("entries-vanish", entries_vanish),
];

pub(super) fn run(scene: &mut ClusterScene, tally: &mut CheckTally) {
    for (name, check) in CHECKS {
        tally.step(name, || check(scene));
    }
    tally.step("made-twice-at-once", || made_twice_at_once(scene));
    tally.step("tls", || tls(scene));
}

fn wrong_credentials(scene: &mut ClusterScene) -> anyhow::Result<()> {
    for credentials in [
        password("router", "hush"),
        LogCredentials::Anonymous,
        LogCredentials::NkeySeed(Secret::new("SUhush")),
    ] {
        let settings = JetStreamSettings {
            credentials,
            ..scene.settings("refused")
        };
        let reason = scene.refused(&settings)?;
        ensure!(reason.contains("do not accept the credentials"), "{reason}");
        ensure!(!reason.contains("hush"), "{reason}");
    }
    let settings = JetStreamSettings {
        credentials: LogCredentials::CredentialsFile(Secret::new("hush")),
        ..scene.settings("refused")
    };
    let reason = scene.refused(&settings)?;
    ensure!(
        reason.contains("the credentials file cannot be read"),
        "{reason}"
    );
    ensure!(!reason.contains("hush"), "{reason}");
    nothing_is_written(scene, "router", "refused")
}

fn nkey(scene: &mut ClusterScene) -> anyhow::Result<()> {
    let settings = JetStreamSettings {
        credentials: LogCredentials::NkeySeed(Secret::new(NKEY_SEED)),
        ..scene.settings("contract")
    };
    scene.open(&settings)?;
    Ok(())
}

fn account_without_jetstream(scene: &mut ClusterScene) -> anyhow::Result<()> {
    let settings = scene.as_user("bare", "refused");
    let reason = scene.refused(&settings)?;
    ensure!(reason.contains("JetStream is not enabled"), "{reason}");
    Ok(())
}

fn user_without_permission(scene: &mut ClusterScene) -> anyhow::Result<()> {
    let mut settings = scene.as_user("watched", "refused");
    settings.request_max = Duration::from_millis(500);
    let reason = scene.refused(&settings)?;
    ensure!(reason.contains("lacks a permission"), "{reason}");
    ensure!(reason.contains("$JS.API.STREAM.INFO"), "{reason}");
    nothing_is_written(scene, "router", "refused")
}

fn durable(scene: &mut ClusterScene) -> anyhow::Result<()> {
    let log = scene.open(&scene.settings("contract"))?;
    let facts = scene.runtime.block_on(log.facts())?;
    ensure!(facts.durable == Ok(()), "{facts:?}");
    ensure!(facts.partitions == PARTITIONS, "{facts:?}");
    Ok(())
}

fn durable_not_reported(scene: &mut ClusterScene) -> anyhow::Result<()> {
    let log = scene.open(&scene.as_user("other", "other"))?;
    let facts = scene.runtime.block_on(log.facts())?;
    let reason = facts.durable.err().context("durable is believed unseen")?;
    ensure!(
        reason.contains("no server reports how it syncs"),
        "{reason}"
    );
    Ok(())
}

fn other_settings(scene: &mut ClusterScene) -> anyhow::Result<()> {
    let mut settings = scene.settings("contract");
    settings.limits.partitions = 2;
    let reason = scene.refused(&settings)?;
    ensure!(reason.contains("was made with 4 partitions"), "{reason}");
    let mut settings = scene.settings("contract");
    settings.limits.partition_bytes_max *= 2;
    let reason = scene.refused(&settings)?;
    ensure!(
        reason.contains("stream TR_contract_P00 has max_bytes 16777216"),
        "{reason}"
    );
    let mut settings = scene.settings("five");
    settings.limits.replicas = 5;
    settings.request_max = Duration::from_secs(2);
    match scene.runtime.block_on(JetStreamLog::open(&settings)) {
        Err(ClusterLogError::Unavailable(reason)) => {
            ensure!(
                reason.contains("do not have 5 nodes with JetStream"),
                "{reason}"
            );
        }
        other => bail!("five replicas on three nodes: {other:?}"),
    }
    nothing_is_written(scene, "router", "five")
}

fn streams_of_others(scene: &mut ClusterScene) -> anyhow::Result<()> {
    // One of that name, and one that has a subject already.
    for (name, subject, cluster, expect) in [
        (
            "TR_taken_P02",
            "taken.2",
            "taken",
            "stream TR_taken_P02 is not of this cluster",
        ),
        (
            "ELSEWHERE",
            "tr.overlaps.>",
            "overlaps",
            "another stream of the account has its subjects tr.overlaps.p0",
        ),
    ] {
        scene.runtime.block_on(async {
            let config = Config {
                name: name.to_owned(),
                subjects: vec![subject.to_owned()],
                ..Config::default()
            };
            scene
                .jetstream("router")
                .await?
                .create_stream(config)
                .await?;
            anyhow::Ok(())
        })?;
        let reason = scene.refused(&scene.settings(cluster))?;
        ensure!(reason.contains(expect), "{reason}");
    }
    let names = streams(scene, "router")?;
    let ours: Vec<_> = names
        .iter()
        .filter(|name| name.contains("_taken"))
        .collect();
    ensure!(ours == ["TR_taken_P02"], "{ours:?}");
    Ok(())
}

fn lost_stream(scene: &mut ClusterScene) -> anyhow::Result<()> {
    let settings = scene.settings("lost");
    drop(scene.open(&settings)?);
    scene.runtime.block_on(async {
        let jetstream = scene.jetstream("router").await?;
        jetstream.delete_stream("TR_lost_P01").await?;
        anyhow::Ok(())
    })?;
    let reason = scene.refused(&settings)?;
    ensure!(
        reason.contains("stream TR_lost_P01 of cluster lost is not there"),
        "{reason}"
    );
    let names = streams(scene, "router")?;
    ensure!(
        !names.contains(&"TR_lost_P01".to_owned()),
        "a lost stream was made again"
    );
    Ok(())
}

/// It says so, keeps what it has, and goes on when there is room.
fn full_partition(scene: &mut ClusterScene) -> anyhow::Result<()> {
    let log = scene.open(&scene.settings("full"))?;
    let partition = PartitionNumber::all(1)
        .next()
        .context("a first partition")?;
    let append = |number: u64| RecordAppend {
        partition,
        subject: RecordSubject::Events,
        message_id: format!("full-{number}").into(),
        expected: None,
        bytes: Bytes::from(vec![b'x'; 1_000_000]),
    };
    scene.runtime.block_on(async {
        for number in 1..40 {
            match log.append(append(number)).await {
                Ok(_) => {}
                Err(ClusterLogError::Full(full)) if full == partition && number > 10 => {
                    ensure!(log.bounds(partition).await?.last == number - 1);
                    log.trim(partition, number - 1).await?;
                    ensure!(log.append(append(number)).await?.sequence == number);
                    return Ok(());
                }
                Err(error) => bail!("append {number}: {error}"),
            }
        }
        bail!("16 MiB hold 40 MB")
    })
}

/// A lease that nobody renews is gone after its time, and its owner's late renewal is refused.
fn entries_vanish(scene: &mut ClusterScene) -> anyhow::Result<()> {
    let settings = JetStreamSettings {
        entry_ttl: Some(Duration::from_secs(1)),
        ..scene.settings("vanish")
    };
    let log = scene.open(&settings)?;
    let partition = PartitionNumber::all(1)
        .next()
        .context("a first partition")?;
    let (key, checkpoint) = (
        ClusterKey::Lease(partition),
        ClusterKey::Checkpoint(partition),
    );
    scene.runtime.block_on(async {
        log.write_entry(&checkpoint, "fold".into(), ExpectedRevision::Absent)
            .await?;
        let owned = log
            .write_entry(&key, "owner".into(), ExpectedRevision::Absent)
            .await?;
        let owned = log
            .write_entry(&key, "owner".into(), ExpectedRevision::Revision(owned))
            .await?;
        let deadline = Instant::now() + Duration::from_secs(30);
        while log.entry(&key).await?.is_some() {
            ensure!(Instant::now() < deadline, "the entry is still there");
            sleep(Duration::from_millis(50)).await;
        }
        let late = log
            .write_entry(&key, "owner".into(), ExpectedRevision::Revision(owned))
            .await;
        let expect = Err(ClusterLogError::Conflict {
            expected: owned,
            found: 0,
        });
        ensure!(late == expect, "{late:?}");
        let claimed = log
            .write_entry(&key, "claimant".into(), ExpectedRevision::Absent)
            .await?;
        ensure!(claimed > owned, "{claimed} follows {owned}");
        // A checkpoint stays.
        ensure!(
            log.entry(&checkpoint).await?.is_some(),
            "a checkpoint vanished"
        );
        Ok(())
    })
}

/// Several routers start together where nothing is yet.
fn made_twice_at_once(scene: &ClusterScene) -> anyhow::Result<()> {
    let mut settings = scene.settings("twice");
    // One that is lost among those of the others is sent again.
    settings.request_max = Duration::from_secs(1);
    let make = || async {
        loop {
            match JetStreamLog::open(&settings).await {
                Err(ClusterLogError::Unavailable(_)) => sleep(Duration::from_millis(50)).await,
                opened => return opened.map(drop),
            }
        }
    };
    let (one, two, three) = scene
        .runtime
        .block_on(async { tokio::join!(make(), make(), make()) });
    Ok(one.and(two).and(three)?)
}

fn tls(scene: &ClusterScene) -> anyhow::Result<()> {
    let (node, authority) = nodes::alone_with_tls(&scene.program, &scene.folder)?;
    let mut settings = scene.settings("tls");
    settings.limits.replicas = 1;
    settings.urls = vec![LogAddress::new(&format!("tls://{}", node.address))?];
    settings.tls = Some(trusting(&authority)?);
    let log = scene.open(&settings)?;
    let durable = scene.runtime.block_on(log.facts())?.durable;
    let reason = durable
        .err()
        .context("a server that syncs every two minutes is believed")?;
    ensure!(
        reason.starts_with("server alone answers before it syncs"),
        "{reason}"
    );
    // Someone else's authority.
    let (other, stranger) = nodes::alone_with_tls(&scene.program, &scene.folder.join("stranger"))?;
    drop(other);
    settings.tls = Some(trusting(&stranger)?);
    let reason = scene.refused(&settings)?;
    ensure!(reason.contains("no TLS with"), "{reason}");
    Ok(())
}

fn trusting(authority: &str) -> anyhow::Result<rustls::ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes())?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

fn nothing_is_written(scene: &ClusterScene, user: &str, cluster: &str) -> anyhow::Result<()> {
    let names = streams(scene, user)?;
    let name = format!("TR_{cluster}_");
    ensure!(
        !names.iter().any(|stream| stream.contains(&name)),
        "{names:?}"
    );
    Ok(())
}

fn streams(scene: &ClusterScene, user: &str) -> anyhow::Result<Vec<String>> {
    scene.runtime.block_on(async {
        let jetstream = scene.jetstream(user).await?;
        Ok(jetstream.stream_names().try_collect().await?)
    })
}
