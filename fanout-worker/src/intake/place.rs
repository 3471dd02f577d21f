//! Where a partition of a source begins: where it was committed, if that was under the positions that its source has now, or if an event
//! is written in part there; else where the source says. Pure.

use std::sync::Arc;

use kafka::{KafkaError, PositionClaim, Restored};
use schemas::record::TopicPartition;
use uuid::Uuid;

use super::route::SourceRoute;

/// Where a partition has begun, for what its commits say.
#[derive(Clone, Debug)]
pub(crate) struct SourcePlace {
    /// Which positions that was under, and what was handled before.
    pub(crate) position: PositionClaim,
    /// The first offset that is read.
    pub(crate) start: i64,
    /// Kafka's id of the topic.
    pub(crate) topic_id: Uuid,
}

// === impl SourcePlace ===

impl SourcePlace {
    pub(crate) fn of(found: &Restored, start: i64) -> Self {
        Self { position: found.position.clone().unwrap_or_default(), start, topic_id: found.topic_id }
    }
}

/// For how long Kafka keeps what a group has committed when nobody of it reads (`offsets.retention.minutes`, as it comes).
const OFFSETS_KEPT_MS: i64 = 7 * 86_400_000;
/// A worker whose catalog is further behind than that has other trouble; positions that are older contradict each other for some
/// other reason, such as two clocks, and what the catalog says counts.
const CATALOG_BEHIND_MS: i64 = 600_000;

/// Where reading begins; and what commits say from then on, if that is elsewhere than was committed, where the source says.
///
/// # Errors
/// No source reads the topic any more, the offset is not there, or nobody knows how far it was read.
pub(super) fn begins(
    route: Option<&Arc<SourceRoute>>,
    found: &Restored,
    now_ms: i64,
) -> Result<(i64, Option<PositionClaim>), KafkaError> {
    let partition = &found.lease.partition;
    let Some(route) = route else { return Err(nobodys(partition)) };
    let begins = route.begins(partition, found.topic_id);
    let (id, source) = (begins.position_id.0, route.source_id().0);
    let known = found.position.as_ref().filter(|_| !found.recreated);
    let own = known.filter(|known| known.source == source);
    let anew = PositionClaim { id, source, handled: own.map(|own| own.handled.clone()).unwrap_or_default() };
    if let (Some(_), Some(known)) = (found.committed, known) {
        if own.is_some() && known.id == id {
            return Ok((found.start()?, None));
        }
        // It was moved, and the event that it stood at is written in part: that is done first, under the position that it was begun under.
        if own.is_some()
            && known.id < id
            && let Ok(start) = found.start()
            && found.goes_on(start).is_some()
        {
            return Ok((start, None));
        }
        let is_younger = known.id > id;
        if is_younger && own.is_none() {
            // Another source has read the topic since this one was given its positions: what it has passed is done.
            return Ok((found.start()?, Some(anew)));
        }
        if is_younger && minted_ms(known.id).is_some_and(|at_ms| now_ms - at_ms < CATALOG_BEHIND_MS) {
            let reason = format!("{partition} was moved, and this worker has not heard of it yet");
            return Err(KafkaError::Invalid { what: "position", reason });
        }
    }
    let is_listed = begins.offset.is_some();
    if is_listed && found.committed.is_none() && minted_ms(id).is_some_and(|at_ms| now_ms - at_ms > OFFSETS_KEPT_MS) {
        let reason = format!("nothing is committed of {partition}, which was to be read for more than a week: move it");
        return Err(KafkaError::Invalid { what: OFFSET_LOST, reason });
    }
    // What retention has taken meanwhile was there when it was asked for.
    let offset = begins.offset.unwrap_or(found.log_start).max(found.log_start);
    if offset > found.log_end {
        let (log_start, log_end) = (found.log_start, found.log_end);
        return Err(KafkaError::OffsetOutOfRange { partition: partition.clone(), offset, log_start, log_end });
    }
    Ok((offset, Some(anew)))
}

/// What is invalid where nobody knows how far a partition was read.
pub(super) const OFFSET_LOST: &str = "committed offset";

/// Why a partition does not begin that is no source's.
pub(super) fn nobodys(partition: &TopicPartition) -> KafkaError {
    KafkaError::Invalid { what: "topic", reason: format!("no source reads {} any more", partition.topic) }
}

