//! Outcome 2 of issue 4: the committed OpenAPI document says what the running server does, and the server does what it says.
//!
//! schemathesis makes requests of the document, valid ones and broken ones, chains of them too, and holds every answer against
//! it. All its checks are on. Its seed is fixed: runs differ only by the ids that the server makes. One to two minutes.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use http::Method;
use serde_json::{Value, json};
use testkit::Endpoint;
use testkit::dev::Dev;
use testkit::pipeline::report;
use testkit::supervisor::Settings;
use tokio::process::Command;

/// The run takes a tenth of this on a machine of its own.
const WITHIN: Duration = Duration::from_secs(1_800);
/// Requests of each kind per operation, at most.
const EXAMPLES: &str = "25";
/// Any number, the same in every run.
const SEED: &str = "20261122";

fn at(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_does_what_the_document_says() {
    super::tools::prepare("python").await.unwrap();
    let endpoint = Endpoint::start().unwrap();
    let dev = Dev::start("openapi", Settings::default()).await.unwrap();
    let application = dev.info("application_id").unwrap().to_owned();
    let made = objects(&dev, &application, &endpoint).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("schemathesis.toml");
    std::fs::write(&settings, configuration(&dev, &made).unwrap()).unwrap();
    run(&settings, &dev).await.unwrap();
    dev.stop().await.unwrap();
}

/// What requests may name: a name is found by chance only if it is there.
async fn objects(dev: &Dev, application: &str, endpoint: &Endpoint) -> anyhow::Result<Vec<(&'static str, String)>> {
    let id = |made: &Value, field: &str| made[field].as_str().map(str::to_owned).with_context(|| made.to_string());
    let organization = dev.info("organization_id")?;
    let url = endpoint.url("/openapi");
    let subscription = json!({
        "application_id": application, "is_enabled": true, "event_types": [], "labels": {},
        "target": { "type": "http", "method": "POST", "url": url, "headers": {} },
    });
    let mut subscription = subscription;
    subscription["event_types"] = json!(["invoice.paid"]);
    let subscription = dev.managed(Method::POST, "/subscriptions", Some(&subscription)).await?;
    let token = json!({ "organization_id": organization, "name": "openapi" });
    let token = dev.managed(Method::POST, "/service_token", Some(&token)).await?;
    Ok(vec![
        ("<admin_key>", dev.info("admin_key")?.to_owned()),
        ("<application_secret>", dev.info("application_secret")?.to_owned()),
        ("<organization>", organization.to_owned()),
        ("<application>", application.to_owned()),
        ("<subscription>", id(&subscription, "subscription_id")?),
        ("<service_token>", id(&token, "token_id")?),
        ("<target>", url),
    ])
}

fn configuration(dev: &Dev, made: &[(&'static str, String)]) -> anyhow::Result<String> {
    let mut text = std::fs::read_to_string(at("clients/python/schemathesis.toml"))?;
    for (name, value) in made {
        text = text.replace(name, value);
    }
    Ok(text.replace("<base>", dev.info("gateway_url")?))
}

async fn run(settings: &Path, dev: &Dev) -> anyhow::Result<()> {
    let mut schemathesis = Command::new(at("../var/cache/clients/python/bin/schemathesis"));
    schemathesis.arg("--config-file").arg(settings).arg("run").arg(at("../schemas/openapi/openapi.json"));
    schemathesis.args(["--checks", "all", "--max-examples", EXAMPLES, "--seed", SEED, "--no-color"]);
    schemathesis.args(["--generation-database", "none"]);
    let folder = settings.parent().context("a file in a folder")?;
    schemathesis.current_dir(folder).stdin(Stdio::null()).kill_on_drop(true);
    let started = chassis::clock::now_ms();
    let ended = tokio::time::timeout(WITHIN, schemathesis.output()).await;
    let output = ended.with_context(|| format!("schemathesis does not end\n{}", dev.log_tail()))??;
    let printed = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{printed}\n{errors}\n{}", dev.log_tail());
    ensure!(printed.contains("Test cases:"), "it did not say that it tested anything:\n{printed}");
    let summary = printed.split("SUMMARY").nth(1).unwrap_or_default().trim_start_matches(['=', '\n']);
    report(&format!("schemathesis, {} s\n{summary}", (chassis::clock::now_ms() - started) / 1_000));
    Ok(())
}
