//! Attempts: a task per request, and the queue in which they come back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use catalog::{Catalog, Subscription};
use chassis::{clock, tasks};
use tokio::sync::mpsc;

use crate::classify::{AttemptVerdict, NoAnswer, unanswered};
use crate::client::{Answer, Client, Tls};
use crate::config::{Settings, ms};
use crate::engine::Dispatch;
use crate::report::Attempt;
use crate::request::{self, Prepared, Signed};
use crate::slots::Ticket;
use crate::targets::{TARGETS, Targets};

/// How often an attempt passes the runtime's queue: its answer comes, the worker hears of it.
const PASSES: i64 = 2;
/// Attempts taken out of the queue at once.
const AT_ONCE: usize = 256;

/// An attempt that ended.
#[derive(Debug)]
pub(crate) struct Completed {
    pub(crate) ticket: Ticket,
    pub(crate) subscription: Arc<Subscription>,
    pub(crate) attempt: Attempt,
    /// How long its task waited for the runtime, ms: the part of its time that is this worker's and not the endpoint's.
    pub(crate) lag_ms: i64,
}

/// Makes attempts, and keeps those that ended until the worker's next turn.
#[derive(Debug)]
pub(crate) struct Attempts {
    client: Client,
    targets: Targets,
    timeout: Duration,
    sender: mpsc::Sender<Completed>,
    receiver: mpsc::Receiver<Completed>,
    completed: Vec<Completed>,
    /// Position of the snapshot at the last review, and when that was.
    reviewed: (i64, Instant),
}

/// An attempt whose worker waits for it.
struct Answering {
    sender: mpsc::Sender<Completed>,
    /// Until it ends.
    of: Option<(Ticket, Arc<Subscription>)>,
}

// === impl Completed ===

impl Completed {
    /// How long the endpoint took, ms. A worker short of CPU must not take its lanes for slow, and list what they could have
    /// sent.
    pub(crate) fn endpoint_ms(&self) -> i64 {
        (self.attempt.elapsed_ms - PASSES * self.lag_ms).max(0)
    }
}

// === impl Attempts ===

impl Attempts {
    /// Makes attempts over this client. `reviewed`: where the snapshot is now, and now.
    pub(crate) fn new(client: Client, tls: Tls, settings: &Settings, reviewed: (i64, Instant)) -> Self {
        let (sender, receiver) = mpsc::channel(settings.rules.concurrency.max(AT_ONCE));
        Self {
            client,
            targets: Targets::new(TARGETS, settings.targets.clone(), tls),
            timeout: settings.attempt_timeout,
            sender,
            receiver,
            completed: Vec::with_capacity(AT_ONCE),
            reviewed,
        }
    }

    /// Forgets connections and targets of subscriptions that are not what they were, once the snapshot has moved. All that are kept are
    /// looked at, so the more they are the longer is the pause in between.
    pub(crate) fn review(&mut self, catalog: &Catalog, now: Instant) {
        let (position, at) = self.reviewed;
        let current = catalog.position();
        if current == position || now < at + self.targets.pause() {
            return;
        }
        self.reviewed = (current, now);
        let snapshot = catalog.read();
        let offset_of = |id| snapshot.subscription(id).map(|it| it.offset());
        self.client.keep_current(|(id, offset)| offset_of(id) == Some(offset));
        self.targets.keep_current(offset_of);
    }

    /// Connections to endpoints.
    pub(crate) fn connections(&self) -> usize {
        self.client.connections()
    }

    /// Begins an attempt.
    pub(crate) fn begin(&mut self, dispatch: Dispatch) {
        let target = self.targets.of(&dispatch.subscription);
        let timeout = dispatch.subscription.timeout().unwrap_or(self.timeout);
        let client = self.client.clone();
        let dispatched = clock::instant();
        let (ticket, subscription) = (dispatch.ticket, Arc::clone(&dispatch.subscription));
        self.complete(ticket, subscription, async move {
            let lag_ms = ms(clock::instant().saturating_duration_since(dispatched));
            attempt(&client, &dispatch, &target, timeout, lag_ms).await
        });
    }

    /// Runs an attempt in a task of its own. However that ends, the worker hears of it.
    fn complete(
        &self,
        ticket: Ticket,
        subscription: Arc<Subscription>,
        attempt: impl Future<Output = Completed> + Send + 'static,
    ) {
        let mut answering = Answering { sender: self.sender.clone(), of: Some((ticket, subscription)) };
        drop(tasks::spawn("attempt", async move {
            let completed = attempt.await;
            answering.of = None;
            if answering.sender.send(completed).await.is_err() {
                tracing::debug!("an attempt ended after the worker");
            }
        }));
    }

    /// Waits until attempts have ended, and keeps them. Cancel safe.
    pub(crate) async fn wait(&mut self) {
        let _count = self.receiver.recv_many(&mut self.completed, AT_ONCE).await;
    }

    /// Takes the attempts that have ended; their list comes back with [`Attempts::recycle`].
    pub(crate) fn take_completed(&mut self) -> Vec<Completed> {
        std::mem::take(&mut self.completed)
    }

