//! Which deliveries must be, may be and must not be: a naive matcher over all events and all subscriptions.

use std::collections::{BTreeMap, BTreeSet};

use schemas::attempt::Kind;
use schemas::identity::EventIdentity;
use schemas::ids::{DeliveryId, Generation};

use super::books::{Books, Content, Event, Fact, Place, Subscribed};

/// A delivery that there must or may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Due<'a> {
    /// Of this event.
    pub(crate) event: &'a Event,
    /// What it says.
    pub(crate) content: &'a Content,
    /// For this one.
    pub(crate) subscription: &'a Subscribed,
    /// It must be there.
    pub(crate) required: bool,
}

/// The books, indexed.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    /// Deliveries by id.
    pub(crate) due: BTreeMap<DeliveryId, Due<'a>>,
    /// What the fan-out said of each event.
    pub(crate) fates: BTreeMap<&'a Place, Vec<&'a Fact>>,
    /// How each delivery ended.
    pub(crate) ends: BTreeMap<DeliveryId, Vec<&'a Fact>>,
    /// First hops of each delivery.
    pub(crate) first_hops: BTreeMap<DeliveryId, usize>,
}

impl<'a> Plan<'a> {
    pub(crate) fn of(books: &'a Books) -> Self {
        let mut fates: BTreeMap<&Place, Vec<&Fact>> = BTreeMap::new();
        let mut ends: BTreeMap<DeliveryId, Vec<&Fact>> = BTreeMap::new();
        for fact in &books.facts {
            if let (true, Some(place)) = (fact.is_fate(), &fact.place) {
                fates.entry(place).or_default().push(fact);
            }
            if let (true, Some(delivery)) = (fact.kind.is_terminal(), fact.delivery) {
                ends.entry(delivery).or_default().push(fact);
            }
        }
        let mut first_hops = BTreeMap::new();
        for hop in books.hops.iter().filter(|hop| hop.is_first()) {
            *first_hops.entry(hop.delivery).or_default() += 1;
        }
        let due = due(books, &fates);
        Self { due, fates, ends, first_hops }
    }
}

/// An identity fans out with its first record that was not rejected.
fn due<'a>(books: &'a Books, fates: &BTreeMap<&Place, Vec<&Fact>>) -> BTreeMap<DeliveryId, Due<'a>> {
    let mut events: Vec<(&Event, &Content)> =
        books.events.iter().filter_map(|event| Some((event, event.content.as_ref()?))).collect();
    events.sort_by_key(|(event, _)| &event.place);
    let mut known: BTreeSet<&EventIdentity> = BTreeSet::new();
    let mut due = BTreeMap::new();
    for (event, content) in events {
        let rejected =
            fates.get(&event.place).is_some_and(|facts| facts.iter().any(|fact| fact.kind == Kind::Rejected));
        if rejected || !known.insert(&content.identity) {
            continue;
        }
        for subscription in &books.subscriptions {
            let Some(required) = subscription.wants(event, content) else { continue };
            let id = content.identity.delivery_id(subscription.id, Generation::default());
            due.insert(id, Due { event, content, subscription, required });
        }
    }
    // A job sends an event again that was accepted, to a subscription of its application, whatever that listens to.
    for hop in books.hops.iter().filter(|hop| hop.generation.0.is_some_and(|id| books.jobs.contains(&id))) {
        let is_it = |event: &&Event| event.content.as_ref().is_some_and(|content| content.identity == hop.identity);
        let event = books.events.iter().find(is_it);
        let subscription = books
            .subscriptions
            .iter()
            .find(|known| known.id == hop.subscription && known.application == hop.identity.application);
        if let Some(((event, content), subscription)) =
            event.and_then(|event| Some((event, event.content.as_ref()?))).zip(subscription)
        {
            let id = hop.identity.delivery_id(hop.subscription, hop.generation);
            due.insert(id, Due { event, content, subscription, required: false });
        }
    }
    // A ping is for one subscription, whatever it listens to.
    for ping in &books.pings {
        let (event, known) = (&ping.event, books.subscriptions.iter().find(|known| known.id == ping.subscription));
        if let (Some(content), Some(subscription)) = (&event.content, known) {
            due.insert(ping.delivery(), Due { event, content, subscription, required: true });
        }
    }
    due
}

impl Due<'_> {
    /// Whether it is of its event's first generation: what the fan-out made.
    pub(crate) fn is_first(&self, id: DeliveryId) -> bool {
        self.content.identity.delivery_id(self.subscription.id, Generation::default()) == id
    }
}

impl Subscribed {
    /// Whether a request to this path can be for it.
    pub(crate) fn is_at(&self, path: &str) -> bool {
        self.path == path || self.former_paths.iter().any(|former| former == path)
    }

    /// `None`: it must not get the event. Else whether it must.
    fn wants(&self, event: &Event, content: &Content) -> Option<bool> {
        let fits = self.application == content.identity.application
            && self.patterns.iter().any(|pattern| pattern.matches(&content.event_type))
            && self.labels.iter().all(|(name, value)| content.labels.get(name) == Some(value))
            && self.only.as_ref().is_none_or(|only| only.contains(&content.identity.id));
        if !fits {
            return None;
        }
        // The fan-out may know more than was there when the event was accepted, never less.
        let known_ms = if self.ended_ms.is_some() { self.enabled_again_ms } else { Some(self.created_ms) };
        let required = known_ms.is_some_and(|known_ms| event.written_ms >= known_ms);
        let over = self.ended_ms.is_some_and(|(_, answered)| event.written_ms > answered);
        (required || !over || self.enabled_again_ms.is_some()).then_some(required)
    }
}
