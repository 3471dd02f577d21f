//! A connection's place in the counts of the pool: given up when the connection is gone, however it went.

use std::sync::{Arc, Weak};

use super::PoolShared;
use super::key::ConnectionKey;
use super::rules::{OriginStanding, PoolTotals};

/// See the module.
pub(super) struct PoolSlot {
    pool: Weak<PoolShared>,
    pub(super) key: Arc<ConnectionKey>,
    pub(super) place: SlotPlace,
}

/// What a connection is counted as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SlotPlace {
    /// It is being made, since a moment ago, to an origin that stood so when it began.
    Connecting(OriginStanding),
    /// It is being made, and takes longer.
    Slow,
    /// It was not made.
    Failed,
    /// It is kept, or shared: what is in use of it is counted by request.
    Kept,
    /// A request has it for itself.
    Used,
}

impl PoolSlot {
    /// For a connection that is about to be made. The pool has counted it.
    pub(super) fn new(pool: &Arc<PoolShared>, key: &Arc<ConnectionKey>, standing: OriginStanding) -> Self {
        Self { pool: Arc::downgrade(pool), key: Arc::clone(key), place: SlotPlace::Connecting(standing) }
    }
}

impl SlotPlace {
    /// Whether the connection is not there yet.
    pub(super) fn is_connecting(self) -> bool {
        matches!(self, Self::Connecting(_) | Self::Slow)
    }

    /// It is a connect under way no longer, or none of that age.
    pub(super) fn leave(self, totals: &mut PoolTotals) {
        match self {
            Self::Connecting(standing) => {
                totals.connecting -= 1;
                totals.unproven -= usize::from(standing == OriginStanding::Unproven);
            }
            Self::Slow => totals.slow -= 1,
            Self::Failed | Self::Kept | Self::Used => {}
        }
    }
}

impl Drop for PoolSlot {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade() {
            pool.closed(&self.key, self.place);
        }
    }
}

impl std::fmt::Debug for PoolSlot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PoolSlot").field("place", &self.place).finish_non_exhaustive()
    }
}
