//! Deliveries that are written at a steady rate, in turn for each of some subscriptions.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Context;
use kafka::{Connection, Producer, ProducerOptions};
use schemas::ids::{ApplicationId, SubscriptionId};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::stage::Installation;
use crate::workload;

/// All of it is acknowledged within this time of the end.
const FLUSH_WITHIN: Duration = Duration::from_secs(60);

/// A writer at work; it ends with this.
#[derive(Debug)]
pub(crate) struct Steady {
    is_over: Arc<AtomicBool>,
    next: Arc<AtomicU32>,
    writing: JoinSet<anyhow::Result<u32>>,
}

/// Whom they are for, and how many a second.
#[derive(Clone, Debug)]
pub(crate) struct SteadyPlan {
    pub(crate) topic: Arc<str>,
    pub(crate) application: ApplicationId,
    pub(crate) subscriptions: Vec<SubscriptionId>,
    pub(crate) per_second: u32,
    /// The number of the first event.
    pub(crate) first: u32,
    /// The number behind the last one, if it ends by itself.
    pub(crate) end: u32,
}

impl Steady {
    /// Begins.
    ///
    /// # Errors
    /// No producer.
    pub(crate) fn start(connection: &Connection, plan: SteadyPlan) -> anyhow::Result<Self> {
        let producer = Producer::start(connection, ProducerOptions::new("bench-steady"))?;
        let (is_over, next) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(plan.first)));
        let writing = JoinSet::from_iter([write(producer, plan, Arc::clone(&is_over), Arc::clone(&next))]);
        Ok(Self { is_over, next, writing })
    }

    /// Begins one that ends when it is told to, with these of the subscriptions of an installation.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub(crate) fn endless(
        connection: &Connection,
        installation: &Installation<'_>,
        of: Range<usize>,
        per_second: u32,
    ) -> anyhow::Result<Self> {
        let plan = SteadyPlan {
            topic: Arc::clone(&installation.topics.deliveries),
            application: installation.application,
            subscriptions: installation.subscriptions[of].to_vec(),
            per_second,
            first: 0,
            end: u32::MAX,
        };
        Self::start(connection, plan)
    }

    /// The number of the next event.
    pub(crate) fn next(&self) -> u32 {
        self.next.load(Ordering::Relaxed)
    }

    /// Ends it. Returns the number of the next event.
    ///
    /// # Errors
    /// Kafka did not take one.
    pub(crate) async fn stop(self) -> anyhow::Result<u32> {
        self.is_over.store(true, Ordering::Relaxed);
        self.ended().await
    }

    /// Waits for its own end. Returns the number of the next event.
    ///
    /// # Errors
    /// As [`Self::stop`].
    pub(crate) async fn ended(mut self) -> anyhow::Result<u32> {
        self.writing.join_next().await.context("a writer")??
    }
}

async fn write(
    producer: Producer,
    plan: SteadyPlan,
    is_over: Arc<AtomicBool>,
    told: Arc<AtomicU32>,
) -> anyhow::Result<u32> {
    let SteadyPlan { topic, application, subscriptions, per_second, first, end } = plan;
    let value = workload::payload();
    let mut turns = tokio::time::interval(Duration::from_secs(1) / per_second);
    turns.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut next = first;
    for &subscription in subscriptions.iter().cycle() {
        if next >= end || is_over.load(Ordering::Relaxed) {
            break;
        }
        turns.tick().await;
        let event = (next, workload::timed_id(next));
        let record = workload::delivery(&topic, application, subscription, event, &value);
        // Acknowledged with all others, at the end.
        drop(producer.send(&record)?);
        next += 1;
        told.store(next, Ordering::Relaxed);
    }
    producer.flush(FLUSH_WITHIN).await?;
    Ok(next)
}
