//! One part of a backfill: so many records of one partition, and the deliveries of those that the subscription gets and has not got.
//!
//! What may fail comes first: nothing is noted as written before it is known to be.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chassis::clock;
use schemas::delivery::{self, MadeBy, NewDelivery};
use schemas::ids::{DeliveryId, Generation};
use schemas::jobs::{JobBackfill, JobSkip};
use schemas::record::{OutRecord, Record, TopicPartition};
use sources::schema::{SchemaKey, SchemaState};

use super::cursor::{BackfillCursor, NextRange};
use super::existing::{KnownDeliveries, TooMany};
use super::look::{LookedAt, PastEvent, PastRules, SchemasAtHand};
use super::read::RangeReader;
use super::{PastReceiver, TopicReader, followed};
use crate::jobs::known::KnownJob;
use crate::jobs::step::letters::{BYTES, MOST, seconds};
use crate::jobs::step::{JobPart, NotNow, StepOutcome, Steps};

/// Records that one part looks at, and their bytes.
const LOOKED_AT: u64 = 20_000;
const READ_BYTES: usize = 8 * 1024 * 1024;
/// A part that has read for so long ends.
const ENOUGH: Duration = Duration::from_secs(2);
/// Bytes that a job reads in a second.
const READ_PER_SECOND: f64 = 20_000_000.0;

/// What was found.
#[derive(Debug, Default)]
struct FoundPast {
    events: Vec<FoundEvent>,
    /// Records that were looked at.
    scanned: u64,
    /// Their bytes.
    bytes: usize,
    /// Bytes of what is to be written.
    event_bytes: usize,
    /// All below it was looked at.
    position: i64,
}

/// An event, where it stands, and how many records were looked at before it.
#[derive(Debug)]
struct FoundEvent {
    offset: i64,
    before: u64,
    event: Box<PastEvent>,
}

/// What came of looking at some records: of each its offset and what it is, the records that are left, and the schema that the first of
/// these needs.
type LookedThrough = (Vec<(i64, Option<Box<PastEvent>>)>, Vec<Record>, SchemasAtHand, Option<SchemaKey>);

/// How much of what was found is written, and where the next part begins.
#[derive(Debug, PartialEq, Eq)]
struct WrittenPast {
    position: i64,
    scanned: u64,
}

impl Steps {
    /// See the module.
    pub(super) async fn read_past(
        &self,
        mut part: JobPart,
        (job, of): (&KnownJob, &JobBackfill),
        to: &PastReceiver,
        mut cursor: BackfillCursor,
    ) -> Result<StepOutcome, NotNow> {
        let Some(range) = cursor.next() else { return Ok(part.ended()) };
        let source = match self.reader_of(&range.partition.topic)? {
            TopicReader::Events => Some(None),
            TopicReader::Source(organization, mapping) => Some(Some((organization, *mapping))),
            TopicReader::Nobody => None,
        };
        let (Some(from), Some(source)) = (self.first_of(&range).await?, source) else {
            // The topic, or who reads it, is gone.
            cursor.advance(&range.partition, range.end);
            return Ok(followed(part, &cursor, Duration::ZERO));
        };
        let rules = PastRules {
            catalog: self.catalog.clone(),
            to: to.clone(),
            installation: self.backfills.rules.installation,
            source,
            decoded_limit: self.backfills.rules.decoded_limit,
            partition: range.partition.clone(),
            times: (of.from_ms, of.to_ms),
        };
        let rate = job.definition.rate_per_second;
        let limit = usize::try_from(rate).unwrap_or(MOST).clamp(1, MOST);
        let found = self.find_past(Arc::new(rules), (&range.partition, from, range.end), limit).await?;
        let mut erased = BTreeSet::new();
        for FoundEvent { event, .. } in &found.events {
            if self.is_erased(event.event, event.accepted_ms).await? {
                erased.insert(event.delivery);
            }
        }
        let mut known = match self.known_deliveries(job, to).await? {
            Ok(known) => known,
            Err(TooMany(why)) => return Ok(part.failed(&why)),
        };
        let (before, bytes) = (part.progress.counts.written, found.bytes);
        let WrittenPast { position, scanned } = self.write_past(&mut part, to, (found, &erased), (&mut known, limit));
        part.progress.counts.scanned += scanned;
        cursor.advance(&range.partition, position);
        if cursor.next().is_none() {
            return Ok(part.ended());
        }
        #[expect(clippy::cast_precision_loss, reason = "a part reads some MiB")]
        let reading = bytes as f64 / READ_PER_SECOND;
        let pause = Duration::from_secs_f64(seconds(part.progress.counts.written - before, rate).max(reading));
        let outcome = followed(part, &cursor, pause);
        if let StepOutcome::Made { progress, .. } = &outcome {
            self.keep_deliveries(job.definition.job_id, known, progress);
        }
        Ok(outcome)
    }

    /// The first offset of a range that Kafka still holds; none: its partition is gone.
    async fn first_of(&self, range: &NextRange) -> Result<Option<i64>, NotNow> {
        let NextRange { partition, from, .. } = range;
        let count = self.offsets.partitions(&partition.topic).await.map_err(|error| error.to_string())?;
        if count.is_none_or(|count| partition.partition >= count) {
            return Ok(None);
        }
        let start = self.offsets.start_of(partition).await.map_err(|error| error.to_string())?;
        Ok(Some(start.max(*from)))
    }