/// When a position was made, Unix ms.
fn minted_ms(id: Uuid) -> Option<i64> {
    let (seconds, nanos) = id.get_timestamp()?.to_unix();
    i64::try_from(seconds).ok()?.checked_mul(1_000)?.checked_add(i64::from(nanos / 1_000_000))
}

#[cfg(test)]
mod tests {
    use kafka::{Epoch, Handled, Lease, SliceCursor};
    use schemas::control::source::TopicStart;
    use schemas::control::{SourceFormat, TopicSource};
    use schemas::ids::{OrganizationId, PositionId, SourceId};

    use super::*;

    const TOPIC: Uuid = Uuid::from_u128(70);
    const NOW_MS: i64 = 1_790_000_000_000;
    const DAY_MS: i64 = 86_400_000;

    /// A source whose partition 0 was listed at 40, under this position.
    fn route(source: u128, position: u128) -> Arc<SourceRoute> {
        let (id, organization) = (SourceId(Uuid::from_u128(source)), OrganizationId(Uuid::from_u128(9)));
        let position_id = PositionId(Uuid::from_u128(position));
        let mut new = TopicSource::new(id, organization, "one", SourceFormat::Cloudevents, position_id, 0);
        new.topics = vec!["crm".to_owned()];
        new.later_id = PositionId(Uuid::from_u128(1_000));
        let start = TopicStart { topic_id: TOPIC, position_id, again: false, offsets: vec![40] };
        new.starts.insert("crm".to_owned(), start);
        Arc::new(SourceRoute::new(Arc::new(new), 1_000))
    }

    fn begins(route: &Arc<SourceRoute>, found: &Restored) -> Result<(i64, Option<PositionClaim>), KafkaError> {
        super::begins(Some(route), found, NOW_MS)
    }

    fn found(committed: Option<i64>, position: Option<PositionClaim>) -> Restored {
        Restored {
            lease: Lease { partition: TopicPartition::new("crm", 0), epoch: Epoch(1) },
            committed,
            read_up_to: committed.unwrap_or(10),
            not_done: Vec::new(),
            lists: None,
            position,
            slices: None,
            topic_id: TOPIC,
            log_start: 10,
            log_end: 100,
            recreated: false,
            cut: None,
        }
    }

    fn claim(source: u128, id: u128) -> PositionClaim {
        PositionClaim {
            id: Uuid::from_u128(id),
            source: Uuid::from_u128(source),
            handled: Handled::default().with(40, 60),
        }
    }

    #[test]
    fn what_was_committed_under_the_same_positions_goes_on() {
        let (route, found) = (route(1, 5), found(Some(60), Some(claim(1, 5))));
        assert_eq!(begins(&route, &found).unwrap(), (60, None));
    }

    #[test]
    fn what_is_new_moved_or_made_again_begins_where_its_source_says() {
        let route = route(1, 5);
        for (committed, position, handled) in [
            (None, None, false),
            (Some(60), None, false),
            (Some(60), Some(claim(1, 4)), true),
            // Another source has read it: what that one made of it is its own.
            (Some(60), Some(claim(2, 4)), false),
        ] {
            let found = found(committed, position.clone());
            let (start, claim) = begins(&route, &found).unwrap();
            let claim = claim.unwrap();
            assert_eq!((start, claim.id, claim.source), (40, Uuid::from_u128(5), Uuid::from_u128(1)));
            assert_eq!(claim.handled.contains(50), handled, "{committed:?} {position:?}");
        }
    }

    #[test]
    fn an_event_that_is_written_in_part_is_done_before_its_source_begins_elsewhere() {
        let route = route(1, 5);
        let slices = Some(SliceCursor { last: Uuid::from_u128(9), count: 2_000 });
        let begun = |position| Restored { slices, ..found(Some(60), Some(position)) };
        assert_eq!(begins(&route, &begun(claim(1, 4))).unwrap(), (60, None));
        let anew = |found: &Restored| begins(&route, found).unwrap().0;
        assert_eq!(anew(&begun(claim(2, 4))), 40, "another source's event is that one's");
        assert_eq!(anew(&Restored { log_start: 70, ..begun(claim(1, 4)) }), 70, "retention took it");
        assert_eq!(
            anew(&Restored { log_end: 50, ..begun(claim(1, 4)) }),
            40,
            "a move is what heals a log that was cut"
        );
    }

