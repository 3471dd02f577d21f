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
    let audited = crate::store::audited(api.app.store());
    let keys: Vec<&str> = audited.iter().rev().take(2).map(|it| it.action.as_str()).collect();
    assert_eq!(keys, ["application.delete", "retired.create"], "one small write, whatever is in it");
    assert_eq!(api.catalog.read().subscriptions_total(), 1, "what is in it follows");
    crate::sweep::clear(&api.catalog, api.app.store(), Duration::ZERO).await;
    assert_eq!(api.catalog.read().subscriptions_total(), 0);
    assert!(!api.catalog.read().is_orphaned(tenant.id.parse().unwrap()));
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
    assert_eq!(create(value!({"name": "a\u{0}b"})).await, (422, "Validation".into()));
    assert_eq!(create(value!({"name": null})).await, (422, "Validation".into()));
    assert_eq!(create(value!({"name": "ok", "organization_id": Uuid::from_u128(2)})).await, (404, "NotFound".into()));
    assert_eq!(create(value!({"name": "ok", "uid": Uuid::from_u128(2)})).await, (422, "Validation".into()));
    assert_eq!(create(value!({"name": "ok", "uid": "a b"})).await, (422, "Validation".into()));
    let id = "c0ea6ffa-1972-4435-b434-ec9e93d38f42";
    assert_eq!(create(value!({"name": "demo", "application_id": id, "uid": "demo"})).await.0, 201);
    assert_eq!(create(value!({"name": "demo", "application_id": id})).await, (409, "Validation".into()));
    assert_eq!(create(value!({"name": "other", "uid": "demo"})).await, (409, "Validation".into()));
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
        value!({"application_id": id, "name": "a.b", "schema": 1}),
        value!({"application_id": id, "name": "a.b", "schema": {"type": "nothing"}}),
        value!({"application_id": id, "name": "a.b", "schema": {"$ref": "http://127.0.0.1:1/schema.json"}}),
        value!({"application_id": id, "name": "a.b", "shema": {}}),
        value!({"application_id": null, "name": "a.b"}),
    ] {
        assert_eq!(api.post(&tenant.token, "/event_types", bad.clone()).await.0, 422, "{bad}");
    }
}

#[tokio::test]
async fn an_event_type_carries_a_schema_a_description_and_a_warning() {
    let api = Api::new();
    let tenant = api.tenant("one").await;
    let body = value!({"name": "order.shipped.v1", "description": "gone", "schema": {"type": "object"}});
    let (status, made) = api.post(&tenant.token, "/event_types", body).await;
    assert_eq!(
        (status, &made["schema"], made["deprecated"].as_bool()),
        (201, &value!({"type": "object"}), Some(false))
    );
    assert!(made.get("updated_at").is_none());
    let path = format!("/event_types/order.shipped.v1?application_id={}", tenant.id);
    let (status, changed) = api.patch(&tenant.token, &path, value!({"deprecated": true, "description": null})).await;
    assert_eq!((status, changed["deprecated"].as_bool()), (200, Some(true)), "{changed}");
    assert!(changed.get("description").is_none() && changed.get("updated_at").is_some(), "{changed}");
    assert_eq!(changed["schema"], value!({"type": "object"}), "what is not named stays");
    let (_, again) = api.post(&tenant.token, "/event_types", value!({"name": "order.shipped.v1"})).await;
    assert_eq!(again["deprecated"], true, "declaring again changes only what is given");
    assert_eq!(api.patch(&tenant.token, &path, value!({"name": "x.y"})).await.0, 422);
    assert_eq!(again["deprecated_at"], changed["deprecated_at"], "and moves no moment");
    let moments = value!({"deprecated_at": "2027-01-31T00:00:00Z", "sunset_at": "2027-02-01T01:00:00+01:00"});
    let (_, moved) = api.patch(&tenant.token, &path, moments).await;
    assert_eq!(
        (moved["deprecated_at"].as_str(), moved["sunset_at"].as_str()),
        (Some("2027-01-31T00:00:00Z"), Some("2027-02-01T00:00:00Z"))
    );
    for bad in [value!({"sunset_at": "2027-01-30T00:00:00Z"}), value!({"deprecated_at": "soon"})] {
        assert_eq!(api.patch(&tenant.token, &path, bad.clone()).await.0, 422, "{bad}");
    }
    let names = async |filter: &str| {
        let (_, listed) = api.get(&tenant.token, &format!("/event_types?application_id={}{filter}", tenant.id)).await;
        listed.as_array().unwrap().iter().map(|it| it["event_type_name"].to_string()).collect::<Vec<_>>().join(",")
    };
    assert_eq!(names("&deprecated=true").await, "\"order.shipped.v1\"");
    assert_eq!(names("&deprecated=false").await, "\"invoice.paid\"");
    assert_eq!(names("&prefix=order.").await, "\"order.shipped.v1\"");
    let (_, cleared) = api.patch(&tenant.token, &path, value!({"schema": null})).await;
    assert!(cleared.get("schema").is_none());
    let (_, back) = api.patch(&tenant.token, &path, value!({"deprecated": false})).await;
    assert_eq!((&back["deprecated"], back.get("deprecated_at"), back.get("sunset_at")), (&value!(false), None, None));
}

