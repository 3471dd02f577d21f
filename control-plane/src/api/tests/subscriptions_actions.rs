//! Patches, preconditions, pings, given ids, long lists.

use schemas::delivery::Delivery;
use schemas::record::Record;

use super::*;

async fn made(api: &Api, tenant: &Tenant) -> (String, Value) {
    let (status, made) = api.post(&tenant.token, "/subscriptions", tenant.subscription()).await;
    assert_eq!(status, 201, "{made}");
    (format!("/subscriptions/{}", made["subscription_id"].as_str().unwrap()), made)
}

/// Status and entity tag of a request with a precondition.
async fn conditional(api: &Api, tenant: &Tenant, method: Method, path: &str, tag: &str) -> (u16, String) {
    let request = Request::builder()
        .method(method)
        .uri(format!("/api/v1{path}"))
        .header("authorization", format!("Bearer {}", tenant.token))
        .header("if-match", tag);
    let response = api.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let tag = response.headers().get("etag").map(|tag| tag.to_str().unwrap().to_owned());
    (response.status().as_u16(), tag.unwrap_or_default())
}

#[tokio::test]
async fn a_patch_changes_what_it_names_and_null_clears() {
    let api = Api::new();
    let tenant = api.tenant("one").await;
    let (path, made) = made(&api, &tenant).await;
    let all = value!({
        "description": "d", "metadata": {"a": "1", "b": "2"}, "labels": {"region": "eu"}, "uid": "mine",
        "filter": "type == 'invoice.paid'", "retry": {"exponential": {"base": "1s", "factor": 2, "cap": "1m", "budget": "10m"}},
        "timeout_ms": 1000, "concurrency": 2, "rate_per_second": 1.5, "signing": ["standard"], "body": "cloudevents",
        "api_version": "v1", "disable_after": "never", "max_age": "2h", "dedicated_workers": ["w"], "is_paused": true,
    });
    let (status, full) = api.patch(&tenant.token, &path, all).await;
    assert_eq!(status, 200, "{full}");
    assert_eq!(full["labels"], value!({"environment": "production", "region": "eu"}), "objects are merged");
    assert_eq!((&full["disable_after_ms"], &full["max_age_ms"]), (&value!(0), &value!(7_200_000)));
    assert_eq!(full["target"], made["target"]);
    assert_eq!(api.patch(&tenant.token, &path, value!({})).await, (200, full.clone()), "nothing is named");
    let (_, less) =
        api.patch(&tenant.token, &path, value!({"metadata": {"a": null}, "labels": {"region": null}})).await;
    assert_eq!((&less["metadata"], &less["labels"]), (&value!({"b": "2"}), &value!({"environment": "production"})));
    let moved = value!({"target": {"url": "https://example.com/other"}, "retry": {"exponential": {"factor": 3}}});
    let (_, moved) = api.patch(&tenant.token, &path, moved).await;
    assert_eq!(moved["target"]["headers"], made["target"]["headers"]);
    assert_eq!(
        (&moved["retry"]["exponential"]["factor"], &moved["retry"]["exponential"]["base"]),
        (&value!(3.0), &value!("1s"))
    );
    let names = [
        "description",
        "metadata",
        "labels",
        "uid",
        "filter",
        "retry",
        "timeout_ms",
        "concurrency",
        "rate_per_second",
        "signing",
        "body",
        "api_version",
        "disable_after_ms",
        "max_age_ms",
        "dedicated_workers",
        "is_paused",
    ];
    let nothing = Value::Object(names.iter().map(|name| ((*name).to_owned(), Value::Null)).collect());
    let (status, cleared) = api.patch(&tenant.token, &path, nothing).await;
    assert_eq!(status, 200, "{cleared}");
    for name in ["uid", "filter", "retry", "timeout_ms", "concurrency", "api_version", "disable_after_ms", "max_age_ms"]
    {
        assert!(cleared.get(name).is_none(), "{name}: {cleared}");
    }
    assert_eq!((&cleared["labels"], &cleared["metadata"]), (&value!({}), &value!({})));
    assert_eq!((&cleared["signing"], &cleared["body"]), (&made["signing"], &made["body"]));
    for required in [value!({"target": null}), value!({"event_types": null}), value!({"target": {"url": null}})] {
        assert_eq!(api.patch(&tenant.token, &path, required.clone()).await.0, 422, "{required}");
    }
}

