//! `deploy/compose/compose.yaml`, brought up against real Kafka.

use std::time::Duration;

use testkit::broker;
use testkit::environment::hookbus_binary;
use testkit::player::compose::{ComposeOptions, ComposePlayer};
use testkit::wait::eventually;

/// From a start on a busy machine to the first delivery.
const SOON: Duration = Duration::from_secs(120);
const VERIFIED: &str = "signature verified";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn up_is_all_it_takes_to_a_verified_delivery_and_down_and_up_again_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let kafka = broker::start(folder.path(), 0).await.unwrap();
    let options = ComposeOptions {
        binary: hookbus_binary().unwrap(),
        folder: folder.path().join("compose"),
        variables: [("HOOKBUS_SUBNET".to_owned(), "127.0.0.0/8".to_owned())].into(),
        provided: [("kafka:9092".to_owned(), kafka.bootstrap())].into(),
    };
    for start in ["first", "second"] {
        let compose = ComposePlayer::up(options.clone()).await.unwrap();
        // The log goes on where it was: one event is sent by each start.
        let wanted = if start == "first" { 1 } else { 2 };
        let log = || compose.log("demo").unwrap();
        let verified =
            eventually("a verified delivery", SOON, async || (log().matches(VERIFIED).count() >= wanted).then_some(()));
        verified.await.unwrap_or_else(|error| panic!("{start}: {error}\n{}", log()));
        assert!(!log().contains("SIGNATURE REFUSED"), "{}", log());
        assert_eq!(compose.down().await.unwrap(), [""; 0], "{start}");
    }
    kafka.kill().await.unwrap();
}
