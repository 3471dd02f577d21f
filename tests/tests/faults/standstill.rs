//! Kafka stands still in the middle of a backlog for longer than a session lasts: every worker loses its partitions with full
//! batches in its hands. When Kafka goes on, so does everybody, and all of it is delivered.

use std::time::Duration;

use kafka::Offsets;
use kafka::clock::now_ms;
use schemas::record::TopicPartition;
use testkit::broker::{self, SharedKafka};
use testkit::pipeline::{Application, Event, Pipeline, Role, Setup, report};
use testkit::proxy::{Action, Api};
use testkit::wait::eventually;
use testkit::{Expect, Proxy};

use crate::scenes::{SOON, lasts, shop};

/// Of each ten events so many have this size: batches close by bytes long before they close by records.
const SIZES: [(usize, usize); 3] = [(5, 1_024), (4, 4 * 1_024), (1, 16 * 1_024)];
/// One in so many has 100 KiB.
const LARGE_ONE_IN: usize = 60;
const LARGE: usize = 100 * 1_024;
/// Published at once: what librdkafka's queue takes.
const PART: usize = 500;
/// Of `deliveries`, in a doubled pipeline.
const PARTITIONS: i32 = 4;
/// What a window holds may be done and not committed when its worker loses it: four partitions, 1,000 deliveries each.
const WINDOWS: usize = 4 * 1_000;

/// A backlog, and how often and for how long Kafka stands still in its midst.
#[derive(Clone, Copy)]
struct Standstill {
    name: &'static str,
    events: usize,
    times: usize,
    lasts: Duration,
    within: Duration,
}

fn backlog(count: usize) -> impl Iterator<Item = Event> {
    (0..count).map(|number| {
        let mut place = number % 10;
        let of_ten = SIZES.iter().find_map(|(share, bytes)| {
            if place < *share {
                return Some(*bytes);
            }
            place -= share;
            None
        });
        let bytes = if number % LARGE_ONE_IN == 0 { LARGE } else { of_ten.expect("the shares make ten") };
        Event::new(format!("evt_{number}"), "a.b").sized(bytes)
    })
}

async fn publish(pipeline: &Pipeline, application: &Application, count: usize) {
    let mut events = backlog(count).peekable();
    while events.peek().is_some() {
        let part: Vec<Event> = events.by_ref().take(PART).collect();
        pipeline.publish(application, &part).await.unwrap();
    }
}

impl Standstill {
    /// The backlog is written while nobody matches it, so that every batch is full from the first one on.
    async fn begin(self, setup: Setup) -> Pipeline {
        let (mut pipeline, application, _) = shop(setup, 1).await;
        for number in [1, 2] {
            pipeline.roles().stop(Role::Fanout, number).await.unwrap();
        }
        publish(&pipeline, &application, self.events).await;
        for number in [1, 2] {
            pipeline.roles().launch(Role::Fanout, number).await.unwrap();
        }
        pipeline
    }

    /// Waits until this standstill is due: they divide the fan-out's work evenly, so that it has full batches each time.
    async fn is_due(self, pipeline: &Pipeline, time: usize) {
        let part = self.events / (self.times + 1) * time;
        let offsets = Offsets::start(pipeline.connection()).unwrap();
        let ask = || async {
            let mut written = 0;
            for partition in 0..PARTITIONS {
                written += offsets.end(&TopicPartition::new(&*pipeline.topics().deliveries, partition)).await.ok()?;
            }
            (written >= i64::try_from(part).ok()?).then_some(())
        };
        eventually("a fan-out in the midst of the backlog", self.within, ask).await.unwrap();
    }

    async fn end(self, pipeline: Pipeline, begun_ms: i64) {
        let repeats = self.times * WINDOWS;
        let expect = Expect { repeats, unclean: true, ..Expect::default() };
        let outcome = pipeline.finish_within(expect, self.within).await.unwrap();
        let counts = outcome.audit.counts;
        assert_eq!(counts.delivered, self.events);
        report(&format!(
            "{}: {} events, Kafka stands still {} times for {:?}, all delivered in {} ms, {} repeats of at most {repeats}",
            self.name,
            self.events,
            self.times,
            self.lasts,
            now_ms() - begun_ms,
            counts.repeats
        ));
    }

    /// The broker itself is frozen (SIGSTOP): for everybody.
    async fn frozen(self, setup: Setup) {
        let folder = tempfile::tempdir().unwrap();
        let mut kafka = broker::start(folder.path(), 0).await.unwrap();
        let pipeline = self.begin(setup.on(kafka.bootstrap())).await;
        let begun_ms = now_ms();
        for time in 1..=self.times {
            self.is_due(&pipeline, time).await;
            kafka.pause().unwrap();
            lasts(self.lasts).await;
            kafka.resume().unwrap();
        }
        self.end(pipeline, begun_ms).await;
    }

    /// Fan-out and delivery workers are cut off, each time while a commit of a fan-out is under way: their sessions are lost.
    async fn cut_off(self, setup: Setup) {
        let proxies: [Proxy; 2] = std::array::from_fn(|_| SharedKafka::of_this_run().unwrap().proxy().unwrap());
        let [fanout, delivery] = &proxies;
        let setup = setup.through(Role::Fanout, 1, fanout).through(Role::Fanout, 2, fanout);
        let setup = setup.through(Role::Delivery, 1, delivery).through(Role::Delivery, 2, delivery);
        let pipeline = self.begin(setup).await;
        let begun_ms = now_ms();
        for time in 1..=self.times {
            self.is_due(&pipeline, time).await;
            let mut commit = fanout.on_next(Api::EndTxn, Action::LoseAnswer);
            commit.met(SOON).await.unwrap();
            proxies.iter().for_each(Proxy::cut);
            lasts(self.lasts).await;
            proxies.iter().for_each(Proxy::restore);
        }
        self.end(pipeline, begun_ms).await;
    }
}

/// The shortest session a broker allows, and batches so small that the backlog makes many.
fn short_session(name: &str) -> Setup {
    let setup = Setup::new(name).doubled().set("fanout.batch_bytes", 262_144);
    setup.set("kafka.session_timeout_ms", 6_000).set("kafka.transaction_timeout_ms", 6_000)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_goes_on_after_kafka_stood_still_for_longer_than_a_session() {
    let (times, lasts, within) = (1, Duration::from_secs(9), Duration::from_secs(90));
    Standstill { name: "standstill", events: 8_000, times, lasts, within }.frozen(short_session("standstill")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_goes_on_after_its_workers_lost_their_sessions() {
    let (times, lasts, within) = (1, Duration::from_secs(9), Duration::from_secs(90));
    Standstill { name: "lost sessions", events: 8_000, times, lasts, within }.cut_off(short_session("lost")).await;
}

/// What was seen to stand still for ever: 60,000 events, three standstills of 13 s, default timeouts, two of each role.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults"]
async fn sixty_thousand_events_go_on_after_kafka_stood_still_three_times() {
    let (times, lasts, within) = (3, Duration::from_secs(13), Duration::from_secs(420));
    let standstill = Standstill { name: "60,000 frozen", events: 60_000, times, lasts, within };
    standstill.frozen(Setup::new("frozen-60000").doubled()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults"]
async fn sixty_thousand_events_go_on_after_three_lost_sessions() {
    let (times, lasts, within) = (3, Duration::from_secs(13), Duration::from_secs(420));
    let standstill = Standstill { name: "60,000 lost sessions", events: 60_000, times, lasts, within };
    standstill.cut_off(Setup::new("lost-60000").doubled()).await;
}
