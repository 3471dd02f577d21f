//! What is written about a delivery's end: the retry or dead letter, and the lifecycle record. Pure.

mod attempt;
mod target;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use catalog::Subscription;
use http::HeaderValue;
use schemas::attempt::{Kind, Lifecycle, push_body, push_head};
use schemas::dead_letter::{Death, DeathReason};
use schemas::delivery::{Delivery, Hop, LastAttempt, RecordPlace, key};
use schemas::header;
use schemas::record::{Headers, OutRecord, Record, TopicPartition};
use schemas::rejected::{self, NewRejection, RejectReason};
use schemas::topics::Topics;

use crate::client::Answer;
use crate::error::Error;
use crate::settle::End;

pub(crate) use self::attempt::Attempt;

/// Room that is made for an answer's head before it is seen how long it is, bytes.
const HEAD_BYTES: usize = 1_024;

/// Writes records for ends.
#[derive(Clone, Debug)]
pub(crate) struct Reporter {
    topics: Topics,
    /// Delay topics, the longest first.
    tiers: Vec<(i64, Arc<str>)>,
    headers_limit: usize,
    /// Of an attempt, where its subscription does not say.
    timeout: Duration,
}

impl Reporter {
    /// For a topic set and its tiers. So much is kept of an answer's head, and an attempt takes so long at most, where its
    /// subscription does not say.
    pub(crate) fn new(topics: Topics, tiers: &[(String, Duration)], headers_limit: usize, timeout: Duration) -> Self {
        let mut tiers: Vec<(i64, Arc<str>)> =
            tiers.iter().map(|(name, delay)| (crate::config::ms(*delay), topics.retry(name))).collect();
        tiers.sort_by_key(|(delay_ms, _)| std::cmp::Reverse(*delay_ms));
        Self { topics, tiers, headers_limit, timeout }
    }

    /// The records of one end.
    ///
    /// # Errors
    /// A lifecycle record that cannot be encoded.
    pub(crate) fn outputs(
        &self,
        delivery: &Delivery,
        end: &End,
        attempt: Option<&Attempt>,
        now_ms: i64,
    ) -> Result<Vec<OutRecord>, Error> {
        let about = |kind| Self::about(kind, delivery, attempt, now_ms);
        match end {
            End::Delivered => {
                let detail = attempt.and_then(|attempt| attempt.answer.detail.as_deref()).map(Cow::Borrowed);
                Ok(vec![self.answered(&Lifecycle { detail, ..about(Kind::Delivered) }, attempt)?])
            }
            End::Retry(hop) => match self.hop_after(delivery, *hop, attempt, now_ms) {
                Some(record) => {
                    let detail = attempt.and_then(|attempt| attempt.answer.detail.as_deref()).map(Cow::Borrowed);
                    let lifecycle = Lifecycle { due_ms: Some(hop.due_ms), detail, ..about(Kind::Attempted) };
                    Ok(vec![record, self.answered(&lifecycle, attempt)?])
                }
                None => self.outputs(delivery, &too_large(), attempt, now_ms),
            },
            End::PassedOn => match self.hop(delivery, delivery.hop, None, now_ms) {
                Some(record) => Ok(vec![record]),
                None => self.outputs(delivery, &too_large(), attempt, now_ms),
            },
            End::Died { reason, detail, .. } if delivery.is_once() => {
                let (reason, detail) = (Some(Cow::Borrowed(reason.as_str())), Some(Cow::Borrowed(&**detail)));
                let lifecycle = Lifecycle { reason, detail, ..about(Kind::TriedOnce) };
                Ok(vec![self.answered(&lifecycle, attempt)?])
            }
            End::Died { reason, detail, endpoint_gone } => {
                let mut records = self.death(delivery, *reason, detail, attempt, now_ms)?;
                if *endpoint_gone {
                    let detail = Some(Cow::Borrowed(&**detail));
                    let lifecycle = Lifecycle { exchange: None, detail, ..about(Kind::EndpointGone) };
                    records.push(self.lifecycle(&lifecycle)?);
                }
                Ok(records)
            }
            End::Superseded(_) => Ok(Vec::new()),
            End::Cancelled(reason) => {
                let lifecycle = Lifecycle { reason: Some(Cow::Borrowed(reason)), ..about(Kind::Cancelled) };
                Ok(vec![self.answered(&lifecycle, attempt)?])
            }
        }
    }

    /// A delivery's record with another hop that is due now, after its last attempt ended so, where that is known. `None`: it does not
    /// fit the topic.
    pub(crate) fn hurried(&self, delivery: &Delivery, hop: Hop, last: Option<LastAttempt<'_>>) -> Option<OutRecord> {
        self.hop(delivery, hop, last, hop.due_ms)
    }

