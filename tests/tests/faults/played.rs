//! The rendered chart runs: a release of it, each pod a process, is installed, tested and upgraded while events come in at the address
//! of its Service.

use std::collections::BTreeMap;

use kafka::clock::now_ms;
use serde_json::json;
use testkit::endpoint::seen::Signature;
use testkit::ledger::books::Books;
use testkit::pipeline::{Event, Setup, console, report};
use testkit::{Expect, Pipeline, Player, strict};

use crate::scenes::{arrived, latencies, more_arrived, within};

/// Two pods of each of five roles.
const WORKLOADS: usize = 5;

/// The longest from acceptance to arrival at the last endpoint, of the events of each partition of `events`: no partition of it, and
/// none of `deliveries`, can have stood still for longer.
fn longest(books: &Books) -> BTreeMap<i32, i64> {
    let partitions = books.events.iter().map(|event| event.place.partition);
    let longest = |partition: i32| {
        let took = latencies(books, |event| event.place.partition == partition);
        (partition, took.last().copied().unwrap_or(0))
    };
    partitions.collect::<std::collections::BTreeSet<i32>>().into_iter().map(longest).collect()
}

/// Upgrades under load, each of which replaces every pod; returns the books.
async fn upgraded(name: &str, per_second: u32, upgrades: u64) -> Books {
    let installed = Setup::new(name).doubled().played(&json!({})).await;
    let (pipeline, player) = installed.unwrap_or_else(|error| panic!("{error:#}"));
    player.test().await.unwrap();
    delivers(pipeline, player, per_second, upgrades).await
}

async fn delivers(mut pipeline: Pipeline, mut player: Player, per_second: u32, upgrades: u64) -> Books {
    let application = pipeline.application(&["a.b"]).await.unwrap();
    for _ in 0..4 {
        let made = pipeline.subscribe(&application, &["a.b"], json!({ "retry": "quick" })).await.unwrap();
        // Some are in flight at any time.
        pipeline.endpoint().script(&made.path, "204+delay=20ms").unwrap();
    }
    let client = pipeline.client();
    let answer = client.send(1, &application, &Event::new("first", "a.b")).await.unwrap();
    assert_eq!(answer.status, 201, "{:?}", answer.body);
    arrived(&pipeline, 4).await;
    for seen in pipeline.endpoint().requests("/") {
        assert_eq!(seen.signature, Signature::Valid { standard: true, hook0: true });
    }

    let load = pipeline.load(&application, "a.b", per_second);
    more_arrived(&pipeline, u64::from(per_second) * 8).await;
    let begun_ms = now_ms();
    for upgrade in 1..=upgrades {
        let annotations = json!({ "podDefaults": { "podAnnotations": { "upgrade": upgrade.to_string() } } });
        let rolled = player.upgrade(&annotations).await;
        assert_eq!(rolled.unwrap_or_else(|error| panic!("{error:#}{}", player.log_tails())), WORKLOADS);
    }
    let took_ms = now_ms() - begun_ms;
    more_arrived(&pipeline, u64::from(per_second) * 8).await;
    let loaded = load.stop().await.unwrap();
    // Where Kafka keeps a gateway waiting, that answers 503, and may have written what is then sent again.
    let outcome = pipeline.finish(Expect { dropped: None, ..Expect::default() }).await.unwrap();
    assert_eq!(player.incidents().await, [""; 0], "a pod, or a connection");
    assert_eq!(player.uninstall().await.unwrap(), [""; 0], "every pod ends well, within its grace period");
    let counts = outcome.audit.counts;
    assert_eq!((u64::try_from(counts.matched).unwrap(), counts.repeats), (loaded.accepted + 1, 0));
    assert_eq!(loaded.retries, loaded.unavailable, "no connection was refused, and none was lost");
    report(&format!(
        "{upgrades} upgrades of ten pods in {took_ms} ms at {per_second} events/s: {} accepted, {} answered 503, no connection refused or \
         lost, {} delivered, 0 repeats",
        loaded.accepted, loaded.unavailable, counts.delivered
    ));
    outcome.books
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_of_the_chart_delivers_and_an_upgrade_loses_repeats_and_refuses_nothing() {
    upgraded("chart", 30, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults"]
async fn upgrades_of_the_chart_under_200_events_a_second_keep_no_partition_waiting() {
    let books = upgraded("charts", 200, 2).await;
    for (partition, took_ms) in longest(&books) {
        within(&format!("the longest that an event of events/{partition} was on its way"), took_ms, 3_000);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults"]
async fn a_release_works_with_exactly_the_users_that_its_kafka_users_describe() {
    const OPERATOR: &str = "kafka-operator";
    let folder = tempfile::tempdir().unwrap();
    let (broker, brokers) = strict::start_scram(folder.path(), OPERATOR).await.unwrap();
    console::scram_user(&broker.bootstrap(), OPERATOR, "operators-password").await.unwrap();
    let secret = [("username", OPERATOR), ("password", "operators-password")];
    let secret = secret.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let values = json!({
        "config": { "kafka": { "brokers": brokers } },
        "strimzi": { "cluster": "main", "users": { "enabled": true } },
        "operator": { "kafka": { "sasl": { "mechanism": "SCRAM-SHA-512", "existingSecret": OPERATOR } } },
    });
    let setup = Setup::new("users").doubled().on(broker.bootstrap());
    let secrets = [(OPERATOR.to_owned(), secret.into())].into();
    let installed = setup.played_with(&values, secrets, Some(broker.bootstrap())).await;
    let (pipeline, player) = installed.unwrap_or_else(|error| panic!("{error:#}"));
    player.test().await.unwrap();
    delivers(pipeline, player, 30, 1).await;
    broker.kill().await.unwrap();
}
