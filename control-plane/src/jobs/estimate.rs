//! What a job would do, for `?dry_run=true`: looked through as the job would, and nothing is written.
//!
//! Up to [`EXACT`] of what it is about are looked at, beyond it as many as [`LONGEST`] allows, and the rest is taken to be spread over
//! its time as those are. So it is where less is found in [`ANY`]: then the log holds much that is looked through for it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use catalog::{Catalog, Subscription};
use chassis::clock;
use delivery_log::{DeliveryStore, EventQuery, Fact, FactKind, FactQuery, LoggedEvent, PageOf, StoreError};
use schemas::ids::ApplicationId;
use schemas::jobs::{JobDeadLetters, JobDefinition, JobKind, JobReplays, JobSubject, ReplayTo};
use uuid::Uuid;

use super::known::KnownJob;
use super::step::letters::{self, candidates, payload_bytes};
use super::step::replays::{self, SentAgain, found_again};
use crate::log::held::{HeldLetters, HeldRecords};
use crate::log::letters::{LetterState, is_healed, letter};

/// What is counted to the last one.
const EXACT: usize = 10_000;
/// How long it is counted where there is more.
const LONGEST: Duration = Duration::from_secs(3);
/// How long it is counted in any case. A request waits for twice that.
const ANY: Duration = Duration::from_secs(5);
/// What is looked at at once.
const PAGE: usize = 1_000;

/// What a job would do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Estimate {
    /// Events that it is about.
    pub(crate) events: u64,
    /// What it would write: deliveries, or decisions about dead letters.
    pub(crate) deliveries: u64,
    /// Bytes of their payloads, as far as the log knows them.
    pub(crate) bytes: u64,
    /// When the oldest of what it is about was accepted, or died, Unix ms.
    pub(crate) oldest_ms: Option<i64>,
    /// When the newest was, or did.
    pub(crate) newest_ms: Option<i64>,
    /// Those of which Kafka does not hold the payload any more, and those that were erased.
    pub(crate) expired: u64,
    /// Whether it was counted in part, or filters would have to be asked with payloads.
    pub(crate) is_estimate: bool,
}

/// What is looked at for an estimate.
pub(crate) struct Estimator<'e> {
    pub(crate) store: &'e dyn DeliveryStore,
    pub(crate) catalog: &'e Catalog,
    pub(crate) held: HeldRecords,
    /// The topic `deliveries`.
    pub(crate) deliveries: &'e str,
    pub(crate) letters: HeldLetters,
}

/// What of a job was looked at so far.
#[derive(Default)]
struct CountedForJob {
    estimate: Estimate,
    events: HashSet<Uuid>,
    looked_at: usize,
    /// When the last thing that was looked at happened, Unix ms.
    last_ms: Option<i64>,
    first_ms: Option<i64>,
}

// === impl Estimator ===