#[tokio::test]
async fn a_filter_that_does_not_compile_is_told_with_its_place() {
    let api = Api::new();
    let tenant = api.tenant("one").await;
    let mut body = tenant.subscription();
    body["filter"] = value!("type ==\n  1 +");
    let (status, problem) = api.post(&tenant.token, "/subscriptions", body).await;
    assert_eq!(status, 422, "{problem}");
    let wrong = &problem["validation"]["filter"][0];
    assert!(wrong["line"].as_u64().unwrap() >= 1 && wrong["column"].as_u64().unwrap() >= 1, "{problem}");
    assert!(wrong["message"].as_str().unwrap().starts_with("line "), "{problem}");
}

#[tokio::test]
async fn every_action_takes_a_precondition() {
    let api = Api::new();
    let tenant = api.tenant("one").await;
    let (path, _) = made(&api, &tenant).await;
    let (_, tag) = conditional(&api, &tenant, Method::GET, &path, "*").await;
    for action in ["pause", "resume", "rotate_secret", "ping"] {
        let path = format!("{path}/{action}");
        assert_eq!(conditional(&api, &tenant, Method::POST, &path, "\"old\"").await.0, 412, "{action}");
    }
    let (status, paused) = conditional(&api, &tenant, Method::POST, &format!("{path}/pause"), &tag).await;
    assert_eq!(status, 200);
    assert_ne!(paused, tag);
    assert_eq!(conditional(&api, &tenant, Method::POST, &format!("{path}/resume"), &tag).await.0, 412);
    assert_eq!(conditional(&api, &tenant, Method::DELETE, &path, &tag).await.0, 412);
    assert_eq!(conditional(&api, &tenant, Method::DELETE, &path, &paused).await.0, 204);
}

#[tokio::test]
async fn a_ping_is_written_as_a_delivery_and_so_many_are_enough() {
    let api = Api::new();
    let tenant = api.tenant("one").await;
    let (path, made) = made(&api, &tenant).await;
    let (status, shown) = api.call(&tenant.token, Method::POST, &format!("{path}/ping"), None).await;
    assert_eq!(status, 202, "{shown}");
    let out = crate::store::beside(api.app.store()).remove(0);
    let record = Record { offset: 0, timestamp_ms: 0, key: out.key, value: out.value, headers: out.headers };
    let delivery = Delivery::decode(&record).unwrap();
    assert_eq!(shown["delivery_id"], delivery.id.to_string());
    assert_eq!(shown["event_id"], delivery.event_id());
    assert_eq!(made["subscription_id"], delivery.subscription.to_string());
    assert_eq!(delivery.control_offset, api.catalog.read().applied());
    let found = Arc::clone(api.catalog.read().subscription(delivery.subscription).unwrap());
    assert!(!found.cancels(delivery.control_offset));
    let mut statuses = Vec::new();
    for _ in 0..6 {
        statuses.push(api.call(&tenant.token, Method::POST, &format!("{path}/ping"), None).await.0);
    }
    assert_eq!(statuses, [202, 202, 202, 202, 429, 429]);
    api.patch(&tenant.token, &path, value!({"is_enabled": false})).await;
    let (status, problem) = api.call(&tenant.token, Method::POST, &format!("{path}/ping"), None).await;
    assert_eq!((status, problem["code"].as_str()), (409, Some("subscription_disabled")));
}

#[tokio::test]
async fn disabling_by_hand_is_dated_and_enabling_forgets_why() {
    let api = Api::new();
    let tenant = api.tenant("one").await;
    let (path, _) = made(&api, &tenant).await;
    let (_, disabled) = api.patch(&tenant.token, &path, value!({"is_enabled": false})).await;
    assert!(disabled["disabled_at"].is_string() && disabled.get("disabled_reason").is_none(), "{disabled}");
    let (_, enabled) = api.patch(&tenant.token, &path, value!({"is_enabled": true})).await;
    assert!(enabled.get("disabled_at").is_none(), "{enabled}");
}

