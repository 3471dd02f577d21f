//! Rule W8: a role does not guess where to begin. It stops, `hookbus offsets` says why, and mends it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_dev::tether::Exit;
use schemas::record::{Headers, OutRecord};
use serde_json::{Value, json};
use testkit::Expect;
use testkit::broker::SharedKafka;
use testkit::pipeline::{Event, Pipeline, Role, Setup, console};
use testkit::wait::eventually;

const SOON: Duration = Duration::from_secs(60);
/// Wrong usage, as `sysexits.h` numbers it.
const USAGE: i32 = 64;

/// Exit code and everything printed of `hookbus offsets <arguments>`. Its standard input is no terminal.
async fn offsets(pipeline: &Pipeline, arguments: &[&str]) -> (i32, String) {
    let output = pipeline.command(&[&["offsets"], arguments].concat()).await.unwrap();
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
    (output.status.code().unwrap(), text)
}

async fn rows(pipeline: &Pipeline) -> Vec<Value> {
    let (code, text) = offsets(pipeline, &["show", "fanout", "--output", "json"]).await;
    assert_eq!(code, 0, "{text}");
    serde_json::from_str(&text).unwrap()
}

/// Committed offset and standing of each partition of `events`.
async fn events(pipeline: &Pipeline) -> Vec<(Option<i64>, String)> {
    let rows = rows(pipeline).await;
    let of_events = rows.iter().filter(|row| row["topic"] == *pipeline.topics().events);
    of_events.map(|row| (row["committed"].as_i64(), row["standing"].as_str().unwrap().to_owned())).collect()
}

/// Writes records that are no events.
async fn write(pipeline: &Pipeline, partition: i32, count: usize) {
    for _ in 0..count {
        let (topic, value) = (Arc::clone(&pipeline.topics().events), Some(Bytes::from_static(b"no event")));
        let record = OutRecord { topic, partition: Some(partition), key: None, value, headers: Headers::default() };
        pipeline.produce(&record).await.unwrap();
    }
}

/// Deletes the first records of a partition, as retention would.
async fn expire(pipeline: &Pipeline, partition: i32, before: i64) {
    let brokers = SharedKafka::of_this_run().unwrap().bootstrap;
    console::delete_records(&brokers, &pipeline.topics().events, partition, before).await.unwrap();
}

/// Deletes a role's group, as when a cluster is mirrored without its groups. It has no members.
async fn lose_group(pipeline: &Pipeline, role: &str) {
    let (code, text) = offsets(pipeline, &["show", role, "--output", "json"]).await;
    assert_eq!(code, 0, "{text}");
    let rows: Vec<Value> = serde_json::from_str(&text).unwrap();
    let brokers = SharedKafka::of_this_run().unwrap().bootstrap;
    console::delete_group(&brokers, rows[0]["group"].as_str().unwrap()).await.unwrap();
}

/// The worker ends by itself, and its last words lead to the way out.
async fn fanout_refuses(pipeline: &mut Pipeline) {
    pipeline.roles().launch(Role::Fanout, 1).await.unwrap();
    let fanout = pipeline.roles().process(Role::Fanout, 1).unwrap();
    assert_eq!(fanout.ended(SOON).await.unwrap(), Exit::Code(1));
    let log = fanout.log();
    for word in ["has no committed offset", "`hookbus offsets`", "deploy/runbooks/no-committed-offset.md"] {
        assert!(log.contains(word), "{word}: {log}");
    }
    // The group forgets whoever ended like this after the session timeout.
    let alone = || async { rows(pipeline).await.iter().all(|row| row["members"] == 0).then_some(()) };
    eventually("a group without members", SOON, alone).await.unwrap();
}

