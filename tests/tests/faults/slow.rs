//! A Kafka that is slow, not gone: every answer late, nothing at all for a while, or few bytes per second.

use std::time::Duration;

use kafka::clock::now_ms;
use serde_json::json;
use testkit::broker::SharedKafka;
use testkit::ledger::books::{self, Books};
use testkit::ledger::collect;
use testkit::pipeline::{Event, Pipeline, Role, Setup, Subscription, console, report};
use testkit::{Expect, broker};

use crate::scenes::{SOON, arrived, lasts, latencies, more_arrived, shop, within};

/// Both workers that write transactions are far from Kafka: every answer takes 10 ms longer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kafka_whose_answers_come_late_loses_and_doubles_nothing() {
    let proxy = SharedKafka::of_this_run().unwrap().proxy().unwrap();
    proxy.delay(Duration::from_millis(10));
    let roles = [Role::Fanout, Role::Delivery, Role::Retry];
    let setup = roles.into_iter().fold(Setup::new("late"), |setup, role| setup.through(role, 1, &proxy));
    let (pipeline, application, subscriptions) = shop(setup, 3).await;
    pipeline.endpoint().script(&subscriptions[0].path, "500 204").unwrap();
    let load = pipeline.load(&application, "a.b", 40);
    arrived(&pipeline, 400).await;
    load.stop().await.unwrap();
    pipeline.finish(Expect::default()).await.unwrap();
}

/// What a delivery worker may have sent and not committed, of each partition. A quick endpoint takes all of it before the worker
/// notices that it has no contact any more.
const WINDOW: i64 = 200;
const PARTITIONS: i64 = 2;
/// So much is sent again after a stall, at most.
const SENT_AGAIN: usize = 400;

