//! Sources: who may name which topic, where they begin, what becomes of a change.

use catalog::usage::HearsStatus as _;
use schemas::ids::SourceId;
use schemas::status::{
    SourceHealth, SourcePartitionHealth, SourcePartitionState, SourceTopicHealth, SourcesHealth, Status,
};

use super::*;
use crate::source::ClusterTopics;
use crate::source::cluster::MemoryTopic;

impl Api {
    /// The cluster has this topic, with a first and a next offset for each partition.
    pub(super) fn topic(&self, name: &str, ranges: &[(i64, i64)]) {
        let id = Uuid::now_v7();
        let ClusterTopics::Memory(cluster) = self.app.cluster() else { panic!("a test has no cluster") };
        cluster.lock().topics.insert(name.to_owned(), MemoryTopic { id, ranges: ranges.to_vec(), is_denied: false });
    }

    fn deny(&self, name: &str) {
        let ClusterTopics::Memory(cluster) = self.app.cluster() else { panic!("a test has no cluster") };
        cluster.lock().topics.get_mut(name).unwrap().is_denied = true;
    }

    /// How often Kafka was asked which topics there are.
    fn looks(&self) -> usize {
        let ClusterTopics::Memory(cluster) = self.app.cluster() else { panic!("a test has no cluster") };
        cluster.lock().looks
    }

    /// What stands on the topic of a source.
    fn stored(&self, shown: &Value) -> Value {
        let id: SourceId = shown["source_id"].as_str().unwrap().parse().unwrap();
        serde_json::to_value(&**self.catalog.read().source(id).unwrap()).unwrap()
    }
}

/// An organization's editor and an application of it called `shop`.
async fn organization(api: &Api, allowed: &[&str]) -> (String, String) {
    let (status, made) = api.post(ADMIN, "/organizations", value!({"name": "other", "source_topics": allowed})).await;
    assert_eq!(status, 201, "{made}");
    let id = made["organization_id"].as_str().unwrap().to_owned();
    let shop = value!({"organization_id": id, "name": "shop", "uid": "shop"});
    assert_eq!(api.post(ADMIN, "/applications", shop).await.0, 201);
    let (_, token) = api.post(ADMIN, "/service_token", value!({"organization_id": id, "name": "editor"})).await;
    (id, token["biscuit"].as_str().unwrap().to_owned())
}

pub(super) fn orders(topics: &[&str]) -> Value {
    value!({"name": "Orders", "topics": topics, "format": "json", "application": "shop", "type": "order.{value:/status}"})
}

fn field_of(problem: &Value) -> (&str, &str) {
    let tree = problem["validation"].as_object().unwrap_or_else(|| panic!("no field in {problem}"));
    (tree.keys().next().unwrap(), problem["code"].as_str().unwrap_or_default())
}

#[tokio::test]
async fn a_source_begins_where_the_topics_stood_when_it_was_made() {
    let api = Api::new();
    let (_, token) = organization(&api, &["crm.*"]).await;
    api.topic("crm.orders", &[(0, 12), (3, 3)]);
    api.topic("crm.users", &[(0, 5)]);
    let (status, made) = api.post(&token, "/sources", orders(&["crm.orders"])).await;
    assert_eq!(status, 201, "{made}");
    assert_eq!(
        (&made["format"], &made["start"], &made["is_enabled"]),
        (&value!("json"), &value!("end"), &value!(true))
    );
    assert_eq!(
        (&made["status"]["state"], &made["status"]["error"]["code"]),
        (&value!("waiting"), &value!("no_worker"))
    );
    let stored = api.stored(&made);
    assert_eq!(stored["starts"]["crm.orders"]["offsets"], value!([12, 3]));
    assert_eq!(stored["starts"]["crm.orders"]["position_id"], made["position_id"]);

    // Later a topic is added: what is read goes on, the new one begins where `start` says.
    api.topic("crm.orders", &[(0, 99), (3, 99)]);
    let path = format!("/sources/{}", made["source_id"].as_str().unwrap());
    let change = value!({"topics": ["crm.orders", "crm.users"], "start": "beginning"});
    let (status, changed) = api.patch(&token, &path, change).await;
    assert_eq!(status, 200, "{changed}");
    let stored = api.stored(&changed);
    assert_eq!(stored["starts"]["crm.orders"]["offsets"], value!([12, 3]));
    assert_eq!(stored["starts"]["crm.users"]["offsets"], value!([0]));
    assert_ne!(stored["starts"]["crm.users"]["position_id"], stored["starts"]["crm.orders"]["position_id"]);

    // What was read can be put back, and changes nothing.
    let (_, shown) = api.get(&token, &path).await;
    let before = api.catalog.position();
    let (status, same) = api.put(&token, &path, shown.clone()).await;
    assert_eq!((status, &same["updated_at"]), (200, &shown["updated_at"]), "{same}");
    assert_eq!(api.catalog.position(), before);
    let (_, listed) = api.get(&token, "/sources").await;
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!(api.delete(&token, &path).await, 204);
    assert_eq!((api.get(&token, &path).await.0, api.delete(&token, &path).await), (404, 204));
}