    #[test]
    fn what_came_later_begins_with_its_first_record() {
        let route = route(1, 5);
        let mut found = found(None, None);
        found.lease.partition = TopicPartition::new("crm", 7);
        assert_eq!(begins(&route, &found).unwrap().0, 10, "the topic was grown");
        found.lease.partition = TopicPartition::new("crm", 0);
        found.topic_id = Uuid::from_u128(71);
        let (start, claim) = begins(&route, &found).unwrap();
        assert_eq!((start, claim.unwrap().id), (10, Uuid::from_u128(1_000)), "it is another topic of that name");
    }

    #[test]
    fn a_topic_that_was_made_anew_begins_anew_whatever_was_committed() {
        let route = route(1, 5);
        let mut found = found(Some(10), Some(claim(1, 1_000)));
        (found.recreated, found.topic_id) = (true, Uuid::from_u128(71));
        let (start, claim) = begins(&route, &found).unwrap();
        assert!(!claim.unwrap().handled.contains(50), "those were the former topic's");
        assert_eq!(start, 10);
    }

    #[test]
    fn an_offset_that_is_not_there_is_held_and_one_that_is_gone_is_not() {
        let (route, mut short) = (route(1, 5), found(None, None));
        short.log_end = 30;
        assert!(matches!(begins(&route, &short), Err(KafkaError::OffsetOutOfRange { offset: 40, .. })));
        let mut truncated = found(Some(60), Some(claim(1, 5)));
        truncated.log_end = 50;
        assert!(matches!(begins(&route, &truncated), Err(KafkaError::OffsetOutOfRange { offset: 60, .. })));
        let mut retained = found(None, None);
        retained.log_start = 45;
        assert_eq!(begins(&route, &retained).unwrap().0, 45);
        assert!(super::begins(None, &retained, NOW_MS).is_err());
    }

    /// A position that was made so long ago.
    fn minted(ago_ms: i64) -> u128 {
        let at_ms = u64::try_from(NOW_MS - ago_ms).unwrap();
        uuid::Builder::from_unix_timestamp_millis(at_ms, &[7; 10]).into_uuid().as_u128()
    }

    #[test]
    fn offsets_that_the_cluster_has_lost_begin_nothing_anew() {
        let route = route(1, minted(8 * DAY_MS));
        let Err(KafkaError::Invalid { what: OFFSET_LOST, .. }) = begins(&route, &found(None, None)) else {
            panic!("it was read for a week, and nobody knows how far")
        };
        let mut later = found(None, None);
        later.lease.partition = TopicPartition::new("crm", 7);
        assert_eq!(begins(&route, &later).unwrap().0, 10, "a partition that came yesterday");
        let moved = self::route(1, minted(DAY_MS));
        assert_eq!(begins(&moved, &found(None, None)).unwrap().0, 40, "it was moved, so somebody knows");
    }

    #[test]
    fn what_another_source_read_meanwhile_goes_on_where_that_one_stood() {
        let other = claim(2, minted(DAY_MS));
        let (start, claim) = begins(&route(1, minted(90 * DAY_MS)), &found(Some(60), Some(other.clone()))).unwrap();
        let claim = claim.unwrap();
        assert_eq!((start, claim.source, claim.handled), (60, Uuid::from_u128(1), Handled::nothing()));
        let younger = route(1, minted(3_600_000));
        assert_eq!(begins(&younger, &found(Some(60), Some(other))).unwrap().0, 40);
    }

    #[test]
    fn a_worker_that_has_not_heard_of_a_move_does_not_go_back_behind_it() {
        let route = route(1, minted(DAY_MS));
        let moved = found(Some(60), Some(claim(1, minted(5_000))));
        assert!(matches!(begins(&route, &moved), Err(KafkaError::Invalid { what: "position", .. })));
        let long_ago = found(Some(60), Some(claim(1, minted(3_600_000))));
        assert_eq!(begins(&route, &long_ago).unwrap().0, 40, "the catalog is no hour behind");
    }
}
