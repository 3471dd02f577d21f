//! Application secrets and service tokens: made, shown, changed, rotated, expired, revoked.

use chassis::clock;

use super::*;

fn organization() -> Uuid {
    Uuid::from_u128(ORGANIZATION)
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("no {field} in {value}"))
}

/// RFC 3339, so many milliseconds from now.
fn ahead(ms: i64) -> String {
    time(clock::now_ms() + ms)
}

#[tokio::test]
async fn a_service_token_is_shown_once_and_masked_afterwards() {
    let api = Api::new();
    let body = value!({"organization_id": organization(), "name": "ci"});
    let (status, made) = api.post(ADMIN, "/service_token/", body).await;
    assert_eq!((status, text(&made, "name"), text(&made, "role")), (201, "ci", "editor"));
    let token = text(&made, "biscuit").to_owned();
    assert!(token.len() >= 43, "256 bits: {token}");
    let path = format!("/service_token/{}?organization_id={}", text(&made, "token_id"), organization());
    let (status, shown) = api.get(ADMIN, &path).await;
    assert_eq!(status, 200);
    let masked = text(&shown, "biscuit");
    assert!(masked != token && masked.ends_with("***") && !token.starts_with(masked), "{masked}");
    let (_, listed) = api.get(&token, &format!("/service_token?organization_id={}", organization())).await;
    assert_eq!(listed[0]["biscuit"], masked);
    assert!(listed[0]["last_used_at"].is_string(), "it was used a moment ago: {listed}");
    assert!(shown["last_used_at"].is_null() && shown["expires_at"].is_null(), "{shown}");
    assert_eq!(listed[0]["created_at"], made["created_at"]);
}

#[tokio::test]
async fn a_service_token_opens_its_organization_and_is_revoked_at_once() {
    let api = Api::new();
    let tenant = api.tenant("one").await;
    let body = value!({"organization_id": organization(), "name": "ci"});
    let (_, made) = api.post(ADMIN, "/service_token", body).await;
    let token = text(&made, "biscuit").to_owned();
    let path = format!("/applications/{}", tenant.id);
    assert_eq!(api.get(&token, &path).await.0, 200);
    let (status, shown) =
        api.post(&token, "/applications", value!({"organization_id": organization(), "name": "two"})).await;
    assert_eq!(status, 201, "{shown}");
    let own = format!("/service_token/{}", text(&made, "token_id"));
    let (status, renamed) = api.put(&token, &own, value!({"organization_id": organization(), "name": "cd"})).await;
    assert_eq!((status, text(&renamed, "name"), text(&renamed, "role")), (200, "cd", "editor"));
    let (status, renamed) = api.call(&token, Method::PATCH, &own, Some(value!({"role": "viewer"}))).await;
    assert_eq!((status, text(&renamed, "name"), text(&renamed, "role")), (200, "cd", "viewer"));
    assert_eq!(api.put(&token, &own, value!({"name": "x"})).await.0, 403, "it may only read now");
    assert_eq!(api.get(&token, &path).await.0, 200);
    let own = format!("{own}?organization_id={}", organization());
    assert_eq!(api.delete(ADMIN, &own).await, 204);
    assert_eq!(api.delete(ADMIN, &own).await, 204);
    let (status, problem) = api.get(&token, &path).await;
    assert_eq!((status, text(&problem, "id")), (403, "AuthInvalidBiscuit"));
}

#[tokio::test]
async fn roles_are_held() {
    let api = Api::new();
    let tenant = api.tenant("one").await;
    let role = async |role: &str| {
        let body = value!({"application_id": tenant.id, "name": role, "role": role});
        let (status, made) = api.post(&tenant.token, "/application_secrets", body).await;
        assert_eq!((status, text(&made, "role")), (201, role));
        text(&made, "token").to_owned()
    };
    let (ingest, viewer) = (role("ingest").await, role("viewer").await);
    let list = format!("/application_secrets?application_id={}", tenant.id);
    let path = format!("/applications/{}", tenant.id);
    assert_eq!(api.get(&ingest, &path).await.0, 403);
    assert_eq!(api.get(&viewer, &path).await.0, 200);
    assert_eq!(api.put(&viewer, &path, value!({"name": "other"})).await.0, 403);
    let (status, shown) = api.get(&viewer, &list).await;
    assert_eq!(status, 200);
    let nil = Uuid::nil().to_string();
    assert!(shown.as_array().unwrap().iter().all(|it| it["token"] == nil), "{shown}");
    assert!(api.get(&tenant.token, &list).await.1.as_array().unwrap().iter().all(|it| it["token"] != nil));
    let bad = value!({"application_id": tenant.id, "role": "root"});
    assert_eq!(api.post(&tenant.token, "/application_secrets", bad).await.0, 422);
}

