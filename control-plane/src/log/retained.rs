//! The log as whoever asks may see it: what an application does not keep any more is in no answer, whether or not it was removed.
//!
//! Facts are hidden by when they were stored, events by when they were accepted, counts by their minute, and events of a day once all
//! of it is.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use catalog::Catalog;
use chassis::clock;
use delivery_log::{
    AcceptedCounts, BucketQuery, Coverage, Day, DaySummary, DeliveryStore, EndedOnDay, EndedQuery, EventName,
    EventQuery, Fact, FactQuery, Forgotten, LogChunk, LogPage, LoggedEvent, MinuteBucket, OpenDelivery, Projected,
    StoreAnswer, Times,
};
use schemas::ids::{ApplicationId, DeliveryId, SubscriptionId};
use tokio::sync::watch;
use uuid::Uuid;

/// Milliseconds of a day.
const DAY_MS: i64 = 86_400_000;

/// See the module.
pub(super) struct RetainedStore {
    store: Arc<dyn DeliveryStore>,
    catalog: Catalog,
}

/// From when on an application's log is kept, Unix ms; `None`: for as long as the log itself.
pub(super) fn kept_from(catalog: &Catalog, application: ApplicationId, now_ms: i64) -> Option<i64> {
    let days = catalog.read().application_by_id(application)?.log_retention_days?;
    Some(now_ms - i64::from(days) * DAY_MS)
}

/// Applications that keep their log for a shorter time than the log itself, and from when on, Unix ms.
pub(super) fn all_kept_from(catalog: &Catalog, now_ms: i64) -> Vec<(ApplicationId, i64)> {
    let snapshot = catalog.read();
    let short = snapshot.applications_after(None).filter_map(|it| Some((it.application_id, it.log_retention_days?)));
    short.map(|(application, days)| (application, now_ms - i64::from(days) * DAY_MS)).collect()
}

// === impl RetainedStore ===

impl RetainedStore {
    pub(super) fn new(store: Arc<dyn DeliveryStore>, catalog: Catalog) -> Self {
        Self { store, catalog }
    }

    fn kept_from_ms(&self, application: ApplicationId) -> i64 {
        kept_from(&self.catalog, application, clock::now_ms()).unwrap_or(i64::MIN)
    }

    fn times(&self, application: ApplicationId, times: Times) -> Times {
        let kept = kept_from(&self.catalog, application, clock::now_ms());
        Times { from_ms: times.from_ms.max(kept), ..times }
    }
}

impl fmt::Debug for RetainedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetainedStore").field("store", &self.store).finish_non_exhaustive()
    }
}

