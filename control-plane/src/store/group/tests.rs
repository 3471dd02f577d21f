//! Writes that wait together.

use std::collections::BTreeSet;

use chassis::tasks;
use schemas::control::{Application, ControlObject, Sealed, ServiceToken, Subscription, Target, TokenRole};
use schemas::ids::{ApplicationId, OrganizationId, ServiceTokenId, SubscriptionId};
use schemas::problem::{Code, ProblemId};
use schemas::record::{Headers, OutRecord};
use tokio::task::JoinHandle;

use super::*;
use crate::actor::{Actor, Caller};
use crate::store::log::ControlLog;
use crate::store::tests::{Memory, Step, audited, names, organization, store};
use crate::store::{Decision, Store};

fn memory(store: &Store) -> &Memory {
    match &store.inner.log {
        ControlLog::Memory(memory) => memory,
        ControlLog::Kafka { .. } => panic!("a store in memory"),
    }
}

/// Gives an organization the next number, unless its name is taken.
fn add(snapshot: &Snapshot, name: &str) -> Result<Decision<u128>, Problem> {
    if snapshot.organizations().any(|it| it.name == name) {
        return Err(Problem::new(ProblemId::Validation, format!("{name} is taken")));
    }
    let number = snapshot.organizations().count() as u128 + 1;
    Ok(Decision::put(organization(number, name), number))
}

/// A write by itself, begun. It has a number that nobody else has, or is refused because its name is taken.
async fn named(store: &Store, name: &'static str) -> JoinHandle<Result<u128, Problem>> {
    let waiting = store.inner.line.lock().writes.len();
    let own = store.clone();
    let rule = move |snapshot: &Snapshot, _: Moment| add(snapshot, name);
    let write = tasks::spawn("write", async move { own.write("test".to_owned(), rule).await });
    until(|| store.inner.line.lock().writes.len() > waiting || write.is_finished()).await;
    write
}

/// Lets others run until something is so.
async fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        tokio::task::yield_now().await;
    }
}

/// A store whose first write is under way and stays so as long as its gate is held.
async fn busy(store: &Store) -> JoinHandle<Result<u128, Problem>> {
    let own = store.clone();
    let rule = |_: &Snapshot, _: Moment| Ok(Decision::put(organization(1, "first"), 1));
    let first = tasks::spawn("write", async move { own.write("test".to_owned(), rule).await });
    until(|| store.inner.line.lock().is_served && store.inner.line.lock().writes.len() == 0).await;
    first
}

#[tokio::test]
async fn writes_that_wait_share_a_transaction_and_each_has_its_own_answer_and_audit() {
    let store = store(vec![]);
    let gate = memory(&store).gate.lock().await;
    let first = busy(&store).await;
    let mut writes = Vec::new();
    for name in ["a", "b", "a", "c"] {
        writes.push(named(&store, name).await);
    }
    drop(gate);
    assert_eq!(first.await.unwrap().unwrap(), 1);
    let mut answers = Vec::new();
    for write in writes {
        answers.push(write.await.unwrap().map_err(|problem| problem.detail.clone()));
    }
    assert_eq!(answers, [Ok(2), Ok(3), Err("a is taken".to_owned()), Ok(4)]);
    assert_eq!(names(&store), ["first", "a", "b", "c"]);
    assert_eq!(store.inner.metrics.transactions.get(), 2, "one for the first, one for those who waited for it");
    let audited = audited(&store);
    let writes: BTreeSet<_> = audited.iter().map(|it| it.write_id).collect();
    assert_eq!((audited.len(), writes.len()), (4, 4));
    assert_eq!(store.inner.metrics.listed.get(), 1, "what the transaction proves needs no listed end");
}

#[tokio::test]
async fn a_group_that_is_fenced_is_decided_again_over_what_the_other_wrote() {
    let store = store(vec![]);
    let gate = memory(&store).gate.lock().await;
    let first = busy(&store).await;
    let writes = [named(&store, "a").await, named(&store, "other").await];
    // The first write is the one that meets it: both come after it.
    memory(&store).script.lock().push_back(Step::FencedBy(2));
    drop(gate);
    first.await.unwrap().unwrap();
    let [a, other] = writes;
    assert_eq!(a.await.unwrap().unwrap(), 3);
    assert_eq!(other.await.unwrap().unwrap_err().detail, "other is taken");
}

