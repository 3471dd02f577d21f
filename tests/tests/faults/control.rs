//! Writes to `control` by two control planes at once, and topics that are not what they were.

use http::Method;
use kafka::clock::now_ms;
use serde_json::json;
use testkit::Expect;
use testkit::broker::SharedKafka;
use testkit::pipeline::{Pipeline, Role, Setup, console, report};
use testkit::proxy::{Action, Api};

use crate::scenes::{SOON, arrived, send, shop};

fn names(from: &str, count: usize) -> impl Iterator<Item = String> {
    (0..count).map(move |number| format!("{from}-{number}"))
}

/// Who of the two may call an application by this uid.
async fn claim(pipeline: &Pipeline, control: usize, uid: &str) -> bool {
    let body = json!({ "organization_id": "0b5e55ed-0000-7000-8000-000000000001", "name": "claimed", "uid": uid });
    let answer = pipeline.manage(control, Method::POST, "/applications", Some(&body)).await.unwrap();
    let status = answer.status.as_u16();
    assert!(status == 201 || (400..500).contains(&status), "{status} {:?}", answer.body);
    status == 201
}

/// Compare-and-set: a writer that has not seen the other's last write must not decide.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_control_planes_never_give_one_uid_twice() {
    let pipeline = Setup::new("two-controls").roles(Role::Control, 2).start().await.unwrap();
    let began = now_ms();
    for round in 0..15 {
        let uid = format!("at-once-{round}");
        let (one, two) = tokio::join!(claim(&pipeline, 1, &uid), claim(&pipeline, 2, &uid));
        assert!(one ^ two, "round {round}: {one} and {two}");
        // And one right after the other: the second one's reader is at an end that is no end any more.
        let uid = format!("in-turn-{round}");
        assert!(claim(&pipeline, round % 2 + 1, &uid).await);
        assert!(!claim(&pipeline, (round + 1) % 2 + 1, &uid).await, "round {round}: a stale end was trusted");
    }
    report(&format!("two-controls: 60 contended writes in {} ms", now_ms() - began));
    pipeline.finish(Expect::default()).await.unwrap();
}

/// The commit of a management write whose answer is lost: it was made, and the answer to the caller says so, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_management_write_whose_commit_answer_is_lost_is_made_once() {
    let proxy = SharedKafka::of_this_run().unwrap().proxy().unwrap();
    let setup = Setup::new("control-answer").roles(Role::Control, 2).through(Role::Control, 1, &proxy);
    let pipeline = setup.start().await.unwrap();
    assert!(claim(&pipeline, 1, "first").await);
    let mut lost = proxy.on_next(Api::EndTxn, Action::CloseForAnswer);
    assert!(claim(&pipeline, 1, "second").await, "its own write is found again");
    lost.done(SOON).await.unwrap();
    assert!(!claim(&pipeline, 2, "second").await);
    assert!(claim(&pipeline, 2, "third").await);
    pipeline.finish(Expect::default()).await.unwrap();
}

/// The events topic is deleted and made anew: offsets begin again, and so does reading.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recreated_events_topic_is_read_from_its_beginning() {
    let (pipeline, application, subscriptions) = shop(Setup::new("recreated"), 1).await;
    send(&pipeline, &application, names("old", 20)).await;
    arrived(&pipeline, 20).await;
    pipeline.settled(SOON).await.unwrap();
    let brokers = SharedKafka::of_this_run().unwrap().bootstrap;
    let events = pipeline.topics().events.to_string();
    console::delete_topic(&brokers, &events).await.unwrap();
    let config = ["message.timestamp.type=LogAppendTime", "max.message.bytes=1048588", "retention.ms=604800000"];
    console::create_topic(&brokers, &events, 2, &config).await.unwrap();
    // The gateway may need a moment to see it; the events count from the first one that is accepted.
    let client = pipeline.client();
    for name in names("new", 10) {
        let event = testkit::pipeline::Event::new(name, "a.b");
        testkit::wait::eventually("the gateway accepts again", SOON, || async {
            let status = client.send(1, &application, &event).await.ok()?.status.as_u16();
            (status == 201 || status == 409).then_some(())
        })
        .await
        .unwrap();
    }
    let path = &subscriptions[0].path;
    let seen = pipeline.endpoint().wait_for(path, 30, SOON).await.unwrap();
    let new = seen.iter().filter(|seen| seen.event().is_some_and(|id| id.starts_with("new"))).count();
    assert_eq!((seen.len(), new), (30, 10));
    // The old records are gone with their topic, so the ledger of the run cannot know them: what arrived was counted.
    let outcome = pipeline.verdict(Expect::default(), SOON).await.unwrap();
    assert_eq!(outcome.audit.counts.repeats, 0);
    assert_eq!(outcome.audit.counts.waiting, 0);
}
