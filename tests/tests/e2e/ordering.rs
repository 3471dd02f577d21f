//! `ordering: key`: of each key one delivery at a time and in order, also where one fails and where its worker dies; what fails holds
//! back nobody else.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Method;
use serde_json::json;
use testkit::Expect;
use testkit::endpoint::Seen;
use testkit::pipeline::{Event, Role, Setup, report};
use testkit::wait::eventually;

const LONG: Duration = Duration::from_secs(180);
const KEYS: usize = 5;
const EACH: usize = 120;

/// Key and number of an event of [`events`].
fn place(id: &str) -> (usize, usize) {
    let mut parts = id.split('-').skip(1).map(|part| part.parse().unwrap());
    (parts.next().unwrap(), parts.next().unwrap())
}

/// So many of each key, in turn.
fn events() -> Vec<Event> {
    let all = (0..EACH).flat_map(|number| (0..KEYS).map(move |key| (key, number)));
    all.map(|(key, number)| Event::new(format!("evt-{key}-{number}"), "a.b").in_order(&format!("customer {key}")))
        .collect()
}

/// Whether deliveries of one key came one after the other: none before the one before it was answered with a 2xx.
fn overtaken(requests: &[std::sync::Arc<Seen>]) -> Vec<String> {
    let mut delivered: BTreeMap<(usize, usize), i64> = BTreeMap::new();
    for seen in requests.iter().filter(|seen| seen.succeeded()) {
        let at_ms = seen.answered().map_or(i64::MAX, |answer| answer.at_ms);
        let first = delivered.entry(place(seen.event().unwrap())).or_insert(at_ms);
        *first = at_ms.min(*first);
    }
    let early = requests.iter().filter_map(|seen| {
        let (key, number) = place(seen.event().unwrap());
        let before = number.checked_sub(1).map(|before| delivered.get(&(key, before)).copied().unwrap_or(i64::MAX))?;
        (seen.arrived_ms < before)
            .then(|| format!("{} came before the one before it was answered", seen.event().unwrap()))
    });
    early.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_with_one_key_come_in_order_through_failures_and_kills_and_hold_back_no_other_key() {
    let setup = Setup::new("ordering").set("topics.partitions.deliveries", 1).set("delivery.live_records", 200);
    let mut pipeline = setup.start().await.unwrap();
    let application = pipeline.application(&["a.b"]).await.unwrap();
    let fields = json!({ "ordering": "key", "retry": ["1s", "1s", "1s", "1s", "5s", "5s"] });
    let ordered = pipeline.subscribe(&application, &["a.b"], fields).await.unwrap();
    // All fail: each key waits for its first.
    pipeline.endpoint().script(&ordered.path, "503x2 204").unwrap();
    pipeline.publish(&application, &events()[..KEYS]).await.unwrap();
    pipeline.endpoint().wait_for(&ordered.path, KEYS as u64, LONG).await.unwrap();
    pipeline.roles().kill(Role::Delivery, 1).await.unwrap();
    pipeline.endpoint().script(&ordered.path, "204+delay=2ms").unwrap();
    pipeline.publish(&application, &events()[KEYS..]).await.unwrap();
    pipeline.roles().start(Role::Delivery, 1).await.unwrap();
    let third = (KEYS * EACH / 3) as u64;
    pipeline.endpoint().wait_for(&ordered.path, third, LONG).await.unwrap();
    pipeline.roles().kill(Role::Delivery, 1).await.unwrap();
    pipeline.roles().start(Role::Delivery, 1).await.unwrap();
    let expect = Expect { repeats: 2 * 1_000, unclean: true, ..Expect::default() };
    let requests = pipeline.endpoint().wait_until(&ordered.path, "all came", LONG, |all| {
        all.iter()
            .filter(|seen| seen.succeeded())
            .filter_map(|seen| seen.event())
            .collect::<std::collections::BTreeSet<_>>()
            .len()
            >= KEYS * EACH
    });
    let requests = requests.await.unwrap();
    let overtaken = overtaken(&requests);
    assert!(overtaken.is_empty(), "{overtaken:?}");
    let outcome = pipeline.finish_within(expect, LONG).await.unwrap();
    report(&format!(
        "ordering: {} delivered, {} repeats",
        outcome.audit.counts.delivered, outcome.audit.counts.repeats
    ));
}

/// The first of a key fails, and its retry is ten minutes away. It is found in the subscription's health and skipped: those behind it come
/// at once and in order, and it never does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_that_is_skipped_lets_those_behind_it_go() {
    let mut pipeline = Setup::new("skipped").start().await.unwrap();
    let application = pipeline.application(&["a.b"]).await.unwrap();
    let fields = json!({ "ordering": "key", "retry": ["10m"] });
    let ordered = pipeline.subscribe(&application, &["a.b"], fields).await.unwrap();
    pipeline.endpoint().script(&ordered.path, "500").unwrap();
    let event = |number: usize| Event::new(format!("evt-0-{number}"), "a.b").in_order("customer");
    pipeline.publish(&application, &[event(0)]).await.unwrap();
    pipeline.endpoint().wait_for(&ordered.path, 1, LONG).await.unwrap();
    pipeline.endpoint().script(&ordered.path, "204").unwrap();
    pipeline.publish(&application, &(1..6).map(event).collect::<Vec<_>>()).await.unwrap();
    let of = |action: &str| format!("/subscriptions/{}/{action}?application_id={}", ordered.id, application.id);
    let held = eventually("what holds back the others is known", LONG, || async {
        let health = pipeline.managed(Method::GET, &of("health"), None, 200).await.ok()?;
        health["held_deliveries"].get(0).cloned()
    });
    let held = held.await.unwrap();
    assert_eq!(pipeline.endpoint().count(&ordered.path), 1, "the others wait for it");
    let skip = json!({ "delivery_id": held });
    pipeline.managed(Method::POST, &of("skip"), Some(&skip), 200).await.unwrap();
    let seen = pipeline.endpoint().wait_for(&ordered.path, 6, LONG).await.unwrap();
    let came: Vec<usize> = seen.iter().map(|seen| place(seen.event().unwrap()).1).collect();
    assert_eq!(came, [0, 1, 2, 3, 4, 5]);
    assert_eq!(seen[0].header("x-hookbus-delivery-id"), held.as_str(), "it was the first that was skipped");
    let waiting = Expect { waiting: 1, ..Expect::default() };
    let outcome = pipeline.verdict(waiting, Duration::from_secs(1)).await.unwrap();
    assert_eq!(outcome.audit.counts.delivered, 5);
}

