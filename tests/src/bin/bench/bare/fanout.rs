//! Consume, transact, produce: every record comes out so many times as it would match, up to 1,000 per transaction.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use kafka::{
    Claimed, Lease, Output, Poller, PollerEvent, PollerEvents, PollerOptions, Progress, Transaction, Writer,
    WriterOptions,
};
use schemas::record::{OutRecord, Record};

use super::READY;
use crate::table::say;

/// Outputs of one transaction.
const BATCH: usize = 1_000;
/// What waits for a transaction, in records of one partition.
const LIVE_RECORDS: usize = 2_000;

/// `bench bare fanout`
#[derive(Debug, Args)]
pub(crate) struct Fanout {
    #[arg(long)]
    brokers: String,
    #[arg(long)]
    from: String,
    #[arg(long)]
    to: String,
    #[arg(long)]
    group: String,
    #[arg(long, default_value_t = 1)]
    matches: usize,
    #[arg(long)]
    session_timeout_ms: u64,
}

struct Loop {
    poller: Poller,
    events: PollerEvents,
    writer: Writer,
    to: Arc<str>,
    matches: usize,
    queue: VecDeque<(Lease, Record)>,
}

impl Fanout {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let connection = super::connection(&self.brokers)?;
        let options = PollerOptions {
            live_records: LIVE_RECORDS,
            session_timeout: Duration::from_millis(self.session_timeout_ms),
            ..PollerOptions::new(self.group.as_str(), vec![self.from], "bench-bare")
        };
        let (poller, events) = Poller::start(&connection, options)?;
        let writer =
            Writer::start(&connection, WriterOptions::new("bench-bare", self.group), poller.ownership()).await?;
        let to = self.to.into();
        Loop { poller, events, writer, to, matches: self.matches, queue: VecDeque::new() }.run().await
    }
}

impl Loop {
    async fn run(mut self) -> anyhow::Result<()> {
        loop {
            let Some(event) = self.events.next().await else { return Ok(()) };
            self.take(event).await?;
            self.take_what_waits().await?;
            while !self.queue.is_empty() {
                self.commit().await?;
                self.take_what_waits().await?;
            }
        }
    }

    /// More events, up to what fills a transaction.
    async fn take_what_waits(&mut self) -> anyhow::Result<()> {
        while self.queue.len() * self.matches < BATCH {
            let event = tokio::select! {
                biased;
                event = self.events.next() => event,
                () = std::future::ready(()) => return Ok(()),
            };
            let Some(event) = event else { return Ok(()) };
            self.take(event).await?;
        }
        Ok(())
    }

    async fn take(&mut self, event: PollerEvent) -> anyhow::Result<()> {
        match event {
            PollerEvent::Assigned { leases } => {
                let restored = self.writer.take_over(leases).await?;
                let poller = self.poller.clone();
                let begin = move || {
                    for restored in restored {
                        poller.begin(&restored.lease, restored.start()?)?;
                    }
                    anyhow::Ok(())
                };
                tokio::task::spawn_blocking(begin).await??;
                say(READY)?;
            }
            PollerEvent::Records { lease, records } => {
                self.queue.extend(records.into_iter().map(|record| (lease.clone(), record)));
            }
            PollerEvent::Revoked { leases, done, .. } => {
                self.queue.retain(|(lease, _)| !leases.contains(lease));
                done.done();
            }
            PollerEvent::Skipped { lease, from, to, lost } => {
                anyhow::bail!("{lease}: {lost} records between {from} and {to} were deleted unread")
            }
            PollerEvent::Failed { error } => return Err(error.into()),
        }
        Ok(())
    }

    async fn commit(&mut self) -> anyhow::Result<()> {
        let count = (BATCH / self.matches).clamp(1, self.queue.len());
        let mut transaction = Transaction::default();
        let mut held: Vec<(usize, usize)> = Vec::new();
        for (lease, record) in self.queue.drain(..count) {
            let known = transaction.progress.iter().position(|progress| progress.lease == lease);
            let index = known.unwrap_or_else(|| {
                held.push((0, 0));
                let (committed, read_up_to, not_done, claim) = (0, 0, Vec::new(), Claimed::Nothing);
                transaction.progress.push(Progress { lease, committed, read_up_to, not_done, claim });
                transaction.progress.len() - 1
            });
            let progress = &mut transaction.progress[index];
            progress.committed = record.offset + 1;
            progress.read_up_to = record.offset + 1;
            held[index] = (held[index].0 + 1, held[index].1 + record.size());
            let outputs = std::iter::repeat_n(record, self.matches);
            transaction.outputs.extend(outputs.map(|record| Output { lease: index, record: out(&self.to, record) }));
        }
        let leases: Vec<Lease> = transaction.progress.iter().map(|progress| progress.lease.clone()).collect();
        self.writer.commit(transaction).await?;
        for (lease, (records, bytes)) in leases.iter().zip(held) {
            self.poller.release(lease, records, bytes);
        }
        Ok(())
    }
}

fn out(topic: &Arc<str>, record: Record) -> OutRecord {
    let Record { key, value, headers, .. } = record;
    OutRecord { topic: Arc::clone(topic), partition: None, key, value, headers }
}
