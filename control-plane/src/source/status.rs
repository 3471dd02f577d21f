//! How a source is doing: what its workers say of its partitions, in one word.

use schemas::control::TopicSource;
use schemas::status::{SourceFailure, SourcePartitionHealth, SourcePartitionState};
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::time;
use crate::health::SourceTold;

/// How a source is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = SourceState)]
pub(crate) enum SourceStateShown {
    /// It is read.
    Running,
    /// For something that others have to give: a worker, a topic, a schema.
    Waiting,
    /// It is paused.
    Paused,
    /// It is disabled.
    Disabled,
    /// None of it can be read.
    Failing,
    /// Some of it cannot be read; the rest is.
    PartlyFailing,
}

/// What is known of a source. Numbers that nobody says are null.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = SourceStatus)]
pub(crate) struct SourceStatusShown {
    pub(crate) state: SourceStateShown,
    /// Topics that are read.
    topics: Option<usize>,
    /// Their partitions.
    partitions: Option<usize>,
    /// Records that are not committed yet.
    lag_records: Option<u64>,
    /// Age of the oldest of them.
    lag_ms: Option<u64>,
    /// Records that were read, since the workers that read them have begun.
    records: Option<u64>,
    /// Those of them that were rejected.
    rejected: Option<u64>,
    /// Those of them that are no events.
    skipped: Option<u64>,
    /// Since when it is so.
    #[schema(format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    /// What is wrong, with the first of its partitions where something is.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<SourceProblemShown>,
}

/// What is wrong with a source, and where.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = SourceProblem)]
pub(crate) struct SourceProblemShown {
    /// A word for programs: `not_authorized`, `topic_missing`, `offset_out_of_range`, `unknown_application`, `no_worker`.
    code: String,
    /// A sentence with what to change.
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    partition: Option<i32>,
}

// === impl SourceStatusShown ===

impl SourceStatusShown {
    pub(crate) fn of(source: &TopicSource, told: &SourceTold, now_ms: i64) -> Self {
        let all = || told.partitions.values().map(|it| &it.health);
        let state = state(source, told);
        let telling = match state {
            SourceStateShown::Failing | SourceStateShown::PartlyFailing => Some(SourcePartitionState::Failing),
            SourceStateShown::Waiting => Some(SourcePartitionState::Waiting),
            SourceStateShown::Paused => Some(SourcePartitionState::Paused),
            SourceStateShown::Running => Some(SourcePartitionState::Running),
            SourceStateShown::Disabled => None,
        };
        let since = all().filter(|it| Some(it.state) == telling).map(|it| it.since_ms).min();
        // Where no worker has a partition of it, nothing is known.
        let known = !told.partitions.is_empty() && !told.is_cut;
        let sum = |of: fn(&SourcePartitionHealth) -> Option<u64>| all().map(of).sum::<Option<u64>>();
        let topics = || told.partitions.keys().map(|(topic, _)| topic).collect::<std::collections::BTreeSet<_>>().len();
        Self {
            state,
            topics: known.then(topics),
            partitions: known.then_some(told.partitions.len()),
            lag_records: if known { sum(lag_records) } else { None },
            lag_ms: all().filter_map(|it| lag_ms(it, now_ms)).max(),
            records: told.is_heard.then_some(told.records),
            rejected: told.is_heard.then_some(told.rejected),
            skipped: told.is_heard.then_some(told.skipped),
            since: since.map(time),
            error: error(source, told, state),
        }
    }
}

fn state(source: &TopicSource, told: &SourceTold) -> SourceStateShown {
    if !source.is_enabled {
        return SourceStateShown::Disabled;
    }
    let is = |state: SourcePartitionState| told.partitions.values().filter(|it| it.health.state == state).count();
    let failing = is(SourcePartitionState::Failing) + told.failures.keys().flatten().count();
    let all = told.partitions.len() + told.failures.keys().flatten().count();
    if told.failures.contains_key(&None) || failing > 0 && failing == all {
        SourceStateShown::Failing
    } else if failing > 0 {
        SourceStateShown::PartlyFailing
    } else if source.is_paused {
        SourceStateShown::Paused
    } else if is(SourcePartitionState::Waiting) > 0 || told.partitions.is_empty() {
        SourceStateShown::Waiting
    } else {
        SourceStateShown::Running
    }
}

fn error(source: &TopicSource, told: &SourceTold, state: SourceStateShown) -> Option<SourceProblemShown> {
    if state == SourceStateShown::Disabled {
        return None;
    }
    if let Some((topic, failure)) = told.failures.iter().next() {
        return Some(problem_of(failure, topic.as_deref(), None));
    }
    let is = |wanted: SourcePartitionState| {
        let mut those = told.partitions.iter().filter(move |(_, it)| it.health.state == wanted);
        those.find_map(|((topic, partition), it)| {
            Some(problem_of(it.health.failure.as_ref()?, Some(topic.as_str()), Some(*partition)))
        })
    };
    if let Some(found) = is(SourcePartitionState::Failing).or_else(|| is(SourcePartitionState::Waiting)) {
        return Some(found);
    }
    if !told.partitions.is_empty() {
        return None;
    }
    let (code, detail) = if told.is_heard {
        let names = source.topics.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
        ("no_topic", format!("no fan-out worker reads a topic of it yet: is there one that is called {names}?"))
    } else {
        ("no_worker", "no fan-out worker has told of sources in the last two minutes: is one running?".to_owned())
    };
    let failure = SourceFailure { code: code.to_owned(), detail };
    Some(problem_of(&failure, None, None))
}

