//! Endpoints that do whatever they can to whoever sends: what they cost stays flat, and their neighbours are served.

use std::time::Duration;

use kafka::clock::now_ms;
use serde_json::json;
use testkit::endpoint::TestAuthority;
use testkit::hostile::HostileNeighbourhood;
use testkit::pipeline::{Application, Event, Pipeline, Role, Setup, Subscription, report};
use testkit::{Expect, supervisor};

use crate::scenes::{lasts, latencies, within};

/// Events a second, each for every endpoint.
const PER_SECOND: u32 = 20;
/// Until all of them have shown what they do.
const WARM: Duration = Duration::from_secs(12);
/// Between two looks at what the worker holds.
const LOOK: Duration = Duration::from_secs(1);
const LOOKS: usize = 20;
/// What may come and go between two looks: descriptors, and bytes.
const SLACK: (usize, u64) = (64, 24 << 20);

/// Each of them is a subscription to the same events as the one that is well.
async fn subscribed(pipeline: &mut Pipeline, urls: &[String]) -> (Application, Subscription) {
    let application = pipeline.application(&["a.b"]).await.unwrap();
    let well = pipeline.subscribe(&application, &["a.b"], json!({})).await.unwrap();
    for url in urls {
        let target = json!({ "type": "http", "method": "POST", "url": url, "headers": {} });
        let fields = json!({ "target": target, "retry": ["1s", "1s", "5s", "20s", "20s"], "timeout_ms": 2_000 });
        pipeline.subscribe(&application, &["a.b"], fields).await.unwrap();
    }
    (application, well)
}

/// Descriptors, and bytes of memory now.
fn held(pid: i32) -> (usize, u64) {
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    (descriptors, supervisor::resident_now(pid).unwrap())
}

/// Stalled handshakes, early answers with an unread body, interim answers and frames without end, heads that drip, connections that
/// are closed, GOAWAY every ten requests, one stream at a time, silence after a hundred requests: for half a minute beside one
/// endpoint that is well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults"]
async fn hostile_endpoints_cost_what_they_cost_at_first_and_their_neighbour_is_served() {
    let authority = TestAuthority::new().unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), authority.pem()).unwrap();
    let setup = Setup::new("hostile")
        .set("delivery.ca_file", file.path().display().to_string())
        .set("topics.partitions.deliveries", 1)
        .set("delivery.breaker_failures", 20);
    let mut pipeline = setup.start().await.unwrap();
    let there = HostileNeighbourhood::start(&authority).unwrap();
    let (application, well) = subscribed(&mut pipeline, &there.urls()).await;
    let pid = pipeline.roles().process(Role::Delivery, 1).unwrap().pid();
    let load = pipeline.load(&application, "a.b", PER_SECOND);
    lasts(WARM).await;
    let (mut looks, warm_ms) = (vec![held(pid)], now_ms());
    for _ in 0..LOOKS {
        lasts(LOOK).await;
        looks.push(held(pid));
    }
    let loaded = load.stop().await.unwrap();
    let most = |looks: &[(usize, u64)]| {
        let descriptors = looks.iter().map(|look| look.0).max().unwrap_or(0);
        (descriptors, looks.iter().map(|look| look.1).max().unwrap_or(0))
    };
    let (first, last) = looks.split_at(looks.len() / 2);
    let (first, last) = (most(first), most(last));
    report(&format!(
        "hostile: {} events; descriptors {} then {}; resident {} then {} KiB; {} connections to raw ones",
        loaded.accepted,
        first.0,
        last.0,
        first.1 >> 10,
        last.1 >> 10,
        there.raw_connections()
    ));
    pipeline.endpoint().wait_for(&well.path, loaded.accepted, Duration::from_secs(60)).await.unwrap();
    // What waits for those that never take anything, waits.
    let waiting = Expect { waiting: 1, dropped: None, ..Expect::default() };
    let outcome = pipeline.verdict(waiting, Duration::from_secs(1)).await.unwrap();
    let books = outcome.books;
    let of_well = books.requests.iter().filter(|request| request.path == well.path).count();
    assert_eq!(u64::try_from(of_well).unwrap(), loaded.accepted, "each once");
    let took = latencies(&books, |event| event.written_ms > warm_ms);
    let p99 = took[(took.len() - 1) * 99 / 100];
    assert!(last.0 <= first.0 + SLACK.0, "descriptors grow: {looks:?}");
    assert!(last.1 <= first.1 + SLACK.1, "memory grows: {looks:?}");
    within("hostile: the neighbour's p99", p99, 1_000);
}

/// A neighbour's event comes though everybody else hangs: the calm form, for `make test`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_neighbour_of_hostile_endpoints_gets_every_event_once() {
    let authority = TestAuthority::new().unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), authority.pem()).unwrap();
    let setup = Setup::new("hostile-short")
        .set("delivery.ca_file", file.path().display().to_string())
        .set("topics.partitions.deliveries", 1);
    let mut pipeline = setup.start().await.unwrap();
    let there = HostileNeighbourhood::start(&authority).unwrap();
    let (application, well) = subscribed(&mut pipeline, &there.urls()).await;
    let count = 120;
    let events: Vec<Event> = (0..count).map(|number| Event::new(format!("evt_{number}"), "a.b")).collect();
    pipeline.publish(&application, &events).await.unwrap();
    pipeline.endpoint().wait_for(&well.path, count, Duration::from_secs(60)).await.unwrap();
    let waiting = Expect { waiting: 1, ..Expect::default() };
    let outcome = pipeline.verdict(waiting, Duration::from_secs(1)).await.unwrap();
    let of_well = outcome.books.requests.iter().filter(|request| request.path == well.path).count();
    assert_eq!(u64::try_from(of_well).unwrap(), count, "each once");
}
