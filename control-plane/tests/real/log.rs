//! The delivery log over a real topic: made of it, and again of nothing.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chassis::config::{ControlLogConfig, LogStore};
use control_plane::{LogChecked, check_log};
use delivery_log::{
    Coordinates, DeliveryStore, LogChunk, LogFolder, LogRow, LoggedTarget, RowContent, SqliteOptions, SqliteStore,
};
use kafka::{Offsets, Producer, ProducerOptions};
use schemas::attempt::{EventFacts, Exchange, Kind, Lifecycle, TargetFacts};
use schemas::control::BodyForm;
use schemas::delivery::Origin;
use schemas::header;
use schemas::identity::{delivery_id, gateway_source};
use schemas::ids::{ApplicationId, Generation, SubscriptionId};
use schemas::record::{Headers, OutRecord};
use serde_json::{Value, json};

use super::support::{Replica, World, soon};

/// Between two looks at what comes by itself.
const LOOK: Duration = Duration::from_millis(50);

pub(super) fn at(folder: &Path) -> ControlLogConfig {
    ControlLogConfig {
        store: LogStore::Sqlite,
        folder: folder.to_owned(),
        postgres_url: None,
        postgres_ca_file: None,
        keep: Duration::from_secs(30 * 86_400),
        memory_bytes: 8 << 20,
        readers: 2,
    }
}

/// Writes what gateway, fan-out and worker would write of one event.
pub(super) async fn write(
    world: &World,
    producer: &Producer,
    (application, subscription): (ApplicationId, SubscriptionId),
    id: &str,
) {
    let record = |topic: &Arc<str>, value: Vec<u8>, headers: Headers| OutRecord {
        topic: Arc::clone(topic),
        partition: None,
        key: None,
        value: Some(value.into()),
        headers,
    };
    let (source, named) = (gateway_source(application), application.to_string());
    let own = [(header::CE_ID, id), (header::CE_SOURCE, source.as_str()), (header::APPLICATION, named.as_str())];
    let headers: Headers = own.into_iter().chain([(header::CE_TYPE, "invoice.paid")]).collect();
    let accepted = record(&world.topics.events, format!("payload of {id}").into_bytes(), headers);
    let accepted = producer.send(&accepted).unwrap().await.unwrap();
    let now_ms = kafka::clock::now_ms();
    let origin =
        Origin { topic: world.topics.events.to_string(), partition: accepted.partition, offset: accepted.offset };
    let about = |kind| Lifecycle {
        application_id: Some(application),
        event_id: Some(id.into()),
        event_source: Some(gateway_source(application).into()),
        event_type: Some("invoice.paid".into()),
        origin: Some(origin.to_string().into()),
        accepted_ms: Some(now_ms),
        ..Lifecycle::new(kind, now_ms)
    };
    let facts = EventFacts { matched: 1, payload_bytes: 9, ..EventFacts::default() };
    let delivery = delivery_id(application, &gateway_source(application), id, subscription, Generation::default());
    let exchange =
        Exchange { started_ms: now_ms, elapsed_ms: 12, status: Some(204), target: Some(5), ..Exchange::default() };
    let target = TargetFacts {
        offset: 5,
        method: "POST".into(),
        url: "https://example.com/as-it-was".into(),
        headers: [("x-key".into(), None)].into(),
        auth: None,
        signing: Vec::new(),
        body: BodyForm::default(),
        timeout_ms: 15_000,
    };
    let target = Lifecycle {
        application_id: Some(application),
        subscription_id: Some(subscription),
        target: Some(target),
        ..Lifecycle::new(Kind::Target, now_ms)
    };
    let delivered = Lifecycle {
        subscription_id: Some(subscription),
        delivery_id: Some(delivery),
        attempt: Some(1),
        exchange: Some(exchange),
        ..about(Kind::Delivered)
    };
    let response = [(header::RESPONSE_HEAD, "server: x\n"), (header::RESPONSE_BODY, "thanks")].into_iter().collect();
    let matched = Lifecycle { event: Some(facts), ..about(Kind::Matched) };
    for (lifecycle, headers) in [(matched, Headers::default()), (target, Headers::default()), (delivered, response)] {
        let record = record(&world.topics.attempts, lifecycle.encode().unwrap(), headers);
        producer.send(&record).unwrap().await.unwrap();
    }
}

