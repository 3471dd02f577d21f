//! Events that are sent again by what they have in common: found in the delivery log, from the oldest on, and read back from Kafka.

mod first;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use catalog::Subscription;
use delivery_log::{
    Day, DeliveryStore, EventQuery, Fact, FactKind, FactQuery, FilterHash, Kinds, ListOrder, LoggedEvent, PageOf,
    RowPosition, Subject, Times,
};
use schemas::control::Application;
use schemas::delivery::{Delivery, MadeBy};
use schemas::event_type::EventTypePattern;
use schemas::ids::SubscriptionId;
use schemas::jobs::{JobEvent, JobReplays, JobSkip, ReplayOutcome, ReplayTo};
use schemas::record::Record;
use uuid::Uuid;

use self::first::is_first;
use super::in_order::InOrder;
use super::letters::{BYTES, MOST, seconds};
use super::{JobPart, NotNow, StepOutcome, Steps, generation};
use crate::jobs::known::KnownJob;
use crate::log::letters::is_healed;
use crate::problem::Problem;

/// Before the cursor of the part that goes through deliveries, and of the one that goes through events.
const DELIVERIES: &str = "deliveries ";
const EVENTS: &str = "events ";

/// What is found to be sent again.
pub(in crate::jobs) struct FoundAgain {
    pub(in crate::jobs) what: SentAgain,
    /// Where the job goes on behind it.
    pub(in crate::jobs) cursor: String,
}

/// What is sent again.
pub(in crate::jobs) enum SentAgain {
    /// To the subscription of this delivery.
    Delivery(Box<Fact>),
    /// An event, to whom the job says.
    Event(Box<LoggedEvent>),
    /// It is not in the log any more.
    Gone,
}

// === impl SentAgain ===

impl SentAgain {
    /// The event that is sent, or of the delivery that is.
    pub(in crate::jobs) fn event(&self) -> Option<Uuid> {
        match self {
            Self::Delivery(fact) => fact.event,
            Self::Event(event) => Some(event.uuid),
            Self::Gone => None,
        }
    }
}

/// What is found at one look, and where the next one begins; none: there is nothing more.
pub(in crate::jobs) struct FoundToSend {
    pub(in crate::jobs) all: Vec<FoundAgain>,
    pub(in crate::jobs) next: Option<String>,
}

/// What was read back.
enum ReadForJob {
    Delivery(Option<Box<Delivery>>),
    Event(Option<Record>),
    Healed,
    Erased,
}

