//! Attempts made of facts: one for each that was made, and one for each that waits, which stands directly above the failed one that
//! it follows.

use std::collections::HashMap;

use delivery_log::{
    Day, DeliveryStore, Fact, FactKind, FactQuery, Kinds, LogPage, LoggedEvent, OpenDelivery, StoreError, attempt_id,
    delivery_prefix,
};
use schemas::ids::{ApplicationId, DeliveryId};
use uuid::Uuid;

/// An attempt with what is known of its delivery.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LoggedAttempt {
    /// What was said of it, or of the one before it, where it waits.
    pub(crate) fact: Fact,
    /// Its delivery.
    pub(crate) delivery: DeliveryId,
    /// Its number, from 1 on.
    pub(crate) number: u32,
    /// When it began to wait, Unix ms: the first when its event was accepted.
    pub(crate) created_ms: i64,
    /// Whether it is yet to be made.
    pub(crate) waits: bool,
    /// Its event, where that is in the log.
    pub(crate) event: Option<LoggedEvent>,
}

/// Which attempts are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum WantedAttempts {
    /// All.
    #[default]
    All,
    /// Those that wait after one that failed.
    Waiting,
    /// Those that succeeded.
    Successful,
    /// Those that failed.
    Failed,
    /// Those with which a delivery ended.
    Ended,
    /// Those with which a delivery ended badly.
    Undelivered,
}

// === impl LoggedAttempt ===

impl LoggedAttempt {
    /// Its id.
    pub(crate) fn id(&self) -> Uuid {
        attempt_id(self.delivery, self.number)
    }

    /// An attempt that a fact tells of; `None`: the fact is of no delivery.
    fn made(fact: Fact, earlier: &[Fact]) -> Option<Self> {
        let (delivery, number) = (fact.delivery?, number(&fact));
        let created_ms = created(&fact, number, earlier);
        Some(Self { delivery, number, created_ms, waits: false, event: None, fact })
    }

    /// The attempt that waits after one that failed.
    fn waiting(failed: &Fact, open: &HashMap<DeliveryId, OpenDelivery>) -> Option<Self> {
        let delivery = failed.delivery?;
        let is_next = failed.kind == FactKind::Attempted
            && open.get(&delivery).is_some_and(|open| Some(open.attempt) == failed.attempt);
        is_next.then(|| Self {
            delivery,
            number: failed.attempt.unwrap_or(0) + 1,
            created_ms: failed.at_ms,
            waits: true,
            event: None,
            fact: failed.clone(),
        })
    }
}

impl WantedAttempts {
    fn kinds(self) -> Kinds {
        match self {
            Self::All => Kinds::ATTEMPTS,
            Self::Waiting => Kinds::of(&[FactKind::Attempted]),
            Self::Successful => Kinds::of(&[FactKind::Delivered]),
            Self::Failed => Kinds::FAILED,
            Self::Ended => Kinds::TERMINAL,
            Self::Undelivered => Kinds::UNDELIVERED,
        }
    }
}

/// The number of the attempt that a fact is about. One that died or was cancelled without a request never made its next one.
fn number(fact: &Fact) -> u32 {
    let number = fact.attempt.unwrap_or(0);
    if fact.kind == FactKind::DeadLettered && fact.exchange.is_none() { number + 1 } else { number.max(1) }
}

/// When an attempt began to wait.
fn created(fact: &Fact, number: u32, earlier: &[Fact]) -> i64 {
    let before = earlier.iter().rev().find(|it| it.kind == FactKind::Attempted && it.attempt == Some(number - 1));
    let began = fact.exchange.as_ref().map_or(fact.at_ms, |exchange| exchange.started_ms);
    match before {
        Some(before) => before.at_ms,
        None if number == 1 => fact.accepted_ms.unwrap_or(began),
        // The one before it is of a day that is not there.
        None => began,
    }
}