/// The first of a key fails, and its retry is a minute away. While its worker is dead somebody wants it now: the next owner sends it at
/// once, and those behind it in order. The retry that it had comes to an owner after that one, and is dropped: nothing is sent or told
/// of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_that_is_wanted_now_goes_once_whoever_dies() {
    let setup = Setup::new("hurried").set("topics.partitions.deliveries", 1);
    let mut pipeline = setup.start().await.unwrap();
    let application = pipeline.application(&["a.b"]).await.unwrap();
    let fields = json!({ "ordering": "key", "retry": ["1m", "10m"] });
    let ordered = pipeline.subscribe(&application, &["a.b"], fields).await.unwrap();
    pipeline.endpoint().script(&ordered.path, "500").unwrap();
    let event = |number: usize| Event::new(format!("evt-0-{number}"), "a.b").in_order("customer");
    pipeline.publish(&application, &[event(0)]).await.unwrap();
    pipeline.endpoint().wait_for(&ordered.path, 1, LONG).await.unwrap();
    pipeline.endpoint().script(&ordered.path, "204").unwrap();
    let health = format!("/subscriptions/{}/health?application_id={}", ordered.id, application.id);
    let held = eventually("what holds back the others is known", LONG, || async {
        let health = pipeline.managed(Method::GET, &health, None, 200).await.ok()?;
        Some(health["held_deliveries"].get(0)?.as_str()?.to_owned())
    });
    let held = held.await.unwrap();
    pipeline.roles().kill(Role::Delivery, 1).await.unwrap();
    pipeline.publish(&application, &(1..6).map(event).collect::<Vec<_>>()).await.unwrap();
    pipeline.retry_now(&ordered, &held).await.unwrap();
    pipeline.roles().start(Role::Delivery, 1).await.unwrap();
    let seen = pipeline.endpoint().wait_for(&ordered.path, 7, LONG).await.unwrap();
    let came: Vec<usize> = seen.iter().map(|seen| place(seen.event().unwrap()).1).collect();
    assert_eq!(came, [0, 0, 1, 2, 3, 4, 5]);
    pipeline.settled(LONG).await.unwrap();
    pipeline.roles().kill(Role::Delivery, 1).await.unwrap();
    pipeline.roles().start(Role::Delivery, 1).await.unwrap();
    let expect = Expect { unclean: true, ..Expect::default() };
    eventually("the retry that was due in a minute is there", LONG, || async {
        let books = pipeline.audit(&expect).await.ok()?.books;
        (books.hops.iter().filter(|hop| hop.delivery.to_string() == held).count() == 3).then_some(())
    })
    .await
    .unwrap();
    // Behind it, in the same partition.
    pipeline.publish(&application, &[event(6)]).await.unwrap();
    let seen = pipeline.endpoint().wait_for(&ordered.path, 8, LONG).await.unwrap();
    assert_eq!(place(seen[7].event().unwrap()).1, 6, "nothing came in between");
    let outcome = pipeline.finish_within(expect, LONG).await.unwrap();
    assert_eq!((outcome.audit.counts.delivered, outcome.audit.counts.requests), (7, 8));
}
