//! An event for more subscriptions than one transaction writes, and a fan-out that dies between its slices: whoever takes over goes on
//! where it stood, and each subscription has the event once.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use kafka::topics;
use schemas::control::{ControlObject, SourceFormat, TopicSource};
use schemas::ids::{PositionId, SourceId};
use schemas::planted::PlantedBug;
use schemas::record::{Headers, OutRecord};
use schemas::topics::TopicSpec;
use testkit::Expect;
use testkit::broker::SharedKafka;
use testkit::pipeline::wide::{EVENT_TYPE, Wide, WideWritten};
use testkit::pipeline::{Event, Pipeline, Role, Setup, report};
use testkit::proxy::{Action, Api, Sprung};
use testkit::wait::eventually;
use uuid::Uuid;

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

/// A topic of others with the event as its only record, and a source that reads it from its beginning, written to `control`.
async fn source_of(pipeline: &Pipeline, wide: &Wide) -> TopicSource {
    let topic: Arc<str> = Arc::from(format!("their-{}orders", pipeline.topics().events.trim_end_matches("events")));
    let spec = TopicSpec { name: Arc::clone(&topic), partitions: 1, replication_factor: None, config: BTreeMap::new() };
    topics::ensure(pipeline.connection(), &[spec]).await.unwrap();
    let value = Some(Bytes::from(format!("{{\"id\":\"{EVENT}\"}}")));
    let record =
        OutRecord { topic: Arc::clone(&topic), partition: None, key: None, value, headers: Headers::default() };
    pipeline.produce(&record).await.unwrap();
    let id = SourceId(Uuid::new_v4());
    let mut source = TopicSource::new(id, wide.organization, "orders", SourceFormat::Json, position(), 0);
    (source.topics, source.application) = (vec![topic.to_string()], Some(wide.application.id.to_string()));
    (source.event_type, source.id) = (Some(EVENT_TYPE.to_owned()), Some("{value:/id}".to_owned()));
    pipeline.put(&ControlObject::Source(Box::new(source.clone()))).await.unwrap();
    source
}

/// One that is younger than all before.
fn position() -> PositionId {
    PositionId(Uuid::now_v7())
}

/// Its worker dies half way, and before another one comes the source is moved back to its beginning: the event is done first that is written
/// in part, then it is read again, and is a repeat.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_is_moved_back_between_two_slices_gives_each_subscription_the_event_once() {
    let proxy = SharedKafka::of_this_run().unwrap().proxy().unwrap();
    let setup = Setup::new("slices-moved").through(Role::Fanout, 1, &proxy).set("sources.refresh_ms", 1_000);
    let setup = setup.set("fanout.slice_records", SHORT.slice).set("kafka.session_timeout_ms", 6_000);
    let mut pipeline = setup.topics_only().await.unwrap();
    let wide = pipeline.wide(SHORT.matches).await.unwrap();
    let mut source = source_of(&pipeline, &wide).await;
    let held = proxy.on_next(Api::EndTxn, Action::HoldAnswer);
    pipeline.roles().launch(Role::Fanout, 1).await.unwrap();
    let written = killed_after_more(&mut pipeline, (&wide, &proxy, Api::EndTxn), 0, held).await;
    report(&format!("slices-moved: killed with {written} of {} written", SHORT.matches));
    assert!(written < SHORT.matches, "killed at its end");
    source.later_id = position();
    pipeline.put(&ControlObject::Source(Box::new(source.clone()))).await.unwrap();
    pipeline.roles().launch(Role::Fanout, 1).await.unwrap();
    let fanout = pipeline.roles().process(Role::Fanout, 1).unwrap();
    let repeated = || async { (fanout.metric("hookbus_fanout_repeats_total").await.ok()? >= 1.0).then_some(()) };
    eventually("the event once more, as a repeat", SOON, repeated).await.unwrap();
    let written = wide.written(&pipeline, EVENT).await.unwrap();
    report(&format!("slices-moved: {written}"));
    assert_eq!(written, WideWritten::once(SHORT.matches));
    drop(pipeline.verdict(Expect { waiting: 1, ..Expect::default() }, SOON).await);
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