impl DeliveryStore for RetainedStore {
    fn bind(&self, topic: String) -> StoreAnswer<'_, bool> {
        self.store.bind(topic)
    }

    fn turn(&self) -> StoreAnswer<'_, ()> {
        self.store.turn()
    }

    fn tell(&self, progress: String) -> StoreAnswer<'_, ()> {
        self.store.tell(progress)
    }

    fn told(&self) -> StoreAnswer<'_, Option<String>> {
        self.store.told()
    }

    fn project(&self, chunks: Vec<LogChunk>) -> StoreAnswer<'_, Projected> {
        self.store.project(chunks)
    }

    fn coverage(&self) -> StoreAnswer<'_, Coverage> {
        self.store.coverage()
    }

    fn retain(&self, oldest: Day) -> StoreAnswer<'_, Vec<Day>> {
        self.store.retain(oldest)
    }

    fn cut(&self, ends: BTreeMap<i32, i64>) -> StoreAnswer<'_, Vec<Day>> {
        self.store.cut(ends)
    }

    fn given_up(&self) -> watch::Receiver<u64> {
        self.store.given_up()
    }

    fn edition(&self) -> StoreAnswer<'_, i64> {
        self.store.edition()
    }

    fn give_up_all(&self) -> StoreAnswer<'_, Vec<Day>> {
        self.store.give_up_all()
    }

    fn erase(&self, event: Uuid) -> StoreAnswer<'_, ()> {
        self.store.erase(event)
    }

    fn erased(&self, events: Vec<Uuid>) -> StoreAnswer<'_, Vec<Uuid>> {
        self.store.erased(events)
    }

    fn forget(&self, before: Vec<(ApplicationId, i64)>) -> StoreAnswer<'_, Forgotten> {
        self.store.forget(before)
    }

    fn days(&self) -> StoreAnswer<'_, Vec<DaySummary>> {
        self.store.days()
    }

    fn facts(&self, query: FactQuery) -> StoreAnswer<'_, LogPage<Fact>> {
        let times = self.times(query.application, query.times);
        self.store.facts(FactQuery { times, ..query })
    }

    fn events(&self, query: EventQuery) -> StoreAnswer<'_, LogPage<LoggedEvent>> {
        let times = self.times(query.application, query.times);
        self.store.events(EventQuery { times, ..query })
    }

    fn event(&self, application: ApplicationId, name: EventName) -> StoreAnswer<'_, Option<LoggedEvent>> {
        let from_ms = self.kept_from_ms(application);
        Box::pin(async move {
            let found = self.store.event(application, name).await?;
            Ok(found.filter(|event| event.accepted_ms >= from_ms))
        })
    }

    fn events_of(&self, application: ApplicationId, events: Vec<(Uuid, Day)>) -> StoreAnswer<'_, Vec<LoggedEvent>> {
        let from_ms = self.kept_from_ms(application);
        Box::pin(async move {
            let mut found = self.store.events_of(application, events).await?;
            found.retain(|event| event.accepted_ms >= from_ms);
            Ok(found)
        })
    }

    fn histories(&self, application: ApplicationId, deliveries: Vec<(DeliveryId, Day)>) -> StoreAnswer<'_, Vec<Fact>> {
        let from_ms = self.kept_from_ms(application);
        Box::pin(async move {
            let mut found = self.store.histories(application, deliveries).await?;
            found.retain(|fact| fact.stored_ms >= from_ms);
            Ok(found)
        })
    }

    fn history_of(&self, application: ApplicationId, prefix: [u8; 14]) -> StoreAnswer<'_, Vec<Fact>> {
        let from_ms = self.kept_from_ms(application);
        Box::pin(async move {
            let mut found = self.store.history_of(application, prefix).await?;
            found.retain(|fact| fact.stored_ms >= from_ms);
            Ok(found)
        })
    }

    fn target(&self, application: ApplicationId, of: (SubscriptionId, i64)) -> StoreAnswer<'_, Option<String>> {
        self.store.target(application, of)
    }

    fn open_deliveries(&self, deliveries: Vec<DeliveryId>) -> StoreAnswer<'_, Vec<OpenDelivery>> {
        Box::pin(async move {
            let mut found = self.store.open_deliveries(deliveries).await?;
            found.retain(|open| {
                open.application.is_none_or(|application| open.since_ms >= self.kept_from_ms(application))
            });
            Ok(found)
        })
    }

    fn open_letters(
        &self,
        application: ApplicationId,
        subscription: SubscriptionId,
        since_ms: i64,
    ) -> StoreAnswer<'_, u64> {
        self.store.open_letters(application, subscription, since_ms.max(self.kept_from_ms(application)))
    }

    // Of all applications: what one of them hides already is gone from it within a day.
    fn undecided_letters(&self) -> StoreAnswer<'_, u64> {
        self.store.undecided_letters()
    }

    fn buckets(&self, query: BucketQuery) -> StoreAnswer<'_, Vec<MinuteBucket>> {
        let times = self.times(query.application, query.times);
        self.store.buckets(BucketQuery { times, ..query })
    }

    // What a job may still have under way is none of the application's log: it goes with its day.
    fn ended(&self, query: EndedQuery) -> StoreAnswer<'_, Vec<EndedOnDay>> {
        self.store.ended(query)
    }

    fn accepted(&self, applications: Vec<ApplicationId>, from: Day, to: Day) -> StoreAnswer<'_, AcceptedCounts> {
        Box::pin(async move {
            let mut counts = self.store.accepted(applications, from, to).await?;
            counts.retain(|(day, application), _| day.next().start_ms() > self.kept_from_ms(*application));
            Ok(counts)
        })
    }
}

#[cfg(test)]
mod tests;
