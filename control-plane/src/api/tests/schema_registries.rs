//! Schema registries: the operator's, their secrets masked, and kept as long as sources need them.

use super::sources::orders;
use super::*;
use crate::custom_headers::MASK;
use crate::schema_registry::{RegistryAsker, RegistryCheckShown};

impl Api {
    /// What registries of this name answer.
    pub(super) fn registry_says(&self, name: &str, answer: RegistryCheckShown) {
        let RegistryAsker::Memory(answers) = self.app.registries() else { panic!("a test asks nobody") };
        answers.lock().insert(name.to_owned(), answer);
    }
}

pub(super) fn registry(uid: &str) -> Value {
    value!({"name": "main", "uid": uid, "urls": ["https://registry.internal:8081/"]})
}

fn field_of(problem: &Value) -> &str {
    problem["validation"].as_object().unwrap_or_else(|| panic!("no field in {problem}")).keys().next().unwrap()
}

#[tokio::test]
async fn a_registry_is_made_read_changed_and_deleted_and_its_secret_never_shown() {
    let api = Api::new();
    let mut body = registry("main");
    body["auth"] = value!({"type": "basic", "username": "hookbus", "password": "geheim"});
    let (status, made) = api.post(ADMIN, "/schema_registries", body.clone()).await;
    assert_eq!(status, 201, "{made}");
    assert_eq!(made["urls"], value!(["https://registry.internal:8081"]));
    assert_eq!(made["auth"], value!({"type": "basic", "username": "hookbus", "password": MASK}));
    assert_eq!((&made["timeout_ms"], made.get("updated_at")), (&value!(5_000), None));
    let position = api.catalog.position();
    let by_id = format!("/schema_registries/{}", made["schema_registry_id"].as_str().unwrap());
    let (_, shown) = api.get(ADMIN, "/schema_registries/main").await;
    assert_eq!((&shown, &api.get(ADMIN, &by_id).await.1), (&made, &made));
    let (status, same) = api.put(ADMIN, &by_id, shown).await;
    assert_eq!((status, &same), (200, &made), "what was read can be put back");
    assert_eq!(api.put(ADMIN, &by_id, value!({})).await.1, made);
    assert_eq!(api.catalog.position(), position, "nothing is written where nothing changes");

    let (status, patched) = api.patch(ADMIN, &by_id, value!({"auth": {"username": "other"}, "timeout_ms": 900})).await;
    assert_eq!(
        (status, &patched["auth"]["username"], &patched["auth"]["password"]),
        (200, &value!("other"), &value!(MASK))
    );
    assert!(patched["updated_at"].is_string());
    let (status, problem) = api.put(ADMIN, &by_id, value!({"urls": ["https://elsewhere.example"]})).await;
    assert_eq!((status, field_of(&problem)), (422, "auth.password"), "{problem}");
    assert_eq!(api.post(ADMIN, "/schema_registries", registry("main")).await.0, 409, "the uid is taken");
    let mut twin = registry("other");
    twin["schema_registry_id"] = made["schema_registry_id"].clone();
    assert_eq!(api.post(ADMIN, "/schema_registries", twin).await.0, 409, "the id is taken");
    let moved = value!({"schema_registry_id": Uuid::from_u128(9)});
    assert_eq!(field_of(&api.put(ADMIN, &by_id, moved).await.1), "schema_registry_id");

    let (_, audit) = api.get(ADMIN, "/audit").await;
    let of = |at: usize| (audit[at]["action"].as_str().unwrap(), audit[at]["changed"].clone());
    assert_eq!(of(0), ("schema_registry.update", value!(["auth.username", "timeout_ms"])));
    assert_eq!(of(1).0, "schema_registry.create");
    assert!(!audit.to_string().contains("geheim"));
    assert_eq!(api.delete(ADMIN, &by_id).await, 204);
    assert_eq!((api.get(ADMIN, &by_id).await.0, api.delete(ADMIN, &by_id).await), (404, 204));
}

