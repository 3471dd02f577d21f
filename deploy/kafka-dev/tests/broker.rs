//! The launcher against the real thing. Needs Java and Maven (or the jars in the cache), as every test with Kafka does.

use std::path::Path;

use kafka_dev::tether::Exit;
use kafka_dev::{Broker, BrokerOptions, Jars, KafkaDevError, Proxied, prepare};
use tokio::net::TcpStream;

async fn jars() -> Jars {
    let cache = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../var/cache");
    prepare(&cache, |_| {}).await.expect("Kafka can be fetched")
}

#[tokio::test]
async fn a_broker_starts_serves_all_its_listeners_and_comes_back_with_its_data() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = BrokerOptions::new(jars().await, folder.path().join("data"), folder.path().join("kafka.log"));
    options.quick = true;
    options.heap_mib = 256;
    options.proxied = vec![Proxied { port: 0, advertised: 0 }];
    let mut broker = Broker::start(options).await.unwrap();
    let chosen = broker.options().clone();
    for port in [broker.port(), chosen.proxied[0].port] {
        TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    }
    let refused = Broker::start(chosen.clone()).await.unwrap_err();
    assert!(matches!(refused, KafkaDevError::InUse { .. }), "{refused}");
    broker.pause().unwrap();
    broker.resume().unwrap();
    assert_eq!(broker.kill().await.unwrap(), Exit::Signal(9));

    let formatted = std::fs::read_to_string(folder.path().join("data/storage/meta.properties")).unwrap();
    let controller = folder.path().join("data/controller.log");
    let fenced = || std::fs::read_to_string(&controller).unwrap().contains("Fencing broker 1");
    assert!(!controller.exists(), "there was nobody before");
    let mut again = Broker::start(chosen.clone()).await.unwrap();
    assert!(fenced());
    assert_eq!(again.port(), chosen.port);
    assert_eq!(std::fs::read_to_string(folder.path().join("data/storage/meta.properties")).unwrap(), formatted);
    again.pause().unwrap();
    assert_eq!(again.stop().await.unwrap(), Exit::Signal(15), "a paused broker hears SIGTERM too");

    std::fs::write(&controller, "").unwrap();
    let _last = Broker::start(chosen).await.unwrap();
    assert!(fenced(), "after a clean end too");
}

#[tokio::test]
async fn a_broker_that_cannot_start_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut options = BrokerOptions::new(jars().await, folder.path().join("data"), folder.path().join("kafka.log"));
    options.quick = true;
    options.heap_mib = 256;
    options.port = taken.local_addr().unwrap().port();
    let error = Broker::start(options).await.unwrap_err();
    assert!(matches!(error, KafkaDevError::Ended { .. }), "{error}");
    assert!(error.to_string().contains("Address already in use"), "{error}");
}
