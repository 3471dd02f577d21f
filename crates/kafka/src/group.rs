//! A role's group from outside, for operators: who is in it, where it stands, and setting its offsets by hand.
//!
//! What a role makes of an offset is decided in [`crate::Restored::start`]; [`Standing`] tells the same beforehand.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka::{Offset, TopicPartitionList};
use schemas::record::TopicPartition;
use tracing::warn;
use uuid::Uuid;

use crate::connection::Connection;
use crate::error::KafkaError;
use crate::ffi;
use crate::lag::{self, PartitionLag};
use crate::lease::{Epoch, Lease};
use crate::log::Named;
use crate::metadata::{self, CommitMetadata, ListsClaim};
use crate::offsets::{no_topic, plain_client};
use crate::restore::Restored;
use crate::takeover;

mod begin;

pub use begin::{Beginning, begin};

/// How long one question may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A live member of a group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    /// What the client calls itself: role and slot.
    pub client_id: String,
    /// Where it connects from, as the broker sees it.
    pub host: String,
}

/// One partition of a group, and what the role will make of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionState {
    /// The offsets.
    pub lag: PartitionLag,
    /// What they mean.
    pub standing: Standing,
}

/// What a role makes of a partition's committed offset when it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It goes on from there.
    Committed,
    /// Nothing is committed and there never was a record: it begins at offset 0.
    New,
    /// Nothing is committed and there are records, or were: the role stops.
    Missing,
    /// Retention has deleted so many offsets that were not done: it goes on at the log's start.
    Lost(i64),
    /// Read or committed above the log's end: the role stops.
    Beyond,
    /// The topic was deleted and created again: it begins at the log's start.
    Recreated,
}

// === impl PartitionState ===

impl PartitionState {
    /// What the metadata claim about lists of records that wait.
    #[must_use]
    pub fn lists(&self) -> Option<ListsClaim> {
        metadata::decode(self.lag.committed?, &self.lag.metadata)?.lists
    }

    /// How many of these offsets are done: what is below the committed offset, and above it what its metadata say.
    #[must_use]
    pub fn done_in(&self, offsets: Range<i64>) -> i64 {
        let Some(committed) = self.lag.committed else { return 0 };
        let metadata = metadata::decode(committed, &self.lag.metadata);
        let (read_up_to, not_done) =
            metadata.map_or((committed, Vec::new()), |found| (found.read_up_to, found.not_done));
        let read = (offsets.end.min(read_up_to) - offsets.start).max(0);
        let open = not_done.iter().filter(|offset| offsets.contains(offset)).count();
        read - i64::try_from(open).unwrap_or(i64::MAX)
    }
}

// === impl Standing ===

impl Standing {
    /// Whether the role refuses to start.
    #[must_use]
    pub fn stops(self) -> bool {
        match self {
            Self::Missing | Self::Beyond => true,
            Self::Committed | Self::New | Self::Lost(_) | Self::Recreated => false,
        }
    }

    fn of(lag: &PartitionLag, topic_id: Option<Uuid>) -> Self {
        let Some(committed) = lag.committed else {
            return if lag.log_end == 0 { Self::New } else { Self::Missing };
        };
        let restored = restored(lag, committed, topic_id);
        if restored.recreated {
            return Self::Recreated;
        }
        match (restored.start(), restored.lost()) {
            (Err(_), _) => Self::Beyond,
            (Ok(_), 0) => Self::Committed,
            (Ok(_), lost) => Self::Lost(lost),
        }
    }
}

