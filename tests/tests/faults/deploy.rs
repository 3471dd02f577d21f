//! A rolling deploy: every process of every role ends by SIGTERM and is replaced, with the grace periods of the defaults, while
//! events come in. Nobody is killed, so nothing may be repeated.

use std::time::Duration;

use kafka::clock::now_ms;
use kafka_dev::tether::Exit;
use testkit::Expect;
use testkit::pipeline::{Pipeline, Role, Setup, report};

use crate::scenes::{more_arrived, shop};

/// The grace period of 30 s, and then some for two busy cores.
const DRAINS_WITHIN: Duration = Duration::from_secs(90);

/// Each role is a deployment of two. `at_once`: all roles roll at the same time, as one `kubectl apply` makes them; else one after
/// the other. Within a role each process is replaced when the one before it is ready.
async fn roll(pipeline: &mut Pipeline, at_once: bool) {
    let steps: Vec<&[Role]> = if at_once { vec![&Role::ALL] } else { Role::ALL.chunks(1).collect() };
    for roles in steps {
        for number in [1, 2] {
            for role in roles {
                pipeline.roles().process(*role, number).unwrap().terminate().unwrap();
            }
            for role in roles {
                let process = pipeline.roles().process(*role, number).unwrap();
                assert_eq!(process.ended(DRAINS_WITHIN).await.unwrap(), Exit::Code(0), "{}", process.log_tail());
                pipeline.roles().launch(*role, number).await.unwrap();
            }
            for role in roles {
                pipeline.roles().ready(*role, number).await.unwrap();
            }
        }
    }
}

async fn deployed(name: &str, per_second: u32, deploys: &[bool]) {
    let (mut pipeline, application, subscriptions) = shop(Setup::new(name).doubled(), 6).await;
    // Some in flight at any time, some that come back through the delay topics.
    for subscription in &subscriptions {
        pipeline.endpoint().script(&subscription.path, "204+delay=50ms").unwrap();
    }
    pipeline.endpoint().script(&subscriptions[0].path, "500 204").unwrap();
    let load = pipeline.load(&application, "a.b", per_second);
    more_arrived(&pipeline, u64::from(per_second) * 6).await;
    let begun_ms = now_ms();
    for at_once in deploys {
        roll(&mut pipeline, *at_once).await;
    }
    let took_ms = now_ms() - begun_ms;
    more_arrived(&pipeline, u64::from(per_second) * 6).await;
    let loaded = load.stop().await.unwrap();
    let outcome = pipeline.finish(Expect::default()).await.unwrap();
    let counts = outcome.audit.counts;
    assert_eq!((u64::try_from(counts.accepted).unwrap(), counts.repeats), (loaded.accepted, 0));
    report(&format!(
        "{name}: {} deploys of ten processes in {took_ms} ms, {} accepted with {} retries, {} delivered, 0 repeats",
        deploys.len(),
        loaded.accepted,
        loaded.retries,
        counts.delivered
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_deploy_of_all_roles_at_once_repeats_nothing() {
    deployed("deploy", 30, &[true]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: make faults"]
async fn rolling_deploys_of_all_roles_under_load_repeat_nothing() {
    deployed("deploys", 100, &[false, true, true]).await;
}
