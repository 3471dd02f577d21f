//! What a subscription gets of the past: events that Kafka holds of before it was there, each as if it had come then, without a gap and
//! without a repeat against what it gets as events come.
//!
//! ```text
//! begin    the snapshot has the subscription: what is written from now on is matched with it. Where each partition ends now is noted
//! wait     until both intakes of the fan-out have passed those ends: what is below was matched, with it or without
//! existing what it has got is read from its partition of [deliveries], by their ids
//! read     [events], topics of sources --decode, mapping, acceptance, filter--> matches, has not got it --> [deliveries]
//! ```
//!
//! The offsets that the fan-out has committed are no place to end at: above them it may have matched what it has not committed, with a
//! snapshot from before the subscription. A delivery that is written here has the id that the fan-out would have given it, and no
//! generation, so it is one that exists for whoever looks next: this job under another runner, or the next backfill.

mod cursor;
mod existing;
mod look;
mod past;
mod read;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use catalog::{Subscription, source_of_topic};
use chassis::clock;
use kafka::Connection;
use kafka::lag::{self, PartitionLag};
use parking_lot::Mutex;
use schemas::control::{Application, TopicSource};
use schemas::ids::{JobId, OrganizationId};
use schemas::jobs::JobBackfill;
use schemas::record::TopicPartition;
use sources::Mapping;

use self::cursor::{BackfillCursor, TopicRanges};
use self::existing::KnownDeliveries;
use super::{JobPart, NotNow, StepOutcome, Steps};
use crate::config::{ControlConfig, Deps};
use crate::jobs::known::KnownJob;
use crate::schema_registry::RegistryAsker;

/// Partitions that one job reads: each part of it writes where all of them end.
const MOST_PARTITIONS: usize = 2_000;
/// What Kafka's own topics begin with.
const INTERNAL: &str = "__";
/// How far clocks may be apart.
const CLOCK_MARGIN_MS: i64 = 3_600_000;

/// What of the configuration backfills follow: the same as the fan-out.
#[derive(Clone, Debug)]
pub(crate) struct BackfillRules {
    /// Whose uids records of `events` name.
    installation: OrganizationId,
    /// What our own topics begin with.
    own_prefix: String,
    /// Most bytes that a record is decoded to.
    decoded_limit: usize,
}

/// What backfills need beside what all jobs do.
#[derive(Debug)]
pub(super) struct Backfills {
    connection: Connection,
    rules: BackfillRules,
    events_group: String,
    sources_group: String,
    /// How long `deliveries` keeps its records, ms; none: for ever.
    kept_ms: Option<i64>,
    registries: RegistryAsker,
    /// What the subscriptions of jobs have got, as far as that was read lately.
    known: Mutex<BTreeMap<JobId, KnownDeliveries>>,
}

/// Who makes events of the records of a topic.
#[derive(Debug)]
enum TopicReader {
    /// It is `events`.
    Events,
    /// A source, of this organization.
    Source(OrganizationId, Box<Mapping>),
    /// Nobody any more.
    Nobody,
}

/// Who gets it.
#[derive(Clone, Debug)]
struct PastReceiver {
    application: Arc<Application>,
    subscription: Arc<Subscription>,
    /// Of the snapshot that says so.
    control_offset: i64,
}

// === impl BackfillRules ===

impl BackfillRules {
    pub(crate) fn of(config: &ControlConfig) -> Self {
        Self {
            installation: config.organization_id,
            own_prefix: config.sources.own_prefix.clone(),
            decoded_limit: config.sources.decoded_limit,
        }
    }
}

// === impl Backfills ===

impl Backfills {
    pub(super) fn new(deps: &Deps, rules: BackfillRules) -> Self {
        Self {
            connection: deps.connection.clone(),
            rules,
            events_group: deps.kafka.group(chassis::config::Role::Fanout),
            sources_group: deps.kafka.sources_group(),
            kept_ms: deps.kept_ms.get(&*deps.topics.deliveries).copied(),
            registries: RegistryAsker::start(),
            known: Mutex::default(),
        }
    }
}

// === impl Steps ===

