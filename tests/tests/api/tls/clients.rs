//! The published clients of Hook0 over https: the programs that README.md shows, told of the test's own authority in the way in
//! which their users tell them of one.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use anyhow::Context;
use serde_json::json;
use testkit::ledger::Expect;
use testkit::pipeline::{Event, Pipeline, Role};
use tokio::process::Command;

use super::SOON;
use super::server::{Certificates, Secured};
use crate::tools;

/// What the programs send.
const TYPE: &str = "billing.invoice.paid";
const PAYLOAD: &str = r#"{"invoice": "in_1042"}"#;
/// Where Python and Rust, and where Node find whom to trust.
const TRUSTED: [&str; 2] = ["SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_published_clients_send_over_https_and_to_nobody_whose_certificate_they_cannot_check() {
    let mut pipeline = Pipeline::start("tls-clients").await.unwrap();
    let application = pipeline.application(&[TYPE]).await.unwrap();
    let subscription = pipeline.subscribe(&application, &[TYPE], json!({})).await.unwrap();
    let certificates = Certificates::new(pipeline.folder()).unwrap();
    let mut gateway = Secured::open(&pipeline, &certificates, Role::Gateway).await.unwrap();
    gateway.ready(&certificates).await;
    let settings = [
        ("HOOKBUS_URL", gateway.url("/api/v1")),
        ("APPLICATION_ID", application.id.to_string()),
        ("TOKEN", application.token.clone()),
    ];
    for (count, client) in (1..).zip(["python", "node", "rust"]) {
        tools::prepare(client).await.unwrap();
        let refused = sent(client, &settings, &certificates.path("strangers-ca.crt")).await.unwrap();
        assert!(!refused.status.success(), "{client} sends to a server that it cannot know: {refused:?}");
        let output = sent(client, &settings, &certificates.path("server-ca.crt")).await.unwrap();
        assert!(output.status.success(), "{client}: {}\n{}", String::from_utf8_lossy(&output.stderr), gateway.log());
        let event = Event::new(String::from_utf8(output.stdout).unwrap().trim(), TYPE).payload(PAYLOAD);
        pipeline.client().remember(&application, &event);
        pipeline.endpoint().wait_for(&subscription.path, count, SOON).await.unwrap();
    }
    gateway.stop().await.unwrap();
    let outcome = pipeline.finish(Expect::default()).await.unwrap();
    let counts = (outcome.audit.counts.accepted, outcome.audit.counts.delivered);
    assert_eq!(counts, (3, 3), "one of each client, and none of those that were refused");
}

/// Runs a client's program to its end.
async fn sent(client: &str, settings: &[(&str, String)], authority: &Path) -> anyhow::Result<Output> {
    let (program, arguments) = program(client);
    let mut command = Command::new(program);
    // Proxies of whoever runs the tests are none of ours.
    command.args(arguments).envs(settings.iter().map(|(name, value)| (*name, value))).env("NO_PROXY", "127.0.0.1");
    command.envs(TRUSTED.map(|name| (name, authority))).env_remove("SSL_CERT_DIR");
    let running = command.stdin(Stdio::null()).kill_on_drop(true).output();
    Ok(tokio::time::timeout(SOON, running).await.with_context(|| format!("the {client} client does not end"))??)
}

fn program(client: &str) -> (PathBuf, Vec<PathBuf>) {
    let of_tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let installed = of_tests.join("../var/cache/clients").join(client);
    match client {
        "python" => (installed.join("bin/python"), vec!["-B".into(), of_tests.join("clients/python/send.py")]),
        "node" => ("node".into(), vec![installed.join("send.js")]),
        _rust => (installed.join("debug/send"), Vec::new()),
    }
}
