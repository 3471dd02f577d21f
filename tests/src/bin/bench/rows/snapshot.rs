//! How long a process needs until it knows a million subscriptions, and how much memory it takes at most until then.
//!
//! A thousand applications with a thousand subscriptions each, as a platform's customers have them: two event types, a label that names
//! the customer, a uid, a description, a secret. They are written straight to `control`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use kafka::clock::instant;
use rand::rngs::SmallRng;
use rand::{RngCore as _, SeedableRng as _};
use schemas::control::{Application, ControlObject, Sealed, SigningSecret, Subscription, Target};
use schemas::event_type::EventTypePattern;
use schemas::header;
use schemas::ids::{ApplicationId, OrganizationId, SubscriptionId};
use schemas::record::{Headers, OutRecord};
use schemas::topics::Topics;
use uuid::Uuid;

use super::Scale;
use crate::bare::READY;
use crate::stage::{self, ORGANIZATION, Plan, Stage};
use crate::table::{Aim, Table, say};
use crate::workload;

const COUNT: u32 = 1_000_000;
const PER_APPLICATION: u32 = 1_000;
const NOW_MS: i64 = 1_795_000_000_000;
/// Promised: at most 30 s and 1 GiB.
const WITHIN_SECONDS: f64 = 30.0;
const AT_MOST_MIB: f64 = 1_024.0;
/// Whatever the promise: then it is broken.
const READY_WITHIN: Duration = Duration::from_secs(600);

pub(super) async fn measure(stage: &Stage, scale: Scale, table: &mut Table) -> anyhow::Result<()> {
    let plan = Plan::default();
    let installation = stage.install(&plan).await?;
    let count = scale.of(COUNT);
    let began = instant();
    let objects = objects(count, ORGANIZATION.parse()?);
    let topic = Arc::clone(&installation.topics.control);
    workload::write(&stage.connection, objects.map(|object| record(&topic, &object))).await?;
    say(&format!("    {count} subscriptions written in {:.0} s", began.elapsed().as_secs_f64()))?;
    let bare = if scale.ours_only { None } else { Some(alone(stage, &installation.topics, count).await?) };
    for role in ["control", "gateway"] {
        let began = instant();
        let (mut process, _) = installation.launch(role).await?;
        process.ready(READY_WITHIN).await?;
        let took = began.elapsed().as_secs_f64();
        let known = process.metric("hookbus_catalog_subscriptions").await?;
        ensure!((known - f64::from(count)).abs() < 0.5, "{role} knows {known} of {count} subscriptions");
        let mib = peak_mib(process.pid())?;
        let what = format!("{role} starts over {count} subscriptions");
        let (bare_took, bare_mib) = bare.unzip();
        table.add(format!("{what}: s until it is ready"), took, bare_took, Aim::AtMost(WITHIN_SECONDS));
        table.add(format!("{what}: MiB resident at most"), mib, bare_mib, Aim::AtMost(AT_MOST_MIB));
        stage::stop(process).await?;
    }
    Ok(())
}

/// Seconds and MiB of the catalog in a process of its own, with the system's allocator.
async fn alone(stage: &Stage, topics: &Topics, count: u32) -> anyhow::Result<(f64, f64)> {
    let mut arguments = stage.brokers().to_vec();
    let prefix = topics.control.trim_end_matches("control").to_owned();
    arguments.extend(["--prefix".to_owned(), prefix]);
    let began = instant();
    let process = stage.bare("catalog", &arguments).await?;
    let took = began.elapsed().as_secs_f64();
    let known = process.log();
    ensure!(known.contains(&format!("{READY} {count}")), "the catalog knows {known} of {count}");
    let (mib, cpu) = (peak_mib(process.pid())?, process.cpu_time()?.as_secs_f64());
    say(&format!("    the catalog alone: {took:.1} s, {cpu:.1} CPU-s, {mib:.0} MiB"))?;
    Ok((took, mib))
}

/// Applications, each followed by its subscriptions.
fn objects(count: u32, organization: OrganizationId) -> impl Iterator<Item = ControlObject> {
    let mut random = SmallRng::seed_from_u64(1);
    let mut application = ApplicationId(Uuid::nil());
    (0..count).flat_map(move |number| {
        let parent = (number % PER_APPLICATION == 0).then(|| {
            application = ApplicationId(Uuid::now_v7());
            ControlObject::Application(Application::new(application, organization, "bench", NOW_MS))
        });
        let subscription = subscription(application, number, &mut random);
        parent.into_iter().chain([ControlObject::Subscription(Box::new(subscription))])
    })
}

fn subscription(application: ApplicationId, number: u32, random: &mut SmallRng) -> Subscription {
    let customer = format!("customer-{number:07}");
    let types = [format!("order.created.v{}", number % 5), format!("order.shipped.v{}", number % 3)];
    let pair = |key: &str, value: &str| [(key.to_owned(), value.to_owned())].into();
    Subscription {
        uid: Some(customer.clone()),
        event_types: types.iter().map(|it| EventTypePattern::parse(it).expect("an event type")).collect(),
        labels: pair("tenant", &customer),
        description: Some(format!("Orders of {customer}")),
        metadata: pair("plan", "standard"),
        target: Target {
            method: "POST".into(),
            url: format!("https://hooks.{customer}.example/webhooks/orders"),
            ..Target::default()
        },
        secrets: vec![SigningSecret { sealed: sealed(random), expires_ms: None }],
        ..Subscription::new(SubscriptionId(Uuid::now_v7()), application, NOW_MS + i64::from(number))
    }
}

/// As large as a sealed UUID or `whsec_`; a start opens none.
fn sealed(random: &mut SmallRng) -> Sealed {
    let (mut nonce, mut ct) = ([0; 12], [0; 54]);
    random.fill_bytes(&mut nonce);
    random.fill_bytes(&mut ct);
    Sealed { kid: "bench".into(), nonce: STANDARD.encode(nonce), ct: STANDARD.encode(ct) }
}

fn record(topic: &Arc<str>, object: &ControlObject) -> OutRecord {
    let mut headers = Headers::builder(4, 160);
    headers
        .push_i64(header::VERSION, 1)
        .push_display(header::WRITE_ID, Uuid::now_v7())
        .push_i64(header::WRITE_SIZE, 1)
        .push(header::ACTOR, b"bench");
    OutRecord {
        topic: Arc::clone(topic),
        partition: Some(0),
        key: Some(Bytes::from(object.key().to_string())),
        value: Some(Bytes::from(object.encode().expect("finite numbers"))),
        headers: headers.build(),
    }
}

/// The largest resident size a process has had so far.
fn peak_mib(pid: i32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(PathBuf::from(format!("/proc/{pid}/status")))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1_024.0)
}
