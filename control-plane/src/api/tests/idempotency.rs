//! A `POST` that is sent again with its key has the answer of the first, and does nothing more.

use std::collections::BTreeSet;

use schemas::control::{ControlKey, ControlObject, KEPT_MS, KeptAnswer};
use schemas::record::{Headers, OutRecord};

use super::*;
use crate::{openapi, store};

type Exchanged = (u16, http::HeaderMap, Value);

impl Api {
    /// A `POST` with a key.
    pub(super) async fn keyed(&self, token: &str, key: &str, path: &str, body: Option<&Value>) -> Exchanged {
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("/api/v1{path}"))
            .header("authorization", format!("Bearer {token}"))
            .header("idempotency-key", key);
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let response = self.router.clone().oneshot(request.body(body).unwrap()).await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, headers, if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() })
    }

    fn kept(&self) -> Vec<KeptAnswer> {
        self.catalog.read().kept_answers().map(|it| (**it).clone()).collect()
    }
}

fn subscriptions(api: &Api) -> usize {
    api.catalog.read().subscriptions_total()
}

fn field<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}"))
}

/// The path of a source that is there, and the body of one that could be.
async fn source(api: &Api, organization: Uuid) -> (String, Value) {
    let [made, new] = ["crm.orders", "crm.users"].map(|topic| {
        api.topic(topic, &[(0, 5)]);
        let mut source = sources::orders(&[topic]);
        (source["organization_id"], source["application"]) = (value!(organization), value!("{header:application}"));
        source
    });
    let (status, made) = api.post(ADMIN, "/sources", made).await;
    assert_eq!(status, 201, "{made}");
    (format!("/sources/{}", field(&made, "source_id")), new)
}

#[tokio::test]
async fn every_post_has_the_same_answer_again_whatever_became_of_the_object() {
    let api = Api::new();
    let tenant = api.tenant("one").await;
    let organization = Uuid::from_u128(ORGANIZATION);
    let (_, token) = api.post(ADMIN, "/service_token", value!({"organization_id": organization, "name": "ci"})).await;
    let (_, made) = api.post(ADMIN, "/subscriptions", tenant.subscription()).await;
    let subscription = format!("/subscriptions/{}", field(&made, "subscription_id"));
    skip::hold(&api, field(&made, "subscription_id"), &[5, 6]);
    let delivery = |number| Some(value!({"delivery_id": Uuid::from_u128(number)}));
    let service_token = format!("/service_token/{}", field(&token, "token_id"));
    let (source, new_source) = source(&api, organization).await;
    let in_organization = value!({"organization_id": organization, "name": "new"});
    let in_application = value!({"application_id": tenant.id, "name": "new"});
    let batch =
        value!({"application_id": tenant.id, "subscriptions": [tenant.subscription(), 7, tenant.subscription()]});
    let rows: Vec<(&str, String, Option<Value>)> = vec![
        ("organizations.create", "/organizations".into(), Some(value!({"name": "new"}))),
        ("serviceToken.create", "/service_token".into(), Some(in_organization.clone())),
        ("serviceToken.rotate", format!("{service_token}/rotate"), Some(value!({"organization_id": organization}))),
        ("applications.create", "/applications".into(), Some(in_organization)),
        ("applicationSecrets.create", "/application_secrets".into(), Some(in_application)),
        (
            "applicationSecrets.rotate",
            format!("/application_secrets/{}/rotate", tenant.token),
            Some(value!({"application_id": tenant.id})),
        ),
        ("eventTypes.create", "/event_types".into(), Some(value!({"application_id": tenant.id, "name": "a.b"}))),
        ("subscriptions.create", "/subscriptions".into(), Some(tenant.subscription())),
        ("subscriptions.createBatch", "/subscriptions:batch".into(), Some(batch)),
        ("subscriptions.pause", format!("{subscription}/pause"), None),
        ("subscriptions.resume", format!("{subscription}/resume"), None),
        ("subscriptions.rotateSecret", format!("{subscription}/rotate_secret"), Some(value!({"overlap_ms": 1}))),
        ("subscriptions.ping", format!("{subscription}/ping"), None),
        ("subscriptions.skip", format!("{subscription}/skip"), delivery(5)),
        ("subscriptions.retryNow", format!("{subscription}/retry_now"), delivery(6)),
        ("sources.create", "/sources".into(), Some(new_source)),
        ("sources.pause", format!("{source}/pause"), None),
        ("sources.resume", format!("{source}/resume"), None),
        ("sources.move", format!("{source}/move"), Some(value!({"to": "end"}))),
        ("schemaRegistries.create", "/schema_registries".into(), Some(schema_registries::registry("main"))),
    ];
    let document: Value = serde_json::from_str(&openapi().unwrap()).unwrap();
    let posts = document["paths"].as_object().unwrap().values().filter_map(|item| item.get("post"));
    // Jobs keep no answer on `control`: a repeat has the same job, as it is by then (`jobs.rs`, `rejected.rs`).
    let posts = posts.filter(|it| !["events", "jobs", "rejected"].map(Value::from).contains(&it["tags"][0]));
    // Nothing is written by a trial.
    let posts = posts.filter(|it| it["operationId"] != "sources.test" && it["operationId"] != "schemaRegistries.check");
    let documented: BTreeSet<&str> = posts.map(|it| it["operationId"].as_str().unwrap()).collect();
    assert_eq!(documented, rows.iter().map(|(operation, ..)| *operation).collect(), "a POST without a row");

    let mut first = Vec::new();
    for (operation, path, body) in &rows {
        let answer = api.keyed(ADMIN, "the key", path, body.as_ref()).await;
        assert!(answer.0 < 300, "{operation}: {}", answer.2);
        first.push(answer);
    }
    assert_eq!(store::beside(api.app.store()).len(), 1, "with its answer, in one transaction");

    // What it was about is changed or gone meanwhile.
    assert_eq!(api.patch(ADMIN, &subscription, value!({"description": "other", "is_enabled": false})).await.0, 200);
    let made = field(&first[0].2, "organization_id");
    let inside = value!({"organization_id": made, "name": "inside"});
    assert_eq!(api.post(ADMIN, "/applications", inside).await.0, 201);
    assert_eq!(api.delete(ADMIN, &format!("/applications/{}", tenant.id)).await, 204);
    assert_eq!(api.delete(ADMIN, &format!("{service_token}?organization_id={organization}")).await, 204);
    let successor = field(&first[2].2, "token_id");
    api.catalog.used().touch(successor.parse().unwrap(), 5);

    let before = api.catalog.position();
    for ((operation, path, body), (status, headers, answer)) in rows.iter().zip(&first) {
        let again = api.keyed(ADMIN, "the key", path, body.as_ref()).await;
        assert_eq!((again.0, &again.2), (*status, answer), "{operation}");
        assert_eq!(again.1.get("etag"), headers.get("etag"), "{operation}");
    }
    assert_eq!(api.catalog.position(), before, "nothing is written");
    assert_eq!(store::beside(api.app.store()).len(), 1, "and nothing is pinged");
}

