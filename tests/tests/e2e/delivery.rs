//! What an endpoint gets: the product page's request, retries, dead letters.

use std::time::Duration;

use schemas::attempt::Kind;
use serde_json::json;
use testkit::endpoint::{Flaw, Signature, TestAuthority};
use testkit::pipeline::{Event, Pipeline, Role, Setup, report};
use testkit::wait::eventually;
use testkit::{Expect, Swallow};

const SOON: Duration = Duration::from_secs(60);

/// Odd spaces, an order of keys that sorting would change, escapes, a number no double can hold.
const PAYLOAD: &str = "{ \"total\" :42.10 ,\"b\":\t1,\"a\": \"caf\\u00e9 \\/ na\u{ef}ve\", \"big\":12345678901234567890123,\"empty\":{ } }";

/// Outcome 1: the exact request of the product page.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_product_page_request_is_delivered_byte_for_byte_and_fires_once() {
    let mut pipeline = Setup::new("product-page").roles(Role::Gateway, 2).start().await.unwrap();
    let id = json!({ "application_id": "c0ea6ffa-1972-4435-b434-ec9e93d38f42" });
    let application = pipeline.application_with(id, &["invoice.paid"]).await.unwrap();
    let subscription = pipeline.subscribe(&application, &["invoice.paid"], json!({})).await.unwrap();
    let event =
        Event::new("evt_Wqb1k73rXprtTm7Qdlr38G", "invoice.paid").label("environment", "production").payload(PAYLOAD);
    let client = pipeline.client();

    let first = client.send(1, &application, &event).await.unwrap();
    assert_eq!(first.status, 201, "{:?}", first.body);
    let body = first.json().unwrap();
    assert_eq!(body["application_id"], "c0ea6ffa-1972-4435-b434-ec9e93d38f42");
    assert_eq!(body["event_id"], "evt_Wqb1k73rXprtTm7Qdlr38G");
    let seen = pipeline.endpoint().wait_for(&subscription.path, 1, SOON).await.unwrap();
    assert_eq!(seen[0].body, PAYLOAD.as_bytes(), "byte for byte");
    assert_eq!(seen[0].signature, Signature::Valid { standard: true, hook0: true });
    assert_eq!(seen[0].header("webhook-id"), Some("evt_Wqb1k73rXprtTm7Qdlr38G"));
    assert_eq!(seen[0].header("x-event-type"), Some("invoice.paid"));
    assert_eq!(seen[0].header("content-type"), Some("application/json"));

    let again = client.send(1, &application, &event).await.unwrap();
    assert_eq!(again.status, 409, "the replica knows it");
    assert_eq!(again.json().unwrap()["id"], "EventAlreadyIngested");
    let elsewhere = client.send(2, &application, &event).await.unwrap();
    assert_eq!(elsewhere.status, 201, "another replica does not; the fan-out drops it");
    let expect = Expect { dropped: Some(1), ..Expect::default() };
    let outcome = pipeline.finish(expect).await.unwrap();
    assert_eq!(outcome.audit.counts.requests, 1);
}