    /// Takes an emptied list's room back.
    pub(crate) fn recycle(&mut self, emptied: Vec<Completed>) {
        self.completed = emptied;
    }
}

// === impl Answering ===

impl Drop for Answering {
    /// Its task was torn down, by a panic: its place, its lane's and its record's would be taken for ever. Whether the endpoint saw
    /// anything nobody knows.
    fn drop(&mut self) {
        let Some((ticket, subscription)) = self.of.take() else { return };
        let mut answer = Answer::of(unanswered(NoAnswer::Reset));
        answer.error = Some(NoAnswer::Reset);
        answer.detail = Some("this worker failed in the middle of it".to_owned());
        let attempt = Attempt {
            started_ms: clock::now_ms(),
            elapsed_ms: 0,
            first_byte_ms: None,
            target: subscription.offset(),
            signed: Signed::default(),
            answer,
        };
        // The queue has room for everything that is in flight.
        if self.sender.try_send(Completed { ticket, subscription, attempt, lag_ms: 0 }).is_err() {
            tracing::debug!("an attempt ended after the worker");
        }
    }
}

async fn attempt(client: &Client, dispatch: &Dispatch, target: &Prepared, timeout: Duration, lag_ms: i64) -> Completed {
    let (started_ms, started) = (clock::now_ms(), clock::instant());
    let (answer, signed) = match send(client, dispatch, target, timeout, started_ms) {
        Ok((sending, signed)) => (sending.await, signed),
        Err(verdict) => (Answer::of(verdict), Signed::default()),
    };
    let elapsed_ms = ms(clock::instant().saturating_duration_since(started));
    let first_byte_ms = answer.head_at.map(|head_at| ms(head_at.saturating_duration_since(started)));
    let target = dispatch.subscription.offset();
    Completed {
        ticket: dispatch.ticket,
        subscription: Arc::clone(&dispatch.subscription),
        attempt: Attempt { started_ms, elapsed_ms, first_byte_ms, target, signed, answer },
        lag_ms,
    }
}

/// Builds the request and begins to send it; also returns how it is signed. A function of its own, so that the attempt's future does not carry the request.
fn send<'a>(
    client: &'a Client,
    dispatch: &'a Dispatch,
    target: &'a Prepared,
    timeout: Duration,
    now_ms: i64,
) -> Result<(impl Future<Output = Answer> + Send + use<'a>, Signed), AttemptVerdict> {
    let target = target.as_ref().as_ref().map_err(Clone::clone)?;
    let auth = target.auth();
    let build = move || {
        let request = request::build(&dispatch.delivery, &dispatch.subscription, target, now_ms)?;
        Ok(auth.authorize(request))
    };
    let request = build()?;
    // Whatever goes out once more is signed alike: its time is the same.
    let signed = Signed::of(request.headers());
    Ok((auth.send((client, target.identity()), request, build, timeout, now_ms), signed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::ClientLimits;
    use crate::pool::PoolLimits;
    use crate::request::Target;
    use crate::slots::Slots;
    use crate::testing;
    use target::TargetPolicy;

    #[tokio::test]
    async fn an_attempt_whose_task_panics_ends_and_its_worker_hears_of_it() {
        let config = chassis::config::Config::for_tests().delivery;
        let settings = Settings::new(&config, TargetPolicy::default()).unwrap();
        let (vault, tls) = (testing::vault(), Tls::new(None).unwrap());
        let client = Client::new(testing::resolver(false, &[]), settings.client, tls.plain().unwrap());
        let mut attempts = Attempts::new(client, tls, &settings, (0, clock::instant()));
        let subscription = testing::subscription(testing::object(1, "https://example.com/", &vault), 1, &vault);
        let ticket = Slots::default().insert(());
        let panics = || -> Completed { panic!("a bug in what an attempt is made of") };
        attempts.complete(ticket, subscription, async move { panics() });
        tokio::time::timeout(Duration::from_secs(20), attempts.wait()).await.expect("its worker hears of it");
        let ended = attempts.take_completed();
        assert_eq!((ended.len(), ended[0].ticket), (1, ticket));
        assert_eq!(ended[0].attempt.answer.verdict, unanswered(NoAnswer::Reset));
    }

    /// The future of an attempt is moved into its task, and its memory is written over when it ends. With the
    /// request in it, it had 4.8 KB.
    #[test]
    fn an_attempt_is_small() {
        let (vault, tls) = (testing::vault(), Tls::new(None).unwrap());
        let subscription = testing::subscription(testing::object(1, "https://example.com/", &vault), 1, &vault);
        let target: Prepared = Arc::new(Target::new(&subscription, None, &TargetPolicy::default(), &tls));
        let pool = PoolLimits::new(Duration::from_secs(5), Duration::from_secs(60), 8);
        let limits = ClientLimits::new(4_096, 4_096, pool);
        let client = Client::new(testing::resolver(false, &[]), limits, tls.plain().unwrap());
        let ticket = Slots::default().insert(());
        let dispatch = Dispatch { ticket, delivery: Arc::new(testing::delivery("evt_1", 1)), subscription };
        let size = size_of_val(&attempt(&client, &dispatch, &target, Duration::from_secs(1), 0));
        assert!(size <= 2_048, "{size} bytes");
    }
}
