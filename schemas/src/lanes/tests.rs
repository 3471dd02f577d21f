//! Round trips, refusals, and the golden records of version 1.

use super::*;
use crate::delivery::LastAttempt;
use proptest::prelude::*;

fn lane() -> SubscriptionId {
    SubscriptionId(Uuid::from_u128(0x5001))
}

fn chunk_key(list: u32, number: i64) -> LaneKey {
    LaneKey::Chunk(ChunkKey { subscription: lane(), list, number })
}

#[test]
fn a_key_is_a_subscription_or_a_chunk_and_has_one_spelling() {
    let id = "00000000-0000-0000-0000-000000005001";
    for (text, key) in [(id.to_owned(), LaneKey::Lane(lane())), (format!("{id}/7/-3"), chunk_key(7, -3))] {
        assert_eq!(LaneKey::decode(Some(text.as_bytes())), Ok(key));
        assert_eq!(key.to_string(), text);
    }
    for bad in ["", "x", &format!("{id}/"), &format!("{id}/1"), &format!("{id}/1/2/3"), &format!("{id}/01/2")] {
        assert!(LaneKey::decode(Some(bad.as_bytes())).is_err(), "{bad}");
    }
    assert_eq!(LaneKey::decode(None), Err(LaneError::Key(String::new())));
}

#[test]
fn the_golden_lane_of_version_1_still_decodes_and_encodes_to_itself() {
    let golden = include_str!("../../golden/lane.v1.json").trim();
    let record = LaneRecord::decode(LaneKey::Lane(lane()), golden.as_bytes()).unwrap();
    let [retries, tries] = &record.lists[..] else { panic!("two lists: {record:?}") };
    assert_eq!((retries.role, &retries.front[..], retries.chunks), (ListRole::Retries, &[4_000, 4_002][..], (0, 0)));
    assert_eq!(
        (tries.role, tries.chunks, &tries.back[..]),
        (ListRole::FirstTries, (-1, 1), &[9_000_001, 9_000_300][..])
    );
    assert_eq!(record.circuit, Some(LaneCircuit { until_ms: 1_700_000_005_000, wait_ms: 10_000 }));
    assert_eq!(String::from_utf8(record.encode().to_vec()).unwrap(), golden);
}

#[test]
fn the_golden_chunk_of_version_1_still_decodes_and_encodes_to_itself() {
    let golden = include_str!("../../golden/lane_chunk.v1.json").trim();
    let record = ChunkRecord::decode(chunk_key(2, 0), golden.as_bytes()).unwrap();
    assert_eq!(record.offsets, [5_000, 5_002, 5_900]);
    assert_eq!(String::from_utf8(record.encode().to_vec()).unwrap(), golden);
}

