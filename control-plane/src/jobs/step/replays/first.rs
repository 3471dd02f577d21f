//! Which of an event's deliveries is the first that a job is about.

use std::collections::HashMap;

use delivery_log::{Coordinates, DeliveryStore, Fact, FactQuery, ListOrder, PageOf, Subject};
use uuid::Uuid;

use super::NotNow;

/// Whether a fact is the first of its event among those that are asked for: an event is sent once, whatever became of each of its
/// deliveries. `firsts`: where that of each event stands, as far as it was looked for.
pub(super) async fn is_first(
    store: &dyn DeliveryStore,
    query: &FactQuery,
    fact: &Fact,
    firsts: &mut HashMap<Uuid, Option<Coordinates>>,
) -> Result<bool, NotNow> {
    let Some(event) = fact.event else { return Ok(true) };
    let first = match firsts.get(&event) {
        Some(known) => *known,
        None => {
            let found = first_of(store, query, event).await?;
            firsts.insert(event, found);
            found
        }
    };
    Ok(first.is_none_or(|first| first == fact.coordinates))
}

/// Where the first fact of an event stands, of the deliveries that the fan-out made.
async fn first_of(store: &dyn DeliveryStore, query: &FactQuery, event: Uuid) -> Result<Option<Coordinates>, NotNow> {
    const LOOKED_AT: usize = 250;
    let subscription = match query.subject {
        Subject::Subscription(id) => Some(id),
        Subject::All | Subject::Event(_) | Subject::Delivery(_) => query.subscription,
    };
    let page = PageOf { order: ListOrder::Ascending, after: None, limit: LOOKED_AT };
    let mut of_event = FactQuery { subject: Subject::Event(event), subscription, page, ..query.clone() };
    loop {
        let found = store.facts(of_event.clone()).await.map_err(|error| error.to_string())?;
        if let Some(first) = found.rows.iter().find(|it| it.generation.is_none()) {
            return Ok(Some(first.coordinates));
        }
        // The page looked at as many other facts of the event as it may.
        let Some(next) = found.next else { return Ok(None) };
        of_event.page.after = Some(next);
    }
}
