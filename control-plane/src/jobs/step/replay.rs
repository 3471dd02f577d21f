//! An event that is sent again, as it was accepted: to one subscription, or to those that match it now.

use std::sync::Arc;

use catalog::{Catalog, Snapshot, Subscription};
use chassis::clock;
use delivery_log::Day;
use filter::Facts;
use schemas::control::Application;
use schemas::delivery::{self, Deprecation, MadeBy, NewDelivery};
use schemas::event::StringMap;
use schemas::identity::{delivery_id, event_uuid};
use schemas::ids::{ApplicationId, Generation};
use schemas::jobs::{JobEvent, JobSkip};
use schemas::record::{OutRecord, Record, TopicPartition};
use sources::Event;

use super::{JobPart, NotNow, StepOutcome, Steps};
use crate::jobs::known::KnownJob;
use crate::problem::Problem;

/// Subscriptions that get one event again: all of it is one part.
const MOST_MATCHES: usize = 10_000;
/// Bytes that are written of one event: all of it is one transaction.
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// Why an event is too much for one part: it matches more now than one part takes.
pub(super) struct TooMuch(pub(super) String);

impl Steps {
    /// See the module. All of it is one part: where an event matches more than one part takes, nothing of it is sent.
    pub(super) async fn replay(&self, job: &KnownJob, of: &JobEvent) -> Result<StepOutcome, NotNow> {
        self.current().await?;
        let application = self.catalog.read().application_by_id(job.definition.application_id).cloned();
        let mut part = JobPart::of(job);
        let Some(application) = application else { return Ok(part.failed("its application is gone")) };
        if self.is_erased(of.event, of.accepted_ms).await? {
            part.skip(JobSkip::Erased);
            return Ok(part.ended());
        }
        match self.accepted_record(&application, of).await? {
            Some(record) => {
                if let Err(TooMuch(why)) = self.event_again(&mut part, job, (&application, of), &record).await? {
                    return Ok(part.failed(&why));
                }
            }
            None => part.skip(JobSkip::Expired),
        }
        Ok(part.ended())
    }

    /// The record of an event that is named by its identity and its place. What came through a source is looked up in the log, which
    /// knows what its mapping made of it then.
    async fn accepted_record(&self, application: &Application, of: &JobEvent) -> Result<Option<Record>, NotNow> {
        if self.accepted.is_own(&of.origin.topic) {
            return self.record(&of.origin).await;
        }
        // This replica's log may be younger than the job.
        let edition = self.log_is_current().await?;
        let store = self.log.store().map_err(Problem::into_detail)?;
        let since = vec![(of.event, Day::of(of.accepted_ms).minus(1))];
        let found = store.events_of(application.application_id, since).await.map_err(|error| error.to_string())?;
        match found.into_iter().next() {
            Some(event) => self.event(application, &event).await,
            None => self.log_is_still(edition).await.map(|()| None),
        }
    }

    /// Writes an event once more, out of the record that was accepted; or says why it is too much for one part.
    pub(super) async fn event_again(
        &self,
        part: &mut JobPart,
        job: &KnownJob,
        (application, of): (&Application, &JobEvent),
        record: &Record,
    ) -> Result<Result<(), TooMuch>, NotNow> {
        let from = TopicPartition::new(of.origin.topic.as_str(), of.origin.partition);
        let event = sources::decode(record, &from).ok().filter(|event| is_of(event, application, of));
        let Some(event) = event else {
            // Another record stands there.
            part.skip(JobSkip::Expired);
            return Ok(Ok(()));
        };
        let (found, matched) = {
            let snapshot = self.catalog.read();
            let event_type = snapshot.event_type(application.application_id, &event.event_type);
            let deprecation = event_type.and_then(|event_type| event_type.deprecation());
            let found = candidates(&snapshot, &event, of, application.application_id);
            (found, (snapshot.applied(), deprecation))
        };
        let subscriptions = match found {
            Ok(named_or_unfiltered) => filtered(named_or_unfiltered, record, of).await?,
            Err(why) => {
                part.progress.counts.found += 1;
                part.skip(why);
                return Ok(Ok(()));
            }
        };
        if let Err(too_much) = fits_a_part(subscriptions.len(), record.size()) {
            return Ok(Err(too_much));
        }
        part.progress.counts.found += subscriptions.len() as u64;
        for subscription in subscriptions {
            let made = self.delivery_of(job, (&event, of), &subscription, matched);
            if self.fits(&made) {
                part.deliver(made, subscription.id());
            } else {
                part.skip(JobSkip::TooLarge);
            }
        }
        Ok(Ok(()))
    }

