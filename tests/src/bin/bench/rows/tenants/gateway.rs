//! What meets other ports than the management API: readers of a port for probes that never read, and payloads that take as long as
//! possible to be checked.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use kafka::clock::instant;
use serde_json::{Value, json};
use testkit::http::{Answer, Http};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::attacks::Scene;
use super::{Tenant, p99, tenant};
use crate::stage::{self, ADMIN_KEY};
use crate::table::{Aim, Table, say};

/// Connections that ask for the metrics and never read an answer.
const READERS: usize = 64;
/// What each of them asks at once.
const ASKED: usize = 200;
/// A connection whose answers nobody reads takes no more questions.
const ASKED_WITHIN: Duration = Duration::from_secs(1);
/// Probes that are measured.
const PROBES: usize = 200;
/// Events of the tenant that must not be harmed, one after another.
const EVENTS: usize = 300;
/// Who sends the costliest payloads, each without a pause.
const SENDERS: usize = 16;
/// Bytes of such a payload, about.
const PAYLOAD: usize = 400_000;
/// What is declared of both tenants.
const TYPE: &str = "costly.payload.sent";
/// An event of the victim may take so many ms beside the attack: a turn at checking for each sender, and as much for itself.
const EVENT_WITHIN_MS: f64 = 100.0;
/// So may a probe: an orchestrator gives up on one after a second.
const PROBE_WITHIN_MS: f64 = 100.0;
/// The process ends within its grace period of 30 s.
const ENDS_WITHIN: f64 = 30.0;

/// Nobody, at the admin port of a control plane.
pub(super) async fn readers(scene: &Scene<'_>, table: &mut Table) -> anyhow::Result<()> {
    let (process, _) = scene.installation.start("control").await?;
    let url = process.admin_url("/livez");
    let address: SocketAddr = url.parse::<http::Uri>()?.authority().context("an address")?.as_str().parse()?;
    let alone = probes(&url).await?;
    let question = "GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(ASKED);
    let mut open = Vec::new();
    for _ in 0..READERS {
        let mut connection = TcpStream::connect(address).await?;
        // Whether all of it is taken does not matter.
        let _asked = tokio::time::timeout(ASKED_WITHIN / 4, connection.write_all(question.as_bytes())).await;
        open.push(connection);
    }
    let beside = probes(&url).await;
    let began = instant();
    let ended = stage::stop(process).await;
    let seconds = began.elapsed().as_secs_f64();
    drop(open);
    table.add("/livez p99 beside 64 who read no metrics, ms", beside?, Some(alone), Aim::AtMost(PROBE_WITHIN_MS));
    ended?;
    table.add("a process ends beside them after SIGTERM: s", seconds, None, Aim::AtMost(ENDS_WITHIN));
    Ok(())
}

async fn probes(url: &str) -> anyhow::Result<f64> {
    let http = Http::default();
    let mut times = Vec::new();
    for _ in 0..PROBES {
        let began = instant();
        let answer = http.get(url).await?;
        ensure!(answer.status.is_success(), "{url}: {}", answer.status);
        times.push(began.elapsed().as_secs_f64() * 1_000.0);
    }
    p99(times)
}

/// A tenant whose event type has the costliest schema that is taken, and whose payloads are the worst for it.
pub(super) async fn payloads(scene: &Scene<'_>, table: &mut Table) -> anyhow::Result<()> {
    let (attacker, victim) = (tenant(&scene.control, "costly").await?, tenant(&scene.control, "cheap").await?);
    let plain = json!({ "application_id": victim.application, "name": TYPE });
    scene.control.post("event_types", &plain).await?;
    let Some(payload) = declared(scene, &attacker).await? else {
        return say("    no costly schema is taken: nothing to be measured").map_err(Into::into);
    };
    let (process, address) = scene.installation.start("gateway").await?;
    let url = format!("http://{address}/api/v1/event");
    // Both know of both.
    let cheap = event(&victim, "1");
    ensure!(send(&Http::default(), &url, &victim, &cheap).await?.status.is_success(), "the victim's event is refused");
    let alone = events(&url, &victim, &cheap).await?;
    let stop = CancellationToken::new();
    let mut senders = JoinSet::new();
    for _ in 0..SENDERS {
        let (url, attacker, body, stop) = (url.clone(), attacker.clone(), event(&attacker, &payload), stop.clone());
        senders.spawn(async move {
            let (http, mut last) = (Http::default(), None);
            while !stop.is_cancelled() {
                // A refusal is an answer.
                last = send(&http, &url, &attacker, &body).await.ok().map(|answer| answer.status);
            }
            last
        });
    }
    let beside = events(&url, &victim, &cheap).await;
    stop.cancel();
    let answered = senders.join_all().await;
    say(&format!("    the costliest payloads were answered {:?}", answered.first()))?;
    table.add("event p99 beside a tenant's costliest payloads, ms", beside?, Some(alone), Aim::AtMost(EVENT_WITHIN_MS));
    stage::stop(process).await
}

/// Declares the first schema that is taken; the worst payload for it.
async fn declared(scene: &Scene<'_>, attacker: &Tenant) -> anyhow::Result<Option<String>> {
    let numbers: Vec<f64> = (0..8_800).map(|number| 1_000.5 + f64::from(number)).collect();
    let patterns: Vec<Value> =
        (0..16).map(|number| json!({ "not": { "pattern": format!("[ab]*a[ab]{{{}}}c", 20 + number) } })).collect();
    let enumerated = json!({ "items": { "enum": numbers } });
    let worst = [
        (enumerated, format!("[{}7.5]", "7.5,".repeat(PAYLOAD / 4))),
        (json!({ "allOf": patterns }), format!("\"{}\"", "ab".repeat(PAYLOAD / 2))),
    ];
    let url = format!("http://{}/api/v1/event_types", scene.control.address);
    for (schema, payload) in worst {
        let body = json!({ "application_id": attacker.application, "name": TYPE, "schema": schema });
        let answer = scene.control.http.json(Method::POST, &url, ADMIN_KEY, Some(&body)).await?;
        if answer.status.is_success() {
            return Ok(Some(payload));
        }
        say(&format!("    a costly schema is refused: {}", answer.json()?["detail"]))?;
    }
    Ok(None)
}

fn event(tenant: &Tenant, payload: &str) -> Bytes {
    Bytes::from(format!(
        r#"{{"application_id":"{}","event_type":"{TYPE}","labels":{{"a":"b"}},"payload":{payload}}}"#,
        tenant.application
    ))
}

async fn send(http: &Http, url: &str, tenant: &Tenant, body: &Bytes) -> anyhow::Result<Answer> {
    let request = Request::builder().method(Method::POST).uri(url);
    let request = request.header("authorization", format!("Bearer {}", tenant.token));
    http.send(request.header("content-type", "application/json").body(Full::new(body.clone()))?).await
}

async fn events(url: &str, tenant: &Tenant, body: &Bytes) -> anyhow::Result<f64> {
    let http = Http::default();
    let mut times = Vec::new();
    for _ in 0..EVENTS {
        let began = instant();
        let answer = send(&http, url, tenant, body).await?;
        ensure!(answer.status.is_success(), "{} {:?}", answer.status, answer.body);
        times.push(began.elapsed().as_secs_f64() * 1_000.0);
    }
    p99(times)
}
