//! A dead endpoint beside its neighbours on one partition. The long form, with its figures, is `bench dead`.

use serde_json::json;
use testkit::Expect;
use testkit::pipeline::{Event, Role, Setup, report};
use testkit::wait::eventually;

use crate::lists::{LONG, WINDOW, event_type, one_partition, publish, queued};

const NEIGHBOURS: usize = 3;
const COUNT: usize = 2_500;

/// Thousands wait for an endpoint that answers 503. Its neighbours are served meanwhile, nothing is written for waiting, and with its worker
/// killed while they wait and while they come, each comes once it is healed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_a_dead_endpoint_harms_no_neighbour_and_comes_once_it_is_healed() {
    let setup = Setup::new("dead").set("delivery.breaker_failures", 5);
    let retry = json!({ "retry": vec!["1s"; 60] });
    let (mut pipeline, application, made) = one_partition(setup, NEIGHBOURS + 1, &retry).await;
    let (dead, neighbours) = (made[NEIGHBOURS].clone(), &made[..NEIGHBOURS]);
    pipeline.endpoint().script(&dead.path, "503").unwrap();
    publish(&pipeline, &application, NEIGHBOURS, 0..COUNT).await;
    queued(&mut pipeline, COUNT / 2).await;
    for round in 0..2 {
        for (number, neighbour) in neighbours.iter().enumerate() {
            let event = Event::new(format!("beside-{number}-{round}"), &event_type(number));
            pipeline.publish(&application, &[event]).await.unwrap();
            pipeline.endpoint().wait_for(&neighbour.path, round + 1, LONG).await.unwrap();
        }
        if round == 0 {
            pipeline.roles().kill(Role::Delivery, 1).await.unwrap();
            pipeline.roles().start(Role::Delivery, 1).await.unwrap();
        }
    }
    pipeline.endpoint().script(&dead.path, "204+delay=5ms").unwrap();
    let endpoint = pipeline.endpoint();
    let came = || endpoint.requests(&dead.path).iter().filter(|seen| seen.succeeded()).count();
    eventually("some have come", LONG, || async { (came() > COUNT / 4).then_some(()) }).await.unwrap();
    pipeline.roles().kill(Role::Delivery, 1).await.unwrap();
    pipeline.roles().start(Role::Delivery, 1).await.unwrap();
    let expect = Expect { repeats: 2 * WINDOW, unclean: true, ..Expect::default() };
    let outcome = pipeline.finish_within(expect, LONG).await.unwrap();
    let counts = outcome.audit.counts;
    assert_eq!(counts.delivered, COUNT + 2 * NEIGHBOURS);
    let refused =
        |request: &&testkit::ledger::books::Request| request.answered.is_some_and(|(status, _)| status == 503);
    let refused = outcome.books.requests.iter().filter(refused).count();
    let written = outcome.books.hops.len() - counts.deliveries;
    assert!(written <= refused, "{written} payloads were written again, and only {refused} attempts failed");
    report(&format!("dead: {refused} attempts failed, {written} payloads written again, {} repeats", counts.repeats));
}