#[tokio::test]
async fn organizations_live_from_making_to_deleting() {
    let api = Api::new();
    let (status, made) = api.post(ADMIN, "/organizations", value!({"name": "second", "uid": "two"})).await;
    assert_eq!((status, made["role"].as_str()), (201, Some("editor")), "{made}");
    assert_eq!(made["onboarding_steps"]["application"], "ToDo");
    let id = made["organization_id"].as_str().unwrap().to_owned();
    assert_eq!(
        api.post(ADMIN, "/organizations", value!({"name": "third", "uid": "two"})).await.0,
        409,
        "uids are unique"
    );
    assert_eq!(api.post(ADMIN, "/organizations", value!({"name": "third", "organization_id": id})).await.0, 409);
    assert_eq!(api.post(ADMIN, "/organizations", value!({"name": " "})).await.1["id"], "OrganizationNameMissing");
    assert_eq!(api.post(ADMIN, "/organizations", value!({})).await.1["id"], "OrganizationNameMissing");
    let (status, renamed) = api.put(ADMIN, "/organizations/two", value!({"name": "renamed"})).await;
    assert_eq!((status, renamed["name"].as_str(), renamed["uid"].as_str()), (200, Some("renamed"), Some("two")));
    let (_, bare) = api.patch(ADMIN, "/organizations/two", value!({"uid": null})).await;
    assert!(bare.get("uid").is_none() && bare["users"] == value!([]), "{bare}");
    let path = format!("/organizations/{id}");
    let (_, application) = api.post(ADMIN, "/applications", value!({"name": "app", "organization_id": id})).await;
    let (status, problem) = api.call(ADMIN, Method::DELETE, &path, None).await;
    assert_eq!((status, problem["id"].as_str()), (409, Some("OrganizationIsNotEmpty")));
    let (_, shown) = api.get(ADMIN, &path).await;
    assert_eq!(
        (shown["onboarding_steps"]["application"].as_str(), &shown["consumption"]["applications"]),
        (Some("Done"), &value!(1))
    );
    let application = format!("/applications/{}", application["application_id"].as_str().unwrap());
    assert_eq!(api.delete(ADMIN, &application).await, 204);
    assert_eq!((api.delete(ADMIN, &path).await, api.delete(ADMIN, &path).await), (204, 204));
    assert_eq!(api.get(ADMIN, &path).await.0, 404);
}

#[tokio::test]
async fn what_was_read_can_be_put_back() {
    let api = Api::new();
    let tenant = api.tenant("one").await;
    for path in [format!("/applications/{}", tenant.id), format!("/organizations/{}", Uuid::from_u128(ORGANIZATION))] {
        let (_, before) = api.get(ADMIN, &path).await;
        let (status, after) = api.put(ADMIN, &path, before.clone()).await;
        assert_eq!(status, 200, "{after}");
        assert_eq!(after["name"], before["name"]);
    }
    let (status, problem) = api.put(ADMIN, &format!("/applications/{}", tenant.id), value!({"nmae": "x"})).await;
    assert_eq!((status, problem["code"].as_str()), (422, Some("unknown_field")));
    assert!(problem["detail"].as_str().unwrap().contains("did you mean `name`"), "{problem}");
}

#[tokio::test]
async fn a_uid_belongs_to_its_organization() {
    let api = Api::new();
    let other = api.post(ADMIN, "/organizations", value!({"name": "second"})).await.1["organization_id"].clone();
    let first = value!(Uuid::from_u128(ORGANIZATION));
    let mut made = Vec::new();
    for organization in [&first, &other] {
        let body = value!({"name": "app", "uid": "shop", "organization_id": organization});
        let (status, application) = api.post(ADMIN, "/applications", body).await;
        assert_eq!(status, 201, "a uid is unique in its organization only: {application}");
        let token = value!({"name": "ci", "organization_id": organization});
        let token = api.post(ADMIN, "/service_token", token).await.1["biscuit"].as_str().unwrap().to_owned();
        made.push((application["application_id"].clone(), token));
    }
    for (id, token) in &made {
        let (status, shown) = api.get(token, "/applications/shop").await;
        assert_eq!((status, &shown["application_id"]), (200, id), "another's uid does not hide the own one");
    }
    assert_eq!(api.get(ADMIN, "/applications/shop").await.0, 422, "the operator sees two, and must say which");
    let again = value!({"name": "app", "uid": "shop", "organization_id": first});
    assert_eq!(api.post(ADMIN, "/applications", again).await.0, 409);
}