impl Steps {
    /// See the module.
    pub(super) async fn replays(&self, job: &KnownJob, of: &JobReplays) -> Result<StepOutcome, NotNow> {
        self.current().await?;
        let edition = self.log_is_current().await?;
        let store = self.log.store().map_err(Problem::into_detail)?;
        let application = self.catalog.read().application_by_id(job.definition.application_id).cloned();
        let mut part = self.bounded(store.as_ref(), job).await?;
        let Some(application) = application else { return Ok(part.failed("its application is gone")) };
        if let Err(why) = part.has_room(goal(of)) {
            self.log_is_still(edition).await?;
            return part.waits(why);
        }
        let rate = job.definition.rate_per_second;
        let limit = usize::try_from(rate).unwrap_or(MOST).clamp(1, MOST);
        let found = found_again(store.as_ref(), job, of, limit).await?;
        let (before, all) = (part.progress.counts.written, found.all);
        let (mut looked_at, mut reading, mut full) = (0, InOrder::new(), None);
        'part: while part.bytes < BYTES {
            let ask = |one| self.read_again(store.as_ref(), (job, &application), (of, one));
            let Some(read) = reading.next(&all[looked_at..], ask).await? else { break };
            for read in read {
                if part.bytes >= BYTES {
                    // What was read in vain is read again by the next part.
                    break;
                }
                let mark = part.mark();
                self.write_again(&mut part, job, (&application, of), (&all[looked_at].what, read)).await?;
                if let Err(why) = part.admit(mark) {
                    full = Some(why);
                    break 'part;
                }
                looked_at += 1;
            }
        }
        self.log_is_still(edition).await?;
        if let Some(why) = full.filter(|_| looked_at == 0) {
            return part.waits(why);
        }
        let written = part.progress.counts.written - before;
        let next = if looked_at < all.len() { Some(all[looked_at - 1].cursor.clone()) } else { found.next };
        Ok(match next {
            None => part.ended(),
            Some(next) => part.followed(next, Duration::from_secs_f64(seconds(written, rate))),
        })
    }

    async fn read_again(
        &self,
        store: &dyn DeliveryStore,
        (job, application): (&KnownJob, &Application),
        (of, one): (&JobReplays, &FoundAgain),
    ) -> Result<ReadForJob, NotNow> {
        match &one.what {
            SentAgain::Gone => Ok(ReadForJob::Event(None)),
            SentAgain::Event(event) if self.is_erased(event.uuid, event.accepted_ms).await? => Ok(ReadForJob::Erased),
            SentAgain::Event(event) => Ok(ReadForJob::Event(self.event(application, event).await?)),
            SentAgain::Delivery(fact) if self.is_erased_of(fact).await? => Ok(ReadForJob::Erased),
            SentAgain::Delivery(fact) => {
                let is_only_failed = is_failure(fact.kind) && !of.outcomes.contains(&ReplayOutcome::Delivered);
                if is_only_failed && is_healed(store, fact).await.map_err(|error| error.to_string())? {
                    return Ok(ReadForJob::Healed);
                }
                let Some(delivery) = fact.delivery else { return Ok(ReadForJob::Delivery(None)) };
                let (whose, of) = ((job.definition.application_id, delivery), std::slice::from_ref(&**fact));
                let found = self.delivery_or_letter(whose, fact.record, of).await?;
                Ok(ReadForJob::Delivery(found.map(Box::new)))
            }
        }
    }

    async fn write_again(
        &self,
        part: &mut JobPart,
        job: &KnownJob,
        (application, of): (&Application, &JobReplays),
        (what, read): (&SentAgain, ReadForJob),
    ) -> Result<(), NotNow> {
        match (what, read) {
            (SentAgain::Event(event), ReadForJob::Event(Some(record))) => {
                let Some(origin) = event.origin.clone() else { return Ok(()) };
                let subscription_id = match of.to {
                    ReplayTo::Subscription(id) => Some(id),
                    ReplayTo::Matching | ReplayTo::Same => None,
                };
                let one = JobEvent { event: event.uuid, origin, accepted_ms: event.accepted_ms, subscription_id };
                if self.event_again(part, job, (application, &one), &record).await?.is_err() {
                    part.progress.counts.found += 1;
                    part.skip(JobSkip::TooLarge);
                }
            }
            (SentAgain::Delivery(_), ReadForJob::Delivery(Some(delivery))) => {
                part.progress.counts.found += 1;
                self.delivery_again(part, job, &delivery);
            }
            (_, ReadForJob::Healed) => {
                part.progress.counts.found += 1;
                part.skip(JobSkip::AlreadyDelivered);
            }
            (_, ReadForJob::Erased) => {
                part.progress.counts.found += 1;
                part.skip(JobSkip::Erased);
            }
            (_, ReadForJob::Event(_) | ReadForJob::Delivery(_)) => {
                part.progress.counts.found += 1;
                part.skip(JobSkip::Expired);
            }
        }
        Ok(())
    }

    fn delivery_again(&self, part: &mut JobPart, job: &KnownJob, delivery: &Delivery) {
        let (subscription, control_offset) = self.subscription(job.definition.application_id, delivery.subscription);
        let subscription: Arc<Subscription> = match subscription {
            Some(found) if found.is_enabled() => found,
            Some(_disabled) => return part.skip(JobSkip::Disabled),
            None => return part.skip(JobSkip::Deleted),
        };
        let again = generation(&job.definition, MadeBy::Replay, control_offset);
        match self.again(delivery, &subscription, again) {
            Some(record) => part.deliver(record, delivery.subscription),
            None => part.skip(JobSkip::TooLarge),
        }
    }
}

/// Whom all is for that a job sends, where that is one.
fn goal(of: &JobReplays) -> Option<SubscriptionId> {
    match of.to {
        ReplayTo::Subscription(id) => Some(id),
        ReplayTo::Same => of.subscription_id,
        ReplayTo::Matching => None,
    }
}