#[tokio::test]
async fn a_topic_is_read_by_one_source_and_ours_by_none() {
    let api = Api::new();
    let (_, token) = organization(&api, &["*"]).await;
    let (_, other) = organization(&api, &["*"]).await;
    api.topic("crm.orders", &[(0, 1)]);
    assert_eq!(api.post(&token, "/sources", orders(&["crm.orders"])).await.0, 201);
    for asking in [&token, &other] {
        let (status, problem) = api.post(asking, "/sources", orders(&["crm.orders"])).await;
        assert_eq!((status, field_of(&problem)), (422, ("topics", "topic_taken")), "{problem}");
        let names_it = problem["detail"].as_str().unwrap().contains("source Orders");
        assert_eq!(names_it, asking == &token, "another organization's source is not named: {problem}");
    }
    // A prefix may hold it: the name is more exact.
    assert_eq!(api.post(&other, "/sources", orders(&["crm.*"])).await.0, 201);
    for ours in ["hookbus.events", "hookbus.*", "hookb*", "hookbus.x", "__consumer_offsets", "__c*"] {
        let (status, problem) = api.post(ADMIN, "/sources", orders(&[ours])).await;
        assert_eq!((status, field_of(&problem).0), (422, "topics"), "{ours}: {problem}");
    }
}

#[tokio::test]
async fn a_token_of_an_organization_names_the_topics_that_the_operator_allows_it() {
    let api = Api::new();
    let (id, token) = organization(&api, &["crm.*"]).await;
    for topic in ["crm.orders", "erp.bookings"] {
        api.topic(topic, &[(0, 1)]);
    }
    let (status, problem) = api.post(&token, "/sources", orders(&["erp.bookings"])).await;
    assert_eq!((status, field_of(&problem).0), (403, "topics"), "{problem}");
    let organization = format!("/organizations/{id}");
    assert_eq!(api.patch(&token, &organization, value!({"source_topics": ["*"]})).await.0, 403);
    let same = value!({"name": "renamed", "source_topics": ["crm.*"]});
    assert_eq!(api.put(&token, &organization, same).await.0, 200, "what was read can be put back");

    // What the operator has named, the organization may go on with.
    let mut body = orders(&["erp.bookings"]);
    body["organization_id"] = value!(id);
    let (_, made) = api.post(ADMIN, "/sources", body).await;
    let path = format!("/sources/{}", made["source_id"].as_str().unwrap());
    let (status, changed) = api.patch(&token, &path, value!({"topics": ["erp.bookings", "crm.orders"]})).await;
    assert_eq!(status, 200, "{changed}");
    assert_eq!(api.patch(&token, &path, value!({"topics": ["erp.bookings", "hr.pay"]})).await.0, 403);
    assert_eq!(api.delete(ADMIN, &organization).await, 409, "it has sources");
}

