//! A delivery that is made once more, of one that was there: the same event and payload, another generation.

use std::sync::Arc;

use super::{Delivery, MadeBy, NewDelivery, key};
use crate::header;
use crate::identity::delivery_id;
use crate::ids::{Generation, JobId};
use crate::record::{Headers, OutRecord, Record};

/// What the new generation is.
#[derive(Clone, Copy, Debug)]
pub struct Again {
    /// The job that makes it.
    pub job: JobId,
    /// The same in a word.
    pub made_by: MadeBy,
    /// When it dies of age, Unix ms.
    pub deadline_ms: i64,
    /// Snapshot it was decided at.
    pub control_offset: i64,
    /// How often the delivery was redriven, this time included; `None`: it was not.
    pub redrives: Option<u32>,
    /// One attempt is made, and no other follows.
    pub is_once: bool,
}

// === impl Delivery ===

impl Delivery {
    /// The same event for the same subscription as a first hop of a new generation. What the former one went through is not
    /// copied.
    #[must_use]
    pub fn again(&self, topic: Arc<str>, again: Again) -> OutRecord {
        let generation = Generation(Some(again.job.0));
        let (source, id) = (self.event_source(), self.event_id());
        let new = NewDelivery {
            id: delivery_id(self.application, source, id, self.subscription, generation),
            subscription: self.subscription,
            generation,
            made_by: Some(again.made_by),
            accepted_ms: self.accepted_ms,
            deadline_ms: again.deadline_ms,
            control_offset: again.control_offset,
            ordering_key: None,
            deprecation: self.deprecation(),
        };
        let mut event = Headers::builder(self.headers.len(), self.headers.size());
        event.copy_if(&self.headers, is_of_the_event);
        let headers = new.encode(&event.build(), self.application, self.origin_text().unwrap_or_default());
        let headers = again.marked(headers);
        let key = Some(key(self.subscription));
        OutRecord { topic, partition: None, key, value: Some(self.payload.clone()), headers }
    }
}

impl Delivery {
    /// Its event, as a record of `events` would have it: what it went through and whose it is are not copied.
    #[must_use]
    pub fn event_record(&self) -> Record {
        let mut headers = Headers::builder(self.headers.len(), self.headers.size());
        headers.copy_if(&self.headers, is_of_the_event);
        Record {
            offset: self.record.map_or(0, |record| record.offset),
            timestamp_ms: self.accepted_ms,
            key: None,
            value: Some(self.payload.clone()),
            headers: headers.build(),
        }
    }
}

// === impl Again ===

impl Again {
    /// With the headers that only some generations have.
    fn marked(&self, headers: Headers) -> Headers {
        if self.redrives.is_none() && !self.is_once {
            return headers;
        }
        let mut builder = Headers::builder(headers.len() + 2, headers.size() + 40);
        builder.copy_if(&headers, |_| true);
        if let Some(redrives) = self.redrives {
            builder.push_i64(header::REDRIVES, i64::from(redrives));
        }
        if self.is_once {
            builder.push(header::ONCE, b"1");
        }
        builder.build()
    }
}

/// Whether a header is the event's own, not one of those that Hookbus adds to its deliveries.
fn is_of_the_event(name: &[u8]) -> bool {
    !name.starts_with(b"hookbus-") || header::INBOUND.iter().any(|own| own.as_bytes() == name)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn dead() -> Delivery {
        let application = Uuid::from_u128(1).to_string();
        let subscription = Uuid::from_u128(2).to_string();
        let headers: Headers = [
            ("ce_id", "evt_1"),
            ("ce_type", "a.b"),
            ("ce_source", "/x"),
            ("content-type", "application/json"),
            ("traceparent", "00-1"),
            ("hookbus-labels", "{}"),
            ("hookbus-application", application.as_str()),
            ("hookbus-delivery", application.as_str()),
            ("hookbus-subscription", subscription.as_str()),
            ("hookbus-accepted", "7"),
            ("hookbus-deadline", "8"),
            ("hookbus-control-offset", "9"),
            ("hookbus-origin", "h.events/1/2"),
            ("hookbus-attempt", "5"),
            ("hookbus-wait", "retry"),
            ("hookbus-failing-since", "3"),
            ("hookbus-redrives", "1"),
            ("hookbus-last-status", "500"),
        ]
        .into_iter()
        .collect();
        let value = Some(bytes::Bytes::from_static(b"{}"));
        Delivery::decode(&Record { offset: 0, timestamp_ms: 0, key: None, value, headers }).unwrap()
    }

    fn again(redrives: Option<u32>, is_once: bool) -> Again {
        let job = JobId(Uuid::from_u128(5));
        Again { job, made_by: MadeBy::Redrive, deadline_ms: 100, control_offset: 50, redrives, is_once }
    }

    fn made(again: Again) -> Delivery {
        let OutRecord { key, value, headers, .. } = dead().again(Arc::from("deliveries"), again);
        Delivery::decode(&Record { offset: 0, timestamp_ms: 0, key, value, headers }).unwrap()
    }

    #[test]
    fn it_is_the_same_event_in_a_new_generation_without_its_past() {
        let (former, new) = (dead(), made(again(Some(2), false)));
        assert_eq!((new.event_id(), new.event_source(), &new.payload), ("evt_1", "/x", &former.payload));
        assert_eq!((new.accepted_ms, new.deadline_ms, new.control_offset), (7, 100, 50));
        assert_eq!(
            (new.generation, new.made_by(), new.redrives()),
            (Generation(Some(Uuid::from_u128(5))), Some("redrive"), Some(2))
        );
        assert_eq!(new.hop, super::super::Hop::first());
        assert_eq!(new.origin_text(), Some("h.events/1/2"));
        assert_ne!(new.id, former.id);
        assert_eq!(new.id, made(again(None, true)).id, "a job makes one of each");
        let has = |name| new.headers.get(name).is_some();
        assert!(has("traceparent") && has("hookbus-labels"));
        assert!(!has("hookbus-last-status") && !new.is_once());
    }

    #[test]
    fn its_event_is_what_was_accepted_and_nothing_of_what_became_of_it() {
        let Record { value, headers, timestamp_ms, .. } = dead().event_record();
        let names: Vec<&str> = headers.iter().map(|(name, _)| std::str::from_utf8(name).unwrap()).collect();
        let kept =
            ["ce_id", "ce_type", "ce_source", "content-type", "traceparent", "hookbus-labels", "hookbus-application"];
        assert_eq!((names.as_slice(), value.as_deref(), timestamp_ms), (&kept[..], Some(&b"{}"[..]), 7));
    }

    #[test]
    fn one_try_is_marked_and_what_was_redriven_before_is_not_copied() {
        let new = made(again(None, true));
        assert!(new.is_once());
        assert_eq!(new.redrives(), None);
    }
}
