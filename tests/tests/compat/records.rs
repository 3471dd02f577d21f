//! Golden records: text that lies in somebody's topics. A new field adds a line below; a line that is there never changes.
//!
//! `schemas/golden` has the records of the pipeline's topics, `golden/control.v1.txt` those of `control`, which are kept for ever:
//! each as its first version wrote it, and with every field there is.

use std::collections::BTreeSet;
use std::path::Path;

use schemas::attempt::Lifecycle;
use schemas::audit::Audit;
use schemas::control::{ControlKey, ControlObject};

const CONTROL: &str = include_str!("golden/control.v1.txt");
const OLD_LIFECYCLE: &str = include_str!("../../../schemas/golden/lifecycle.v1.json");
const LIFECYCLES: &str = include_str!("../../../schemas/golden/lifecycle.v2.txt");
const AUDIT: &str = include_str!("golden/audit.v1.json");

/// What `schemas` itself decodes in its tests.
const OF_SCHEMAS: [&str; 8] = [
    "delivery.v1.txt",
    "lane.v1.json",
    "lane_chunk.v1.json",
    "lifecycle.v1.json",
    "lifecycle.v2.txt",
    "source.v1.txt",
    "status.v1.txt",
    "subscription.v1.json",
];

#[test]
fn objects_of_version_1_decode_and_encode_to_themselves() {
    let mut kinds = BTreeSet::new();
    for line in CONTROL.lines() {
        let (key, text) = line.split_once(' ').expect("a key and a value");
        let key = ControlKey::parse(key).unwrap_or_else(|| panic!("a key of ours: {key}"));
        let object = ControlObject::decode(&key, text.as_bytes()).unwrap_or_else(|error| panic!("{key}: {error}"));
        assert_eq!(object.key(), key);
        kinds.insert(key.to_string().split('/').next().unwrap_or_default().to_owned());
        // What the first version left out is either absent or written with its default.
        let again = object.encode().unwrap();
        let decoded = ControlObject::decode(&key, &again).unwrap();
        assert_eq!(decoded, object, "{key}");
        let (old, new): (serde_json::Value, serde_json::Value) =
            (serde_json::from_str(text).unwrap(), serde_json::from_slice(&again).unwrap());
        let lost = old.as_object().unwrap().iter().find(|(name, value)| new.get(name.as_str()) != Some(*value));
        assert_eq!(lost, None, "{key}: a field is lost or changed");
    }
    let all = [
        "application",
        "application_secret",
        "cancelled_job",
        "event_type",
        "organization",
        "schema_registry",
        "service_token",
        "subscription",
    ];
    assert_eq!(kinds.iter().map(String::as_str).collect::<Vec<_>>(), all, "every kind has its lines");
}

/// A lifecycle record of version 1 has its answer in its JSON, and its origin as an object; one of version 2 is written as it is
/// read.
#[test]
fn facts_of_every_version_decode() {
    let old = Lifecycle::decode(OLD_LIFECYCLE.trim().as_bytes()).unwrap();
    let exchange = old.exchange.as_ref();
    assert_eq!((exchange.map(|it| it.headers.len()), old.origin.as_deref()), (Some(1), Some("hookbus.events/3/42")));
    for line in LIFECYCLES.lines() {
        let lifecycle = Lifecycle::decode(line.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(lifecycle.encode().unwrap()).unwrap(), line);
    }
    let audit: Audit = serde_json::from_str(AUDIT).unwrap();
    assert_eq!(serde_json::to_string(&audit).unwrap(), AUDIT.trim());
}

#[test]
fn no_golden_record_is_forgotten() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas/golden");
    let names =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    let names: BTreeSet<String> = names.collect();
    assert_eq!(names.iter().map(String::as_str).collect::<Vec<_>>(), OF_SCHEMAS);
}