/// Outcome 3: 500, 500, 204 and never anything but 500.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_attempts_are_repeated_on_schedule_and_end_in_the_dead_letters() {
    let mut pipeline = Pipeline::start("retries").await.unwrap();
    let application = pipeline.application(&["invoice.paid"]).await.unwrap();
    let quick = json!({ "retry": "quick" });
    let recovers = pipeline.subscribe(&application, &["invoice.paid"], quick.clone()).await.unwrap();
    let fails = pipeline.subscribe(&application, &["invoice.paid"], quick).await.unwrap();
    pipeline.endpoint().script(&recovers.path, "500x2 204").unwrap();
    pipeline.endpoint().script(&fails.path, "503+text=no").unwrap();
    let event = Event::new("evt_1", "invoice.paid");
    assert_eq!(pipeline.client().send(1, &application, &event).await.unwrap().status, 201);
    pipeline.endpoint().wait_for(&recovers.path, 3, SOON).await.unwrap();
    pipeline.endpoint().wait_for(&fails.path, 4, SOON).await.unwrap();

    let outcome = pipeline.finish(Expect { dead: 1, ..Expect::default() }).await.unwrap();
    assert_eq!(outcome.audit.counts.failed_attempts, 2 + 3);
    assert_eq!(outcome.audit.counts.requests, 3 + 4);
    let requests = &outcome.books.requests;
    let at = |path: &str| requests.iter().filter(|request| request.path == path).collect::<Vec<_>>();
    let one_id = |path: &str| at(path).windows(2).all(|pair| pair[0].delivery == pair[1].delivery);
    assert!(one_id(&recovers.path) && one_id(&fails.path), "a delivery keeps its id");
    let attempts: Vec<_> = at(&fails.path).iter().map(|request| request.attempt).collect();
    assert_eq!(attempts, [Some(1), Some(2), Some(3), Some(4)]);
    let dead = &outcome.books.dead[0];
    assert_eq!((dead.attempts, dead.status, dead.reason.as_str()), (4, Some(503), "schedule"));
    assert_eq!(Some(dead.delivery), at(&fails.path)[0].delivery);

    // Sorted by attempt and time, `attempts` tells the story.
    let mut story: Vec<_> = outcome.books.facts.iter().filter(|fact| fact.delivery == Some(dead.delivery)).collect();
    story.sort_by_key(|fact| (fact.attempt, fact.at_ms));
    let told: Vec<_> = story.iter().map(|fact| (fact.kind, fact.attempt, fact.status)).collect();
    let failed = |attempt| (Kind::Attempted, Some(attempt), Some(503));
    assert_eq!(told, [failed(1), failed(2), failed(3), (Kind::DeadLettered, Some(4), Some(503))]);
    let late: Vec<i64> = story
        .iter()
        .filter_map(|fact| {
            let due_ms = fact.due_ms?;
            let next = at(&fails.path).into_iter().find(|request| request.attempt == fact.attempt.map(|n| n + 1))?;
            Some(next.arrived_ms - due_ms)
        })
        .collect();
    report(&format!("retries: attempts came {late:?} ms after they were due"));
}

/// An endpoint that hangs does not hold the ones beside it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_hangs_does_not_hold_its_neighbours() {
    let setup = Setup::new("hanging").set("topics.partitions.deliveries", 1).set("delivery.attempt_timeout_ms", 5_000);
    let mut pipeline = setup.start().await.unwrap();
    let application = pipeline.application(&["a.b"]).await.unwrap();
    let hangs =
        pipeline.subscribe(&application, &["a.b"], json!({ "concurrency": 4, "retry": "quick" })).await.unwrap();
    let works = pipeline.subscribe(&application, &["a.b"], json!({})).await.unwrap();
    pipeline.endpoint().script(&hangs.path, "hang").unwrap();
    let client = pipeline.client();
    for number in 0..16 {
        let event = Event::new(format!("evt_{number}"), "a.b");
        assert_eq!(client.send(1, &application, &event).await.unwrap().status, 201);
    }
    let seen = pipeline.endpoint().wait_for(&works.path, 16, SOON).await.unwrap();
    let answered = pipeline.endpoint().requests(&hangs.path).iter().filter(|seen| seen.answered().is_some()).count();
    report(&format!("hanging: 16 of {} arrived beside {answered} answers of the one that hangs", seen.len()));
    pipeline.endpoint().script(&hangs.path, "204").unwrap();
    // Those that hung time out, and what was listed comes back: nothing arrives twice, nothing is lost.
    pipeline.finish(Expect::default()).await.unwrap();
}

