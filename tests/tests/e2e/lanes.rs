//! `hookbus lanes`: what a person does about lists while no delivery worker runs, and that a running one keeps them out.

use std::process::Stdio;
use std::time::Duration;

use kafka_dev::tether::Exit;
use serde_json::{Value, json};
use testkit::Expect;
use testkit::broker::SharedKafka;
use testkit::pipeline::{Application, Event, Pipeline, Role, Setup, Subscription, console};
use testkit::wait::eventually;
use tokio::io::{AsyncBufReadExt as _, BufReader};

const SOON: Duration = Duration::from_secs(60);
const LONG: Duration = Duration::from_secs(180);
/// Wrong usage, as `sysexits.h` numbers it.
const USAGE: i32 = 64;
/// Live deliveries of a partition: what waits beyond stands in lists.
const WINDOW: usize = 200;

/// Exit code and everything printed. Its standard input is no terminal.
async fn hookbus(pipeline: &Pipeline, arguments: &[&str]) -> (i32, String) {
    let output = pipeline.command(arguments).await.unwrap();
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
    (output.status.code().unwrap(), text)
}

/// One partition and one subscription that is paused with so many deliveries, all but its window in lists.
async fn paused(name: &str, count: usize) -> (Pipeline, Application, Subscription) {
    let setup = Setup::new(name).set("topics.partitions.deliveries", 1).set("kafka.session_timeout_ms", 6_000);
    let mut pipeline = setup.set("delivery.live_records", i64::try_from(WINDOW).unwrap()).start().await.unwrap();
    let application = pipeline.application(&["a.b"]).await.unwrap();
    let subscription = pipeline.subscribe(&application, &["a.b"], json!({})).await.unwrap();
    pipeline.pause(&application, &subscription, true).await.unwrap();
    let events: Vec<Event> = (0..count).map(|number| Event::new(format!("evt_{number}"), "a.b")).collect();
    pipeline.publish(&application, &events).await.unwrap();
    let least = count - WINDOW;
    let process = &*pipeline.roles().process(Role::Delivery, 1).unwrap();
    eventually("deliveries are listed", LONG, || async {
        let queued = process.metric("hookbus_delivery_queued").await.ok()?;
        (queued >= f64::from(u32::try_from(least).ok()?)).then_some(())
    })
    .await
    .unwrap();
    (pipeline, application, subscription)
}

/// What `hookbus offsets show delivery` says of the one partition.
async fn offsets(pipeline: &Pipeline) -> Value {
    let (code, text) = hookbus(pipeline, &["offsets", "show", "delivery", "--output", "json"]).await;
    assert_eq!(code, 0, "{text}");
    serde_json::from_str::<Vec<Value>>(&text).unwrap().remove(0)
}

/// Everything that waits is released by hand: kept out by a running worker, killed on the way, run again, and once more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_in_lists_is_released_for_an_older_release_and_delivered_once() {
    let count = 4_000;
    let (mut pipeline, application, subscription) = paused("lanes-release", count).await;
    let release = ["lanes", "release", "--yes"];
    let (code, text) = hookbus(&pipeline, &release).await;
    assert!(code == 1 && text.contains("nothing was changed") && text.contains("has 1 live member: "), "{code} {text}");
    pipeline.roles().stop(Role::Delivery, 1).await.unwrap();
    let (code, text) = hookbus(&pipeline, &release[..2]).await;
    assert!(code == USAGE && text.contains("nobody to ask"), "{code} {text}");
    let before = offsets(&pipeline).await;
    let queued = usize::try_from(before["queued"].as_u64().unwrap()).unwrap();
    assert!(queued >= count - WINDOW && before["queued_since_ms"].as_i64().is_some(), "{before}");
    let (_, text) = hookbus(&pipeline, &["offsets", "show", "delivery"]).await;
    assert!(text.contains(&format!("{queued} wait in lists, the oldest since ")), "{text}");

    let mut killed = pipeline.spawn(&release, Stdio::piped()).unwrap();
    let mut lines = BufReader::new(killed.stdout.take().unwrap()).lines();
    while let Some(line) = tokio::time::timeout(SOON, lines.next_line()).await.unwrap().unwrap() {
        if line.contains(" released, ") {
            break;
        }
    }
    killed.kill().await.unwrap();
    // Whoever was killed leaves its group when its session ends; until then the next one is kept out.
    eventually("it is released", LONG, || async {
        let (code, text) = hookbus(&pipeline, &release).await;
        assert!(code == 0 || text.contains("live member"), "{code} {text}");
        (code == 0 && text.contains(" 0 left") && text.contains("released: the lists are empty")).then_some(())
    })
    .await
    .unwrap();
    let after = offsets(&pipeline).await;
    assert_eq!((&after["queued"], &after["queued_since_ms"]), (&Value::Null, &Value::Null), "{after}");
    let ends = |row: &Value| usize::try_from(row["log_end"].as_i64().unwrap()).unwrap();
    assert!(ends(&after) >= ends(&before) + queued, "{before} {after}");
    let (code, text) = hookbus(&pipeline, &release).await;
    assert!(code == 0 && text.contains("0 released, 0 left"), "{code} {text}");

    pipeline.roles().start(Role::Delivery, 1).await.unwrap();
    pipeline.pause(&application, &subscription, false).await.unwrap();
    let outcome = pipeline.finish_within(Expect::default(), LONG).await.unwrap();
    assert_eq!((outcome.audit.counts.delivered, outcome.audit.counts.repeats), (count, 0));
    assert_eq!(outcome.books.hops.len(), count + queued, "each of them was written once more");
}

