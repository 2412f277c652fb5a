use super::*;
use crate::cluster_log::{ClusterRecord, RouterName};
use crate::partition::events_of;
use twinroute_model::event::{EventLimits, EventParts};
use twinroute_model::name::{EndpointName, InstanceName};

fn former(limits: FormerLimits) -> (GroupFormer<u32>, LaneId) {
    let register = LaneRegister::default();
    let instance = InstanceName::new("plant").unwrap();
    let lane = register.bind(&(instance, EndpointName::new("hub").unwrap()));
    let origin = GroupOrigin {
        router: RouterName::new("west").unwrap(),
        incarnation: 7,
    };
    let partition = PartitionNumber::new(3).unwrap();
    (GroupFormer::new(partition, origin, register, limits), lane)
}

fn event(id: &str, lane: LaneId, bytes: usize) -> NewEvent {
    let parts = EventParts::new(id, "s", "t").json(&"1".repeat(bytes));
    NewEvent {
        event: parts.build(&EventLimits::default()).unwrap(),
        twin: 3,
        lanes: vec![lane],
    }
}

fn at() -> Timestamp {
    Timestamp::from_unix_millis(1_000)
}

fn ids(append: &RecordAppend) -> Vec<String> {
    let record = ClusterRecord {
        sequence: 1,
        subject: append.subject,
        bytes: append.bytes.clone(),
    };
    let events = events_of(&record, append.partition);
    events.map(|(_, event)| event.id().to_owned()).collect()
}

#[test]
fn one_group_is_in_flight_and_the_next_forms_meanwhile() {
    let (mut former, lane) = former(FormerLimits::default());
    assert_eq!(former.next_append(), None);
    former.push(&[event("a", lane, 9)], at(), 1).unwrap();
    let first = former.next_append().unwrap();
    assert_eq!(
        (&*first.message_id, ids(&first)),
        ("west.7.03.1", vec!["a".to_owned()])
    );
    former.push(&[event("b", lane, 9)], at(), 2).unwrap();
    former
        .push(&[event("c", lane, 9), event("d", lane, 9)], at(), 3)
        .unwrap();
    // As often as it is asked for before the log has answered: the same bytes under the same id.
    assert_eq!(former.next_append().unwrap(), first);
    assert_eq!(former.appended(), [1]);
    let second = former.next_append().unwrap();
    assert_eq!(
        (&*second.message_id, ids(&second).concat()),
        ("west.7.03.2", "bcd".to_owned())
    );
    assert_eq!(former.appended(), [2, 3]);
    assert_eq!((former.next_append(), former.bytes()), (None, 0));
}

#[test]
fn a_batch_that_is_longer_than_a_group_is_there_with_its_last_one() {
    let (mut former, lane) = former(FormerLimits {
        group_bytes: 2_000,
        ..FormerLimits::default()
    });
    let batch: Vec<_> = ["a", "b", "c", "d", "e"]
        .map(|id| event(id, lane, 600))
        .into();
    former.push(&batch, at(), 1).unwrap();
    former.push(&[event("f", lane, 9)], at(), 2).unwrap();
    let mut groups = Vec::new();
    let mut tickets = Vec::new();
    while let Some(append) = former.next_append() {
        assert!(append.bytes.len() <= 2_000);
        groups.push(ids(&append).concat());
        tickets.push(former.appended());
    }
    assert_eq!(groups, ["ab", "cd", "ef"]);
    assert_eq!(tickets, [vec![], vec![], vec![1, 2]]);
}

#[test]
fn what_waits_is_bounded_and_what_no_record_holds_is_refused() {
    let (mut former, lane) = former(FormerLimits {
        record_bytes_max: 2_000,
        waiting_bytes_max: 1_500,
        ..FormerLimits::default()
    });
    let (error, ticket) = former
        .push(&[event("a", lane, 1_900)], at(), 1)
        .unwrap_err();
    assert!(
        matches!(error, AppendError::TooLarge { index: 0, .. }),
        "{error}"
    );
    assert_eq!(ticket, 1);
    former.push(&[event("a", lane, 900)], at(), 2).unwrap();
    let (error, _) = former.push(&[event("b", lane, 900)], at(), 3).unwrap_err();
    assert!(matches!(error, AppendError::Backlog(_)), "{error}");
    former.next_append().unwrap();
    assert!(former.push(&[event("b", lane, 900)], at(), 3).is_err());
    former.appended();
    former.push(&[event("b", lane, 900)], at(), 3).unwrap();
}