/// Compares a folder with the topic.
async fn compare(world: &World, folder: &Path) -> LogChecked {
    check_log(&world.connection, &world.topics.attempts, &LogFolder::new(folder.to_owned())).await.unwrap()
}

/// Waits for so many attempts, and gives them as they are listed.
pub(super) async fn attempts(replica: &Replica, application: &str, count: usize) -> Value {
    soon("the attempts are in the log", async {
        loop {
            let (status, rows) = replica.get(&format!("/request_attempts?application_id={application}")).await;
            // 503 while the store is being opened. An event's id is known when its own record is there, too.
            let known = |row: &Value| row["event_id"].as_str().unwrap().starts_with("evt_");
            if status == 200 && rows.as_array().is_some_and(|rows| rows.len() >= count && rows.iter().all(known)) {
                return rows;
            }
            tokio::time::sleep(LOOK).await;
        }
    })
    .await
}

/// What a comparison finds once so many rows are in the folder. Partitions are read side by side: that all attempts are listed says
/// nothing of the other records.
async fn filled(world: &World, folder: &Path, rows: u64) -> LogChecked {
    soon("the rows are in the folder", async {
        loop {
            let checked = compare(world, folder).await;
            if checked.rows >= rows {
                return checked;
            }
            tokio::time::sleep(LOOK).await;
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_made_of_the_topic_and_again_of_nothing() {
    let (world, folder) = (World::new().await, tempfile::tempdir().unwrap());
    let producer = Producer::start(&world.connection, ProducerOptions::new("test")).unwrap();
    let replica = world.replica_with("one", at(&folder.path().join("a"))).await;
    let (application, _token) = super::tenant(&replica, "log").await;
    let (_, made) = replica.post("/subscriptions", super::subscription(&application, "mine")).await;
    let subscription: SubscriptionId = made["subscription_id"].as_str().unwrap().parse().unwrap();
    let whose = (application.parse().unwrap(), subscription);
    for number in 0..20 {
        write(&world, &producer, whose, &format!("evt_{number}")).await;
    }
    let listed = attempts(&replica, &application, 20).await;
    let checked = filled(&world, &folder.path().join("a"), 60).await;
    assert_eq!((checked.rows, checked.difference), (60, None), "beside the replica that has the folder");
    let query = format!("application_id={application}");
    let (status, event) = replica.get(&format!("/events/evt_7?{query}")).await;
    assert_eq!((status, &event["payload"]), (200, &json!("cGF5bG9hZCBvZiBldnRfNw==")), "{event}");
    let response = listed[0]["response_id"].as_str().unwrap();
    let (status, answer) = replica.get(&format!("/responses/{response}?{query}")).await;
    assert_eq!((status, &answer["http_code"], &answer["body"]), (200, &json!(204), &json!("thanks")), "{answer}");
    assert_eq!(answer["headers"], json!({"server": "x"}));
    let (status, request) = replica.get(&format!("/request_attempts/{response}/request?{query}")).await;
    assert_eq!((status, &request["url"]), (200, &json!("https://example.com/as-it-was")), "{request}");
    assert_eq!((&request["headers"]["x-key"], &request["payload"]["state"]), (&json!("********"), &json!("available")));
    let (status, counts) = replica.get(&format!("/delivery_stats?{query}&bucket=1d")).await;
    let sum = counts.as_array().unwrap().iter().map(|row| row["attempts"].as_u64().unwrap()).sum::<u64>();
    assert_eq!((status, sum), (200, 20), "{counts}");
    let (status, log) = replica.get("/log").await;
    assert_eq!((status, &log["days"][0]["whole"], &log["lost_records"]), (200, &json!(true), &json!(0)), "{log}");
    replica.stop().await;

    // What is there is not made again, what came meanwhile is.
    write(&world, &producer, whose, "evt_later").await;
    let checked = compare(&world, &folder.path().join("a")).await;
    assert_eq!((checked.rows, checked.behind, checked.difference), (60, 3, None), "what came meanwhile is counted");
    let nothing = folder.path().join("nothing");
    std::fs::create_dir(&nothing).unwrap();
    let checked = compare(&world, &nothing).await;
    assert_eq!((checked.days, checked.behind), (0, 63), "an empty folder holds nothing of it");
    let replica = world.replica_with("one", at(&folder.path().join("a"))).await;
    let again = attempts(&replica, &application, 21).await;
    assert_eq!(&again.as_array().unwrap()[1..], listed.as_array().unwrap().as_slice());
    replica.stop().await;

    let replica = world.replica_with("one", at(&folder.path().join("b"))).await;
    assert_eq!(attempts(&replica, &application, 21).await, again, "an empty folder holds the same");
    replica.stop().await;
}

/// Fills a folder as if the topic had so many records in a partition, and lets go of it.
async fn invent(world: &World, folder: &Path, application: ApplicationId, offsets: std::ops::Range<i64>) {
    let options = SqliteOptions { folder: folder.to_owned(), readers: 1, memory_bytes: 8 << 20 };
    let topic = &world.topics.attempts;
    let id = Offsets::start(&world.connection).unwrap().topic_id(topic).await.unwrap().unwrap();
    let store = SqliteStore::open(&options).unwrap();
    store.bind(format!("{topic} {id}")).await.unwrap();
    let row = |offset| {
        let stored_ms = kafka::clock::now_ms();
        let target = LoggedTarget {
            coordinates: Coordinates { partition: 0, offset },
            application,
            subscription: SubscriptionId(uuid::Uuid::from_u128(1)),
            offset,
            facts: "{}".to_owned(),
        };
        LogRow { offset, stored_ms, content: RowContent::Target(Box::new(target)) }
    };
    let rows = offsets.clone().map(row).collect();
    store.project(vec![LogChunk { partition: 0, offsets, rows }]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_topic_has_lost_is_given_up_and_what_takes_its_offsets_is_read() {
    let (world, folder) = (World::new().await, tempfile::tempdir().unwrap());
    let producer = Producer::start(&world.connection, ProducerOptions::new("test")).unwrap();
    let replica = world.replica("one").await;
    let (application, _token) = super::tenant(&replica, "log").await;
    let (_, made) = replica.post("/subscriptions", super::subscription(&application, "mine")).await;
    replica.stop().await;
    let subscription: SubscriptionId = made["subscription_id"].as_str().unwrap().parse().unwrap();
    let whose = (application.parse().unwrap(), subscription);
    invent(&world, folder.path(), whose.0, 0..500).await;
    write(&world, &producer, whose, "evt_0").await;
    let checked = compare(&world, folder.path()).await;
    assert_eq!(checked.difference.map(|it| it.what), Some("invented"), "the topic ends before what is covered");
    let replica = world.replica_with("one", at(folder.path())).await;
    for number in 1..20 {
        write(&world, &producer, whose, &format!("evt_{number}")).await;
    }
    attempts(&replica, &application, 20).await;
    filled(&world, folder.path(), 60).await;
    replica.stop().await;
    let checked = compare(&world, folder.path()).await;
    assert_eq!((checked.rows, checked.difference), (60, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_cannot_be_opened_stops_nothing_else() {
    let (world, folder) = (World::new().await, tempfile::tempdir().unwrap());
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let replica = world.replica_with("one", at(&file.join("log"))).await;
    let (application, _token) = super::tenant(&replica, "log").await;
    soon("the reason is told", async {
        loop {
            let (status, problem) = replica.get(&format!("/events?application_id={application}")).await;
            assert_eq!((status, &problem["code"]), (503, &json!("log_unavailable")));
            if problem["detail"].as_str().unwrap().contains("file/log") {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    })
    .await;
    replica.stop().await;
}