impl Estimator<'_> {
    /// What a job would do.
    ///
    /// # Errors
    /// The log does not answer; why.
    pub(crate) async fn estimate(&mut self, definition: JobDefinition) -> Result<Estimate, String> {
        let began = clock::instant();
        let (mut job, mut counted) = (KnownJob::asked(definition), CountedForJob::default());
        loop {
            let asked = Arc::clone(&job.definition);
            let next = match &asked.subject {
                JobSubject::DeadLetters(of) => self.letters(&job, of, &mut counted).await?,
                JobSubject::Events(of) => self.replays(&job, of, &mut counted).await?,
                JobSubject::Delivery(_)
                | JobSubject::Event(_)
                | JobSubject::Rejections(_)
                | JobSubject::Backfill(_) => None,
            };
            let Some(next) = next else { return Ok(counted.exact()) };
            let longest = if counted.looked_at >= EXACT { LONGEST } else { ANY };
            if clock::instant().duration_since(began) >= longest {
                // Where even that is not found at once, it is looked for up to now.
                let newest_ms = self.newest_ms(&job).await?.unwrap_or(job.definition.created_ms);
                return Ok(counted.spread(Some(newest_ms)));
            }
            // What is looked through and matches nothing is looked at, too.
            counted.pass(reached_ms(&job, &next));
            job = job.at(next);
        }
    }

    /// When the newest of what a job looks at happened, Unix ms; none where that is not found at once.
    async fn newest_ms(&self, job: &KnownJob) -> Result<Option<i64>, String> {
        let page = PageOf::newest(1);
        let facts = match &job.definition.subject {
            JobSubject::DeadLetters(of) => letters::facts(job, of),
            JobSubject::Events(of) if of.is_of_deliveries() => replays::facts(job, of),
            JobSubject::Events(of) => {
                let query = EventQuery { page, ..replays::events(job, of) };
                let found = self.store.events(query).await.map_err(|error| error.to_string())?;
                return Ok(found.rows.first().map(|event| event.accepted_ms));
            }
            JobSubject::Delivery(_) | JobSubject::Event(_) | JobSubject::Rejections(_) | JobSubject::Backfill(_) => {
                return Ok(None);
            }
        };
        let found = self.store.facts(FactQuery { page, ..facts }).await.map_err(|error| error.to_string())?;
        Ok(found.rows.first().map(|fact| fact.stored_ms))
    }

    async fn letters(
        &mut self,
        job: &KnownJob,
        of: &JobDeadLetters,
        counted: &mut CountedForJob,
    ) -> Result<Option<String>, String> {
        let application = job.definition.application_id;
        let found = candidates(self.store, job, of, PAGE).await?;
        let mut open = Vec::new();
        let erased = self.erased(found.all.iter().filter_map(|one| one.history.first()?.event).collect()).await?;
        for one in &found.all {
            let Some((dead, state)) = letter(&one.history) else { continue };
            counted.look(dead.stored_ms);
            if state != LetterState::Open {
                continue;
            }
            if job.definition.kind == JobKind::Redrive {
                if !self.is_sent(application, dead).await.map_err(|error| error.to_string())? {
                    continue;
                }
                if is_among(&erased, dead) || !self.holds(dead).await {
                    counted.estimate.expired += 1;
                    continue;
                }
            }
            open.push(dead);
        }
        let bytes = payload_bytes(self.store, application, &open).await?;
        for dead in open {
            let event = dead.event.unwrap_or_default();
            counted.add(event, (1, bytes.get(&event).copied().unwrap_or(0)), dead.at_ms);
        }
        Ok(found.next)
    }

    /// Whether a dead letter would be sent, if Kafka holds it.
    async fn is_sent(&self, application: ApplicationId, dead: &Fact) -> Result<bool, StoreError> {
        let Some(subscription) = dead.subscription else { return Ok(false) };
        let is_receiver = {
            let snapshot = self.catalog.read();
            let found = snapshot.subscription(subscription).filter(|found| found.application() == application);
            found.is_some_and(|found| found.is_enabled())
        };
        Ok(is_receiver && !is_healed(self.store, dead).await?)
    }

    async fn holds(&mut self, fact: &Fact) -> bool {
        let is_dead = fact.kind == FactKind::DeadLettered;
        if let Some(at) = fact.record
            && self.held.has(self.deliveries, at.partition, at.offset).await
        {
            return true;
        }
        is_dead && self.letters.has_letter(fact)
    }

    async fn replays(
        &mut self,
        job: &KnownJob,
        of: &JobReplays,
        counted: &mut CountedForJob,
    ) -> Result<Option<String>, String> {
        let application = job.definition.application_id;
        let found = found_again(self.store, job, of, PAGE).await?;
        let facts = found.all.iter().filter_map(|one| match &one.what {
            SentAgain::Delivery(fact) => Some(&**fact),
            SentAgain::Event(_) | SentAgain::Gone => None,
        });
        let bytes = payload_bytes(self.store, application, &facts.collect::<Vec<_>>()).await?;
        let erased = self.erased(found.all.iter().filter_map(|one| one.what.event()).collect()).await?;
        for one in &found.all {
            match &one.what {
                SentAgain::Gone => counted.estimate.expired += 1,
                SentAgain::Delivery(fact) => {
                    counted.look(fact.stored_ms);
                    if !self.is_sent(application, fact).await.map_err(|error| error.to_string())? {
                        continue;
                    }
                    if is_among(&erased, fact) || !self.holds(fact).await {
                        counted.estimate.expired += 1;
                        continue;
                    }
                    let event = fact.event.unwrap_or_default();
                    let at_ms = fact.accepted_ms.unwrap_or(fact.at_ms);
                    counted.add(event, (1, bytes.get(&event).copied().unwrap_or(0)), at_ms);
                }
                SentAgain::Event(event) => {
                    counted.look(event.accepted_ms);
                    if erased.contains(&event.uuid) {
                        counted.estimate.expired += 1;
                        continue;
                    }
                    self.event(application, of, (event, counted)).await;
                }
            }
        }
        Ok(found.next)
    }

    /// Those of these events that were erased.
    async fn erased(&self, events: Vec<Uuid>) -> Result<HashSet<Uuid>, String> {
        let erased = self.store.erased(events).await.map_err(|error| error.to_string())?;
        Ok(erased.into_iter().collect())
    }

    async fn event(
        &mut self,
        application: ApplicationId,
        of: &JobReplays,
        (event, counted): (&LoggedEvent, &mut CountedForJob),
    ) {
        let is_held = match &event.origin {
            Some(origin) => self.held.has(&origin.topic, origin.partition, origin.offset).await,
            None => false,
        };
        if !is_held {
            counted.estimate.expired += 1;
            return;
        }
        let receivers = receivers(self.catalog, application, of, event);
        // Whether a filter lets it through is known once its payload is read back.
        counted.estimate.is_estimate |= receivers.iter().any(|found| found.filter().is_some());
        let deliveries = receivers.len() as u64;
        counted.add(event.uuid, (deliveries, deliveries * event.payload_bytes), event.accepted_ms);
    }
}

