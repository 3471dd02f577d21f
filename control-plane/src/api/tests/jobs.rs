//! Asking for jobs, and what is told of them; nobody runs them here.

use delivery_log::FactKind;
use schemas::delivery::{Origin, RecordPlace};
use schemas::identity::{event_uuid, gateway_source};
use schemas::ids::{DeliveryId, JobId, SubscriptionId};
use schemas::jobs::{JobDefinition, JobDelivery, JobEvent, JobKind, JobSubject, VERSION};

use super::super::jobs::JOBS;
use super::super::jobs::resend::replay_job;
use super::log::Traffic;
use super::*;
use crate::idempotency::KeyedRequest;

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
async fn what_is_paused_is_resumed_and_what_has_ended_is_neither() {
    let (api, tenant, _) = dead(1).await;
    let (_, job) = api.post(&tenant.token, "/dead_letters:redrive", value!({"filter": {}})).await;
    let path = format!("/jobs/{}", job["job_id"].as_str().unwrap());
    let (status, tried) = api.post(&tenant.token, &format!("{path}/pause?dry_run=true"), value!({})).await;
    assert_eq!((status, &tried["state"]), (200, &value!("paused")));
    assert_eq!(api.get(&tenant.token, &path).await.1["state"], "queued");
    for (verb, state) in [("pause", "paused"), ("pause", "paused"), ("resume", "queued"), ("resume", "queued")] {
        let (status, changed) = api.post(&tenant.token, &format!("{path}/{verb}"), value!({})).await;
        assert_eq!((status, &changed["state"]), (200, &value!(state)), "{verb}");
        assert_eq!(api.get(&tenant.token, &format!("/jobs?state={state}")).await.1, value!([changed]));
    }
    assert_eq!(api.post(&tenant.token, &format!("{path}/pause"), value!({})).await.0, 200);
    let (status, cancelled) = api.post(&tenant.token, &format!("{path}/cancel"), value!({})).await;
    assert_eq!((status, &cancelled["state"]), (200, &value!("cancelled")));
    for verb in ["pause", "resume", "cancel"] {
        let (status, problem) = api.post(&tenant.token, &format!("{path}/{verb}"), value!({})).await;
        assert_eq!((status, &problem["code"]), (409, &value!("already_ended")), "{verb}");
    }
}

#[tokio::test]
async fn a_repeat_is_answered_as_it_is_whatever_kafka_still_holds() {
    let (api, tenant, _) = dead(1).await;
    let application = tenant.id.parse().unwrap();
    let event = event_uuid(application, &gateway_source(application), "evt_0");
    let origin = Origin { topic: "events".into(), partition: 0, offset: 0 };
    let known = |job_id, kind, subject| JobDefinition {
        v: VERSION,
        kind,
        job_id,
        application_id: application,
        organization_id: None,
        created_ms: 1,
        created_by: "admin".into(),
        rate_per_second: 1,
        subject,
        cancelled_ms: None,
        paused_ms: None,
    };
    let (path, body) = ("/events/evt_0/replay", value!({"replay_id": "mine"}));
    assert_eq!(api.post(&tenant.token, path, body.clone()).await.1["code"], "expired");
    let subject = JobSubject::Event(JobEvent { event, origin, accepted_ms: 0, subscription_id: None });
    api.app.jobs().knows(known(replay_job(application, "mine"), JobKind::Replay, subject));
    assert_eq!(api.post(&tenant.token, path, body.clone()).await.0, 204);
    let (_, subscriptions) = api.get(&tenant.token, &format!("/subscriptions?application_id={}", tenant.id)).await;
    let to_one = value!({"replay_id": "mine", "subscription_id": subscriptions[0]["subscription_id"]});
    for (path, body) in [(path, to_one), ("/events/evt_9/replay", body)] {
        let (status, problem) = api.post(&tenant.token, path, body).await;
        assert_eq!((status, &problem["code"]), (409, &value!("idempotency_key_reused")), "{problem}");
    }
    // The path of a retry is part of its key.
    let path = format!("/request_attempts/{}/retry", Uuid::from_u128(7));
    let headers = [("idempotency-key", "once"), ("content-type", "application/json")];
    let ask = || api.exchange(Method::POST, &path, &headers, Some(value!({"application_id": tenant.id})));
    assert_eq!(ask().await.0, 404);
    let request = Request::post(format!("/api/v1{path}")).header("idempotency-key", "once").body(()).unwrap();
    let keyed = KeyedRequest::read(&request.into_parts().0, "admin").unwrap().unwrap();
    let id = JobId(Uuid::new_v5(&JOBS, keyed.hashes(api.app.catalog().vault(), None).0.0.as_bytes()));
    let (delivery_id, subscription_id) = (DeliveryId(Uuid::nil()), SubscriptionId(Uuid::nil()));
    let delivery = JobDelivery { delivery_id, subscription_id, record: RecordPlace { partition: 0, offset: 0 } };
    api.app.jobs().knows(known(id, JobKind::Retry, JobSubject::Delivery(delivery)));
    let (status, _, job) = ask().await;
    assert_eq!((status, &job["job_id"]), (202, &value!(id.to_string())), "{job}");
}

