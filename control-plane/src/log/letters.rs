//! Where dead letters stand: what has been decided about them, as their facts tell.

use std::collections::HashMap;

use delivery_log::{Day, DeliveryStore, Fact, FactKind, FactQuery, Kinds, StoreError, Subject, Times};
use schemas::ids::{ApplicationId, DeliveryId};

/// Facts of an event that are looked at for a delivery of it.
const LOOKED_AT: usize = 250;

/// Where a dead letter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LetterState {
    /// Nobody has decided about it.
    Open,
    /// Nobody has, and its event has been delivered to its subscription since.
    Healed,
    /// It was sent once more.
    Redriven,
    /// Somebody decided that it is not sent again.
    Discarded,
}

/// All of them.
pub(crate) const LETTER_STATES: [LetterState; 4] =
    [LetterState::Open, LetterState::Healed, LetterState::Redriven, LetterState::Discarded];

// === impl LetterState ===

impl LetterState {
    /// The word of the API.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Healed => "healed",
            Self::Redriven => "redriven",
            Self::Discarded => "discarded",
        }
    }
}

/// A dead letter among the facts of its delivery and what was decided about it; `None`: the delivery is none.
pub(crate) fn letter(history: &[Fact]) -> Option<(&Fact, LetterState)> {
    let dead = history.iter().find(|fact| fact.kind == FactKind::DeadLettered)?;
    let has = |kind| history.iter().any(|fact| fact.kind == kind);
    // Whoever redrives and discards at once: what was sent was sent.
    let state = match (has(FactKind::Redriven), has(FactKind::Discarded)) {
        (true, _) => LetterState::Redriven,
        (false, true) => LetterState::Discarded,
        (false, false) => LetterState::Open,
    };
    Some((dead, state))
}

/// Whether the event of a dead letter has been delivered to its subscription since.
pub(crate) async fn is_healed(store: &dyn DeliveryStore, dead: &Fact) -> Result<bool, StoreError> {
    let (Some(application), Some(event)) = (dead.application, dead.event) else { return Ok(false) };
    let query = FactQuery {
        subject: Subject::Event(event),
        kinds: Kinds::of(&[FactKind::Delivered]),
        times: Times { from_ms: Some(dead.stored_ms), to_ms: None },
        ..FactQuery::of(application, LOOKED_AT)
    };
    let found = store.facts(query).await?;
    Ok(found.rows.iter().any(|fact| fact.subscription == dead.subscription))
}

/// All facts of the deliveries of these dead letters.
pub(crate) async fn histories(
    store: &dyn DeliveryStore,
    application: ApplicationId,
    dead: &[Fact],
) -> Result<HashMap<DeliveryId, Vec<Fact>>, StoreError> {
    // What was decided about one was written after it died; the clocks of two brokers may differ.
    let days = dead.iter().filter_map(|dead| Some((dead.delivery?, Day::of(dead.stored_ms).minus(1)))).collect();
    Ok(by_delivery(store.histories(application, days).await?))
}

/// Facts by their deliveries.
pub(crate) fn by_delivery(facts: Vec<Fact>) -> HashMap<DeliveryId, Vec<Fact>> {
    let mut by_delivery: HashMap<DeliveryId, Vec<Fact>> = HashMap::new();
    for fact in facts {
        if let Some(delivery) = fact.delivery {
            by_delivery.entry(delivery).or_default().push(fact);
        }
    }
    by_delivery
}

/// Where each of these dead letters stands.
pub(crate) async fn states(
    store: &dyn DeliveryStore,
    application: ApplicationId,
    dead: &[Fact],
) -> Result<Vec<LetterState>, StoreError> {
    let histories = histories(store, application, dead).await?;
    let mut states = Vec::with_capacity(dead.len());
    for dead in dead {
        let history = dead.delivery.and_then(|delivery| histories.get(&delivery));
        let decided = history.and_then(|history| letter(history)).map_or(LetterState::Open, |(_, state)| state);
        let is_healed = decided == LetterState::Open && is_healed(store, dead).await?;
        states.push(if is_healed { LetterState::Healed } else { decided });
    }
    Ok(states)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::log::made;

    #[test]
    fn a_dead_letter_is_open_until_somebody_decides() {
        let fact = |kind| made::fact(ApplicationId(Uuid::from_u128(1)), kind);
        let (tried, dead) = (fact(FactKind::Attempted), fact(FactKind::DeadLettered));
        let (redriven, discarded) = (fact(FactKind::Redriven), fact(FactKind::Discarded));
        let state = |history: &[Fact]| letter(history).map(|(_, state)| state);
        assert_eq!(state(std::slice::from_ref(&tried)), None);
        assert_eq!(state(&[tried, dead.clone()]), Some(LetterState::Open));
        assert_eq!(state(&[dead.clone(), discarded.clone()]), Some(LetterState::Discarded));
        assert_eq!(state(&[redriven, dead, discarded]), Some(LetterState::Redriven));
    }
}