fn is_among(events: &HashSet<Uuid>, fact: &Fact) -> bool {
    fact.event.is_some_and(|event| events.contains(&event))
}

/// When that happened which a job goes on behind, Unix ms; `None`: its place says no time.
fn reached_ms(job: &KnownJob, cursor: &str) -> Option<i64> {
    match &job.definition.subject {
        JobSubject::DeadLetters(_) => letters::reached_ms(job, cursor),
        JobSubject::Events(_) => replays::reached_ms(job, cursor),
        JobSubject::Delivery(_) | JobSubject::Event(_) | JobSubject::Rejections(_) | JobSubject::Backfill(_) => None,
    }
}

fn receivers(
    catalog: &Catalog,
    application: ApplicationId,
    of: &JobReplays,
    event: &LoggedEvent,
) -> Vec<Arc<Subscription>> {
    let snapshot = catalog.read();
    let mut found = Vec::new();
    match of.to {
        ReplayTo::Subscription(id) => {
            let named = snapshot.subscription(id).filter(|it| it.application() == application && it.is_enabled());
            found.extend(named.cloned());
        }
        ReplayTo::Matching | ReplayTo::Same => {
            let labels = event.labels.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
            snapshot.matches(application, &event.event_type, &labels, &mut found);
        }
    }
    found
}

// === impl CountedForJob ===

impl CountedForJob {
    /// Something that happened then was looked at.
    fn look(&mut self, ms: i64) {
        self.looked_at += 1;
        self.pass(Some(ms));
    }

    /// Everything up to this time was.
    fn pass(&mut self, ms: Option<i64>) {
        let Some(ms) = ms else { return };
        self.last_ms = Some(self.last_ms.map_or(ms, |last| last.max(ms)));
        self.first_ms = Some(self.first_ms.map_or(ms, |first| first.min(ms)));
    }

    /// So many deliveries, and their bytes, of an event would be written.
    fn add(&mut self, event: Uuid, (deliveries, bytes): (u64, u64), at_ms: i64) {
        self.events.insert(event);
        let estimate = &mut self.estimate;
        estimate.deliveries += deliveries;
        estimate.bytes += bytes;
        estimate.oldest_ms = Some(estimate.oldest_ms.map_or(at_ms, |oldest| oldest.min(at_ms)));
        estimate.newest_ms = Some(estimate.newest_ms.map_or(at_ms, |newest| newest.max(at_ms)));
    }

    fn exact(self) -> Estimate {
        Estimate { events: self.events.len() as u64, ..self.estimate }
    }