    fn delivery_of(
        &self,
        job: &KnownJob,
        (event, of): (&Event<'_>, &JobEvent),
        subscription: &Subscription,
        (control_offset, deprecation): (i64, Option<Deprecation>),
    ) -> OutRecord {
        let (application, id) = (job.definition.application_id, subscription.id());
        let generation = Generation(Some(job.definition.job_id.0));
        let max_age_ms = i64::try_from(subscription.max_age().as_millis()).unwrap_or(i64::MAX);
        let new = NewDelivery {
            id: delivery_id(application, &event.source, &event.id, id, generation),
            subscription: id,
            generation,
            made_by: Some(MadeBy::Replay),
            accepted_ms: of.accepted_ms,
            deadline_ms: clock::now_ms().saturating_add(max_age_ms),
            control_offset,
            ordering_key: None,
            deprecation,
        };
        OutRecord {
            topic: Arc::clone(&self.topics.deliveries),
            partition: None,
            key: Some(delivery::key(id)),
            value: Some(event.payload.clone()),
            headers: new.encode(&event.headers, application, &of.origin.to_string()),
        }
    }
}

/// Whether it is the event that was asked for. In a topic that was created anew another one stands at the same place.
fn is_of(event: &Event<'_>, application: &Application, of: &JobEvent) -> bool {
    application.is_called(&event.application)
        && event_uuid(application.application_id, &event.source, &event.id) == of.event
}

/// How many get an event, if it is sent again now.
///
/// # Errors
/// It cannot be found out now; why.
pub(crate) async fn count_receivers(
    catalog: &Catalog,
    record: &Record,
    (application, of): (&Application, &JobEvent),
) -> Result<Option<u64>, String> {
    let from = TopicPartition::new(of.origin.topic.as_str(), of.origin.partition);
    let Some(event) = sources::decode(record, &from).ok().filter(|event| is_of(event, application, of)) else {
        return Ok(None);
    };
    let found = candidates(&catalog.read(), &event, of, application.application_id);
    match found {
        Ok(found) => Ok(Some(filtered(found, record, of).await?.len() as u64)),
        Err(_skipped) => Ok(Some(0)),
    }
}

/// Who may get it: the one that is named, or those whose types and labels match now.
fn candidates(
    snapshot: &Snapshot,
    event: &Event<'_>,
    of: &JobEvent,
    application: ApplicationId,
) -> Result<Vec<Arc<Subscription>>, JobSkip> {
    let Some(named) = of.subscription_id else {
        let labels = labels(event);
        let mut found = Vec::new();
        snapshot.matches(application, &event.event_type, &labels, &mut found);
        return Ok(found);
    };
    match snapshot.subscription(named).filter(|found| found.application() == application) {
        Some(found) if found.is_enabled() => Ok(vec![Arc::clone(found)]),
        Some(_disabled) => Err(JobSkip::Disabled),
        None => Err(JobSkip::Deleted),
    }
}

/// Those whose filters let it through, compiled and asked as when it came: beside the runner's loop and the catalog's lock, for both
/// take as long as strangers have made them.
async fn filtered(
    found: Vec<Arc<Subscription>>,
    record: &Record,
    of: &JobEvent,
) -> Result<Vec<Arc<Subscription>>, NotNow> {
    if of.subscription_id.is_some() || found.iter().all(|subscription| subscription.filter().is_none()) {
        return Ok(found);
    }
    let (record, of) = (record.clone(), of.clone());
    let asked = tokio::task::spawn_blocking(move || matching(found, &record, &of));
    asked.await.map_err(|error| error.to_string())
}

fn matching(mut found: Vec<Arc<Subscription>>, record: &Record, of: &JobEvent) -> Vec<Arc<Subscription>> {
    let from = TopicPartition::new(of.origin.topic.as_str(), of.origin.partition);
    let Ok(event) = sources::decode(record, &from) else { return Vec::new() };
    let labels = labels(&event);
    let facts = Facts::new(filter::Event {
        event_type: &event.event_type,
        id: &event.id,
        labels: &labels,
        time: event.time.as_deref(),
        accepted_ms: of.accepted_ms,
        payload: &event.payload,
    });
    found.retain(|subscription| {
        // One that fails, or that a newer build wrote, is no match, as in the fan-out.
        subscription.filter().is_none_or(|filter| filter.is_ok_and(|filter| filter.matches(&facts).unwrap_or(false)))
    });
    found
}

fn labels(event: &Event<'_>) -> StringMap {
    event.labels.as_deref().and_then(|json| serde_json::from_slice(json).ok()).unwrap_or_default()
}

/// Whether so many deliveries of a record of this size are written in one part.
fn fits_a_part(deliveries: usize, bytes: usize) -> Result<(), TooMuch> {
    if deliveries > MOST_MATCHES {
        return Err(TooMuch(format!(
            "the event matches {deliveries} subscriptions now, at most {MOST_MATCHES} get one that is sent again: name them one by one"
        )));
    }
    let all = deliveries.saturating_mul(bytes);
    // One delivery always goes: whether it fits the topic is asked of it alone.
    if deliveries > 1 && all > MOST_BYTES {
        return Err(TooMuch(format!(
            "the event matches {deliveries} subscriptions now: {all} bytes at once, at most {MOST_BYTES} are written; name them one by one"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_again_at_once_is_no_more_than_the_fan_out_takes() {
        assert!(fits_a_part(MOST_MATCHES, 100).is_ok() && fits_a_part(0, 0).is_ok());
        assert!(fits_a_part(1, 2 * MOST_BYTES).is_ok(), "whether one fits is the topic's question");
        let Err(TooMuch(many)) = fits_a_part(MOST_MATCHES + 1, 1) else { panic!("that is too many") };
        let Err(TooMuch(large)) = fits_a_part(5_000, 1024 * 1024) else { panic!("that is too much") };
        assert!(many.contains("at most 10000") && large.contains("5242880000 bytes"), "{many} {large}");
    }
}
