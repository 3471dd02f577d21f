//! Dead letters that are sent again, or never: so many at a time, in the order of the request or from the oldest on.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chassis::clock;
use delivery_log::{
    Day, DeliveryStore, Fact, FactKind, FactQuery, FilterHash, Kinds, ListOrder, LoggedEvent, PageOf, RowPosition,
    Subject, Times,
};
use schemas::delivery::{Again, Delivery, MadeBy};
use schemas::event_type::EventTypePattern;
use schemas::ids::{ApplicationId, DeliveryId};
use schemas::jobs::{JobDeadLetters, JobKind, JobSkip, JobSubject};
use uuid::Uuid;

use super::in_order::InOrder;
use super::{JobPart, NotNow, StepOutcome, Steps, generation};
use crate::jobs::known::KnownJob;
use crate::jobs::resend::{cursor_name, discarded, redriven};
use crate::log::letters::{LetterState, by_delivery, histories, is_healed, letter};
use crate::problem::Problem;

/// Dead letters that are decided at once.
pub(super) const MOST: usize = 1_000;
/// Dead letters that are looked up at once by their ids alone: a question of the log may take two seconds.
const FEW: usize = 100;
/// Bytes of one part.
pub(super) const BYTES: usize = 1024 * 1024;

/// A dead letter that a part looks at.
pub(in crate::jobs) struct Candidate {
    /// What its delivery's facts say: none, it is not in the log.
    pub(in crate::jobs) history: Vec<Fact>,
    /// Where the job goes on behind it.
    cursor: String,
}

/// What is looked at in one part, and whether there is more.
pub(in crate::jobs) struct Candidates {
    pub(in crate::jobs) all: Vec<Candidate>,
    /// Where the job goes on behind all of them.
    pub(in crate::jobs) next: Option<String>,
}

/// What becomes of a dead letter.
enum LetterDecision {
    Sent(Box<(Delivery, Again, Arc<catalog::Subscription>)>),
    Discarded(Box<(Fact, Option<LoggedEvent>)>),
    Skipped(JobSkip),
}

