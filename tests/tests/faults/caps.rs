//! What a subscription allows holds at its endpoint while workers die, are stopped, and partitions move between them: requests in
//! flight, and requests per second. The ledger judges both, but for the moments in which two owners may overlap.

use std::time::Duration;

use serde_json::json;
use testkit::Expect;
use testkit::pipeline::{Role, Setup, report};

use crate::scenes::more_arrived;

const LONG: Duration = Duration::from_secs(180);
/// Longest that requests of a worker that was killed may overlap with its successor's, ms.
const TIMEOUT_MS: i64 = 2_000;
const PER_SECOND: u32 = 30;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn caps_and_rates_hold_at_the_endpoint_while_partitions_move() {
    let setup = Setup::new("caps").doubled().set("delivery.attempt_timeout_ms", TIMEOUT_MS);
    let setup = setup.set("delivery.connect_timeout_ms", TIMEOUT_MS);
    let mut pipeline = setup.set("kafka.session_timeout_ms", 6_000).start().await.unwrap();
    let application = pipeline.application(&["a.b"]).await.unwrap();
    // As fast as they allow, all the time: more comes than each of them takes.
    for (fields, script) in [
        (json!({ "concurrency": 1 }), "204+delay=40ms"),
        (json!({ "concurrency": 3 }), "204+delay=150ms"),
        (json!({ "rate_per_second": 7, "concurrency": 2 }), "204"),
        (json!({ "rate_per_second": 15 }), "204+delay=20ms"),
        (json!({ "concurrency": 2, "retry": ["1s", "1s"] }), "500 204+delay=60ms"),
    ] {
        let made = pipeline.subscribe(&application, &["a.b"], fields).await.unwrap();
        pipeline.endpoint().script(&made.path, script).unwrap();
    }
    let load = pipeline.load(&application, "a.b", PER_SECOND);
    more_arrived(&pipeline, 150).await;
    for number in [1, 2] {
        pipeline.roles().stop(Role::Delivery, number).await.unwrap();
        more_arrived(&pipeline, 150).await;
        pipeline.roles().start(Role::Delivery, number).await.unwrap();
        more_arrived(&pipeline, 150).await;
        pipeline.roles().kill(Role::Delivery, number).await.unwrap();
        pipeline.roles().start(Role::Delivery, number).await.unwrap();
        more_arrived(&pipeline, 300).await;
    }
    let loaded = load.stop().await.unwrap();
    let expect = Expect { repeats: 4 * 1_000, unclean: true, dropped: None, ..Expect::default() };
    let outcome = pipeline.finish_within(expect, LONG).await.unwrap();
    let counts = outcome.audit.counts;
    report(&format!("caps: {} events, {} requests, {} repeats", loaded.accepted, counts.requests, counts.repeats));
    assert!(!outcome.books.overlaps.is_empty(), "the ledger knows of the kills, and judges all other moments");
}