/// What a job finds behind where it is, and so much at most.
pub(in crate::jobs) async fn found_again(
    store: &dyn DeliveryStore,
    job: &KnownJob,
    of: &JobReplays,
    limit: usize,
) -> Result<FoundToSend, NotNow> {
    let cursor = job.progress.as_ref().and_then(|progress| progress.cursor.as_deref()).unwrap_or_default();
    if let Some(ids) = &of.ids {
        return named(store, job, &ids.0, (cursor, limit)).await;
    }
    if of.is_of_deliveries() && !cursor.starts_with(EVENTS) {
        let after = cursor.strip_prefix(DELIVERIES).unwrap_or_default();
        let mut found = of_deliveries(store, job, of, (after, limit)).await?;
        if found.next.is_none() && of.is_of_events() {
            found.next = Some(EVENTS.to_owned());
        }
        return Ok(found);
    }
    let after = cursor.strip_prefix(EVENTS).unwrap_or_default();
    of_events(store, job, of, (after, limit)).await
}

async fn named(
    store: &dyn DeliveryStore,
    job: &KnownJob,
    ids: &[Uuid],
    (cursor, limit): (&str, usize),
) -> Result<FoundToSend, NotNow> {
    let start = cursor.parse().unwrap_or(0_usize);
    let wanted: Vec<Uuid> = ids.iter().skip(start).take(limit).copied().collect();
    let asked = wanted.iter().map(|id| (*id, Day::of(0))).collect();
    let events = store.events_of(job.definition.application_id, asked).await.map_err(|error| error.to_string())?;
    let found = wanted.iter().zip(start + 1..).map(|(id, next)| {
        let event = events.iter().find(|event| event.uuid == *id);
        let what = event.map_or(SentAgain::Gone, |event| SentAgain::Event(Box::new(event.clone())));
        FoundAgain { what, cursor: next.to_string() }
    });
    let next = start + wanted.len();
    Ok(FoundToSend { all: found.collect(), next: (next < ids.len()).then(|| next.to_string()) })
}

/// Deliveries that the fan-out made and that came out so: a later generation of one is not another one.
async fn of_deliveries(
    store: &dyn DeliveryStore,
    job: &KnownJob,
    of: &JobReplays,
    (after, limit): (&str, usize),
) -> Result<FoundToSend, NotNow> {
    let (application, filter) = (job.definition.application_id, hash(job));
    let query = facts(job, of);
    let page = PageOf { order: ListOrder::Ascending, after: position(after, filter)?, limit };
    let found = store.facts(FactQuery { page, ..query.clone() }).await.map_err(|error| error.to_string())?;
    let mut events: Vec<(Uuid, Day)> = found
        .rows
        .iter()
        .filter_map(|fact| Some((fact.event?, Day::of(fact.accepted_ms.unwrap_or(0)).minus(1))))
        .collect();
    events.sort_unstable();
    events.dedup_by_key(|(event, _)| *event);
    let needs_events = of.to != ReplayTo::Same || !of.labels.is_empty();
    let events = if needs_events {
        store.events_of(application, events).await.map_err(|error| error.to_string())?
    } else {
        Vec::new()
    };
    let event_of = |fact: &Fact| events.iter().find(|event| Some(event.uuid) == fact.event);
    let labels = EventQuery { labels: pairs(of), ..EventQuery::of(application, 1) };
    let (mut all, mut firsts) = (Vec::new(), HashMap::new());
    for fact in found.rows {
        let position = RowPosition { day: Day::of(fact.stored_ms), ms: fact.stored_ms, coordinates: fact.coordinates };
        let is_accepted = fact.accepted_ms.is_none_or(|ms| Times { from_ms: of.from_ms, to_ms: of.to_ms }.has(ms));
        let is_labelled = of.labels.is_empty() || event_of(&fact).is_some_and(|event| labels.matches(event));
        if fact.generation.is_some() || !is_accepted || !is_labelled || !is_asked(store, of, &fact).await? {
            continue;
        }
        let what = if of.to == ReplayTo::Same {
            SentAgain::Delivery(Box::new(fact))
        } else if is_first(store, &query, &fact, &mut firsts).await? {
            event_of(&fact).map_or(SentAgain::Gone, |event| SentAgain::Event(Box::new(event.clone())))
        } else {
            continue;
        };
        all.push(FoundAgain { what, cursor: format!("{DELIVERIES}{}", position.to_cursor(filter)) });
    }
    let next = found.next.map(|next| format!("{DELIVERIES}{}", next.to_cursor(filter)));
    Ok(FoundToSend { all, next })
}

