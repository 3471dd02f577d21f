//! Where a group begins that has not read anything: offset 0, committed by whoever creates the topic.
//!
//! Only then does "no committed offset" mean that one was lost, so that a role may stop instead of sending everything again.

use std::time::Duration;

use schemas::record::TopicPartition;

use super::{members, set_offsets};
use crate::connection::Connection;
use crate::error::KafkaError;
use crate::lag;
use crate::log;

/// A cluster that has just started makes the groups' topic when it is first asked for, and says no until it is there.
const TRIES: usize = 30;
const PAUSE: Duration = Duration::from_millis(500);
/// So many of these answers are part of a cluster's start: it reads what its groups have committed first.
const STARTING_TRIES: usize = 10;

/// What was found and done for one group; partitions that have an offset are in none of these.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beginning {
    /// Offset 0 is committed now: the topic was created just now, or never had a record.
    pub begun: Vec<TopicPartition>,
    /// As those, but the group has members, and only they may commit: they begin at 0 when they find the partition.
    pub left_to_members: Vec<TopicPartition>,
    /// There are records, or were, and nobody knows what was read: a person chooses.
    pub unknown: Vec<TopicPartition>,
}

/// Commits offset 0 for a group where it is known that nothing was read: in partitions of the `created` topics, and in those
/// without any record. Topics that do not exist are left out.
///
/// # Errors
/// The cluster did not answer for some time, or refuses.
pub async fn begin(
    connection: &Connection,
    group: &str,
    topics: &[&str],
    created: &[String],
    transaction_timeout: Duration,
) -> Result<Beginning, KafkaError> {
    let mut tries = 1;
    loop {
        match try_begin(connection, group, topics, created, transaction_timeout).await {
            Err(error) if error.is_retriable() && tries < TRIES => {
                if is_worth_a_warning(&error, tries) {
                    log::call_failed(&error);
                }
                tokio::time::sleep(PAUSE).await;
                tries += 1;
            }
            done => return done,
        }
    }
}

/// Whether somebody should hear of a try that failed: not of a cluster that starts, unless it takes long.
fn is_worth_a_warning(error: &KafkaError, tries: usize) -> bool {
    let is_starting = matches!(error, KafkaError::Call { code, .. } if code.is_without_coordinator());
    !is_starting || tries > STARTING_TRIES
}

async fn try_begin(
    connection: &Connection,
    group: &str,
    topics: &[&str],
    created: &[String],
    transaction_timeout: Duration,
) -> Result<Beginning, KafkaError> {
    let lags = lag::of_group(connection, group, topics).await?;
    let without = lags.into_iter().filter(|lag| lag.committed.is_none());
    let is_unread = |topic: &str, log_end: i64| log_end == 0 || created.iter().any(|created| created == topic);
    let (unread, unknown): (Vec<_>, Vec<_>) = without
        .map(|lag| (is_unread(&lag.partition.topic, lag.log_end), lag.partition))
        .partition(|(unread, _)| *unread);
    let names = |found: Vec<(bool, TopicPartition)>| found.into_iter().map(|(_, partition)| partition).collect();
    let (unread, unknown): (Vec<TopicPartition>, Vec<TopicPartition>) = (names(unread), names(unknown));
    let mut beginning = Beginning { unknown, ..Beginning::default() };
    if unread.is_empty() {
        return Ok(beginning);
    }
    let is_read = |members: Vec<super::Member>| !members.is_empty();
    if is_read(members(connection, group).await?) {
        beginning.left_to_members = unread;
        return Ok(beginning);
    }
    let offsets: Vec<(TopicPartition, i64)> = unread.iter().map(|partition| (partition.clone(), 0)).collect();
    match set_offsets(connection, group, &offsets, transaction_timeout).await {
        Ok(()) => beginning.begun = unread,
        // Who came meanwhile has found them, or will.
        Err(_) if is_read(members(connection, group).await?) => beginning.left_to_members = unread,
        Err(error) => return Err(error),
    }
    Ok(beginning)
}

#[cfg(test)]
mod tests {
    use rdkafka::types::RDKafkaErrorCode as Code;

    use super::*;

    #[test]
    fn a_coordinator_that_is_not_ready_yet_is_warned_of_when_it_takes_long() {
        let failed = |code| KafkaError::call("committed offsets of hookbus.fanout", code);
        for code in [Code::NotCoordinator, Code::CoordinatorNotAvailable, Code::CoordinatorLoadInProgress] {
            assert!(!is_worth_a_warning(&failed(code), 1), "{code:?}");
            assert!(is_worth_a_warning(&failed(code), STARTING_TRIES + 1), "{code:?}");
        }
        assert!(is_worth_a_warning(&failed(Code::BrokerTransportFailure), 1));
    }
}
