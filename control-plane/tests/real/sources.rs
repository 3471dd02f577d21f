//! Where sources begin, as a real cluster tells it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use kafka::{Offsets, Producer, ProducerOptions};
use schemas::ids::SourceId;
use schemas::record::{Headers, OutRecord, TopicPartition};
use schemas::topics::TopicSpec;
use serde_json::{Value, json};
use uuid::Uuid;

use super::support::{ADMIN, Replica, World};

/// A topic of somebody else, with three records in its first partition and one in its second.
async fn topic(world: &World, name: &str) {
    let spec = TopicSpec { name: Arc::from(name), partitions: 2, replication_factor: None, config: BTreeMap::new() };
    kafka::topics::ensure(&world.connection, &[spec]).await.unwrap();
    let producer = Producer::start(&world.connection, ProducerOptions::new("their-producer")).unwrap();
    for partition in [0, 0, 0, 1] {
        let record = OutRecord {
            topic: Arc::from(name),
            partition: Some(partition),
            key: None,
            value: Some(Bytes::from_static(b"{}")),
            headers: Headers::default(),
        };
        producer.send(&record).unwrap().await.unwrap();
    }
}

/// What stands on `control` of a source.
fn stored(replica: &Replica, shown: &Value) -> Value {
    let id: SourceId = shown["source_id"].as_str().unwrap().parse().unwrap();
    serde_json::to_value(&**replica.catalog.read().source(id).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_begins_at_offsets_of_the_topic_that_was_there() {
    let world = World::new().await;
    let replica = world.replica("one").await;
    let (prefix, named) = (format!("their-{}.", Uuid::new_v4().simple()), "orders");
    let orders = format!("{prefix}{named}");
    topic(&world, &orders).await;
    let definition = |topics: Value| json!({"name": "Orders", "topics": topics, "format": "json", "application": "{header:to}", "type": "a.b"});
    let (status, made) = replica.post("/sources", definition(json!([format!("{prefix}*")]))).await;
    assert_eq!(status, 201, "{made}");
    let begun = stored(&replica, &made)["starts"][&orders].clone();
    assert_eq!(begun["offsets"], json!([3, 1]));
    let offsets = Offsets::start(&world.connection).unwrap();
    let id = offsets.topic_id(&orders).await.unwrap().unwrap();
    assert_eq!(begun["topic_id"], json!(id));

    let path = format!("/sources/{}/move", made["source_id"].as_str().unwrap());
    let moved = async |to: Value| {
        let (status, moved) = replica.post(&path, json!({ "to": to })).await;
        assert_eq!(status, 200, "{moved}");
        stored(&replica, &moved)["starts"][&orders]["offsets"].clone()
    };
    assert_eq!(moved(json!("beginning")).await, json!([0, 0]));
    assert_eq!(moved(json!({"time": "2100-01-01T00:00:00Z"})).await, json!([3, 1]), "nothing is as young: the end");
    assert_eq!(moved(json!({"time": "2000-01-01T00:00:00Z"})).await, json!([0, 0]));
    let end = TopicPartition::new(orders.as_str(), 0);
    assert_eq!(offsets.end(&end).await.unwrap(), 3, "asking has written nothing");

    // A name that is not there is said to be so by the cluster itself.
    let (status, problem) = replica.post("/sources", definition(json!([format!("{prefix}ordres")]))).await;
    assert_eq!(status, 422, "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("there is no topic"), "{problem}");
    let (status, _) = replica.call(ADMIN, Method::DELETE, path.trim_end_matches("/move"), None).await;
    assert_eq!(status, 204);
    replica.stop().await;
}