impl Steps {
    /// See the module.
    pub(super) async fn backfill(&self, job: &KnownJob, of: &JobBackfill) -> Result<StepOutcome, NotNow> {
        self.current().await?;
        let (mut part, id) = (JobPart::of(job), job.definition.application_id);
        let (found, control_offset) = self.subscription(id, of.subscription_id);
        let application = self.catalog.read().application_by_id(id).cloned();
        let Some((application, subscription)) = application.zip(found) else {
            return Ok(part.failed("its subscription is gone"));
        };
        if !subscription.is_enabled() {
            return Ok(part.failed("its subscription is disabled"));
        }
        if subscription.is_paused() {
            return Err("its subscription is paused".to_owned());
        }
        let to = PastReceiver { application, subscription, control_offset };
        let Some(cursor) = part.progress.cursor.take() else { return self.begin_backfill(part, of, &to).await };
        let Ok(mut cursor) = BackfillCursor::decode(&cursor) else {
            return Ok(part.failed("a newer build has begun it, and says in its own way how far it is"));
        };
        if cursor.is_waiting() {
            self.is_passed(&cursor).await?;
            cursor.passed();
            return Ok(followed(part, &cursor, Duration::ZERO));
        }
        self.read_past(part, (job, of), &to, cursor).await
    }

    /// Notes where everything begins and ends that is read.
    async fn begin_backfill(&self, part: JobPart, of: &JobBackfill, to: &PastReceiver) -> Result<StepOutcome, NotNow> {
        let created_ms = to.subscription.object().created_ms;
        if let Some(known_ms) = forgotten_before(self.backfills.kept_ms, (created_ms, of.from_ms), clock::now_ms()) {
            let since = crate::api::time(known_ms);
            let why = format!("what it got before {since} is not known any more: ask for events from then on");
            return Ok(part.failed(&why));
        }
        let topics = self.topics_of_the_past(&to.application).await?;
        let partitions: Vec<TopicPartition> = topics
            .iter()
            .flat_map(|(topic, count)| (0..*count).map(|it| TopicPartition::new(Arc::clone(topic), it)))
            .collect();
        if partitions.len() > MOST_PARTITIONS {
            let why = format!("its topics have {} partitions, at most {MOST_PARTITIONS} are read", partitions.len());
            return Ok(part.failed(&why));
        }
        let mut starts = match of.from_ms {
            Some(from_ms) => self.offsets.at_of(partitions.clone(), from_ms).await,
            None => self.offsets.starts_of(partitions.clone()).await,
        };
        let mut ends = self.offsets.ends_of(partitions.clone()).await;
        let mut ranges: Vec<TopicRanges> = Vec::with_capacity(topics.len());
        for partition in partitions {
            let untold = || Err(format!("kafka does not say where {partition} begins and ends"));
            let start =
                starts.remove(&partition).map_or_else(untold, |told| told.map_err(|error| error.to_string()))?;
            let end = ends.remove(&partition).map_or_else(untold, |told| told.map_err(|error| error.to_string()))?;
            match ranges.last_mut().filter(|of| of.topic == *partition.topic) {
                Some(of) => of.ranges.push((start, end)),
                None => ranges.push(TopicRanges { topic: partition.topic.to_string(), ranges: vec![(start, end)] }),
            }
        }
        Ok(followed(part, &BackfillCursor::noted(ranges), Duration::ZERO))
    }

    /// The topics whose records may be events of an application, with their numbers of partitions: `events`, and those of its
    /// organization's sources that are read now.
    async fn topics_of_the_past(&self, application: &Application) -> Result<Vec<(Arc<str>, i32)>, NotNow> {
        let events = Arc::clone(&self.topics.events);
        let count = self.offsets.partitions(&events).await.map_err(|error| error.to_string())?;
        let mut topics = vec![(events, count.unwrap_or(0))];
        let sources = self.catalog.sources();
        let is_read = |source: &TopicSource| {
            source.is_enabled
                && source.organization_id == application.organization_id
                && may_name(source.application.as_deref(), application)
        };
        if !sources.values().any(|source| is_read(source)) {
            return Ok(topics);
        }
        let seen = self.offsets.topics(Vec::new()).await.map_err(|error| error.to_string())?;
        for (topic, count) in seen.there {
            let is_ours = topic.starts_with(INTERNAL) || topic.starts_with(&self.backfills.rules.own_prefix);
            if !is_ours && source_of_topic(&sources, &topic).is_some_and(|source| is_read(source)) {
                topics.push((topic, i32::try_from(count).unwrap_or(i32::MAX)));
            }
        }
        Ok(topics)
    }

