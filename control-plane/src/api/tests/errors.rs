//! Whatever is wrong gets the problem it deserves.

use super::*;

#[tokio::test]
async fn tokens_are_needed_and_checked() {
    let api = Api::new();
    let bare = |value: Option<&str>| {
        let mut request = Request::builder().uri("/api/v1/applications");
        if let Some(value) = value {
            request = request.header("authorization", value);
        }
        request.body(Body::empty()).unwrap()
    };
    let id = async |value| {
        let (status, problem) = api.send(bare(value)).await;
        (status, problem["id"].as_str().unwrap().to_owned())
    };
    assert_eq!(id(None).await, (401, "AuthNoAuthorizationHeader".into()));
    assert_eq!(id(Some("Basic abc")).await, (400, "AuthInvalidAuthorizationHeader".into()));
    assert_eq!(id(Some("Bearer nonsense")).await, (403, "AuthInvalidBiscuit".into()));
    let unknown = format!("Bearer {}", Uuid::from_u128(77));
    assert_eq!(id(Some(&unknown)).await, (403, "AuthInvalidApplicationSecret".into()));
}

#[tokio::test]
async fn an_application_secret_opens_its_application_and_nothing_else() {
    let api = Api::new();
    let (one, other) = (api.tenant("one").await, api.tenant("other").await);
    let (_, made) = api.post(&other.token, "/subscriptions", other.subscription()).await;
    let foreign = made["subscription_id"].as_str().unwrap();
    let absent = Uuid::from_u128(5);
    for path in [
        format!("/applications/{}", other.id),
        format!("/applications/{absent}"),
        format!("/subscriptions/{foreign}"),
        format!("/subscriptions/{absent}"),
        format!("/subscriptions?application_id={}", other.id),
        format!("/event_types?application_id={}", other.id),
        format!("/application_secrets?application_id={}", other.id),
        "/organizations".to_owned(),
    ] {
        let (status, problem) = api.get(&one.token, &path).await;
        assert_eq!((status, problem["id"].as_str()), (403, Some("Forbidden")), "{path}");
    }
    let (status, _) = api.post(&one.token, "/subscriptions", other.subscription()).await;
    assert_eq!(status, 403);
    assert_eq!(api.delete(&one.token, &format!("/subscriptions/{foreign}")).await, 403);
    let (status, _) = api.put(&one.token, &format!("/subscriptions/{foreign}"), value!({"is_enabled": false})).await;
    assert_eq!(status, 403);
    let (_, seen) = api.get(&one.token, "/applications").await;
    assert_eq!(seen.as_array().unwrap().len(), 1);
    assert_eq!(api.get(ADMIN, &format!("/applications/{absent}")).await.0, 404);
    assert_eq!(api.get(ADMIN, &format!("/subscriptions/{absent}")).await.0, 404);
}

#[tokio::test]
async fn bad_bodies_are_told_off_by_field() {
    let api = Api::new();
    let tenant = api.tenant("one").await;
    let raw = async |body: String, content_type: &str| {
        let request = Request::post("/api/v1/subscriptions")
            .header("authorization", format!("Bearer {}", tenant.token))
            .header("content-type", content_type)
            .body(Body::from(body))
            .unwrap();
        let (status, problem) = api.send(request).await;
        (status, problem["id"].as_str().unwrap().to_owned(), problem["code"].as_str().unwrap_or_default().to_owned())
    };
    let json = "application/json";
    assert_eq!(raw("{".into(), json).await, (400, "JsonPayload".into(), String::new()));
    assert_eq!(raw("{}".into(), "text/plain").await, (415, "Validation".into(), "unsupported_media_type".into()));
    let encoded = Request::post("/api/v1/subscriptions")
        .header("authorization", format!("Bearer {}", tenant.token))
        .header("content-type", json)
        .header("content-encoding", "gzip")
        .body(Body::from("{}"))
        .unwrap();
    let (status, problem) = api.send(encoded).await;
    assert_eq!((status, &problem["code"]), (415, &serde_json::json!("unsupported_encoding")));
    assert!(problem["detail"].as_str().unwrap().contains("`gzip`"), "{problem}");
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    assert_eq!(raw(deep, json).await, (422, "Validation".into(), "too_deep".into()));
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(70_000));
    assert_eq!(raw(large, json).await, (413, "Validation".into(), "body_too_large".into()));
    assert_eq!(raw("{\"lables\":1}".into(), json).await, (422, "Validation".into(), "unknown_field".into()));
}

#[tokio::test]
async fn unknown_routes_and_methods_are_problems_too() {
    let api = Api::new();
    let (status, problem) = api.get(ADMIN, "/nothing").await;
    assert_eq!((status, problem["id"].as_str()), (404, Some("NotFound")));
    let (status, problem) = api.call(ADMIN, Method::PATCH, "/applications", None).await;
    assert_eq!(
        (status, problem["id"].as_str(), problem["code"].as_str()),
        (405, Some("Validation"), Some("method_not_allowed"))
    );
}

#[tokio::test]
async fn what_is_public_needs_no_token_and_slashes_do_not_matter() {
    let api = Api::new();
    for path in ["/api/v1/instance", "/api/v1/quotas/", "//api/v1//errors//", "/api/v1/payload_content_types"] {
        let (status, body) = api.send(Request::get(path).body(Body::empty()).unwrap()).await;
        assert_eq!(status, 200, "{path}: {body}");
    }
    let (_, errors) = api.send(Request::get("/api/v1/errors").body(Body::empty()).unwrap()).await;
    assert_eq!(errors.as_array().unwrap().len(), 46);
}