    /// Reads until there is enough for one part.
    async fn find_past(
        &self,
        rules: Arc<PastRules>,
        (partition, from, end): (&TopicPartition, i64, i64),
        limit: usize,
    ) -> Result<FoundPast, NotNow> {
        let mut reading = RangeReader::start(&self.backfills.connection, partition, (from, end))?;
        let (mut found, mut schemas, began) = (FoundPast::default(), SchemasAtHand::default(), clock::instant());
        loop {
            let Some(piece) = reading.next().await? else {
                found.position = end;
                return Ok(found);
            };
            found.bytes += piece.bytes;
            let mut rest = piece.records;
            while !rest.is_empty() {
                let (rules, at_hand) = (Arc::clone(&rules), std::mem::take(&mut schemas));
                // Beside the runner's loop: schemas and filters take as long as strangers have made them.
                let looking = tokio::task::spawn_blocking(move || look_at(&rules, rest, at_hand));
                let (looked, left, at_hand, needs) = looking.await.map_err(|error| error.to_string())?;
                (rest, schemas) = (left, at_hand);
                looked.into_iter().for_each(|(offset, event)| found.add(offset, event));
                if let Some(key) = needs {
                    schemas.0.insert(key, self.schema(key).await?);
                } else if let Some(next) = rest.first() {
                    // So much was made of what was read that it is a part.
                    found.position = next.offset;
                    return Ok(found);
                }
            }
            found.position = piece.position;
            let is_much = found.events.len() >= limit || found.event_bytes >= BYTES || found.bytes >= READ_BYTES;
            if is_much || found.scanned >= LOOKED_AT || clock::instant().duration_since(began) > ENOUGH {
                return Ok(found);
            }
        }
    }

    async fn schema(&self, key: SchemaKey) -> Result<SchemaState, NotNow> {
        let registry = self.catalog.read().schema_registry(key.registry).cloned();
        let registry = registry.ok_or_else(|| format!("{} is of a schema registry that was deleted", key.id))?;
        let asked = self.backfills.registries.schema(&registry, self.catalog.vault(), key.id).await;
        asked.map_err(|why| format!("{} cannot be asked for: {why}", key.id))
    }

    /// Writes what its subscription has not got, as far as one part goes.
    fn write_past(
        &self,
        part: &mut JobPart,
        to: &PastReceiver,
        (found, erased): (FoundPast, &BTreeSet<DeliveryId>),
        (known, limit): (&mut KnownDeliveries, usize),
    ) -> WrittenPast {
        for FoundEvent { offset, before, event } in found.events {
            if part.outputs() >= limit || part.bytes >= BYTES {
                // The next part begins with it.
                return WrittenPast { position: offset, scanned: before };
            }
            part.progress.counts.found += 1;
            if erased.contains(&event.delivery) {
                part.skip(JobSkip::Erased);
            } else if known.ids.insert(event.delivery) {
                let out = self.past_delivery(*event, to);
                if self.fits(&out) {
                    part.progress.counts.written += 1;
                    part.write(out);
                } else {
                    part.skip(JobSkip::TooLarge);
                }
            } else {
                part.skip(JobSkip::Existing);
            }
        }
        WrittenPast { position: found.position, scanned: found.scanned }
    }

    /// The delivery that the fan-out would have made.
    fn past_delivery(&self, event: PastEvent, to: &PastReceiver) -> OutRecord {
        let subscription = &to.subscription;
        let max_age_ms = i64::try_from(subscription.max_age().as_millis()).unwrap_or(i64::MAX);
        let new = NewDelivery {
            id: event.delivery,
            subscription: subscription.id(),
            generation: Generation::default(),
            made_by: Some(MadeBy::Backfill),
            accepted_ms: event.accepted_ms,
            deadline_ms: clock::now_ms().saturating_add(max_age_ms),
            control_offset: to.control_offset,
            ordering_key: event.ordering_key,
            deprecation: event.deprecation,
        };
        OutRecord {
            topic: Arc::clone(&self.topics.deliveries),
            partition: None,
            key: Some(delivery::key(subscription.id())),
            value: Some(event.payload),
            headers: new.encode(&event.headers, to.application.application_id, &event.origin),
        }
    }
}

/// Looks at records up to the first one that needs a schema.
fn look_at(rules: &PastRules, records: Vec<Record>, schemas: SchemasAtHand) -> LookedThrough {
    let (now_ms, mut looked, mut bytes) = (clock::now_ms(), Vec::with_capacity(records.len()), 0);
    let mut records = records.into_iter();
    while let Some(record) = records.next() {
        match rules.look(&record, &schemas, now_ms) {
            LookedAt::Nothing => looked.push((record.offset, None)),
            LookedAt::Event(event) => {
                // A record may be decoded to many times its size.
                bytes += event.payload.len();
                looked.push((record.offset, Some(event)));
                if bytes >= BYTES {
                    return (looked, records.collect(), schemas, None);
                }
            }
            LookedAt::Needs(key) => {
                let left = std::iter::once(record).chain(records).collect();
                return (looked, left, schemas, Some(key));
            }
        }
    }
    (looked, Vec::new(), schemas, None)
}

// === impl FoundPast ===

impl FoundPast {
    fn add(&mut self, offset: i64, event: Option<Box<PastEvent>>) {
        if let Some(event) = event {
            self.event_bytes += event.payload.len() + event.headers.size();
            self.events.push(FoundEvent { offset, before: self.scanned, event });
        }
        self.scanned += 1;
    }
}
