//! The names of metrics, their kinds, labels and meaning: what dashboards and alerts are made of, in docs/metrics.md.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use http::{Method, StatusCode};
use serde_json::json;
use testkit::Endpoint;
use testkit::dev::Dev;
use testkit::http::Http;
use testkit::supervisor::Settings;
use testkit::wait::eventually;

const SOON: std::time::Duration = std::time::Duration::from_secs(60);
const OPENING: &str = "# Metrics

Every role serves these at `/metrics` on its admin port, as far as they concern it. A test compares this page with what a
process says of itself that runs every role (`cargo test -p testkit --test compat -- --ignored write_the_page` writes it anew).
Those with labels appear with their first value; where the values are a closed list, with 0 from the start. Ids stand in no
label but those of the worst failing endpoints, at most `delivery.endpoint_metrics` (100) of a worker.

| metric | kind | labels | what it counts |
|---|---|---|---|
";

/// Kind, labels, help.
type Family = (String, String, String);

fn page() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md")
}

/// What a running process says after one event was sent and delivered.
async fn families() -> BTreeMap<String, Family> {
    let endpoint = Endpoint::start().unwrap();
    let dev = Dev::start("metrics", Settings::default()).await.unwrap();
    let application = dev.info("application_id").unwrap();
    let subscription = json!({
        "application_id": application, "is_enabled": true, "event_types": ["invoice.paid"],
        "target": { "type": "http", "method": "POST", "url": endpoint.url("/metrics"), "headers": {} },
    });
    dev.managed(Method::POST, "/subscriptions", Some(&subscription)).await.unwrap();
    let event = json!({ "application_id": application, "event_type": "invoice.paid", "payload": {} });
    let sent = dev.call(dev.info("application_secret").unwrap(), Method::POST, "/event", Some(&event)).await.unwrap();
    assert_eq!(sent.status, StatusCode::CREATED);
    endpoint.wait_for("/metrics", 1, SOON).await.unwrap();
    let (http, url) = (Http::default(), dev.info("metrics_url").unwrap().to_owned());
    let text = eventually("the delivery in the metrics", SOON, || async {
        let text = http.get(&url).await.ok()?.body;
        let text = String::from_utf8_lossy(&text).into_owned();
        (!text.contains(r#"hookbus_delivery_latency_seconds_count{attempt="first"} 0"#)).then_some(text)
    });
    let text = text.await.unwrap();
    dev.stop().await.unwrap();
    read(&text)
}

/// Families by name, from Prometheus' text format.
fn read(text: &str) -> BTreeMap<String, Family> {
    let mut helps = BTreeMap::new();
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            helps.insert(name.to_owned(), help.to_owned());
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            current = name.to_owned();
            families.insert(current.clone(), (kind.to_owned(), String::new(), helps.remove(name).unwrap_or_default()));
        } else if let (Some((_, labels)), Some(family)) = (line.split_once('{'), families.get_mut(&current)) {
            // Values may hold braces and commas, but never the end of a name.
            let mut names: Vec<&str> = labels.split("=\"").filter_map(|part| part.rsplit(',').next()).collect();
            names.pop();
            names.retain(|name| *name != "le");
            family.1 = names.join(", ");
        }
    }
    families
}

/// The rows of the committed page.
fn committed() -> BTreeMap<String, Family> {
    let text = std::fs::read_to_string(page()).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
    let row = |line: &str| {
        let mut cells = line.trim_end_matches(" |").split(" | ").map(|cell| cell.trim().trim_matches('`').to_owned());
        Some((cells.next()?, (cells.next()?, cells.next()?, cells.next()?)))
    };
    rows.filter_map(row).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_of_metrics_is_what_a_process_says() {
    let (said, written) = (families().await, committed());
    let new: Vec<_> = said.iter().filter(|(name, family)| written.get(*name) != Some(*family)).collect();
    assert!(new.is_empty(), "not in docs/metrics.md, or otherwise: {new:#?}");
    // A metric with labels may not have had its first value in this short life; one without is there from the start.
    let gone: Vec<_> =
        written.iter().filter(|(name, family)| family.1.is_empty() && !said.contains_key(*name)).collect();
    assert!(gone.is_empty(), "in docs/metrics.md, and no process has it: {gone:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "writes docs/metrics.md: run it after a change of a metric"]
async fn write_the_page() {
    let mut families = families().await;
    if page().is_file() {
        // What was seen before and has labels may be silent today.
        let silent = committed().into_iter().filter(|(_, family)| !family.1.is_empty());
        for (name, family) in silent {
            families.entry(name).or_insert(family);
        }
    }
    let mut text = OPENING.to_owned();
    for (name, (kind, labels, help)) in families {
        writeln!(text, "| `{name}` | {kind} | {labels} | {help} |").unwrap();
    }
    std::fs::write(page(), text).unwrap();
}