#[tokio::test]
async fn another_body_is_refused_and_another_path_or_key_is_another_request() {
    let api = Api::new();
    let tenant = api.tenant("one").await;
    let body = tenant.subscription();
    assert_eq!(api.keyed(&tenant.token, "k", "/subscriptions", Some(&body)).await.0, 201);
    let mut other = body.clone();
    other["description"] = value!("other");
    for (path, body) in [("/subscriptions", &other), ("/subscriptions?application_id=x", &body)] {
        let (status, _, problem) = api.keyed(&tenant.token, "k", path, Some(body)).await;
        assert_eq!((status, problem["code"].as_str()), (409, Some("idempotency_key_reused")), "{problem}");
    }
    assert_eq!(subscriptions(&api), 1);
    assert_eq!(api.keyed(&tenant.token, "l", "/subscriptions", Some(&other)).await.0, 201);
    let batch = value!({"subscriptions": [other]});
    assert_eq!(api.keyed(&tenant.token, "k", "/subscriptions:batch", Some(&batch)).await.0, 200);
    assert_eq!(subscriptions(&api), 3);
    let larger = value!({"subscriptions": [body, body]});
    let (status, _, problem) = api.keyed(&tenant.token, "k", "/subscriptions:batch", Some(&larger)).await;
    assert_eq!((status, problem["code"].as_str()), (409, Some("idempotency_key_reused")), "{problem}");
    assert_eq!(subscriptions(&api), 3, "nothing of it is made");
    for bad in ["", &"k".repeat(256), "a\tb"] {
        assert_eq!(api.keyed(&tenant.token, bad, "/subscriptions", Some(&body)).await.0, 422, "{bad}");
    }
}

#[tokio::test]
async fn a_key_is_the_tokens_own_and_opens_nothing_to_others() {
    let api = Api::new();
    let (tenant, other) = (api.tenant("one").await, api.tenant("other").await);
    let (_, _, made) = api.keyed(&tenant.token, "k", "/subscriptions", Some(&tenant.subscription())).await;
    let (status, _, answer) = api.keyed(&other.token, "k", "/subscriptions", Some(&tenant.subscription())).await;
    assert_eq!(status, 403, "{answer}");
    let (_, _, theirs) = api.keyed(&other.token, "k", "/subscriptions", Some(&other.subscription())).await;
    assert_ne!(theirs["subscription_id"], made["subscription_id"]);
    assert_eq!(theirs["application_id"], other.id);
    // Who may not write any more is told nothing either.
    let body = value!({"application_id": tenant.id, "role": "viewer"});
    assert_eq!(api.put(ADMIN, &format!("/application_secrets/{}", tenant.token), body).await.0, 200);
    assert_eq!(api.keyed(&tenant.token, "k", "/subscriptions", Some(&tenant.subscription())).await.0, 403);
}

