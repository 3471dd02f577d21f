//! Where requests may go, while names change: what a name server says now is a failed attempt, what a URL says is the end.

use std::time::Duration;

use http::Method;
use schemas::attempt::Kind;
use serde_json::{Value, json};
use testkit::Expect;
use testkit::dns::{Family, NameServer, Reply};
use testkit::pipeline::{Application, Event, Pipeline, Role, Setup, Subscription, report};

const SOON: Duration = Duration::from_secs(60);

/// Loopback is open in every test's pipeline; this address is not.
const INSIDE: &str = "10.0.0.1";
const OUTSIDE: &str = "127.0.0.1";

/// A pipeline whose worker asks this name server.
fn asking(name: &str, names: &NameServer) -> Setup {
    Setup::new(name).set("delivery.dns_servers", vec![names.address().to_string()])
}

/// Moves a subscription to the same path of the endpoint under a name.
async fn name(pipeline: &Pipeline, application: &Application, subscription: &Subscription, host: &str) {
    let port = pipeline.endpoint().address().port();
    let url = format!("http://{host}:{port}{}", subscription.path);
    pipeline.edit(application, subscription, &json!({ "target": { "url": url } })).await.unwrap();
}

async fn send(pipeline: &Pipeline, application: &Application, id: &str) {
    let event = Event::new(id, "a.b");
    assert_eq!(pipeline.client().send(1, application, &event).await.unwrap().status, 201);
}

/// A resolver that lies for a moment (a sinkhole, a parked domain, a split horizon) costs attempts, not deliveries.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_leads_inside_for_a_while_costs_attempts_and_no_delivery() {
    let names = NameServer::start().unwrap();
    let mut pipeline = asking("lying", &names).start().await.unwrap();
    let application = pipeline.application(&["a.b"]).await.unwrap();
    let retry = json!({ "retry": "quick" });
    let lied = pipeline.subscribe(&application, &["a.b"], retry.clone()).await.unwrap();
    let meta = pipeline.subscribe(&application, &["a.b"], retry.clone()).await.unwrap();
    let mixed = pipeline.subscribe(&application, &["a.b"], retry).await.unwrap();
    let lie = |address| Reply::addresses(&[address]).ttl(300);
    names.script("lied.example", [lie(INSIDE), lie("0.0.0.0"), lie(OUTSIDE)]);
    names.script("meta.example", [Reply::alias("inside.example"), lie(OUTSIDE)]);
    names.answers("inside.example", lie("169.254.169.254"));
    names.answers("mixed.example", Reply::addresses(&[INSIDE, OUTSIDE, "::1"]));
    for (subscription, host) in [(&lied, "lied.example"), (&meta, "meta.example"), (&mixed, "mixed.example")] {
        name(&pipeline, &application, subscription, host).await;
    }
    send(&pipeline, &application, "evt_1").await;
    for subscription in [&lied, &meta, &mixed] {
        pipeline.endpoint().wait_for(&subscription.path, 1, SOON).await.unwrap();
    }
    let outcome = pipeline.finish(Expect::default()).await.unwrap();
    assert_eq!(outcome.audit.counts.delivered, 3);
    let failed = outcome.books.facts.iter().filter(|fact| fact.kind == Kind::Attempted);
    let errors: Vec<_> = failed.map(|fact| fact.error.as_deref()).collect();
    assert_eq!(errors, [Some("refused"); 3], "two lies of one name, one of another");
    report(&format!(
        "lying: {} requests, {} questions",
        outcome.audit.counts.requests,
        names.asked("lied.example", Family::V4)
    ));
}

/// Between the write and the dial the name turns inside: nothing is sent there, and the schedule has its say.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_turns_inside_after_it_was_written_is_never_dialled_there() {
    let names = NameServer::start().unwrap();
    let mut pipeline = asking("rebinding", &names).start().await.unwrap();
    let application = pipeline.application(&["a.b"]).await.unwrap();
    let subscription = pipeline.subscribe(&application, &["a.b"], json!({ "retry": "quick" })).await.unwrap();
    // Nobody asks when a target is written: whatever it meant then, this is what it means when it is dialled.
    names.answers("rebinds.example", Reply::addresses(&[INSIDE]));
    name(&pipeline, &application, &subscription, "rebinds.example").await;
    send(&pipeline, &application, "evt_1").await;
    let outcome = pipeline.finish(Expect { dead: 1, ..Expect::default() }).await.unwrap();
    let dead = &outcome.books.dead[0];
    assert_eq!((dead.attempts, dead.status, dead.reason.as_str()), (4, None, "schedule"));
    assert_eq!(outcome.audit.counts.requests, 0);
}

