//! Where a ready record goes. Pure.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use retry::{Budget, RetryError, remaining};
use schemas::attempt::{Kind, Lifecycle};
use schemas::delivery::{self, Origin};
use schemas::header;
use schemas::ids::SubscriptionId;
use schemas::record::{Headers, OutRecord, Record, TopicPartition};
use schemas::rejected::{self, RejectReason};
use schemas::topics::Topics;

use crate::config::MAX_BUDGETS;
use crate::due::{Due, Waiting};
use crate::tiers::Tiers;

/// Longest text of a rejected record that its lifecycle record repeats, bytes.
const MAX_REPEATED: usize = 1_000;

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Move {
    /// To `deliveries`.
    Promoted,
    /// Through another tier, because so much remains.
    Hopped,
    /// Through the smallest tier, because its subscription's budget was used up.
    Deferred,
    /// To `rejected`.
    Rejected,
}

/// Decides, with the budgets of all subscriptions.
#[derive(Debug)]
pub(crate) struct Promoter {
    tiers: Tiers,
    topics: Topics,
    budget: Budget<SubscriptionId>,
}

/// Where a record stands and when it is looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    /// The record.
    pub(crate) record: &'a Record,
    /// Its partition.
    pub(crate) partition: &'a TopicPartition,
    /// Now, Unix ms.
    pub(crate) now_ms: i64,
}

// === impl Promoter ===

impl Promoter {
    /// With a budget per subscription and second.
    pub(crate) fn new(tiers: Tiers, topics: Topics, per_second: u32) -> Result<Self, RetryError> {
        let budget = Budget::new(f64::from(per_second), per_second.max(1), MAX_BUDGETS)?;
        Ok(Self { tiers, topics, budget })
    }

    /// Appends what a ready record becomes.
    pub(crate) fn promote(
        &mut self,
        waiting: &Waiting,
        partition: &TopicPartition,
        now_ms: i64,
        out: &mut Vec<OutRecord>,
    ) -> Move {
        let record = &waiting.record;
        match &waiting.what {
            Ok(due) => {
                let (moved, topic) = self.destination(*due, now_ms);
                let key = (moved == Move::Promoted).then(|| delivery::key(due.subscription));
                let (value, headers) = (record.value.clone(), record.headers.clone());
                out.push(OutRecord { topic, partition: None, key, value, headers });
                moved
            }
            Err(detail) => {
                let place = Place { record, partition, now_ms };
                reject(&self.topics, place, RejectReason::Undecodable, detail, out);
                Move::Rejected
            }
        }
    }

    /// How often a subscription passed unbudgeted because too many had budgets.
    pub(crate) fn unbudgeted(&self) -> u64 {
        self.budget.untracked()
    }

    fn destination(&mut self, due: Due, now_ms: i64) -> (Move, Arc<str>) {
        if let Some(topic) = self.tiers.hop(remaining(now_ms, due.due_ms)) {
            return (Move::Hopped, Arc::clone(topic));
        }
        if self.budget.try_take(&due.subscription, now_ms) {
            (Move::Promoted, Arc::clone(&self.topics.deliveries))
        } else {
            (Move::Deferred, Arc::clone(self.tiers.shortest()))
        }
    }
}

/// Appends the record on `rejected` and the lifecycle record that says so.
pub(crate) fn reject(topics: &Topics, place: Place<'_>, reason: RejectReason, detail: &str, out: &mut Vec<OutRecord>) {
    let Place { record, partition, now_ms } = place;
    let limit = topics.max_message_bytes;
    out.push(rejected::to_record(Arc::clone(&topics.rejected), partition, record, reason, detail, limit));
    let headers = &record.headers;
    let text = |name| headers.text(name).filter(|text| text.len() <= MAX_REPEATED).map(Cow::Borrowed);
    let lifecycle = Lifecycle {
        application_id: headers.text(header::APPLICATION).and_then(|id| id.parse().ok()),
        event_id: text(header::CE_ID),
        event_source: text(header::CE_SOURCE),
        event_type: text(header::CE_TYPE),
        origin: Some(Origin {
            topic: partition.topic.to_string(),
            partition: partition.partition,
            offset: record.offset,
        }),
        subscription_id: headers.text(header::SUBSCRIPTION).and_then(|id| id.parse().ok()),
        delivery_id: headers.text(header::DELIVERY).and_then(|id| id.parse().ok()),
        reason: Some(Cow::Borrowed(reason.as_str())),
        detail: Some(detail.chars().take(MAX_REPEATED).collect::<String>().into()),
        ..Lifecycle::new(Kind::Rejected, now_ms)
    };
    let value = lifecycle.encode().expect("texts and integers always are JSON");
    out.push(OutRecord {
        topic: Arc::clone(&topics.attempts),
        partition: None,
        key: None,
        value: Some(Bytes::from(value)),
        headers: Headers::default(),
    });
}