async fn of_events(
    store: &dyn DeliveryStore,
    job: &KnownJob,
    of: &JobReplays,
    (after, limit): (&str, usize),
) -> Result<FoundToSend, NotNow> {
    let filter = hash(job);
    let page = PageOf { order: ListOrder::Ascending, after: position(after, filter)?, limit };
    let query = EventQuery { page, ..events(job, of) };
    let found = store.events(query).await.map_err(|error| error.to_string())?;
    let is_asked = |event: &LoggedEvent| of.outcomes.is_empty() || event.matched == 0;
    let all = found.rows.into_iter().filter(is_asked).map(|event| {
        let at = RowPosition { day: Day::of(event.stored_ms), ms: event.accepted_ms, coordinates: event.coordinates };
        FoundAgain { cursor: format!("{EVENTS}{}", at.to_cursor(filter)), what: SentAgain::Event(Box::new(event)) }
    });
    let next = found.next.map(|next| format!("{EVENTS}{}", next.to_cursor(filter)));
    Ok(FoundToSend { all: all.collect(), next })
}

/// When that happened which a cursor of a job is behind, Unix ms; `None`: it names no place of the log.
pub(in crate::jobs) fn reached_ms(job: &KnownJob, cursor: &str) -> Option<i64> {
    let after = cursor.strip_prefix(DELIVERIES).or_else(|| cursor.strip_prefix(EVENTS))?;
    position(after, hash(job)).ok().flatten().map(|position| position.ms)
}

/// The events that are asked for. What comes later than the request is not this job's.
pub(in crate::jobs) fn events(job: &KnownJob, of: &JobReplays) -> EventQuery {
    let to_ms = of.to_ms.unwrap_or(i64::MAX).min(job.definition.created_ms);
    EventQuery {
        types: patterns(of),
        labels: pairs(of),
        times: Times { from_ms: of.from_ms, to_ms: Some(to_ms) },
        ..EventQuery::of(job.definition.application_id, 1)
    }
}

/// The facts that tell of the deliveries that are asked for, up to the time of the request.
pub(in crate::jobs) fn facts(job: &KnownJob, of: &JobReplays) -> FactQuery {
    let mut kinds = Vec::new();
    for outcome in &of.outcomes {
        match outcome {
            ReplayOutcome::Delivered => kinds.push(FactKind::Delivered),
            ReplayOutcome::Failed => kinds.extend([FactKind::DeadLettered, FactKind::Cancelled]),
            ReplayOutcome::Waiting => kinds.push(FactKind::Attempted),
            ReplayOutcome::Unmatched => {}
        }
    }
    FactQuery {
        subject: of.subscription_id.map_or(Subject::All, Subject::Subscription),
        kinds: Kinds::of(&kinds),
        types: patterns(of),
        status: of.status.map(|(from, to)| from..=to),
        times: Times { from_ms: of.from_ms, to_ms: Some(job.definition.created_ms) },
        ..FactQuery::of(job.definition.application_id, 1)
    }
}

fn is_failure(kind: FactKind) -> bool {
    matches!(kind, FactKind::DeadLettered | FactKind::Cancelled)
}

/// A delivery that waits was tried: its first attempt tells of it, and no other. It is sent to its own subscription alone, so that
/// whether another delivery of its event still waits decides nothing.
async fn is_asked(store: &dyn DeliveryStore, of: &JobReplays, fact: &Fact) -> Result<bool, NotNow> {
    if fact.kind != FactKind::Attempted {
        return Ok(true);
    }
    debug_assert!(of.outcomes.contains(&ReplayOutcome::Waiting), "else no attempt is asked for");
    let Some(delivery) = fact.delivery.filter(|_| fact.attempt == Some(1)) else { return Ok(false) };
    let open = store.open_deliveries(vec![delivery]).await.map_err(|error| error.to_string())?;
    Ok(!open.is_empty())
}

fn patterns(of: &JobReplays) -> Vec<EventTypePattern> {
    of.event_types.iter().filter_map(|text| EventTypePattern::parse(text).ok()).collect()
}

fn pairs(of: &JobReplays) -> Vec<(String, String)> {
    of.labels.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn hash(job: &KnownJob) -> FilterHash {
    FilterHash::of(&format!("events of job {}", job.definition.job_id))
}

fn position(after: &str, filter: FilterHash) -> Result<Option<RowPosition>, NotNow> {
    if after.is_empty() {
        return Ok(None);
    }
    RowPosition::of_cursor(after, filter).map(Some).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