async fn what_does_not_fit_is_refused(pipeline: &Pipeline) {
    for (arguments, why) in [
        (&["set", "fanout", "--topic", "events", "--to", "start"][..], "nobody to ask"),
        (&["set", "fanout", "--topic", "deliveries", "--to", "start", "--yes"], "does not read `deliveries`"),
        (&["set", "fanout", "--topic", "events", "--to", "2", "--yes"], "begins at offset 3 and ends at 5"),
        (
            &["set", "fanout", "--topic", "events", "--partition", "0", "--to", "6", "--yes"],
            "ends at 5; 6 is not in it",
        ),
        (&["set", "fanout", "--topic", "events", "--partition", "2", "--to", "end", "--yes"], "has no partition 2"),
        (&["set", "fanout", "--topic", "events", "--to", "latest", "--yes"], "`start`, `end` or an offset"),
        (&["set", "gateway", "--topic", "events", "--to", "end", "--yes"], "fanout, delivery, retry"),
    ] {
        let (code, text) = offsets(pipeline, arguments).await;
        assert_eq!(code, USAGE, "{arguments:?}: {text}");
        assert!(text.contains(why), "{arguments:?}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_without_committed_offsets_is_told_where_to_begin_and_begins_there() {
    let mut pipeline = Setup::new("offsets").set("kafka.session_timeout_ms", 6_000).topics_only().await.unwrap();
    // Who creates the topics commits the beginning; here the group is lost afterwards.
    let beginning = events(&pipeline).await;
    assert_eq!(beginning, [(Some(0), "committed".to_owned()), (Some(0), "committed".to_owned())]);
    lose_group(&pipeline, "fanout").await;
    write(&pipeline, 0, 5).await;
    expire(&pipeline, 0, 3).await;
    write(&pipeline, 1, 4).await;
    expire(&pipeline, 1, 3).await;
    fanout_refuses(&mut pipeline).await;

    let (code, text) = offsets(&pipeline, &["show"]).await;
    assert_eq!(code, 0, "{text}");
    assert_eq!(text.matches("NO COMMITTED OFFSET: the role stops").count(), 2, "{text}");
    for word in ["fanout (group", "delivery (group", "retry.10m", "hookbus offsets set fanout --topic events"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert_eq!(events(&pipeline).await, [(None, "missing".to_owned()), (None, "missing".to_owned())]);

    what_does_not_fit_is_refused(&pipeline).await;
    assert_eq!(events(&pipeline).await, [(None, "missing".to_owned()), (None, "missing".to_owned())]);

    let one = ["set", "fanout", "--topic", "events", "--partition", "1", "--to", "end", "--yes"];
    let (code, text) = offsets(&pipeline, &one).await;
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("partition 1: none -> 4 (log end), up to 1 records SKIPPED"), "{text}");
    assert!(text.contains("lost") && !text.contains("partition 0"), "{text}");
    fanout_refuses(&mut pipeline).await;
    // Now only the other partition has none.
    let (code, text) = offsets(&pipeline, &["set", "fanout", "--topic", "events", "--to", "start", "--yes"]).await;
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("partition 0: none -> 3 (log start), up to 2 records read again"), "{text}");
    assert!(text.contains("1 offset set") && !text.contains("partition 1"), "{text}");
    let set = |committed| (Some(committed), "committed".to_owned());
    assert_eq!(events(&pipeline).await, [set(3), set(4)]);
    let (code, text) = offsets(&pipeline, &["set", "fanout", "--topic", "events", "--to", "end", "--yes"]).await;
    assert!(code == 0 && text.contains("nothing to do"), "{code} {text}");

    pipeline.roles().start_all().await.unwrap();
    pipeline.roles().start(Role::Fanout, 1).await.unwrap();
    let application = pipeline.application(&["a.b"]).await.unwrap();
    let subscription = pipeline.subscribe(&application, &["a.b"], json!({})).await.unwrap();
    let made: Vec<Event> = (0..8).map(|number| Event::new(format!("evt_{number}"), "a.b")).collect();
    pipeline.publish(&application, &made).await.unwrap();
    pipeline.endpoint().wait_for(&subscription.path, 8, SOON).await.unwrap();
    let (code, text) =
        offsets(&pipeline, &["set", "fanout", "--topic", "events", "--partition", "0", "--to", "end", "--yes"]).await;
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("has 1 live member: ") && text.contains("-fanout-1 at 127.0.0.1"), "{text}");
    // What was kept on partition 0 was read; what was skipped on partition 1 was not, which the ledger would call a loss.
    expire(&pipeline, 1, 4).await;
    pipeline.finish(Expect { rejected: 2, ..Expect::default() }).await.unwrap();
}

/// A lost group is not a new one, although nothing has expired yet: everything would be sent again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_whose_group_was_lost_stops_although_its_log_begins_at_zero() {
    let mut pipeline = Setup::new("lost-group").set("kafka.session_timeout_ms", 6_000).start().await.unwrap();
    let application = pipeline.application(&["a.b"]).await.unwrap();
    let subscription = pipeline.subscribe(&application, &["a.b"], json!({})).await.unwrap();
    let made: Vec<Event> = (0..8).map(|number| Event::new(format!("evt_{number}"), "a.b")).collect();
    pipeline.publish(&application, &made).await.unwrap();
    pipeline.endpoint().wait_for(&subscription.path, 8, SOON).await.unwrap();
    pipeline.settled(SOON).await.unwrap();
    pipeline.roles().stop(Role::Delivery, 1).await.unwrap();
    lose_group(&pipeline, "delivery").await;

    pipeline.roles().launch(Role::Delivery, 1).await.unwrap();
    let delivery = pipeline.roles().process(Role::Delivery, 1).unwrap();
    assert_eq!(delivery.ended(SOON).await.unwrap(), Exit::Code(1));
    assert!(delivery.log().contains("has no committed offset, and records from 0 to"), "{}", delivery.log());
    let (_, text) = offsets(&pipeline, &["show", "delivery"]).await;
    assert!(text.contains("NO COMMITTED OFFSET: the role stops"), "{text}");
    // Also asked to, nobody guesses; what never had a record begins at 0 once more.
    let output = pipeline.command(&["topics", "ensure"]).await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("HAS NO COMMITTED OFFSET") && text.contains("offsets set delivery --topic deliveries"),
        "{text}"
    );

    let alone = || async {
        let (_, text) = offsets(&pipeline, &["show", "delivery"]).await;
        text.contains("no live members").then_some(())
    };
    eventually("a group without members", SOON, alone).await.unwrap();
    let (code, text) = offsets(&pipeline, &["set", "delivery", "--topic", "deliveries", "--to", "end", "--yes"]).await;
    assert_eq!(code, 0, "{text}");
    pipeline.roles().start(Role::Delivery, 1).await.unwrap();
    pipeline.publish(&application, &[Event::new("evt_last", "a.b")]).await.unwrap();
    pipeline.endpoint().wait_for(&subscription.path, 9, SOON).await.unwrap();
    pipeline.finish(Expect::default()).await.unwrap();
}