/// A path that loses connections without a word costs one timeout, over HTTP/2 as over HTTP/1.1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_that_goes_silent_costs_one_timeout() {
    for (name, protocol) in [("silent-h2", "h2"), ("silent-h1", "http/1.1")] {
        let authority = TestAuthority::new().unwrap();
        let trusted = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(trusted.path(), authority.pem()).unwrap();
        let setup = Setup::new(name)
            .secure(authority.secure(&[protocol], Flaw::None).unwrap())
            .set("delivery.ca_file", trusted.path().display().to_string())
            // What a busy machine needs for an attempt is no timeout.
            .set("delivery.connect_timeout_ms", 10_000)
            .set("delivery.attempt_timeout_ms", 10_000);
        let mut pipeline = setup.start().await.unwrap();
        let path = Swallow::start(pipeline.endpoint().address()).unwrap();
        let application = pipeline.application(&["a.b"]).await.unwrap();
        let target = json!({ "url": format!("https://{}/s/1", path.address()) });
        let fields = json!({ "target": target, "retry": "quick" });
        let subscription = pipeline.subscribe(&application, &["a.b"], fields).await.unwrap();
        let client = pipeline.client();
        for number in 1..=3 {
            let event = Event::new(format!("evt_{number}"), "a.b");
            assert_eq!(client.send(1, &application, &event).await.unwrap().status, 201);
            pipeline.endpoint().wait_for(&subscription.path, number, SOON).await.unwrap();
        }
        // The answer to the third has come back, too.
        pipeline.settled(SOON).await.unwrap();
        path.swallow();
        for number in 4..=6 {
            let event = Event::new(format!("evt_{number}"), "a.b");
            assert_eq!(client.send(1, &application, &event).await.unwrap().status, 201);
            pipeline.endpoint().wait_for(&subscription.path, number, SOON).await.unwrap();
        }
        let outcome = pipeline.finish(Expect::default()).await.unwrap();
        assert_eq!(outcome.audit.counts.failed_attempts, 1, "{protocol}");
        report(&format!("{name}: {} connections", path.connections()));
    }
}

/// What is deleted gets nothing any more; what was queued for it is cancelled and says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_subscription_cancels_what_waits_for_it() {
    let mut pipeline = Pipeline::start("deleted").await.unwrap();
    let application = pipeline.application(&["a.b"]).await.unwrap();
    // Some of them are left when it is deleted, however long that takes here.
    let gone = pipeline.subscribe(&application, &["a.b"], json!({ "retry": vec!["5s"; 12] })).await.unwrap();
    let stays = pipeline.subscribe(&application, &["a.b"], json!({})).await.unwrap();
    pipeline.endpoint().script(&gone.path, "500").unwrap();
    let client = pipeline.client();
    assert_eq!(client.send(1, &application, &Event::new("before", "a.b")).await.unwrap().status, 201);
    pipeline.endpoint().wait_for(&gone.path, 1, SOON).await.unwrap();
    pipeline.unsubscribe(&application, &gone).await.unwrap();
    assert_eq!(client.send(1, &application, &Event::new("after", "a.b")).await.unwrap().status, 201);
    pipeline.endpoint().wait_for(&stays.path, 2, SOON).await.unwrap();
    let outcome = pipeline.finish(Expect { cancelled: Some(1), ..Expect::default() }).await.unwrap();
    assert_eq!(outcome.audit.counts.delivered, 2);
}

/// Transactions leave markers in the logs that nobody reads. At rest everybody is at the end, and says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_rest_after_some_transactions_nobody_lags_behind() {
    let mut pipeline = Pipeline::start("rest").await.unwrap();
    let application = pipeline.application(&["a.b"]).await.unwrap();
    let subscription = pipeline.subscribe(&application, &["a.b"], json!({})).await.unwrap();
    let client = pipeline.client();
    for number in 1..=6 {
        // One after the other, so that each is a transaction of its own.
        assert_eq!(client.send(1, &application, &Event::new(format!("e{number}"), "a.b")).await.unwrap().status, 201);
        pipeline.endpoint().wait_for(&subscription.path, number, SOON).await.unwrap();
        pipeline.settled(SOON).await.unwrap();
    }
    for (role, metric) in
        [(Role::Fanout, "hookbus_fanout_lag_records"), (Role::Delivery, "hookbus_delivery_lag_records")]
    {
        let process = pipeline.roles().process(role, 1).unwrap();
        let rests = || async { (process.metric(metric).await.ok()?.total_cmp(&0.0).is_eq()).then_some(()) };
        eventually(&format!("{metric} 0"), SOON, rests).await.unwrap();
    }
    let (pipeline_, told) = (&pipeline, ["status", "--output", "json"]);
    let rests = || async move {
        let told = pipeline_.command(&told).await.ok()?;
        let told = String::from_utf8_lossy(&told.stdout).replace([' ', '\n'], "");
        told.contains("\"lag_records\":0,").then_some(())
    };
    eventually("a fan-out that tells of no lag", 2 * SOON, rests).await.unwrap();
    pipeline.finish(Expect::default()).await.unwrap();
}
