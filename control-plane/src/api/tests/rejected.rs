//! What could not be used: who sees it, how it is shown, and who may have it planned again.

use bytes::Bytes;
use schemas::ids::{ApplicationId, SourceId};
use schemas::record::{Record, TopicPartition};
use schemas::rejected::{NewRejection, RejectReason, to_record};

use super::*;

/// Whose a rejected record is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Whose {
    organization: Option<OrganizationId>,
    application: Option<ApplicationId>,
    source: Option<SourceId>,
}

impl Whose {
    pub(super) fn of(organization: &str, application: Option<&str>, source: Option<SourceId>) -> Self {
        let application = application.map(|id| id.parse().unwrap());
        Self { organization: Some(organization.parse().unwrap()), application, source }
    }
}

/// A record is rejected: it stands at this offset, and its time is as many seconds.
pub(super) fn written(api: &Api, offset: i64, whose: Whose) {
    let headers = [("trace", "abc")].into_iter().collect();
    let value = Some(Bytes::from_static(b"{\"kind\":1}"));
    let record = Record { offset: 70, timestamp_ms: 1_000, key: Some(Bytes::from_static(b"k")), value, headers };
    let rejection = NewRejection {
        seen_at: Some("/type"),
        source: whose.source,
        organization: whose.organization,
        application: whose.application,
        ..NewRejection::new(RejectReason::InvalidAttribute, "`type`: nothing stands there")
    };
    let from = TopicPartition::new("crm.orders", 3);
    let out = to_record("rejected".into(), &from, &record, rejection, 10_000);
    let (key, value, headers) = (out.key, out.value, out.headers);
    api.app.rejected().write(Record { offset, timestamp_ms: offset * 1_000, key, value, headers });
}

/// The organization of the tests with an application, and another one without.
async fn world() -> (Api, Tenant, String, String) {
    let api = Api::new();
    let tenant = api.tenant("shop").await;
    let (_, other) = api.post(ADMIN, "/organizations", value!({"name": "other"})).await;
    let other = other["organization_id"].as_str().unwrap().to_owned();
    (api, tenant, Uuid::from_u128(ORGANIZATION).to_string(), other)
}

async fn service(api: &Api, organization: &str) -> String {
    let body = value!({"organization_id": organization, "name": "s", "role": "editor"});
    let (status, made) = api.post(ADMIN, "/service_token", body).await;
    assert_eq!(status, 201, "{made}");
    made["biscuit"].as_str().unwrap().to_owned()
}

