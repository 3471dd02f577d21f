//! Rejected records that are planned again: so many at a time, by their places or from the oldest on, they go to `retried`.
//!
//! ```text
//! [rejected] --whole there--> --+
//!            --cut--> its own topic, if that still holds it --> [retried] --> the fan-out
//! ```

use std::sync::Arc;
use std::time::Duration;

use schemas::delivery::{Origin, RecordPlace};
use schemas::jobs::{JobRejections, JobSkip};
use schemas::record::{OutRecord, Record, TopicPartition};
use schemas::rejected::RejectedRecord;
use schemas::retried::RetriedRecord;

use super::in_order::InOrder;
use super::letters::{BYTES, MOST, seconds};
use super::{JobPart, NotNow, StepOutcome, Steps};
use crate::jobs::known::KnownJob;
use crate::problem::Problem;
use crate::rejections::{RejectedFilter, RejectedId, RejectedOwner};

/// A rejected record that a part looks at.
struct RejectedCandidate {
    /// None: Kafka does not hold it any more.
    record: Option<Record>,
    /// Where the job goes on behind it.
    cursor: String,
}

/// What is looked at in one part, and where the job goes on behind it.
type RejectedCandidates = (Vec<RejectedCandidate>, Option<String>);

impl Steps {
    /// See the module.
    pub(super) async fn rejections(&self, job: &KnownJob, of: &JobRejections) -> Result<StepOutcome, NotNow> {
        self.current().await?;
        let rate = job.definition.rate_per_second;
        let limit = usize::try_from(rate).unwrap_or(MOST).clamp(1, MOST);
        let topic = &self.topics.retried;
        let told = self.offsets.partitions(topic).await.map_err(|error| error.to_string())?;
        let partitions = told.ok_or_else(|| format!("there is no topic {topic}: `hookbus topics ensure` makes it"))?;
        let cursor = job.progress.as_ref().and_then(|progress| progress.cursor.as_deref());
        let (all, mut next) = match &of.places {
            Some(places) => self.named(places, cursor, limit).await?,
            None => self.found((of, job.definition.created_ms), cursor, limit).await?,
        };
        let mut part = JobPart::of(job);
        let before = part.progress.counts.written;
        for RejectedCandidate { record, cursor } in all {
            // What is left is looked at again in the next part.
            if part.bytes >= BYTES {
                break;
            }
            part.progress.counts.found += 1;
            match self.again_of(of, record, partitions).await? {
                Ok(out) => {
                    part.write(out);
                    part.progress.counts.written += 1;
                }
                Err(why) => part.skip(why),
            }
            if part.bytes >= BYTES {
                next = Some(cursor);
            }
        }
        let written = part.progress.counts.written - before;
        Ok(match next {
            None => part.ended(),
            Some(next) => part.followed(next, Duration::from_secs_f64(seconds(written, rate))),
        })
    }

