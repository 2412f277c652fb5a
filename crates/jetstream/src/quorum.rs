//! Whether the leader of a stream still has a majority behind it.
//!
//! What a leader answers is only then the latest that the stream knows: one that is cut off takes itself for the leader
//! for seconds. A majority that it has heard within [`HEARD_WITHIN`] has elected nobody else meanwhile, as a node waits
//! at least 4 s after it last heard its leader (nats-server 2.15.1, `server/raft.go`, `minElectionTimeout`).

use async_nats::jetstream::stream::ClusterInfo;
use std::time::Duration;

/// Leaders send a heartbeat every second.
const HEARD_WITHIN: Duration = Duration::from_millis(2_500);

/// Nothing, or how many nodes of how many the leader hears.
pub(crate) fn lacks_majority(cluster: Option<&ClusterInfo>) -> Option<String> {
    // A server without a cluster, or a stream on one node.
    let replicas = cluster.map_or(&[][..], |cluster| &cluster.replicas);
    let heard = |peer: &&async_nats::jetstream::stream::PeerInfo| {
        let was_heard = !peer.active.is_zero() || peer.current;
        was_heard && !peer.offline && peer.active < HEARD_WITHIN
    };
    let heard = 1 + replicas.iter().filter(heard).count();
    let all = 1 + replicas.len();
    (2 * heard <= all).then(|| format!("its leader hears {heard} of {all} nodes, itself counted"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_nats::jetstream::stream::PeerInfo;

    #[test]
    fn a_leader_that_is_cut_off_is_not_believed() {
        let cluster = |replicas: &[(u64, bool, bool)]| ClusterInfo {
            replicas: replicas
                .iter()
                .map(|(millis, current, offline)| PeerInfo {
                    active: Duration::from_millis(*millis),
                    current: *current,
                    offline: *offline,
                    ..PeerInfo::default()
                })
                .collect(),
            ..ClusterInfo::default()
        };
        for (replicas, expect) in [
            (&[][..], None),
            (&[(900, true, false), (900, true, false)], None),
            (&[(900, false, false), (60_000, false, true)], None),
            (
                &[(2_500, true, false), (9_000, true, false)],
                Some("1 of 3"),
            ),
            (&[(0, false, false), (0, false, false)], Some("1 of 3")),
            (&[(100, true, true), (100, true, true)], Some("1 of 3")),
            (
                &[
                    (100, true, false),
                    (9_000, true, false),
                    (9_000, true, false),
                    (9_000, true, false),
                ],
                Some("2 of 5"),
            ),
        ] {
            let found = lacks_majority(Some(&cluster(replicas)));
            match expect {
                None => assert_eq!(found, None, "{replicas:?}"),
                Some(text) => assert!(found.unwrap().contains(text), "{replicas:?}"),
            }
        }
        assert_eq!(lacks_majority(None), None);
    }
}