/// What the operator has left out of a prefix is not read because an editor leaves it in.
#[tokio::test]
async fn what_an_operator_excluded_is_taken_in_by_the_operator_alone() {
    let api = Api::new();
    let (id, token) = organization(&api, &["erp.*"]).await;
    for topic in ["crm.orders", "crm.payroll.may", "erp.bookings"] {
        api.topic(topic, &[(0, 1)]);
    }
    let mut body = orders(&["crm.*", "erp.*"]);
    body["organization_id"] = value!(id);
    body["exclude"] = value!(["crm.payroll*", "erp.bookings"]);
    let (status, made) = api.post(ADMIN, "/sources", body).await;
    assert_eq!(status, 201, "{made}");
    let path = format!("/sources/{}", made["source_id"].as_str().unwrap());
    for narrower in [value!([]), value!(["crm.payroll.may"]), value!(["crm.payroll.*"])] {
        let (status, problem) = api.patch(&token, &path, value!({"exclude": narrower, "start": "beginning"})).await;
        assert_eq!((status, field_of(&problem).0), (403, "exclude"), "{problem}");
    }
    let wider = value!({"exclude": ["crm.pay*"]});
    assert_eq!(api.patch(&token, &path, wider).await.0, 200, "`erp.bookings` it may read, and `crm.pay*` is more");
    assert_eq!(api.patch(ADMIN, &path, value!({"exclude": []})).await.0, 200);
}

#[tokio::test]
async fn a_misspelt_topic_and_one_without_permission_say_what_to_change() {
    let api = Api::new();
    let (_, token) = organization(&api, &["*"]).await;
    api.topic("crm.orders", &[(0, 1)]);
    let (status, problem) = api.post(&token, "/sources", orders(&["crm.order"])).await;
    assert_eq!((status, field_of(&problem).0), (422, "topics"));
    assert!(problem["detail"].as_str().unwrap().contains("wait_for_topic"), "{problem}");
    let mut patient = orders(&["crm.order"]);
    patient["wait_for_topic"] = value!(true);
    assert_eq!(api.post(&token, "/sources", patient).await.0, 201);
    api.deny("crm.orders");
    let (status, problem) = api.post(&token, "/sources", orders(&["crm.orders"])).await;
    assert_eq!(status, 422);
    assert!(problem["detail"].as_str().unwrap().contains("allow Describe and Read"), "{problem}");
    let mut foreign = orders(&["crm.*"]);
    foreign["application"] = value!("shopp");
    let (status, problem) = api.post(&token, "/sources", foreign).await;
    assert_eq!((status, field_of(&problem).0), (422, "application"), "{problem}");
}

#[tokio::test]
async fn a_source_is_paused_moved_and_audited() {
    let api = Api::new();
    let (_, token) = organization(&api, &["crm.*"]).await;
    api.topic("crm.orders", &[(4, 12), (0, 3)]);
    let (_, made) = api.post(&token, "/sources", orders(&["crm.*"])).await;
    let path = format!("/sources/{}", made["source_id"].as_str().unwrap());
    let (status, paused) = api.post(&token, &format!("{path}/pause"), value!({})).await;
    assert_eq!((status, &paused["is_paused"]), (200, &value!(true)));
    let (_, moved) = api.post(&token, &format!("{path}/move"), value!({"to": "beginning", "again": true})).await;
    assert_ne!(moved["position_id"], made["position_id"], "{moved}");
    let start = &api.stored(&moved)["starts"]["crm.orders"];
    assert_eq!((&start["offsets"], &start["again"]), (&value!([4, 0]), &value!(true)));
    let to = |first: i64| value!({"to": {"offsets": {"crm.orders": {"0": first, "1": 1}}}});
    let (status, problem) = api.post(&token, &format!("{path}/move"), to(3)).await;
    assert_eq!((status, field_of(&problem).0), (422, "to"), "the log begins at 4: {problem}");
    assert_eq!(api.post(&token, &format!("{path}/move"), to(7)).await.0, 200);
    assert_eq!(api.post(&token, &format!("{path}/move"), value!({})).await.0, 422);
    // One that may not be looked at just now is not taken for one that is gone.
    let (named, before) = (value!({"topics": ["crm.orders"]}), api.stored(&made)["starts"].clone());
    assert_eq!(api.patch(&token, &path, named).await.0, 200);
    api.deny("crm.orders");
    let (status, problem) = api.post(&token, &format!("{path}/move"), value!({"to": "end"})).await;
    assert_eq!((status, field_of(&problem).0), (422, "topics"), "{problem}");
    assert_eq!(api.stored(&made)["starts"], before);
    let (_, resumed) = api.post(&token, &format!("{path}/resume"), value!({})).await;
    assert_eq!(resumed["is_paused"], false);
    let (_, audit) = api.get(&token, "/audit").await;
    let actions: Vec<&str> = audit.as_array().unwrap().iter().filter_map(|it| it["action"].as_str()).collect();
    assert_eq!(
        actions[..6],
        ["source.resume", "source.update", "source.move", "source.move", "source.pause", "source.create"]
    );
}

