//! Tokens over several processes: revoked everywhere at once, their last use known everywhere and after restarts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use schemas::record::{Headers, OutRecord};
use schemas::status::Status;
use serde_json::json;
use testkit::Expect;
use testkit::ledger::collect::read_topic;
use testkit::pipeline::{Application, Event, Pipeline, Role, Setup, report};
use testkit::wait::eventually;
use uuid::Uuid;

use crate::secrets::{ADMIN_KEY, SOON, call, text};

/// A token on two control planes and two gateways: how long it opens anything after it was revoked.
async fn revoke(name: &str) -> Duration {
    let setup = Setup::new(name).roles(Role::Control, 2).roles(Role::Gateway, 2);
    let mut pipeline = setup.start().await.unwrap();
    let application = pipeline.application(&["a.b"]).await.unwrap();
    let body = json!({ "application_id": application.id, "name": "leaked" });
    let leaked = pipeline.managed(Method::POST, "/application_secrets", Some(&body), 201).await.unwrap();
    let leaked = text(&leaked, "token");
    let (controls, gateways) = (pipeline.roles().urls(Role::Control), pipeline.roles().urls(Role::Gateway));
    let path = format!("/applications/{}", application.id);
    let event = json!({ "application_id": application.id, "event_type": "a.unknown", "payload": {} });
    let opens = async || {
        let mut open = 0;
        for number in [1, 2] {
            open += usize::from(call(&controls, number, &leaked, (Method::GET, &path), None).await.0 == 200);
            let (status, _) = call(&gateways, number, &leaked, (Method::POST, "/event"), Some(&event)).await;
            open += usize::from(status == 400);
        }
        open
    };
    eventually("the token opens everywhere", SOON, || async { (opens().await == 4).then_some(()) }).await.unwrap();
    let delete = format!("/application_secrets/{leaked}?application_id={}", application.id);
    pipeline.managed(Method::DELETE, &delete, None, 204).await.unwrap();
    let revoked = chassis::clock::instant();
    eventually("it opens nothing", SOON, || async { (opens().await == 0).then_some(()) }).await.unwrap();
    let took = revoked.elapsed();
    report(&format!(
        "{name}: 2 control planes and 2 gateways refuse the token {took:?} after its deletion was answered"
    ));
    pipeline.finish(Expect::default()).await.unwrap();
    took
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_token_opens_nothing_on_any_replica_or_gateway() {
    Box::pin(revoke("revoked")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults"]
async fn a_revoked_token_opens_nothing_within_two_seconds() {
    let took = Box::pin(revoke("revoked-in-time")).await;
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_use_of_a_token_is_known_everywhere_and_survives_restarts() {
    let setup = Setup::new("last-used").roles(Role::Control, 2);
    let mut pipeline = setup.start().await.unwrap();
    let application = pipeline.application(&["a.b"]).await.unwrap();
    let controls = pipeline.roles().urls(Role::Control);
    let list = format!("/application_secrets?application_id={}", application.id);
    let last_used = async |control: usize| {
        let (_, listed) = call(&controls, control, ADMIN_KEY, (Method::GET, &list), None).await;
        let used = listed.as_array()?.iter().find(|it| it["token"] == application.token.as_str())?;
        used["last_used_at"].as_str().map(str::to_owned)
    };
    assert_eq!(last_used(1).await, None);
    send_one(&pipeline, &application).await;
    let known = eventually("both control planes know", SOON, || async { last_used(1).await.zip(last_used(2).await) });
    let (first, second) = known.await.unwrap();
    assert_eq!(first, second);
    for (role, number) in [(Role::Gateway, 1), (Role::Control, 1), (Role::Control, 2)] {
        pipeline.roles().stop(role, number).await.unwrap();
        pipeline.roles().start(role, number).await.unwrap();
    }
    let again = eventually("it is known again", SOON, || async { last_used(2).await }).await.unwrap();
    assert_eq!(again, first);
    pipeline.finish(Expect::default()).await.unwrap();
}

/// What an instance said that is gone for good is said by a control plane, before it is removed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uses_told_by_an_instance_that_is_gone_are_kept() {
    let mut pipeline = Setup::new("last-used-gone").topics_only().await.unwrap();
    let token = Uuid::from_u128(0x0b);
    let used = 1_700_000_000_000_i64;
    let status = Status { tokens: BTreeMap::from([(token, used)]), ..Status::new("gateway", "gone", used) };
    let topic = Arc::clone(&pipeline.topics().status);
    let health = Status { partitions: 3, ..Status::new("delivery", "gone", used) };
    for (key, status) in [("delivery/gone", &health), ("gateway/gone/tokens-b", &status)] {
        let record = OutRecord {
            topic: Arc::clone(&topic),
            partition: Some(0),
            key: Some(key.into()),
            value: Some(serde_json::to_vec(status).unwrap().into()),
            headers: Headers::default(),
        };
        pipeline.produce(&record).await.unwrap();
    }
    pipeline.roles().start(Role::Control, 1).await.unwrap();
    let connection = pipeline.connection();
    let last = async || {
        let records = read_topic(connection, &topic).await.ok()?;
        let texts = records.into_iter().map(|(_, it)| (it.key.unwrap_or_default(), it.value));
        let latest: BTreeMap<_, _> = texts.collect();
        let gone = latest.get(b"gateway/gone/tokens-b".as_slice())?.is_none();
        let adopted = latest.get(b"control/1/tokens-b".as_slice())?.clone()?;
        (gone && latest.get(b"delivery/gone".as_slice())?.is_none()).then_some(adopted)
    };
    let adopted = eventually("a control plane has made it its own", SOON, last).await.unwrap();
    let adopted: Status = serde_json::from_slice(&adopted).unwrap();
    assert_eq!(adopted.tokens, BTreeMap::from([(token, used)]));
    pipeline.finish(Expect::default()).await.unwrap();
}

async fn send_one(pipeline: &Pipeline, application: &Application) {
    let answer = pipeline.client().send(1, application, &Event::new("evt_1", "a.b")).await.unwrap();
    assert_eq!(answer.status, 201);
}
