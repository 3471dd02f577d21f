//! What a subscription holds and does not show: signing secrets, authentication, secret headers.

use super::*;
use crate::custom_headers::MASK;

async fn made(api: &Api, tenant: &Tenant, change: impl FnOnce(&mut Value)) -> (String, Value) {
    let mut body = tenant.subscription();
    change(&mut body);
    let (status, made) = api.post(&tenant.token, "/subscriptions", body).await;
    assert_eq!(status, 201, "{made}");
    (format!("/subscriptions/{}", made["subscription_id"].as_str().unwrap()), made)
}

/// How many signatures a request made now would carry.
fn signatures(api: &Api, made: &Value, now_ms: i64) -> usize {
    let id = made["subscription_id"].as_str().unwrap().parse().unwrap();
    let found = Arc::clone(api.catalog.read().subscription(id).unwrap());
    let signer = found.signer(now_ms).unwrap();
    signer.standard("id", 1, signing::Body::from(&[b"x".as_slice()])).unwrap().split(' ').count()
}

#[tokio::test]
async fn a_rotated_secret_signs_beside_the_former_one_until_the_overlap_ends() {
    let api = Api::new();
    let tenant = api.tenant("one").await;
    let (path, first) = made(&api, &tenant, |_| {}).await;
    let (status, rotated) = api.call(&tenant.token, Method::POST, &format!("{path}/rotate_secret"), None).await;
    assert_eq!(status, 200, "{rotated}");
    assert_ne!(rotated["signing_secret"], first["signing_secret"]);
    assert_eq!(rotated["former_secrets"][0]["signing_secret"], first["signing_secret"]);
    let end: Timestamp = rotated["former_secrets"][0]["expires_at"].as_str().unwrap().parse().unwrap();
    let now_ms = chassis::clock::now_ms();
    let left_ms = end.as_millisecond() - now_ms;
    assert!((86_300_000..=86_400_000).contains(&left_ms), "{left_ms}");
    assert_eq!(signatures(&api, &first, now_ms), 2);
    assert_eq!(signatures(&api, &first, end.as_millisecond()), 1);
    // Sending back what was read changes nothing.
    let (status, same) = api.put(&tenant.token, &path, rotated.clone()).await;
    assert_eq!((status, &same), (200, &rotated));
    let request = value!({"secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "overlap_ms": 0});
    let (status, leaked) = api.post(&tenant.token, &format!("{path}/rotate_secret"), request).await;
    assert_eq!(status, 200, "{leaked}");
    assert_eq!(leaked["signing_secret"], "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    assert!(leaked.get("former_secrets").is_none());
    assert_eq!(signatures(&api, &first, now_ms), 1);
    let unknown = value!({"overlap_secs": 0});
    assert_eq!(api.post(&tenant.token, &format!("{path}/rotate_secret"), unknown).await.0, 422);
}

#[tokio::test]
async fn imported_secrets_of_every_form_are_used_as_they_are() {
    let api = Api::new();
    let tenant = api.tenant("one").await;
    let pair = signing::Ed25519Key::generate().unwrap();
    for secret in ["3b0b1bdc-1a26-4f5c-9a0f-0d5f7d0d7a11", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "any old text"] {
        let (_, shown) = made(&api, &tenant, |body| {
            body["secret"] = value!(secret);
            body["signing"] = value!(["standard", "ed25519"]);
            body["signing_private_key"] = value!(pair.expose());
        })
        .await;
        let expected = signing::Secret::parse(secret).unwrap();
        assert_eq!(shown["signing_secret"], expected.signing_secret().as_str());
        assert_eq!(shown["secret"], expected.display_uuid().to_string());
        assert_eq!(shown["signing_public_key"], pair.public().to_string());
        assert!(!shown.to_string().contains("whsk_"), "the private half is never shown");
    }
}

#[tokio::test]
async fn a_given_secret_is_trimmed_padded_or_refused_with_a_hint() {
    let api = Api::new();
    let tenant = api.tenant("one").await;
    let padded = "whsec_bm9ib2R5IGtub3dzIHRoaXMga2V5IQAAAA==";
    let (path, shown) =
        made(&api, &tenant, |body| body["secret"] = value!(format!(" {}\n", padded.trim_end_matches('=')))).await;
    assert_eq!(shown["signing_secret"], padded, "every verifier takes this");
    let rotate = format!("{path}/rotate_secret");
    for (secret, hint) in [
        ("v1,whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "leave that out"),
        ("WHSEC_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "lower case"),
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa-_", "URL-safe"),
        ("short", "at least 8 bytes"),
        ("   ", "must not be empty"),
    ] {
        for (status, answer) in [
            api.put(&tenant.token, &path, value!({"secret": secret})).await,
            api.post(&tenant.token, &rotate, value!({"secret": secret})).await,
        ] {
            assert_eq!(status, 422, "{secret}");
            assert!(answer["validation"]["secret"][0]["message"].as_str().unwrap().contains(hint), "{answer}");
        }
    }
    let (status, same) = api.post(&tenant.token, &rotate, value!({"secret": padded})).await;
    assert_eq!(status, 422, "it is the current one already: {same}");
}

#[tokio::test]
async fn an_auth_is_masked_kept_replaced_and_cleared() {
    let api = Api::new();
    let tenant = api.tenant("one").await;
    let (path, shown) = made(&api, &tenant, |body| {
        body["auth"] = value!({"type": "basic", "username": "u", "password": "p"});
    })
    .await;
    assert_eq!(shown["auth"], value!({"type": "basic", "username": "u", "password": MASK}));
    let opened = || {
        let id = shown["subscription_id"].as_str().unwrap().parse().unwrap();
        let found = Arc::clone(api.catalog.read().subscription(id).unwrap());
        match &found.target().unwrap().auth {
            Some(catalog::Auth::Basic { username, password }) => format!("{username}:{}", **password),
            Some(catalog::Auth::Bearer { token }) => token.to_string(),
            Some(catalog::Auth::Oauth2(_) | catalog::Auth::Mtls { .. }) => "other".to_owned(),
            None => "none".to_owned(),
        }
    };
    api.put(&tenant.token, &path, shown.clone()).await;
    assert_eq!(opened(), "u:p");
    assert_eq!(api.patch(&tenant.token, &path, value!({"auth": {"username": "v"}})).await.0, 200);
    assert_eq!(opened(), "v:p");
    let bearer = value!({"auth": {"type": "bearer", "token": "t"}});
    assert_eq!(api.patch(&tenant.token, &path, bearer).await.1["auth"], value!({"type": "bearer", "token": MASK}));
    assert_eq!(opened(), "t");
    assert_eq!(api.patch(&tenant.token, &path, value!({"auth": {"type": "basic", "username": "u"}})).await.0, 422);
    let twice = value!({"target": {"headers": {"Authorization": "x"}}});
    assert_eq!(api.patch(&tenant.token, &path, twice).await.0, 422, "two sources of one header");
    let (status, cleared) = api.patch(&tenant.token, &path, value!({"auth": null})).await;
    assert_eq!((status, cleared.get("auth")), (200, None));
    assert_eq!(opened(), "none");
}

#[tokio::test]
async fn a_secret_header_is_never_shown_again() {
    let api = Api::new();
    let tenant = api.tenant("one").await;
    let (path, shown) = made(&api, &tenant, |body| {
        body["target"]["headers"] = value!({"X-Blue": "hidden", "X-Open": "shown"});
        body["target"]["secret_headers"] = value!(["X-BLUE"]);
    })
    .await;
    assert_eq!(shown["target"]["headers"], value!({"x-blue": MASK, "x-open": "shown"}));
    assert_eq!(shown["target"]["secret_headers"], value!(["x-blue"]));
    let value_of = |name: &str| {
        let id = shown["subscription_id"].as_str().unwrap().parse().unwrap();
        let found = Arc::clone(api.catalog.read().subscription(id).unwrap());
        let target = found.target().unwrap();
        target.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.to_string())
    };
    for attempt in [
        value!({"target": {"secret_headers": []}}),
        value!({"target": {"secret_headers": null}}),
        value!({"target": {"headers": {"x-blue": MASK}, "secret_headers": []}}),
    ] {
        let (status, patched) = api.patch(&tenant.token, &path, attempt.clone()).await;
        assert_eq!((status, &patched["target"]["headers"]["x-blue"]), (200, &value!(MASK)), "{attempt}");
        assert_eq!(value_of("x-blue").as_deref(), Some("hidden"), "{attempt}");
    }
    let open = value!({"target": {"headers": {"x-blue": "new"}, "secret_headers": []}});
    assert_eq!(api.patch(&tenant.token, &path, open).await.1["target"]["headers"]["x-blue"], "new");
    let stray = value!({"target": {"secret_headers": ["x-other"]}});
    assert_eq!(api.patch(&tenant.token, &path, stray).await.0, 422);
    let gone = value!({"target": {"headers": {"X-Blue": null}}});
    assert_eq!(api.patch(&tenant.token, &path, gone).await.1["target"]["headers"], value!({"x-open": "shown"}));
    let none = value!({"target": {"headers": null}});
    assert_eq!(api.patch(&tenant.token, &path, none).await.1["target"]["headers"], value!({}));
}

#[tokio::test]
async fn a_viewer_sees_no_secret_and_what_it_saw_changes_none() {
    let api = Api::new();
    let tenant = api.tenant("one").await;
    let (path, first) = made(&api, &tenant, |_| {}).await;
    api.call(&tenant.token, Method::POST, &format!("{path}/rotate_secret"), None).await;
    let (_, shown) = api.get(&tenant.token, &path).await;
    let viewer = value!({"application_id": tenant.id, "name": "viewer", "role": "viewer"});
    let (status, viewer) = api.post(&tenant.token, "/application_secrets", viewer).await;
    assert_eq!(status, 201, "{viewer}");
    let viewer = viewer["token"].as_str().unwrap();
    let (status, seen) = api.get(viewer, &path).await;
    assert_eq!(status, 200, "{seen}");
    assert_eq!(seen["secret"], Uuid::nil().to_string(), "clients decode a UUID");
    let text = seen.to_string();
    for secret in [&first["secret"], &first["signing_secret"], &shown["secret"], &shown["signing_secret"]] {
        assert!(!text.contains(secret.as_str().unwrap()));
    }
    let (_, listed) = api.get(viewer, &format!("/subscriptions?application_id={}", tenant.id)).await;
    assert_eq!(listed, value!([seen]));
    for action in ["pause", "resume", "ping", "rotate_secret"] {
        assert_eq!(api.call(viewer, Method::POST, &format!("{path}/{action}"), None).await.0, 403, "{action}");
    }
    let (status, same) = api.put(&tenant.token, &path, seen).await;
    assert_eq!((status, &same["secret"]), (200, &shown["secret"]));
}