#[tokio::test]
async fn what_is_refused_or_tried_out_is_not_kept() {
    let api = Api::new();
    let tenant = api.tenant("one").await;
    let mut body = tenant.subscription();
    body["event_types"] = value!(["order.paid"]);
    assert_eq!(api.keyed(&tenant.token, "k", "/subscriptions", Some(&body)).await.0, 400);
    assert_eq!(api.keyed(&tenant.token, "k", "/subscriptions?dry_run=true", Some(&tenant.subscription())).await.0, 201);
    assert!(api.kept().is_empty());
    let declared = value!({"application_id": tenant.id, "name": "order.paid"});
    assert_eq!(api.post(&tenant.token, "/event_types", declared).await.0, 201);
    assert_eq!(api.keyed(&tenant.token, "k", "/subscriptions", Some(&body)).await.0, 201);
    assert_eq!((subscriptions(&api), api.kept().len()), (1, 1));
}

#[tokio::test]
async fn repeats_that_come_at_once_are_done_once() {
    let api = Api::new();
    let tenant = api.tenant("one").await;
    let body = tenant.subscription();
    let ask = || api.keyed(&tenant.token, "k", "/subscriptions", Some(&body));
    let (a, b, c) = tokio::join!(ask(), ask(), ask());
    assert_eq!((a.0, &a.2), (201, &b.2));
    assert_eq!(b.2, c.2);
    assert_eq!(subscriptions(&api), 1);
}

#[tokio::test]
async fn no_secret_is_kept_in_the_clear() {
    let api = Api::new();
    let tenant = api.tenant("one").await;
    let organization = Uuid::from_u128(ORGANIZATION);
    let token = value!({"organization_id": organization, "name": "ci"});
    let (_, _, token) = api.keyed(ADMIN, "k", "/service_token", Some(&token)).await;
    let secret = value!({"application_id": tenant.id});
    let (_, _, secret) = api.keyed(ADMIN, "k", "/application_secrets", Some(&secret)).await;
    let mut subscription = tenant.subscription();
    subscription["target"]["headers"] = value!({"authorization": "Bearer of-the-endpoint"});
    let (_, _, subscription) = api.keyed(ADMIN, "k", "/subscriptions", Some(&subscription)).await;
    let secrets = [
        field(&token, "biscuit"),
        field(&secret, "token"),
        field(&subscription, "secret"),
        field(&subscription, "signing_secret"),
        "of-the-endpoint",
    ];
    let kept = api.kept();
    assert_eq!(kept.len(), 3);
    for answer in kept {
        let record = String::from_utf8(ControlObject::KeptAnswer(answer.clone()).encode().unwrap()).unwrap();
        for secret in secrets {
            assert!(!record.contains(secret), "{record}");
        }
        assert_eq!(answer.key_ids().into_iter().collect::<Vec<_>>(), ["k1"], "what opens it is known");
    }
    assert!(store::audited(api.app.store()).iter().all(|it| !it.key.starts_with("answer/")), "and it is no object");
}

#[tokio::test]
async fn after_a_day_an_answer_is_over_and_swept() {
    let api = Api::new();
    let tenant = api.tenant("one").await;
    let body = tenant.subscription();
    let (_, _, first) = api.keyed(&tenant.token, "k", "/subscriptions", Some(&body)).await;
    let mut old = api.kept().remove(0);
    assert_eq!(old.organization_id, Some(OrganizationId(Uuid::from_u128(ORGANIZATION))));
    crate::sweep::expire(&api.catalog, api.app.store()).await;
    assert_eq!(api.kept().len(), 1, "its time is not over");
    old.at_ms -= KEPT_MS;
    let key = ControlKey::KeptAnswer(old.organization_id, old.answer_id).to_string();
    let record = || OutRecord {
        topic: "control".into(),
        partition: Some(0),
        key: Some(key.clone().into()),
        value: Some(ControlObject::KeptAnswer(old.clone()).encode().unwrap().into()),
        headers: Headers::default(),
    };
    api.catalog.feed([record()]);
    let (status, _, second) = api.keyed(&tenant.token, "k", "/subscriptions", Some(&body)).await;
    assert_eq!(status, 201);
    assert_ne!(second["subscription_id"], first["subscription_id"], "it is another request now");
    assert_eq!(api.kept().len(), 1);
    api.catalog.feed([record()]);
    crate::sweep::expire(&api.catalog, api.app.store()).await;
    assert!(api.kept().is_empty());
}