/// Connections stay open and nothing comes through.
async fn stalled(name: &str, stall: Duration, times: usize) {
    let proxy = SharedKafka::of_this_run().unwrap().proxy().unwrap();
    let roles = [Role::Fanout, Role::Delivery, Role::Retry];
    let setup = roles.into_iter().fold(Setup::new(name), |setup, role| setup.through(role, 1, &proxy));
    let setup = setup.set("delivery.live_records", WINDOW).set("topics.partitions.deliveries", PARTITIONS);
    let (pipeline, application, subscriptions) = shop(setup, 3).await;
    pipeline.endpoint().script(&subscriptions[0].path, "500 204").unwrap();
    let load = pipeline.load(&application, "a.b", 40);
    for _ in 0..times {
        more_arrived(&pipeline, 200).await;
        proxy.stall();
        lasts(stall).await;
        proxy.restore();
    }
    more_arrived(&pipeline, 200).await;
    load.stop().await.unwrap();
    // What was sent while nothing could be committed may be sent again, once for each stall.
    let expect = Expect { repeats: SENT_AGAIN * times, unclean: true, ..Expect::default() };
    pipeline.finish_within(expect, Duration::from_secs(120)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kafka_that_stalls_for_a_moment_loses_nothing() {
    stalled("stalled", Duration::from_secs(3), 1).await;
}

/// Longer than a session and than a transaction.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults"]
async fn a_kafka_that_stalls_longer_than_a_transaction_loses_nothing() {
    stalled("stalled-15-s", Duration::from_secs(15), 3).await;
}

/// A quota counts over 11 s by default: a client that was quiet before may send ten times its bytes per second at once, and
/// nothing here would ever be throttled.
const SHORT_WINDOW: [(&str, &str); 1] = [("quota.window.num", "2")];
/// 15 MB at 2 MB/s are 7.5 s, less what a window of 2 s lets through.
const THROTTLED_MS: i64 = 4_000;
/// Of the few transactions that the large event is tried in.
const MARKERS: i64 = 20;

/// A pipeline whose subscriptions all want one type, on a broker that takes so many bytes per second from each client.
struct Throttled {
    pipeline: Pipeline,
    application: testkit::pipeline::Application,
    /// It wants the other type.
    neighbour: Subscription,
    many: usize,
    _kafka: kafka_dev::Broker,
    _folder: tempfile::TempDir,
}

/// On 2 MB/s, where an event becomes 16 MiB at most.
async fn throttled(many: usize) -> Throttled {
    throttled_with(many, 16 * 1_024 * 1_024).await
}

async fn throttled_with(many: usize, most_bytes: i64) -> Throttled {
    let folder = tempfile::tempdir().unwrap();
    let kafka = broker::start_with(folder.path(), 0, &SHORT_WINDOW).await.unwrap();
    let setup = Setup::new("throttled").on(kafka.bootstrap()).roles(Role::Fanout, 2);
    let setup = setup.set("topics.partitions.events", 2).set("control.max_subscriptions", 20_000);
    let setup = setup.set("fanout.max_expansion_bytes", most_bytes);
    let mut pipeline = setup.start().await.unwrap();
    let application = pipeline.application(&["a.b", "c.d"]).await.unwrap();
    let neighbour = pipeline.subscribe(&application, &["c.d"], json!({})).await.unwrap();
    for _ in 0..many {
        pipeline.subscribe(&application, &["a.b"], json!({})).await.unwrap();
    }
    console::throttle(&kafka.bootstrap(), "producer_byte_rate=2000000").await.unwrap();
    Throttled { pipeline, application, neighbour, many, _kafka: kafka, _folder: folder }
}

impl Throttled {
    /// How long so many small events need, from the first one sent to the last one at the endpoint.
    async fn neighbours(&self, from: &str, count: u64) -> i64 {
        let before = self.pipeline.endpoint().count(&self.neighbour.path);
        let began = now_ms();
        let client = self.pipeline.client();
        for number in 0..count {
            let event = Event::new(format!("{from}-{number}"), "c.d").sized(100);
            assert_eq!(client.send(1, &self.application, &event).await.unwrap().status, 201);
        }
        self.pipeline.endpoint().wait_for(&self.neighbour.path, before + count, SOON).await.unwrap();
        now_ms() - began
    }

    /// Requests that the large event became so far.
    fn fanned_out(&self) -> usize {
        let endpoint = self.pipeline.endpoint();
        usize::try_from(endpoint.count("/") - endpoint.count(&self.neighbour.path)).unwrap()
    }

    /// What stands on `deliveries` beside the neighbours: the large event's records so many times at most, aborted ones too.
    async fn written_at_most(&self, times: i64) {
        let topics = self.pipeline.topics();
        let ends = collect::ends(self.pipeline.connection(), &topics.deliveries).await.unwrap();
        let offsets: i64 = ends.values().sum();
        let matched = i64::try_from(self.many).unwrap();
        let neighbours = i64::try_from(self.pipeline.endpoint().count(&self.neighbour.path)).unwrap();
        // Each neighbour at most with a marker of its own.
        let written = offsets - 2 * neighbours;
        let told = format!("{offsets} offsets of `deliveries` for {matched} matches and {neighbours} neighbours");
        assert!(written <= times * matched + MARKERS, "{told}: the large event's were written more than {times} times");
        report(&format!("throttled: {told}"));
    }

    /// Sends one event for all of them; whether it was fanned out or rejected, its records were not written over and over.
    async fn one_for_all(self, rejected: bool, written: i64) {
        let Self { pipeline, application, many, .. } = &self;
        pipeline.publish(application, &[large()]).await.unwrap();
        let took_ms = self.neighbours("beside", 20).await;
        report(&format!("throttled: 20 events beside one with {many} matches took {took_ms} ms"));
        pipeline.settled(Duration::from_secs(180)).await.unwrap();
        self.written_at_most(written).await;
        let Self { pipeline, .. } = self;
        let expect = Expect { rejected: usize::from(rejected), ..Expect::default() };
        pipeline.finish_within(expect, Duration::from_secs(180)).await.unwrap();
    }
}

/// Of 100 KB, for all but the neighbour.
fn large() -> Event {
    Event::new("for-all", "a.b").sized(100_000)
}

/// 10 MB at 2 MB/s, in slices of 2 MiB.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_takes_a_throttled_kafka_many_seconds_is_fanned_out_and_written_at_most_twice() {
    Box::pin(throttled(100).await.one_for_all(false, 2)).await;
}

/// Above what one event may become: it is rejected with its reason, and nothing of it is written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_of_too_many_bytes_in_all_is_rejected() {
    Box::pin(throttled(200).await.one_for_all(true, 0)).await;
}