/// A page of attempts, in the order of the page's facts.
pub(crate) async fn page(
    store: &dyn DeliveryStore,
    query: FactQuery,
    wanted: WantedAttempts,
) -> Result<LogPage<LoggedAttempt>, StoreError> {
    let application = query.application;
    let found = store.facts(FactQuery { kinds: wanted.kinds(), ..query }).await?;
    let rows = compose(store, application, found.rows, wanted).await?;
    Ok(LogPage { rows, next: found.next })
}

/// One attempt by its id.
pub(crate) async fn find(
    store: &dyn DeliveryStore,
    application: ApplicationId,
    id: Uuid,
) -> Result<Option<LoggedAttempt>, StoreError> {
    let Some((prefix, number)) = delivery_prefix(id) else { return Ok(None) };
    let history = store.history_of(application, prefix).await?;
    let all = of_history(store, application, history).await?;
    Ok(all.into_iter().find(|attempt| attempt.number == number && attempt.id() == id))
}

/// The attempts that the facts of a delivery tell of, in their order.
pub(crate) async fn of_history(
    store: &dyn DeliveryStore,
    application: ApplicationId,
    history: Vec<Fact>,
) -> Result<Vec<LoggedAttempt>, StoreError> {
    let facts = history.into_iter().filter(|fact| Kinds::ATTEMPTS.has(fact.kind)).collect();
    compose(store, application, facts, WantedAttempts::All).await
}

async fn compose(
    store: &dyn DeliveryStore,
    application: ApplicationId,
    facts: Vec<Fact>,
    wanted: WantedAttempts,
) -> Result<Vec<LoggedAttempt>, StoreError> {
    let deliveries = |of: &dyn Fn(&Fact) -> bool| {
        let mut wanted: Vec<(DeliveryId, Day)> =
            facts.iter().filter(|fact| of(fact)).filter_map(|fact| Some((fact.delivery?, since(fact)))).collect();
        wanted.sort_unstable();
        wanted.dedup_by_key(|(delivery, _)| *delivery);
        wanted
    };
    let tried = deliveries(&|fact| fact.kind == FactKind::Attempted);
    let open = store.open_deliveries(tried.into_iter().map(|(delivery, _)| delivery).collect()).await?;
    let open: HashMap<DeliveryId, OpenDelivery> = open.into_iter().map(|open| (open.delivery, open)).collect();
    let mut histories: HashMap<DeliveryId, Vec<Fact>> = HashMap::new();
    for fact in store.histories(application, deliveries(&|fact| number(fact) > 1)).await? {
        if let Some(delivery) = fact.delivery {
            histories.entry(delivery).or_default().push(fact);
        }
    }
    let mut events: Vec<(Uuid, Day)> = facts.iter().filter_map(|fact| Some((fact.event?, since(fact)))).collect();
    events.sort_unstable();
    events.dedup_by_key(|(event, _)| *event);
    let events = store.events_of(application, events).await?;
    let events: HashMap<Uuid, LoggedEvent> = events.into_iter().map(|event| (event.uuid, event)).collect();
    let mut rows = Vec::new();
    for fact in facts {
        let waiting = LoggedAttempt::waiting(&fact, &open)
            .filter(|_| matches!(wanted, WantedAttempts::All | WantedAttempts::Waiting));
        let event = fact.event.and_then(|event| events.get(&event)).cloned();
        let earlier = fact.delivery.and_then(|delivery| histories.get(&delivery)).map_or(&[][..], Vec::as_slice);
        let made = if wanted == WantedAttempts::Waiting { None } else { LoggedAttempt::made(fact, earlier) };
        rows.extend(waiting.into_iter().chain(made).map(|row| LoggedAttempt { event: event.clone(), ..row }));
    }
    Ok(rows)
}

/// The day before which nothing of a fact's event was stored.
fn since(fact: &Fact) -> Day {
    // The clocks of two brokers may differ.
    Day::of(fact.accepted_ms.unwrap_or(0)).minus(1)
}