impl Steps {
    /// See the module.
    pub(super) async fn letters(&self, job: &KnownJob, of: &JobDeadLetters) -> Result<StepOutcome, NotNow> {
        self.current().await?;
        // Also in the middle of a job: this replica's log may be younger than the job, and a page of a log that is not whole ends early.
        let edition = self.log_is_current().await?;
        let store = self.log.store().map_err(Problem::into_detail)?;
        let is_sent = job.definition.kind == JobKind::Redrive;
        let rate = if is_sent { job.definition.rate_per_second } else { u32::MAX };
        let limit = usize::try_from(rate).unwrap_or(MOST).clamp(1, MOST);
        let mut part = if is_sent { self.bounded(store.as_ref(), job).await? } else { JobPart::of(job) };
        if let Err(why) = part.has_room(of.subscription_id) {
            self.log_is_still(edition).await?;
            return part.waits(why);
        }
        let found = candidates(store.as_ref(), job, of, limit).await?;
        let all = found.all;
        let before = part.progress.counts.written;
        let (mut looked_at, mut reading, mut full) = (0, InOrder::new(), None);
        'part: while part.bytes < BYTES {
            let ask = |one| self.decide(store.as_ref(), job, one);
            let Some(decided) = reading.next(&all[looked_at..], ask).await? else { break };
            for decided in decided {
                let mark = part.mark();
                part.progress.counts.found += 1;
                self.write(&mut part, job, decided)?;
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
            Some(next) => {
                let pause = if is_sent { Duration::from_secs_f64(seconds(written, rate)) } else { Duration::ZERO };
                part.followed(next, pause)
            }
        })
    }

    async fn decide(
        &self,
        store: &dyn DeliveryStore,
        job: &KnownJob,
        Candidate { history, .. }: &Candidate,
    ) -> Result<LetterDecision, NotNow> {
        let Some((dead, LetterState::Open)) = letter(history) else {
            return Ok(LetterDecision::Skipped(JobSkip::NotOpen));
        };
        let asked = &job.definition;
        if asked.kind == JobKind::Discard {
            let event = event_of(store, dead).await?;
            return Ok(LetterDecision::Discarded(Box::new((dead.clone(), event))));
        }
        let (Some(delivery), Some(subscription)) = (dead.delivery, dead.subscription) else {
            return Ok(LetterDecision::Skipped(JobSkip::NotOpen));
        };
        let (subscription, control_offset) = self.subscription(asked.application_id, subscription);
        let Some(subscription) = subscription else { return Ok(LetterDecision::Skipped(JobSkip::Deleted)) };
        if !subscription.is_enabled() {
            return Ok(LetterDecision::Skipped(JobSkip::Disabled));
        }
        if is_healed(store, dead).await.map_err(|error| error.to_string())? {
            return Ok(LetterDecision::Skipped(JobSkip::AlreadyDelivered));
        }
        if self.is_erased_of(dead).await? {
            return Ok(LetterDecision::Skipped(JobSkip::Erased));
        }
        let found = self.delivery_or_letter((asked.application_id, delivery), dead.record, history).await?;
        let Some(delivery) = found else {
            return Ok(LetterDecision::Skipped(JobSkip::Expired));
        };
        let redrives = Some(delivery.redrives().unwrap_or(0).saturating_add(1));
        let again = Again { redrives, ..generation(asked, MadeBy::Redrive, control_offset) };
        Ok(LetterDecision::Sent(Box::new((delivery, again, subscription))))
    }

    fn write(&self, part: &mut JobPart, job: &KnownJob, decided: LetterDecision) -> Result<(), NotNow> {
        let (asked, now_ms, attempts) = (&job.definition, clock::now_ms(), &self.topics.attempts);
        let unencoded = |error: serde_json::Error| error.to_string();
        match decided {
            LetterDecision::Skipped(why) => part.skip(why),
            LetterDecision::Discarded(of) => {
                let (dead, event) = *of;
                let why = match &asked.subject {
                    JobSubject::DeadLetters(of) => of.why.as_deref().unwrap_or_default(),
                    JobSubject::Delivery(_)
                    | JobSubject::Event(_)
                    | JobSubject::Events(_)
                    | JobSubject::Rejections(_)
                    | JobSubject::Backfill(_) => "",
                };
                let by = (asked.created_by.as_str(), why);
                part.write(discarded(attempts, (&dead, event.as_ref()), by, now_ms).map_err(unencoded)?);
                part.progress.counts.written += 1;
            }
            LetterDecision::Sent(of) => {
                let (dead, again, subscription) = *of;
                let Some(record) = self.again(&dead, &subscription, again) else {
                    part.skip(JobSkip::TooLarge);
                    return Ok(());
                };
                let redrives = again.redrives.unwrap_or(1);
                part.deliver(record, dead.subscription);
                part.write(redriven(attempts, &dead, asked, redrives, now_ms).map_err(unencoded)?);
            }
        }
        Ok(())
    }
}