/// What the role finds when it takes the partition over, but for a log that was cut and has grown again: that only its records tell.
fn restored(lag: &PartitionLag, committed: i64, topic_id: Option<Uuid>) -> Restored {
    let metadata = metadata::decode(committed, &lag.metadata);
    let former = metadata.as_ref().map(|metadata| metadata.topic_id);
    let recreated = match (former, topic_id) {
        (Some(former), Some(now)) => !former.is_nil() && !now.is_nil() && former != now,
        _ => false,
    };
    let lists = metadata.as_ref().and_then(|metadata| metadata.lists);
    let position = metadata.as_ref().and_then(|metadata| metadata.position);
    let (read_up_to, not_done) =
        metadata.map_or((committed, Vec::new()), |metadata| (metadata.read_up_to, metadata.not_done));
    Restored {
        lease: Lease { partition: lag.partition.clone(), epoch: Epoch(0) },
        committed: Some(committed),
        read_up_to,
        not_done,
        lists,
        position,
        topic_id: topic_id.unwrap_or_default(),
        log_start: lag.log_start,
        log_end: lag.log_end,
        recreated,
        cut: None,
    }
}

/// Every partition of these topics as this group stands to it, in the order of topics and partitions.
///
/// Topics that do not exist are left out. Open transactions do not hold it: the last offsets that are surely committed are shown.
///
/// # Errors
/// The cluster did not answer, or refuses.
pub async fn state(connection: &Connection, group: &str, topics: &[&str]) -> Result<Vec<PartitionState>, KafkaError> {
    let lags = lag::of_group(connection, group, topics).await?;
    let connection = connection.clone();
    blocking(move || {
        let names: BTreeSet<&str> = lags.iter().map(|lag| &*lag.partition.topic).collect();
        let ids = topic_ids(&plain_client(&connection, "hookbus-group")?, &names)?;
        let states = lags.iter().map(|lag| {
            let standing = Standing::of(lag, ids.get(&*lag.partition.topic).copied());
            PartitionState { lag: lag.clone(), standing }
        });
        Ok(states.collect())
    })
    .await
}

/// Who is in the group right now; nobody, if there is no such group.
///
/// # Errors
/// The cluster did not answer, or refuses.
pub async fn members(connection: &Connection, group: &str) -> Result<Vec<Member>, KafkaError> {
    let (connection, group) = (connection.clone(), group.to_owned());
    blocking(move || members_of(&plain_client(&connection, "hookbus-group")?, &group)).await
}

/// As [`members`], blocking.
pub(crate) fn members_of(client: &BaseConsumer<Named>, group: &str) -> Result<Vec<Member>, KafkaError> {
    let groups = client
        .fetch_group_list(Some(group), TIMEOUT)
        .map_err(|error| KafkaError::from_rdkafka(format!("members of {group}"), &error))?;
    let ours = groups.groups().iter().filter(|found| found.name() == group);
    let members = ours.flat_map(|found| found.members()).map(|member| Member {
        client_id: member.client_id().to_owned(),
        host: member.client_host().trim_start_matches('/').to_owned(),
    });
    let mut members: Vec<Member> = members.collect();
    members.sort();
    Ok(members)
}

/// The topics whose names begin like this, sorted.
///
/// # Errors
/// The cluster did not answer, or refuses.
pub async fn topics_with_prefix(connection: &Connection, prefix: &str) -> Result<Vec<String>, KafkaError> {
    let (connection, prefix) = (connection.clone(), prefix.to_owned());
    blocking(move || {
        let client = plain_client(&connection, "hookbus-group")?;
        let metadata = client
            .fetch_metadata(None, TIMEOUT)
            .map_err(|error| KafkaError::from_rdkafka("metadata of all topics", &error))?;
        let names = metadata.topics().iter().map(rdkafka::metadata::MetadataTopic::name);
        let mut names: Vec<String> = names.filter(|name| name.starts_with(&prefix)).map(str::to_owned).collect();
        names.sort();
        Ok(names)
    })
    .await
}

/// Commits these offsets for a group without members.
///
/// Their metadata are as a role's own: nothing is done above them, and a topic that is created anew afterwards is noticed. Waits
/// for the end of a dead member's open transaction, whose timeout is `transaction_timeout`.
///
/// # Errors
/// The group has members (the broker refuses, whatever was seen before), a topic does not exist, or the cluster did not answer.
pub async fn set_offsets(
    connection: &Connection,
    group: &str,
    offsets: &[(TopicPartition, i64)],
    transaction_timeout: Duration,
) -> Result<(), KafkaError> {
    let (connection, group, offsets) = (connection.clone(), group.to_owned(), offsets.to_vec());
    let settled_within = transaction_timeout.saturating_add(takeover::LOST_MARGIN);
    blocking(move || set(&connection, &group, &offsets, settled_within)).await
}

