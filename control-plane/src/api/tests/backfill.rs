//! The past of a subscription, as it is asked for.

use super::*;

#[tokio::test]
async fn the_past_of_a_subscription_is_a_job_of_its_application() {
    let api = Api::new();
    let tenant = api.tenant("one").await;
    let (_, made) = api.post(&tenant.token, "/subscriptions", tenant.subscription()).await;
    let subscription = made["subscription_id"].as_str().unwrap();
    let path = format!("/subscriptions/{subscription}/backfill");
    for (wrong, field) in [
        (value!({}), "from"),
        (value!({"from": "yesterday"}), "from"),
        (value!({"from": "earliest", "to": "2026-11-01"}), "to"),
        (value!({"from": "earliest", "rate_per_second": 0}), "rate_per_second"),
        (value!({"from": "earliest", "since": 1}), "since"),
    ] {
        let (status, problem) = api.post(&tenant.token, &path, wrong).await;
        assert_eq!((status, problem["validation"][field].is_array()), (422, true), "{field}: {problem}");
    }
    let turned = value!({"from": "2026-11-02T00:00:00Z", "to": "2026-11-01T00:00:00Z"});
    let (status, problem) = api.post(&tenant.token, &path, turned).await;
    assert_eq!((status, problem["id"].as_str()), (400, Some("InvalidDateRange")), "{problem}");

    let asked = value!({"from": "2026-11-01T00:00:00Z", "rate_per_second": 7});
    let (status, job) = api.post(&tenant.token, &path, asked).await;
    assert_eq!(status, 202, "{job}");
    assert_eq!((&job["kind"], &job["state"], &job["percent"]), (&value!("backfill"), &value!("queued"), &value!(0)));
    assert_eq!((&job["subscription_id"], &job["rate_per_second"]), (&value!(subscription), &value!(7)));
    assert_eq!(job["application_id"], value!(tenant.id));
    let (_, rows) = api.get(&tenant.token, "/jobs?kind=backfill").await;
    assert_eq!((rows.as_array().map(Vec::len), &rows[0]["job_id"]), (Some(1), &job["job_id"]));

    // Sent again with its key it is the same one, and another request with that is none.
    let earliest = value!({"from": "earliest"});
    let (_, _, first) = api.keyed(&tenant.token, "k", &path, Some(&earliest)).await;
    let (status, _, again) = api.keyed(&tenant.token, "k", &path, Some(&earliest)).await;
    assert_eq!((status, &again["job_id"]), (202, &first["job_id"]));

    assert_eq!(api.patch(&tenant.token, &path.replace("/backfill", ""), value!({"is_enabled": false})).await.0, 200);
    let (status, problem) = api.post(&tenant.token, &path, earliest).await;
    assert_eq!((status, problem["code"].as_str()), (409, Some("subscription_disabled")), "{problem}");
}
