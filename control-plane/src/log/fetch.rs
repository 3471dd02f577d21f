//! One record read back by its coordinates, for whoever asks for it over HTTP: many at once share two threads.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chassis::clock;
use chassis::tasks::Tasks;
use kafka::{Answers, Connection, Epoch, FetchOutcome, Fetched, Fetcher, FetcherOptions, KafkaError, Urgency};
use parking_lot::Mutex;
use schemas::delivery::Origin;
use schemas::record::{Record, TopicPartition};
use tokio::sync::{Semaphore, oneshot};

use super::gates::{GatePass, ReadGates};
use crate::problem::{Problem, unavailable};

/// Records read back at once; others wait.
pub(super) const AT_ONCE: usize = 32;
/// How long one may take, waiting included.
const WITHIN: Duration = Duration::from_secs(5);
/// How long a partition may say nothing, half of what a question waits: there are two threads, and a partition without a leader
/// holds one of them for so long.
const PATIENCE: Duration = Duration::from_millis(2_500);
/// Bytes of the log that are read per second for all of them.
const BYTES_PER_SECOND: u64 = 32 * 1024 * 1024;

/// See the module. Clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct RecordFetch(Arc<ReadBackInner>);

#[derive(Debug)]
struct ReadBackInner {
    fetcher: Fetcher,
    waiting: Mutex<HashMap<Epoch, WaitingOffsets>>,
    permits: Semaphore,
    gates: ReadGates,
}

/// Who waits for the answers of a lease, by offset.
type WaitingOffsets = HashMap<i64, Vec<oneshot::Sender<FetchOutcome>>>;

/// Why a record was not read back.
#[derive(Debug)]
pub(crate) struct NotReadBack {
    pub(crate) problem: Problem,
    /// Waiting does not cure it.
    pub(crate) is_final: bool,
}

/// Forgets a question whose asker is gone.
struct AskedRecord<'a> {
    inner: &'a ReadBackInner,
    pass: GatePass<'a>,
    offset: i64,
}

// === impl RecordFetch ===

impl RecordFetch {
    /// Starts the threads.
    ///
    /// # Errors
    /// No threads.
    pub(super) fn start(connection: &Connection, tasks: &Tasks) -> Result<Self, KafkaError> {
        let options = FetcherOptions { bytes_per_second: BYTES_PER_SECOND, demands: AT_ONCE, patience: PATIENCE };
        let (fetcher, answers) = Fetcher::start(connection, options)?;
        let inner = ReadBackInner {
            fetcher,
            waiting: Mutex::default(),
            permits: Semaphore::new(AT_ONCE),
            gates: ReadGates::default(),
        };
        let read_back = Self(Arc::new(inner));
        let (run, stop) = (read_back.clone().answer(answers), tasks.shutdown().clone());
        tasks.spawn("control-read-back", async move {
            tokio::select! {
                () = run => {}
                () = stop.requested() => {}
            }
            Ok::<_, std::convert::Infallible>(())
        });
        Ok(read_back)
    }

    /// The record at these coordinates; `None`: Kafka does not hold it any more.
    ///
    /// # Errors
    /// 503 where Kafka does not answer in time.
    pub(crate) async fn record(&self, at: &Origin) -> Result<Option<Record>, Problem> {
        self.try_record(at).await.map_err(|error| error.problem)
    }

    /// The same, or why not.
    ///
    /// # Errors
    /// Kafka does not answer in time, or there is nothing to read there.
    pub(crate) async fn try_record(&self, at: &Origin) -> Result<Option<Record>, NotReadBack> {
        let late = |_elapsed| unavailable("a record could not be read back in time");
        tokio::time::timeout(WITHIN, self.read(at)).await.map_err(late)?
    }

    async fn read(&self, at: &Origin) -> Result<Option<Record>, NotReadBack> {
        let closed = || unavailable("records cannot be read back: the process is stopping");
        let partition = TopicPartition::new(at.topic.as_str(), at.partition);
        let silent =
            || unavailable(format!("a record could not be read back: {partition} did not answer a moment ago"));
        let pass = self.0.gates.enter(partition.clone(), clock::instant()).ok_or_else(silent)?;
        let asked = AskedRecord { inner: &self.0, pass, offset: at.offset };
        let pass = &asked.pass;
        let _turn = pass.turn.acquire().await.map_err(|_closed| closed())?;
        let _permit = self.0.permits.acquire().await.map_err(|_closed| closed())?;
        if pass.is_silent(clock::instant()) {
            return Err(silent().into());
        }
        let (reply, answer) = oneshot::channel();
        self.0.waiting.lock().entry(pass.lease.epoch).or_default().entry(at.offset).or_default().push(reply);
        if self.0.fetcher.demand(&pass.lease, &[at.offset], Urgency::Urgent) == 0 {
            return Err(unavailable("too many records are being read back").into());
        }
        let Ok(outcome) = answer.await else {
            // Somebody who asked the partition, too, has found that it says nothing.
            return Err(if pass.is_silent(clock::instant()) { silent() } else { closed() }.into());
        };
        match outcome {
            FetchOutcome::Found(record) => Ok(Some(record)),
            FetchOutcome::Gone => Ok(None),
            // The log ends below it: the topic was created anew.
            FetchOutcome::Failed(KafkaError::OffsetOutOfRange { .. }) => Ok(None),
            FetchOutcome::Failed(error) => {
                pass.failed(clock::instant());
                self.0.waiting.lock().remove(&pass.lease.epoch);
                self.0.fetcher.cancel(&pass.lease);
                let is_final = error.is_denied();
                Err(NotReadBack { problem: unavailable(format!("a record could not be read back: {error}")), is_final })
            }
        }
    }

    async fn answer(self, mut answers: Answers) {
        while let Some(fetched) = answers.next().await {
            let Fetched { lease, offset, outcome } = fetched;
            let waiting = self.0.waiting.lock().get_mut(&lease.epoch).and_then(|of| of.remove(&offset));
            for reply in waiting.into_iter().flatten() {
                // Whoever does not wait any more does not want it.
                drop(reply.send(outcome.clone()));
            }
        }
    }
}

impl From<Problem> for NotReadBack {
    fn from(problem: Problem) -> Self {
        Self { problem, is_final: false }
    }
}

impl Drop for AskedRecord<'_> {
    fn drop(&mut self) {
        let is_last = self.pass.leave();
        let lease = &self.pass.lease;
        if is_last {
            self.inner.waiting.lock().remove(&lease.epoch);
            // Also where all was answered: of what could not be read the fetcher remembers that, and nobody asks under its number again.
            self.inner.fetcher.cancel(lease);
        } else if let Some(of) = self.inner.waiting.lock().get_mut(&lease.epoch)
            && let Some(waiting) = of.get_mut(&self.offset)
        {
            waiting.retain(|reply| !reply.is_closed());
            if waiting.is_empty() {
                of.remove(&self.offset);
            }
        }
    }
}
