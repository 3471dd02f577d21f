//! `?dry_run=true`: everything is checked and answered as if, and nothing is written. `hookbus apply` plans by it.

use super::*;

const SECRET: &str = "Bearer of-the-endpoint";

fn subscription(tenant: &Tenant) -> Value {
    value!({
        "application_id": tenant.id, "uid": "one", "is_enabled": true, "event_types": ["invoice.paid"], "labels": {},
        "target": {"type": "http", "method": "POST", "url": "https://example.com/a", "headers": {"authorization": SECRET}},
    })
}

#[tokio::test]
async fn a_dry_run_is_answered_as_if_and_writes_nothing() {
    let api = Api::new();
    let tenant = api.tenant("one").await;
    let position = api.catalog.position();
    let body = subscription(&tenant);
    let (status, shown) = api.post(&tenant.token, "/subscriptions?dry_run=true", body.clone()).await;
    assert_eq!((status, &shown["uid"]), (201, &value!("one")));
    let application = value!({"organization_id": Uuid::from_u128(ORGANIZATION), "name": "two"});
    assert_eq!(api.post(ADMIN, "/applications?dry_run=true", application).await.0, 201);
    assert_eq!(api.delete(ADMIN, &format!("/applications/{}?dry_run=true", tenant.id)).await, 204);
    assert_eq!(api.catalog.position(), position, "nothing is written");
    assert_eq!(api.get(&tenant.token, &format!("/subscriptions?application_id={}", tenant.id)).await.1, value!([]));
}

#[tokio::test]
async fn a_dry_run_needs_the_same_rights_and_finds_the_same_mistakes() {
    let api = Api::new();
    let (tenant, other) = (api.tenant("one").await, api.tenant("two").await);
    let body = subscription(&tenant);
    assert_eq!(api.post(&other.token, "/subscriptions?dry_run=true", body.clone()).await.0, 403);
    let mut wrong = body;
    wrong["event_types"] = value!(["no.such"]);
    let (status, problem) = api.post(&tenant.token, "/subscriptions?dry_run=true", wrong).await;
    assert_eq!((status, &problem["id"]), (400, &value!("EventTypeDoesNotExist")));
}

#[tokio::test]
async fn the_tag_tells_whether_a_masked_value_would_change() {
    let api = Api::new();
    let tenant = api.tenant("one").await;
    assert_eq!(api.post(&tenant.token, "/subscriptions", subscription(&tenant)).await.0, 201);
    let path = format!("/subscriptions/one?application_id={}", tenant.id);
    let (_, before, shown) = api.exchange(Method::GET, &path, &[], None).await;
    assert_ne!(shown["target"]["headers"]["authorization"], SECRET);
    let dry = format!("{path}&dry_run=true");
    let put = async |secret: &str| {
        let target = value!({"url": "https://example.com/a", "headers": {"authorization": secret}});
        let body = Some(value!({ "target": target }));
        let (status, headers, _) = api.exchange(Method::PUT, &dry, &[("content-type", "application/json")], body).await;
        assert_eq!(status, 200);
        headers["etag"].clone()
    };
    assert_eq!(put(SECRET).await, before["etag"], "it is what is stored");
    assert_ne!(put("another").await, before["etag"]);
    assert_eq!(api.exchange(Method::GET, &path, &[], None).await.1["etag"], before["etag"], "and still is");
}

#[tokio::test]
async fn a_dry_run_pings_nobody() {
    let api = Api::new();
    let tenant = api.tenant("one").await;
    assert_eq!(api.post(&tenant.token, "/subscriptions", subscription(&tenant)).await.0, 201);
    let ping = async |query: &str| {
        api.call(&tenant.token, Method::POST, &format!("/subscriptions/one/ping{query}"), None).await.0
    };
    for _ in 0..10 {
        assert_eq!(ping("?dry_run=true").await, 202, "it uses nothing up either");
    }
    assert_eq!(ping("?dry_run=1").await, 422);
    assert!(crate::store::beside(api.app.store()).is_empty());
    assert_eq!(ping("?dry_run=false").await, 202);
    assert_eq!(crate::store::beside(api.app.store()).len(), 1);
}