/// The two doors: what the management API refuses, and what a worker with another policy than the API's refuses.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_as_it_is_written_is_told_at_once_or_dies_at_once() {
    let stricter = vec![("HOOKBUS__DELIVERY__ALLOW_NETWORKS".to_owned(), "127.9.0.0/16".to_owned())];
    let mut pipeline = Setup::new("literals").environment(Role::Delivery, stricter).start().await.unwrap();
    let application = pipeline.application(&["a.b"]).await.unwrap();
    let control = pipeline.roles().urls(Role::Control)[0].clone();
    let brokers = pipeline.connection().brokers().split(',').next().unwrap().to_owned();
    for url in ["http://10.0.0.1/", "http://0xa9fea9fe/", "http://metadata.google.internal/", "ftp://example.com/"] {
        refused(&pipeline, &application, url).await;
    }
    refused(&pipeline, &application, &format!("{control}/api/v1/")).await;
    refused(&pipeline, &application, &format!("http://{brokers}/")).await;
    let subscription = pipeline.subscribe(&application, &["a.b"], json!({ "retry": "quick" })).await.unwrap();
    send(&pipeline, &application, "evt_1").await;
    let outcome = pipeline.finish(Expect { dead: 1, ..Expect::default() }).await.unwrap();
    let dead = &outcome.books.dead[0];
    assert_eq!((dead.attempts, dead.reason.as_str()), (1, "refused"), "{}", subscription.path);
}

async fn refused(pipeline: &Pipeline, application: &Application, url: &str) {
    let body = json!({
        "application_id": application.id,
        "is_enabled": true,
        "event_types": ["a.b"],
        "labels": {},
        "target": { "type": "http", "method": "POST", "url": url, "headers": {} },
    });
    let answer = pipeline.manage(1, Method::POST, "/subscriptions", Some(&body)).await.unwrap();
    let problem: Value = answer.json().unwrap();
    assert_eq!(answer.status.as_u16(), 422, "{url}: {problem}");
    assert!(problem.to_string().contains("target.url"), "{url}: {problem}");
}

/// One tenant's names whose server says nothing: another's are delivered to, and no thread waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forty_names_that_do_not_resolve_leave_a_healthy_one_alone() {
    const SILENT: usize = 40;
    const EVENTS: u64 = 20;
    let names = NameServer::start().unwrap();
    names.answers("*.silent.example", Reply::silent());
    names.answers("healthy.test", Reply::addresses(&[OUTSIDE]));
    let mut pipeline = asking("silent", &names).start().await.unwrap();
    let application = pipeline.application(&["a.b"]).await.unwrap();
    let mut silent = Vec::new();
    for number in 0..SILENT {
        let made = pipeline.subscribe(&application, &["a.b"], json!({ "retry": "quick" })).await.unwrap();
        name(&pipeline, &application, &made, &format!("tenant-{number}.silent.example")).await;
        silent.push(made);
    }
    let healthy = pipeline.subscribe(&application, &["a.b"], json!({})).await.unwrap();
    name(&pipeline, &application, &healthy, "healthy.test").await;
    let pid = pipeline.roles().process(Role::Delivery, 1).unwrap().pid();
    let threads = || std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().count();
    let before = threads();
    for number in 0..EVENTS {
        send(&pipeline, &application, &format!("evt_{number}")).await;
    }
    let seen = pipeline.endpoint().wait_for(&healthy.path, EVENTS, SOON).await.unwrap();
    let during = threads();
    // No name of theirs is answered for: each of their deliveries is still on its way or has failed.
    let asked: usize =
        (0..SILENT).map(|number| names.asked(&format!("tenant-{number}.silent.example"), Family::V4)).sum();
    report(&format!(
        "silent: {} delivered beside {asked} unanswered questions, {before} threads, then {during}",
        seen.len()
    ));
    assert!(during <= before + 2, "threads: {before}, then {during}");
    let outcome = pipeline.finish(Expect { dead: SILENT * seen.len(), ..Expect::default() }).await.unwrap();
    assert_eq!(outcome.audit.counts.delivered, seen.len());
    assert!(outcome.books.dead.iter().all(|dead| dead.reason == "schedule"), "none dies before its schedule");
}
