//! Limits on counts: whose they are, and what is answered beyond them.

use schemas::control::Limits;

use super::*;

fn limited(limits: Limits) -> Api {
    Api::configured(ControlConfig { limits, ..config(1_000) })
}

#[tokio::test]
async fn one_more_than_the_limit_is_a_429_that_is_not_retried() {
    let instance = Limits { applications: Some(1), subscriptions: Some(1), event_types: Some(1), ..Limits::default() };
    let api = limited(instance);
    let tenant = api.tenant("one").await;
    let refused = async |path: &str, body: Value| {
        let (status, headers, problem) = api.exchange(Method::POST, path, &[], Some(body)).await;
        assert!(!headers.contains_key("retry-after"), "only RateLimited is worth a retry");
        (status, problem["id"].as_str().unwrap_or_default().to_owned(), problem["code"] == "limit_reached")
    };
    let application = value!({"name": "two"});
    assert_eq!(refused("/applications", application).await, (429, "TooManyApplicationsPerOrganization".into(), true));
    let event_type = value!({"application_id": tenant.id, "name": "a.b"});
    assert_eq!(refused("/event_types", event_type).await, (429, "TooManyEventTypesPerApplication".into(), true));
    let again = value!({"application_id": tenant.id, "name": "invoice.paid", "deprecated": true});
    assert_eq!(api.post(ADMIN, "/event_types", again).await.0, 201, "changing one is not one more");
    assert_eq!(api.post(ADMIN, "/subscriptions", tenant.subscription()).await.0, 201);
    let id = "TooManySubscriptionsPerApplication".to_owned();
    assert_eq!(refused("/subscriptions", tenant.subscription()).await, (429, id, true));
}

#[tokio::test]
async fn the_nearest_limit_counts_and_zero_is_a_limit() {
    let api = limited(Limits { event_types: Some(100), ..Limits::default() });
    let tenant = api.tenant("one").await;
    let path = format!("/applications/{}", tenant.id);
    let organization = format!("/organizations/{}", Uuid::from_u128(ORGANIZATION));
    let declare = async |name: &str| {
        api.post(&tenant.token, "/event_types", value!({"application_id": tenant.id, "name": name})).await.0
    };
    let shown = async || api.get(ADMIN, &path).await.1["quotas"]["event_types_per_application_limit"].clone();
    assert_eq!(shown().await, 100);
    assert_eq!(api.patch(ADMIN, &organization, value!({"limits": {"event_types": 0}})).await.0, 200);
    assert_eq!((shown().await, declare("a.b").await), (value!(0), 429));
    let (status, changed) = api.patch(ADMIN, &path, value!({"limits": {"event_types": 2, "events_per_day": 9}})).await;
    assert_eq!((status, &changed["limits"]), (200, &value!({"event_types": 2, "events_per_day": 9})));
    assert_eq!((declare("a.b").await, declare("a.c").await), (201, 429));
    let (_, changed) = api.patch(ADMIN, &path, value!({"limits": {"event_types": null}})).await;
    assert_eq!(changed["limits"], value!({"events_per_day": 9}), "a patch keeps what it does not name");
    let (_, changed) = api.put(ADMIN, &path, value!({"limits": {}})).await;
    assert!(changed.get("limits").is_none(), "a put replaces: {changed}");
    let (status, problem) = api.patch(ADMIN, &path, value!({"limits": {"applications": 1}})).await;
    assert_eq!((status, problem["code"].as_str()), (422, Some("unknown_field")), "an application has no applications");
    assert_eq!(api.patch(ADMIN, &path, value!({"limits": {"event_types": -1}})).await.0, 422);
}

#[tokio::test]
async fn who_is_limited_does_not_change_the_limit() {
    let api = Api::new();
    let tenant = api.tenant("one").await;
    let path = format!("/applications/{}", tenant.id);
    api.patch(ADMIN, &path, value!({"limits": {"subscriptions": 5}})).await;
    assert_eq!(api.patch(&tenant.token, &path, value!({"limits": {"subscriptions": 6}})).await.0, 403);
    assert_eq!(api.put(&tenant.token, &path, value!({"limits": null})).await.0, 403);
    let same = value!({"name": "renamed", "limits": {"subscriptions": 5}});
    assert_eq!(api.put(&tenant.token, &path, same).await.0, 200, "what was read can be put back");
}

#[tokio::test]
async fn the_instance_says_what_it_limits() {
    let none = Api::new().get(ADMIN, "/quotas").await.1;
    assert_eq!((&none["enabled"], &none["limits"]["global_events_per_day_limit"]), (&value!(false), &value!(i32::MAX)));
    let some = limited(Limits { subscriptions: Some(7), ..Limits::default() }).get(ADMIN, "/quotas").await.1;
    let shown = &some["limits"]["global_subscriptions_per_application_limit"];
    assert_eq!((&some["enabled"], shown), (&value!(true), &value!(7)));
}

#[tokio::test]
async fn objects_are_limited_in_bytes_and_deleting_is_not() {
    let api = Api::configured(ControlConfig {
        bytes: chassis::config::ByteLimits { application: 60_000, organization: 1 << 20, instance: 1 << 20 },
        ..config(1_000)
    });
    let tenant = api.tenant("one").await;
    let mut wide = tenant.subscription();
    wide["event_types"] = (0..10).map(|number| format!("a{number}.*.b.c.**")).collect();
    let (status, made) = api.post(&tenant.token, "/subscriptions", wide.clone()).await;
    assert_eq!(status, 201, "{made}");
    let (status, problem) = api.post(&tenant.token, "/subscriptions", wide.clone()).await;
    assert_eq!((status, problem["code"].as_str()), (422, Some("limit_reached")), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("this application"), "{problem}");
    assert_eq!(
        api.post(&tenant.token, "/subscriptions?dry_run=true", wide.clone()).await.0,
        422,
        "a dry run says so too"
    );
    assert_eq!(api.post(&tenant.token, "/subscriptions", tenant.subscription()).await.0, 201, "a usual one fits");
    let path = format!("/subscriptions/{}", made["subscription_id"].as_str().unwrap());
    assert_eq!(api.delete(&tenant.token, &path).await, 204);
    assert_eq!(api.post(&tenant.token, "/subscriptions", wide).await.0, 201, "its room is free again");
}