#[tokio::test]
async fn an_expired_token_is_as_unknown_as_one_that_never_was() {
    let api = Api::new();
    let tenant = api.tenant("one").await;
    let never = Uuid::new_v4().to_string();
    let past = value!({"application_id": tenant.id, "expires_at": ahead(-1_000)});
    let (status, dead) = api.post(&tenant.token, "/application_secrets", past).await;
    assert_eq!(status, 201, "{dead}");
    let path = format!("/applications/{}", tenant.id);
    assert_eq!(api.get(text(&dead, "token"), &path).await, api.get(&never, &path).await);
    assert_eq!(api.get(text(&dead, "token"), &path).await.0, 403);

    let soon = value!({"application_id": tenant.id, "expires_at": ahead(3_600_000)});
    let (status, made) = api.post(&tenant.token, "/application_secrets", soon).await;
    assert_eq!(status, 201, "{made}");
    assert_eq!(api.get(text(&made, "token"), &path).await.0, 200);
    let bad = value!({"application_id": tenant.id, "expires_at": "tomorrow"});
    assert_eq!(api.post(&tenant.token, "/application_secrets", bad).await.0, 422);
    let path = format!("/application_secrets/{}", text(&made, "secret_id"));
    let same = value!({"application_id": tenant.id, "expires_at": made["expires_at"]});
    assert_eq!(api.put(&tenant.token, &path, same).await.1["expires_at"], made["expires_at"]);
    let (status, endless) =
        api.put(&tenant.token, &path, value!({"application_id": tenant.id, "expires_at": null})).await;
    assert_eq!(status, 200);
    assert!(endless["expires_at"].is_null() && endless["name"].is_null(), "{endless}");
}

#[tokio::test]
async fn a_rotation_leaves_both_open_until_the_overlap_ends() {
    let api = Api::new();
    let tenant = api.tenant("one").await;
    let path = format!("/applications/{}", tenant.id);
    let rotate = format!("/application_secrets/{}/rotate", tenant.token);
    let (status, next) = api.post(&tenant.token, &rotate, value!({"application_id": tenant.id})).await;
    assert_eq!((status, text(&next, "name")), (201, "Default"));
    let next = text(&next, "token").to_owned();
    assert_eq!((api.get(&tenant.token, &path).await.0, api.get(&next, &path).await.0), (200, 200));
    let (_, listed) = api.get(&next, &format!("/application_secrets?application_id={}", tenant.id)).await;
    assert!(listed[0]["expires_at"].is_string() && listed[1]["expires_at"].is_null(), "{listed}");

    let rotate = format!("/application_secrets/{next}/rotate");
    let (status, last) = api.post(&next, &rotate, value!({"application_id": tenant.id, "overlap_ms": 0})).await;
    assert_eq!(status, 201);
    assert_eq!(api.get(&next, &path).await.0, 403, "without an overlap the former one ends at once");
    assert_eq!(api.get(text(&last, "token"), &path).await.0, 200);
    assert_eq!(api.get(&tenant.token, &path).await.0, 200, "the one before goes on");

    let (_, made) = api.post(ADMIN, "/service_token", value!({"organization_id": organization(), "name": "ci"})).await;
    let rotate = format!("/service_token/{}/rotate", text(&made, "token_id"));
    let (status, next) = api.post(text(&made, "biscuit"), &rotate, value!({"overlap_ms": 60_000})).await;
    assert_eq!((status, text(&next, "name")), (201, "ci"));
    for token in [&made, &next] {
        assert_eq!(api.get(text(token, "biscuit"), &path).await.0, 200);
    }
    let over = value!({"organization_id": organization(), "overlap_ms": 604_800_001});
    assert_eq!(api.post(ADMIN, &rotate, over).await.0, 422);
}

