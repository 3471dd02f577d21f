//! What has ended of a generation is counted once, and for as long as its day is there.

use std::collections::BTreeMap;

use schemas::ids::{ApplicationId, SubscriptionId};
use uuid::Uuid;

use super::Fixture;
use super::made::Made;
use crate::day::Day;
use crate::ended::{EndedOnDay, EndedQuery};
use crate::fact::Fact;
use crate::store::DeliveryStore;

const ONE: Uuid = Uuid::from_u128(1);
const OTHER: Uuid = Uuid::from_u128(2);
const PING: Uuid = Uuid::from_u128(3);

async fn ended(store: &impl DeliveryStore, query: &EndedQuery) -> Vec<EndedOnDay> {
    store.ended(query.clone()).await.unwrap()
}

/// What a count over all that was made would be.
fn counted(made: &Made, query: &EndedQuery) -> Vec<EndedOnDay> {
    let mut days: BTreeMap<Day, EndedOnDay> = BTreeMap::new();
    let is_asked = |fact: &&Fact| {
        let is_end = fact.kind.is_terminal() && fact.generation == Some(query.generation);
        is_end && fact.application == Some(query.application) && Day::of(fact.stored_ms) >= query.since
    };
    for fact in made.facts.iter().filter(is_asked) {
        let (day, subscription) = (Day::of(fact.stored_ms), fact.subscription.unwrap());
        let of_day = days.entry(day).or_insert_with(|| EndedOnDay { day, all: 0, of: BTreeMap::new() });
        of_day.all += 1;
        if query.subscriptions.contains(&subscription) {
            *of_day.of.entry(subscription).or_default() += 1;
        }
    }
    days.into_values().collect()
}

fn made(seed: u64) -> Made {
    let mut made = Made::new(seed, 2, 900_000);
    made.go_on(20);
    made.send_again(&[(ONE, "replay"), (OTHER, "redrive"), (PING, "ping")], 200);
    made
}

fn queries(made: &Made) -> Vec<EndedQuery> {
    let mut queries = Vec::new();
    for application in &made.applications {
        let subscription = |number: u128| SubscriptionId(Uuid::from_u128(application.0.as_u128() ^ number));
        for generation in [ONE, OTHER] {
            for subscriptions in [Vec::new(), vec![subscription(1), subscription(3)]] {
                for since in [Day::of(0), made.days()[1]] {
                    let (application, subscriptions) = (*application, subscriptions.clone());
                    queries.push(EndedQuery { application, generation, subscriptions, since });
                }
            }
        }
    }
    queries
}

/// The store counts what a count over all that was made counts.
async fn agrees(store: &impl DeliveryStore, (made, queries): (&Made, &[EndedQuery]), when: &str) {
    for query in queries {
        assert_eq!(ended(store, query).await, counted(made, query), "{when}: {query:?}");
    }
}

pub(crate) async fn what_has_ended_of_a_generation_is_counted_once_and_goes_with_its_day<F: Fixture>() {
    let (mut fixture, mut made) = (F::empty(), made(21));
    let store = fixture.open().await;
    let mut chunks = made.chunks();
    for chunk in &chunks {
        store.project(vec![chunk.clone()]).await.unwrap();
    }
    let queries = queries(&made);
    assert!(queries.iter().any(|query| counted(&made, query).len() > 1), "on several days");
    agrees(store, (&made, &queries), "at first").await;
    made.shuffle(&mut chunks);
    store.project(chunks.clone()).await.unwrap();
    agrees(store, (&made, &queries), "taken twice").await;
    let store = fixture.open().await;
    agrees(store, (&made, &queries), "opened again").await;
    let since = Day::of(0);
    let ping = EndedQuery { generation: PING, ..queries[0].clone() };
    assert_eq!(ended(store, &ping).await, [], "nobody asks of pings");
    let nobody = EndedQuery { application: ApplicationId(Uuid::from_u128(99)), since, ..queries[0].clone() };
    assert_eq!(ended(store, &nobody).await, [], "it is another application's");
    store.give_up_all().await.unwrap();
    assert_eq!(ended(store, &queries[0]).await, []);
    let store = fixture.open().await;
    store.project(chunks).await.unwrap();
    agrees(store, (&made, &queries), "made again").await;
    let days = made.days();
    store.retain(days[1]).await.unwrap();
    for query in &queries {
        let left = EndedQuery { since: query.since.max(days[1]), ..query.clone() };
        assert_eq!(ended(store, query).await, counted(&made, &left), "without its first day: {query:?}");
    }
}
