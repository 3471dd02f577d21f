//! Payloads that are written for a lane while it waits: none but those of its retries, which topics tell apart.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use kafka::{Offsets, Tail, TailEvent, TailOptions};
use schemas::delivery::{Delivery, Wait};
use schemas::ids::SubscriptionId;
use schemas::topics::TopicSettings;

use super::scene::Scene;
use crate::stage::Stage;

/// Reading what was written in a phase takes less.
const READ_WITHIN: Duration = Duration::from_secs(120);

/// Where the topics ended that hold payloads of deliveries: each has one partition.
pub(super) struct Written(Vec<(Arc<str>, i64)>);

/// What was written since then.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Payloads {
    /// Records of deliveries that no attempt stands behind.
    pub(super) waiting: f64,
    /// Retries that were written, hopped or came back.
    pub(super) retries: f64,
}

impl Written {
    pub(super) async fn ends(stage: &Stage, scene: &Scene<'_>) -> anyhow::Result<Self> {
        let topics = &scene.installation().topics;
        let tiers = TopicSettings::default().tiers;
        let delayed = tiers.iter().map(|(name, _)| topics.retry(name));
        let offsets = Offsets::start(&stage.connection)?;
        let mut ends = Vec::new();
        for topic in delayed.chain([Arc::clone(&topics.deliveries)]) {
            let end = offsets.ends(&topic).await?.values().sum();
            ends.push((topic, end));
        }
        Ok(Self(ends))
    }

    /// What was written since for the dead subscription.
    pub(super) async fn since(self, stage: &Stage, scene: &Scene<'_>) -> anyhow::Result<Payloads> {
        let mut all = Payloads::default();
        let now = Self::ends(stage, scene).await?;
        for ((topic, from), (_, end)) in self.0.into_iter().zip(now.0) {
            if from < end {
                let reading = read(stage, &topic, (from, end), scene.dead_subscription());
                let found = tokio::time::timeout(READ_WITHIN, reading).await;
                let found = found.with_context(|| format!("reading {topic}"))??;
                all.waiting += found.waiting;
                all.retries += found.retries;
            }
        }
        Ok(all)
    }
}

async fn read(stage: &Stage, topic: &str, (from, end): (i64, i64), of: SubscriptionId) -> anyhow::Result<Payloads> {
    let options = TailOptions {
        topic: topic.to_owned(),
        partitions: None,
        from: kafka::From::Offsets(HashMap::from([(0, from)])),
        committed: true,
        eof: true,
        fetch_wait_ms: 20,
    };
    let mut tail = Tail::start(&stage.connection, options)?;
    let mut found = Payloads::default();
    loop {
        match tail.next().await? {
            TailEvent::Record { record, .. } => {
                let delivery = Delivery::decode(&record)?;
                let is_retry = delivery.hop.wait == Wait::Retry || delivery.hop.attempt > 1;
                if delivery.subscription == of {
                    let counted = if is_retry { &mut found.retries } else { &mut found.waiting };
                    *counted += 1.0;
                }
            }
            TailEvent::Eof { position, .. } if position >= end => return Ok(found),
            TailEvent::Eof { .. } => {}
        }
    }
}