/// `lanes` made anew under a worker that is down: it stops and names the command that goes on without what is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_that_are_not_what_was_committed_are_accepted_by_hand() {
    let count = 1_000;
    let (mut pipeline, application, subscription) = paused("lanes-accept", count).await;
    let accept = ["lanes", "accept", "--yes"];
    let (code, text) = hookbus(&pipeline, &accept).await;
    assert!(code == 1 && text.contains("has 1 live member: "), "{code} {text}");
    pipeline.roles().stop(Role::Delivery, 1).await.unwrap();
    let (code, text) = hookbus(&pipeline, &accept).await;
    assert!(code == 0 && text.contains("nothing to do"), "{code} {text}");
    let queued = usize::try_from(offsets(&pipeline).await["queued"].as_u64().unwrap()).unwrap();
    let (brokers, lanes) = (SharedKafka::of_this_run().unwrap().bootstrap, pipeline.topics().lanes.to_string());
    console::delete_topic(&brokers, &lanes).await.unwrap();
    eventually("the topic is gone and can be made again", SOON, || async {
        (hookbus(&pipeline, &["topics", "ensure"]).await.0 == 0).then_some(())
    })
    .await
    .unwrap();
    pipeline.roles().launch(Role::Delivery, 1).await.unwrap();
    let process = pipeline.roles().process(Role::Delivery, 1).unwrap();
    assert_eq!(process.ended(SOON).await.unwrap(), Exit::Code(1));
    assert!(process.log().contains("`hookbus lanes accept`"), "{}", process.log());

    let differs = format!("holds 0 entries, and {queued} were committed");
    eventually("a group without members", SOON, || async {
        let (_, text) = hookbus(&pipeline, &["lanes", "show"]).await;
        (text.contains(&differs) && text.contains("hookbus lanes accept")).then_some(())
    })
    .await
    .unwrap();
    let (code, text) = hookbus(&pipeline, &["lanes", "release", "--yes"]).await;
    assert!(code == 1 && text.contains("nothing was changed"), "{code} {text}");
    let (code, text) = hookbus(&pipeline, &accept[..2]).await;
    assert!(code == USAGE && text.contains(&differs) && text.contains("nobody to ask"), "{code} {text}");
    let (code, text) = hookbus(&pipeline, &accept).await;
    assert!(code == 0 && text.contains("accepted in 1 of 1 partitions"), "{code} {text}");
    assert!(text.contains(&format!("at least {queued} deliveries")), "{text}");
    assert_eq!(offsets(&pipeline).await["queued"], 0);

    pipeline.roles().start(Role::Delivery, 1).await.unwrap();
    pipeline.pause(&application, &subscription, false).await.unwrap();
    let kept = u64::try_from(count - queued).unwrap();
    pipeline.endpoint().wait_for(&subscription.path, kept, SOON).await.unwrap();
    eventually("their outcomes are committed", SOON, || async { (offsets(&pipeline).await["lag"] == 0).then_some(()) })
        .await
        .unwrap();
    let outcome =
        pipeline.finish_within(Expect { waiting: queued, unclean: true, ..Expect::default() }, LONG).await.unwrap();
    assert_eq!((outcome.audit.counts.delivered, outcome.audit.counts.repeats), (count - queued, 0));
}