#[tokio::test]
async fn versions_trials_and_pages_hold_for_registries_as_for_all_objects() {
    let api = Api::new();
    let (status, _, _) = api.exchange(Method::POST, "/schema_registries?dry_run=true", &[], Some(registry("a"))).await;
    assert_eq!((status, api.get(ADMIN, "/schema_registries/a").await.0), (201, 404), "a trial makes nothing");
    let (_, headers, _) = api.exchange(Method::POST, "/schema_registries", &[], Some(registry("a"))).await;
    let tag = headers["etag"].to_str().unwrap().to_owned();
    assert_eq!(api.exchange(Method::GET, "/schema_registries/a", &[("if-none-match", &tag)], None).await.0, 304);
    let change = Some(value!({"timeout_ms": 700}));
    let lost = api.exchange(Method::PATCH, "/schema_registries/a", &[("if-match", "\"00\"")], change.clone()).await;
    assert_eq!(lost.0, 412);
    let won = api.exchange(Method::PATCH, "/schema_registries/a", &[("if-match", &tag)], change).await;
    assert_eq!(won.0, 200, "{}", won.2);

    assert_eq!(api.post(ADMIN, "/schema_registries", registry("b")).await.0, 201);
    let (_, headers, page) = api.exchange(Method::GET, "/schema_registries?limit=1", &[], None).await;
    assert_eq!((page.as_array().unwrap().len(), &page[0]["uid"]), (1, &value!("a")));
    let link = headers["link"].to_str().unwrap();
    let (_, page) = api.get(ADMIN, link.trim_start_matches("</api/v1").split('>').next().unwrap()).await;
    assert_eq!((page.as_array().unwrap().len(), &page[0]["uid"]), (1, &value!("b")));
    let (_, called) = api.get(ADMIN, "/schema_registries?uid=b").await;
    assert_eq!((called.as_array().unwrap().len(), &called[0]["uid"]), (1, &value!("b")));
}

#[tokio::test]
async fn a_registry_that_sources_refer_to_stays() {
    let api = Api::new();
    assert_eq!(api.post(ADMIN, "/schema_registries", registry("main")).await.0, 201);
    let avro = |topic: &str| {
        api.topic(topic, &[(0, 1)]);
        let mut source = orders(&[topic]);
        (source["format"], source["application"]) = (value!("avro"), value!("{header:to}"));
        source
    };
    let missing = api.post(ADMIN, "/sources", avro("crm.orders")).await;
    assert_eq!((missing.0, field_of(&missing.1)), (422, "registry"), "{}", missing.1);
    for (called, expected) in [("mian", 422), ("main", 201)] {
        let mut source = avro("crm.orders");
        source["registry"] = value!(called);
        let (status, made) = api.post(ADMIN, "/sources", source).await;
        assert_eq!(status, expected, "{made}");
    }
    let (_, sources) = api.get(ADMIN, "/sources").await;
    let (_, registry) = api.get(ADMIN, "/schema_registries/main").await;
    assert_eq!(sources[0]["registry"], registry["schema_registry_id"]);

    let mut debezium = avro("crm.users");
    (debezium["format"], debezium["registry"]) = (value!("debezium"), registry["schema_registry_id"].clone());
    assert_eq!(api.post(ADMIN, "/sources", debezium).await.0, 201);
    let delete = async || api.exchange(Method::DELETE, "/schema_registries/main", &[], None).await;
    let (status, _, problem) = delete().await;
    assert_eq!((status, problem["code"].as_str()), (409, Some("in_use")), "{problem}");
    assert!(problem["detail"].as_str().unwrap().starts_with("2 sources read"), "{problem}");
    // One names it no more, the other is gone.
    let (_, sources) = api.get(ADMIN, "/sources").await;
    for source in sources.as_array().unwrap() {
        let path = format!("/sources/{}", source["source_id"].as_str().unwrap());
        if source["format"] == "debezium" {
            assert_eq!(api.patch(ADMIN, &path, value!({"registry": null})).await.0, 200);
            assert!(delete().await.2["detail"].as_str().unwrap().starts_with("1 source reads"));
        }
    }
    let avro = sources.as_array().unwrap().iter().find(|it| it["format"] == "avro").unwrap();
    assert_eq!(api.delete(ADMIN, &format!("/sources/{}", avro["source_id"].as_str().unwrap())).await, 204);
    assert_eq!(delete().await.0, 204);
}

#[tokio::test]
async fn a_registry_is_asked_and_what_is_wrong_with_it_is_an_answer() {
    let api = Api::new();
    assert_eq!(api.post(ADMIN, "/schema_registries", registry("main")).await.0, 201);
    api.registry_says("main", RegistryCheckShown::reached(12, Duration::from_millis(9)));
    let position = api.catalog.position();
    let said = api.post(ADMIN, "/schema_registries/main/check", value!({})).await;
    assert_eq!(said, (200, value!({"reachable": true, "subjects": 12, "latency_ms": 9})));
    api.registry_says("main", RegistryCheckShown::failed("answered 401", Duration::from_millis(3)));
    let said = api.post(ADMIN, "/schema_registries/main/check", value!({})).await;
    assert_eq!(said, (200, value!({"reachable": false, "latency_ms": 3, "error": "answered 401"})));
    assert_eq!(api.post(ADMIN, "/schema_registries/other/check", value!({})).await.0, 404);
    assert_eq!(api.catalog.position(), position, "asking writes nothing");
}
