//! Commands that ask Kafka end quietly where nobody reads their answer; those without Kafka stand in deploy/hookbus/tests.

use testkit::dev::Dev;
use testkit::supervisor::Settings;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_from_kafka_that_nobody_reads_are_no_failure() {
    let dev = Dev::start("closed-pipe", Settings::default()).await.unwrap();
    for arguments in [
        &["status"][..],
        &["status", "--output", "json"],
        &["retries"],
        &["retries", "--output", "json"],
        &["audit"],
        &["topics", "plan"],
        &["offsets", "show"],
        &["tail", "control", "--from", "beginning", "--no-follow"],
        &["tail", "control", "--from", "beginning"],
        // Nothing comes that it could fail to print.
        &["tail", "control", "--from", "end"],
    ] {
        let (code, said) = dev.unread(arguments).await.unwrap();
        assert_eq!(code, Some(0), "{arguments:?}: {said}");
        assert!(!said.contains("hookbus:") && !said.to_lowercase().contains("pipe"), "{arguments:?}: {said}");
    }
    dev.stop().await.unwrap();
}
