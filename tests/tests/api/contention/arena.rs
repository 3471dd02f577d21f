//! The writers and what they fight over.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context;
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use testkit::Pipeline;
use testkit::http::{Answer, Http};
use testkit::pipeline::{ADMIN_KEY, Role};
use tokio::sync::watch;

/// One round's subscription and what was counted.
#[derive(Debug)]
pub(super) struct Arena {
    http: Http,
    urls: Vec<String>,
    round: usize,
    /// The subscription everybody writes.
    pub(super) subscription: String,
    /// Its path in the API.
    pub(super) path: String,
    /// Names the write that made it: the replica that is asked first may not have heard of it yet.
    made: String,
    steps: watch::Sender<usize>,
    pub(super) conflicts: AtomicUsize,
    pub(super) lost: AtomicUsize,
    /// How many were told that they have made an application, by uid.
    pub(super) won: Mutex<BTreeMap<String, usize>>,
}

/// One of those who write.
#[derive(Debug)]
pub(super) struct Writer {
    number: usize,
    arena: Arc<Arena>,
    /// Who is asked next; the other one after a failure.
    control: usize,
}

// === impl Arena ===

impl Arena {
    pub(super) async fn open(pipeline: &mut Pipeline, round: usize, target: &str) -> anyhow::Result<Self> {
        let application = pipeline.application(&["a.b"]).await?;
        let body = json!({
            "application_id": application.id,
            "is_enabled": true,
            "event_types": ["a.b"],
            "labels": {},
            "metadata": { "total": "0" },
            "target": { "type": "http", "method": "POST", "url": target, "headers": {} },
        });
        let answer = pipeline.manage(1, Method::POST, "/subscriptions", Some(&body)).await?;
        anyhow::ensure!(answer.status == 201, "POST: {:?}", answer.body);
        let made = answer.header("hookbus-consistency-token").context("a consistency token")?.to_owned();
        let subscription = answer.json()?["subscription_id"].as_str().context("an id")?.to_owned();
        Ok(Self {
            http: Http::default(),
            urls: pipeline.roles().urls(Role::Control),
            round,
            path: format!("/subscriptions/{subscription}"),
            subscription,
            made,
            steps: watch::Sender::new(0),
            conflicts: AtomicUsize::new(0),
            lost: AtomicUsize::new(0),
            won: Mutex::default(),
        })
    }

    /// Waits until so many steps are done.
    pub(super) async fn reached(&self, steps: usize) {
        let mut done = self.steps.subscribe();
        done.wait_for(|done| *done >= steps).await.expect("the arena holds the sender");
    }

    /// The uid all writers want at a step.
    pub(super) fn uid(&self, step: usize) -> String {
        format!("{}{step}", self.uids())
    }

    /// What the uids of this round begin with.
    pub(super) fn uids(&self) -> String {
        format!("race-{}-", self.round)
    }
}

// === impl Writer ===

impl Writer {
    pub(super) fn new(number: usize, arena: Arc<Arena>) -> Self {
        Self { number, arena, control: number % 2 }
    }

    pub(super) async fn run(mut self, steps: usize) {
        for step in 1..=steps {
            self.control = (self.number + step) % 2;
            if step % 2 == 1 {
                self.increment(step).await;
            } else {
                self.patch(step).await;
            }
            if step % 5 == 0 {
                self.claim(step).await;
            }
            self.arena.steps.send_modify(|done| *done += 1);
        }
    }

    /// Reads, adds one, writes what was read.
    async fn increment(&mut self, step: usize) {
        let arena = Arc::clone(&self.arena);
        let mine = format!("last-{}", self.number);
        loop {
            let (tag, mut metadata) = self.read().await;
            if metadata.get(&mine) == Some(&json!(step.to_string())) {
                return;
            }
            let total: usize = metadata["total"].as_str().expect("a text").parse().expect("a number");
            metadata.insert("total".to_owned(), json!((total + 1).to_string()));
            metadata.insert(mine.clone(), json!(step.to_string()));
            let body = json!({ "metadata": metadata });
            let Some(answer) = self.ask(Method::PUT, &arena.path, Some(&tag), Some(&body)).await else { continue };
            match answer.status.as_u16() {
                200 => return,
                412 => _ = arena.conflicts.fetch_add(1, Ordering::Relaxed),
                status => panic!("PUT: {status} {:?}", answer.body),
            }
        }
    }

    /// One key, whatever the others do.
    async fn patch(&mut self, step: usize) {
        let arena = Arc::clone(&self.arena);
        let (key, value) = (format!("patched-{}", self.number), json!(step.to_string()));
        let body = json!({ "metadata": { key.as_str(): value } });
        loop {
            let Some(answer) = self.ask(Method::PATCH, &arena.path, None, Some(&body)).await else { continue };
            assert_eq!(answer.status, 200, "PATCH: {:?}", answer.body);
            let shown: Value = answer.json().expect("JSON");
            assert_eq!(shown["metadata"][&key], value, "the answer has what was written");
            return;
        }
    }

    /// Only one of all may have this uid.
    async fn claim(&mut self, step: usize) {
        let uid = self.arena.uid(step);
        let body = json!({ "organization_id": "0b5e55ed-0000-7000-8000-000000000001", "name": "raced", "uid": uid });
        loop {
            let Some(answer) = self.ask(Method::POST, "/applications", None, Some(&body)).await else { continue };
            match answer.status.as_u16() {
                201 => *self.arena.won.lock().entry(uid).or_default() += 1,
                status => assert_eq!(status, 409, "POST: {:?}", answer.body),
            }
            return;
        }
    }

    /// The tag and the metadata, of whichever control plane answers.
    async fn read(&mut self) -> (String, Map<String, Value>) {
        let arena = Arc::clone(&self.arena);
        loop {
            let Some(answer) = self.ask(Method::GET, &arena.path, None, None).await else { continue };
            assert_eq!(answer.status, 200, "GET: {:?}", answer.body);
            let tag = answer.header("etag").expect("an entity tag").to_owned();
            let Value::Object(mut shown) = answer.json().expect("JSON") else { panic!("no object") };
            let Some(Value::Object(metadata)) = shown.remove("metadata") else { panic!("no metadata") };
            return (tag, metadata);
        }
    }

    /// `None`: nobody knows whether it was done. The other control plane is asked next.
    async fn ask(&mut self, method: Method, path: &str, tag: Option<&str>, body: Option<&Value>) -> Option<Answer> {
        let url = format!("{}/api/v1{path}", self.arena.urls[self.control]);
        let mut request = Request::builder()
            .method(method)
            .uri(url)
            .header("authorization", format!("Bearer {ADMIN_KEY}"))
            .header("hookbus-consistency-token", &self.arena.made);
        if let Some(tag) = tag {
            request = request.header("if-match", tag);
        }
        let request = match body {
            Some(body) => {
                request.header("content-type", "application/json").body(Full::new(Bytes::from(body.to_string())))
            }
            None => request.body(Full::default()),
        };
        let answer = self.arena.http.send(request.expect("a request")).await.ok();
        let answer = answer.filter(|answer| !answer.status.is_server_error());
        if answer.is_none() {
            self.arena.lost.fetch_add(1, Ordering::Relaxed);
            self.control = 1 - self.control;
            // Whoever is dead refuses at once: let the others have the cores.
            tokio::task::yield_now().await;
        }
        answer
    }
}