/// 40 MB at 2 MB/s: twice what a transaction's time is enough for, so it takes several.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults"]
async fn an_event_that_a_throttled_kafka_takes_in_no_transaction_is_written_in_slices() {
    Box::pin(throttled_with(400, 64 * 1_024 * 1_024).await.one_for_all(false, 2)).await;
}

/// 500 MB are far above what one event may become: it is rejected, and events of other partitions arrive within one and a half
/// times their time without it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults"]
async fn an_event_of_100_kb_with_5000_matches_on_a_throttled_kafka_delays_nobody() {
    let scene = throttled(5_000).await;
    let alone_ms = scene.neighbours("alone", 200).await;
    scene.pipeline.publish(&scene.application, &[large()]).await.unwrap();
    let beside_ms = scene.neighbours("beside-it", 200).await;
    within("200 events beside the large one", beside_ms, alone_ms * 3 / 2);
    scene.written_at_most(0).await;
    let Throttled { pipeline, .. } = scene;
    pipeline.finish_within(Expect { rejected: 1, ..Expect::default() }, Duration::from_secs(300)).await.unwrap();
}

/// The largest that may be: 15 MB of 16 MiB. Its neighbours wait for what is written before them in their worker, and for the end of the
/// transaction on `deliveries`, a slice each time: how long is printed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults"]
async fn the_largest_event_that_may_be_on_a_throttled_kafka_is_fanned_out_and_written_at_most_twice() {
    let scene = throttled(150).await;
    scene.neighbours("before", 200).await;
    scene.pipeline.publish(&scene.application, &[large()]).await.unwrap();
    let published_ms = now_ms();
    let mut rounds = 0;
    while scene.fanned_out() < scene.many {
        scene.neighbours(&format!("during-{rounds}"), 10).await;
        rounds += 1;
    }
    let took_ms = now_ms() - published_ms;
    assert!(took_ms > THROTTLED_MS, "{took_ms} ms: the quota throttled nobody");
    report(&format!("throttled: 15 MB are fanned out and delivered {took_ms} ms after they came"));
    scene.neighbours("after", 200).await;
    scene.written_at_most(2).await;
    let Throttled { pipeline, .. } = scene;
    let outcome = pipeline.finish_within(Expect::default(), Duration::from_secs(180)).await.unwrap();
    ["before", "during", "after"].iter().for_each(|when| report_latencies(&outcome.books, when));
}

/// Of the neighbours of a time, from their acceptance to the endpoint: in the large event's partition and in the other one.
fn report_latencies(books: &Books, when: &str) {
    let named =
        |event: &books::Event, name: &str| event.content.as_ref().is_some_and(|it| it.identity.id.starts_with(name));
    let large = books.events.iter().find(|event| named(event, "for-all")).expect("it was published");
    for (partition, same) in [("its own", true), ("the other", false)] {
        let here =
            |event: &books::Event| named(event, when) && (event.place.partition == large.place.partition) == same;
        let took = latencies(books, here);
        let (median, slowest) = (took.get(took.len() / 2).copied(), took.last().copied());
        report(&format!(
            "throttled: {when} it, {} neighbours of {partition} partition took {} ms, at most {}",
            took.len(),
            median.unwrap_or_default(),
            slowest.unwrap_or_default()
        ));
    }
}
