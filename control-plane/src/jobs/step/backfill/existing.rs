//! What a subscription has got already: the ids of its deliveries without a generation, from its partition of `deliveries`.
//!
//! They are kept in memory from one part of a job to the next, as long as these follow each other. What says that they are still all is
//! how far the job was when they were noted: a part that was made and not written, or one that another runner wrote, leaves another
//! progress, and then they are read anew.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chassis::clock;
use schemas::delivery;
use schemas::header;
use schemas::ids::{DeliveryId, JobId, SubscriptionId};
use schemas::jobs::{JobCounts, JobProgress};
use schemas::murmur2::partition_for;
use schemas::record::{Record, TopicPartition};

use super::read::RangeReader;
use super::{CLOCK_MARGIN_MS, PastReceiver};
use crate::jobs::known::KnownJob;
use crate::jobs::step::{NotNow, Steps};

/// Ids that are kept for one subscription, 16 bytes and a little more each.
const MOST: usize = 1_000_000;
/// Subscriptions of which they are kept.
const MOST_JOBS: usize = 4;
/// What nobody asked for in this time may not be all any more.
const FRESH: Duration = Duration::from_secs(30);

/// What the subscription of a job has got.
#[derive(Debug)]
pub(super) struct KnownDeliveries {
    subscription: SubscriptionId,
    pub(super) ids: HashSet<DeliveryId>,
    /// How far the job was when it was so.
    at: (Option<String>, JobCounts),
    used: Instant,
}

/// Why a job cannot be done.
pub(super) struct TooMany(pub(super) String);

// === impl KnownDeliveries ===

impl KnownDeliveries {
    pub(super) fn new(subscription: SubscriptionId, ids: HashSet<DeliveryId>) -> Self {
        Self { subscription, ids, at: (None, JobCounts::default()), used: clock::instant() }
    }

    /// Whether it is what there is where a job is so far.
    fn is_of(&self, progress: Option<&JobProgress>, now: Instant) -> bool {
        let is_same = progress.is_some_and(|it| (&it.cursor, &it.counts) == (&self.at.0, &self.at.1));
        is_same && now.saturating_duration_since(self.used) < FRESH
    }
}

// === impl Steps ===

impl Steps {
    /// What the subscription of a job has got: as it is kept, or read.
    pub(super) async fn known_deliveries(
        &self,
        job: &KnownJob,
        to: &PastReceiver,
    ) -> Result<Result<KnownDeliveries, TooMany>, NotNow> {
        let kept = self.backfills.known.lock().remove(&job.definition.job_id);
        if let Some(kept) = kept.filter(|kept| kept.is_of(job.progress.as_ref(), clock::instant())) {
            return Ok(Ok(kept));
        }
        self.read_deliveries(to).await
    }

    /// Keeps what a subscription has got, where the job is so far.
    pub(super) fn keep_deliveries(&self, job: JobId, known: KnownDeliveries, progress: &JobProgress) {
        let (at, used) = ((progress.cursor.clone(), progress.counts.clone()), clock::instant());
        let mut all = self.backfills.known.lock();
        // Others of the same subscription do not know what this one writes.
        all.retain(|_, other| {
            other.subscription != known.subscription && used.saturating_duration_since(other.used) < FRESH
        });
        while all.len() >= MOST_JOBS
            && let Some(oldest) = all.iter().min_by_key(|(_, of)| of.used).map(|(id, _)| *id)
        {
            all.remove(&oldest);
        }
        all.insert(job, KnownDeliveries { at, used, ..known });
    }

    /// All that was written for it since it is there, also what is in a transaction that is open now.
    async fn read_deliveries(&self, to: &PastReceiver) -> Result<Result<KnownDeliveries, TooMany>, NotNow> {
        let (id, topic) = (to.subscription.id(), &self.topics.deliveries);
        let told = self.offsets.partitions(topic).await.map_err(|error| error.to_string())?;
        let count = told.ok_or_else(|| format!("there is no topic {topic}: `hookbus topics ensure` makes it"))?;
        let place = TopicPartition::new(Arc::clone(topic), partition_for(&delivery::key(id), count));
        let end = self.offsets.end(&place).await.map_err(|error| error.to_string())?;
        let since_ms = to.subscription.object().created_ms.saturating_sub(CLOCK_MARGIN_MS);
        let from = self.offsets.at(&place, since_ms).await.map_err(|error| error.to_string())?;
        let mut reading = RangeReader::start(&self.backfills.connection, &place, (from, end))?;
        let mut known = KnownDeliveries::new(id, HashSet::new());
        while let Some(read) = reading.next().await? {
            known.ids.extend(read.records.iter().filter_map(|record| delivered(record, id)));
            if known.ids.len() > MOST {
                let why = format!("it has got more than {MOST} deliveries, which is more than is kept in mind");
                return Ok(Err(TooMany(why)));
            }
        }
        Ok(Ok(known))
    }
}

/// The delivery of a record, if it is this subscription's and of the first generation.
fn delivered(record: &Record, id: SubscriptionId) -> Option<DeliveryId> {
    let headers = &record.headers;
    let is_own = headers.text(header::SUBSCRIPTION).and_then(|text| text.parse().ok()) == Some(id);
    if !is_own || headers.text(header::GENERATION).is_some() {
        return None;
    }
    headers.text(header::DELIVERY)?.parse().ok().map(DeliveryId)
}

#[cfg(test)]
mod tests {
    use schemas::record::Headers;
    use uuid::Uuid;

    use super::*;

    fn record(subscription: u128, generation: Option<u128>) -> Record {
        let mut headers = Headers::builder(3, 200);
        headers.push_display(header::SUBSCRIPTION, Uuid::from_u128(subscription));
        headers.push_display(header::DELIVERY, Uuid::from_u128(7));
        if let Some(generation) = generation {
            headers.push_display(header::GENERATION, Uuid::from_u128(generation));
        }
        Record { offset: 0, timestamp_ms: 0, key: None, value: None, headers: headers.build() }
    }

    #[test]
    fn what_it_got_is_its_own_and_of_the_first_generation() {
        let id = SubscriptionId(Uuid::from_u128(1));
        assert_eq!(delivered(&record(1, None), id), Some(DeliveryId(Uuid::from_u128(7))));
        assert_eq!((delivered(&record(2, None), id), delivered(&record(1, Some(9)), id)), (None, None));
    }

    #[test]
    fn what_is_kept_counts_only_where_the_job_is_as_far_as_it_was() {
        let now = clock::instant();
        let progress = JobProgress { cursor: Some("a".to_owned()), ..JobProgress::begun(JobId(Uuid::from_u128(1)), 0) };
        let mut kept = KnownDeliveries::new(SubscriptionId(Uuid::from_u128(1)), HashSet::new());
        (kept.at, kept.used) = ((progress.cursor.clone(), progress.counts.clone()), now);
        assert!(kept.is_of(Some(&progress), now + FRESH / 2));
        assert!(!kept.is_of(Some(&progress), now + FRESH), "another may have run it meanwhile");
        assert!(!kept.is_of(None, now));
        let mut counts = progress.counts.clone();
        counts.written += 1;
        assert!(!kept.is_of(Some(&JobProgress { counts, ..progress.clone() }), now), "another part was written");
        let cursor = Some("b".to_owned());
        assert!(!kept.is_of(Some(&JobProgress { cursor, ..progress }), now));
    }
}
