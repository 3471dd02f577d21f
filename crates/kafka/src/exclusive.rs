//! Compare-and-set on one topic without a leader: whoever initialised last may write, everybody else is fenced.
//!
//! The caller's protocol: acquire if not held, catch up with the topic's end, validate, write. See ARCHITECTURE.md on `control`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use schemas::record::OutRecord;
use tokio::sync::{mpsc, oneshot};

use crate::clock::boot_ms;
use crate::connection::Connection;
use crate::error::{ExclusiveError, KafkaError};
use crate::session::{Content, Failure, Session};

/// Calls that may wait for the one under way.
const QUEUE: usize = 64;
/// A write's request has 10 s in all.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(5);
/// Settles the previous writer's transaction; some 60 ms, and twice that where one was open, when nothing is wrong.
const INIT_TIMEOUT: Duration = Duration::from_secs(8);

/// Handle to the thread that owns the producer. Cheap to clone.
#[derive(Clone)]
pub struct ExclusiveWriter {
    calls: mpsc::Sender<Call>,
    held: Arc<AtomicBool>,
}

/// Where the records of a committed transaction stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LastOffsets(Vec<(Arc<str>, Option<i64>)>);

enum Call {
    Acquire(oneshot::Sender<Result<(), KafkaError>>),
    Write(Vec<OutRecord>, oneshot::Sender<Result<LastOffsets, ExclusiveError>>),
}

/// The thread's state.
struct Owner {
    connection: Connection,
    transactional_id: String,
    message_max_bytes: usize,
    held: Arc<AtomicBool>,
    session: Option<Session>,
}

// === impl ExclusiveWriter ===

impl ExclusiveWriter {
    /// Starts the thread. Nothing is acquired yet, so nobody is fenced.
    ///
    /// # Errors
    /// No thread could be started.
    #[expect(
        clippy::unused_async,
        reason = "starting is async everywhere; callers must not depend on when work begins"
    )]
    pub async fn start(
        connection: &Connection,
        transactional_id: &str,
        message_max_bytes: usize,
    ) -> Result<Self, KafkaError> {
        let held = Arc::new(AtomicBool::new(false));
        let (calls, mut queue) = mpsc::channel(QUEUE);
        let mut owner = Owner {
            connection: connection.clone(),
            transactional_id: transactional_id.to_owned(),
            message_max_bytes,
            held: Arc::clone(&held),
            session: None,
        };
        let run = move || {
            while let Some(call) = queue.blocking_recv() {
                owner.serve(call);
            }
        };
        std::thread::Builder::new()
            .name("kafka-exclusive".into())
            .spawn(run)
            .map_err(|error| KafkaError::Client { purpose: "exclusive writes", reason: error.to_string() })?;
        Ok(Self { calls, held })
    }

    /// Fences any other writer and settles its last transaction. Nothing to do while held.
    ///
    /// # Errors
    /// The cluster did not answer in time, or refuses.
    pub async fn acquire(&self) -> Result<(), KafkaError> {
        let (answer, outcome) = oneshot::channel();
        self.calls.send(Call::Acquire(answer)).await.map_err(|_closed| KafkaError::Closed)?;
        outcome.await.map_err(|_closed| KafkaError::Closed)?
    }

    /// Whether the last [`Self::acquire`] was not lost, as far as we know. The next write tells for sure.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.held.load(Ordering::Acquire)
    }

    /// Writes all records in one transaction. Says where they stand: whoever reads their topic past that has all of them.
    ///
    /// # Errors
    /// See [`ExclusiveError`]: after `Fenced` and `Unknown` acquire again and catch up before anything else.
    pub async fn write(&self, records: Vec<OutRecord>) -> Result<LastOffsets, ExclusiveError> {
        let (answer, outcome) = oneshot::channel();
        let unsent = |_closed| ExclusiveError::Refused(KafkaError::Closed);
        self.calls.send(Call::Write(records, answer)).await.map_err(unsent)?;
        outcome.await.map_err(|_closed| ExclusiveError::Unknown(KafkaError::Closed))?
    }
}

impl std::fmt::Debug for ExclusiveWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExclusiveWriter").field("held", &self.is_held()).finish_non_exhaustive()
    }
}

// === impl LastOffsets ===

impl LastOffsets {
    /// The offset of the last record on a topic of one partition. `None`: there is none, or Kafka has not said where it stands.
    #[must_use]
    pub fn of(&self, topic: &str) -> Option<i64> {
        self.0.iter().find(|(known, _)| **known == *topic).and_then(|(_, last)| *last)
    }
}

// === impl Owner ===

impl Owner {
    fn serve(&mut self, call: Call) {
        // A caller that went away does not undo what was done.
        match call {
            Call::Acquire(answer) => drop(answer.send(self.acquire())),
            Call::Write(records, answer) => drop(answer.send(self.write(&records))),
        }
    }

    fn acquire(&mut self) -> Result<(), KafkaError> {
        if self.session.is_some() {
            return Ok(());
        }
        let session =
            Session::open(&self.connection, &self.transactional_id, TRANSACTION_TIMEOUT, self.message_max_bytes)?;
        session.init(INIT_TIMEOUT)?;
        self.session = Some(session);
        self.held.store(true, Ordering::Release);
        Ok(())
    }

    fn write(&mut self, records: &[OutRecord]) -> Result<LastOffsets, ExclusiveError> {
        let Some(session) = &mut self.session else { return Err(ExclusiveError::Fenced) };
        let records: Vec<&OutRecord> = records.iter().collect();
        let random = boot_ms().unsigned_abs();
        match session.transact(&Content {
            offsets: None,
            records: &records,
            random,
            groups: std::slice::from_ref(&(0..records.len())),
        }) {
            Ok(touched) => {
                let topic = |index: usize| Arc::clone(&records[index].topic);
                Ok(LastOffsets(touched.partitions.into_iter().map(|it| (topic(it.index), it.last_offset)).collect()))
            }
            Err(Failure::Aborted(aborted)) => Err(ExclusiveError::Refused(aborted.error)),
            Err(Failure::Unknown { error, fenced, committing, .. }) => {
                self.session = None;
                self.held.store(false, Ordering::Release);
                // A commit that was asked for may have been made before somebody fenced us.
                match (committing, fenced) {
                    (true, _) => Err(ExclusiveError::Unknown(error)),
                    (false, true) => Err(ExclusiveError::Fenced),
                    (false, false) => Err(ExclusiveError::Refused(error)),
                }
            }
        }
    }
}
