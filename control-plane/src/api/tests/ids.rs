//! Ids: who gives them, who may have them again, and that nobody learns from them what others have.

use super::*;

const ID: &str = "c0ea6ffa-1972-4435-b434-ec9e93d38f42";

/// Another organization beside the first one: its id and an editor's token.
async fn other(api: &Api) -> (String, String) {
    let (_, made) = api.post(ADMIN, "/organizations", value!({"name": "other", "uid": "other"})).await;
    let id = made["organization_id"].as_str().unwrap().to_owned();
    let (_, token) = api.post(ADMIN, "/service_token", value!({"organization_id": id, "name": "ci"})).await;
    (id, token["biscuit"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn the_id_of_a_deleted_application_is_its_organizations_for_ever() {
    let api = Api::new();
    let (other, _) = other(&api).await;
    let make = async |organization: &str| {
        let body = value!({"organization_id": organization, "name": "shop", "application_id": ID});
        api.post(ADMIN, "/applications", body).await.0
    };
    let first = Uuid::from_u128(ORGANIZATION).to_string();
    assert_eq!(make(&first).await, 201);
    assert_eq!(api.delete(ADMIN, &format!("/applications/{ID}")).await, 204);
    assert_eq!(make(&other).await, 409, "records that name it would reach another tenant");
    assert_eq!(make(&first).await, 409, "what was in it is still there");
    crate::sweep::clear(&api.catalog, api.app.store(), Duration::ZERO).await;
    assert_eq!((make(&other).await, make(&first).await), (409, 201));
    // The organization goes, and what it had stays nobody else's.
    assert_eq!(api.delete(ADMIN, &format!("/applications/{ID}")).await, 204);
    crate::sweep::clear(&api.catalog, api.app.store(), Duration::ZERO).await;
    assert_eq!(api.delete(ADMIN, &format!("/organizations/{first}")).await, 204);
    assert_eq!(make(&other).await, 409);
}

#[tokio::test]
async fn a_tenant_gives_no_ids_and_changes_no_uid_of_its_organization() {
    let api = Api::new();
    let tenant = api.tenant("one").await;
    let (organization, token) = other(&api).await;
    let (_, application) = api.post(&token, "/applications", value!({"name": "theirs"})).await;
    let theirs = &application["application_id"];
    for id in [value!(tenant.id), value!(ID)] {
        for (path, body) in [
            ("/applications", value!({"name": "mine", "application_id": id})),
            ("/application_secrets", value!({"application_id": theirs, "secret_id": id})),
            ("/service_token", value!({"name": "mine", "token_id": id})),
            (
                "/subscriptions",
                value!({"application_id": theirs, "subscription_id": id, "event_types": ["a.*"],
                    "target": {"type": "http", "method": "POST", "url": "https://example.com/"}}),
            ),
        ] {
            let (status, problem) = api.post(&token, &format!("{path}?dry_run=true"), body).await;
            assert_eq!((status, problem["code"].as_str()), (403, Some("invalid_field")), "{path}: {problem}");
        }
    }
    let path = format!("/organizations/{organization}");
    for uid in ["default", "nobodys"] {
        assert_eq!(api.patch(&token, &path, value!({"uid": uid})).await.0, 403);
    }
    assert_eq!(api.patch(&token, &path, value!({"uid": "other", "name": "renamed"})).await.0, 200, "as it is");
}

#[tokio::test]
async fn more_than_one_batch_of_a_deleted_application_goes_in_several_writes() {
    let api = Api::new();
    let tenant = api.tenant("one").await;
    let id = tenant.id.parse().unwrap();
    let made = (0..2_500_u128).map(|number| {
        let id = schemas::ids::SubscriptionId(Uuid::from_u128(number + 1));
        let object = schemas::control::Subscription::new(id, tenant.id.parse().unwrap(), 1);
        let object = schemas::control::ControlObject::Subscription(Box::new(object));
        schemas::record::OutRecord {
            topic: "control".into(),
            partition: None,
            key: Some(object.key().to_string().into()),
            value: Some(object.encode().unwrap().into()),
            headers: schemas::record::Headers::default(),
        }
    });
    api.catalog.feed(made.collect::<Vec<_>>());
    assert_eq!(api.delete(&tenant.token, &format!("/applications/{}", tenant.id)).await, 204);
    let before = crate::store::audited(api.app.store()).len();
    crate::sweep::clear(&api.catalog, api.app.store(), Duration::ZERO).await;
    let audited = crate::store::audited(api.app.store());
    let writes: std::collections::BTreeSet<Uuid> = audited[before..].iter().map(|it| it.write_id).collect();
    assert_eq!((audited.len() - before, writes.len()), (2_502, 3));
    assert!(audited[before..].iter().all(|it| it.actor == "system/sweep"));
    assert!(!api.catalog.read().is_orphaned(id));
    assert_eq!(api.catalog.read().subscriptions_total(), 0);
}
