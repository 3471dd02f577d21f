//! A record of a source, as the fan-out and jobs read it.

use schemas::cloud_event::MAX_EXTENSIONS;
use schemas::header;
use schemas::record::{Record, TopicPartition};
use sources::{Event, MAX_ID_BYTES};

/// A record of a source. Panics where what the fan-out reads is not what it writes; says whether the record is an event.
pub(crate) fn record(record: &Record, from: &TopicPartition) -> bool {
    let event = match sources::decode(record, from) {
        Ok(event) => event,
        Err(rejection) => {
            assert!(!rejection.detail.is_empty() && rejection.detail.len() < 4_096, "{rejection:?}");
            return false;
        }
    };
    assert_eq!(sources::named_application(record).as_deref(), Some(&*event.application));
    assert!(event.id.len() <= MAX_ID_BYTES && event.source.len() <= MAX_ID_BYTES);
    assert_eq!(event.headers.text(header::CE_ID), Some(&*event.id));
    assert_eq!(event.headers.text(header::CE_SOURCE), Some(&*event.source));
    assert_eq!(event.headers.text(header::CE_TYPE), Some(&*event.event_type));
    assert_eq!(event.headers.text(header::APPLICATION), Some(&*event.application));
    let size = record.value.as_ref().map_or(0, |value| value.len()) + record.headers.size();
    assert!(event.headers.len() <= record.headers.len() + MAX_EXTENSIONS + 16);
    assert!(event.headers.size() <= 2 * size + 1_024, "{size} bytes became {}", event.headers.size());

    // What was written reads as the same event, however it came.
    let written = Record { value: Some(event.payload.clone()), headers: event.headers.clone(), key: None, ..*record };
    if !is_envelope(&written) {
        let again = sources::decode(&written, from).expect("what the fan-out writes is an event");
        assert_eq!(facts(&again), facts(&event));
        assert_eq!(again.payload, event.payload);
        assert_eq!(again.headers, event.headers, "a second time nothing changes");
    }
    true
}

/// An event whose data is an envelope again, as a forwarded one's.
fn is_envelope(record: &Record) -> bool {
    let content_type = record.headers.get(header::CONTENT_TYPE).unwrap_or_default().to_ascii_lowercase();
    content_type.trim_ascii_start().starts_with(b"application/cloudevents")
}

fn facts<'e>(event: &'e Event<'_>) -> [Option<&'e str>; 6] {
    let (application, id, source, event_type) = (&*event.application, &*event.id, &*event.source, &*event.event_type);
    [Some(application), Some(id), Some(source), Some(event_type), event.time.as_deref(), event.content_type.as_deref()]
}
