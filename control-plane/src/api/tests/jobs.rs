//! Asking for jobs, and what is told of them; nobody runs them here.

use delivery_log::FactKind;

use super::log::Traffic;
use super::*;

/// An application with a subscription and so many dead letters; their ids.
async fn dead(count: usize) -> (Api, Tenant, Vec<String>) {
    let (api, store) = Api::with_log();
    let tenant = api.tenant("billing").await;
    let (status, subscription) = api.post(&tenant.token, "/subscriptions", tenant.subscription()).await;
    assert_eq!(status, 201);
    let mut traffic = Traffic::new(&tenant.id, subscription["subscription_id"].as_str().unwrap());
    let mut ids = Vec::new();
    for number in 0..count {
        let id = format!("evt_{number}");
        traffic.event(&id, 0);
        traffic.attempt(&id, 0, (1, FactKind::DeadLettered, 500), 10);
        ids.push(traffic.delivery(&id).to_string());
    }
    // One that was decided about.
    if let Some(first) = (count > 1).then_some("evt_0") {
        traffic.attempt(first, 0, (1, FactKind::Redriven, 500), 20);
    }
    traffic.write(store.as_ref()).await;
    (api, tenant, ids)
}

#[tokio::test]
async fn what_is_asked_for_is_listed_read_and_cancelled_once() {
    let (api, tenant, ids) = dead(3).await;
    let asked = value!({"dead_letter_ids": ids, "rate_per_second": 7});
    let (status, job) = api.post(&tenant.token, "/dead_letters:redrive", asked).await;
    assert_eq!((status, &job["state"], &job["rate_per_second"]), (202, &value!("queued"), &value!(7)), "{job}");
    let path = format!("/jobs/{}", job["job_id"].as_str().unwrap());
    assert_eq!(api.get(&tenant.token, &path).await, (200, job.clone()));
    let (_, listed) = api.get(&tenant.token, "/jobs?kind=redrive&state=queued").await;
    assert_eq!(listed, value!([job]));
    assert_eq!(api.get(&tenant.token, "/jobs?kind=retry").await, (200, value!([])));
    assert_eq!(api.get(&tenant.token, "/jobs?state=tired").await.0, 422);
    let (status, cancelled) = api.post(&tenant.token, &format!("{path}/cancel"), value!({})).await;
    assert_eq!((status, &cancelled["state"]), (200, &value!("cancelled")));
    let (status, problem) = api.post(&tenant.token, &format!("{path}/cancel"), value!({})).await;
    assert_eq!((status, &problem["code"]), (409, &value!("already_ended")));
}

#[tokio::test]
async fn only_what_is_open_can_be_decided_about() {
    let (api, tenant, ids) = dead(2).await;
    let of = |ids: &[String]| value!({"dead_letter_ids": ids, "reason": "old"});
    let (status, problem) = api.post(&tenant.token, "/dead_letters:discard", of(&ids[..1])).await;
    assert_eq!((status, &problem["code"]), (409, &value!("not_open")), "{problem}");
    assert_eq!(api.post(&tenant.token, "/dead_letters:discard", of(&ids)).await.0, 202);
    let (_, open) = api.get(&tenant.token, "/dead_letters").await;
    let (_, redriven) = api.get(&tenant.token, "/dead_letters?state=redriven").await;
    let shown = |rows: &Value| (rows[0]["dead_letter_id"].clone(), rows[0]["state"].clone(), rows[1].is_null());
    assert_eq!(shown(&open), (value!(ids[1]), value!("open"), true), "{open}");
    assert_eq!(shown(&redriven), (value!(ids[0]), value!("redriven"), true), "{redriven}");
}

#[tokio::test]
async fn a_request_names_dead_letters_in_one_way() {
    let (api, tenant, ids) = dead(1).await;
    for (bad, field) in [
        (value!({}), "filter"),
        (value!({"filter": {}, "dead_letter_ids": ids}), "filter"),
        (value!({"dead_letter_ids": []}), "filter"),
        (value!({"dead_letter_ids": ["x"]}), "dead_letter_ids"),
        (value!({"filter": {"reason": "tired"}}), "filter.reason"),
        (value!({"filter": {"from": "yesterday"}}), "filter.from"),
        (value!({"filter": {"event_types": ["a..b"]}}), "filter.event_types"),
        (value!({"filter": {}, "rate_per_second": 0}), "rate_per_second"),
        (value!({"filter": {}, "rate_per_second": 10_001}), "rate_per_second"),
    ] {
        let (status, problem) = api.post(&tenant.token, "/dead_letters:redrive", bad.clone()).await;
        assert_eq!(status, 422, "{bad}: {problem}");
        assert!(problem["validation"].get(field).is_some(), "{bad}: {problem}");
    }
    let range = value!({"filter": {"from": "2026-11-02T00:00:00Z", "to": "2026-11-01T00:00:00Z"}});
    assert_eq!(api.post(&tenant.token, "/dead_letters:redrive", range).await.1["id"], "InvalidDateRange");
    assert_eq!(api.post(&tenant.token, "/dead_letters:discard", value!({"filter": {}})).await.0, 422, "why?");
}

#[tokio::test]
async fn a_request_that_is_sent_again_is_the_same_job() {
    let (api, tenant, _) = dead(1).await;
    let body = value!({"application_id": tenant.id, "filter": {}});
    let headers = [("idempotency-key", "once"), ("content-type", "application/json")];
    let ask = |body: Value| api.exchange(Method::POST, "/dead_letters:redrive", &headers, Some(body));
    let (status, _, first) = ask(body.clone()).await;
    assert_eq!(status, 202, "{first}");
    assert_eq!(ask(body).await.2["job_id"], first["job_id"]);
    let (status, _, problem) = ask(value!({"application_id": tenant.id, "filter": {"reason": "gone"}})).await;
    assert_eq!((status, &problem["code"]), (409, &value!("idempotency_key_reused")), "{problem}");
    assert_eq!(api.get(&tenant.token, "/jobs").await.1.as_array().unwrap().len(), 1);
    let cancel = format!("/jobs/{}/cancel", first["job_id"].as_str().unwrap());
    for _ in 0..2 {
        let (status, _, cancelled) = api.exchange(Method::POST, &cancel, &headers, None).await;
        assert_eq!((status, &cancelled["state"]), (200, &value!("cancelled")));
    }
}

#[tokio::test]
async fn an_application_has_so_many_jobs_that_have_not_ended() {
    let (api, tenant, _) = dead(1).await;
    let body = value!({"application_id": tenant.id, "filter": {}});
    for _ in 0..100 {
        assert_eq!(api.post(ADMIN, "/dead_letters:redrive", body.clone()).await.0, 202);
    }
    let (status, problem) = api.post(ADMIN, "/dead_letters:redrive", body).await;
    assert_eq!((status, &problem["code"]), (429, &value!("limit_reached")));
    let (_, listed) = api.get(&tenant.token, "/jobs?limit=60").await;
    let last = listed[59]["job_id"].as_str().unwrap().to_owned();
    let (_, rest) = api.get(&tenant.token, &format!("/jobs?limit=60&pagination_cursor={last}")).await;
    assert_eq!((listed.as_array().unwrap().len(), rest.as_array().unwrap().len()), (60, 40));
}

#[tokio::test]
async fn a_trial_asks_for_nothing() {
    let (api, tenant, _) = dead(1).await;
    let (status, job) = api.post(&tenant.token, "/dead_letters:redrive?dry_run=true", value!({"filter": {}})).await;
    assert_eq!(status, 202, "{job}");
    assert_eq!(api.get(&tenant.token, "/jobs").await.1, value!([]));
}
