//! Entity tags, patches, and reading one's own writes.

use super::*;

#[tokio::test]
async fn of_two_writers_over_one_version_the_second_loses() {
    let api = Api::new();
    let tenant = api.tenant("one").await;
    let path = format!("/applications/{}", tenant.id);
    let (_, headers, _) = api.exchange(Method::GET, &path, &[], None).await;
    let tag = headers["etag"].to_str().unwrap().to_owned();
    assert!(tag.len() == 34 && tag.starts_with('"'), "{tag}");
    let put = async |tag: &str, name: &str| {
        api.exchange(Method::PUT, &path, &[("if-match", tag)], Some(value!({"name": name}))).await
    };
    let (status, after, _) = put(&tag, "two").await;
    assert_eq!(status, 200);
    assert_ne!(after["etag"], headers["etag"]);
    let (status, _, problem) = put(&tag, "three").await;
    assert_eq!(
        (status, problem["id"].as_str(), problem["code"].as_str()),
        (412, Some("Validation"), Some("precondition_failed"))
    );
    assert_eq!(put("*", "four").await.0, 200);
    assert_eq!(put(&format!("W/{tag}"), "five").await.0, 412);
    assert_eq!(put("nonsense", "five").await.0, 422);
    assert_eq!(api.exchange(Method::DELETE, &path, &[("if-match", &tag)], None).await.0, 412);
    assert_eq!(api.exchange(Method::PATCH, &path, &[("if-match", &tag)], Some(value!({}))).await.0, 412);
    assert_eq!(api.get(ADMIN, &path).await.1["name"], "four");
    assert_eq!(put("*", "four").await.1["etag"], api.exchange(Method::GET, &path, &[], None).await.1["etag"]);
}

#[tokio::test]
async fn a_version_the_client_has_is_not_sent_again() {
    let api = Api::new();
    let tenant = api.tenant("one").await;
    for path in [
        format!("/organizations/{}", Uuid::from_u128(ORGANIZATION)),
        format!("/applications/{}", tenant.id),
        format!("/event_types/invoice.paid?application_id={}", tenant.id),
    ] {
        let (status, headers, _) = api.exchange(Method::GET, &path, &[], None).await;
        assert_eq!(status, 200, "{path}");
        let tag = headers["etag"].to_str().unwrap();
        let (status, headers, body) = api.exchange(Method::GET, &path, &[("if-none-match", tag)], None).await;
        assert_eq!((status, &body), (304, &Value::Null), "{path}");
        assert_eq!(headers["etag"].to_str().unwrap(), tag);
        assert_eq!(api.exchange(Method::GET, &path, &[("if-none-match", "\"other\"")], None).await.0, 200);
    }
}

#[tokio::test]
async fn an_upsert_can_insist_on_a_new_one_or_on_the_version_it_knows() {
    let api = Api::new();
    let tenant = api.tenant("one").await;
    let post = async |header: (&str, &str), name: &str| {
        let body = value!({"application_id": tenant.id, "name": name, "deprecated": true});
        api.exchange(Method::POST, "/event_types", &[header], Some(body)).await.0
    };
    assert_eq!(post(("if-none-match", "*"), "invoice.paid").await, 412);
    assert_eq!(post(("if-none-match", "*"), "invoice.sent").await, 201);
    assert_eq!(post(("if-match", "*"), "invoice.lost").await, 412);
    assert_eq!(post(("if-match", "*"), "invoice.paid").await, 201);
}

#[tokio::test]
async fn writes_name_the_version_that_later_requests_must_see() {
    let api = Api::new();
    let tenant = api.tenant("one").await;
    let path = format!("/applications/{}", tenant.id);
    let (_, headers, _) = api.exchange(Method::PATCH, &path, &[], Some(value!({"name": "two"}))).await;
    let token = headers["hookbus-consistency-token"].to_str().unwrap().to_owned();
    assert_eq!(token, api.catalog.position().to_string());
    let read = async |token: &str| {
        let (status, headers, body) =
            api.exchange(Method::GET, &path, &[("hookbus-consistency-token", token)], None).await;
        assert!(!headers.contains_key("hookbus-consistency-token"), "reads answer none");
        (status, body["code"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(read(&token).await.0, 200);
    assert_eq!(read("999999").await, (412, "precondition_failed".to_owned()), "no write of this installation");
    for bad in ["", "-1", "1.5", "x", "99999999999999999999"] {
        assert_eq!(read(bad).await, (422, "invalid_field".to_owned()), "{bad}");
    }
}

#[tokio::test]
async fn what_makes_something_new_refuses_a_version_that_it_builds_on() {
    let api = Api::new();
    let tenant = api.tenant("one").await;
    let batch = value!({"application_id": tenant.id, "subscriptions": [tenant.subscription()]});
    let before = api.catalog.position();
    for tag in ["*", "\"0000\""] {
        let posted =
            api.exchange(Method::POST, "/subscriptions:batch", &[("if-match", tag)], Some(batch.clone())).await;
        assert_eq!((posted.0, posted.2["code"].as_str()), (412, Some("precondition_failed")), "{tag}");
    }
    assert_eq!(api.catalog.position(), before, "nothing was made");
    assert_eq!(api.exchange(Method::POST, "/subscriptions:batch", &[("if-none-match", "*")], Some(batch)).await.0, 200);
}

#[tokio::test]
async fn a_job_is_changed_as_it_was_seen_or_not_at_all() {
    let (api, _store) = Api::with_log();
    let tenant = api.tenant("one").await;
    let asked = value!({"application_id": tenant.id, "filter": {}});
    let insisting =
        api.exchange(Method::POST, "/dead_letters:redrive", &[("if-match", "*")], Some(asked.clone())).await;
    assert_eq!(insisting.0, 412, "it is not there yet");
    let (status, job) = api.post(ADMIN, "/dead_letters:redrive", asked).await;
    assert_eq!(status, 202, "{job}");
    let path = format!("/jobs/{}", job["job_id"].as_str().unwrap());
    let (_, headers, _) = api.exchange(Method::GET, &path, &[], None).await;
    let seen = headers["etag"].to_str().unwrap().to_owned();
    let ask = async |verb: &str, tag: &str| {
        let (status, headers, answer) =
            api.exchange(Method::POST, &format!("{path}/{verb}"), &[("if-match", tag)], None).await;
        (status, headers.get("etag").map(|tag| tag.to_str().unwrap().to_owned()), answer)
    };
    let (status, paused, _) = ask("pause", &seen).await;
    assert!(status == 200 && paused.is_some() && paused.as_ref() != Some(&seen), "{paused:?}");
    let (status, _, problem) = ask("resume", &seen).await;
    assert_eq!((status, &problem["code"]), (412, &value!("precondition_failed")), "it is paused since");
    assert_eq!(api.get(ADMIN, &path).await.1["state"], "paused");
    let (status, resumed, _) = ask("resume", &paused.unwrap()).await;
    assert_eq!((status, resumed), (200, Some(seen)), "it is again what was asked for first");
    assert_eq!(ask("cancel", "\"other\"").await.0, 412);
    assert_eq!(ask("cancel", "nonsense").await.0, 422);
    assert_eq!(ask("cancel", "*").await.0, 200);
}
