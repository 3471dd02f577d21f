//! What a takeover finds of the lists of a partition.

use std::collections::BTreeSet;
use std::sync::Arc;

use kafka::{Restored, RestoredLists};
use schemas::ids::SubscriptionId;
use uuid::Uuid;

use crate::book::restore::{FoundLists, Shelved};
use crate::book::{Book, Total};
use crate::error::Error;
use crate::lists::List;

/// What a takeover found.
#[derive(Debug)]
pub(crate) struct FoundBook {
    pub(super) book: Book,
    /// Of the topic its lists stand in.
    pub(super) topic_id: Uuid,
    /// Offsets of the window that are read again.
    pub(super) awaited: BTreeSet<i64>,
    /// What is listed and read again all the same: possible only where the lists are not what was claimed.
    pub(super) listed_again: Vec<(SubscriptionId, i64)>,
}

/// Lists that a person goes on with though something else was claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AcceptedLists {
    /// What they hold.
    pub(crate) held: Total,
    /// What was claimed when the person saw it.
    pub(crate) claimed: Total,
}

// === impl FoundBook ===

impl FoundBook {
    /// A book and the offsets that its window reads again.
    #[cfg(test)]
    pub(crate) fn of(book: Book, awaited: BTreeSet<i64>) -> Self {
        Self { book, topic_id: Uuid::nil(), awaited, listed_again: Vec::new() }
    }

    /// The same of lists that a person accepted, in which these are read again.
    #[cfg(test)]
    pub(crate) fn listing_again(self, listed_again: Vec<(SubscriptionId, i64)>) -> Self {
        Self { listed_again, ..self }
    }
}

/// The book of what was read of one partition. What is `accepted` needs not be what was claimed, but what the person saw.
pub(super) fn book(
    topic: &Arc<str>,
    lists: &RestoredLists,
    (restored, start): (&Restored, i64),
    accepted: Option<AcceptedLists>,
) -> Result<FoundBook, Error> {
    let partition = lists.lease.partition.clone();
    let torn = |source| Error::Book { partition: partition.clone(), source };
    let shelved = Shelved::of(lists).map_err(|error| torn(error.into()))?;
    let mut found = FoundLists::of(restored, start);
    let accepted = accepted.filter(|accepted| found.claimed == Some(accepted.claimed) && !restored.recreated);
    if let Some(AcceptedLists { held, .. }) = accepted {
        found.claimed = Some(held);
    }
    let mut book = shelved.book(Arc::clone(topic), partition.partition, found).map_err(torn)?;
    book.set_read(lists.from, lists.bytes);
    let is_awaited = |offset: &i64| *offset >= start && !restored.recreated;
    let awaited: BTreeSet<i64> = restored.not_done.iter().copied().filter(is_awaited).collect();
    let listed_again = if accepted.is_some() {
        let read_up_to = restored.read_up_to.max(start);
        listed(&book).filter(|(_, offset)| *offset >= read_up_to || awaited.contains(offset)).collect()
    } else {
        Vec::new()
    };
    Ok(FoundBook { book, topic_id: lists.topic_id, awaited, listed_again })
}

fn listed(book: &Book) -> impl Iterator<Item = (SubscriptionId, i64)> {
    book.lists().flat_map(|(id, lists)| lists.iter().flat_map(List::offsets).map(move |offset| (id, offset)))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use kafka::{Epoch, KeptRecord, Lease, ListsClaim};
    use schemas::lanes::ListRole;
    use schemas::record::TopicPartition;

    use super::*;
    use crate::book::restore::BookError;
    use crate::lists::Age;

    /// What is read of a partition in which these offsets of one lane wait, and what they come to.
    fn lists(offsets: std::ops::Range<i64>) -> (RestoredLists, Total) {
        let topic: Arc<str> = Arc::from("lanes");
        let mut book = Book::new(Arc::clone(&topic), 0);
        book.begin();
        for offset in offsets {
            let age = Age { oldest_ms: 1, dead_ms: 2 };
            assert!(book.list(SubscriptionId(Uuid::from_u128(1)), ListRole::FirstTries, offset, age));
        }
        let kept = |value: Option<Bytes>| KeptRecord { offset: 0, value: value.unwrap() };
        let records = book.encode().into_iter().map(|record| (record.key.unwrap(), kept(record.value))).collect();
        let lease = Lease { partition: TopicPartition::new(topic, 0), epoch: Epoch(1) };
        (RestoredLists { lease, topic_id: Uuid::nil(), from: 0, end: 9, bytes: 9, records }, book.total())
    }

    fn restored(lists: &RestoredLists, claimed: Total) -> Restored {
        let Total { queued, sum } = claimed;
        Restored {
            lease: lists.lease.clone(),
            committed: Some(40),
            read_up_to: 60,
            not_done: vec![40, 50],
            lists: Some(ListsClaim { queued, sum, topic_id: Uuid::nil(), from: 0 }),
            position: None,
            slices: None,
            topic_id: Uuid::nil(),
            log_start: 0,
            log_end: 100,
            recreated: false,
            cut: None,
        }
    }

    #[test]
    fn only_what_a_person_saw_is_gone_on_with_and_what_is_read_again_is_known() {
        let (lists, held) = lists(30..70);
        let claimed = Total { queued: 4, sum: 9 };
        let topic: Arc<str> = Arc::from("lanes");
        let found = |accepted| book(&topic, &lists, (&restored(&lists, claimed), 40), accepted);
        let refused = |accepted| match found(accepted) {
            Err(Error::Book { source: BookError::Claim { found, claimed, .. }, .. }) => (found, claimed),
            other => panic!("{other:?}"),
        };
        assert_eq!(refused(None), (40, 4));
        assert_eq!(refused(Some(AcceptedLists { held, claimed: held })), (40, 4), "another claim than was seen");
        let other = Total { queued: 39, sum: 3 };
        assert_eq!(refused(Some(AcceptedLists { held: other, claimed })), (40, 39), "other lists than were seen");
        let accepted = found(Some(AcceptedLists { held, claimed })).unwrap();
        let again: Vec<i64> = accepted.listed_again.iter().map(|(_, offset)| *offset).collect();
        assert_eq!(again, [vec![40, 50], (60..70).collect()].concat());
        assert!(!accepted.book.needs_correction());
    }
}
