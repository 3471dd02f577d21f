//! What was rejected and is to be planned again, on `retried`: the record as it stood on its topic, where that was, and how often
//! it was retried.
//!
//! Records of one partition of a topic are in one partition of `retried`: identities are remembered by partition, so what is
//! retried twice is a repeat.

use std::sync::Arc;

use thiserror::Error;

use crate::delivery::Origin;
use crate::header;
use crate::ids::OrganizationId;
use crate::murmur2::partition_for;
use crate::record::{Headers, OutRecord, Record, TopicPartition};
use crate::rejected::split;
use crate::slices::SliceCursor;

/// A record that is planned again.
#[derive(Clone, Debug)]
pub struct RetriedRecord {
    /// It, with the offset and the time that it had.
    pub record: Record,
    /// Where it stood.
    pub from: TopicPartition,
    /// The organization that it was rejected of; none: nobody's source read it.
    pub organization: Option<OrganizationId>,
    /// How often it was retried, this time included.
    pub retries: u32,
    /// How far its event was written before it was rejected, where a part of it was: it goes on above that.
    pub written: Option<SliceCursor>,
}

/// A record of `retried` that says nothing of where it stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("it does not say where the record stood that is to be planned again")]
pub struct RetriedError;

/// The partition of `retried` for records of this partition.
#[must_use]
pub fn retried_partition(from: &TopicPartition, partitions: i32) -> i32 {
    partition_for(from.to_string().as_bytes(), partitions)
}

// === impl RetriedRecord ===

impl RetriedRecord {
    /// Reads a record of `retried`. What its producer gave it stands before our own headers.
    ///
    /// # Errors
    /// It is none.
    pub fn decode(record: &Record) -> Result<Self, RetriedError> {
        let (headers, said) = split(&record.headers, header::ORIGIN).ok_or(RetriedError)?;
        let origin: Origin = said.text(header::ORIGIN).and_then(|text| text.parse().ok()).ok_or(RetriedError)?;
        let timestamp_ms = said.text(header::ACCEPTED).and_then(|text| text.parse().ok()).ok_or(RetriedError)?;
        let (key, value) = (record.key.clone(), record.value.clone());
        Ok(Self {
            record: Record { offset: origin.offset, timestamp_ms, key, value, headers },
            from: TopicPartition::new(origin.topic, origin.partition),
            organization: said.text(header::ORGANIZATION).and_then(|id| id.parse().ok()),
            retries: said.text(header::RETRIES).and_then(|count| count.parse().ok()).unwrap_or(1),
            written: said.text(header::WRITTEN).and_then(|cursor| cursor.parse().ok()),
        })
    }

    /// As a record of `retried`, which has so many partitions.
    #[must_use]
    pub fn to_record(&self, topic: Arc<str>, partitions: i32) -> OutRecord {
        let Self { record, from, organization, retries, written } = self;
        let mut builder = Headers::builder(record.headers.len() + 5, record.headers.size() + 400);
        builder
            .copy_if(&record.headers, |_name| true)
            .push_display(header::ORIGIN, format_args!("{from}/{}", record.offset))
            .push_i64(header::ACCEPTED, record.timestamp_ms)
            .push_i64(header::RETRIES, i64::from(*retries));
        if let Some(organization) = organization {
            builder.push_display(header::ORGANIZATION, organization);
        }
        if let Some(written) = written {
            builder.push_display(header::WRITTEN, written);
        }
        OutRecord {
            topic,
            partition: Some(retried_partition(from, partitions)),
            key: record.key.clone(),
            value: record.value.clone(),
            headers: builder.build(),
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn it_is_read_as_it_was_written_whatever_its_producer_wrote() {
        let headers: Headers =
            [(header::ORIGIN, "theirs/1/2"), ("x", "y"), (header::RETRIES, "77"), (header::WRITTEN, "z")]
                .into_iter()
                .collect();
        let value = Some(bytes::Bytes::from_static(b"{}"));
        let record = Record { offset: 9, timestamp_ms: 5, key: None, value, headers };
        let organization = Some(OrganizationId(Uuid::from_u128(9)));
        let from = TopicPartition::new("crm.orders", 3);
        let written = Some(SliceCursor { last: Uuid::from_u128(7), count: 2_000 });
        let retried = RetriedRecord { record, from, organization, retries: 2, written };
        let out = retried.to_record(Arc::from("hookbus.retried"), 8);
        assert_eq!(out.partition, Some(retried_partition(&retried.from, 8)));
        let read = Record { offset: 700, timestamp_ms: 800, key: out.key, value: out.value, headers: out.headers };
        let found = RetriedRecord::decode(&read).unwrap();
        assert_eq!((&found.from, found.organization, found.retries), (&retried.from, organization, 2));
        assert_eq!((found.record.offset, found.record.timestamp_ms, found.written), (9, 5, written));
        assert_eq!(found.record.headers, retried.record.headers);
        let strange = Record { headers: Headers::default(), ..read };
        assert_eq!(RetriedRecord::decode(&strange).unwrap_err(), RetriedError);
    }
}