fn ids(rows: &Value) -> Vec<&str> {
    rows.as_array().unwrap().iter().map(|row| row["rejected_id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn each_token_sees_its_own_and_the_operator_sees_what_is_nobodys() {
    let (api, tenant, organization, other) = world().await;
    let gone = Uuid::from_u128(77).to_string();
    written(&api, 1, Whose::of(&organization, Some(&tenant.id), None));
    written(&api, 2, Whose::of(&organization, None, None));
    // It names an application of another organization than its source is of: that one is not told of it.
    written(&api, 3, Whose::of(&other, Some(&tenant.id), None));
    written(&api, 4, Whose::of(&gone, None, None));
    written(&api, 5, Whose::default());
    // What stood on `events` is its application's.
    written(&api, 6, Whose { application: Some(tenant.id.parse().unwrap()), ..Whose::default() });
    let (ours, theirs) = (service(&api, &organization).await, service(&api, &other).await);
    for (token, sees) in [
        (ADMIN, &["0-6", "0-5", "0-4", "0-3", "0-2", "0-1"][..]),
        (ours.as_str(), &["0-6", "0-2", "0-1"]),
        (theirs.as_str(), &["0-3"]),
        (tenant.token.as_str(), &["0-6", "0-1"]),
    ] {
        let (status, rows) = api.get(token, "/rejected").await;
        assert_eq!((status, ids(&rows)), (200, sees.to_vec()), "{rows}");
        for offset in 1..=6 {
            let id = format!("0-{offset}");
            let (status, one) = api.get(token, &format!("/rejected/{id}")).await;
            assert_eq!(status, if sees.contains(&id.as_str()) { 200 } else { 404 }, "{id}: {one}");
        }
    }
    let (_, rows) = api.get(ADMIN, "/rejected").await;
    assert_eq!((&rows[3]["application_id"], &rows[2]["organization_id"]), (&Value::Null, &Value::Null), "{rows}");
}

#[tokio::test]
async fn a_record_is_shown_with_why_where_and_what_it_holds() {
    let (api, tenant, organization, _) = world().await;
    let source = SourceId(Uuid::from_u128(8));
    written(&api, 9, Whose::of(&organization, Some(&tenant.id), Some(source)));
    let (_, one) = api.get(&tenant.token, "/rejected/0-9").await;
    let expected = value!({
        "rejected_id": "0-9", "at": "1970-01-01T00:00:09Z", "reason": "invalid_attribute",
        "detail": "`type`: nothing stands there", "position": "/type", "source_id": source, "organization_id": organization,
        "application_id": tenant.id, "origin": "crm.orders/3/70", "timestamp": "1970-01-01T00:00:01Z", "cut": null,
        "retries": 0, "key_base64": "aw==", "value_base64": "eyJraW5kIjoxfQ==",
        "headers": [{"name": "trace", "value": "abc"}],
    });
    assert_eq!(one, expected);
    for bad in ["0", "0-", "x-1", "0-8", "7-9"] {
        assert_eq!(api.get(&tenant.token, &format!("/rejected/{bad}")).await.0, 404, "{bad}");
    }
}

#[tokio::test]
async fn a_list_has_what_is_asked_for_page_by_page() {
    let (api, tenant, organization, _) = world().await;
    let source = SourceId(Uuid::from_u128(8));
    for offset in 1..=6 {
        let of = (offset % 2 == 0).then_some(source);
        written(&api, offset, Whose::of(&organization, Some(&tenant.id), of));
    }
    let asked = [
        (format!("source_id={}", source.0), vec!["0-6", "0-4", "0-2"]),
        ("from=1970-01-01T00:00:03Z&to=1970-01-01T00:00:04Z".to_owned(), vec!["0-4", "0-3"]),
        ("reason=undecodable".to_owned(), vec![]),
    ];
    for (query, expected) in asked {
        let (_, rows) = api.get(&tenant.token, &format!("/rejected?{query}")).await;
        assert_eq!(ids(&rows), expected, "{query}");
    }
    let (_, rows) = api.get(&tenant.token, "/rejected?limit=4").await;
    assert_eq!(ids(&rows), ["0-6", "0-5", "0-4", "0-3"]);
    let (_, rows) = api.get(&tenant.token, "/rejected?limit=4&pagination_cursor=0-3").await;
    assert_eq!(ids(&rows), ["0-2", "0-1"]);
    for bad in [
        "reason=nonsense",
        "from=yesterday",
        "pagination_cursor=x",
        "source_id=nobodys",
        "to=1970-01-01T00:00:00Z&from=1970-01-02T00:00:00Z",
    ] {
        let (status, problem) = api.get(ADMIN, &format!("/rejected?{bad}")).await;
        assert!((400..500).contains(&status), "{bad}: {problem}");
    }
}

#[tokio::test]
async fn a_retry_is_a_job_of_whoever_asks_and_of_nobody_else() {
    let (api, tenant, organization, other) = world().await;
    let (ours, theirs) = (service(&api, &organization).await, service(&api, &other).await);
    let body = value!({"ids": ["0-7", "0-5", "0-7"], "rate_per_second": 7});
    for (token, whose, listed) in [
        (ours.as_str(), ("organization_id", organization.as_str()), format!("organization_id={organization}")),
        (tenant.token.as_str(), ("application_id", tenant.id.as_str()), format!("application_id={}", tenant.id)),
        (ADMIN, ("none", ""), "kind=retry_rejected".to_owned()),
    ] {
        let (status, job) = api.post(token, "/rejected:retry", body.clone()).await;
        assert_eq!(
            (status, &job["kind"], &job["rate_per_second"]),
            (202, &value!("retry_rejected"), &value!(7)),
            "{job}"
        );
        let whose_it_is = ["organization_id", "application_id"].map(|name| job[name].as_str().unwrap_or_default());
        let expected = ["organization_id", "application_id"].map(|name| if name == whose.0 { whose.1 } else { "" });
        assert_eq!(whose_it_is, expected, "{job}");
        let id = job["job_id"].as_str().unwrap();
        let (_, rows) = api.get(token, &format!("/jobs?{listed}")).await;
        assert!(rows.as_array().unwrap().iter().any(|row| row["job_id"] == id), "{rows}");
        assert_eq!(api.get(token, &format!("/jobs/{id}")).await.0, 200);
        assert_eq!(api.get(&theirs, &format!("/jobs/{id}")).await.0, 404);
        assert_eq!(api.post(&theirs, &format!("/jobs/{id}/cancel"), value!({})).await.0, 404);
        assert_eq!(api.post(token, &format!("/jobs/{id}/cancel"), value!({})).await.0, 200);
    }
    let theirs_of_ours = format!("/jobs?organization_id={organization}");
    assert_eq!(api.get(&theirs, &theirs_of_ours).await.0, 404);
    let application_of_organization = api.get(&tenant.token, &theirs_of_ours).await.0;
    assert_eq!(application_of_organization, 403);
}

#[tokio::test]
async fn a_retry_names_records_in_one_way() {
    let (api, tenant, ..) = world().await;
    let too_many: Vec<String> = (0..1_001).map(|offset| format!("0-{offset}")).collect();
    for bad in [
        value!({}),
        value!({"ids": []}),
        value!({"ids": ["0"]}),
        value!({"ids": ["0-1"], "reason": "unmapped"}),
        value!({"ids": too_many}),
        value!({"reason": "nonsense"}),
        value!({"from": "yesterday"}),
        value!({"source_id": "nobodys"}),
        value!({"reason": "unmapped", "rate_per_second": 0}),
        value!({"filter": {}}),
    ] {
        let (status, problem) = api.post(ADMIN, "/rejected:retry", bad.clone()).await;
        assert!((400..500).contains(&status), "{bad}: {problem}");
    }
    let range = value!({"from": "2026-11-02T00:00:00Z", "to": "2026-11-01T00:00:00Z"});
    assert_eq!(api.post(&tenant.token, "/rejected:retry", range).await.1["id"], "InvalidDateRange");
}

#[tokio::test]
async fn a_request_that_is_sent_again_asks_once() {
    let (api, ..) = world().await;
    let headers = [("idempotency-key", "once"), ("content-type", "application/json")];
    let ask = |body: Value| api.exchange(Method::POST, "/rejected:retry", &headers, Some(body));
    let (status, _, first) = ask(value!({"reason": "unmapped"})).await;
    assert_eq!(status, 202, "{first}");
    // Up to when records are looked at is the time of the first of them.
    assert_eq!(ask(value!({"reason": "unmapped"})).await.2["job_id"], first["job_id"]);
    let (status, _, problem) = ask(value!({"reason": "undecodable"})).await;
    assert_eq!((status, &problem["code"]), (409, &value!("idempotency_key_reused")), "{problem}");
    let (_, rows) = api.get(ADMIN, "/jobs?kind=retry_rejected").await;
    assert_eq!(rows.as_array().unwrap().len(), 1);
}