#[tokio::test]
async fn a_write_that_fits_no_topic_and_one_that_panics_fail_alone() {
    let store = store(vec![]);
    let gate = memory(&store).gate.lock().await;
    let first = busy(&store).await;
    let long: &'static str = Box::leak("x".repeat(3_000).into_boxed_str());
    let own = store.clone();
    let panics = tasks::spawn("write", async move {
        let rule = |_: &Snapshot, _: Moment| -> Result<Decision<()>, Problem> { panic!("a defect of a rule") };
        own.write("test".to_owned(), rule).await
    });
    until(|| store.inner.line.lock().writes.len() == 1).await;
    let writes = [named(&store, "a").await, named(&store, long).await, named(&store, "b").await];
    drop(gate);
    first.await.unwrap().unwrap();
    assert_eq!(panics.await.unwrap().unwrap_err().status, 500);
    let mut outcomes = Vec::new();
    for write in writes {
        outcomes.push(write.await.unwrap().map_err(|problem| problem.status));
    }
    assert_eq!(outcomes, [Ok(2), Err(413), Ok(3)]);
}

#[tokio::test]
async fn a_batch_is_decided_in_its_order_and_a_trial_of_it_writes_nothing() {
    let store = store(vec![]);
    let rules = || {
        let rule = |name| move |snapshot: &Snapshot, _: Moment| add(snapshot, name);
        ["a", "b", "a"].map(rule).into_iter().enumerate().collect()
    };
    let shown = |answers: Vec<Result<u128, Problem>>| -> Vec<_> { answers.into_iter().map(Result::ok).collect() };
    let caller = Caller { dry_run: true, ..Caller::default() };
    let tried = store.write_all(Actor::new("test", caller), rules()).await.unwrap();
    assert_eq!(shown(tried), [Some(1), Some(2), None]);
    assert_eq!(names(&store), Vec::<String>::new());
    let written = store.write_all("test".to_owned(), rules()).await.unwrap();
    assert_eq!(shown(written), [Some(1), Some(2), None]);
    assert_eq!(names(&store), ["a", "b"]);
}

#[tokio::test]
async fn a_trial_that_takes_several_looks_is_answered_as_one_that_takes_one() {
    let mut store = store(vec![]);
    Arc::get_mut(&mut store.inner).unwrap().hold = Duration::ZERO;
    let unreadable = |snapshot: &Snapshot| {
        let mut decision = add(snapshot, "half")?;
        decision.changes.push(Change::Put(token("no hash")));
        Ok(decision)
    };
    let rule = |name| {
        move |snapshot: &Snapshot, _: Moment| if name == "x" { unreadable(snapshot) } else { add(snapshot, name) }
    };
    let rules = ["a", "b", "a", "x", "half", "a"].map(rule).into_iter().enumerate().collect();
    let caller = Caller { dry_run: true, ..Caller::default() };
    let tried = store.write_all(Actor::new("test", caller), rules).await.unwrap();
    let tried: Vec<_> = tried.into_iter().map(|it| it.map_err(|problem| problem.status)).collect();
    assert_eq!(tried, [Ok(1), Ok(2), Err(422), Err(500), Ok(3), Err(422)], "each sees what stands before it");
    assert_eq!(names(&store), Vec::<String>::new());
}

/// A subscription that every process can read.
fn subscription(is_enabled: bool) -> ControlObject {
    let (id, application) = (SubscriptionId(Uuid::from_u128(5)), ApplicationId(Uuid::from_u128(2)));
    let mut object = Subscription::new(id, application, 1);
    object.target = Target { method: "POST".into(), url: "https://e.example/".into(), ..Target::default() };
    object.is_enabled = is_enabled;
    ControlObject::Subscription(Box::new(object))
}

#[tokio::test]
async fn what_a_write_cancels_was_matched_over_the_write_before_it_too() {
    let store = store(vec![]);
    let gate = memory(&store).gate.lock().await;
    let first = busy(&store).await;
    let own = store.clone();
    let rule = |is_enabled| move |_: &Snapshot, moment: Moment| Ok(Decision::put(subscription(is_enabled), moment.end));
    let writes = tasks::spawn("write", async move {
        own.write_all("test".to_owned(), vec![(0, rule(true)), (1, rule(false))]).await
    });
    until(|| store.inner.line.lock().writes.len() == 2).await;
    drop(gate);
    first.await.unwrap().unwrap();
    let ends: Vec<i64> = writes.await.unwrap().unwrap().into_iter().map(Result::unwrap).collect();
    // The first write's record stands at the end that it was told.
    assert!(ends[1] > ends[0], "what was matched over the first is below the end that the second cancels by: {ends:?}");
}