fn set(
    connection: &Connection,
    group: &str,
    offsets: &[(TopicPartition, i64)],
    settled_within: Duration,
) -> Result<(), KafkaError> {
    let client = |stable| {
        BaseConsumer::from_config_and_context(&connection.committed(group, stable), Named::new("set offsets"))
            .map_err(|error| KafkaError::Client { purpose: "set offsets", reason: error.to_string() })
    };
    let (stable, unstable) = (client(true)?, client(false)?);
    if let Err(error) = committed(&stable, group, offsets, settled_within) {
        // Kafka keeps the later of two commits, so what is pending cannot undo ours.
        committed(&unstable, group, offsets, TIMEOUT)?;
        warn!(group, error = %error, "an open transaction holds the committed offsets and does not end; setting them all the same");
    }
    let names: BTreeSet<&str> = offsets.iter().map(|(partition, _)| &*partition.topic).collect();
    let ids = topic_ids(&unstable, &names)?;
    let call = || format!("commit of offsets for {group}");
    let mut list = TopicPartitionList::with_capacity(offsets.len());
    for (TopicPartition { topic, partition }, offset) in offsets {
        let mut element = list.add_partition(topic, *partition);
        element.set_offset(Offset::Offset(*offset)).map_err(|error| KafkaError::from_rdkafka(call(), &error))?;
        let topic_id = *ids.get(&**topic).ok_or_else(|| no_topic(topic))?;
        element.set_metadata(by_hand(*offset, topic_id));
    }
    unstable.commit(&list, CommitMode::Sync).map_err(|error| KafkaError::from_rdkafka(call(), &error))?;
    // librdkafka tells the first error of a list; what counts is what is there.
    let now = committed(&unstable, group, offsets, TIMEOUT)?;
    let differs = |(partition, offset): &&(TopicPartition, i64)| {
        takeover::find(&now, partition).and_then(|found| found.offset) != Some(*offset)
    };
    match offsets.iter().find(differs) {
        None => Ok(()),
        Some((partition, _)) => Err(KafkaError::call(format!("{}, {partition}", call()), Code::Fail)),
    }
}

/// Nobody's transaction, so that a takeover finds nobody to fence.
fn by_hand(offset: i64, topic_id: Uuid) -> String {
    let (nonce, transactional_id) = (Uuid::nil(), String::new());
    let (read_up_to, not_done, lists, position) = (offset, Vec::new(), None, None);
    let metadata = CommitMetadata { nonce, transactional_id, topic_id, read_up_to, not_done, lists, position };
    metadata::encode(offset, &metadata).0
}

fn committed(
    client: &BaseConsumer<Named>,
    group: &str,
    offsets: &[(TopicPartition, i64)],
    timeout: Duration,
) -> Result<Vec<ffi::CommittedOffset>, KafkaError> {
    let failed = |error| KafkaError::from_rdkafka(format!("committed offsets of {group}"), &error);
    let mut list = TopicPartitionList::with_capacity(offsets.len());
    for (TopicPartition { topic, partition }, _) in offsets {
        list.add_partition(topic, *partition).set_offset(Offset::Invalid).map_err(failed)?;
    }
    let list = client.committed_offsets(list, timeout).map_err(failed)?;
    ffi::committed(&list).map_err(|code| KafkaError::call(format!("committed offsets of {group}"), code))
}

