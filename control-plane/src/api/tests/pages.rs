//! Lists in pages, and what leaves rows out.

use super::*;

/// The ids of each page, as a client follows `Link`.
async fn pages(api: &Api, path: &str, id: &str) -> Vec<Vec<String>> {
    let (mut pages, mut next) = (Vec::new(), Some(path.to_owned()));
    while let Some(path) = next {
        let (status, headers, list) = api.exchange(Method::GET, &path, &[], None).await;
        assert_eq!(status, 200, "{list}");
        pages.push(list.as_array().unwrap().iter().map(|it| it[id].as_str().unwrap().to_owned()).collect());
        assert!(pages.len() < 100, "a list ends");
        next = headers.get(header::LINK).map(|link| {
            let link = link.to_str().unwrap().strip_suffix(">; rel=\"next\"").unwrap();
            link.strip_prefix("</api/v1").unwrap().to_owned()
        });
    }
    pages
}

#[tokio::test]
async fn every_list_comes_in_pages_that_together_are_the_whole_one() {
    let api = Api::new();
    let tenant = api.tenant("one").await;
    let id = tenant.id.as_str();
    let organization = Uuid::from_u128(ORGANIZATION);
    for number in 0..4 {
        let name = format!("number {number}");
        let post = async |path: &str, body: Value| {
            let (status, answer) = api.post(ADMIN, path, body).await;
            assert_eq!(status, 201, "{path}: {answer}");
        };
        post("/organizations", value!({"name": name})).await;
        post("/applications", value!({"organization_id": organization, "name": name})).await;
        post("/application_secrets", value!({"application_id": id, "name": name})).await;
        post("/service_token", value!({"organization_id": organization, "name": name})).await;
        post("/event_types", value!({"application_id": id, "name": format!("number.n{number}")})).await;
        post("/subscriptions", tenant.subscription()).await;
    }
    let lists = [
        ("/organizations?".to_owned(), "organization_id", 5),
        ("/applications?".to_owned(), "application_id", 5),
        (format!("/applications?organization_id={organization}&"), "application_id", 5),
        (format!("/application_secrets?application_id={id}&"), "secret_id", 5),
        (format!("/service_token?organization_id={organization}&"), "token_id", 4),
        (format!("/event_types?application_id={id}&"), "event_type_name", 5),
        (format!("/subscriptions?application_id={id}&"), "subscription_id", 4),
    ];
    for (path, name, count) in lists {
        let whole = pages(&api, &path, name).await;
        assert_eq!((whole.len(), whole[0].len()), (1, count), "{path}");
        let cut = pages(&api, &format!("{path}limit=2"), name).await;
        assert_eq!(cut.len(), count.div_ceil(2), "{path}");
        assert_eq!(cut.concat(), whole[0], "{path}");
        let (status, problem) = api.get(ADMIN, &format!("{path}limit=0")).await;
        assert_eq!((status, problem["code"].as_str()), (422, Some("invalid_field")), "{path}");
    }
}

#[tokio::test]
async fn a_list_leaves_out_what_does_not_fit() {
    let api = Api::new();
    let tenant = api.tenant("one shop").await;
    let id = tenant.id.as_str();
    for (uid, url, enabled) in [("a", "https://one.example.com/", true), ("b", "https://two.example.com/x", false)] {
        let mut body = tenant.subscription();
        body["uid"] = value!(uid);
        body["target"]["url"] = value!(url);
        body["is_enabled"] = value!(enabled);
        assert_eq!(api.post(ADMIN, "/subscriptions", body).await.0, 201);
    }
    let uids = async |query: &str| {
        pages(&api, &format!("/subscriptions?application_id={id}&limit=1&{query}"), "uid").await.concat().join(" ")
    };
    assert_eq!(uids("").await, "a b");
    assert_eq!(uids("is_enabled=true").await, "a");
    assert_eq!(uids("is_enabled=false").await, "b");
    assert_eq!(uids("uid=b").await, "b");
    assert_eq!(uids("host=TWO.example.com").await, "b");
    assert_eq!(uids("host=example.com").await, "");
    assert_eq!(uids("disabled_reason=gone").await, "");
    assert_eq!(uids("host=one.example.com&is_enabled=true&event_type=invoice.paid").await, "a");
    let (status, _) = api.get(ADMIN, &format!("/subscriptions?application_id={id}&is_enabled=1")).await;
    assert_eq!(status, 422);
    let names = async |query: &str| pages(&api, &format!("/applications?{query}"), "name").await.concat();
    assert_eq!(names("name=SHOP").await, ["one shop"]);
    assert!(names("name=none").await.is_empty());
    assert!(names("uid=none").await.is_empty());
}

#[tokio::test]
async fn who_shows_no_token_is_told_how() {
    let api = Api::new();
    let request = Request::builder().uri("/api/v1/applications").body(Body::empty()).unwrap();
    let response = api.router.clone().oneshot(request).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()[header::WWW_AUTHENTICATE]),
        (401, &HeaderValue::from_static("Bearer"))
    );
}

#[tokio::test]
async fn a_request_looks_at_so_many_and_its_page_names_the_next_one() {
    let api = Api::new();
    let tenant = api.tenant("one").await;
    for number in 0..250 {
        let mut body = tenant.subscription();
        body["uid"] = value!(format!("{number:03}"));
        assert_eq!(api.post(ADMIN, "/subscriptions", body).await.0, 201);
    }
    let list = format!("/subscriptions?application_id={}", tenant.id);
    // A host stands in what is packed: a hundred of them are what the tests' requests may look at.
    let rows = async |query: &str| -> Vec<usize> {
        pages(&api, &format!("{list}&limit=150&{query}"), "uid").await.iter().map(Vec::len).collect()
    };
    assert_eq!(rows("host=example.com").await, [100, 100, 50]);
    assert_eq!(rows("host=none.example.com").await, [0, 0, 0]);
    assert_eq!(rows("host=example.com&event_type=none.there").await, [0], "what stands open is looked at first");
    assert_eq!(rows("label_key=environment").await, [150, 100]);
    assert_eq!(rows("host=example.com&uid=249").await, [1], "a uid is looked up");
    let (status, problem) = api.get(ADMIN, &format!("{list}&host=example.com")).await;
    assert_eq!(status, 422);
    assert!(problem["validation"]["limit"][0]["message"].as_str().unwrap().contains("`Link`"), "{problem}");
    assert_eq!(api.get(ADMIN, &format!("{list}&event_type=invoice.paid")).await.1.as_array().unwrap().len(), 250);
}

#[tokio::test]
async fn an_organization_reads_so_many_lists_at_once() {
    let api = Api::new();
    let tenant = api.tenant("one").await;
    let list = format!("/subscriptions?application_id={}", tenant.id);
    let organization = Some(OrganizationId(Uuid::from_u128(ORGANIZATION)));
    let mut turns = Vec::new();
    for _ in 0..4 {
        turns.push(api.app.turns().lists.take(organization).await.unwrap());
    }
    let (status, problem) = api.get(&tenant.token, &list).await;
    assert_eq!((status, problem["id"].as_str()), (429, Some("RateLimited")), "{problem}");
    assert_eq!(api.get(ADMIN, &list).await.0, 200, "the admin key takes no turns");
    turns.pop();
    assert_eq!(api.get(&tenant.token, &list).await.0, 200);
    assert_eq!(api.get(&tenant.token, &list).await.0, 200, "a turn ends with its answer");
}