/// A token that is found by this hash.
fn token(lookup: &str) -> ControlObject {
    ControlObject::ServiceToken(ServiceToken {
        token_id: ServiceTokenId(Uuid::from_u128(1)),
        organization_id: OrganizationId(Uuid::from_u128(1)),
        name: "one".to_owned(),
        role: TokenRole::Editor,
        lookup: lookup.to_owned(),
        token: Sealed { kid: String::new(), nonce: String::new(), ct: String::new() },
        created_ms: 1,
        expires_ms: None,
    })
}

#[tokio::test]
async fn a_lone_write_makes_nothing_that_nobody_could_read() {
    let store = store(vec![]);
    let rule = |_: &Snapshot, _: Moment| Ok(Decision::put(token("no hash"), ()));
    let problem = store.write("test".to_owned(), rule).await.unwrap_err();
    assert_eq!(problem.status, 500);
    assert_eq!(store.inner.catalog.read().undecodable(), 0, "it is not on the topic");
}

#[tokio::test]
async fn a_topic_that_may_not_be_written_holds_nobody_up() {
    let mut store = store(vec![]);
    let operators = ApplicationId(Uuid::from_u128(7));
    let inner = Arc::get_mut(&mut store.inner).unwrap();
    let ControlLog::Memory(log) = &mut inner.log else { panic!("a store in memory") };
    log.operations = Some(crate::operations::Operations::new(operators, "events".into()));
    log.denies_others = true.into();
    let application = Application::new(operators, OrganizationId(Uuid::from_u128(1)), "operators", 1);
    for object in [ControlObject::Application(application), subscription(true), subscription(false)] {
        let rule = move |_: &Snapshot, _: Moment| Ok(Decision::put(object.clone(), ()));
        store.write("test".to_owned(), rule).await.unwrap();
    }
    assert_eq!(store.inner.metrics.not_told.get(), 1, "the subscription is disabled, and nobody is told");
    assert!(crate::store::beside(&store).is_empty());
    // What a write itself has to write there fails, alone and at once.
    let record =
        OutRecord { topic: "deliveries".into(), partition: None, key: None, value: None, headers: Headers::default() };
    let gate = memory(&store).gate.lock().await;
    let first = busy(&store).await;
    let own = store.clone();
    let denied = tasks::spawn("write", async move {
        let rule = move |_: &Snapshot, _: Moment| {
            let changes = vec![Change::Put(organization(9, "pings"))];
            Ok(Decision { changes, beside: vec![record.clone()], used: Vec::new(), answer: () })
        };
        own.write("test".to_owned(), rule).await
    });
    until(|| store.inner.line.lock().writes.len() == 1).await;
    let beside_it = named(&store, "beside it").await;
    drop(gate);
    first.await.unwrap().unwrap();
    let problem = denied.await.unwrap().unwrap_err();
    assert_eq!((problem.status, problem.code), (503, Some(Code::KafkaUnavailable)));
    assert!(beside_it.await.unwrap().is_ok());
    assert!(!names(&store).contains(&"pings".to_owned()));
}

#[tokio::test]
async fn a_group_whose_answer_was_lost_is_found_by_the_id_of_its_transaction() {
    let store = store(vec![Step::LostAnswer]);
    let rule = |name| move |snapshot: &Snapshot, _: Moment| add(snapshot, name);
    let rules = ["a", "b"].map(rule).into_iter().enumerate().collect();
    let written = store.write_all("test".to_owned(), rules).await.unwrap();
    assert!(written.iter().all(Result::is_ok), "{written:?}");
    assert_eq!(names(&store), ["a", "b"], "it is there, so it is not written again");
    assert_eq!((store.inner.metrics.unknown.get(), store.inner.metrics.transactions.get()), (1, 0));
}

#[tokio::test]
async fn the_next_group_is_decided_over_all_of_the_one_before_it() {
    let store = store(vec![Step::Torn]);
    let own = store.clone();
    let first = tasks::spawn("write", async move {
        let rule = |name| move |snapshot: &Snapshot, _: Moment| add(snapshot, name);
        own.write_all("test".to_owned(), ["a", "b"].map(rule).into_iter().enumerate().collect()).await
    });
    until(|| !names(&store).is_empty()).await;
    let again = named(&store, "b").await;
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(names(&store), ["a"], "half of it has come, and nothing was decided over that");
    assert!(!first.is_finished(), "who is answered sees what was written");
    memory(&store).rest.add_permits(1);
    assert!(first.await.unwrap().unwrap().iter().all(Result::is_ok));
    assert_eq!(again.await.unwrap().unwrap_err().detail, "b is taken");
    assert_eq!(names(&store), ["a", "b"]);
}