fn topic_ids(
    client: &BaseConsumer<Named>,
    names: &BTreeSet<&str>,
) -> Result<std::collections::HashMap<String, Uuid>, KafkaError> {
    if names.is_empty() {
        return Ok(std::collections::HashMap::new());
    }
    let names: Vec<&str> = names.iter().copied().collect();
    ffi::topic_ids(client.client().native_client(), &names, TIMEOUT)
        .map_err(|code| KafkaError::call("describe topics", code))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, KafkaError> + Send + 'static,
) -> Result<T, KafkaError> {
    tokio::task::spawn_blocking(work).await.map_err(|_gone| KafkaError::Closed)?
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Uuid = Uuid::from_u128(7);

    fn lag(committed: Option<i64>, (log_start, log_end): (i64, i64), topic_id: Uuid) -> PartitionLag {
        let metadata = committed.map(|at| by_hand(at, topic_id)).unwrap_or_default();
        PartitionLag { partition: TopicPartition::new("t", 0), committed, metadata, log_start, log_end, records: None }
    }

    #[test]
    fn what_is_shown_is_what_the_role_will_do() {
        let cases = [
            (lag(None, (0, 0), NOW), Standing::New),
            (lag(None, (0, 9), NOW), Standing::Missing),
            (lag(None, (9, 9), NOW), Standing::Missing),
            (lag(None, (3, 9), NOW), Standing::Missing),
            (lag(Some(5), (3, 9), NOW), Standing::Committed),
            (lag(Some(9), (3, 9), NOW), Standing::Committed),
            (lag(Some(10), (3, 9), NOW), Standing::Beyond),
            (lag(Some(1), (3, 9), NOW), Standing::Lost(2)),
            (lag(Some(5), (0, 2), Uuid::from_u128(6)), Standing::Recreated),
            (lag(Some(5), (0, 9), Uuid::nil()), Standing::Committed),
        ];
        for (lag, expected) in cases {
            assert_eq!(Standing::of(&lag, Some(NOW)), expected, "{lag:?}");
        }
    }

    #[test]
    fn what_was_read_above_the_committed_offset_counts_as_it_does_for_the_role() {
        let head = CommitMetadata {
            nonce: Uuid::from_u128(1),
            transactional_id: "hookbus-delivery-0".to_owned(),
            topic_id: NOW,
            read_up_to: 500,
            not_done: vec![100, 105],
            lists: None,
            position: None,
        };
        let of = |log_start, log_end| {
            let mut lag = lag(Some(100), (log_start, log_end), NOW);
            lag.metadata = metadata::encode(100, &head).0;
            Standing::of(&lag, Some(NOW))
        };
        // Everything below 500 was read: what comes to stand at 400 must not pass for done, so the role stops.
        assert_eq!([of(0, 400), of(0, 500)], [Standing::Beyond, Standing::Committed]);
        assert!(of(0, 400).stops());
        // Of what retention took, only two were not done.
        assert_eq!(
            [of(100, 500), of(101, 500), of(200, 500)],
            [Standing::Committed, Standing::Lost(1), Standing::Lost(2)]
        );
    }

    #[test]
    fn what_is_done_above_the_committed_offset_counts() {
        let head = CommitMetadata {
            nonce: Uuid::from_u128(1),
            transactional_id: "hookbus-delivery-0".to_owned(),
            topic_id: NOW,
            read_up_to: 20,
            not_done: vec![10, 15],
            lists: Some(ListsClaim { queued: 4, sum: 1, topic_id: NOW, from: 0 }),
            position: None,
        };
        let mut lag = lag(Some(10), (3, 30), NOW);
        lag.metadata = metadata::encode(10, &head).0;
        let state = PartitionState { lag, standing: Standing::Committed };
        assert_eq!(state.lists(), head.lists);
        let counts = [3..30, 3..10, 10..20, 11..15, 15..16, 20..30, 25..25].map(|offsets| state.done_in(offsets));
        assert_eq!(counts, [15, 7, 8, 4, 0, 0, 0]);
    }

    #[test]
    fn an_offset_set_by_hand_reads_as_one_of_ours_that_nobody_wrote() {
        let metadata = metadata::decode(41, &by_hand(41, NOW)).unwrap();
        assert_eq!((metadata.topic_id, metadata.read_up_to, metadata.not_done), (NOW, 41, vec![]));
        assert!(!metadata::is_valid_transactional_id(&metadata.transactional_id), "a takeover would fence it");
    }
}