    /// Whether the fan-out has passed all that was noted; an error says what it has not.
    async fn is_passed(&self, cursor: &BackfillCursor) -> Result<(), NotNow> {
        let (own, mut theirs): (Vec<&str>, Vec<&str>) = cursor.topics().partition(|topic| self.accepted.is_own(topic));
        // What nobody reads any more is passed by nobody.
        let sources = self.catalog.sources();
        theirs.retain(|topic| source_of_topic(&sources, topic).is_some());
        let Backfills { connection, events_group, sources_group, .. } = &self.backfills;
        for (group, topics) in [(events_group, own), (sources_group, theirs)] {
            if topics.is_empty() {
                continue;
            }
            let lags = lag::of_group(connection, group, &topics).await.map_err(|error| error.to_string())?;
            for lag in lags {
                let Some(end) = cursor.end_of(&lag.partition) else { continue };
                let begins = if lag.committed.is_none() { self.begins(&lag.partition).await? } else { None };
                if !has_passed(&lag, end, begins) {
                    let (place, at) = (&lag.partition, lag.begin());
                    return Err(format!("the fan-out has yet to read {place} up to {end}: it is at {at}"));
                }
            }
        }
        Ok(())
    }

    /// Where its source begins with a partition of which nothing is read yet; none: with its first record.
    async fn begins(&self, partition: &TopicPartition) -> Result<Option<i64>, NotNow> {
        let sources = self.catalog.sources();
        let Some(source) = source_of_topic(&sources, &partition.topic) else { return Ok(None) };
        let id = self.offsets.topic_id(&partition.topic).await.map_err(|error| error.to_string())?;
        Ok(id.and_then(|id| source.begins(&partition.topic, id, partition.partition).offset))
    }

    /// Who reads a topic now. An error: its source does, and not at the moment.
    fn reader_of(&self, topic: &str) -> Result<TopicReader, NotNow> {
        if self.accepted.is_own(topic) {
            return Ok(TopicReader::Events);
        }
        let sources = self.catalog.sources();
        let Some(source) = source_of_topic(&sources, topic) else { return Ok(TopicReader::Nobody) };
        if !source.is_enabled {
            return Err(format!("the source of {topic} is disabled"));
        }
        // One that a newer build wrote is nothing to this one.
        let mapping =
            Mapping::compile(source).map_err(|_faults| format!("this build cannot read the source of {topic}"))?;
        Ok(TopicReader::Source(source.organization_id, Box::new(mapping)))
    }
}

fn followed(part: JobPart, cursor: &BackfillCursor, pause: Duration) -> StepOutcome {
    part.followed(cursor.encode(), pause)
}

/// Whether a source's records may be of an application, by the template that names theirs.
fn may_name(template: Option<&str>, application: &Application) -> bool {
    template.is_none_or(|text| text.contains(['{', '}']) || application.is_called(text))
}

/// Whether a group has read all of a partition below an end. What follows there may be no records: markers of transactions, and what
/// was aborted. `begins`: where it begins if it has committed nothing.
fn has_passed(lag: &PartitionLag, end: i64, begins: Option<i64>) -> bool {
    let at = lag.committed.or(begins).unwrap_or(lag.log_start);
    at >= end || lag.log_start >= end || lag.records == Some(0)
}

/// Until when what a subscription got is not known any more, Unix ms, if that matters: it was there then, and events of then are asked for.
fn forgotten_before(kept_ms: Option<i64>, (created_ms, from_ms): (i64, Option<i64>), now_ms: i64) -> Option<i64> {
    let known_ms = now_ms.saturating_sub(kept_ms?).saturating_add(CLOCK_MARGIN_MS);
    let asked_ms = created_ms.max(from_ms.unwrap_or(i64::MIN));
    (asked_ms < known_ms).then_some(known_ms)
}

#[cfg(test)]
mod tests;
