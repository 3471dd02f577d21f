//! How many connections one organization holds, once they have shown its token.
//!
//! A connection that showed a token counts no more against its address (`addresses`), because a balancer's do. It counts against
//! the organization instead: else one token, even one that may only read, could hold every place of a listener.
//!
//! ```text
//! a quarter of the places is free, or more    whoever takes one has it
//! fewer: it has less than half of them        it has one more
//!        who has more than it has idle ones   the one that is idle longest goes for it
//!        it has idle ones itself              the same
//!        none is idle                         it stays with its address, and goes after its answer
//! ```
//!
//! So the last quarter always has room for the next organization, and what the first holds idle is for those who come. No request
//! is cut: who is told to go answers first, and says so (`connection: close`, GOAWAY).
//!
//! **A balancer's connection carries tokens of many organizations.** From the second organization on it counts against its
//! address, like one organization: where all come over one balancer that has three quarters of the places without a thought, and
//! beyond them its idle connections make place for its new ones. Counted against each organization in turn it would be closed
//! for what the loudest of them does; counted against nobody, whoever has two tokens would not be bounded. **The operator's**
//! token counts against nobody.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::Instant;

use parking_lot::Mutex;
use schemas::ids::OrganizationId;
use tokio::sync::Semaphore;

use super::connection::ConnectionState;

/// Connections of a holder that are looked at for an idle one: the next so many in turn, from the oldest on.
const LOOKS: usize = 64;

/// The connections that showed tokens, by whom they count against.
#[derive(Clone, Debug)]
pub(super) struct Holders {
    /// The listener's free places.
    free: Arc<Semaphore>,
    places: usize,
    table: Arc<Mutex<HolderTable>>,
}

/// Whom a connection counts against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum ConnectionHolder {
    /// All its tokens are of one organization.
    Organization(OrganizationId),
    /// It carries tokens of several, as a balancer's does.
    Address(IpAddr),
}

#[derive(Debug, Default)]
struct HolderTable {
    holders: HashMap<ConnectionHolder, HeldConnections>,
    by_count: BTreeSet<(usize, ConnectionHolder)>,
    next: u64,
}

/// The connections of one holder, by age.
#[derive(Debug, Default)]
struct HeldConnections {
    all: BTreeMap<u64, Weak<ConnectionState>>,
    /// Where the next look for an idle one begins.
    looked: u64,
}

/// The place of one connection among its holder's, given back on drop.
#[derive(Debug)]
pub(super) struct HeldPlace {
    holder: ConnectionHolder,
    number: u64,
    table: Arc<Mutex<HolderTable>>,
}

/// Who may have one connection more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OneMore {
    /// It may.
    Yes,
    /// If an idle one goes.
    Instead,
}

/// Whether a holder of so many may have one more. The connection itself is not among those that are free any more.
fn one_more(has: usize, free: usize, places: usize) -> OneMore {
    let is_roomy = free.saturating_mul(4) >= places;
    if is_roomy || has < (free / 2).max(1) { OneMore::Yes } else { OneMore::Instead }
}

// === impl Holders ===

impl Holders {
    /// Of a listener of so many places.
    pub(super) fn new(free: Arc<Semaphore>, places: usize) -> Self {
        Self { free, places, table: Arc::default() }
    }

    /// A place for a connection, for which an idle one may have to go; `None` if there is none.
    pub(super) fn take(&self, holder: ConnectionHolder, connection: &Arc<ConnectionState>) -> Option<HeldPlace> {
        // Dropped after the lock: the last one of a connection gives back its place.
        let mut looked_at = Vec::new();
        let mut table = self.table.lock();
        let has = table.holders.get(&holder).map_or(0, |held| held.all.len());
        let goes = match one_more(has, self.free.available_permits(), self.places) {
            OneMore::Yes => None,
            OneMore::Instead => Some(table.make_go(holder, &mut looked_at)?),
        };
        let number = table.add(holder, Arc::downgrade(connection));
        drop(table);
        if let Some(goes) = goes {
            goes.leave();
        }
        Some(HeldPlace { holder, number, table: Arc::clone(&self.table) })
    }
}

// === impl HolderTable ===

impl HolderTable {
    fn add(&mut self, holder: ConnectionHolder, connection: Weak<ConnectionState>) -> u64 {
        let number = self.next;
        self.next += 1;
        let held = self.holders.entry(holder).or_default();
        held.all.insert(number, connection);
        let count = held.all.len();
        self.by_count.remove(&(count - 1, holder));
        self.by_count.insert((count, holder));
        number
    }

    fn remove(&mut self, holder: ConnectionHolder, number: u64) {
        let Some(held) = self.holders.get_mut(&holder) else { return };
        let before = held.all.len();
        if held.all.remove(&number).is_none() {
            return;
        }
        self.by_count.remove(&(before, holder));
        if before > 1 {
            self.by_count.insert((before - 1, holder));
        } else {
            self.holders.remove(&holder);
        }
    }

    /// An idle connection that is to go for one of `holder`: of whoever has most, else of its own. It counts no more.
    fn make_go(
        &mut self,
        holder: ConnectionHolder,
        looked_at: &mut Vec<Arc<ConnectionState>>,
    ) -> Option<Arc<ConnectionState>> {
        let has = self.holders.get(&holder).map_or(0, |held| held.all.len());
        let most = self.by_count.last().filter(|(count, _)| *count > has).map(|(_, most)| *most);
        most.and_then(|most| self.idle_of(most, looked_at)).or_else(|| self.idle_of(holder, looked_at))
    }

    fn idle_of(
        &mut self,
        holder: ConnectionHolder,
        looked_at: &mut Vec<Arc<ConnectionState>>,
    ) -> Option<Arc<ConnectionState>> {
        let (number, connection) = self.holders.get_mut(&holder)?.oldest_idle(looked_at)?;
        self.remove(holder, number);
        Some(connection)
    }
}

// === impl HeldConnections ===

impl HeldConnections {
    /// Of the next ones in turn, the one that has been idle longest.
    fn oldest_idle(&mut self, looked_at: &mut Vec<Arc<ConnectionState>>) -> Option<(u64, Arc<ConnectionState>)> {
        let mut oldest: Option<(Instant, u64, Arc<ConnectionState>)> = None;
        let mut looked = self.looked;
        for (&number, connection) in self.all.range(self.looked..).chain(self.all.range(..self.looked)).take(LOOKS) {
            looked = number + 1;
            let Some(connection) = connection.upgrade() else { continue };
            let since = connection.idle_since();
            looked_at.push(Arc::clone(&connection));
            if let Some(since) = since
                && oldest.as_ref().is_none_or(|(before, _, _)| since < *before)
            {
                oldest = Some((since, number, connection));
            }
        }
        self.looked = looked;
        oldest.map(|(_, number, connection)| (number, connection))
    }
}

// === impl HeldPlace ===

impl Drop for HeldPlace {
    fn drop(&mut self) {
        self.table.lock().remove(self.holder, self.number);
    }
}

#[cfg(test)]
mod tests;