#[test]
fn a_later_version_and_anything_else_is_refused_by_name() {
    let key = LaneKey::Lane(lane());
    let newer = LaneRecord::decode(key, br#"{"v":2}"#).unwrap_err();
    assert_eq!(
        newer.to_string(),
        format!("the value of `{key}` cannot be read: its version is 2, this release reads 1")
    );
    for bad in ["", "{}", r#"{"v":1,"lists":[{}]}"#] {
        assert!(LaneRecord::decode(key, bad.as_bytes()).is_err(), "{bad}");
    }
    let broken = ChunkRecord::decode(chunk_key(1, 1), br#"{"v":1,"offsets":"!","oldest_ms":0,"dead_ms":0}"#);
    assert!(broken.unwrap_err().to_string().contains("no list of offsets"));
}

#[test]
fn what_is_known_of_an_origin_comes_back_and_is_not_there_for_a_closed_one() {
    let key = LaneKey::Lane(lane());
    let origin = Some(LaneCircuit { until_ms: 7, wait_ms: 5_000 });
    let record = LaneRecord { origin, ..LaneRecord::new(Vec::new()) };
    assert_eq!(&record.encode()[..], br#"{"v":1,"origin":{"until_ms":7,"wait_ms":5000}}"#);
    assert_eq!(LaneRecord::decode(key, &record.encode()), Ok(record));
    assert_eq!(LaneRecord::decode(key, br#"{"v":1}"#).unwrap().origin, None, "as releases before wrote it");
}

#[test]
fn which_version_a_lane_was_looked_at_by_comes_back_and_needs_not_be_said() {
    let key = LaneKey::Lane(lane());
    let record = LaneRecord { reviewed_of: Some(7), ..LaneRecord::new(Vec::new()) };
    assert_eq!(&record.encode()[..], br#"{"v":1,"reviewed_of":7}"#);
    assert_eq!(LaneRecord::decode(key, &record.encode()), Ok(record));
    assert_eq!(LaneRecord::decode(key, br#"{"v":1}"#).unwrap().reviewed_of, None, "as releases before wrote it");
    let later = LaneRecord::decode(key, br#"{"v":1,"window":3,"of_a_later_release":{"a":1}}"#).unwrap();
    assert_eq!(later.window, Some(3), "what a later release adds is passed over");
}

#[test]
fn a_held_key_says_what_comes_back_and_needs_not_say_it() {
    let key = LaneKey::Lane(lane());
    let before = r#"{"v":1,"held_keys":[{"key":"0000000000000007","delivery":"00000000-0000-0000-0000-000000000009","matched_at":1,"until_ms":500}]}"#;
    let mut record = LaneRecord::decode(key, before.as_bytes()).unwrap();
    assert_eq!(String::from_utf8(record.encode().to_vec()).unwrap(), before, "as releases before wrote it");
    assert_eq!(record.held_keys[0].hurried(20), None);
    record.held_keys[0].retry = Some(PendingRetry::new(40, 3, 90));
    let (hurried, superseded) = record.held_keys[0].hurried(20).unwrap();
    assert_eq!(hurried.retry, Some(PendingRetry::new(40, 3, 20)));
    assert_eq!(hurried.unhurried(&superseded), record.held_keys[0]);
    assert!(superseded.is(hurried.delivery, 3, 90) && !superseded.is(hurried.delivery, 3, 20));
    assert!(superseded.until_ms > hurried.until_ms);
    record.superseded = vec![superseded];
    assert_eq!(LaneRecord::decode(key, &record.encode()), Ok(record));
}

#[test]
fn a_retry_says_how_the_last_attempt_ended_in_a_few_words() {
    let error = "é".repeat(80);
    let retry = PendingRetry::new(40, 3, 90).after(LastAttempt { status: Some(503), error: &error });
    assert_eq!(retry.last(), Some(LastAttempt { status: Some(503), error: &"é".repeat(50) }));
    assert_eq!(PendingRetry::new(40, 3, 90).last(), None, "a release before said nothing");
}

#[test]
fn an_origins_digest_is_the_same_in_every_release() {
    let endpoint = Some(LaneEndpoint::new(7, "https://example.com"));
    let record = LaneRecord { endpoint, ..LaneRecord::new(Vec::new()) };
    let text = r#"{"v":1,"endpoint":{"of":7,"origin":"4fd35a71-71ef-5a55-a9d9-aa75c889a6d0"}}"#;
    assert_eq!(String::from_utf8(record.encode().to_vec()).unwrap(), text);
    assert_eq!(LaneRecord::decode(LaneKey::Lane(lane()), text.as_bytes()), Ok(record));
    assert_ne!(endpoint, Some(LaneEndpoint::new(7, "https://example.com:8443")));
}

#[test]
fn a_lane_that_says_nothing_is_empty() {
    assert!(LaneRecord::new(Vec::new()).is_empty());
    assert!(!LaneRecord { window: Some(4), ..LaneRecord::new(Vec::new()) }.is_empty());
}

#[test]
fn a_full_front_of_a_busy_partition_is_short() {
    let offsets: Vec<i64> = (0..256).map(|at| 123_456_789 + at * 3).collect();
    assert!(encode_offsets(&offsets).len() < 360, "{}", encode_offsets(&offsets).len());
}

proptest! {
    #[test]
    fn any_offsets_come_back(offsets in proptest::collection::vec(any::<i64>(), 0..300)) {
        prop_assert_eq!(decode_offsets(&encode_offsets(&offsets)), Some(offsets));
    }

    #[test]
    fn no_text_makes_it_panic(text in "[A-Za-z0-9_-]{0,40}") {
        if let Some(offsets) = decode_offsets(&text) {
            prop_assert!(offsets.len() <= text.len());
        }
    }
}
