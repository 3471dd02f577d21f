//! Documents that are right become objects in order; every mistake is told with its line.

use serde_json::json;

use super::*;

fn documents(text: &str) -> Vec<Document> {
    Document::read("f.yaml", text).unwrap()
}

fn wrong(text: &str) -> Vec<String> {
    let documents = documents(text);
    let wrong = read(&documents, &|_name| None).unwrap_err();
    wrong.iter().map(ToString::to_string).collect()
}

#[test]
fn objects_are_ordered_by_what_they_need() {
    let documents = documents(
        "kind: subscription\nuid: s\nevent_types: [a.b]\n---\nkind: event_type\nname: a.b\n---\nkind: application\nuid: shop\n\
         name: Shop\nsecrets:\n- name: billing\n  token: {env: TOKEN}\n---\nkind: organization\nuid: acme\nname: Acme\n",
    );
    let wanted = read(&documents, &|name| (name == "TOKEN").then(|| "t".to_owned())).unwrap();
    let names: Vec<String> = wanted.iter().map(ToString::to_string).collect();
    let expected = [
        "organization acme",
        "application shop",
        "application secret billing of shop",
        "event type a.b of shop",
        "subscription s of shop",
    ];
    assert_eq!(names, expected, "and the only application and organization need not be named");
    assert_eq!(wanted[1].creation(), json!({"uid": "shop", "name": "Shop", "organization_id": "acme"}));
    assert_eq!(wanted[2].creation(), json!({"name": "billing", "token": "t", "application_id": "shop"}));
    assert_eq!(wanted[3].creation(), json!({"name": "a.b", "application_id": "shop"}));
    assert_eq!(wanted[4].change(), *json!({"event_types": ["a.b"]}).as_object().unwrap());
    assert!(wanted[2].hidden.contains("token"));
}

#[test]
fn an_object_that_is_known_by_its_id_may_get_another_uid() {
    let id = "0193b2f1-5d1e-7c31-9a55-0e4b5c6d7e8f";
    let documents = documents(&format!("kind: application\nid: {id}\nuid: shop\n"));
    let wanted = read(&documents, &|_| None).unwrap();
    assert_eq!(Value::Object(wanted[0].change()), json!({"uid": "shop"}));
    assert_eq!(wanted[0].creation()["application_id"], id);
}

#[test]
fn a_source_has_an_id_of_its_own_beside_the_template_of_its_events_ids() {
    let id = "0193b2f1-5d1e-7c31-9a55-0e4b5c6d7e8f";
    let text = format!(
        "kind: source\nuid: orders\nsource_id: {id}\nid: '{{value:/id}}'\napplication: shop\norganization: acme\n"
    );
    let documents = documents(&text);
    let wanted = read(&documents, &|_| None).unwrap();
    let expected = json!({"uid": "orders", "source_id": id, "id": "{value:/id}", "application": "shop", "organization_id": "acme"});
    assert_eq!(wanted[0].creation(), expected);
    assert_eq!(wrong("kind: source\nuid: a\nsource_id: x\n"), ["f.yaml:3: `source_id` must be a UUID"]);
    assert_eq!(
        wrong("kind: source\nname: x\n"),
        ["f.yaml:1: `uid` (or `source_id`) is missing: what the source is known by"]
    );
}

#[test]
fn mistakes_are_told_with_their_line_and_the_nearest_known_word() {
    assert_eq!(
        wrong("name: x\n"),
        [
            "f.yaml:1: `kind` is missing: one of organization, application, event_type, subscription, schema_registry, source"
        ]
    );
    assert_eq!(wrong("kind: subscribtion\n"), ["f.yaml:1: unknown kind `subscribtion`; did you mean `subscription`?"]);
    let text = "kind: subscription\napplication: a\nuid: s\nlables: {}\ntarget:\n  ulr: x\n";
    assert_eq!(
        wrong(text),
        [
            "f.yaml:4: unknown field `lables`; did you mean `labels`?",
            "f.yaml:6: unknown field `ulr`; did you mean `url`?"
        ]
    );
    assert_eq!(
        wrong("kind: application\nname: x\n"),
        ["f.yaml:1: `uid` (or `id`) is missing: what the application is known by"]
    );
    assert_eq!(
        wrong("kind: event_type\napplication: a\n"),
        ["f.yaml:1: `name` is missing: what the event type is known by"]
    );
    assert_eq!(wrong("kind: application\nuid: 7\n"), ["f.yaml:2: `uid` must be text"]);
    assert_eq!(wrong("kind: application\nuid: a\nid: x\n"), ["f.yaml:3: `id` must be a UUID"]);
    assert_eq!(
        wrong("kind: event_type\nname: a.b\n"),
        ["f.yaml:1: `application` is missing, and the files do not hold just one"]
    );
    assert_eq!(
        wrong("kind: application\nuid: a\nsecrets:\n- name: x\n  rolle: ingest\n- 5\n"),
        ["f.yaml:5: unknown field `rolle`; did you mean `role`?", "f.yaml:6: must be a mapping"]
    );
    assert_eq!(
        wrong("kind: subscription\napplication: a\nuid: s\nsecret: {env: GONE}\n"),
        ["f.yaml:4: the environment variable GONE is not set"]
    );
}

#[test]
fn the_same_object_twice_is_one_too_many() {
    let id = "0193b2f1-5d1e-7c31-9a55-0e4b5c6d7e8f";
    let text = format!(
        "kind: application\nid: {id}\nuid: shop\n---\nkind: subscription\napplication: shop\nuid: s\n---\n\
         kind: subscription\napplication: {id}\nuid: s\n"
    );
    assert_eq!(wrong(&text), [format!("f.yaml:9: subscription s of {id} stands in f.yaml:5 already")]);
}

#[test]
fn the_clients_own_data_holds_no_references() {
    let text = "kind: subscription\napplication: a\nuid: s\nmetadata: {env: production}\nlabels: {file: x}\n";
    let documents = documents(text);
    let wanted = read(&documents, &|_| None).unwrap();
    assert_eq!(wanted[0].body["metadata"], json!({"env": "production"}));
    assert!(wanted[0].hidden.is_empty());
}

#[test]
fn a_field_of_the_api_leads_to_its_line() {
    let documents = documents("kind: subscription\napplication: a\nuid: s\ntarget:\n  url: x\n");
    let wanted = read(&documents, &|_| None).unwrap();
    assert_eq!(wanted[0].wrong("target.url", "is bad").to_string(), "f.yaml:5: `target.url` is bad");
    assert_eq!(wanted[0].wrong("application_id", "is bad").to_string(), "f.yaml:2: `application` is bad");
    assert_eq!(wanted[0].wrong("", "all is bad").to_string(), "f.yaml:1: all is bad");
}
