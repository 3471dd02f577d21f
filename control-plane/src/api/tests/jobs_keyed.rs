//! Pausing, resuming and cancelling a job with a key of the client's, and with the version that it has seen.

use schemas::ids::JobId;
use schemas::jobs::JobDefinition;

use super::*;

/// A job that nobody runs.
struct Asked {
    api: Api,
    id: JobId,
    path: String,
}

impl Asked {
    async fn new() -> Self {
        let (api, _store) = Api::with_log();
        let tenant = api.tenant("billing").await;
        let filter = value!({"application_id": tenant.id, "filter": {}});
        let (status, job) = api.post(ADMIN, "/dead_letters:redrive", filter).await;
        assert_eq!(status, 202, "{job}");
        let id = job["job_id"].as_str().unwrap();
        Self { id: JobId(id.parse().unwrap()), path: format!("/jobs/{id}"), api }
    }

    fn definition(&self) -> JobDefinition {
        JobDefinition::clone(&self.api.app.jobs().get(self.id).unwrap().definition)
    }

    /// Status, and the state or the problem's code.
    async fn post(&self, verb: &str, headers: &[(&str, &str)]) -> (u16, Value) {
        let (status, _, answer) =
            self.api.exchange(Method::POST, &format!("{}/{verb}", self.path), headers, None).await;
        (status, answer[if status < 300 { "state" } else { "code" }].clone())
    }

    async fn tag(&self) -> String {
        let (_, headers, _) = self.api.exchange(Method::GET, &self.path, &[], None).await;
        headers["etag"].to_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn a_key_takes_no_older_state_for_what_is_asked_for() {
    let asked = Asked::new().await;
    let (running, key) = (asked.definition(), [("idempotency-key", "mine")]);
    let paused = JobDefinition { paused_ms: Some(5), ..running.clone() };
    // Another replica was told the opposite a moment ago.
    asked.api.app.jobs().is_behind(paused.clone());
    assert_eq!(asked.post("resume", &key).await, (200, value!("queued")));
    assert_eq!(asked.definition().paused_ms, None);
    assert_eq!(asked.post("pause", &key).await, (200, value!("paused")));
    asked.api.app.jobs().is_behind(running);
    assert_eq!(asked.post("pause", &key).await, (200, value!("paused")));
    assert!(asked.definition().paused_ms.is_some(), "it was resumed elsewhere, and is paused again");
    // Or that it is over.
    asked.api.app.jobs().is_behind(JobDefinition { cancelled_ms: Some(6), ..paused });
    assert_eq!(asked.post("resume", &key).await, (409, value!("already_ended")));
}

#[tokio::test]
async fn a_key_makes_nothing_of_another_version_and_its_repeat_is_not_refused_for_itself() {
    let asked = Asked::new().await;
    let first = asked.tag().await;
    let with = |tag: &str| [("idempotency-key", "mine".to_owned()), ("if-match", tag.to_owned())];
    let post = async |verb: &str, tag: &str| {
        let headers = with(tag);
        asked.post(verb, &headers.each_ref().map(|(name, value)| (*name, value.as_str()))).await
    };
    let other = "\"00000000000000000000000000000000\"";
    assert_eq!(post("pause", other).await, (412, value!("precondition_failed")));
    for _twice in 0..2 {
        assert_eq!(post("pause", &first).await, (200, value!("paused")));
    }
    assert_eq!(post("pause", other).await, (412, value!("precondition_failed")), "also where it is paused");
    assert_eq!(asked.post("pause", &[("if-match", &first)]).await.0, 412, "without a key it is no repeat");
    let second = asked.tag().await;
    for _twice in 0..2 {
        assert_eq!(post("resume", &second).await, (200, value!("queued")));
    }
    let third = asked.tag().await;
    for _twice in 0..2 {
        assert_eq!(post("cancel", &third).await, (200, value!("cancelled")));
    }
    assert_eq!(post("resume", &second).await.0, 412, "one that has ended was not resumed");
    assert_eq!(asked.post("resume", &[("idempotency-key", "new")]).await, (409, value!("already_ended")));
}

#[tokio::test]
async fn what_is_not_confirmed_is_to_be_sent_again_only_where_the_repeat_is_not_refused() {
    let asked = Asked::new().await;
    let tag = asked.tag().await;
    asked.api.app.jobs().is_stuck();
    let (key, version) = (("idempotency-key", "mine"), ("if-match", tag.as_str()));
    for (verb, headers, retry_after) in [
        ("pause", vec![], Some("1")),
        ("pause", vec![key], Some("1")),
        ("pause", vec![version], None),
        ("pause", vec![key, version], None),
        ("cancel", vec![], None),
        ("cancel", vec![key], Some("1")),
        ("cancel", vec![version], None),
    ] {
        let path = format!("{}/{verb}", asked.path);
        let (status, told, problem) = asked.api.exchange(Method::POST, &path, &headers, None).await;
        assert_eq!((status, &problem["code"]), (503, &value!("outcome_unknown")), "{verb} {headers:?}");
        let told = told.get("retry-after").map(|it| it.to_str().unwrap());
        assert_eq!(told, retry_after, "{verb} {headers:?}");
    }
}