/// What a job looks at behind where it is, and so much at most.
pub(in crate::jobs) async fn candidates(
    store: &dyn DeliveryStore,
    job: &KnownJob,
    of: &JobDeadLetters,
    limit: usize,
) -> Result<Candidates, NotNow> {
    let cursor = job.progress.as_ref().and_then(|progress| progress.cursor.as_deref());
    let application = job.definition.application_id;
    if let Some(ids) = &of.ids {
        let start = cursor.and_then(|cursor| cursor.parse().ok()).unwrap_or(0_usize);
        let wanted: Vec<DeliveryId> = ids.0.iter().skip(start).take(limit).map(|id| DeliveryId(*id)).collect();
        let mut facts = Vec::new();
        // Days are not known, so each few are looked for in all of them.
        for few in wanted.chunks(FEW) {
            let days = few.iter().map(|id| (*id, Day::of(0))).collect();
            facts.extend(store.histories(application, days).await.map_err(|error| error.to_string())?);
        }
        let mut facts = by_delivery(facts);
        let all = wanted.iter().enumerate().map(|(at, id)| {
            let history = facts.remove(id).unwrap_or_default();
            Candidate { history, cursor: (start + at + 1).to_string() }
        });
        let next = start + wanted.len();
        let all: Vec<Candidate> = all.collect();
        return Ok(Candidates { all, next: (next < ids.0.len()).then(|| next.to_string()) });
    }
    let filter = FilterHash::of(&cursor_name(job.definition.job_id));
    let after = cursor.map(|cursor| RowPosition::of_cursor(cursor, filter)).transpose();
    let page = PageOf { order: ListOrder::Ascending, after: after.map_err(|error| error.to_string())?, limit };
    let query = FactQuery { page, ..facts(job, of) };
    let found = store.facts(query).await.map_err(|error| error.to_string())?;
    let mut facts = histories(store, application, &found.rows).await.map_err(|error| error.to_string())?;
    let all = found.rows.into_iter().map(|dead| {
        let position = RowPosition { day: Day::of(dead.stored_ms), ms: dead.stored_ms, coordinates: dead.coordinates };
        let history = dead.delivery.and_then(|delivery| facts.remove(&delivery)).unwrap_or_default();
        Candidate { history, cursor: position.to_cursor(filter) }
    });
    Ok(Candidates { all: all.collect(), next: found.next.map(|next| next.to_cursor(filter)) })
}

/// When the dead letter died that a cursor of a filter's job is behind, Unix ms.
pub(in crate::jobs) fn reached_ms(job: &KnownJob, cursor: &str) -> Option<i64> {
    let filter = FilterHash::of(&cursor_name(job.definition.job_id));
    RowPosition::of_cursor(cursor, filter).ok().map(|position| position.ms)
}

/// The facts that tell of the dead letters that a filter names.
pub(in crate::jobs) fn facts(job: &KnownJob, of: &JobDeadLetters) -> FactQuery {
    FactQuery {
        subject: of.subscription_id.map_or(Subject::All, Subject::Subscription),
        kinds: Kinds::of(&[FactKind::DeadLettered]),
        types: of.event_types.iter().filter_map(|text| EventTypePattern::parse(text).ok()).collect(),
        reason: of.reason.clone(),
        times: Times { from_ms: of.from_ms, to_ms: of.to_ms },
        ..FactQuery::of(job.definition.application_id, 1)
    }
}

/// Bytes of the payloads of the events of these deliveries, as far as the log knows them.
pub(in crate::jobs) async fn payload_bytes(
    store: &dyn DeliveryStore,
    application: ApplicationId,
    of: &[&Fact],
) -> Result<HashMap<Uuid, u64>, NotNow> {
    let since = |fact: &&Fact| Some((fact.event?, Day::of(fact.accepted_ms.unwrap_or(0)).minus(1)));
    let mut events: Vec<(Uuid, Day)> = of.iter().filter_map(since).collect();
    events.sort_unstable();
    events.dedup_by_key(|(event, _)| *event);
    let found = store.events_of(application, events).await.map_err(|error| error.to_string())?;
    Ok(found.into_iter().map(|event| (event.uuid, event.payload_bytes)).collect())
}

/// The event of a dead letter, where it is in the log.
async fn event_of(store: &dyn DeliveryStore, dead: &Fact) -> Result<Option<LoggedEvent>, NotNow> {
    let (Some(application), Some(event)) = (dead.application, dead.event) else { return Ok(None) };
    let since = Day::of(dead.accepted_ms.unwrap_or(0)).minus(1);
    let found = store.events_of(application, vec![(event, since)]).await.map_err(|error| error.to_string())?;
    Ok(found.into_iter().next())
}

/// How long so many take at a rate.
pub(super) fn seconds(count: u64, per_second: u32) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a part has at most a thousand")]
    let count = count as f64;
    count / f64::from(per_second.max(1))
}
