//! The payload of an event inside the record that it was accepted in, whichever of its formats that has.
//!
//! An event is looked for where it was accepted, and in a topic that was created anew another one stands there, of anybody. Ids
//! are unique under an application and a source alone, so all three are compared, as the fan-out reads them.

use bytes::Bytes;
use delivery_log::LoggedEvent;
use schemas::control::Application;
use schemas::delivery::Origin;
use schemas::identity::gateway_source;
use schemas::record::{Record, TopicPartition};

use crate::problem::Problem;
use crate::state::App;

/// The payload as it was accepted; `None`: Kafka does not hold it any more, or holds another record there.
pub(super) async fn read(
    app: &App,
    application: &Application,
    event: &LoggedEvent,
) -> Result<Option<Vec<u8>>, Problem> {
    let Some(origin) = &event.origin else { return Ok(None) };
    let record = app.log().read_back()?.record(origin).await?;
    Ok(record.and_then(|record| of(&record, application, event, origin)).map(Vec::from))
}

/// The payload, if the record is that of the event.
fn of(record: &Record, application: &Application, event: &LoggedEvent, origin: &Origin) -> Option<Bytes> {
    let from = TopicPartition::new(origin.topic.as_str(), origin.partition);
    let accepted = sources::decode(record, &from).ok()?;
    let own = event.source.clone().unwrap_or_else(|| gateway_source(event.application));
    let is_event = accepted.source == own && accepted.id == event.id;
    (is_event && application.is_called(&accepted.application)).then_some(accepted.payload)
}

#[cfg(test)]
mod tests {
    use schemas::header;
    use schemas::ids::{ApplicationId, OrganizationId};
    use uuid::Uuid;

    use super::*;
    use crate::log::made;

    /// The record of an event with these headers, and whether it is read back as that of `evt_1` of application 1.
    fn is_read_back(source: Option<&str>, id: &str, headers: &[(&str, &str)]) -> bool {
        let application_id = ApplicationId(Uuid::from_u128(1));
        let application = Application {
            uid: Some("shop".to_owned()),
            ..Application::new(application_id, OrganizationId(Uuid::nil()), "Shop", 0)
        };
        let (id, source) = (id.to_owned(), source.map(str::to_owned));
        let event = LoggedEvent { id, source, ..made::event(application_id) };
        let headers = headers.iter().copied().chain([(header::CE_TYPE, "a.b")]).collect();
        let value = Some(Bytes::from_static(b"{}"));
        let record = Record { offset: 7, timestamp_ms: 99, key: None, value, headers };
        let origin = Origin { topic: "orders".to_owned(), partition: 3, offset: 7 };
        of(&record, &application, &event, &origin).is_some()
    }

    /// What is read back of an envelope as that of an event of `orders`, of application 1.
    fn of_envelope(id: &str, source: &str, envelope: &str, headers: &[(&str, &str)]) -> Option<String> {
        let application_id = ApplicationId(Uuid::from_u128(1));
        let application = Application {
            uid: Some("shop".to_owned()),
            ..Application::new(application_id, OrganizationId(Uuid::nil()), "Shop", 0)
        };
        let event = LoggedEvent { id: id.to_owned(), source: Some(source.to_owned()), ..made::event(application_id) };
        let structured = (header::CONTENT_TYPE, "application/cloudevents+json; charset=utf-8");
        let headers = headers.iter().copied().chain([structured]).collect();
        let value = Some(Bytes::copy_from_slice(envelope.as_bytes()));
        let record = Record { offset: 7, timestamp_ms: 99, key: None, value, headers };
        let origin = Origin { topic: "orders".to_owned(), partition: 3, offset: 7 };
        of(&record, &application, &event, &origin).map(|payload| String::from_utf8(payload.into()).unwrap())
    }

    #[test]
    fn a_payload_inside_an_envelope_is_what_stands_there() {
        let header = [(header::APPLICATION, "shop")];
        let json = r#"{"specversion":"1.0","id":"evt_1","source":"/shop","type":"a.b","data": {"a" : 1}}"#;
        assert_eq!(of_envelope("evt_1", "/shop", json, &header).as_deref(), Some(r#"{"a" : 1}"#));
        let named = r#"{"specversion":"1.0","type":"a.b","hookbusapplication":"shop","id":"evt_1","source":"/shop","data_base64":"aGVsbG8="}"#;
        assert_eq!(of_envelope("evt_1", "/shop", named, &[]).as_deref(), Some("hello"));
        let text = r#"{"specversion":"1.0","type":"a.b","id":"evt_1","source":"/shop","datacontenttype":"text/plain","data":"a\"b"}"#;
        assert_eq!(of_envelope("evt_1", "/shop", text, &header).as_deref(), Some("a\"b"));
        let bare = r#"{"specversion":"1.0","type":"a.b"}"#;
        assert_eq!(of_envelope("orders-3-7-99", "/topics/orders", bare, &header).as_deref(), Some(""));
        assert_eq!(of_envelope("evt_2", "/shop", json, &header), None, "another event's");
        assert_eq!(of_envelope("evt_1", "/market", json, &header), None, "another source's");
        assert_eq!(of_envelope("evt_1", "/shop", json, &[(header::APPLICATION, "market")]), None);
        assert_eq!(of_envelope("evt_1", "/shop", "no envelope", &header), None);
    }

    #[test]
    fn a_payload_is_that_of_the_same_application_source_and_id() {
        let own = ApplicationId(Uuid::from_u128(1));
        let (own_id, own_source) = (own.to_string(), gateway_source(own));
        let by_gateway = |application: &str, source: &str, id: &str| {
            let headers = [(header::APPLICATION, application), (header::CE_SOURCE, source), (header::CE_ID, id)];
            is_read_back(None, "evt_1", &headers)
        };
        assert!(by_gateway(&own_id, &own_source, "evt_1"));
        assert!(by_gateway("shop", &own_source, "evt_1"));
        let other = ApplicationId(Uuid::from_u128(2));
        assert!(!by_gateway(&other.to_string(), &own_source, "evt_1"), "another application's");
        assert!(!by_gateway("market", &own_source, "evt_1"), "another application's, by its uid");
        assert!(!by_gateway("", &own_source, "evt_1"), "nobody's");
        assert!(!by_gateway(&own_id, &gateway_source(other), "evt_1"), "another source's");
        assert!(!by_gateway(&own_id, "", "evt_1"), "another source's");
        assert!(!by_gateway(&own_id, &own_source, "evt_2"));
    }

    #[test]
    fn a_record_of_a_topic_may_leave_out_its_source_and_its_id() {
        let by_topic = |id, headers: &[(&str, &str)]| is_read_back(Some("/topics/orders"), id, headers);
        assert!(by_topic("orders-3-7-99", &[("ce_hookbusapplication", "shop")]));
        assert!(by_topic("evt_1", &[(header::APPLICATION, "shop"), (header::CE_ID, "evt_1")]));
        assert!(!by_topic("evt_1", &[(header::APPLICATION, "shop")]), "its place is not its id");
        assert!(!by_topic("orders-3-7-99", &[("ce_hookbusapplication", "market")]));
        let both = [(header::APPLICATION, "market"), ("ce_hookbusapplication", "shop")];
        assert!(!by_topic("orders-3-7-99", &both), "the header comes first");
    }
}
