//! Reads listed deliveries back beside the loop, by their offsets.

use std::collections::BTreeMap;

use kafka::{Answers, Connection, Epoch, Fetched, Fetcher, FetcherOptions, Lease, Urgency};

use crate::error::Error;

/// Answers that are taken at once.
const AT_ONCE: usize = 256;

/// What is asked for, and what came back until the next turn.
#[derive(Debug, Default)]
pub(crate) struct ReadBack {
    /// None in tests without Kafka.
    fetcher: Option<(Fetcher, Answers)>,
    /// Not handed over yet, in the order they were asked for.
    asking: BTreeMap<Epoch, UnaskedOffsets>,
    fetched: Vec<Fetched>,
}

/// What is asked for of one lease.
#[derive(Debug)]
struct UnaskedOffsets {
    lease: Lease,
    urgent: Vec<i64>,
    normal: Vec<i64>,
}

// === impl ReadBack ===

impl ReadBack {
    /// Reads at most so many bytes of the log per second.
    ///
    /// # Errors
    /// No threads.
    pub(crate) fn start(connection: &Connection, bytes_per_second: usize) -> Result<Self, Error> {
        let bytes_per_second = u64::try_from(bytes_per_second).unwrap_or(u64::MAX);
        let options = FetcherOptions { bytes_per_second, ..FetcherOptions::default() };
        let fetcher = Fetcher::start(connection, options).map_err(Error::ReadBack)?;
        Ok(Self { fetcher: Some(fetcher), ..Self::default() })
    }

    /// Asks for a record of a lease.
    pub(crate) fn ask(&mut self, lease: &Lease, offset: i64, urgency: Urgency) {
        let none = || UnaskedOffsets { lease: lease.clone(), urgent: Vec::new(), normal: Vec::new() };
        let asking = self.asking.entry(lease.epoch).or_insert_with(none);
        match urgency {
            Urgency::Urgent => asking.urgent.push(offset),
            Urgency::Normal => asking.normal.push(offset),
        }
    }

    /// Hands over what was asked for, as far as there is room for it.
    pub(crate) fn flush(&mut self) {
        let Some((fetcher, _)) = &self.fetcher else { return };
        let hand_over = |lease: &Lease, offsets: &mut Vec<i64>, urgency: Urgency| {
            let taken = fetcher.demand(lease, offsets, urgency);
            offsets.drain(..taken.min(offsets.len()));
            offsets.is_empty()
        };
        // Urgent ones of all leases first: the room is one.
        for UnaskedOffsets { lease, urgent, .. } in self.asking.values_mut().filter(|asking| !asking.urgent.is_empty())
        {
            hand_over(lease, urgent, Urgency::Urgent);
        }
        self.asking.retain(|_, UnaskedOffsets { lease, urgent, normal }| {
            let is_done = normal.is_empty() || hand_over(lease, normal, Urgency::Normal);
            !(is_done && urgent.is_empty())
        });
    }

    /// Forgets what was asked for of these leases.
    pub(crate) fn cancel(&mut self, leases: &[Lease]) {
        for lease in leases {
            self.asking.remove(&lease.epoch);
            self.fetched.retain(|fetched| fetched.lease != *lease);
            if let Some((fetcher, _)) = &self.fetcher {
                fetcher.cancel(lease);
            }
        }
    }

    /// Takes what came back.
    pub(crate) fn take(&mut self) -> Vec<Fetched> {
        if let Some((_, answers)) = &mut self.fetcher {
            while self.fetched.len() < AT_ONCE
                && let Some(fetched) = answers.try_next()
            {
                self.fetched.push(fetched);
            }
        }
        std::mem::take(&mut self.fetched)
    }

    /// As if this had come back.
    #[cfg(test)]
    pub(crate) fn put(&mut self, fetched: Fetched) {
        self.fetched.push(fetched);
    }

    /// What is asked for and was not handed over.
    #[cfg(test)]
    pub(crate) fn asking(&self, epoch: Epoch) -> Vec<(i64, Urgency)> {
        let Some(asking) = self.asking.get(&epoch) else { return Vec::new() };
        let with = |offsets: &[i64], urgency| offsets.iter().map(move |offset| (*offset, urgency)).collect::<Vec<_>>();
        [with(&asking.urgent, Urgency::Urgent), with(&asking.normal, Urgency::Normal)].concat()
    }

    /// As if everything were handed over.
    #[cfg(test)]
    pub(crate) fn forget(&mut self, epoch: Epoch) {
        self.asking.remove(&epoch);
    }

    /// Waits until something came back, and keeps it; while something is kept that was not taken, for ever: what comes waits where its
    /// number is bounded. Cancel safe.
    pub(crate) async fn wait(&mut self) {
        if !self.fetched.is_empty() {
            return std::future::pending().await;
        }
        let Some((_, answers)) = &mut self.fetcher else { return std::future::pending().await };
        match answers.next().await {
            Some(fetched) => self.fetched.push(fetched),
            // Its threads are gone: the worker goes on without, and what is listed waits for the next owner.
            None => std::future::pending().await,
        }
    }
}