    /// The same over all of the job's time, of which a part was looked at.
    fn spread(self, until_ms: Option<i64>) -> Estimate {
        let (first, last) = (self.first_ms.unwrap_or(0), self.last_ms.unwrap_or(0));
        let seen = u64::try_from(last - first).unwrap_or(0).max(1);
        let until_ms = until_ms.unwrap_or(last);
        let whole = u64::try_from(until_ms.saturating_sub(first)).unwrap_or(0).max(seen);
        let all = |count: u64| {
            let spread = u128::from(count) * u128::from(whole) / u128::from(seen);
            u64::try_from(spread).unwrap_or(u64::MAX)
        };
        let counted = self.exact();
        Estimate {
            events: all(counted.events),
            deliveries: all(counted.deliveries),
            bytes: all(counted.bytes),
            expired: all(counted.expired),
            oldest_ms: counted.oldest_ms,
            // The newest of those that were looked at is none of all.
            newest_ms: counted.newest_ms.map(|newest| newest.max(until_ms)),
            is_estimate: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use delivery_log::{
        AcceptedCounts, BucketQuery, Coordinates, Coverage, Day, DaySummary, EndedOnDay, EndedQuery, EventName,
        Forgotten, LogChunk, LogPage, MinuteBucket, OpenDelivery, Projected, RowPosition, StoreAnswer,
    };
    use schemas::ids::{DeliveryId, SubscriptionId};
    use tokio::sync::watch;

    use super::*;
    use crate::jobs::known::tests::definition;
    use crate::log::DeliveryLog;

    #[test]
    fn what_was_not_looked_at_is_taken_to_be_as_dense_as_what_was() {
        let mut counted = CountedForJob::default();
        for second in 0..=10 {
            counted.look(second * 1_000);
            counted.add(Uuid::from_u128(u128::from(second.unsigned_abs()) / 2), (1, 7), second * 1_000);
        }
        let exact = CountedForJob { events: counted.events.clone(), ..counted }.exact();
        assert_eq!((exact.events, exact.deliveries, exact.bytes, exact.is_estimate), (6, 11, 77, false));
        assert_eq!((exact.oldest_ms, exact.newest_ms), (Some(0), Some(10_000)));
        let mut again =
            CountedForJob { estimate: exact, first_ms: Some(0), last_ms: Some(10_000), ..CountedForJob::default() };
        again.events.extend((0..6).map(Uuid::from_u128));
        let spread = again.spread(Some(40_000));
        assert_eq!((spread.events, spread.deliveries, spread.bytes, spread.is_estimate), (24, 44, 308, true));
        assert_eq!((spread.oldest_ms, spread.newest_ms), (Some(0), Some(40_000)));
    }

    #[test]
    fn what_was_looked_through_in_vain_counts_as_seen() {
        let mut counted = CountedForJob::default();
        counted.look(1_000);
        counted.add(Uuid::nil(), (3, 9), 1_000);
        counted.pass(Some(5_000));
        counted.pass(None);
        let spread = counted.spread(Some(9_000));
        assert_eq!((spread.deliveries, spread.bytes), (6, 18), "half of the time was looked through");
    }

    #[test]
    fn what_happened_at_one_moment_is_spread_over_no_time() {
        let mut counted = CountedForJob::default();
        counted.look(5);
        counted.add(Uuid::nil(), (3, 9), 5);
        let spread = counted.spread(None);
        assert_eq!((spread.deliveries, spread.bytes, spread.is_estimate), (3, 9, true));
    }

    /// A log in which nothing is found, however long it is looked through.
    #[derive(Debug)]
    struct EndlessLog;

    impl DeliveryStore for EndlessLog {
        fn facts(&self, query: FactQuery) -> StoreAnswer<'_, LogPage<Fact>> {
            Box::pin(async move {
                tokio::task::yield_now().await;
                Ok(LogPage { rows: Vec::new(), next: Some(behind(query.page.after)) })
            })
        }

        fn events(&self, query: EventQuery) -> StoreAnswer<'_, LogPage<LoggedEvent>> {
            Box::pin(async move {
                tokio::task::yield_now().await;
                Ok(LogPage { rows: Vec::new(), next: Some(behind(query.page.after)) })
            })
        }

        fn events_of(&self, _: ApplicationId, _: Vec<(Uuid, Day)>) -> StoreAnswer<'_, Vec<LoggedEvent>> {
            Box::pin(async { Ok(Vec::new()) })
        }

