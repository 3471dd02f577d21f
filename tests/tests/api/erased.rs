//! An erased event, over a whole pipeline: its text is in no answer and in no file of the log, also when that was made again.

use std::path::{Path, PathBuf};

use http::Method;
use serde_json::{Value, json};
use testkit::Expect;
use testkit::http::Http;
use testkit::pipeline::{ADMIN_KEY, Event, Pipeline, Role};
use testkit::wait::eventually;

use crate::log::{SOON, printed, told};

/// What stands in the labels, in the payload and in the answer of the event that is erased.
const SECRET: &str = "the-patient-is-called-so";

/// A pipeline with two events, the log of both, and whom to ask.
struct Erasing {
    pipeline: Pipeline,
    url: String,
    application: String,
    log: PathBuf,
    http: Http,
}

impl Erasing {
    async fn start() -> Self {
        let mut pipeline = Pipeline::start("erased").await.unwrap();
        let log = pipeline.folder().join("log-1");
        let url = pipeline.roles().urls(Role::Control).swap_remove(0);
        let application = pipeline.application(&["a.b"]).await.unwrap();
        let subscription = pipeline.subscribe(&application, &["a.b"], json!({})).await.unwrap();
        pipeline.endpoint().script(&subscription.path, &format!("200+text={SECRET}")).unwrap();
        let secret = Event::new("evt_1", "a.b").label("name", SECRET).payload(format!(r#"{{"name":"{SECRET}"}}"#));
        for event in [secret, Event::new("evt_2", "a.b").label("name", "nobody")] {
            assert_eq!(pipeline.client().send(1, &application, &event).await.unwrap().status, 201);
        }
        pipeline.endpoint().wait_for(&subscription.path, 2, SOON).await.unwrap();
        let application = application.id.to_string();
        Self { pipeline, url, application, log, http: Http::default() }
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let beside = if path.contains('?') { '&' } else { '?' };
        let url = format!("{}/api/v1{path}{beside}application_id={}", self.url, self.application);
        let answer = self.http.json(Method::GET, &url, ADMIN_KEY, None).await.unwrap();
        (answer.status.as_u16(), String::from_utf8(answer.body.to_vec()).unwrap())
    }

    /// What a command says of the event.
    async fn event(&self, verb: &str) -> Option<String> {
        printed(&self.pipeline, &self.url, &["event", verb, "evt_1", "--application", &self.application]).await
    }

    /// The paths at which something of the event is answered; the first three read it back from Kafka.
    async fn paths(&self) -> [String; 9] {
        let attempt = eventually("its attempt is in the log", SOON, || async {
            let (_, rows) = self.get("/request_attempts?event_id=evt_1").await;
            let rows: Value = serde_json::from_str(&rows).ok()?;
            rows[0]["request_attempt_id"].as_str().map(str::to_owned)
        });
        let attempt = attempt.await.unwrap();
        [
            "/events/evt_1".to_owned(),
            format!("/request_attempts/{attempt}/request"),
            format!("/responses/{attempt}"),
            "/events".to_owned(),
            "/events/evt_1?payload=false".to_owned(),
            "/events/evt_1/timeline".to_owned(),
            "/events/evt_1/explain".to_owned(),
            "/request_attempts".to_owned(),
            format!("/request_attempts/{attempt}"),
        ]
    }

    async fn check_erased(&self, paths: &[String], when: &str) {
        for (number, path) in paths.iter().enumerate() {
            let (status, answer) = self.get(path).await;
            assert!(!answer.contains(SECRET), "{when}: {path}: {answer}");
            assert_eq!(status, if number < 3 { 404 } else { 200 }, "{when}: {path}: {answer}");
            assert_eq!(answer.contains(r#""code":"erased""#), number < 3, "{when}: {path}: {answer}");
        }
        assert_eq!(self.event("replay").await, None, "{when}: it is not sent again");
        let (status, other) = self.get("/events/evt_2?payload=false").await;
        assert!(status == 200 && other.contains("nobody") && other.contains("available"), "{when}: {other}");
        let is_gone = || async { files_with(&self.log, SECRET).is_empty().then_some(()) };
        eventually("it is in no file", SOON, is_gone).await.unwrap();
        assert!(!files_with(&self.log, "nobody").is_empty(), "{when}: the other one's labels");
    }
}

/// In which files below a folder this text stands.
fn files_with(folder: &Path, text: &str) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    // The log may give up a file meanwhile.
    let read = entries.filter_map(|path| Some((path.display().to_string(), std::fs::read(&path).ok()?)));
    read.filter(|(_, bytes)| String::from_utf8_lossy(bytes).contains(text)).map(|(name, _)| name).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_erased_is_in_no_answer_and_in_no_file_also_when_the_log_is_made_again() {
    let erasing = Erasing::start().await;
    let paths = erasing.paths().await;
    let mut mentioned = Vec::new();
    for path in &paths {
        let (status, answer) = erasing.get(path).await;
        assert_eq!(status, 200, "{path}: {answer}");
        mentioned.extend(answer.contains(SECRET).then_some(path));
    }
    // Its payload is in base64, and its labels stand beside that.
    assert_eq!(mentioned, [&paths[0], &paths[2], &paths[3], &paths[4], &paths[5]]);
    assert!(!files_with(&erasing.log, SECRET).is_empty(), "its labels");

    let erased = erasing.event("erase").await.unwrap();
    assert!(erased.contains("evt_1 is erased; the last copy in Kafka expires by 2"), "{erased}");
    erasing.check_erased(&paths, "at once").await;

    let (pipeline, url) = (&erasing.pipeline, &erasing.url);
    let rebuilt = printed(pipeline, url, &["log", "rebuild"]).await.unwrap();
    assert!(rebuilt.contains("is made again"), "{rebuilt}");
    let is_whole = || async {
        let log = told(pipeline, url, &["log", "status"]).await?;
        let is_whole = log["whole_from"].is_null() && log["days_left"] == 0 && log["behind_ms"] == 0;
        (is_whole && !log["days"].as_array()?.is_empty()).then_some(())
    };
    eventually("it is made again", SOON, is_whole).await.unwrap();
    erasing.check_erased(&paths, "made again").await;

    let environment = [("HOOKBUS__CONTROL__LOG__FOLDER", erasing.log.to_str().unwrap())];
    let checked = pipeline.command_with(&environment, &["log", "check"]).await.unwrap();
    let said = String::from_utf8_lossy(&checked.stdout);
    let why = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success() && said.contains("holds what"), "{said} {why}");
    erasing.pipeline.finish(Expect::default()).await.unwrap();
}
