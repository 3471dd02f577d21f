//! An event that is sent again, as it was accepted: to one subscription, or to those that match it now.

use std::sync::Arc;
use std::time::Duration;

use catalog::{Snapshot, Subscription};
use chassis::clock;
use filter::Facts;
use schemas::control::Application;
use schemas::delivery::{self, MadeBy, NewDelivery};
use schemas::event::StringMap;
use schemas::identity::{delivery_id, event_uuid};
use schemas::ids::{ApplicationId, Generation};
use schemas::jobs::{JobEvent, JobSkip, JobState};
use schemas::record::{OutRecord, TopicPartition};
use sources::Event;

use super::{JobPart, NotNow, StepOutcome, Steps};
use crate::jobs::known::KnownJob;

impl Steps {
    /// See the module. All of it is one part: an event has no more matches than the fan-out takes.
    pub(super) async fn replay(&self, job: &KnownJob, of: &JobEvent) -> Result<StepOutcome, NotNow> {
        self.current().await?;
        let application = self.catalog.read().application_by_id(job.definition.application_id).cloned();
        let mut part = JobPart::of(job);
        let Some(application) = application else { return Ok(failed(part, "its application is gone")) };
        let Some(record) = self.record(&of.origin).await? else {
            part.skip(JobSkip::Expired);
            return Ok(part.ended());
        };
        let from = TopicPartition::new(of.origin.topic.as_str(), of.origin.partition);
        let event = sources::decode(&record, &from).ok().filter(|event| is_of(event, &application, of));
        let Some(event) = event else {
            // Another record stands there.
            part.skip(JobSkip::Expired);
            return Ok(part.ended());
        };
        let (subscriptions, control_offset) = {
            let snapshot = self.catalog.read();
            (receivers(&snapshot, &event, of, application.application_id, &mut part), snapshot.applied())
        };
        part.progress.counts.found += subscriptions.len() as u64;
        for subscription in subscriptions {
            let made = self.delivery_of(job, (&event, of), &subscription, control_offset);
            if self.fits(&made) {
                part.progress.counts.written += 1;
                part.write(made);
            } else {
                part.skip(JobSkip::TooLarge);
            }
        }
        Ok(part.ended())
    }

    fn delivery_of(
        &self,
        job: &KnownJob,
        (event, of): (&Event<'_>, &JobEvent),
        subscription: &Subscription,
        control_offset: i64,
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

/// A job that cannot be done.
fn failed(part: JobPart, why: &str) -> StepOutcome {
    let progress = part.progress.ended(JobState::Failed, clock::now_ms());
    let progress = schemas::jobs::JobProgress { detail: Some(why.to_owned()), ..progress };
    StepOutcome::Made { outputs: Vec::new(), progress, pause: Duration::ZERO }
}

/// Whether it is the event that was asked for. In a topic that was created anew another one stands at the same place.
fn is_of(event: &Event<'_>, application: &Application, of: &JobEvent) -> bool {
    application.is_called(&event.application)
        && event_uuid(application.application_id, &event.source, &event.id) == of.event
}

/// Who gets it.
fn receivers(
    snapshot: &Snapshot,
    event: &Event<'_>,
    of: &JobEvent,
    application: ApplicationId,
    part: &mut JobPart,
) -> Vec<Arc<Subscription>> {
    let Some(named) = of.subscription_id else { return matching(snapshot, event, of.accepted_ms, application) };
    match snapshot.subscription(named).filter(|found| found.application() == application) {
        Some(found) if found.is_enabled() => vec![Arc::clone(found)],
        Some(_disabled) => {
            part.skip(JobSkip::Disabled);
            Vec::new()
        }
        None => {
            part.skip(JobSkip::Deleted);
            Vec::new()
        }
    }
}

/// Those that match it now: by the same index and filters as when it came.
fn matching(
    snapshot: &Snapshot,
    event: &Event<'_>,
    accepted_ms: i64,
    application: ApplicationId,
) -> Vec<Arc<Subscription>> {
    let labels: StringMap =
        event.labels.as_deref().and_then(|json| serde_json::from_slice(json).ok()).unwrap_or_default();
    let mut found = Vec::new();
    snapshot.matches(application, &event.event_type, &labels, &mut found);
    let facts = Facts::new(filter::Event {
        event_type: &event.event_type,
        id: &event.id,
        labels: &labels,
        time: event.time.as_deref(),
        accepted_ms,
        payload: &event.payload,
    });
    found.retain(|subscription| {
        // One that fails, or that a newer build wrote, is no match, as in the fan-out.
        subscription.filter().is_none_or(|filter| filter.is_ok_and(|filter| filter.matches(&facts).unwrap_or(false)))
    });
    found
}
