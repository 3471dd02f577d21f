//! Where a ready record goes. Pure.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use retry::remaining;
use schemas::attempt::{Kind, Lifecycle};
use schemas::delivery;
use schemas::header;
use schemas::record::{Headers, OutRecord, Record, TopicPartition};
use schemas::rejected::{self, NewRejection, RejectReason};
use schemas::topics::Topics;

use crate::due::{Due, Waiting};
use crate::tiers::Tiers;

/// Longest text of a rejected record that its lifecycle record repeats, bytes.
const MAX_REPEATED: usize = 1_000;

/// A tier may be longer than what remains by this part of it, if that is how late the move is.
const LATE_PART: u32 = 10;

/// How long the first that a tier of this delay may hold waits in it at least, ms: a late move leads to a longer tier than what remains.
pub(crate) fn soonest_ms(delay_ms: i64) -> i64 {
    let part = i64::from(LATE_PART);
    delay_ms / (part + 1) * part
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Move {
    /// To `deliveries`.
    Promoted,
    /// Through another tier, because so much remains.
    Hopped,
    /// To `rejected`.
    Rejected,
}

/// Decides.
#[derive(Debug)]
pub(crate) struct Promoter {
    tiers: Tiers,
    topics: Topics,
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
    /// Through these tiers, to these topics.
    pub(crate) fn new(tiers: Tiers, topics: Topics) -> Self {
        Self { tiers, topics }
    }

    /// Appends what a ready record becomes.
    pub(crate) fn promote(
        &self,
        waiting: &Waiting,
        partition: &TopicPartition,
        now_ms: i64,
        out: &mut Vec<OutRecord>,
    ) -> Move {
        let record = &waiting.record;
        match &waiting.what {
            Ok(due) => {
                let (moved, topic) = self.destination(waiting, *due, now_ms);
                let key = (moved == Move::Promoted).then(|| delivery::key(due.subscription));
                let headers = if due.was_parked { without_due(&record.headers) } else { record.headers.clone() };
                let value = record.value.clone();
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

    /// A move that comes a little late goes where it would have gone in time: else what is just short of a long tier would be
    /// written through many short ones. It is not later for that: in its tier it waits until it is due, and is read in time for it
    /// ([`soonest_ms`]), unless more than a look-ahead of others lies before it.
    fn destination(&self, waiting: &Waiting, due: Due, now_ms: i64) -> (Move, Arc<str>) {
        let left = remaining(now_ms, due.due_ms);
        let late = remaining(waiting.ready_ms, now_ms).min(left / LATE_PART);
        match self.tiers.hop_after(waiting.delay_ms, left + late) {
            Some(topic) => (Move::Hopped, Arc::clone(topic)),
            None => (Move::Promoted, Arc::clone(&self.topics.deliveries)),
        }
    }
}

/// What a version before lists of lanes had parked is due at once: it waits in its lane.
fn without_due(headers: &Headers) -> Headers {
    let mut builder = Headers::builder(headers.len(), headers.size());
    builder.copy_if(headers, |name| name != header::DUE.as_bytes());
    builder.build()
}

/// Appends the record on `rejected` and the lifecycle record that says so.
pub(crate) fn reject(topics: &Topics, place: Place<'_>, reason: RejectReason, detail: &str, out: &mut Vec<OutRecord>) {
    let Place { record, partition, now_ms } = place;
    let limit = topics.max_message_bytes;
    let rejection = NewRejection::new(reason, detail);
    out.push(rejected::to_record(Arc::clone(&topics.rejected), partition, record, rejection, limit));
    let headers = &record.headers;
    let text = |name| headers.text(name).filter(|text| text.len() <= MAX_REPEATED).map(Cow::Borrowed);
    let lifecycle = Lifecycle {
        application_id: headers.text(header::APPLICATION).and_then(|id| id.parse().ok()),
        event_id: text(header::CE_ID),
        event_source: text(header::CE_SOURCE),
        event_type: text(header::CE_TYPE),
        origin: Some(format!("{partition}/{}", record.offset).into()),
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