#[tokio::test]
async fn an_id_may_be_given_once() {
    let api = Api::new();
    let (tenant, other) = (api.tenant("one").await, api.tenant("other").await);
    let id = "c0ea6ffa-1972-4435-b434-ec9e93d38f42";
    let given = |tenant: &Tenant| {
        let mut body = tenant.subscription();
        body["subscription_id"] = value!(id);
        body
    };
    assert_eq!(
        api.post(&tenant.token, "/subscriptions", given(&tenant)).await.0,
        403,
        "it would tell what others have"
    );
    let (status, made) = api.post(ADMIN, "/subscriptions", given(&tenant)).await;
    assert_eq!((status, made["subscription_id"].as_str()), (201, Some(id)));
    assert_eq!(api.post(ADMIN, "/subscriptions", given(&tenant)).await.0, 409);
    assert_eq!(api.post(ADMIN, "/subscriptions", given(&other)).await.0, 409);
    let path = format!("/subscriptions/{id}");
    let renamed = value!({"subscription_id": Uuid::from_u128(5)});
    assert_eq!(api.put(&tenant.token, &path, renamed).await.0, 422, "an id is for ever");
    let before = api.catalog.read().applied();
    assert_eq!(api.delete(&tenant.token, &path).await, 204);
    assert_eq!(api.post(ADMIN, "/subscriptions", given(&tenant)).await.0, 201);
    let found = Arc::clone(api.catalog.read().subscription(id.parse().unwrap()).unwrap());
    assert!(found.cancels(before), "what was queued for the former one is not the new one's");
    assert!(!found.cancels(api.catalog.read().applied()));
}

#[tokio::test]
async fn a_long_list_is_whole_and_can_be_narrowed() {
    let api = Api::new();
    let tenant = api.tenant("one").await;
    for number in 0..250 {
        let mut body = tenant.subscription();
        body["labels"] = value!({"n": (number % 5).to_string()});
        body["event_types"] = if number % 2 == 0 { value!(["invoice.paid"]) } else { value!(["order.*"]) };
        assert_eq!(api.post(&tenant.token, "/subscriptions", body).await.0, 201);
    }
    let list = async |query: &str| {
        let path = format!("/subscriptions?application_id={}{query}", tenant.id);
        let (status, listed) = api.get(&tenant.token, &path).await;
        assert_eq!(status, 200, "{query}: {listed}");
        listed.as_array().unwrap().len()
    };
    assert_eq!(list("").await, 250);
    assert_eq!(list("&event_type=invoice.paid").await, 125);
    assert_eq!(list("&event_type=order.shipped&label_key=n&label_value=1").await, 25);
    assert_eq!(list("&label_key=none").await, 0);
}

#[tokio::test]
async fn a_filter_is_compiled_once_and_not_while_others_wait_for_the_snapshot() {
    let api = Api::new();
    let tenant = api.tenant("one").await;
    let (path, _) = made(&api, &tenant).await;
    let (other, _) = made(&api, &tenant).await;
    assert_eq!(api.patch(&tenant.token, &other, value!({"uid": "taken"})).await.0, 200);
    for patch in [
        value!({"filter": "type == 'invoice.paid'"}),
        value!({"filter": "type == 'invoice.paid'", "labels": {"region": "eu"}}),
        // What is refused is decided twice.
        value!({"filter": "type == 'a'", "uid": "taken"}),
        value!({"filter": "type == 'a'", "uid": "taken", "metadata": {"a": "1"}}),
    ] {
        let before = crate::subscription::compiled();
        api.patch(&tenant.token, &path, patch.clone()).await;
        assert_eq!(crate::subscription::compiled() - before, 1, "{patch}");
    }
    let (_, shown) = api.get(&tenant.token, &path).await;
    assert_eq!((&shown["filter"], &shown["labels"]["region"]), (&value!("type == 'invoice.paid'"), &value!("eu")));
}
