//! What is told of the sources whose partitions are ours. Pure.

use std::collections::BTreeMap;

use kafka::{Epoch, KafkaError};
use schemas::ids::{PositionId, SourceId};
use schemas::record::TopicPartition;
use schemas::status::{
    MAX_FAILURE_DETAIL, SourceFailure, SourceHealth, SourcePartitionHealth, SourcePartitionState, SourceTopicHealth,
    SourcesHealth,
};
use stage::{Measured, MeasuredLease};

use super::place::OFFSET_LOST;
use super::{OpenPartition, SourcesIntake};
use crate::queue::Queue;

/// How the sources are doing.
pub(super) fn of(intake: &SourcesIntake, queue: &Queue, measured: &Measured) -> SourcesHealth {
    let mut health = SourcesHealth::default();
    let leases: BTreeMap<Epoch, &MeasuredLease> = measured.leases.iter().map(|it| (it.lease.epoch, it)).collect();
    for (epoch, open) in &intake.open {
        let topic = topic_of(&mut health, intake, open.route.source_id(), &open.lease.partition);
        topic.topic_id = Some(open.topic_id).filter(|id| !id.is_nil());
        let oldest_ms = queue.oldest_of(*epoch);
        let measured = leases.get(epoch).copied();
        let awaits = open.awaits.map(|awaited| intake.schemas.told(&awaited.key));
        topic.partitions.insert(open.lease.partition.partition, partition(open, awaits, measured, oldest_ms));
    }
    for (partition, held) in &intake.held {
        let Some(route) = &held.route else { continue };
        let topic = topic_of(&mut health, intake, route.source_id(), partition);
        let failing = SourcePartitionHealth {
            state: SourcePartitionState::Failing,
            since_ms: held.since_ms,
            position_id: None,
            committed: None,
            end: None,
            oldest_ms: None,
            failure: Some(held.failure.clone()),
        };
        topic.partitions.insert(partition.partition, failing);
    }
    for (source, missing) in intake.routes.missing() {
        for (topic, why) in missing {
            let of = source_of(&mut health, intake, *source).topics.entry(topic.to_string()).or_default();
            of.failure = Some(failure_of(why));
        }
    }
    health
}

/// A failure's word and its sentence.
pub(super) fn failure_of(why: &KafkaError) -> SourceFailure {
    let code = if why.is_denied() {
        "not_authorized"
    } else if matches!(why, KafkaError::NoTopic { .. }) {
        "topic_missing"
    } else if matches!(
        why,
        KafkaError::OffsetOutOfRange { .. } | KafkaError::LogCut { .. } | KafkaError::Truncated { .. }
    ) {
        "offset_out_of_range"
    } else if matches!(why, KafkaError::Invalid { what: "number of partitions", .. }) {
        "limit_reached"
    } else if matches!(why, KafkaError::Invalid { what: OFFSET_LOST, .. }) {
        "offset_lost"
    } else {
        "unreadable"
    };
    failure(code, &why.to_string())
}

/// A failure that is told.
pub(crate) fn failure(code: &str, detail: &str) -> SourceFailure {
    SourceFailure { code: code.to_owned(), detail: detail.chars().take(MAX_FAILURE_DETAIL).collect() }
}

fn source_of<'a>(health: &'a mut SourcesHealth, intake: &SourcesIntake, source: SourceId) -> &'a mut SourceHealth {
    health.of.entry(source).or_insert_with(|| {
        let counts = intake.counts.get(&source).copied().unwrap_or_default();
        SourceHealth {
            from_ms: intake.began_ms,
            records: counts.records,
            rejected: counts.rejected,
            skipped: counts.skipped,
            ..SourceHealth::default()
        }
    })
}

fn topic_of<'a>(
    health: &'a mut SourcesHealth,
    intake: &SourcesIntake,
    source: SourceId,
    partition: &TopicPartition,
) -> &'a mut SourceTopicHealth {
    source_of(health, intake, source).topics.entry(partition.topic.to_string()).or_default()
}

fn partition(
    open: &OpenPartition,
    awaits: Option<SourceFailure>,
    measured: Option<&MeasuredLease>,
    oldest_ms: Option<i64>,
) -> SourcePartitionHealth {
    let state = match (&open.failing, &awaits, open.is_paused) {
        (_, _, true) => SourcePartitionState::Paused,
        (Some(_), _, false) => SourcePartitionState::Failing,
        (None, Some(_), false) => SourcePartitionState::Waiting,
        (None, None, false) => SourcePartitionState::Running,
    };
    SourcePartitionHealth {
        state,
        since_ms: open.since_ms,
        position_id: Some(PositionId(open.position.id)),
        committed: Some(measured.map_or(open.committed, |it| it.committed)),
        end: measured.and_then(|it| it.end),
        oldest_ms: oldest_ms
            .or_else(|| open.oldest_still_ms())
            .or_else(|| measured.and_then(|it| it.oldest_waiting_ms)),
        failure: open.failing.as_ref().map(|failing| failing.failure.clone()).or(awaits),
    }
}
