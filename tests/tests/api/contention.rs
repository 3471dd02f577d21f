//! Outcome 3: four writers on two control planes, one of which is killed in the middle, and nothing is lost, doubled or torn.
//!
//! ```text
//! odd step:   read, add one to `total`, note the step in `last-<writer>`, write back with `If-Match`; 412: again
//! even step:  PATCH `patched-<writer>` without `If-Match`: somebody else's change of another key stays
//! every 5th:  all writers make an application of the same uid
//! ```
//!
//! A writer whose answer is lost looks whether its step is there before it repeats it, so in the end `total` is exactly the number
//! of odd steps. The audit must be a chain: each change of the subscription begins with what the one before it left.

mod arena;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::Method;
use kafka::clock::instant;
use schemas::audit::Audit;
use serde_json::{Value, json};
use testkit::pipeline::{Pipeline, Role, Setup, report};
use testkit::wait::eventually;
use testkit::{Endpoint, Expect};

use self::arena::{Arena, Writer};

const WRITERS: usize = 4;
/// A round of 2,000 contended updates takes about a minute.
const ROUND_WITHIN: Duration = Duration::from_secs(600);
const SOON: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conflicting_writers_on_two_control_planes_lose_nothing_when_one_is_killed() {
    rounds("contention", 1, 25).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults"]
async fn four_writers_make_500_conflicting_updates_each_in_three_rounds() {
    rounds("contention-500", 3, 500).await;
}

async fn rounds(name: &str, rounds: usize, steps: usize) {
    let setup = Setup::new(name).roles(Role::Control, 2).roles(Role::Delivery, 0).roles(Role::Retry, 0);
    let mut pipeline = setup.start().await.unwrap();
    for round in 1..=rounds {
        let endpoint = Endpoint::start().unwrap();
        let arena = Arc::new(Arena::open(&mut pipeline, round, &endpoint.url("/")).await.unwrap());
        let began = instant();
        let fight = fight(&mut pipeline, &arena, steps);
        tokio::time::timeout(ROUND_WITHIN, fight).await.expect("a round ends");
        let (took, updates) = (began.elapsed().as_secs_f64(), WRITERS * steps);
        let lost = arena.lost.load(Ordering::Relaxed);
        report(&format!(
            "{name}: round {round}: {updates} updates in {took:.1} s, {:.0}/s, {} times 412, {lost} without an answer",
            f64::from(u32::try_from(updates).unwrap()) / took,
            arena.conflicts.load(Ordering::Relaxed),
        ));
        same_everywhere(&mut pipeline).await;
        nothing_lost(&pipeline, &arena, steps).await;
        one_of_each(&pipeline, &arena, steps).await;
        the_audit_is_a_chain(&pipeline, &arena).await;
    }
    pipeline.finish(Expect::default()).await.unwrap();
}

/// All writers at once; the first control plane is killed when half of it is done, and comes back.
async fn fight(pipeline: &mut Pipeline, arena: &Arc<Arena>, steps: usize) {
    let mut writers = tokio::task::JoinSet::new();
    for number in 0..WRITERS {
        writers.spawn(Writer::new(number, Arc::clone(arena)).run(steps));
    }
    let half = WRITERS * steps / 2;
    arena.reached(half).await;
    pipeline.roles().kill(Role::Control, 1).await.unwrap();
    pipeline.roles().launch(Role::Control, 1).await.unwrap();
    while let Some(ended) = writers.join_next().await {
        ended.unwrap();
    }
    pipeline.roles().ready(Role::Control, 1).await.unwrap();
}

/// Every process that holds a snapshot holds the same one, and both control planes say so.
async fn same_everywhere(pipeline: &mut Pipeline) {
    let holders = [(Role::Control, 1), (Role::Control, 2), (Role::Gateway, 1), (Role::Fanout, 1)];
    let roles = pipeline.roles();
    let snapshots = std::sync::Mutex::new(Vec::new());
    let mut processes = Vec::new();
    for (role, number) in holders {
        processes.push(roles.process(role, number).unwrap().admin_url("/metrics"));
    }
    let same = eventually("equal snapshots", SOON, || async {
        let mut seen = Vec::new();
        for url in &processes {
            let text = testkit::http::Http::default().get(url).await.ok()?;
            let text = String::from_utf8_lossy(&text.body).into_owned();
            seen.push(
                ["hookbus_catalog_digest ", "hookbus_catalog_position_offset "]
                    .map(|name| text.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned)),
            );
        }
        *snapshots.lock().unwrap() = seen.clone();
        let equal = seen.iter().all(|one| one.iter().all(Option::is_some) && one == &seen[0]);
        equal.then_some(())
    });
    same.await.unwrap_or_else(|error| panic!("{error:#}: {:?}", snapshots.lock().unwrap()));
    for path in ["/organizations", "/applications"] {
        let (one, two) = (answer(pipeline, 1, path).await, answer(pipeline, 2, path).await);
        assert_eq!(one, two, "{path}");
    }
}

