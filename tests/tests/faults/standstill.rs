//! Kafka stands still in the middle of a backlog for longer than a session lasts: every worker loses its partitions with full
//! batches in its hands. When Kafka goes on, so does everybody, and all of it is delivered.

mod long;

use std::time::Duration;

use kafka::Offsets;
use kafka::clock::now_ms;
use testkit::broker::{self, SharedKafka};
use testkit::pipeline::{Application, Event, Pipeline, Role, Setup, report};
use testkit::proxy::{Action, Api};
use testkit::wait::eventually;
use testkit::{Expect, Proxy};

use crate::scenes::{SOON, lasts, shop};

/// Of each ten events so many have this size: batches close by bytes long before they close by records.
const MIX: [(usize, usize); 3] = [(5, KIB), (4, 4 * KIB), (1, 16 * KIB)];
/// One of the mix in so many has 100 KiB.
const LARGE_ONE_IN: usize = 60;
const LARGE: usize = 100 * KIB;
/// Published at once: what librdkafka's queue takes.
const PART: usize = 500;
/// The deliveries of one subscription lie in one partition, whose window has so many. Of these some may be done and not
/// committed when their worker loses it.
const WINDOW: usize = 1_000;
/// What one subscription may have in flight beside them.
const IN_FLIGHT: usize = 32;
const KIB: usize = 1_024;

/// A backlog, and how often and for how long Kafka stands still in its midst.
#[derive(Clone, Copy)]
struct Standstill {
    name: &'static str,
    events: usize,
    payload: Payload,
    /// Of each role.
    workers: usize,
    times: usize,
    lasts: Duration,
    within: Duration,
}

#[derive(Clone, Copy)]
enum Payload {
    /// Of every size.
    Mixed,
    /// Each of so many bytes.
    Each(usize),
}

// === impl Payload ===

impl Payload {
    /// Of the event with this number.
    fn bytes(self, number: usize) -> usize {
        match self {
            Self::Each(bytes) => bytes,
            Self::Mixed if number.is_multiple_of(LARGE_ONE_IN) => LARGE,
            Self::Mixed => {
                let mut place = number % 10;
                let of_ten = MIX.iter().find_map(|(share, bytes)| {
                    if place < *share {
                        return Some(*bytes);
                    }
                    place -= share;
                    None
                });
                of_ten.expect("the shares make ten")
            }
        }
    }
}

// === impl Standstill ===

impl Standstill {
    /// The backlog is written while nobody matches it, so that every batch is full from the first one on.
    async fn begin(self, setup: Setup) -> Pipeline {
        let (mut pipeline, application, _) = shop(setup, 1).await;
        for number in 1..=self.workers {
            pipeline.roles().stop(Role::Fanout, number).await.unwrap();
        }
        self.publish(&pipeline, &application).await;
        for number in 1..=self.workers {
            pipeline.roles().launch(Role::Fanout, number).await.unwrap();
        }
        pipeline
    }

    async fn publish(self, pipeline: &Pipeline, application: &Application) {
        let event = |number| Event::new(format!("evt_{number}"), "a.b").sized(self.payload.bytes(number));
        let mut events = (0..self.events).map(event).peekable();
        while events.peek().is_some() {
            let part: Vec<Event> = events.by_ref().take(PART).collect();
            pipeline.publish(application, &part).await.unwrap();
        }
    }

    /// Waits until this standstill is due: they divide the fan-out's work evenly, so that it has full batches each time.
    async fn is_due(self, pipeline: &Pipeline, time: usize) {
        let part = self.events / (self.times + 1) * time;
        let offsets = Offsets::start(pipeline.connection()).unwrap();
        let topic = &*pipeline.topics().deliveries;
        let ask = || async {
            let written: i64 = offsets.ends(topic).await.ok()?.values().sum();
            (written >= i64::try_from(part).ok()?).then_some(())
        };
        eventually("a fan-out in the midst of the backlog", self.within, ask).await.unwrap();
    }

    async fn end(self, pipeline: Pipeline, begun_ms: i64) {
        let repeats = self.times * (WINDOW + IN_FLIGHT);
        let expect = Expect { repeats, unclean: true, ..Expect::default() };
        let outcome = pipeline.finish_within(expect, self.within).await.unwrap();
        let counts = outcome.audit.counts;
        assert_eq!(counts.delivered, self.events);
        report(&format!(
            "{}: {} events, {} of each role, Kafka stands still {} times for {:?}, all delivered in {} ms, {} repeats of \
             at most {repeats}",
            self.name,
            self.events,
            self.workers,
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
    async fn cut_off(self, mut setup: Setup) {
        let proxies: [Proxy; 2] = std::array::from_fn(|_| SharedKafka::of_this_run().unwrap().proxy().unwrap());
        let [fanout, delivery] = &proxies;
        for number in 1..=self.workers {
            setup = setup.through(Role::Fanout, number, fanout).through(Role::Delivery, number, delivery);
        }
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

/// The short form: the shortest session a broker allows, and batches so small that the backlog makes many.
fn short(name: &'static str) -> (Standstill, Setup) {
    let setup = Setup::new(name).doubled().set("fanout.batch_bytes", 262_144);
    let setup = setup.set("kafka.session_timeout_ms", 6_000).set("kafka.transaction_timeout_ms", 6_000);
    let (lasts, within) = (Duration::from_secs(9), Duration::from_secs(300));
    (Standstill { name, events: 8_000, payload: Payload::Mixed, workers: 2, times: 1, lasts, within }, setup)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_goes_on_after_kafka_stood_still_for_longer_than_a_session() {
    let (standstill, setup) = short("standstill");
    Box::pin(standstill.frozen(setup)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_goes_on_after_its_workers_lost_their_sessions() {
    let (standstill, setup) = short("lost-sessions");
    Box::pin(standstill.cut_off(setup)).await;
}