    /// How a delivery leaves that comes far too early: back to a delay topic, or nowhere if it does not fit that.
    pub(crate) fn passed_on(&self, delivery: &Delivery, now_ms: i64) -> End {
        self.hop(delivery, delivery.hop, None, now_ms).map_or_else(too_large, |_| End::PassedOn)
    }

    /// The record that an endpoint has been failing for too long, after this attempt.
    ///
    /// # Errors
    /// As [`Reporter::outputs`].
    pub(crate) fn failing(
        &self,
        delivery: &Delivery,
        since_ms: i64,
        attempt: &Attempt,
        now_ms: i64,
    ) -> Result<OutRecord, Error> {
        let since = jiff::Timestamp::from_millisecond(since_ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        let detail = format!("no attempt has succeeded since {since:.0}, the last one ended with {attempt}");
        let lifecycle = Lifecycle {
            reason: Some(Cow::Borrowed("failing")),
            detail: Some(Cow::Owned(detail)),
            ..Lifecycle::of_delivery(Kind::Failing, now_ms, delivery)
        };
        self.lifecycle(&lifecycle)
    }

    /// The record that an endpoint has taken a delivery again, after every attempt had failed since then.
    ///
    /// # Errors
    /// As [`Reporter::outputs`].
    pub(crate) fn recovered(&self, delivery: &Delivery, since_ms: i64, now_ms: i64) -> Result<OutRecord, Error> {
        let since = jiff::Timestamp::from_millisecond(since_ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        let detail = format!("the endpoint works again, every attempt had failed since {since:.0}");
        let lifecycle = Lifecycle {
            failing_since_ms: Some(since_ms),
            detail: Some(Cow::Owned(detail)),
            ..Lifecycle::of_delivery(Kind::Recovered, now_ms, delivery)
        };
        self.lifecycle(&lifecycle)
    }

    /// The record of what the attempts of a subscription have in common.
    ///
    /// # Errors
    /// As [`Reporter::outputs`].
    pub(crate) fn target(&self, subscription: &Subscription, now_ms: i64) -> Result<OutRecord, Error> {
        let object = subscription.object();
        let lifecycle = Lifecycle {
            application_id: Some(subscription.application()),
            subscription_id: Some(subscription.id()),
            target: Some(target::facts(subscription, &object, self.timeout)),
            ..Lifecycle::new(Kind::Target, now_ms)
        };
        self.lifecycle(&lifecycle)
    }

    /// The records of something that is no delivery.
    ///
    /// # Errors
    /// As [`Reporter::outputs`].
    pub(crate) fn rejected(
        &self,
        from: &TopicPartition,
        record: &Record,
        detail: &str,
        now_ms: i64,
    ) -> Result<Vec<OutRecord>, Error> {
        let reason = if record.value.is_none() { RejectReason::NullValue } else { RejectReason::Undecodable };
        let lifecycle = Lifecycle {
            application_id: record.headers.text(header::APPLICATION).and_then(|id| id.parse().ok()),
            reason: Some(Cow::Borrowed(reason.as_str())),
            detail: Some(Cow::Borrowed(detail)),
            origin: Some(Cow::Owned(format!("{from}/{}", record.offset))),
            ..Lifecycle::new(Kind::Rejected, now_ms)
        };
        let topic = Arc::clone(&self.topics.rejected);
        let limit = self.topics.max_message_bytes;
        let rejected = rejected::to_record(topic, from, record, NewRejection::new(reason, detail), limit);
        Ok(vec![rejected, self.lifecycle(&lifecycle)?])
    }

    /// What is written instead of an output that Kafka never takes: it goes to `rejected`, and its delivery dies.
    ///
    /// # Errors
    /// As [`Reporter::outputs`].
    pub(crate) fn unwritable(
        &self,
        output: OutRecord,
        from: (&TopicPartition, i64),
        detail: &str,
        now_ms: i64,
    ) -> Result<Vec<OutRecord>, Error> {
        let OutRecord { key, value, headers, .. } = output;
        let record = Record { offset: from.1, timestamp_ms: now_ms, key, value, headers };
        let (topic, limit) = (Arc::clone(&self.topics.rejected), self.topics.max_message_bytes);
        let rejection = NewRejection::new(RejectReason::Unwritable, detail);
        let mut records = vec![rejected::to_record(topic, from.0, &record, rejection, limit)];
        if let Ok(mut delivery) = Delivery::decode(&record) {
            delivery.record = Some(RecordPlace { partition: from.0.partition, offset: from.1 });
            let lifecycle = Lifecycle {
                reason: Some(Cow::Borrowed(DeathReason::Unwritable.as_str())),
                detail: Some(Cow::Borrowed(detail)),
                ..Lifecycle::of_delivery(Kind::DeadLettered, now_ms, &delivery)
            };
            records.push(self.lifecycle(&lifecycle)?);
        }
        Ok(records)
    }

    fn death(
        &self,
        delivery: &Delivery,
        reason: DeathReason,
        detail: &str,
        attempt: Option<&Attempt>,
        now_ms: i64,
    ) -> Result<Vec<OutRecord>, Error> {
        let made = if attempt.is_some() { delivery.hop.attempt } else { delivery.hop.attempt.saturating_sub(1) };
        // What ended its last attempt, beside why there is no other.
        let told: Cow<'_, str> = match (attempt, delivery.headers.text(header::LAST_ERROR)) {
            (Some(attempt), _) => {
                let last = attempt.answer.detail.as_deref();
                last.map_or(Cow::Borrowed(detail), |last| format!("{detail}; {last}").into())
            }
            (None, Some(last)) => format!("{detail}; the last attempt ended with {last}").into(),
            (None, None) => Cow::Borrowed(detail),
        };
        let ended = attempt.map(Attempt::to_string);
        let last = attempt.zip(ended.as_deref()).map(|(attempt, error)| attempt.last(error));
        let death = Death { reason, detail: &told, attempts: made, last, at_ms: now_ms };
        let topic = Arc::clone(&self.topics.dead_letters);
        let lifecycle = Lifecycle {
            attempt: Some(made),
            reason: Some(Cow::Borrowed(reason.as_str())),
            detail: Some(Cow::Borrowed(&told)),
            ..Self::about(Kind::DeadLettered, delivery, attempt, now_ms)
        };
        let letter = death.to_record(topic, delivery, self.topics.max_message_bytes);
        Ok(vec![letter, self.answered(&lifecycle, attempt)?])
    }

    /// The delivery's record for its next hop: the longest tier that fits what remains, or the shortest one, where the scheduler
    /// waits out less; `deliveries` once it is due. `None`: it does not fit the topic.
    fn hop(&self, delivery: &Delivery, hop: Hop, last: Option<LastAttempt<'_>>, now_ms: i64) -> Option<OutRecord> {
        let remaining_ms = hop.due_ms - now_ms;
        let fits = self.tiers.iter().find(|(delay_ms, _)| *delay_ms <= remaining_ms);
        let tier = fits.or_else(|| self.tiers.last().filter(|_| remaining_ms > 0));
        let record = match tier {
            Some((_, topic)) => delivery.to_hop(Arc::clone(topic), None, hop, last),
            None => delivery.to_hop(Arc::clone(&self.topics.deliveries), Some(key(delivery.subscription)), hop, last),
        };
        (record.batch_size() <= self.topics.max_message_bytes).then_some(record)
    }

    /// The same after an attempt.
    fn hop_after(&self, delivery: &Delivery, hop: Hop, attempt: Option<&Attempt>, now_ms: i64) -> Option<OutRecord> {
        let ended = attempt.map(Attempt::to_string);
        let last = attempt.zip(ended.as_deref()).map(|(attempt, error)| attempt.last(error));
        self.hop(delivery, hop, last, now_ms)
    }

    fn about<'a>(kind: Kind, delivery: &'a Delivery, attempt: Option<&'a Attempt>, now_ms: i64) -> Lifecycle<'a> {
        let exchange = attempt.map(|attempt| attempt.exchange(delivery));
        Lifecycle { exchange, ..Lifecycle::of_delivery(kind, now_ms, delivery) }
    }

    /// A lifecycle record, with the answer beside it where an attempt was made.
    fn answered(&self, lifecycle: &Lifecycle<'_>, attempt: Option<&Attempt>) -> Result<OutRecord, Error> {
        let record = self.lifecycle(lifecycle)?;
        let answer = attempt.map(|attempt| &attempt.answer).filter(|answer| answer.status.is_some());
        Ok(OutRecord { headers: answer.map_or_else(Headers::default, |answer| self.response(answer)), ..record })
    }

    /// What is kept of an answer's head and body.
    fn response(&self, answer: &Answer) -> Headers {
        let head = &answer.headers;
        let names = header::RESPONSE_HEAD.len() + header::RESPONSE_BODY.len();
        // An ordinary head at once, a large one grows.
        let mut headers = Headers::builder(3, names + answer.body.len() + HEAD_BYTES.min(48 * head.len()));
        let lines = head.keys().map(|name| (name.as_str(), head.get_all(name).iter().map(HeaderValue::as_bytes)));
        push_head(&mut headers, lines, self.headers_limit);
        push_body(&mut headers, &answer.body, answer.cut);
        headers.build()
    }

    fn lifecycle(&self, lifecycle: &Lifecycle<'_>) -> Result<OutRecord, Error> {
        let topic = Arc::clone(&self.topics.attempts);
        let value = lifecycle.encode().map_err(|source| Error::Encode { topic: topic.to_string(), source })?;
        Ok(OutRecord {
            topic,
            partition: None,
            key: None,
            value: Some(Bytes::from(value)),
            headers: Headers::default(),
        })
    }
}

fn too_large() -> End {
    End::died(DeathReason::Unwritable, "the delivery does not fit the topic with its new headers")
}