#[tokio::test]
async fn versions_and_trials_hold_for_sources_as_for_all_objects() {
    let api = Api::new();
    organization(&api, &[]).await;
    let mut body = orders(&["crm.orders"]);
    body["uid"] = value!("orders");
    body["application"] = value!("{header:application}");
    api.topic("crm.orders", &[(0, 12)]);
    let (status, _, tried) = api.exchange(Method::POST, "/sources?dry_run=true", &[], Some(body.clone())).await;
    assert_eq!((status, tried["uid"].as_str()), (201, Some("orders")));
    assert_eq!(api.get(ADMIN, "/sources/orders").await.0, 404, "a trial makes nothing");
    let (status, headers, _) = api.exchange(Method::POST, "/sources", &[], Some(body.clone())).await;
    assert_eq!(status, 201);
    let tag = headers["etag"].to_str().unwrap().to_owned();
    let again = api.exchange(Method::GET, "/sources/orders", &[("if-none-match", &tag)], None).await;
    assert_eq!(again.0, 304);
    let changed = value!({"labels": {"tenant": "{header:tenant}"}});
    let lost = api.exchange(Method::PATCH, "/sources/orders", &[("if-match", "\"00\"")], Some(changed.clone())).await;
    assert_eq!(lost.0, 412);
    let won = api.exchange(Method::PATCH, "/sources/orders", &[("if-match", &tag)], Some(changed)).await;
    assert_eq!(won.0, 200, "{}", won.2);
    body["topics"] = value!(["crm.users"]);
    body["wait_for_topic"] = value!(true);
    assert_eq!(api.post(ADMIN, "/sources", body).await.0, 409, "the uid is taken");
}

#[tokio::test]
async fn what_workers_say_of_its_partitions_is_shown() {
    let api = Api::new();
    let (_, token) = organization(&api, &["crm.*"]).await;
    api.topic("crm.orders", &[(0, 12), (0, 12)]);
    let (_, made) = api.post(&token, "/sources", orders(&["crm.orders"])).await;
    let id: SourceId = made["source_id"].as_str().unwrap().parse().unwrap();
    let partition = |state, committed| SourcePartitionHealth {
        state,
        since_ms: 0,
        position_id: None,
        committed: Some(committed),
        end: Some(12),
        oldest_ms: None,
        failure: None,
    };
    let partitions =
        [(0, partition(SourcePartitionState::Running, 12)), (1, partition(SourcePartitionState::Running, 2))];
    let topic = SourceTopicHealth { topic_id: None, failure: None, partitions: partitions.into() };
    let of = SourceHealth { records: 9, topics: [("crm.orders".to_owned(), topic)].into(), ..SourceHealth::default() };
    let sources = SourcesHealth { of: [(id, of)].into(), is_cut: false };
    let status = Status { sources: Some(sources), ..Status::new("fanout", "1", chassis::clock::now_ms()) };
    api.app.health().hears("fanout/1/sources-0", Some(&status));
    let (_, shown) = api.get(&token, &format!("/sources/{id}")).await;
    let status = &shown["status"];
    assert_eq!(
        (&status["state"], &status["lag_records"], &status["records"]),
        (&value!("running"), &value!(10), &value!(9))
    );
    let (_, headers, rows) =
        api.exchange_as(&token, (Method::GET, &format!("/sources/{id}/partitions?limit=1")), &[], None).await;
    assert_eq!((&rows[0]["partition"], &rows[0]["lag_records"]), (&value!(0), &value!(0)), "{rows}");
    let link = headers["link"].to_str().unwrap();
    let next = link.trim_start_matches("</api/v1").split('>').next().unwrap();
    let (_, rows) = api.get(&token, next).await;
    assert_eq!(
        (&rows[0]["partition"], &rows[0]["lag_records"], rows.as_array().unwrap().len()),
        (&value!(1), &value!(10), 1)
    );
}