pub(super) fn problem_of(failure: &SourceFailure, topic: Option<&str>, partition: Option<i32>) -> SourceProblemShown {
    SourceProblemShown {
        code: failure.code.clone(),
        detail: failure.detail.clone(),
        topic: topic.map(str::to_owned),
        partition,
    }
}

/// Records that are not committed; `None`: nobody says.
pub(super) fn lag_records(health: &SourcePartitionHealth) -> Option<u64> {
    // Before its first commit a partition has no offset, and only its worker knows where it begins.
    let (end, committed) = (health.end?, health.committed?);
    Some(u64::try_from(end.saturating_sub(committed)).unwrap_or(0))
}

/// Age of the oldest record that is not committed.
pub(super) fn lag_ms(health: &SourcePartitionHealth, now_ms: i64) -> Option<u64> {
    if lag_records(health) == Some(0) {
        return Some(0);
    }
    u64::try_from(now_ms.saturating_sub(health.oldest_ms?).max(0)).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use schemas::control::SourceFormat;
    use schemas::ids::{OrganizationId, PositionId, SourceId};
    use uuid::Uuid;

    use super::*;
    use crate::health::ToldPartition;

    fn source() -> TopicSource {
        let (id, owner) = (SourceId(Uuid::from_u128(1)), OrganizationId(Uuid::from_u128(2)));
        let new = TopicSource::new(id, owner, "orders", SourceFormat::Json, PositionId(Uuid::from_u128(3)), 0);
        TopicSource { topics: vec!["crm.a".into()], ..new }
    }

    fn failure(code: &str) -> SourceFailure {
        SourceFailure { code: code.to_owned(), detail: String::new() }
    }

    fn told(states: &[SourcePartitionState]) -> SourceTold {
        let one = |(partition, state): (usize, &SourcePartitionState)| {
            let health = SourcePartitionHealth {
                state: *state,
                since_ms: 1_000,
                position_id: None,
                committed: Some(10),
                end: Some(15),
                oldest_ms: Some(9_000),
                failure: (*state == SourcePartitionState::Failing).then(|| failure("not_authorized")),
            };
            let key = ("crm.a".to_owned(), i32::try_from(partition).unwrap());
            (key, ToldPartition { at_ms: 0, topic_id: None, health })
        };
        let partitions: BTreeMap<_, _> = states.iter().enumerate().map(one).collect();
        SourceTold { is_heard: true, partitions, ..SourceTold::default() }
    }

    fn shown(source: &TopicSource, told: &SourceTold) -> (SourceStateShown, Option<String>) {
        let shown = SourceStatusShown::of(source, told, 10_000);
        (shown.state, shown.error.map(|it| it.code))
    }

    #[test]
    fn one_word_says_how_all_of_it_is() {
        use SourcePartitionState::{Failing, Paused, Running, Waiting};
        let plain = source();
        assert_eq!(shown(&plain, &told(&[Running, Running])), (SourceStateShown::Running, None));
        let denied = Some("not_authorized".to_owned());
        assert_eq!(shown(&plain, &told(&[Running, Failing])), (SourceStateShown::PartlyFailing, denied.clone()));
        assert_eq!(shown(&plain, &told(&[Failing, Failing])), (SourceStateShown::Failing, denied));
        assert_eq!(shown(&plain, &told(&[Running, Waiting])).0, SourceStateShown::Waiting);
        let paused = TopicSource { is_paused: true, ..source() };
        assert_eq!(shown(&paused, &told(&[Paused])), (SourceStateShown::Paused, None));
        let mut missing = told(&[Running]);
        missing.failures.insert(Some("crm.b".into()), failure("topic_missing"));
        assert_eq!(shown(&plain, &missing), (SourceStateShown::PartlyFailing, Some("topic_missing".into())));
        let disabled = TopicSource { is_enabled: false, ..source() };
        assert_eq!(shown(&disabled, &SourceTold::default()), (SourceStateShown::Disabled, None));
    }

    #[test]
    fn what_nobody_says_is_null_and_the_error_says_why() {
        let nobody = SourceStatusShown::of(&source(), &SourceTold::default(), 10_000);
        assert_eq!((nobody.lag_records, nobody.records, nobody.partitions), (None, None, None));
        assert_eq!(shown(&source(), &SourceTold::default()), (SourceStateShown::Waiting, Some("no_worker".into())));
        assert_eq!(shown(&source(), &told(&[])), (SourceStateShown::Waiting, Some("no_topic".into())));
    }

    #[test]
    fn lag_is_what_is_not_committed_and_how_old_it_is() {
        let two = told(&[SourcePartitionState::Running, SourcePartitionState::Running]);
        let shown = SourceStatusShown::of(&source(), &two, 10_000);
        assert_eq!((shown.lag_records, shown.lag_ms, shown.topics), (Some(10), Some(1_000), Some(1)));
        let mut unknown = two;
        unknown.partitions.values_mut().next().unwrap().health.committed = None;
        assert_eq!(SourceStatusShown::of(&source(), &unknown, 10_000).lag_records, None, "a part of it is no sum");
    }
}
