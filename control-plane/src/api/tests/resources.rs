//! Organizations, applications, their secrets and event types.

use super::*;

#[tokio::test]
async fn an_application_has_the_shape_clients_decode() {
    let api = Api::new();
    let tenant = api.tenant("one").await;
    let (status, shown) = api.get(&tenant.token, &format!("/applications/{}/", tenant.id)).await;
    assert_eq!(status, 200);
    assert_eq!(shown["name"], "one");
    assert_eq!(shown["organization_id"], Uuid::from_u128(ORGANIZATION).to_string());
    assert_eq!(shown["quotas"]["events_per_day_limit"], i32::MAX);
    assert_eq!(shown["onboarding_steps"], value!({"event_type": "Done", "subscription": "ToDo", "event": "ToDo"}));
    assert!(shown["consumption"].is_object());
    let (_, organization) = api.get(ADMIN, &format!("/organizations/{}", Uuid::from_u128(ORGANIZATION))).await;
    assert_eq!(organization["onboarding_steps"]["application"], "Done");
    assert_eq!(organization["quotas"]["members_per_organization_limit"], i32::MAX);
    assert_eq!(organization["users"], value!([]));
}

#[tokio::test]
async fn applications_are_made_renamed_and_deleted_with_everything_in_them() {
    let api = Api::new();
    let tenant = api.tenant("one").await;
    let path = format!("/applications/{}", tenant.id);
    api.post(&tenant.token, "/subscriptions", tenant.subscription()).await;
    let organization = Uuid::from_u128(ORGANIZATION);
    let (status, shown) = api.put(&tenant.token, &path, value!({"name": "two", "organization_id": organization})).await;
    assert_eq!((status, shown["name"].as_str()), (200, Some("two")));
    assert_eq!(api.put(&tenant.token, &path, value!({"organization_id": Uuid::from_u128(9)})).await.0, 422);
    assert_eq!(api.delete(ADMIN, &path).await, 204);
    assert_eq!(api.delete(ADMIN, &path).await, 204, "deleting again is fine");
    assert_eq!(api.get(ADMIN, &path).await.0, 404);
    assert_eq!(api.get(&tenant.token, &path).await.0, 403, "its token is gone");
    assert_eq!(api.catalog.read().subscriptions_total(), 0);
}

#[tokio::test]
async fn application_names_and_ids_are_checked() {
    let api = Api::new();
    let organization = Uuid::from_u128(ORGANIZATION);
    let create = async |body: Value| {
        let (status, problem) = api.post(ADMIN, "/applications", body).await;
        (status, problem["id"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(create(value!({"organization_id": organization})).await, (400, "ApplicationNameMissing".into()));
    assert_eq!(create(value!({"name": "  "})).await, (400, "ApplicationNameMissing".into()));
    assert_eq!(create(value!({"name": "x"})).await, (422, "Validation".into()));
    assert_eq!(create(value!({"name": "x".repeat(51)})).await, (422, "Validation".into()));
    assert_eq!(create(value!({"name": "ok", "organization_id": Uuid::from_u128(2)})).await, (422, "Validation".into()));
    let id = "c0ea6ffa-1972-4435-b434-ec9e93d38f42";
    assert_eq!(create(value!({"name": "demo", "application_id": id, "uid": "demo"})).await.0, 201);
    assert_eq!(create(value!({"name": "demo", "application_id": id})).await, (422, "Validation".into()));
    assert_eq!(create(value!({"name": "other", "uid": "demo"})).await, (422, "Validation".into()));
    assert_eq!(api.get(ADMIN, "/applications/demo").await.1["application_id"], id, "the uid is as good as the id");
}

#[tokio::test]
async fn secrets_are_uuids_that_open_until_they_are_deleted() {
    let api = Api::new();
    let tenant = api.tenant("one").await;
    let body = value!({"application_id": tenant.id, "name": "second"});
    let (status, made) = api.post(&tenant.token, "/application_secrets", body).await;
    assert_eq!((status, made["name"].as_str()), (201, Some("second")));
    assert!(made["deleted_at"].is_null());
    let token = made["token"].as_str().unwrap().to_owned();
    assert!(Uuid::parse_str(&token).is_ok());
    assert_eq!(api.get(&token, &format!("/applications/{}", tenant.id)).await.0, 200);
    let path = format!("/application_secrets/{token}");
    let (status, renamed) = api.put(&tenant.token, &path, value!({"application_id": tenant.id, "name": "third"})).await;
    assert_eq!(
        (status, renamed["name"].as_str(), renamed["token"].as_str()),
        (200, Some("third"), Some(token.as_str()))
    );
    let (_, listed) = api.get(&tenant.token, &format!("/application_secrets?application_id={}", tenant.id)).await;
    let names: Vec<&str> = listed.as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["Default", "third"]);
    let path = format!("{path}?application_id={}", tenant.id);
    assert_eq!(api.delete(&tenant.token, &path).await, 204);
    assert_eq!(api.delete(&tenant.token, &path).await, 204);
    assert_eq!(api.get(&token, &format!("/applications/{}", tenant.id)).await.0, 403);
}

#[tokio::test]
async fn event_types_are_upserted_in_both_forms() {
    let api = Api::new();
    let tenant = api.tenant("one").await;
    let id = &tenant.id;
    let parts = value!({"application_id": id, "service": "billing", "resource_type": "invoice", "verb": "paid"});
    for _again in 0..2 {
        let (status, shown) = api.post(&tenant.token, "/event_types", parts.clone()).await;
        assert_eq!((status, shown["event_type_name"].as_str()), (201, Some("billing.invoice.paid")));
    }
    let (_, listed) = api.get(&tenant.token, &format!("/event_types/?application_id={id}")).await;
    assert_eq!(listed[1]["event_type_name"], "invoice.paid");
    let two = &listed[1];
    assert_eq!(
        (two["service_name"].as_str(), two["resource_type_name"].as_str(), two["verb_name"].as_str()),
        (Some("invoice"), Some(""), Some("paid"))
    );
    let path = format!("/event_types/billing.invoice.paid?application_id={id}");
    assert_eq!(api.get(&tenant.token, &path).await.0, 200);
    assert_eq!(api.delete(&tenant.token, &path).await, 204);
    assert_eq!(api.delete(&tenant.token, &path).await, 204);
    assert_eq!(api.get(&tenant.token, &path).await.0, 404);
    for bad in [
        value!({"application_id": id, "name": "one"}),
        value!({"application_id": id, "name": "a.b", "service": "a"}),
        value!({"application_id": id, "service": "a", "verb": "b"}),
        value!({"application_id": id, "name": "a.b", "schema": {}}),
        value!({"name": "a.b"}),
    ] {
        assert_eq!(api.post(&tenant.token, "/event_types", bad.clone()).await.0, 422, "{bad}");
    }
}
