//! What several tests set up, and the waiting they share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::ensure;
use kafka::clock::instant;
use serde_json::json;
use testkit::http::Http;
use testkit::ledger::books::{self, Books};
use testkit::pipeline::{Application, Event, Pipeline, Role, Setup, Subscription};
use testkit::wait::eventually;

/// Everything here happens in a few seconds; two busy cores may make it many. Less than the timeout of the longest transaction that
/// a scene leaves open.
pub(crate) const SOON: Duration = Duration::from_secs(100);

/// A pipeline with an application of one event type, `a.b`, and so many subscriptions to it.
pub(crate) async fn shop(setup: Setup, subscriptions: usize) -> (Pipeline, Application, Vec<Subscription>) {
    let mut pipeline = setup.start().await.unwrap();
    let application = pipeline.application(&["a.b"]).await.unwrap();
    let mut made = Vec::new();
    for _ in 0..subscriptions {
        made.push(pipeline.subscribe(&application, &["a.b"], json!({ "retry": "quick" })).await.unwrap());
    }
    (pipeline, application, made)
}

/// Sends events over HTTP that must be accepted.
pub(crate) async fn send(pipeline: &Pipeline, application: &Application, names: impl IntoIterator<Item = String>) {
    let client = pipeline.client();
    for name in names {
        let answer = client.send(1, application, &Event::new(name, "a.b")).await.unwrap();
        assert_eq!(answer.status, 201, "{:?}", answer.body);
    }
}

/// Waits until so many requests have arrived in all.
pub(crate) async fn arrived(pipeline: &Pipeline, count: u64) {
    pipeline.endpoint().wait_for("/", count, SOON).await.unwrap();
}

/// Waits until the endpoint has seen so many requests more than now.
pub(crate) async fn more_arrived(pipeline: &Pipeline, more: u64) {
    arrived(pipeline, pipeline.endpoint().count("/") + more).await;
}

/// Waits until a gateway says 503. Each question is an event of its own: one that was accepted before is answered with 409, again
/// and again.
pub(crate) async fn refused(pipeline: &Pipeline, application: &Application, within: Duration) {
    let client = pipeline.client();
    let asked = AtomicUsize::new(0);
    let ask = || async {
        let name = format!("refused-{}", asked.fetch_add(1, Ordering::Relaxed));
        let answer = client.send(1, application, &Event::new(name, "a.b").sized(20)).await.ok()?;
        (answer.status == 503).then_some(())
    };
    eventually("a gateway that takes nothing any more", within, ask).await.unwrap();
}

/// What a page of the first worker of a role answers.
pub(crate) async fn status_of(pipeline: &mut Pipeline, role: Role, page: &str) -> u16 {
    let url = pipeline.roles().process(role, 1).unwrap().admin_url(page);
    Http::default().get(&url).await.unwrap().status.as_u16()
}

/// Requests that have arrived and were not answered yet.
pub(crate) fn in_flight(pipeline: &Pipeline) -> usize {
    pipeline.endpoint().requests("/").iter().filter(|seen| seen.complete && seen.answered().is_none()).count()
}

/// A fault's own duration: the only thing here that waits for time to pass.
pub(crate) async fn lasts(duration: Duration) {
    let until = instant() + duration;
    tokio::time::sleep_until(until.into()).await;
}

/// From acceptance to the first arrival at the last of its endpoints, of these events, in ms and ascending.
pub(crate) fn latencies(books: &Books, of: impl Fn(&books::Event) -> bool) -> Vec<i64> {
    let mut first: BTreeMap<(&str, &str), i64> = BTreeMap::new();
    for request in &books.requests {
        let Some(event) = request.event.as_deref() else { continue };
        let arrived = first.entry((event, &request.path)).or_insert(request.arrived_ms);
        *arrived = request.arrived_ms.min(*arrived);
    }
    let mut last: BTreeMap<&str, i64> = BTreeMap::new();
    for ((event, _), arrived) in first {
        let latest = last.entry(event).or_insert(arrived);
        *latest = arrived.max(*latest);
    }
    let events = books.events.iter().filter(|event| of(event));
    let took = events.filter_map(|event| Some(last.get(&*event.content.as_ref()?.identity.id)? - event.written_ms));
    let mut took: Vec<i64> = took.collect();
    took.sort_unstable();
    took
}

/// How many of these took up to so many ms.
pub(crate) fn histogram(took: &[i64]) -> String {
    const UP_TO: [i64; 9] = [25, 50, 100, 250, 500, 1_000, 5_000, 20_000, i64::MAX];
    let mut from = 0;
    let count = |up_to: i64| {
        let count = took.iter().filter(|ms| (from..up_to).contains(*ms)).count();
        let shown =
            if up_to == i64::MAX { format!("from {from} on {count}") } else { format!("below {up_to} {count}") };
        from = up_to;
        shown
    };
    UP_TO.map(count).join(", ")
}

/// A deadline of the issue, with its margin. Only for what is `#[ignore]`d.
pub(crate) fn within(what: &str, took_ms: i64, limit_ms: i64) {
    testkit::pipeline::report(&format!(
        "{what}: {took_ms} ms, {} ms within the limit of {limit_ms} ms",
        limit_ms - took_ms
    ));
    let kept = || {
        ensure!(took_ms <= limit_ms, "{what} took {took_ms} ms, more than {limit_ms} ms");
        anyhow::Ok(())
    };
    kept().unwrap();
}