    /// Those that are named, behind a place of the list.
    async fn named(
        &self,
        places: &[RecordPlace],
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<RejectedCandidates, NotNow> {
        let start = cursor.and_then(|cursor| cursor.parse().ok()).unwrap_or(0_usize);
        let few: Vec<RecordPlace> = places.iter().skip(start).take(limit).copied().collect();
        let ask = |place: &RecordPlace| self.rejected_at(*place);
        let read = InOrder::new().next(&few, ask).await?.unwrap_or_default();
        let next = start + read.len();
        let all = read.into_iter().zip(start + 1..);
        let all = all.map(|(record, behind)| RejectedCandidate { record, cursor: behind.to_string() });
        Ok((all.collect(), (next < places.len()).then(|| next.to_string())))
    }

    /// What stands at a place of `rejected`.
    async fn rejected_at(&self, place: RecordPlace) -> Result<Option<Record>, NotNow> {
        if !self.rejected.is_written(place.into()).await.map_err(Problem::into_detail)? {
            return Ok(None);
        }
        let topic = self.topics.rejected.to_string();
        self.record(&Origin { topic, partition: place.partition, offset: place.offset }).await
    }

    /// Those that have something in common, behind a place of the topic.
    async fn found(
        &self,
        (of, job_begun_ms): (&JobRejections, i64),
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<RejectedCandidates, NotNow> {
        let from = cursor.and_then(|cursor| cursor.parse().ok()).unwrap_or(RejectedId { partition: 0, offset: 0 });
        let filter = RejectedFilter::of_job(of);
        let wanted = |record: &Record| {
            let said = RejectedRecord::decode(record);
            said.is_some_and(|said| filter.fits(record.timestamp_ms, &said) && self.is_asked_for(of, &said))
        };
        // A job that names no places always says until when.
        let times = (of.from_ms, of.to_ms.unwrap_or(job_begun_ms));
        let piece = self.rejected.piece(from, times, wanted, limit).await.map_err(Problem::into_detail)?;
        let all = piece.records.into_iter().map(|(at, record)| {
            let cursor = RejectedId { offset: at.offset + 1, ..at }.to_string();
            RejectedCandidate { record: Some(record), cursor }
        });
        Ok((all.collect(), piece.next.map(|next| next.to_string())))
    }

    /// A rejected record as it is planned again, or why it is not.
    async fn again_of(
        &self,
        of: &JobRejections,
        record: Option<Record>,
        partitions: i32,
    ) -> Result<Result<OutRecord, JobSkip>, NotNow> {
        let said = record.and_then(|record| Some((RejectedRecord::decode(&record)?, record)));
        // What whoever asked does not see is not there.
        let said = said.filter(|(said, _)| self.is_asked_for(of, said));
        let Some((said, rejected)) = said else { return Ok(Err(JobSkip::Expired)) };
        let Some(origin) = said.origin.clone().filter(|origin| self.is_of_the_fan_out(&origin.topic)) else {
            return Ok(Err(JobSkip::NoEvent));
        };
        let whole = match (said.cut, said.timestamp_ms) {
            (None, Some(timestamp_ms)) => {
                let (key, value, headers) = (rejected.key.clone(), rejected.value.clone(), said.headers.clone());
                Some(Record { offset: origin.offset, timestamp_ms, key, value, headers })
            }
            _ => self.original(&origin).await?.filter(|found| is_of(found, &rejected, &said)),
        };
        let Some(record) = whole else { return Ok(Err(JobSkip::Expired)) };
        let retried = RetriedRecord {
            record,
            from: TopicPartition::new(origin.topic, origin.partition),
            organization: said.organization,
            retries: said.retries.saturating_add(1),
            written: said.written,
        };
        let out = retried.to_record(Arc::clone(&self.topics.retried), partitions);
        Ok(if self.fits(&out) { Ok(out) } else { Err(JobSkip::TooLarge) })
    }

    /// A record as it stands on its own topic. That may be gone, or closed to us.
    async fn original(&self, at: &Origin) -> Result<Option<Record>, NotNow> {
        if self.log.is_gone(at).await {
            return Ok(None);
        }
        self.record(at).await
    }

    fn is_asked_for(&self, of: &JobRejections, said: &RejectedRecord) -> bool {
        RejectedOwner::of(&self.catalog.read(), said).is_of_job(of)
    }

    /// Whether the fan-out reads a topic: of ours `events` alone.
    fn is_of_the_fan_out(&self, topic: &str) -> bool {
        let prefix = self.topics.events.strip_suffix("events").unwrap_or_default();
        topic == &*self.topics.events || !topic.starts_with(prefix)
    }
}

/// Whether what stands at a place is what was rejected there: another topic may have its name since.
fn is_of(found: &Record, rejected: &Record, said: &RejectedRecord) -> bool {
    // Nothing of it may be there but its place, its time and its size.
    let is_bare = said.cut.is_some() && rejected.key.is_none() && rejected.value.is_none();
    let begins = |whole: Option<&[u8]>, part: Option<&[u8]>| match (whole, part) {
        (Some(whole), Some(part)) => whole.starts_with(part),
        (whole, part) => is_bare || whole.is_none() && part.is_none(),
    };
    let size = found.value.as_ref().map_or(0, |value| value.len() as u64);
    said.timestamp_ms.is_none_or(|timestamp_ms| timestamp_ms == found.timestamp_ms)
        && said.cut.is_none_or(|cut| cut == size)
        && begins(found.value.as_deref(), rejected.value.as_deref())
        && begins(found.key.as_deref(), rejected.key.as_deref())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use schemas::record::Headers;
    use schemas::rejected::{self, NewRejection, RejectReason};

    use super::*;

    #[test]
    fn what_stands_there_is_what_was_rejected_or_nothing_is_sent() {
        let value = Some(Bytes::from(vec![b'x'; 5_000]));
        let record = Record { offset: 9, timestamp_ms: 7, key: None, value, headers: Headers::default() };
        let rejection = NewRejection::new(RejectReason::TooLarge, "too large");
        let from = TopicPartition::new("crm", 3);
        let out = rejected::to_record("rejected".into(), &from, &record, rejection, 1_000);
        let cut = Record { offset: 1, timestamp_ms: 8, key: out.key, value: out.value, headers: out.headers };
        let said = RejectedRecord::decode(&cut).unwrap();
        assert_eq!(said.cut, Some(5_000));
        assert!(is_of(&record, &cut, &said));
        let others = [
            Record { timestamp_ms: 8, ..record.clone() },
            Record { value: Some(Bytes::from(vec![b'x'; 4_999])), ..record.clone() },
            Record { value: Some(Bytes::from(vec![b'y'; 5_000])), ..record.clone() },
            Record { value: None, ..record.clone() },
            Record { key: Some(Bytes::new()), ..record },
        ];
        assert!(others.iter().all(|other| !is_of(other, &cut, &said)));
    }

    #[test]
    fn of_what_not_even_rejected_took_time_and_size_tell_what_it_was() {
        let (key, value) = (Some(Bytes::from("customer 7")), Some(Bytes::from(vec![b'x'; 5_000])));
        let record = Record { offset: 9, timestamp_ms: 7, key, value, headers: Headers::default() };
        let rejection = NewRejection::new(RejectReason::Unwritable, "refused");
        let out = rejected::bare_record("rejected".into(), &TopicPartition::new("crm", 3), &record, rejection);
        let bare = Record { offset: 1, timestamp_ms: 8, key: out.key, value: out.value, headers: out.headers };
        let said = RejectedRecord::decode(&bare).unwrap();
        assert_eq!((said.cut, bare.value.is_none()), (Some(5_000), true), "it is no tombstone");
        assert!(is_of(&record, &bare, &said));
        let others = [Record { timestamp_ms: 8, ..record.clone() }, Record { value: None, ..record }];
        assert!(others.iter().all(|other| !is_of(other, &bare, &said)));
    }
}
