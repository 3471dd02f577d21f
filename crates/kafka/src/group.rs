//! A role's group from outside, for operators: who is in it, where it stands, and setting its offsets by hand.
//!
//! What a role makes of an offset is decided in [`crate::Restored::start`]; [`Standing`] tells the same beforehand.

use std::collections::BTreeSet;
use std::sync::Arc;
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
use crate::lag::{self, FoundLag, GroupLag, UntoldLag};
use crate::log::Named;
use crate::metadata::{self, CommitMetadata};
use crate::offsets::{no_topic, plain_client};
use crate::takeover::{
    self,
    cuts::{self, CutSuspect},
};

mod begin;
mod standing;

pub use begin::{Beginning, begin};
use standing::restored;
pub use standing::{GroupState, PartitionState, Standing};

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

/// Every partition of these topics as this group stands to it, in the order of topics and partitions.
///
/// Topics that do not exist are left out. Open transactions do not hold it: the last offsets that are surely committed are shown.
///
/// # Errors
/// The cluster did not answer, or refuses.
pub async fn state(connection: &Connection, group: &str, topics: &[&str]) -> Result<GroupState, KafkaError> {
    let (connection, group) = (connection.clone(), group.to_owned());
    let topics: Vec<String> = topics.iter().map(|topic| (*topic).to_owned()).collect();
    blocking(move || {
        let GroupLag { told, mut untold } = lag::read(&connection, &group, &topics)?;
        let names: BTreeSet<&str> = told.iter().map(|found| &*found.lag.partition.topic).collect();
        let ids = topic_ids(&plain_client(&connection, "hookbus-group")?, &names)?;
        let suspect = |FoundLag { lag, read_epoch, last_epoch }: &FoundLag| {
            let restored = restored(lag, lag.committed?, ids.get(&*lag.partition.topic).copied());
            CutSuspect::of(&restored, *read_epoch, *last_epoch)
        };
        let suspects: Vec<Option<CutSuspect>> = told.iter().map(suspect).collect();
        let cuts = cuts::find(&connection, suspects.iter().flatten().cloned().collect())?;
        let mut partitions = Vec::with_capacity(told.len());
        for (FoundLag { lag, .. }, suspect) in told.into_iter().zip(suspects) {
            let cut = cuts.get(&lag.partition).copied();
            if suspect.is_some() && cut.is_none() {
                untold.push(not_looked_at(&lag.partition));
            }
            let standing = Standing::of(&lag, ids.get(&*lag.partition.topic).copied(), cut.flatten());
            partitions.push(PartitionState { lag, standing });
        }
        Ok(GroupState { partitions, untold })
    })
    .await
}

/// It is shown by its offsets, and that they may not be all.
fn not_looked_at(TopicPartition { topic, partition }: &TopicPartition) -> UntoldLag {
    let call = format!("looking whether the log of {topic}/{partition} was cut below what was read");
    UntoldLag {
        topic: Arc::clone(topic),
        partition: Some(*partition),
        error: KafkaError::call(call, Code::OperationTimedOut),
    }
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
    let members = ffi::group_members(client.client().native_client(), group, TIMEOUT);
    let mut members = members.map_err(|code| KafkaError::call(format!("members of {group}"), code))?;
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
    let (read_up_to, not_done, lists, position, slices) = (offset, Vec::new(), None, None, None);
    let metadata = CommitMetadata { nonce, transactional_id, topic_id, read_up_to, not_done, lists, position, slices };
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