#[tokio::test]
async fn tokens_of_another_system_are_taken_as_they_are() {
    let api = Api::new();
    let tenant = api.tenant("one").await;
    let path = format!("/applications/{}", tenant.id);
    let (uuid, id) = (Uuid::new_v4(), Uuid::now_v7());
    let body = value!({"application_id": tenant.id, "token": uuid, "secret_id": id});
    let (status, made) = api.post(ADMIN, "/application_secrets", body.clone()).await;
    assert_eq!((status, made["token"].clone(), made["secret_id"].clone()), (201, value!(uuid), value!(id)));
    assert_eq!(api.get(&uuid.to_string(), &path).await.0, 200);
    assert_eq!(api.post(ADMIN, "/application_secrets", body).await.0, 409, "its id is taken");
    for taken in [uuid.to_string(), ADMIN.to_owned()] {
        let body = value!({"application_id": tenant.id, "token": taken});
        assert_eq!(api.post(ADMIN, "/application_secrets", body).await.0, 409, "{taken} opens something else");
    }
    for bad in ["too-short", "with a space in the middle", ""] {
        let body = value!({"application_id": tenant.id, "token": bad});
        assert_eq!(api.post(ADMIN, "/application_secrets", body).await.0, 422, "{bad}");
    }

    let other = "sk_live_0123456789abcdef";
    let body = value!({"application_id": tenant.id, "token": other});
    let (status, made) = api.post(ADMIN, "/application_secrets", body).await;
    assert_eq!((status, text(&made, "value")), (201, other));
    assert_eq!(made["token"], made["secret_id"], "clients decode a UUID");
    assert_eq!(api.get(other, &path).await.0, 200);
    let delete = format!("/application_secrets/{}?application_id={}", text(&made, "token"), tenant.id);
    assert_eq!(api.delete(&tenant.token, &delete).await, 204);
    assert_eq!(api.get(other, &path).await.0, 403);

    let body = value!({"organization_id": organization(), "name": "old", "token": "an-old-service-token"});
    let (status, made) = api.post(ADMIN, "/service_token", body).await;
    assert_eq!((status, text(&made, "biscuit")), (201, "an-old-service-token"));
    assert_eq!(api.get("an-old-service-token", &path).await.0, 200);
}

#[tokio::test]
async fn a_lost_race_over_a_token_is_a_412() {
    let api = Api::new();
    let (_, made) = api.post(ADMIN, "/service_token", value!({"organization_id": organization(), "name": "ci"})).await;
    let path = format!("/api/v1/service_token/{}", text(&made, "token_id"));
    let put = |tag: &str, name: &str| {
        Request::builder()
            .method(Method::PUT)
            .uri(&path)
            .header("authorization", format!("Bearer {ADMIN}"))
            .header("content-type", "application/json")
            .header("if-match", tag)
            .body(Body::from(value!({"organization_id": organization(), "name": name}).to_string()))
            .unwrap()
    };
    assert_eq!(api.send(put("\"00000000000000000000000000000000\"", "lost")).await.0, 412);
    assert_eq!(api.send(put("*", "won")).await.0, 200);
}

#[tokio::test]
async fn a_given_id_of_a_secret_is_one_secrets_alone() {
    let api = Api::new();
    let (one, two) = (api.tenant("one").await, api.tenant("two").await);
    let id = Uuid::now_v7();
    let make = async |tenant: &Tenant| {
        api.post(ADMIN, "/application_secrets", value!({"application_id": tenant.id, "secret_id": id})).await.0
    };
    assert_eq!(make(&one).await, 201);
    assert_eq!(make(&one).await, 409);
    assert_eq!(make(&two).await, 409, "its uses and its entries in the audit would be taken for the other's");
}