        fn histories(&self, _: ApplicationId, _: Vec<(DeliveryId, Day)>) -> StoreAnswer<'_, Vec<Fact>> {
            Box::pin(async { Ok(Vec::new()) })
        }

        fn ended(&self, _: EndedQuery) -> StoreAnswer<'_, Vec<EndedOnDay>> {
            unreachable!("nobody asks")
        }

        fn bind(&self, _: String) -> StoreAnswer<'_, bool> {
            unreachable!("nobody asks")
        }

        fn turn(&self) -> StoreAnswer<'_, ()> {
            unreachable!("nobody asks")
        }

        fn tell(&self, _: String) -> StoreAnswer<'_, ()> {
            unreachable!("nobody asks")
        }

        fn told(&self) -> StoreAnswer<'_, Option<String>> {
            unreachable!("nobody asks")
        }

        fn project(&self, _: Vec<LogChunk>) -> StoreAnswer<'_, Projected> {
            unreachable!("nobody asks")
        }

        fn coverage(&self) -> StoreAnswer<'_, Coverage> {
            unreachable!("nobody asks")
        }

        fn retain(&self, _: Day) -> StoreAnswer<'_, Vec<Day>> {
            unreachable!("nobody asks")
        }

        fn cut(&self, _: BTreeMap<i32, i64>) -> StoreAnswer<'_, Vec<Day>> {
            unreachable!("nobody asks")
        }

        fn given_up(&self) -> watch::Receiver<u64> {
            unreachable!("nobody asks")
        }

        fn edition(&self) -> StoreAnswer<'_, i64> {
            unreachable!("nobody asks")
        }

        fn give_up_all(&self) -> StoreAnswer<'_, Vec<Day>> {
            unreachable!("nobody asks")
        }

        fn erase(&self, _: Uuid) -> StoreAnswer<'_, ()> {
            unreachable!("nobody asks")
        }

        fn erased(&self, _: Vec<Uuid>) -> StoreAnswer<'_, Vec<Uuid>> {
            Box::pin(async { Ok(Vec::new()) })
        }

        fn forget(&self, _: Vec<(ApplicationId, i64)>) -> StoreAnswer<'_, Forgotten> {
            unreachable!("nobody asks")
        }

        fn days(&self) -> StoreAnswer<'_, Vec<DaySummary>> {
            unreachable!("nobody asks")
        }

        fn event(&self, _: ApplicationId, _: EventName) -> StoreAnswer<'_, Option<LoggedEvent>> {
            unreachable!("nobody asks")
        }

        fn history_of(&self, _: ApplicationId, _: [u8; 14]) -> StoreAnswer<'_, Vec<Fact>> {
            unreachable!("nobody asks")
        }

        fn target(&self, _: ApplicationId, _: (SubscriptionId, i64)) -> StoreAnswer<'_, Option<String>> {
            unreachable!("nobody asks")
        }

        fn open_deliveries(&self, _: Vec<DeliveryId>) -> StoreAnswer<'_, Vec<OpenDelivery>> {
            unreachable!("nobody asks")
        }

        fn open_letters(&self, _: ApplicationId, _: SubscriptionId, _: i64) -> StoreAnswer<'_, u64> {
            unreachable!("nobody asks")
        }

        fn undecided_letters(&self) -> StoreAnswer<'_, u64> {
            unreachable!("nobody asks")
        }

        fn buckets(&self, _: BucketQuery) -> StoreAnswer<'_, Vec<MinuteBucket>> {
            unreachable!("nobody asks")
        }

        fn accepted(&self, _: Vec<ApplicationId>, _: Day, _: Day) -> StoreAnswer<'_, AcceptedCounts> {
            unreachable!("nobody asks")
        }
    }

    /// A second behind a position.
    fn behind(after: Option<RowPosition>) -> RowPosition {
        let ms = after.map_or(0, |after| after.ms + 1_000);
        RowPosition { day: Day::of(ms), ms, coordinates: Coordinates { partition: 0, offset: ms } }
    }

    #[tokio::test]
    async fn what_matches_almost_nothing_is_estimated_in_time_too() {
        let vault = Arc::new(vault::Vault::new(&[vault::EncryptionKey::new("k1", [7; 32])], &[8; 32]).unwrap());
        let catalog = Catalog::of([], vault);
        let replays = JobReplays { outcomes: vec![schemas::jobs::ReplayOutcome::Failed], ..JobReplays::default() };
        let subjects = [
            JobSubject::DeadLetters(JobDeadLetters::default()),
            JobSubject::Events(JobReplays::default()),
            JobSubject::Events(replays),
        ];
        let estimates = subjects.map(|subject| {
            let held = DeliveryLog::none("it is a test").held();
            let letters = HeldLetters::default();
            let mut estimator =
                Estimator { store: &EndlessLog, catalog: &catalog, held, deliveries: "deliveries", letters };
            let definition = JobDefinition { subject, ..definition(1, 1) };
            async move { tokio::time::timeout(Duration::from_secs(60), estimator.estimate(definition)).await }
        });
        for estimate in futures_util::future::join_all(estimates).await {
            let estimate = estimate.expect("it ends").unwrap();
            assert_eq!((estimate.deliveries, estimate.is_estimate), (0, true));
        }
    }
}
