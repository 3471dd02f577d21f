//! Objects that a newer release wrote.

use bytes::Bytes;
use schemas::control::{ControlKey, shape};
use schemas::event_type::EventTypeName;
use schemas::header;
use schemas::ids::ApplicationId;
use schemas::record::{Headers, OutRecord};

use super::*;

/// A record as a newer release would write it.
fn record(key: &ControlKey, value: &Value, shape: u8) -> OutRecord {
    let mut headers = Headers::builder(1, 32);
    headers.push_i64(header::VERSION, i64::from(shape));
    OutRecord {
        topic: "control".into(),
        partition: Some(0),
        key: Some(Bytes::from(key.to_string())),
        value: Some(Bytes::from(value.to_string())),
        headers: headers.build(),
    }
}

#[tokio::test]
async fn what_a_newer_release_wrote_is_shown_and_removed_and_never_changed() {
    let api = Api::new();
    let tenant = api.tenant("one").await;
    let application = ApplicationId(tenant.id.parse().unwrap());
    for (shape, member) in [(shape::READS, "window"), (shape::READS + 1, "description")] {
        let (status, made) = api.post(&tenant.token, "/subscriptions", tenant.subscription()).await;
        assert_eq!(status, 201, "{made}");
        let id = made["subscription_id"].as_str().unwrap();
        let key = ControlKey::Subscription(application, id.parse::<Uuid>().unwrap().into());
        let object = api.catalog.read().stored(&key).unwrap().object();
        let mut value: Value = serde_json::from_slice(&object.encode().unwrap()).unwrap();
        value[member] = value!("mornings");
        api.catalog.feed([record(&key, &value, shape)]);
        let path = format!("/subscriptions/{id}");
        let mut changed = tenant.subscription();
        changed["description"] = value!("evenings");
        let (status, problem) = api.put(&tenant.token, &path, changed).await;
        assert_eq!((status, problem["code"].as_str()), (409, Some("newer_version")), "{problem}");
        let detail = problem["detail"].as_str().unwrap();
        let named = if shape > shape::READS { format!("it has shape {shape}") } else { "it has `window`".to_owned() };
        assert!(detail.contains(&key.to_string()) && detail.contains(&named), "{detail}");
        let body = Some(value!({ "is_enabled": false }));
        let (status, _) = api.call(&tenant.token, Method::PATCH, &format!("{path}?dry_run=true"), body).await;
        assert_eq!(status, 409, "a trial says what would come of it");
        assert_eq!(api.get(&tenant.token, &path).await.0, 200);
        assert_eq!(api.delete(&tenant.token, &format!("{path}?application_id={}", tenant.id)).await, 204);
    }
}

#[tokio::test]
async fn what_cannot_be_read_at_all_is_not_made_anew_over_it() {
    let api = Api::new();
    let tenant = api.tenant("one").await;
    let application = ApplicationId(tenant.id.parse().unwrap());
    let key = ControlKey::EventType(application, EventTypeName::parse("invoice.due").unwrap());
    api.catalog.feed([record(&key, &value!({ "kinds": [] }), shape::READS + 1)]);
    let make = || value!({ "application_id": tenant.id, "name": "invoice.due" });
    let (status, problem) = api.post(&tenant.token, "/event_types", make()).await;
    assert_eq!((status, problem["code"].as_str()), (409, Some("newer_version")), "{problem}");
    // Once it is written in a shape that is known, all is as ever.
    api.catalog.feed([OutRecord { value: None, ..record(&key, &Value::Null, shape::READS + 1) }]);
    assert_eq!(api.post(&tenant.token, "/event_types", make()).await.0, 201);
}