#[tokio::test]
async fn a_token_with_an_end_makes_nothing_that_lives_longer() {
    let api = Api::new();
    let soon = ahead(3_600_000);
    let body = value!({"organization_id": organization(), "name": "ending", "expires_at": soon});
    let (_, ending) = api.post(ADMIN, "/service_token", body).await;
    let (token, end) = (text(&ending, "biscuit").to_owned(), ending["expires_at"].clone());
    let own = format!("/service_token/{}", text(&ending, "token_id"));
    for expires_at in [value!(null), value!(ahead(7_200_000))] {
        assert_eq!(api.put(&token, &own, value!({"expires_at": expires_at})).await.0, 403, "its own end stays");
        let (status, problem) =
            api.post(&token, "/service_token", value!({"name": "next", "expires_at": ahead(7_200_000)})).await;
        assert_eq!(status, 403, "{problem}");
    }
    assert_eq!(api.put(&token, &own, value!({"name": "renamed", "expires_at": end})).await.0, 200, "as it is");
    let (_, next) = api.post(&token, "/service_token", value!({"name": "next"})).await;
    assert_eq!(next["expires_at"], end, "what says nothing of an end has the same");
    let tenant = api.tenant("one").await;
    let (_, secret) = api.post(&token, "/application_secrets", value!({"application_id": tenant.id})).await;
    assert_eq!(secret["expires_at"], end, "{secret}");
    let rotate = format!("/application_secrets/{}/rotate", tenant.token);
    let (_, successor) = api.post(&token, &rotate, value!({"application_id": tenant.id})).await;
    assert_eq!(successor["expires_at"], end, "{successor}");
    assert!(
        api.put(ADMIN, &own, value!({"organization_id": organization(), "expires_at": null})).await.1["expires_at"]
            .is_null()
    );
}

#[tokio::test]
async fn a_token_with_an_end_leaves_no_editor_behind_that_has_none() {
    let api = Api::new();
    let tenant = api.tenant("one").await;
    let body = value!({"organization_id": organization(), "name": "ending", "expires_at": ahead(3_600_000)});
    let (_, ending) = api.post(ADMIN, "/service_token", body).await;
    let (token, end) = (text(&ending, "biscuit").to_owned(), ending["expires_at"].clone());

    let (status, made) = api.post(&token, "/applications", value!({"name": "mine"})).await;
    assert_eq!(status, 201, "{made}");
    let list = format!("/application_secrets?application_id={}", text(&made, "application_id"));
    let (_, secrets) = api.get(&token, &list).await;
    assert_eq!((secrets.as_array().map(Vec::len), &secrets[0]["expires_at"]), (Some(1), &end), "{secrets}");

    let viewer = value!({"organization_id": organization(), "name": "reader", "role": "viewer"});
    let (_, viewer) = api.post(ADMIN, "/service_token", viewer).await;
    let secret = value!({"application_id": tenant.id, "role": "ingest"});
    let (_, secret) = api.post(ADMIN, "/application_secrets", secret).await;
    for (path, owner) in [
        (format!("/service_token/{}", text(&viewer, "token_id")), value!({})),
        (format!("/application_secrets/{}", text(&secret, "secret_id")), value!({"application_id": tenant.id})),
    ] {
        let with = |role: &str, expires_at: Option<&Value>| {
            let mut body = owner.clone();
            body["role"] = value!(role);
            if let Some(end) = expires_at {
                body["expires_at"] = end.clone();
            }
            body
        };
        let (status, problem) = api.put(&token, &path, with("editor", None)).await;
        assert_eq!((status, problem["validation"]["role"].is_null()), (403, false), "{path}: {problem}");
        assert_eq!(api.put(&token, &path, with("editor", Some(&end))).await.0, 200, "{path}: that ends with it");
        assert_eq!(api.put(&token, &path, with("viewer", None)).await.0, 200, "{path}: less is no more");
    }
}

