//! What a body says of a source, and what is answered to slips.

use std::sync::Arc;

use schemas::control::SchemaRegistry;
use schemas::ids::{OrganizationId, PositionId};
use serde_json::json;
use uuid::Uuid;

use super::*;

fn read(body: Value) -> Result<SourceInput, Problem> {
    let Value::Object(map) = body else { panic!("a body is an object") };
    SourceInput::read(map)
}

fn source(format: SourceFormat) -> TopicSource {
    let (id, owner) = (SourceId(Uuid::from_u128(1)), OrganizationId(Uuid::from_u128(2)));
    TopicSource::new(id, owner, "orders", format, PositionId(Uuid::from_u128(3)), 0)
}

fn registries() -> RegistryMap {
    let id = SchemaRegistryId(Uuid::from_u128(4));
    let registry = SchemaRegistry { uid: Some("main".to_owned()), ..SchemaRegistry::new(id, "Main", 0) };
    Arc::new(BTreeMap::from([(id, Arc::new(registry))]))
}

fn made(body: Value) -> Result<TopicSource, Problem> {
    let input = read(body)?;
    input.apply(source(input.required_format()?), &registries())
}

fn field(problem: &Problem) -> String {
    let tree = problem.validation.as_ref().unwrap().as_object().unwrap();
    tree.keys().next().unwrap().clone()
}

#[test]
fn what_is_given_stands_in_the_object_and_what_is_not_stays() {
    let body = json!({"name": "Orders", "topics": ["crm.orders"], "format": "json", "application": "shop", "type": "a.{value:/b}",
        "labels": {"tenant": "{header:tenant}"}, "payload": "/data", "on_null": "deliver", "time": "{value:/at}", "time_unit": "us",
        "start": {"time": "2026-01-01T00:00:00Z"}, "json": {"frame": "none"}});
    let first = made(body).unwrap();
    assert_eq!((first.on_null, first.time_unit), (OnNull::Deliver, Some(TimeUnit::Us)));
    assert_eq!(first.start, SourceStart::TimeMs(1_767_225_600_000));
    let second = read(json!({"labels": null, "payload": null, "json": null, "on_null": null})).unwrap();
    let second = second.apply(first.clone(), &registries()).unwrap();
    assert!(second.labels.is_empty() && second.payload.is_none() && second.options.json.is_none());
    assert_eq!((second.on_null, second.event_type), (OnNull::Skip, first.event_type));
}

#[test]
fn every_slip_is_answered_with_its_field() {
    let with = |more: Value| {
        let mut body =
            json!({"name": "Orders", "topics": ["crm.orders"], "format": "json", "application": "shop", "type": "a.b"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        made(body)
    };
    for (wrong, named) in [
        (json!({"format": "xml"}), "format"),
        (json!({"format": "avro"}), "registry"),
        (json!({"format": "json_schema", "registry": null}), "registry"),
        (json!({"format": "text", "json": {"frame": "none"}}), "json"),
        (json!({"json": {"frames": "none"}}), "json"),
        (json!({"on_null": "drop"}), "on_null"),
        (json!({"time_unit": "ms"}), "time_unit"),
        (json!({"start": "now"}), "start"),
        (json!({"start": {"time": "yesterday"}}), "start"),
        (json!({"start": {"offsets": {"crm.orders": {"x": 1}}}}), "start"),
        (json!({"payload": "data"}), "payload"),
        (json!({"topics": ["*"]}), "topics"),
        (json!({"topics": null}), "topics"),
        (json!({"application": null}), "application"),
        (json!({"type": null}), "type"),
        (json!({"brokers": "other:9092"}), "brokers"),
        (json!({"registry": "mian"}), "registry"),
        (json!({"registry": 7}), "registry"),
        (json!({"topic": ["a"]}), "topic"),
    ] {
        let problem = with(wrong.clone()).unwrap_err();
        assert_eq!((problem.status, field(&problem)), (422, named.to_owned()), "{wrong}: {}", problem.detail);
    }
    assert!(with(json!({"brokers": "x"})).unwrap_err().detail.contains("mirror"));
}

#[test]
fn formats_that_bring_attributes_need_no_templates() {
    for format in ["cloudevents", "hookbus"] {
        made(json!({"name": "Orders", "topics": ["crm.orders"], "format": format})).unwrap();
    }
    let bare = json!({"name": "Orders", "topics": ["crm.orders"], "format": "debezium", "application": "shop"});
    made(bare).unwrap();
    assert_eq!(field(&made(json!({"name": "Orders", "topics": ["a"]})).unwrap_err()), "format");
}

#[test]
fn a_registry_is_named_by_id_or_uid_and_can_be_taken_away() {
    let with = |format: &str, registry: &str| {
        made(json!({"name": "Orders", "topics": ["crm.orders"], "format": format, "application": "shop", "type": "a.b",
            "registry": registry}))
    };
    let id = SchemaRegistryId(Uuid::from_u128(4));
    for format in ["avro", "protobuf", "json_schema", "debezium", "json"] {
        assert_eq!(with(format, "main").unwrap().registry, Some(id), "{format}");
    }
    let by_id = with("avro", &id.to_string()).unwrap();
    assert_eq!(by_id.registry, Some(id));
    let stays = read(json!({"name": "other"})).unwrap().apply(by_id.clone(), &registries()).unwrap();
    assert_eq!(stays.registry, Some(id));
    let gone = read(json!({"registry": null})).unwrap();
    assert!(gone.apply(by_id, &registries()).unwrap_err().detail.contains("hookbus registry create"));
    assert_eq!(gone.apply(with("json", "main").unwrap(), &registries()).unwrap().registry, None);
    let unknown = with("avro", "mian").unwrap_err();
    assert!(
        unknown.detail.contains("`mian`") && unknown.detail.contains("hookbus registry list"),
        "{}",
        unknown.detail
    );
}
