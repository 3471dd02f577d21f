//! The work: 1 KB events, as requests, as records on `events` and as records on `deliveries`.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka::clock::now_ms;
use kafka::{Connection, KafkaError, Producer, ProducerOptions};
use schemas::delivery::{self, NewDelivery};
use schemas::event::EventHeaders;
use schemas::identity::{self, EventIdentity};
use schemas::ids::{ApplicationId, Generation, SubscriptionId};
use schemas::record::{Headers, OutRecord};

/// Bytes of every payload.
pub(crate) const PAYLOAD_BYTES: usize = 1_024;
/// Bytes of the generated event ids.
const ID_DIGITS: usize = 12;
/// How long a delivery of the benchmark may live.
const LIFE_MS: i64 = 24 * 3_600 * 1_000;
/// A backlog is written within this time.
const WRITTEN_WITHIN: Duration = Duration::from_secs(60);

/// An invoice with as many lines as it takes.
pub(crate) fn payload() -> Bytes {
    let mut text = String::from(r#"{"invoice":"in_00042","currency":"eur","lines":["#);
    for line in 0.. {
        let item = format!(r#"{{"sku":"A-{line:04}","quantity":{},"amount":{}}},"#, line % 7 + 1, 1_999 + line);
        if text.len() + item.len() + 32 > PAYLOAD_BYTES {
            break;
        }
        text.push_str(&item);
    }
    let filler = PAYLOAD_BYTES - text.len() - r#"{"note":""}]}"#.len();
    text.push_str(&format!(r#"{{"note":"{}"}}]}}"#, "x".repeat(filler)));
    Bytes::from(text)
}

/// The id of the n-th event.
pub(crate) fn event_id(number: u32) -> String {
    format!("evt_{number:0ID_DIGITS$}")
}

/// The id of an event that tells its number and when it was made: `<number>-<Unix ms>`.
pub(crate) fn timed_id(number: u32) -> String {
    format!("{number}-{}", now_ms())
}

/// What such an id tells.
pub(crate) fn timed(id: &str) -> Option<(u32, i64)> {
    let (number, made_ms) = id.split_once('-')?;
    Some((number.parse().ok()?, made_ms.parse().ok()?))
}

/// One of the event types of an installation.
pub(crate) fn event_type(number: u32) -> String {
    format!("invoice.paid.v{number}")
}

/// Writes a backlog of the events with these numbers, spread over so many types.
pub(crate) async fn write_events(
    connection: &Connection,
    topic: &Arc<str>,
    application: ApplicationId,
    numbers: Range<u32>,
    types: u32,
) -> anyhow::Result<()> {
    let (value, source) = (payload(), identity::gateway_source(application));
    let types: Vec<String> = (0..types).map(event_type).collect();
    let records = numbers.zip(types.iter().cycle()).map(|(number, event_type)| {
        let id = event_id(number);
        let headers = event_headers(application, &source, &id, event_type);
        record(topic, id.into(), &value, headers)
    });
    write(connection, records).await
}

/// Writes a backlog of deliveries of the events with these numbers and ids, in turn for each subscription.
pub(crate) async fn write_deliveries(
    connection: &Connection,
    topic: &Arc<str>,
    application: ApplicationId,
    subscriptions: &[SubscriptionId],
    (numbers, id): (Range<u32>, fn(u32) -> String),
) -> anyhow::Result<()> {
    let value = payload();
    let records = numbers.zip(subscriptions.iter().cycle());
    let records =
        records.map(|(number, &subscription)| delivery(topic, application, subscription, (number, id(number)), &value));
    write(connection, records).await
}

/// One delivery of the event with this number and id.
pub(crate) fn delivery(
    topic: &Arc<str>,
    application: ApplicationId,
    subscription: SubscriptionId,
    (number, id): (u32, String),
    value: &Bytes,
) -> OutRecord {
    let source = identity::gateway_source(application);
    let inbound = event_headers(application, &source, &id, &event_type(0));
    let event = EventIdentity { application, source, id };
    let accepted_ms = now_ms();
    let new = NewDelivery {
        id: event.delivery_id(subscription, Generation(None)),
        subscription,
        generation: Generation(None),
        made_by: None,
        accepted_ms,
        deadline_ms: accepted_ms + LIFE_MS,
        control_offset: 0,
        ordering_key: None,
        deprecation: None,
    };
    let headers = new.encode(&inbound, application, &format!("events/0/{number}"));
    record(topic, delivery::key(subscription), value, headers)
}

fn event_headers(application: ApplicationId, source: &str, id: &str, event_type: &str) -> Headers {
    let event = EventHeaders {
        id,
        is_id_made: false,
        event_type,
        source,
        time: "2026-11-22T00:00:00Z",
        content_type: "application/json",
        application: &application.to_string(),
        labels: None,
        metadata: None,
        ip: Some("127.0.0.1"),
    };
    event.encode().expect("no maps, so nothing that could fail")
}

fn record(topic: &Arc<str>, key: Bytes, value: &Bytes, headers: Headers) -> OutRecord {
    OutRecord { topic: Arc::clone(topic), partition: None, key: Some(key), value: Some(value.clone()), headers }
}

/// Writes records, as many at a time as fit the queue.
pub(crate) async fn write(connection: &Connection, records: impl Iterator<Item = OutRecord>) -> anyhow::Result<()> {
    let options = ProducerOptions {
        linger: Duration::from_millis(20),
        message_timeout: WRITTEN_WITHIN,
        queue_bytes: 256 * 1024 * 1024,
        ..ProducerOptions::new("bench-backlog")
    };
    let producer = Producer::start(connection, options)?;
    let mut acknowledgements = std::collections::VecDeque::new();
    for record in records {
        loop {
            match producer.send(&record) {
                Ok(acknowledgement) => break acknowledgements.push_back(acknowledgement),
                Err(KafkaError::QueueFull { .. }) => match acknowledgements.pop_front() {
                    Some(oldest) => drop(oldest.await?),
                    None => tokio::task::yield_now().await,
                },
                Err(error) => return Err(error.into()),
            }
        }
    }
    for acknowledgement in acknowledgements {
        acknowledgement.await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payload_is_json_of_the_size_it_says() {
        let payload = payload();
        assert_eq!(payload.len(), PAYLOAD_BYTES);
        let value: serde_json::Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!(value["invoice"], "in_00042");
    }

    #[test]
    fn an_id_tells_its_number_and_its_time() {
        let before_ms = now_ms();
        let (number, made_ms) = timed(&timed_id(7)).unwrap();
        assert!(number == 7 && made_ms >= before_ms);
        assert_eq!((timed(&event_id(7)), timed("7-x"), timed("")), (None, None, None));
    }
}