async fn answer(pipeline: &Pipeline, control: usize, path: &str) -> Value {
    let answer = pipeline.manage(control, Method::GET, path, None).await.unwrap();
    assert_eq!(answer.status, 200, "{path}: {:?}", answer.body);
    answer.json().unwrap()
}

async fn nothing_lost(pipeline: &Pipeline, arena: &Arena, steps: usize) {
    for control in [1, 2] {
        let shown = answer(pipeline, control, &arena.path).await;
        let mut wanted = BTreeMap::from([("total".to_owned(), (WRITERS * steps.div_ceil(2)).to_string())]);
        for writer in 0..WRITERS {
            let last = |remainder: usize| (1..=steps).rev().find(|step| step % 2 == remainder).unwrap().to_string();
            wanted.insert(format!("last-{writer}"), last(1));
            wanted.insert(format!("patched-{writer}"), last(0));
        }
        assert_eq!(shown["metadata"], json!(wanted), "control plane {control}");
    }
}

/// One application per uid, whoever won, and each with the one secret that is made with it.
async fn one_of_each(pipeline: &Pipeline, arena: &Arena, steps: usize) {
    let applications = answer(pipeline, 1, "/applications").await;
    let prefix = arena.uids();
    let ours: Vec<&Value> = applications
        .as_array()
        .unwrap()
        .iter()
        .filter(|it| it["uid"].as_str().is_some_and(|uid| uid.starts_with(&prefix)))
        .collect();
    let uids: BTreeSet<&str> = ours.iter().filter_map(|it| it["uid"].as_str()).collect();
    assert_eq!((ours.len(), uids.len()), (steps / 5, steps / 5), "{uids:?}");
    for application in ours {
        let id = application["application_id"].as_str().unwrap();
        let secrets = answer(pipeline, 2, &format!("/application_secrets?application_id={id}")).await;
        assert_eq!(secrets.as_array().map(Vec::len), Some(1), "{id} is torn");
    }
    let won = arena.won.lock();
    let twice: Vec<_> = won.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "given twice: {twice:?}");
}

async fn the_audit_is_a_chain(pipeline: &Pipeline, arena: &Arena) {
    let output = pipeline.command(&["audit", "--object", &arena.subscription, "--output", "json"]).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let records: Vec<Audit> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(records[0].before.is_none() && records[0].action == "subscription.create", "{:?}", records[0]);
    for pair in records.windows(2) {
        assert_eq!(pair[0].after, pair[1].before, "an update was lost between {:?} and {:?}", pair[0], pair[1]);
    }
    let writes: BTreeSet<_> = records.iter().map(|record| record.write_id).collect();
    assert_eq!(writes.len(), records.len(), "a write stands twice");
    let complete = records.iter().all(|it| it.actor == "admin" && it.address.is_some() && it.request_id.is_some());
    assert!(complete, "who, from where, by which request");
}
