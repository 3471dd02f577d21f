//! An event for more subscriptions than one transaction writes, and a fan-out that dies between its slices: whoever takes over goes on
//! where it stood, and each subscription has the event once.

use schemas::planted::PlantedBug;
use testkit::Expect;
use testkit::broker::SharedKafka;
use testkit::pipeline::wide::{EVENT_TYPE, Wide, WideWritten};
use testkit::pipeline::{Event, Pipeline, Role, Setup, report};
use testkit::proxy::{Action, Api, Sprung};
use testkit::wait::eventually;

use crate::scenes::SOON;

const EVENT: &str = "for-all";

/// How wide the event is, how it is written, and how often its worker dies.
#[derive(Clone, Copy)]
struct Scene {
    matches: usize,
    slice: i64,
    kills: usize,
}

const SHORT: Scene = Scene { matches: 6_000, slice: 500, kills: 2 };

/// Waits until the worker has written more of the event than before and is told `held`, the next one of these, and kills it there.
async fn killed_after_more(
    pipeline: &mut Pipeline,
    (wide, proxy, api): (&Wide, &testkit::Proxy, Api),
    before: usize,
    mut held: Sprung,
) -> usize {
    loop {
        held.done(SOON).await.unwrap();
        let next = proxy.on_next(api, Action::HoldAnswer);
        let written = wide.written(pipeline, EVENT).await.unwrap();
        if written.deliveries > before {
            pipeline.roles().kill(Role::Fanout, 1).await.unwrap();
            return written.deliveries;
        }
        held.release();
        held = next;
    }
}

/// What is written in the end.
async fn killed_between_slices(name: &str, bug: Option<PlantedBug>, scene: Scene) -> WideWritten {
    let Scene { matches, slice, kills } = scene;
    let proxy = SharedKafka::of_this_run().unwrap().proxy().unwrap();
    let setup = Setup::new(&format!("{name}-{}", bug.map_or("sound", |_| "planted")));
    let setup = bug.into_iter().fold(setup, Setup::plant).through(Role::Fanout, 1, &proxy);
    let setup = setup.set("fanout.slice_records", slice).set("kafka.session_timeout_ms", 6_000);
    let mut pipeline = setup.topics_only().await.unwrap();
    let wide = pipeline.wide(matches).await.unwrap();
    pipeline.publish(&wide.application, &[Event::new(EVENT, EVENT_TYPE)]).await.unwrap();
    let mut written = 0;
    for kill in 0..kills {
        // It dies with a slice committed of which it does not know, and with one that is open.
        let api = if kill % 2 == 0 { Api::EndTxn } else { Api::TxnOffsetCommit };
        let held = proxy.on_next(api, Action::HoldAnswer);
        pipeline.roles().launch(Role::Fanout, 1).await.unwrap();
        written = killed_after_more(&mut pipeline, (&wide, &proxy, api), written, held).await;
        report(&format!("{name}: killed with {written} of {matches} written"));
        assert!(written < matches || bug.is_some(), "killed at its end");
    }
    pipeline.roles().launch(Role::Fanout, 1).await.unwrap();
    let ended = || async {
        let written = wide.written(&pipeline, EVENT).await.ok()?;
        (!written.matched.is_empty()).then_some(written)
    };
    let written = eventually("the end of the event", SOON, ended).await.unwrap();
    report(&format!("{name}: {written}"));
    // Nobody delivers it, and the ledger knows nothing of these subscriptions.
    drop(pipeline.verdict(Expect { waiting: 1, ..Expect::default() }, SOON).await);
    written
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fanout_that_dies_between_slices_gives_each_subscription_the_event_once() {
    let written = killed_between_slices("slices", None, SHORT).await;
    assert_eq!(written, WideWritten::once(SHORT.matches));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forgetting_how_far_an_event_is_written_doubles_deliveries() {
    let scene = Scene { kills: 1, ..SHORT };
    let written = killed_between_slices("cursor", Some(PlantedBug::ForgottenCursor), scene).await;
    assert!(written.doubled >= 500 && written.missing == 0, "it went unnoticed: {written}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults"]
async fn an_event_for_100_000_survives_ten_kills() {
    let scene = Scene { matches: 100_000, slice: 2_000, kills: 10 };
    let written = killed_between_slices("ten-kills", None, scene).await;
    assert_eq!(written, WideWritten::once(scene.matches));
}
