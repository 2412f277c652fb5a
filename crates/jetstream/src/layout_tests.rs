use super::*;

fn cluster() -> ClusterName {
    ClusterName::new("c").unwrap()
}

fn layout(partitions: u8) -> ClusterLayout {
    let limits = PartitionLimits {
        partitions,
        ..PartitionLimits::default()
    };
    ClusterLayout::new(&cluster(), limits)
}

/// All of a cluster, with a record in each partition.
fn found(partitions: u8) -> FoundStreams {
    let layout = layout(partitions);
    let streams = layout
        .streams()
        .map(|config| (config.name.clone(), (config.clone(), 1)));
    FoundStreams {
        streams: streams.collect(),
        charter: Some(layout.charter.clone()),
    }
}

fn refused(found: &FoundStreams) -> String {
    missing_streams(found, &layout(4)).unwrap_err()
}

#[test]
fn a_partition_is_made_as_the_design_says() {
    let layout = layout(16);
    assert_eq!(layout.partitions.len(), 16);
    let config = &layout.partitions[15];
    assert_eq!(config.name, "TR_c_P15");
    assert_eq!(config.subjects, ["tr.c.p15.e", "tr.c.p15.s"]);
    assert_eq!((config.num_replicas, config.max_bytes), (3, 1 << 30));
    assert_eq!(config.discard, DiscardPolicy::New);
    assert_eq!(config.duplicate_window, Duration::from_secs(600));
    assert_eq!(layout.leases.name, "KV_TR_c_LEASE");
    assert!(layout.surplus.is_empty());
}

#[test]
fn a_cluster_that_is_not_there_is_made_with_its_leases_last() {
    let layout = layout(4);
    let missing = missing_streams(&FoundStreams::default(), &layout).unwrap();
    let names: Vec<_> = missing.iter().map(|config| config.name.as_str()).collect();
    assert_eq!(names[0], "TR_c_P00");
    assert_eq!(names[4..], ["KV_TR_c_CKPT", "KV_TR_c_LEASE"]);
    assert!(missing_streams(&found(4), &layout).unwrap().is_empty());
}

#[test]
fn a_cluster_that_was_made_in_part_is_made_whole() {
    let mut partly = found(4);
    partly.charter = None;
    for name in ["TR_c_P02", "TR_c_P03", "KV_TR_c_CKPT", "KV_TR_c_LEASE"] {
        partly.streams.remove(name);
    }
    for (_, last) in partly.streams.values_mut() {
        *last = 0;
    }
    assert_eq!(missing_streams(&partly, &layout(4)).unwrap().len(), 4);
}

#[test]
fn a_stream_that_is_lost_is_not_made_again() {
    let mut lost = found(4);
    lost.streams.remove("TR_c_P02");
    let why = refused(&lost);
    assert!(
        why.starts_with("stream TR_c_P02 of cluster c is not there"),
        "{why}"
    );
    // Epochs that begin at 1 again would stand below those in the records.
    let mut without_leases = found(4);
    without_leases.streams.remove("KV_TR_c_LEASE");
    without_leases.charter = None;
    let why = refused(&without_leases);
    assert!(
        why.contains("KV_TR_c_LEASE") && why.contains("TR_c_P00 holds records"),
        "{why}"
    );
    let mut without_checkpoints = found(4);
    without_checkpoints.streams.remove("KV_TR_c_CKPT");
    assert_eq!(
        missing_streams(&without_checkpoints, &layout(4))
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn another_number_of_partitions_is_refused() {
    let why = refused(&found(16));
    assert_eq!(
        why,
        "cluster c was made with 16 partitions, which stay; the configuration says 4"
    );
    let mut without_charter = found(16);
    without_charter.charter = None;
    let why = refused(&without_charter);
    assert!(why.contains("twinroute-partitions 16, and 4"), "{why}");
}

#[test]
fn a_stream_with_other_settings_is_refused_by_name() {
    type ConfigChange = fn(&mut Config);
    let change: [(ConfigChange, &str); 11] = [
        (
            |config| config.discard = DiscardPolicy::Old,
            "discard old, and new",
        ),
        (
            |config| config.storage = StorageType::Memory,
            "storage memory, and file",
        ),
        (
            |config| config.max_bytes = -1,
            "max_bytes none, and 1073741824",
        ),
        (
            |config| config.max_age = Duration::from_secs(60),
            "max_age 60 s, and 0 s",
        ),
        (
            |config| config.duplicate_window = Duration::ZERO,
            "duplicate_window 0 s, and 600 s",
        ),
        (|config| config.num_replicas = 1, "replicas 1, and 3"),
        (
            |config| config.subjects.push("x".to_owned()),
            "subjects tr.c.p01.e, tr.c.p01.s, x",
        ),
        (
            |config| config.retention = RetentionPolicy::WorkQueue,
            "retention workqueue",
        ),
        (|config| config.no_ack = true, "no_ack true"),
        (
            |config| config.persist_mode = Some(PersistenceMode::Async),
            "persist_mode async",
        ),
        (
            |config| config.deny_purge = true,
            "deny_purge true, and false",
        ),
    ];
    for (change, expect) in change {
        let mut found = found(4);
        change(&mut found.streams.get_mut("TR_c_P01").unwrap().0);
        let why = refused(&found);
        assert!(why.starts_with("stream TR_c_P01 has "), "{why}");
        assert!(why.contains(expect), "{why}");
    }
    let mut more = found(4);
    more.streams.get_mut("TR_c_P01").unwrap().0.num_replicas = 5;
    assert!(missing_streams(&more, &layout(4)).is_ok());
}

#[test]
fn streams_of_another_cluster_are_refused() {
    for label in [None, Some("d")] {
        let mut found = found(4);
        let labels = &mut found.streams.get_mut("TR_c_P03").unwrap().0.metadata;
        labels.remove(CLUSTER_LABEL);
        labels.extend(label.map(|label| (CLUSTER_LABEL.to_owned(), label.to_owned())));
        let why = refused(&found);
        assert!(
            why.starts_with("stream TR_c_P03 is not of this cluster"),
            "{why}"
        );
    }
    let mut other = found(4);
    other.charter.as_mut().unwrap().cluster = "d".to_owned();
    assert!(refused(&other).contains("belongs to another cluster"));
    let mut newer = found(4);
    newer.charter.as_mut().unwrap().format = 2;
    assert!(refused(&newer).contains("made in format 2"));
}