#[tokio::test]
async fn an_instance_has_a_bounded_number_of_sources_and_may_have_none() {
    let sources = |max_sources, enabled| chassis::config::SourcesConfig { max_sources, enabled, ..Default::default() };
    let api = Api::configured(ControlConfig { sources: sources(1, true), ..config(10) });
    let (_, token) = organization(&api, &["*"]).await;
    assert_eq!(api.post(&token, "/sources", orders(&["crm.*"])).await.0, 201);
    let (status, problem) = api.post(&token, "/sources", orders(&["erp.*"])).await;
    assert_eq!((status, problem["code"].as_str()), (422, Some("limit_reached")));
    let api = Api::configured(ControlConfig { sources: sources(1, false), ..config(10) });
    let (_, token) = organization(&api, &["*"]).await;
    let (status, problem) = api.post(&token, "/sources", orders(&["crm.*"])).await;
    assert!(status == 422 && problem["detail"].as_str().unwrap().contains("sources.enabled"), "{problem}");
}

/// A record's value as a request carries it.
fn encoded(value: &Value) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(value.to_string())
}

#[tokio::test]
async fn a_record_is_tried_without_sending_anything() {
    let api = Api::new();
    let (id, token) = organization(&api, &["crm.*"]).await;
    api.topic("crm.orders", &[(0, 1)]);
    let (_, made) = api.post(&token, "/sources", orders(&["crm.orders"])).await;
    assert_eq!(made["name"], "Orders", "{made}");
    let subscription = value!({"application_id": "shop", "event_types": ["order.*"], "filter": "data.status == 'paid'",
        "target": {"type": "http", "method": "POST", "url": "https://example.com/hook", "headers": {}}});
    let (status, problem) = api.post(&token, "/subscriptions", subscription).await;
    assert_eq!(status, 201, "{problem}");
    let tried = async |source: Value, value: Value| {
        let body = value!({"source": source, "record": {"value_base64": encoded(&value)}});
        api.post(&token, "/sources:test", body).await
    };
    let (position, source) = (api.catalog.position(), made["source_id"].clone());
    let (status, paid) = tried(source.clone(), value!({"status": "paid"})).await;
    assert_eq!(
        (status, &paid["event"]["type"], &paid["event"]["matches"]),
        (200, &value!("order.paid"), &value!(1)),
        "{paid}"
    );
    assert_eq!(paid["event"]["payload_base64"], encoded(&value!({"status": "paid"})));
    let (_, lost) = tried(source.clone(), value!({"status": "lost"})).await;
    assert_eq!(lost["event"]["matches"], 0, "its filter says no: {lost}");
    let (_, refused) = tried(source.clone(), value!({"state": "paid"})).await;
    assert_eq!(refused["rejection"]["reason"], "invalid_attribute", "{refused}");
    assert!(refused["rejection"]["detail"].as_str().unwrap().contains("type"), "{refused}");
    let body = value!({"source": source, "record": {}});
    assert_eq!(api.post(&token, "/sources:test", body).await.1, value!({"skipped": "tombstone"}));
    // A definition that is not made yet, of an application that is not there.
    let draft = value!({"format": "text", "application": "{header:to}", "type": "a.b", "organization_id": id});
    let body = value!({"source": draft, "record": {"value_base64": "eA==", "headers": {"to": "elsewhere"}}});
    assert_eq!(api.post(&token, "/sources:test", body).await.1["rejection"]["reason"], "unknown_application");
    assert_eq!(api.catalog.position(), position, "nothing is written");
    // What the fan-out would reject for its type is no event here either.
    let event_type = value!({"application_id": "shop", "name": "order.paid", "schema": {"required": ["total"]}});
    assert_eq!(api.post(&token, "/event_types", event_type).await.0, 201);
    let (_, unfit) = tried(source.clone(), value!({"status": "paid"})).await;
    assert_eq!(unfit["rejection"]["reason"], "schema_mismatch", "{unfit}");
    let (status, changed) = api.patch(&token, "/applications/shop", value!({"unknown_event_types": "reject"})).await;
    assert_eq!(status, 200, "{changed}");
    let (_, unknown) = tried(source.clone(), value!({"status": "lost"})).await;
    assert_eq!(unknown["rejection"]["reason"], "unknown_event_type", "{unknown}");
    let labelled = value!({"format": "cloudevents", "organization_id": id});
    let headers = value!({"ce_specversion": "1.0", "ce_id": "1", "ce_type": "order.paid", "ce_source": "/x",
        "hookbus-application": "shop", "hookbus-labels": "no object"});
    let body =
        value!({"source": labelled, "record": {"value_base64": encoded(&value!({"total": 1})), "headers": headers}});
    let (_, shown) = api.post(&token, "/sources:test", body).await;
    assert_eq!(shown["rejection"]["reason"], "invalid_attribute", "{shown}");
}

