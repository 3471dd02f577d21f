//! Outcome 1 of issue 4: the published clients of Hook0, as their registries serve them, against `hookbus dev`.
//!
//! A client runs as a process and speaks JSON lines with its test; `tests/clients/README.md` has the protocol. Every name in
//! the lists below is an operation or a check that the client itself has seen to hold.

mod stage;
mod talk;

use std::path::{Path, PathBuf};

use tokio::process::Command;

use self::stage::Stage;

/// The 28 operations that read no events, attempts or responses.
const OPERATIONS: [&str; 28] = [
    "instance.get",
    "quotas.get",
    "errors.list",
    "payload_content_types.list",
    "applications.create",
    "applications.get",
    "applications.update",
    "applications.list",
    "applications.delete",
    "service_token.create",
    "service_token.edit",
    "service_token.get",
    "service_token.list",
    "service_token.delete",
    "application_secrets.create",
    "application_secrets.read",
    "application_secrets.update",
    "application_secrets.delete",
    "event_types.create",
    "event_types.get",
    "event_types.list",
    "event_types.delete",
    "subscriptions.create",
    "subscriptions.get",
    "subscriptions.update",
    "subscriptions.list",
    "subscriptions.delete",
    "events.ingest",
];

/// What all three have.
const EVERYWHERE: [&str; 9] = [
    "upsert_event_types",
    "send_event without id",
    "send_event with id",
    "send_event repeated",
    "verify_webhook_signature",
    "403 AuthInvalidApplicationSecret",
    "403 Forbidden",
    "422 Validation",
    "429 RateLimited",
];

/// What those have that read problems and objects as types.
const TYPED: [&str; 7] = [
    "404 NotFound",
    "409 EventAlreadyIngested",
    "400 AuthInvalidAuthorizationHeader",
    "400 EventTypeDoesNotExist",
    "429 TooManySubscriptionsPerApplication",
    "send_event waits when RateLimited",
    "mixed: lists decode and edits keep what the client does not know",
];

fn folder(of: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(of)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_published_python_client_works_unmodified() {
    let python = |script: &str| {
        let mut python = Command::new(folder("../var/cache/clients/python/bin/python"));
        python.arg("-B").arg(folder("clients/python").join(script));
        python
    };
    let own = ["awaiting client", "mixed: evt_ ids"];
    run("python", python("send.py"), python("check.py"), &[&OPERATIONS[..], &EVERYWHERE, &TYPED, &own]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_published_rust_client_works_unmodified() {
    let built = |name: &str| Command::new(folder("../var/cache/clients/rust/debug").join(name));
    run("rust", built("send"), built("hook0-client-check"), &[&OPERATIONS[..], &EVERYWHERE, &TYPED]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_published_node_client_works_unmodified() {
    let node = |script: &str| {
        let mut node = Command::new("node");
        node.arg(folder("../var/cache/clients/node").join(script));
        node
    };
    let own = ["400 EventInvalidJsonPayload", "400 EventTypeDoesNotExist", "mixed: evt_ ids"];
    run("node", node("send.js"), node("check.js"), &[&EVERYWHERE[..], &own]).await;
}

async fn run(client: &str, send: Command, check: Command, wanted: &[&[&str]]) {
    super::tools::prepare(client).await.unwrap();
    let stage = Stage::start(client).await.unwrap();
    talk::send(send, &stage).await.unwrap();
    let mut done = talk::run(check, &stage).await.unwrap();
    stage.is_as_it_was().await.unwrap();
    let mut wanted: Vec<&str> = wanted.concat();
    done.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(done, wanted, "what the client has done, and what it should");
    stage.stop().await.unwrap();
}
