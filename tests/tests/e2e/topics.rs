//! Outcome 7: a cluster that does not fit is described, not altered.

use testkit::broker::SharedKafka;
use testkit::pipeline::{Setup, console};
use testkit::{Expect, Pipeline};

/// What `hookbus topics <command>` prints, and whether it is content.
async fn topics(pipeline: &Pipeline, command: &str, environment: &[(&str, &str)]) -> (bool, String) {
    let output = pipeline.command_with(environment, &["topics", command]).await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    (output.status.success(), text)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_that_do_not_fit_are_described_and_left_as_they_are() {
    let pipeline = Setup::new("topics").topics_only().await.unwrap();
    let (content, plan) = topics(&pipeline, "plan", &[]).await;
    assert!(content, "what `ensure` made fits: {plan}");

    let brokers = SharedKafka::of_this_run().unwrap().bootstrap;
    let control = pipeline.topics().control.to_string();
    console::delete_topic(&brokers, &control).await.unwrap();
    let config = ["cleanup.policy=delete", "message.timestamp.type=LogAppendTime", "max.message.bytes=1048588"];
    console::create_topic(&brokers, &control, 1, &config).await.unwrap();
    let other = [("HOOKBUS__TOPICS__PARTITIONS__EVENTS", "5")];
    for command in ["plan", "ensure", "plan"] {
        let (content, text) = topics(&pipeline, command, &other).await;
        assert!(!content, "{command}: {text}");
        for line in ["partitions: 2, should be 5", "cleanup.policy: delete, should be compact"] {
            assert!(text.contains(line), "{command} does not say `{line}`: {text}");
        }
        assert!(text.contains(&*pipeline.topics().events) && text.contains(&control), "{text}");
    }
    pipeline.finish(Expect::default()).await.unwrap();
}