#[tokio::test]
async fn a_token_with_an_end_is_not_shown_what_opens_after_it() {
    let api = Api::new();
    let tenant = api.tenant("one").await;
    let body = value!({"organization_id": organization(), "name": "ending", "expires_at": ahead(3_600_000)});
    let (_, ending) = api.post(ADMIN, "/service_token", body).await;
    let token = text(&ending, "biscuit").to_owned();
    let (_, made) = api.post(&token, "/application_secrets", value!({"application_id": tenant.id})).await;
    let list = format!("/application_secrets?application_id={}", tenant.id);
    let nil = value!(Uuid::nil());
    let shown = async |token: &str| {
        let (_, listed) = api.get(token, &list).await;
        listed.as_array().unwrap().iter().map(|it| it["token"] == nil).collect::<Vec<bool>>()
    };
    assert_eq!(shown(&token).await, [true, false], "its own ends with it, the first one never does");
    assert_eq!(shown(&tenant.token).await, [false, false]);
    assert_eq!(shown(ADMIN).await, [false, false]);
    let path = format!("/application_secrets/{}", tenant.token);
    let (status, renamed) = api.put(&token, &path, value!({"application_id": tenant.id, "name": "renamed"})).await;
    assert_eq!((status, &renamed["token"]), (200, &nil), "{renamed} beside {made}");
}

#[tokio::test]
async fn what_a_dry_run_makes_does_not_look_like_a_token() {
    let api = Api::new();
    let body = value!({"organization_id": organization(), "name": "ci"});
    let (status, made) = api.post(ADMIN, "/service_token?dry_run=true", body).await;
    assert_eq!((status, text(&made, "biscuit").ends_with("********")), (201, true), "{made}");
    let tenant = api.tenant("one").await;
    let path = "/application_secrets?dry_run=true";
    let (_, made) = api.post(&tenant.token, path, value!({"application_id": tenant.id})).await;
    assert_eq!(made["token"], value!(Uuid::nil()), "{made}");
}

#[tokio::test]
async fn one_character_over_and_over_is_no_token() {
    let api = Api::new();
    let body = value!({"organization_id": organization(), "name": "weak", "token": "aaaaaaaaaaaaaaaaaaaaaaaa"});
    assert_eq!(api.post(ADMIN, "/service_token", body).await.0, 422);
}

#[tokio::test]
async fn a_token_that_was_revoked_while_its_write_waited_writes_nothing() {
    let api = Api::new();
    let tenant = api.tenant("one").await;
    let lookup = api.catalog.vault().lookup(&tenant.token);
    let entry = Arc::clone(api.catalog.read().token(&lookup).unwrap());
    let secret = schemas::ids::SecretId(entry.token);
    let token = crate::actor::ActorToken::Application(tenant.id.parse().unwrap(), secret);
    let actor = || crate::actor::Actor::from("test".to_owned()).with_token(Some(token));
    let write = async || {
        let decide = |_: &catalog::Snapshot, _: crate::store::Moment| Ok(crate::store::Decision::nothing(()));
        api.app.store().write(actor(), decide).await.map_err(|problem| problem.status)
    };
    assert_eq!(write().await, Ok(()));
    let path = format!("/application_secrets/{secret}?application_id={}", tenant.id);
    assert_eq!(api.delete(ADMIN, &path).await, 204);
    assert_eq!(write().await, Err(403));
}

#[tokio::test]
async fn who_is_unknown_learns_nothing_of_the_log() {
    let api = Api::new();
    let tenant = api.tenant("one").await;
    let known = tenant.token.as_str();
    // What no answer carried is said to everybody: it tells nothing.
    for (token, named, status, tells) in
        [("nobody", "999999", 403, false), (known, "999999", 412, true), ("nobody", "x", 422, false)]
    {
        let request = Request::post("/api/v1/event_types")
            .header("authorization", format!("Bearer {token}"))
            .header("hookbus-consistency-token", named)
            .body(Body::from("{}"))
            .unwrap();
        let response = api.router.clone().oneshot(request).await.unwrap();
        assert_eq!(
            (response.status().as_u16(), response.headers().contains_key("hookbus-consistency-token")),
            (status, tells)
        );
    }
}

#[tokio::test]
async fn an_admin_key_is_replaced_while_both_open() {
    let api = Api::new();
    for key in [ADMIN, SECOND_ADMIN] {
        assert_eq!(api.get(key, "/token").await.1, value!({"kind": "admin_key", "role": "editor"}), "{key}");
        assert_eq!(api.get(key, "/instances").await.0, 200, "{key}");
        let body = value!({"organization_id": organization(), "name": "other", "token": key});
        assert_eq!(api.post(ADMIN, "/service_token", body).await.0, 409, "{key} opens something else");
    }
}
