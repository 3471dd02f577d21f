//! What every route does: methods, headers, browsers, the document.

use super::*;

#[tokio::test]
async fn a_method_a_route_does_not_take_is_a_405_that_names_those_it_does() {
    let api = Api::new();
    let (status, headers, problem) = api.exchange(Method::PATCH, "/applications", &[], None).await;
    assert_eq!((status, problem["code"].as_str()), (405, Some("method_not_allowed")));
    let mut allowed: Vec<&str> = headers["allow"].to_str().unwrap().split(',').collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["GET", "HEAD", "POST"]);
    for method in ["TRACE", "OPTIONS", "QUERY"] {
        let (status, headers, _) = api.exchange(method.parse().unwrap(), "/applications/x", &[], None).await;
        assert_eq!((status, headers.contains_key("allow")), (405, true), "{method}");
    }
}

#[tokio::test]
async fn answers_are_kept_out_of_caches_and_guesses() {
    let api = Api::new();
    for path in ["/applications", "/nowhere", "/instance"] {
        let (_, headers, _) = api.exchange(Method::GET, path, &[("x-request-id", "mine")], None).await;
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert_eq!(headers["cache-control"], "no-store");
        assert_eq!(headers["referrer-policy"], "no-referrer");
        assert_eq!(headers["x-request-id"], "mine");
        assert!(!headers.contains_key("access-control-allow-origin"), "no page may call unless configured");
    }
}

#[tokio::test]
async fn pages_of_configured_origins_may_call() {
    let origins = |origins: &[&str]| {
        let cors_origins = origins.iter().map(|&it| it.to_owned()).collect();
        Api::configured(ControlConfig { cors_origins, ..config(10) })
    };
    let api = origins(&["https://console.example.com"]);
    let asking = [
        ("origin", "https://console.example.com"),
        ("access-control-request-method", "PATCH"),
        (
            "access-control-request-headers",
            "authorization,if-match,idempotency-key,hook0-client-options,hookbus-consistency-token",
        ),
    ];
    let (status, headers, _) = api.exchange(Method::OPTIONS, "/applications/x", &asking, None).await;
    assert_eq!(
        (status, &headers["access-control-allow-origin"]),
        (200, &"https://console.example.com".parse().unwrap())
    );
    let list = |name: &str| headers[name].to_str().unwrap().to_lowercase();
    assert!(list("access-control-allow-methods").contains("patch"));
    let sent =
        ["authorization", "content-type", "if-match", "if-none-match", "idempotency-key", "hook0-client-options"];
    for name in sent.into_iter().chain(["x-request-id"]) {
        assert!(list("access-control-allow-headers").contains(name), "{name}");
    }
    assert!(!headers.contains_key("access-control-allow-credentials"));
    let (_, headers, _) =
        api.exchange(Method::GET, "/applications", &[("origin", "https://evil.example.com")], None).await;
    assert!(!headers.contains_key("access-control-allow-origin"));
    let (_, headers, _) = api.exchange(Method::GET, "/applications", &asking[..1], None).await;
    let exposed = headers["access-control-expose-headers"].to_str().unwrap().to_lowercase();
    for name in ["etag", "hookbus-replay-id", "hookbus-erased-until"] {
        assert!(exposed.split(',').any(|it| it.trim() == name), "{name} is not in {exposed}");
    }
    let (_, headers, _) = origins(&["*"]).exchange(Method::GET, "/applications", &asking[..1], None).await;
    assert_eq!(headers["access-control-allow-origin"], "*");
}

#[tokio::test]
async fn the_document_is_served_to_everybody() {
    let api = Api::new();
    for path in ["/api/v1/openapi.json", "/api/v1/swagger.json/"] {
        let (status, document) = api.send(Request::get(path).body(Body::empty()).unwrap()).await;
        assert_eq!((status, document["openapi"].as_str()), (200, Some("3.1.0")), "{path}");
    }
}

#[tokio::test]
async fn a_query_parameter_is_not_given_twice() {
    let api = Api::new();
    let path = format!("/applications?organization_id={0}&organization_id={0}", Uuid::from_u128(ORGANIZATION));
    let (status, problem) = api.get(ADMIN, &path).await;
    assert_eq!((status, problem["code"].as_str()), (422, Some("invalid_field")));
    assert_eq!(api.get(ADMIN, "/applications?whatever=1&whatever=2").await.0, 200, "unknown ones are ignored");
    assert_eq!(api.get(ADMIN, "/applications?organization_id=").await.0, 404, "an empty value is a value");
}

#[tokio::test]
async fn a_control_plane_without_a_gateway_says_where_events_go() {
    let api = Api::new();
    for path in ["/event", "/events:batch"] {
        let (status, problem) = api.post(ADMIN, path, value!({})).await;
        assert_eq!((status, problem["detail"].as_str().unwrap().contains("gateway")), (404, true), "{path}");
    }
}

#[tokio::test]
async fn what_a_uid_does_not_settle_is_asked_for_and_never_answered_with_it_is_gone() {
    let api = Api::new();
    let (_, second) = api.post(ADMIN, "/organizations", value!({"name": "second"})).await;
    let mut ids = Vec::new();
    for organization in [value!(Uuid::from_u128(ORGANIZATION)), second["organization_id"].clone()] {
        let body = value!({"organization_id": organization, "name": "shop", "uid": "shop"});
        let (status, made) = api.post(ADMIN, "/applications", body).await;
        assert_eq!(status, 201, "{made}");
        ids.push(made["application_id"].as_str().unwrap().to_owned());
    }
    assert_eq!(api.get(ADMIN, "/applications/shop").await.0, 422);
    assert_eq!(api.delete(ADMIN, "/applications/shop").await, 422);
    assert_eq!(api.delete(ADMIN, "/subscriptions/one").await, 422, "of which application?");
    assert_eq!(api.delete(ADMIN, &format!("/applications/{}", ids[0])).await, 204);
    assert_eq!(api.get(ADMIN, "/applications/shop").await.1["application_id"], ids[1]);
    assert_eq!(api.delete(ADMIN, "/applications/shop").await, 204);
    assert_eq!(api.delete(ADMIN, "/applications/shop").await, 204);
}
