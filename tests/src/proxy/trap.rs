//! Traps: "do this to the next request of that kind".

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::bail;
use parking_lot::Mutex;
use tokio::sync::watch;

/// Kinds of requests, by their api key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// Records to a topic.
    Produce,
    /// Records from a topic.
    Fetch,
    /// The first or last offset of partitions.
    ListOffsets,
    /// Brokers and topics.
    Metadata,
    /// Offsets of a group, without a transaction.
    OffsetCommit,
    /// Reads offsets of a group.
    OffsetFetch,
    /// Where a group or a transactional id lives.
    FindCoordinator,
    /// A member enters a group.
    JoinGroup,
    /// A member says that it lives.
    Heartbeat,
    /// A member gets its partitions.
    SyncGroup,
    /// `init_transactions`: fences predecessors.
    InitProducerId,
    /// A partition enters a transaction.
    AddPartitionsToTxn,
    /// A group enters a transaction.
    AddOffsetsToTxn,
    /// Commit or abort.
    EndTxn,
    /// Offsets of a group, inside a transaction.
    TxnOffsetCommit,
}

/// What happens to the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It reaches the broker; its answer is swallowed and the connection stays open.
    LoseAnswer,
    /// It reaches the broker; the connection is closed in place of its answer.
    CloseForAnswer,
    /// It never reaches the broker: the connection is closed in its place.
    CloseForRequest,
    /// It reaches the broker; its answer says this error instead, behind the throttle time: as those of
    /// [`Api::FindCoordinator`] do in the versions that librdkafka speaks.
    Fail(i16),
    /// It reaches the broker; its answer and all that follow on the connection wait for [`Sprung::release`].
    HoldAnswer,
}

/// A trap that was set. Dropping it leaves it set, and lets go what it holds.
#[derive(Debug)]
pub struct Sprung {
    api: Api,
    stage: watch::Receiver<Stage>,
    release: watch::Sender<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
enum Stage {
    Set,
    /// The request came by.
    Met,
    /// What was to be done is done.
    Done,
}

/// A trap as a connection meets it.
#[derive(Debug)]
pub(crate) struct Trap {
    api: Api,
    /// Only of this client, by its `client.id`.
    client: Option<&'static str>,
    pub(crate) action: Action,
    stage: watch::Sender<Stage>,
    released: watch::Receiver<bool>,
}

/// All that are set.
#[derive(Debug, Default)]
pub(crate) struct Traps {
    set: Mutex<Vec<Trap>>,
    /// So that connections need not lock for every request.
    count: AtomicUsize,
}

// === impl Api ===

impl Api {
    const fn key(self) -> i16 {
        match self {
            Self::Produce => 0,
            Self::Fetch => 1,
            Self::ListOffsets => 2,
            Self::Metadata => 3,
            Self::OffsetCommit => 8,
            Self::OffsetFetch => 9,
            Self::FindCoordinator => 10,
            Self::JoinGroup => 11,
            Self::Heartbeat => 12,
            Self::SyncGroup => 14,
            Self::InitProducerId => 22,
            Self::AddPartitionsToTxn => 24,
            Self::AddOffsetsToTxn => 25,
            Self::EndTxn => 26,
            Self::TxnOffsetCommit => 28,
        }
    }
}

// === impl Sprung ===

impl Sprung {
    /// Waits until the request came by.
    ///
    /// # Errors
    /// It never came.
    pub async fn met(&mut self, within: Duration) -> anyhow::Result<()> {
        self.reached(Stage::Met, within).await
    }

    /// Waits until what was to be done is done: the answer is lost, the connection closed.
    ///
    /// # Errors
    /// The request or its answer never came.
    pub async fn done(&mut self, within: Duration) -> anyhow::Result<()> {
        self.reached(Stage::Done, within).await
    }

    /// Lets the answer go that [`Action::HoldAnswer`] holds.
    pub fn release(&self) {
        self.release.send_replace(true);
    }

    async fn reached(&mut self, stage: Stage, within: Duration) -> anyhow::Result<()> {
        let waited = tokio::time::timeout(within, self.stage.wait_for(|now| *now >= stage)).await;
        match waited.map(|reached| reached.map(drop)) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => bail!("the connection of the trapped {:?} ended before that", self.api),
            Err(_) => bail!("no {:?} was {stage:?} within {within:?}", self.api),
        }
    }
}

// === impl Trap ===

impl Trap {
    /// What was to be done is done.
    pub(crate) fn done(&self) {
        self.stage.send_replace(Stage::Done);
    }

    /// Waits until the answer may go.
    pub(crate) async fn released(&mut self) {
        // An error means that whoever set it is gone, and nobody waits any more.
        self.released.wait_for(|released| *released).await.map(drop).ok();
    }
}

// === impl Traps ===

impl Traps {
    pub(crate) fn set(&self, api: Api, client: Option<&'static str>, action: Action) -> Sprung {
        let (stage, stages) = watch::channel(Stage::Set);
        let (release, released) = watch::channel(false);
        self.set_again([Trap { api, client, action, stage, released }]);
        Sprung { api, stage: stages, release }
    }

    /// Traps whose request passed on a connection that ended before the answer: they wait for the next request.
    pub(crate) fn set_again(&self, traps: impl IntoIterator<Item = Trap>) {
        let mut set = self.set.lock();
        set.extend(traps);
        self.count.store(set.len(), Ordering::Release);
    }

    /// The trap for a request with this api key of this client, if one is set: it is taken.
    pub(crate) fn take(&self, key: i16, client: Option<&[u8]>) -> Option<Trap> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        let mut set = self.set.lock();
        let is_for = |trap: &Trap| trap.client.is_none_or(|wanted| Some(wanted.as_bytes()) == client);
        let found = set.iter().position(|trap| trap.api.key() == key && is_for(trap))?;
        let trap = set.remove(found);
        self.count.store(set.len(), Ordering::Release);
        trap.stage.send_replace(Stage::Met);
        Some(trap)
    }
}
