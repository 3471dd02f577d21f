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

#[tokio::test]
async fn a_limit_of_bytes_is_not_walked_through_in_small_steps() {
    let limit = 40_000;
    let api = Api::configured(ControlConfig {
        bytes: chassis::config::ByteLimits { application: limit, organization: 1 << 20, instance: 1 << 20 },
        ..config(1_000)
    });
    let tenant = api.tenant("one").await;
    let own = || {
        let owner = catalog::weights::WeightOwner::Application(tenant.id.parse().unwrap());
        api.catalog.read().weight_of(owner)
    };
    let mut paths = Vec::new();
    loop {
        let (status, made) = api.post(ADMIN, "/subscriptions", tenant.subscription()).await;
        if status != 201 {
            assert_eq!((status, &made["code"]), (422, &value!("limit_reached")), "{made}");
            break;
        }
        paths.push(format!("/subscriptions/{}", made["subscription_id"].as_str().unwrap()));
    }
    // Each step adds less than what a change may add that is little.
    let mut refused = None;
    for step in 0..20 {
        for path in &paths {
            let more = value!({"metadata": {format!("key{step}"): "x".repeat(400)}});
            let (status, problem) = api.patch(ADMIN, path, more).await;
            if status != 200 {
                refused = refused.or_else(|| Some((status, problem["code"].clone())));
            }
        }
    }
    assert_eq!(refused, Some((422, value!("limit_reached"))));
    let most = limit + limit / 16;
    assert!(own() <= most, "{} bytes, at most {most}", own());

    let (status, problem) = api.patch(ADMIN, &paths[0], value!({"is_enabled": false})).await;
    assert_eq!((status, &problem["is_enabled"]), (200, &value!(false)), "what is on can be turned off: {problem}");
    let path = format!("/application_secrets/{}", tenant.token);
    let ends = value!({"application_id": tenant.id, "expires_at": "2100-01-01T00:00:00Z"});
    assert_eq!(api.put(ADMIN, &path, ends).await.0, 200, "and a token can be ended");
    let heavy = value!({"description": "x".repeat(1_000)});
    assert_eq!(api.patch(ADMIN, &paths[0], heavy).await.1["code"], "limit_reached");
    assert_eq!(api.delete(&tenant.token, &paths[0]).await, 204);
}

#[tokio::test]
async fn a_plan_sets_all_limits_of_an_organization_at_once() {
    let free = Limits { applications: Some(1), events_per_day: Some(100), ..Limits::default() };
    let team = Limits { applications: Some(10), ..Limits::default() };
    let plans = [("free".to_owned(), free), ("team".to_owned(), team)].into();
    let api = Api::configured(ControlConfig { plans, ..config(1_000) });
    let path = format!("/organizations/{}", Uuid::from_u128(ORGANIZATION));
    let patch = async |token: &str, body: Value| {
        let (status, shown) = api.patch(token, &path, body).await;
        (status, shown["plan"]["name"].clone(), shown["limits"].clone())
    };
    let (plan, limits) = (value!("free"), value!({"applications": 1, "events_per_day": 100}));
    assert_eq!(patch(ADMIN, value!({"plan": "free"})).await, (200, plan.clone(), limits.clone()));
    assert_eq!(patch(ADMIN, value!({"name": "renamed"})).await, (200, plan.clone(), limits.clone()), "it stays");
    let tenant = api.tenant("one").await;
    assert_eq!(api.post(ADMIN, "/applications", value!({"name": "two"})).await.0, 429, "it binds");
    assert_eq!(patch(ADMIN, value!({"plan": "gold"})).await.0, 422);
    assert_eq!(patch(ADMIN, value!({"plan": "team", "limits": {"applications": 3}})).await.0, 422, "which of both?");

    let (_, token) = api
        .post(ADMIN, "/service_token", value!({"organization_id": Uuid::from_u128(ORGANIZATION), "name": "ci"}))
        .await;
    let token = token["biscuit"].as_str().unwrap();
    assert_eq!(patch(token, value!({"plan": "team"})).await.0, 403, "who is bound by it does not change it");
    let (_, read) = api.get(token, &path).await;
    let (status, same) = api.put(token, &path, read.clone()).await;
    assert_eq!(
        (status, &same["plan"], &same["limits"]),
        (200, &read["plan"], &limits),
        "what was read can be put back"
    );

    assert_eq!(patch(ADMIN, value!({"plan": "team"})).await, (200, value!("team"), value!({"applications": 10})));
    let own = patch(ADMIN, value!({"limits": {"event_types": 5}})).await;
    assert_eq!(
        own,
        (200, Value::Null, value!({"applications": 10, "event_types": 5})),
        "limits of its own are no plan"
    );
    patch(ADMIN, value!({"plan": "free"})).await;
    assert_eq!(patch(ADMIN, value!({"plan": null})).await, (200, Value::Null, Value::Null));
    drop(tenant);
}
