//! Subscriptions, from creation to what the workers will see.

use schemas::ids::SubscriptionId;

use super::*;

fn id(shown: &Value) -> SubscriptionId {
    shown["subscription_id"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_subscription_has_the_shape_clients_decode() {
    let api = Api::new();
    let tenant = api.tenant("one").await;
    let (status, shown) = api.post(&tenant.token, "/subscriptions", tenant.subscription()).await;
    assert_eq!(status, 201, "{shown}");
    for field in ["application_id", "subscription_id", "secret"] {
        assert!(Uuid::parse_str(shown[field].as_str().unwrap()).is_ok(), "{field}");
    }
    assert_eq!(shown["label_key"], "environment");
    assert_eq!(shown["label_value"], "production");
    assert_eq!(shown["metadata"], value!({}));
    assert_eq!(shown["dedicated_workers"], value!([]));
    assert_eq!(shown["target"]["headers"], value!({"x-tenant": "a"}));
    assert_eq!(shown["target"]["type"], "http");
    assert_eq!(shown["signing"], value!(["standard", "hook0"]));
    assert!(shown["signing_secret"].as_str().unwrap().starts_with("whsec_"));
    let path = format!("/subscriptions/{}", shown["subscription_id"].as_str().unwrap());
    assert_eq!(api.get(&tenant.token, &path).await, (200, shown.clone()));
    assert_eq!(api.get(ADMIN, &path).await, (200, shown.clone()));
    let (_, listed) = api.get(&tenant.token, &format!("/subscriptions?application_id={}", tenant.id)).await;
    assert_eq!(listed, value!([shown]));
}

#[tokio::test]
async fn a_put_of_an_older_client_keeps_what_it_does_not_know() {
    let api = Api::new();
    let tenant = api.tenant("one").await;
    let mut full = tenant.subscription();
    full["uid"] = value!("mine");
    full["secret"] = value!("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    full["retry"] = value!(["1s", 2000]);
    full["timeout_ms"] = value!(1234);
    full["concurrency"] = value!(7);
    full["rate_per_second"] = value!(2.5);
    full["body"] = value!("envelope");
    full["api_version"] = value!("2026-11-22");
    full["max_age"] = value!("36h");
    full["target"]["headers"] = value!({"Authorization": "Bearer x", "X-Tenant": "a"});
    let (status, made) = api.post(&tenant.token, "/subscriptions", full).await;
    assert_eq!(status, 201, "{made}");
    assert_eq!(made["signing_secret"], "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    assert!(Uuid::parse_str(made["secret"].as_str().unwrap()).is_ok());
    assert_eq!(made["target"]["headers"]["authorization"], "********");
    assert_eq!(made["max_age_ms"], 36 * 3_600_000);
    // What it read, sent back: nothing changes, not even the time.
    let (status, same) = api.put(&tenant.token, "/subscriptions/mine", made.clone()).await;
    assert_eq!((status, &same), (200, &made));
    let mut old = tenant.subscription();
    old["target"]["headers"] = made["target"]["headers"].clone();
    old["description"] = value!("renamed");
    let (status, shown) = api.put(&tenant.token, "/subscriptions/mine", old).await;
    assert_eq!((status, shown["description"].as_str()), (200, Some("renamed")));
    for kept in
        ["signing_secret", "secret", "retry", "timeout_ms", "concurrency", "rate_per_second", "body", "max_age_ms"]
    {
        assert_eq!(shown[kept], made[kept], "{kept}");
    }
    let compiled = Arc::clone(api.catalog.read().subscription(id(&made)).unwrap());
    let target = compiled.target().unwrap();
    let headers: Vec<(&str, &str)> =
        target.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(headers, [("authorization", "Bearer x"), ("x-tenant", "a")]);
    assert!(compiled.signer(0).is_ok());
    assert_eq!(compiled.schedule().delays().len(), 2);
}

#[tokio::test]
async fn disabling_cancels_what_was_matched_before_and_pausing_does_not() {
    let api = Api::new();
    let tenant = api.tenant("one").await;
    let (_, made) = api.post(&tenant.token, "/subscriptions", tenant.subscription()).await;
    let path = format!("/subscriptions/{}", made["subscription_id"].as_str().unwrap());
    let read = || Arc::clone(api.catalog.read().subscription(id(&made)).unwrap());
    let matches = || {
        let mut out = Vec::new();
        let application = tenant.id.parse().unwrap();
        let labels = [("environment".to_owned(), "production".to_owned())].into();
        api.catalog.read().matches(application, "invoice.paid", &labels, &mut out);
        out.len()
    };
    let (status, shown) = api.post(&tenant.token, &format!("{path}/pause"), value!({})).await;
    assert_eq!((status, shown["is_paused"].as_bool()), (200, Some(true)));
    assert!(!read().cancels(0) && matches() == 1, "a paused one still matches");
    let matched_at = api.catalog.read().applied();
    let end = api.catalog.position();
    let (_, shown) = api.put(&tenant.token, &path, value!({"is_enabled": false})).await;
    assert_eq!(shown["is_enabled"], false);
    assert_eq!(read().object().cancel_before, Some(end));
    assert!(read().cancels(matched_at) && matches() == 0);
    api.put(&tenant.token, &path, value!({"is_enabled": true})).await;
    assert!(read().cancels(matched_at), "what was ended stays ended");
    assert!(!read().cancels(api.catalog.read().applied()) && matches() == 1);
    let (_, shown) = api.post(&tenant.token, &format!("{path}/resume"), value!({})).await;
    assert_eq!(shown["is_paused"], false);
    assert_eq!(api.delete(&tenant.token, &format!("{path}?application_id={}", tenant.id)).await, 204);
    assert_eq!(api.delete(&tenant.token, &format!("{path}?application_id={}", tenant.id)).await, 204);
    assert_eq!(matches(), 0);
}

#[tokio::test]
async fn fields_out_of_range_are_refused_by_name() {
    let api = Api::new();
    let tenant = api.tenant("one").await;
    for (field, bad) in [
        ("event_types", value!([])),
        ("event_types", value!(["a.**.b"])),
        ("labels", value!({"": "x"})),
        ("labels", value!({"a": "x".repeat(51)})),
        ("target", value!("https://example.com")),
        ("target", value!({"type": "http", "method": "POST"})),
        ("target", value!({"type": "http", "method": "BREW", "url": "https://example.com"})),
        ("target", value!({"type": "http", "method": "POST", "url": "https://10.0.0.1/"})),
        ("target", value!({"type": "http", "method": "POST", "url": "http://example.com/"})),
        ("target", value!({"type": "http", "method": "POST", "url": "https://example.com/", "headers": {"Host": "x"}})),
        ("target", value!({"type": "http", "method": "POST", "url": "https://example.com/", "hedders": {}})),
        ("retry", value!("never")),
        ("retry", value!([1])),
        ("timeout_ms", value!(1)),
        ("timeout_ms", value!("1s")),
        ("concurrency", value!(0)),
        ("rate_per_second", value!(-1)),
        ("signing", value!(["hook0", "hook0_body"])),
        ("signing", value!([])),
        ("body", value!("xml")),
        ("signing", value!(["hmac"])),
        ("signing_private_key", value!("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")),
        ("ordering", value!("fifo")),
        ("filter", value!("typ == 'a'")),
        ("filter", value!("type ==")),
        ("filter", value!(1)),
        ("filter", value!("x".repeat(4_097))),
        ("auth", value!({"type": "digest"})),
        ("auth", value!("basic")),
        ("disable_after", value!("soon")),
        ("disable_after_ms", value!(1)),
        ("disable_after", value!("91d")),
        ("event_types", Value::Null),
        ("event_types", value!(vec!["a.b"; 1_001])),
        ("metadata", value!({"a": "x".repeat(1_001)})),
        ("dedicated_workers", value!(["x".repeat(201)])),
        (
            "target",
            value!({"type": "http", "method": "POST", "url": "https://example.com/", "secret_headers": ["x-none"]}),
        ),
        ("max_age", value!("1ms")),
        ("secret", value!("whsec_short")),
        ("uid", value!("00000000-0000-0000-0000-000000000001")),
        ("is_enabled", value!("yes")),
        ("label_key", value!("alone")),
    ] {
        let mut body = tenant.subscription();
        body[field] = bad.clone();
        let (status, problem) = api.post(&tenant.token, "/subscriptions", body).await;
        assert_eq!(status, 422, "{field}: {bad}: {problem}");
        let named = problem["validation"]
            .as_object()
            .unwrap()
            .keys()
            .any(|name| name.starts_with(field.split('_').next().unwrap()));
        assert!(named, "{field}: {problem}");
    }
    let mut body = tenant.subscription();
    body["label_key"] = value!("environment");
    body["label_value"] = value!("staging");
    assert_eq!(api.post(&tenant.token, "/subscriptions", body).await.1["id"], "LabelsAmbiguity");
    let mut body = tenant.subscription();
    body["event_types"] = value!(["invoice.unknown"]);
    assert_eq!(api.post(&tenant.token, "/subscriptions", body).await.1["id"], "EventTypeDoesNotExist");
}

#[tokio::test]
async fn uids_are_unique_in_their_application_and_the_instance_has_a_limit() {
    let api = Api::with_limit(2);
    let (one, other) = (api.tenant("one").await, api.tenant("other").await);
    let create = async |tenant: &Tenant| {
        let mut body = tenant.subscription();
        body["uid"] = value!("same");
        api.post(&tenant.token, "/subscriptions", body).await
    };
    assert_eq!(create(&one).await.0, 201);
    assert_eq!(create(&one).await.0, 409);
    assert_eq!(create(&other).await.0, 201);
    let (status, problem) = create(&one).await;
    assert_eq!((status, problem["code"].as_str()), (429, Some("limit_reached")));
}

#[tokio::test]
async fn ed25519_gets_a_key_of_its_own_and_keeps_it() {
    let api = Api::new();
    let tenant = api.tenant("one").await;
    let mut body = tenant.subscription();
    body["signing"] = value!(["standard", "ed25519"]);
    let (status, made) = api.post(&tenant.token, "/subscriptions", body).await;
    assert_eq!(status, 201, "{made}");
    let public = made["signing_public_key"].as_str().unwrap();
    assert!(public.starts_with("whpk_"));
    let path = format!("/subscriptions/{}", made["subscription_id"].as_str().unwrap());
    let (_, shown) = api.put(&tenant.token, &path, value!({"secret": "another secret text"})).await;
    assert_eq!(shown["signing_public_key"], public);
    assert_ne!(shown["signing_secret"], made["signing_secret"]);
    let compiled = Arc::clone(api.catalog.read().subscription(id(&made)).unwrap());
    let signed = compiled.signer(0).unwrap().standard("id", 1, signing::Body::from(&[b"x".as_slice()])).unwrap();
    assert_eq!(signed.split(' ').count(), 2, "{signed}");
}
