//! Where a partition of a source begins: where it was committed, if that was under the positions that its source has now; else where
//! the source says. Pure.

use std::sync::Arc;

use kafka::{KafkaError, PositionClaim, Restored};
use schemas::record::TopicPartition;
use uuid::Uuid;

use super::route::SourceRoute;

/// Where a partition has begun, for what its commits say.
#[derive(Clone, Copy, Debug)]
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
        Self { position: found.position.unwrap_or_default(), start, topic_id: found.topic_id }
    }
}

/// Where reading begins.
///
/// # Errors
/// No source reads the topic any more, or the offset is not there.
pub(super) fn start(route: Option<&Arc<SourceRoute>>, found: &Restored) -> Result<i64, KafkaError> {
    let partition = &found.lease.partition;
    let Some(route) = route else { return Err(nobodys(partition)) };
    if begins_anew(route, found).is_none() {
        return found.start();
    }
    // What retention has taken meanwhile was there when it was asked for.
    let offset = route.begins(partition, found.topic_id).offset.unwrap_or(found.log_start).max(found.log_start);
    if offset > found.log_end {
        let (log_start, log_end) = (found.log_start, found.log_end);
        return Err(KafkaError::OffsetOutOfRange { partition: partition.clone(), offset, log_start, log_end });
    }
    Ok(offset)
}

/// Why a partition does not begin that is no source's.
pub(super) fn nobodys(partition: &TopicPartition) -> KafkaError {
    KafkaError::Invalid { what: "topic", reason: format!("no source reads {} any more", partition.topic) }
}

/// What the commits of a partition say that begins where its source says; none: it goes on where it was.
pub(super) fn begins_anew(route: &SourceRoute, found: &Restored) -> Option<PositionClaim> {
    let begins = route.begins(&found.lease.partition, found.topic_id);
    let (id, source) = (begins.position_id.0, route.source_id().0);
    let known = found.position.filter(|known| known.source == source && !found.recreated);
    if found.committed.is_some() && known.is_some_and(|known| known.id == id) {
        return None;
    }
    Some(PositionClaim { id, source, handled: known.map(|known| known.handled).unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use kafka::{Epoch, Handled, Lease};
    use schemas::control::source::TopicStart;
    use schemas::control::{SourceFormat, TopicSource};
    use schemas::ids::{OrganizationId, PositionId, SourceId};

    use super::*;

    const TOPIC: Uuid = Uuid::from_u128(70);

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

    fn found(committed: Option<i64>, position: Option<PositionClaim>) -> Restored {
        Restored {
            lease: Lease { partition: TopicPartition::new("crm", 0), epoch: Epoch(1) },
            committed,
            read_up_to: committed.unwrap_or(10),
            not_done: Vec::new(),
            lists: None,
            position,
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
        assert_eq!(begins_anew(&route, &found), None);
        assert_eq!(start(Some(&route), &found).unwrap(), 60);
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
            let found = found(committed, position);
            let claim = begins_anew(&route, &found).unwrap();
            assert_eq!((claim.id, claim.source), (Uuid::from_u128(5), Uuid::from_u128(1)));
            assert_eq!(claim.handled.contains(50), handled, "{committed:?} {position:?}");
            assert_eq!(start(Some(&route), &found).unwrap(), 40);
        }
    }

    #[test]
    fn what_came_later_begins_with_its_first_record() {
        let route = route(1, 5);
        let mut found = found(None, None);
        found.lease.partition = TopicPartition::new("crm", 7);
        assert_eq!(start(Some(&route), &found).unwrap(), 10, "the topic was grown");
        found.lease.partition = TopicPartition::new("crm", 0);
        found.topic_id = Uuid::from_u128(71);
        assert_eq!(start(Some(&route), &found).unwrap(), 10, "it is another topic of that name");
        assert_eq!(begins_anew(&route, &found).unwrap().id, Uuid::from_u128(1_000));
    }

    #[test]
    fn a_topic_that_was_made_anew_begins_anew_whatever_was_committed() {
        let route = route(1, 5);
        let mut found = found(Some(10), Some(claim(1, 1_000)));
        (found.recreated, found.topic_id) = (true, Uuid::from_u128(71));
        let claim = begins_anew(&route, &found).unwrap();
        assert!(!claim.handled.contains(50), "those were the former topic's");
        assert_eq!(start(Some(&route), &found).unwrap(), 10);
    }

    #[test]
    fn an_offset_that_is_not_there_is_held_and_one_that_is_gone_is_not() {
        let (route, mut short) = (route(1, 5), found(None, None));
        short.log_end = 30;
        assert!(matches!(start(Some(&route), &short), Err(KafkaError::OffsetOutOfRange { offset: 40, .. })));
        let mut truncated = found(Some(60), Some(claim(1, 5)));
        truncated.log_end = 50;
        assert!(matches!(start(Some(&route), &truncated), Err(KafkaError::OffsetOutOfRange { offset: 60, .. })));
        let mut retained = found(None, None);
        retained.log_start = 45;
        assert_eq!(start(Some(&route), &retained).unwrap(), 45);
        assert!(start(None, &retained).is_err());
    }
}