#[tokio::test]
async fn a_draft_of_who_may_make_no_source_asks_no_registry() {
    let api = Api::new();
    let registry = value!({"name": "main", "uid": "main", "urls": ["https://registry.example.com"]});
    let (status, made) = api.post(ADMIN, "/schema_registries", registry).await;
    assert_eq!(status, 201, "{made}");
    let (id, token) = organization(&api, &[]).await;
    // A record without a value needs no schema: nothing is asked.
    let tried = async |token: &str, source: Value| {
        api.post(token, "/sources:test", value!({"source": source, "record": {}})).await
    };
    let draft =
        value!({"format": "avro", "registry": "main", "application": "shop", "type": "a.b", "organization_id": id});
    let (status, problem) = tried(&token, draft.clone()).await;
    assert_eq!((status, field_of(&problem).1), (403, "invalid_field"), "{problem}");
    assert_eq!(tried(ADMIN, draft.clone()).await, (200, value!({"skipped": "tombstone"})));
    api.topic("crm.orders", &[(0, 1)]);
    let mut own = draft.clone();
    (own["name"], own["topics"]) = (value!("Orders"), value!(["crm.orders"]));
    let (status, own) = api.post(ADMIN, "/sources", own).await;
    assert_eq!(status, 201, "{own}");
    assert_eq!(tried(&token, own["source_id"].clone()).await.0, 200, "the operator made it for them");
    let organization = format!("/organizations/{id}");
    assert_eq!(api.patch(ADMIN, &organization, value!({"source_topics": ["crm.*"]})).await.0, 200);
    assert_eq!(tried(&token, draft).await.0, 200);
}

#[tokio::test]
async fn a_misspelt_template_is_a_422_with_its_field_and_column() {
    let api = Api::new();
    let (_, token) = organization(&api, &["crm.*"]).await;
    api.topic("crm.orders", &[(0, 1)]);
    for (field, template) in [("type", "order.{valu:/status}"), ("id", "{value:/id"), ("time", "}")] {
        let mut body = orders(&["crm.orders"]);
        body[field] = value!(template);
        let (status, problem) = api.post(&token, "/sources", body).await;
        assert_eq!((status, field_of(&problem).0), (422, field), "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains("column"), "{problem}");
    }
}

#[tokio::test]
async fn kafka_is_not_asked_of_topics_for_a_token_that_may_not_read_them() {
    let api = Api::new();
    let (_, token) = organization(&api, &["crm.*"]).await;
    for topic in ["crm.orders", "erp.orders"] {
        api.topic(topic, &[(0, 5)]);
    }
    for topics in [&["erp.orders"][..], &["erp.none"], &["erp*"], &["crm.orders", "erp.orders"]] {
        let (status, problem) = api.post(&token, "/sources", orders(topics)).await;
        assert_eq!((status, field_of(&problem).0, api.looks()), (403, "topics", 0), "{topics:?}: {problem}");
    }
    let (status, made) = api.post(&token, "/sources", orders(&["crm.orders"])).await;
    assert_eq!((status, api.looks()), (201, 1), "{made}");
    let path = format!("/sources/{}", made["source_id"].as_str().unwrap());
    let wider = value!({"topics": ["crm.orders", "erp.orders"]});
    assert_eq!((api.patch(&token, &path, wider).await.0, api.looks()), (403, 1));
    let organization = made["organization_id"].as_str().unwrap().parse().unwrap();
    let turn = api.app.turns().topics.take(Some(organization)).await.unwrap();
    let waiting: Vec<_> = std::iter::from_fn(|| api.app.turns().topics.enter(organization).ok()).collect();
    let to_end = value!({"to": "end"});
    assert_eq!(api.post(&token, &format!("{path}/move"), to_end).await.0, 429, "its other request asks");
    drop((turn, waiting));
}