#[tokio::test]
async fn what_jobs_there_are_is_not_told_while_kafka_is_not_heard() {
    let (api, tenant, _) = dead(1).await;
    let (status, job) = api.post(&tenant.token, "/dead_letters:redrive", value!({"filter": {}})).await;
    assert_eq!(status, 202, "{job}");
    let path = format!("/jobs/{}", job["job_id"].as_str().unwrap());
    let cut_off = |ago_ms| api.app.jobs().is_cut_off(chassis::clock::now_ms() - ago_ms);
    cut_off(60_000);
    for path in [&path, "/jobs", "/jobs/no-id"] {
        let (status, problem) = api.get(&tenant.token, path).await;
        assert_eq!((status, &problem["code"]), (503, &value!("kafka_unavailable")), "{path}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains("up to 60 s ago"), "{problem}");
    }
    assert_eq!(api.post(&tenant.token, &format!("{path}/cancel"), value!({})).await.0, 503);
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
    assert_eq!(
        (listed.as_array().unwrap().len(), rest.as_array().unwrap().len()),
        (60, 40),
        "as an older build named it"
    );
    let (_, headers, _) =
        api.exchange(Method::GET, &format!("/jobs?limit=60&application_id={}", tenant.id), &[], None).await;
    let link = headers["link"].to_str().unwrap().to_owned();
    let next = link.strip_prefix("</api/v1").and_then(|link| link.split_once('>')).unwrap().0;
    assert!(next.contains(&last), "{next}");
    assert_eq!(api.get(ADMIN, next).await.1, rest);
    // The job that it names was removed meanwhile.
    let at_ms: i64 = next.rsplit_once('=').unwrap().1.split_once('.').unwrap().0.parse().unwrap();
    let behind = |ms: i64| next.rsplit_once('=').map(|(path, _)| format!("{path}={ms}.{}", Uuid::nil())).unwrap();
    let later = api.get(ADMIN, &behind(at_ms + 1)).await.1;
    assert!(later.as_array().unwrap().len() > rest.as_array().unwrap().len(), "it goes on where that one was");
    assert_eq!(api.get(ADMIN, &behind(0)).await.1, value!([]));
    let none = format!("/jobs?application_id={}&pagination_cursor={}", tenant.id, Uuid::nil());
    assert_eq!(api.get(ADMIN, &none).await.0, 422, "it says no time");
}

#[tokio::test]
async fn an_organization_asks_for_no_more_jobs_about_many_than_everybody_can_keep() {
    let (api, tenant, _) = dead(1).await;
    let mut asked = 0;
    let problem = loop {
        let (status, answer) = api.post(&tenant.token, "/dead_letters:redrive", value!({"filter": {}})).await;
        if status != 202 {
            break answer;
        }
        // None of them is open, so that it is not the number of these that is refused.
        let cancel = format!("/jobs/{}/cancel", answer["job_id"].as_str().unwrap());
        assert_eq!(api.post(&tenant.token, &cancel, value!({})).await.0, 200);
        asked += 1;
        assert!(asked < 5_000, "they are asked for far faster than five a second");
    };
    assert_eq!((problem["status"].as_u64(), &problem["code"]), (Some(429), &value!("limit_reached")), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("an organization"), "{problem}");
    assert!(asked >= 100, "{asked}");
}

#[tokio::test]
async fn a_trial_says_what_would_be_done_and_asks_for_nothing() {
    // One of five was decided about.
    let (api, tenant, ids) = dead(5).await;
    let of = |path: &str, body: Value| {
        let (path, token) = (format!("{path}?dry_run=true"), tenant.token.clone());
        let api = &api;
        async move {
            let (status, estimate) = api.post(&token, &path, body).await;
            assert_eq!(status, 200, "{estimate}");
            estimate
        }
    };
    let discard = of("/dead_letters:discard", value!({"dead_letter_ids": ids, "reason": "old"})).await;
    let all = value!({
        "events": 4, "deliveries": 4, "bytes": 28, "expired": 0, "is_estimate": false,
        "oldest": "2026-11-29T12:00:00.01Z", "newest": "2026-11-29T12:00:00.01Z",
    });
    assert_eq!(discard, all);
    // No record of their deliveries is known here.
    let redrive = of("/dead_letters:redrive", value!({"dead_letter_ids": ids[..3]})).await;
    assert_eq!((&redrive["deliveries"], &redrive["expired"]), (&value!(0), &value!(2)), "{redrive}");
    let named = of("/replays", value!({"filter": {"event_ids": ["evt_0", "evt_1"]}})).await;
    assert_eq!((&named["deliveries"], &named["expired"]), (&value!(0), &value!(2)), "{named}");
    assert_eq!(api.get(&tenant.token, "/jobs").await.1, value!([]));
}

#[tokio::test]
async fn a_replay_of_many_says_which_and_to_whom() {
    let (api, tenant, _) = dead(2).await;
    let refused = [
        (value!({}), "filter"),
        (value!({"filter": {}}), "filter.from"),
        (value!({"filter": {"outcome": []}}), "filter.outcome"),
        (value!({"filter": {"outcome": ["lost"]}}), "filter.outcome"),
        (value!({"filter": {"event_ids": []}}), "filter.event_ids"),
        (value!({"filter": {"event_ids": ["evt_9"]}}), "filter.event_ids"),
        (value!({"filter": {"event_ids": ["evt_1"], "outcome": ["failed"]}}), "filter.event_ids"),
        (value!({"filter": {"outcome": ["failed"], "http_status": "6xx"}}), "filter.http_status"),
        (value!({"filter": {"outcome": ["unmatched"], "http_status": "5xx"}}), "filter.http_status"),
        (value!({"filter": {"from": "2026-11-01T00:00:00Z", "event_types": ["a..b"]}}), "filter.event_types"),
        (value!({"filter": {"event_ids": ["evt_1"]}, "to": "same"}), "to"),
        (value!({"filter": {"outcome": ["waiting"]}, "to": "matching"}), "to"),
        (value!({"filter": {"outcome": ["failed"]}, "to": "everybody"}), "to"),
        (value!({"filter": {"outcome": ["failed"]}, "rate_per_second": 0}), "rate_per_second"),
    ];
    for (bad, field) in refused {
        let (status, problem) = api.post(&tenant.token, "/replays", bad.clone()).await;
        assert_eq!(status, 422, "{bad}: {problem}");
        assert!(problem["validation"].get(field).is_some(), "{bad}: {problem}");
    }
    let unknown = value!({"filter": {"outcome": ["failed"]}, "to": {"subscription_id": "nobody"}});
    assert_eq!(api.post(&tenant.token, "/replays", unknown).await.0, 403, "as whatever its token does not see");
    let body = value!({
        "filter": {"outcome": ["failed", "delivered"], "http_status": "5xx", "labels": {"color": "red"}},
        "replay_id": "outage", "rate_per_second": 9,
    });
    let (status, job) = api.post(&tenant.token, "/replays", body.clone()).await;
    assert_eq!((status, &job["kind"], &job["rate_per_second"]), (202, &value!("replay"), &value!(9)), "{job}");
    assert_eq!(api.post(&tenant.token, "/replays", body).await.1["job_id"], job["job_id"], "the same name");
    let other = value!({"filter": {"outcome": ["failed"]}, "replay_id": "outage"});
    assert_eq!(api.post(&tenant.token, "/replays", other).await.0, 409);
    for filter in [value!({"event_ids": ["evt_0", "evt_1"]}), value!({"from": "2026-11-01T00:00:00Z"})] {
        let (status, job) = api.post(&tenant.token, "/replays", value!({"filter": filter})).await;
        assert_eq!((status, &job["state"]), (202, &value!("queued")), "{job}");
    }
    assert_eq!(api.get(&tenant.token, "/jobs?kind=replay").await.1.as_array().unwrap().len(), 3);
}

/// A job of an application that has not ended and whose definition takes so many bytes.
fn heavy(application: &str, bytes: usize) -> JobDefinition {
    JobDefinition {
        v: VERSION,
        kind: JobKind::Redrive,
        job_id: JobId(Uuid::now_v7()),
        application_id: application.parse().unwrap(),
        organization_id: None,
        created_ms: chassis::clock::now_ms(),
        created_by: "x".repeat(bytes),
        rate_per_second: 1,
        subject: JobSubject::DeadLetters(schemas::jobs::JobDeadLetters::default()),
        cancelled_ms: None,
        paused_ms: None,
    }
}

#[tokio::test]
async fn open_jobs_of_one_organization_leave_room_for_anothers() {
    let (api, tenant, _) = dead(1).await;
    let (_, other) = api.post(ADMIN, "/organizations", value!({"name": "other"})).await;
    let id = &other["organization_id"];
    let mut applications = Vec::new();
    for name in ["one", "two", "three"] {
        let (status, made) = api.post(ADMIN, "/applications", value!({"organization_id": id, "name": name})).await;
        assert_eq!(status, 201, "{made}");
        applications.push(made["application_id"].as_str().unwrap().to_owned());
    }
    let fill = |count: usize| {
        for number in 0..count {
            api.app.jobs().knows(heavy(&applications[number % 2], 1 << 20));
        }
    };
    let ask = async |token: &str, application: &str| {
        let body = value!({"application_id": application, "filter": {}});
        let (status, answer) = api.post(token, "/dead_letters:redrive", body).await;
        (status, answer["code"].clone())
    };
    let (_, token) = api.post(ADMIN, "/service_token", value!({"organization_id": id, "name": "ci"})).await;
    let token = token["biscuit"].as_str().unwrap();
    fill(40);
    assert_eq!(ask(token, &applications[2]).await, (429, value!("limit_reached")), "its other application is it too");
    assert_eq!(ask(&tenant.token, &tenant.id).await.0, 202, "what it leaves is another's");
    fill(30);
    assert_eq!(ask(&tenant.token, &tenant.id).await, (429, value!("limit_reached")), "what all may have is full");
    assert_eq!(ask(ADMIN, &tenant.id).await.0, 202, "and nobody shuts the operator out");
}

#[tokio::test]
async fn another_rate_under_a_key_is_another_request() {
    let (api, tenant, _) = dead(1).await;
    let headers = [("idempotency-key", "once"), ("content-type", "application/json")];
    let ask = async |rate: u32| {
        let body = value!({"application_id": tenant.id, "filter": {}, "rate_per_second": rate});
        let (status, _, answer) = api.exchange(Method::POST, "/dead_letters:redrive", &headers, Some(body)).await;
        (status, answer)
    };
    let (status, job) = ask(7).await;
    assert_eq!(status, 202, "{job}");
    let (status, again) = ask(7).await;
    assert_eq!((status, &again["job_id"]), (202, &job["job_id"]), "{again}");
    let (status, problem) = ask(9).await;
    assert_eq!((status, &problem["code"]), (409, &value!("idempotency_key_reused")), "{problem}");
}

#[tokio::test]
async fn an_organization_changes_one_job_at_a_time_and_takes_no_turn_of_others() {
    let (api, tenant, _) = dead(1).await;
    let ask = async |token: &str| {
        let (status, job) =
            api.post(token, "/dead_letters:redrive", value!({"application_id": tenant.id, "filter": {}})).await;
        assert_eq!(status, 202, "{job}");
        format!("/jobs/{}", job["job_id"].as_str().unwrap())
    };
    let path = ask(&tenant.token).await;
    let own = OrganizationId(Uuid::from_u128(ORGANIZATION));
    let waiting: Vec<_> = std::iter::from_fn(|| api.app.turns().jobs.enter(own).ok()).collect();
    assert!(waiting.len() > 100, "so many wait for each other, and no one else for them: {}", waiting.len());
    for verb in ["pause", "resume", "cancel"] {
        let (status, problem) = api.post(&tenant.token, &format!("{path}/{verb}"), value!({})).await;
        assert_eq!((status, &problem["id"]), (429, &value!("RateLimited")), "{verb}: {problem}");
    }
    let again = value!({"application_id": tenant.id, "filter": {}});
    assert_eq!(api.post(&tenant.token, "/dead_letters:redrive", again).await.0, 429);
    assert_eq!(api.post(ADMIN, &format!("{path}/pause"), value!({})).await.0, 200, "the operator is another");
    drop(waiting);
    assert_eq!(api.post(&tenant.token, &format!("{path}/cancel"), value!({})).await.0, 200);
}

#[tokio::test]
async fn what_the_log_has_counted_is_a_step_that_is_done() {
    let (api, tenant, _) = dead(1).await;
    let other = api.tenant("other").await;
    let step = async |path: String| api.get(ADMIN, &path).await.1["onboarding_steps"]["event"].clone();
    assert_eq!(step(format!("/applications/{}", tenant.id)).await, "Done");
    assert_eq!(step(format!("/applications/{}", other.id)).await, "ToDo");
    assert_eq!(step(format!("/organizations/{}", Uuid::from_u128(ORGANIZATION))).await, "Done");
    let (_, without) = Api::new().get(ADMIN, &format!("/organizations/{}", Uuid::from_u128(ORGANIZATION))).await;
    assert_eq!(without["onboarding_steps"]["event"], "ToDo", "there is no log");
}
