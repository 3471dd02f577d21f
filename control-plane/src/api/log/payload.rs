//! The payload of an event inside the record that it was accepted in, whichever of its formats that has.
//!
//! An event is looked for where it was accepted, and in a topic that was created anew another one stands there, of anybody. Ids
//! are unique under an application and a source alone, so all three are compared, as the fan-out reads them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use delivery_log::LoggedEvent;
use schemas::cloud_event::{self, Data};
use schemas::control::Application;
use schemas::delivery::Origin;
use schemas::header;
use schemas::identity::{gateway_source, positional_id};
use schemas::ids::ApplicationId;
use schemas::record::Record;
use serde_json::value::RawValue;

use crate::problem::Problem;
use crate::state::App;

/// The header of a record that names its application as an attribute of the event.
const APPLICATION_ATTRIBUTE: &str = "ce_hookbusapplication";

/// An event's record as far as its identity and its payload go. What it does not say is absent.
struct AcceptedRecord<'a> {
    application: Option<Cow<'a, str>>,
    source: Option<Cow<'a, str>>,
    id: Option<Cow<'a, str>>,
    payload: Cow<'a, [u8]>,
}

/// The payload as it was accepted; `None`: Kafka does not hold it any more, or holds another record there.
pub(super) async fn read(
    app: &App,
    application: &Application,
    event: &LoggedEvent,
) -> Result<Option<Vec<u8>>, Problem> {
    let Some(origin) = &event.origin else { return Ok(None) };
    let record = app.log().read_back()?.record(origin).await?;
    Ok(record.and_then(|record| of(&record, application, event, origin).map(Cow::into_owned)))
}

/// The payload, if the record is that of the event.
fn of<'a>(
    record: &'a Record,
    application: &Application,
    event: &LoggedEvent,
    origin: &Origin,
) -> Option<Cow<'a, [u8]>> {
    let accepted = AcceptedRecord::of(record)?;
    let is_named = accepted.application.is_some_and(|name| match name.parse::<ApplicationId>() {
        Ok(id) => id == application.application_id,
        Err(_uid) => application.uid.as_deref() == Some(&*name),
    });
    // A record without a source has that of its topic, one without an id that of its place.
    let source = accepted.source.unwrap_or_else(|| format!("/topics/{}", origin.topic).into());
    let id = accepted
        .id
        .unwrap_or_else(|| positional_id(&origin.topic, origin.partition, origin.offset, record.timestamp_ms).into());
    let own = event.source.clone().unwrap_or_else(|| gateway_source(event.application));
    (is_named && *source == *own && *id == *event.id).then_some(accepted.payload)
}

// === impl AcceptedRecord ===

impl<'a> AcceptedRecord<'a> {
    fn of(record: &'a Record) -> Option<Self> {
        let value = record.value.as_deref().unwrap_or_default();
        let text = |name: &str| record.headers.text(name).filter(|text| !text.is_empty()).map(Cow::Borrowed);
        let named = text(header::APPLICATION);
        if is_structured(record) {
            return Self::structured(value, named);
        }
        Some(Self {
            application: named.or_else(|| text(APPLICATION_ATTRIBUTE)),
            source: text(header::CE_SOURCE),
            id: text(header::CE_ID),
            payload: value.into(),
        })
    }

    /// Of an envelope; `None`: it is none.
    fn structured(value: &'a [u8], named: Option<Cow<'a, str>>) -> Option<Self> {
        let envelope: BTreeMap<String, &'a RawValue> = serde_json::from_slice(value).ok()?;
        let text = |name: &str| {
            let scalar = envelope.get(name).and_then(|raw| cloud_event::scalar(raw).ok().flatten());
            scalar.map(|scalar| scalar.text).filter(|text| !text.is_empty())
        };
        let (data, base64) = (envelope.get("data").copied(), envelope.get("data_base64").copied());
        let (data, _content_type) = cloud_event::data(data, base64, text("datacontenttype")).ok()?;
        let payload = match data {
            Data::None => Cow::Borrowed(&[][..]),
            Data::Json(json) => json.as_bytes().into(),
            Data::Text(Cow::Borrowed(text)) => text.as_bytes().into(),
            Data::Text(Cow::Owned(text)) => text.into_bytes().into(),
            Data::Bytes(bytes) => bytes.to_vec().into(),
        };
        let application = named.or_else(|| text(cloud_event::APPLICATION));
        Some(Self { application, source: text("source"), id: text("id"), payload })
    }
}

fn is_structured(record: &Record) -> bool {
    let media_type = record.headers.text(header::CONTENT_TYPE).unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    media_type.eq_ignore_ascii_case("application/cloudevents+json")
}

#[cfg(test)]
mod tests {
    use schemas::ids::OrganizationId;
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
        let headers = headers.iter().copied().collect();
        let record = Record { offset: 7, timestamp_ms: 99, key: None, value: None, headers };
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
        let value = Some(bytes::Bytes::copy_from_slice(envelope.as_bytes()));
        let record = Record { offset: 7, timestamp_ms: 99, key: None, value, headers };
        let origin = Origin { topic: "orders".to_owned(), partition: 3, offset: 7 };
        of(&record, &application, &event, &origin).map(|payload| String::from_utf8(payload.into_owned()).unwrap())
    }

    #[test]
    fn a_payload_inside_an_envelope_is_what_stands_there() {
        let header = [(header::APPLICATION, "shop")];
        let json = r#"{"specversion":"1.0","id":"evt_1","source":"/shop","type":"a.b","data": {"a" : 1}}"#;
        assert_eq!(of_envelope("evt_1", "/shop", json, &header).as_deref(), Some(r#"{"a" : 1}"#));
        let named = r#"{"hookbusapplication":"shop","id":"evt_1","source":"/shop","data_base64":"aGVsbG8="}"#;
        assert_eq!(of_envelope("evt_1", "/shop", named, &[]).as_deref(), Some("hello"));
        let text = r#"{"id":"evt_1","source":"/shop","datacontenttype":"text/plain","data":"a\"b"}"#;
        assert_eq!(of_envelope("evt_1", "/shop", text, &header).as_deref(), Some("a\"b"));
        assert_eq!(of_envelope("orders-3-7-99", "/topics/orders", "{}", &header).as_deref(), Some(""));
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
        assert!(by_topic("orders-3-7-99", &[(APPLICATION_ATTRIBUTE, "shop")]));
        assert!(by_topic("evt_1", &[(header::APPLICATION, "shop"), (header::CE_ID, "evt_1")]));
        assert!(!by_topic("evt_1", &[(header::APPLICATION, "shop")]), "its place is not its id");
        assert!(!by_topic("orders-3-7-99", &[(APPLICATION_ATTRIBUTE, "market")]));
        let both = [(header::APPLICATION, "market"), (APPLICATION_ATTRIBUTE, "shop")];
        assert!(!by_topic("orders-3-7-99", &both), "the header comes first");
    }
}
