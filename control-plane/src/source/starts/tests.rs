//! Where topics begin: when a source is made, changed and moved.

use schemas::control::SourceFormat;
use schemas::control::source::PartitionStart;
use schemas::ids::{OrganizationId, SourceId};
use uuid::Uuid;

use super::*;

const FIRST: PositionId = PositionId(Uuid::from_u128(1));
const FRESH: PositionId = PositionId(Uuid::from_u128(2));

fn source(topics: &[&str]) -> TopicSource {
    let (id, owner) = (SourceId(Uuid::from_u128(7)), OrganizationId(Uuid::from_u128(8)));
    let new = TopicSource::new(id, owner, "orders", SourceFormat::Json, FIRST, 0);
    TopicSource { topics: topics.iter().map(|it| (*it).to_owned()).collect(), ..new }
}

fn id(topic: &str) -> Uuid {
    Uuid::from_u128(topic.len() as u128)
}

/// First, wanted and next offset of a partition.
type Edges = (i64, i64, i64);

/// Topics whose partitions have these.
fn found(topics: &[(&str, &[Edges])]) -> FoundStarts {
    let edges = topics.iter().map(|(name, of)| ((*name).to_owned(), TopicEdges { id: id(name), offsets: of.to_vec() }));
    FoundStarts { seen: SeenTopics::default(), edges: edges.collect() }
}

fn at(source: &TopicSource, topic: &str, partition: i32) -> (PositionId, Option<i64>) {
    let PartitionStart { position_id, offset, .. } = source.begins(topic, id(topic), partition);
    (position_id, offset)
}

#[test]
fn what_is_there_begins_where_it_was_asked_and_what_comes_later_at_its_first_record() {
    let mut new = source(&["crm.*"]);
    begin(None, &mut new, &found(&[("crm.a", &[(0, 5, 9), (2, 2, 2)])]), FIRST).unwrap();
    assert_eq!((at(&new, "crm.a", 0), at(&new, "crm.a", 1)), ((FIRST, Some(5)), (FIRST, Some(2))));
    assert_eq!((at(&new, "crm.a", 2), at(&new, "crm.bb", 0)), ((FIRST, None), (FIRST, None)));
}

#[test]
fn a_change_moves_nothing_that_was_read_before() {
    let mut former = source(&["crm.*"]);
    begin(None, &mut former, &found(&[("crm.a", &[(0, 5, 5)])]), FIRST).unwrap();
    // `crm.bb` came later: it is read from its first record and stays so.
    let now = found(&[("crm.a", &[(0, 90, 90)]), ("crm.bb", &[(0, 40, 40)]), ("erp.ccc", &[(0, 7, 7)])]);
    let mut changed = TopicSource { topics: vec!["crm.*".into(), "erp.ccc".into()], ..former.clone() };
    begin(Some(&former), &mut changed, &now, FRESH).unwrap();
    assert_eq!((at(&changed, "crm.a", 0), at(&changed, "crm.bb", 0)), ((FIRST, Some(5)), (FIRST, None)));
    assert_eq!((at(&changed, "erp.ccc", 0), changed.position_id), ((FRESH, Some(7)), FRESH));
    // Named no more, and named again: it begins anew.
    let mut without = TopicSource { topics: vec!["erp.ccc".into()], ..changed.clone() };
    begin(Some(&changed), &mut without, &now, PositionId(Uuid::from_u128(3))).unwrap();
    assert_eq!(without.starts.keys().collect::<Vec<_>>(), ["erp.ccc"]);
    assert_eq!(without.position_id, FRESH, "nothing began");
}

