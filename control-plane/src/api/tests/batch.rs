//! Many subscriptions at once, and what a token is.

use super::*;

#[tokio::test]
async fn a_batch_answers_each_for_itself_and_sees_what_it_has_made() {
    let api = Api::new();
    let tenant = api.tenant("one").await;
    let one = |uid: &str| {
        let mut body = tenant.subscription();
        body["uid"] = value!(uid);
        body.as_object_mut().unwrap().remove("application_id");
        body
    };
    let mut unknown = one("c");
    unknown["event_types"] = value!(["invoice.unknown"]);
    let body = value!({"application_id": tenant.id, "subscriptions": [one("a"), one("b"), one("a"), unknown, 7]});
    let (status, tried) = api.post(&tenant.token, "/subscriptions:batch?dry_run=true", body.clone()).await;
    let statuses = |answer: &Value| -> Vec<u64> {
        answer["results"].as_array().unwrap().iter().map(|it| it["status"].as_u64().unwrap()).collect()
    };
    assert_eq!((status, statuses(&tried)), (200, vec![201, 201, 409, 400, 422]));
    let path = format!("/subscriptions?application_id={}", tenant.id);
    assert_eq!(api.get(ADMIN, &path).await.1, value!([]), "a trial writes nothing");
    let (status, made) = api.post(&tenant.token, "/subscriptions:batch", body).await;
    assert_eq!((status, statuses(&made)), (200, vec![201, 201, 409, 400, 422]), "{made}");
    assert_eq!(made["results"][2]["problem"]["code"], "taken");
    let shown = api.get(&tenant.token, &path).await.1;
    assert_eq!(shown, value!([made["results"][0]["subscription"], made["results"][1]["subscription"]]));
    let many = value!({"application_id": tenant.id, "subscriptions": vec![one("x"); 1_001]});
    let (status, problem) = api.post(ADMIN, "/subscriptions:batch", many).await;
    // Larger than the tests' limit of a body, or more than fit.
    assert!(status == 413 || status == 422, "{problem}");
    assert_eq!(api.post(ADMIN, "/subscriptions:batch", value!({"subscriptions": []})).await.0, 422);
}

#[tokio::test]
async fn a_token_learns_what_it_is() {
    let api = Api::new();
    let tenant = api.tenant("one").await;
    assert_eq!(api.get(ADMIN, "/token").await.1, value!({"kind": "admin_key", "role": "editor"}));
    let (status, own) = api.get(&tenant.token, "/token").await;
    assert_eq!((status, own["kind"].as_str(), own["role"].as_str()), (200, Some("application_secret"), Some("editor")));
    assert_eq!((own["application_id"].as_str(), own["name"].as_str()), (Some(tenant.id.as_str()), Some("Default")));
    assert!(own.get("expires_at").is_none() && !own.to_string().contains(&tenant.token));
}

#[tokio::test]
async fn nothing_is_made_for_who_insists_on_what_is_there() {
    let api = Api::new();
    let tenant = api.tenant("one").await;
    let organization = Uuid::from_u128(ORGANIZATION);
    let posts = [
        ("/organizations", value!({"name": "new"})),
        ("/applications", value!({"organization_id": organization, "name": "new"})),
        ("/application_secrets", value!({"application_id": tenant.id, "name": "new"})),
        ("/service_token", value!({"organization_id": organization, "name": "new"})),
        ("/subscriptions", tenant.subscription()),
    ];
    let before = api.catalog.position();
    for (path, body) in posts {
        let (status, _, problem) =
            api.exchange(Method::POST, path, &[("if-match", "\"00000000000000000000000000000000\"")], Some(body)).await;
        assert_eq!((status, problem["code"].as_str()), (412, Some("precondition_failed")), "{path}");
    }
    assert_eq!(api.catalog.position(), before);
}

#[tokio::test]
async fn others_are_answered_while_the_filters_of_a_batch_are_compiled() {
    let api = Api::new();
    let tenant = api.tenant("one").await;
    let mut one = tenant.subscription();
    one["filter"] = value!("type == 'invoice.paid'");
    let batch = value!({"application_id": tenant.id, "subscriptions": vec![one; 50]});
    let before = crate::subscription::compiled();
    let making = api.post(&tenant.token, "/subscriptions:batch", batch);
    let reading = async {
        let answer = api.get(&tenant.token, &format!("/applications/{}", tenant.id)).await;
        (answer.0, crate::subscription::compiled() - before)
    };
    let (made, (status, compiled)) = tokio::join!(making, reading);
    assert_eq!((made.0, status), (200, 200));
    assert!(compiled < 50, "all were compiled before anybody else was served");
    assert_eq!(crate::subscription::compiled() - before, 50);
}
