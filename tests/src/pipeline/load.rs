//! A steady load of events over HTTP, with payloads of every size: each event is sent until a gateway says that it is accepted,
//! as a client's SDK does.

use std::time::Duration;

use chassis::tasks;
use kafka::clock::instant;
use tokio::task::JoinHandle;
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::{Application, Client, Event, Pipeline};

/// Requests under way at most. A gateway that answers in 100 ms, on two busy cores, leaves room for 640 events/s.
const SENDERS: u32 = 64;
/// Between two tries of one event.
const TRY_EVERY: Duration = Duration::from_millis(100);

/// Senders at work. Dropping it lets them go on: [`Load::stop`] ends them.
#[derive(Debug)]
pub struct Load {
    stop: CancellationToken,
    senders: Vec<JoinHandle<LoadReport>>,
}

/// What they did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Events that were accepted.
    pub accepted: u64,
    /// Tries beyond the first of an event.
    pub retries: u64,
    /// Answers 409: the try before had been accepted and its answer lost.
    pub repeats: u64,
    /// Answers 503.
    pub unavailable: u64,
}

impl Pipeline {
    /// Sends so many events per second over all gateways until it is stopped.
    #[must_use]
    pub fn load(&self, application: &Application, event_type: &str, per_second: u32) -> Load {
        let stop = CancellationToken::new();
        let senders = (0..SENDERS).map(|sender| {
            let work = Sender {
                client: self.client(),
                application: application.clone(),
                event_type: event_type.to_owned(),
                name: format!("load-{sender}"),
                gateway: usize::try_from(sender).unwrap_or(0),
                report: LoadReport::default(),
            };
            // One after the other, not all at once.
            let every = Duration::from_secs(1) * SENDERS / per_second;
            tasks::spawn("load", work.run(ticks(every * sender / SENDERS, every), stop.clone()))
        });
        Load { senders: senders.collect(), stop }
    }
}

fn ticks(after: Duration, every: Duration) -> Interval {
    let mut ticks = tokio::time::interval_at((instant() + after).into(), every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

impl Load {
    /// Stops sending when everything begun is accepted.
    ///
    /// # Errors
    /// A sender panicked.
    pub async fn stop(self) -> anyhow::Result<LoadReport> {
        self.stop.cancel();
        let mut sum = LoadReport::default();
        for sender in self.senders {
            let report = sender.await?;
            sum.accepted += report.accepted;
            sum.retries += report.retries;
            sum.repeats += report.repeats;
            sum.unavailable += report.unavailable;
        }
        Ok(sum)
    }
}

struct Sender {
    client: Client,
    application: Application,
    event_type: String,
    name: String,
    gateway: usize,
    report: LoadReport,
}

impl Sender {
    async fn run(mut self, mut ticks: Interval, stop: CancellationToken) -> LoadReport {
        let mut number = 0_u64;
        while !stop.is_cancelled() {
            ticks.tick().await;
            number += 1;
            let event = Event::new(format!("{}-{number}", self.name), &self.event_type);
            self.send(&event).await;
        }
        self.report
    }

    /// Until it is accepted. The next try goes to the next gateway.
    async fn send(&mut self, event: &Event) {
        let mut tries = ticks(Duration::ZERO, TRY_EVERY);
        loop {
            tries.tick().await;
            self.gateway = self.gateway % self.client.gateways() + 1;
            match self.client.send(self.gateway, &self.application, event).await.map(|answer| answer.status.as_u16()) {
                Ok(201) => break,
                Ok(409) => {
                    self.report.repeats += 1;
                    self.client.remember(&self.application, event);
                    break;
                }
                Ok(503) => self.report.unavailable += 1,
                // A gateway that was killed: the client cannot know whether it was accepted.
                Ok(_) | Err(_) => {}
            }
            self.report.retries += 1;
        }
        self.report.accepted += 1;
    }
}