#[test]
fn a_topic_that_is_not_there_is_refused_unless_it_is_waited_for() {
    let mut seen = found(&[]);
    seen.seen.missing.insert("crm.a".into(), false);
    let problem = begin(None, &mut source(&["crm.a"]), &seen, FIRST).unwrap_err();
    assert!(problem.status == 422 && problem.detail.contains("wait_for_topic"), "{}", problem.detail);
    let mut patient = TopicSource { wait_for_topic: true, ..source(&["crm.a"]) };
    begin(None, &mut patient, &seen, FIRST).unwrap();
    assert_eq!(at(&patient, "crm.a", 0), (FIRST, None), "all of it came after the source");
    // It was there when the source was made, and is gone: other fields can be changed all the same.
    begin(Some(&source(&["crm.a"])), &mut source(&["crm.a"]), &seen, FRESH).unwrap();
    seen.seen.missing.insert("crm.a".into(), true);
    let problem = begin(None, &mut patient, &seen, FIRST).unwrap_err();
    assert!(problem.detail.contains("Describe"), "waiting brings no permission: {}", problem.detail);
}

#[test]
fn offsets_are_those_of_their_partitions() {
    let start = |partition, offset| SourceStart::Offsets([("crm.a".to_owned(), [(partition, offset)].into())].into());
    let seen = found(&[("crm.a", &[(10, 50, 50), (0, 7, 7)])]);
    let begun = |start| {
        let mut new = TopicSource { start, ..source(&["crm.a"]) };
        begin(None, &mut new, &seen, FIRST).map(|()| new.starts["crm.a"].offsets.clone())
    };
    assert_eq!(begun(start(0, 20)).unwrap(), [20, 7], "where nothing is said it is the end");
    assert_eq!(begun(start(0, 50)).unwrap(), [50, 7]);
    for (partition, offset) in [(0, 9), (0, 51), (2, 0), (-1, 0)] {
        assert_eq!(begun(start(partition, offset)).unwrap_err().status, 422, "{partition} {offset}");
    }
}

#[test]
fn a_move_of_all_topics_takes_what_comes_later_along_and_one_of_some_does_not() {
    let mut all = source(&["crm.*"]);
    begin(None, &mut all, &found(&[("crm.a", &[(0, 5, 5)]), ("crm.old", &[(0, 1, 1)])]), FIRST).unwrap();
    let now = found(&[("crm.a", &[(0, 0, 9)]), ("crm.bb", &[(0, 0, 4)])]);
    let mut some = all.clone();
    moved(&mut all, &now, (&SourceStart::Beginning, None, true), FRESH).unwrap();
    assert_eq!((at(&all, "crm.a", 0), at(&all, "crm.bb", 0)), ((FRESH, Some(0)), (FRESH, Some(0))));
    assert_eq!((at(&all, "crm.old", 0), all.position_id), ((FRESH, None), FRESH), "what is gone is forgotten");
    assert!(all.begins("crm.a", id("crm.a"), 0).again && all.later_again);

    moved(&mut some, &now, (&SourceStart::Beginning, Some(&["crm.a".to_owned()]), false), FRESH).unwrap();
    assert_eq!((at(&some, "crm.a", 0), at(&some, "crm.old", 0)), ((FRESH, Some(0)), (FIRST, Some(1))));
    assert_eq!((at(&some, "crm.bb", 0), some.position_id), ((FIRST, None), FRESH));
    let unknown = moved(&mut some, &now, (&SourceStart::End, Some(&["erp.x".to_owned()]), false), FRESH).unwrap_err();
    assert!(unknown.detail.contains("erp.x"), "{}", unknown.detail);
}

#[test]
fn a_move_to_offsets_leaves_no_partition_to_chance() {
    let now = found(&[("crm.a", &[(0, 9, 9), (0, 4, 4)]), ("crm.bb", &[(0, 4, 4)])]);
    let to = |of: &[(i32, i64)]| SourceStart::Offsets([("crm.a".to_owned(), of.iter().copied().collect())].into());
    let mut one = source(&["crm.*"]);
    assert_eq!(moved(&mut one, &now, (&to(&[(0, 3)]), None, false), FRESH).unwrap_err().status, 422);
    moved(&mut one, &now, (&to(&[(0, 3), (1, 0)]), None, false), FRESH).unwrap();
    assert_eq!((at(&one, "crm.a", 0), at(&one, "crm.bb", 0)), ((FRESH, Some(3)), (FIRST, None)), "others stay");
}
