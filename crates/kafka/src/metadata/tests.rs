//! Round trips and limits of the commit metadata.

use proptest::prelude::*;

use super::*;

fn metadata(read_up_to: i64, not_done: Vec<i64>) -> CommitMetadata {
    CommitMetadata {
        nonce: Uuid::from_u128(7),
        transactional_id: "hookbus-delivery-0123456789abcdef-012345".into(),
        topic_id: Uuid::from_u128(u128::MAX),
        read_up_to,
        not_done,
        lists: None,
        position: None,
        slices: None,
    }
}

fn claim(queued: u64, from: i64) -> ListsClaim {
    ListsClaim { queued, sum: 0x0123_4567_89ab_cdef, topic_id: Uuid::from_u128(3), from }
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(
        committed in 0_i64..1_000_000_000_000,
        steps in prop::collection::vec(1_i64..400, 0..1_000),
        lists in prop::option::of((0_u64..1 << 63, 0..i64::MAX)),
    ) {
        let not_done: Vec<i64> = steps.iter().scan(committed, |at, step| { *at += step; Some(*at) }).collect();
        let read_up_to = not_done.last().map_or(committed, |last| last + 1);
        let lists = lists.map(|(queued, from)| claim(queued, from));
        let metadata = CommitMetadata { lists, ..metadata(read_up_to, not_done.clone()) };
        let (text, cut) = encode(committed, &metadata);
        prop_assert!(text.len() <= MAX_LENGTH);
        prop_assert_eq!(!cut, fits(committed, &not_done));
        if !cut {
            prop_assert_eq!(decode(committed, &text), Some(metadata));
        }
    }

    #[test]
    fn what_does_not_fit_is_cut_without_forgetting_anything_not_done(
        committed in 0_i64..1_000_000_000_000,
        steps in prop::collection::vec(1_i64..100_000_000, 900..3_000),
        queued in 0_u64..1 << 63,
    ) {
        let not_done: Vec<i64> = steps.iter().scan(committed, |at, step| { *at += step; Some(*at) }).collect();
        let read_up_to = not_done.last().map_or(committed, |last| last + 1);
        let lists = Some(claim(queued, i64::MAX));
        let (text, cut) = encode(committed, &CommitMetadata { lists, ..metadata(read_up_to, not_done.clone()) });
        prop_assert!(cut && text.len() <= MAX_LENGTH);
        let back = decode(committed, &text).unwrap();
        let below: Vec<i64> = not_done.into_iter().filter(|offset| *offset < back.read_up_to).collect();
        prop_assert_eq!(back.not_done, below);
        prop_assert_eq!(back.lists, lists);
    }

    #[test]
    fn anything_else_is_nobodys_metadata(text in ".{0,80}") {
        prop_assert_eq!(decode(0, &text), None);
    }
}

#[test]
fn a_thousand_dense_records_fit() {
    let not_done: Vec<i64> = (0..1_000).map(|index| index * 120).collect();
    assert!(fits(0, &not_done));
    assert!(has_room(0, &not_done) && has_room_surely(1_000, 16_000));
    assert!(!has_room_surely(1_000, 3_000_000));
}

#[test]
fn transactional_ids_stay_within_the_separator_and_the_length() {
    assert!(is_valid_transactional_id("hookbus-fanout-pod.0_1"));
    for bad in ["", "a:b", "ä", &"x".repeat(41)] {
        assert!(!is_valid_transactional_id(bad), "{bad}");
    }
}

#[test]
fn metadata_of_another_release_are_told_apart_from_nobodys() {
    let ours = encode(7, &metadata(9, vec![8])).0;
    assert_eq!(other_version(&ours), None);
    let extended = encode(7, &CommitMetadata { lists: Some(claim(1, 2)), ..metadata(9, vec![8]) }).0;
    assert_eq!(other_version(&extended), None);
    let newer = ours.replacen("1:", "3:", 1);
    assert_eq!((other_version(&newer), decode(7, &newer)), (Some("3"), None));
    for nobodys in ["", "by hand", "note: set by hand: twice", "3", "3:x"] {
        assert_eq!(other_version(nobodys), None, "{nobodys}");
    }
}

#[test]
fn the_length_is_never_told_too_short() {
    for count in [0, 1, 10, 900, 5_000] {
        let not_done: Vec<i64> = (0..count).map(|index| index * 20_000).collect();
        let lists = Some(claim(u64::MAX, i64::MAX));
        let text = encode(0, &CommitMetadata { lists, ..metadata(i64::MAX / 2, not_done.clone()) }).0;
        assert!(text.len() <= length(0, &not_done), "{count}: {}", text.len());
    }
}

/// What earlier releases wrote is read for ever, and what this one writes stays what it is.
#[test]
fn golden_metadata_of_both_versions() {
    let ours = |lists| CommitMetadata {
        nonce: Uuid::from_u128(7),
        transactional_id: "hookbus-delivery-0".to_owned(),
        topic_id: Uuid::from_u128(0xff),
        read_up_to: 1_300,
        not_done: vec![1_000, 1_001, 1_200],
        lists,
        position: None,
        slices: None,
    };
    let golden = [
        ("1:AAAAAAAAAAAAAAAAAAAABw:hookbus-delivery-0:AAAAAAAAAAAAAAAAAAAA_w:300:AAHHAQ", None),
        (
            "2:AAAAAAAAAAAAAAAAAAAABw:hookbus-delivery-0:AAAAAAAAAAAAAAAAAAAA_w:300:AAHHAQ:lwIQ9BwEjRWeJq83vAAAAAAAAAAAAAAAAAAAAAw",
            Some(claim(1_000_000, 7)),
        ),
    ];
    for (text, lists) in golden {
        assert_eq!(encode(1_000, &ours(lists)), (text.to_owned(), false));
        assert_eq!(decode(1_000, text), Some(ours(lists)));
    }
}

#[test]
fn members_of_a_later_release_are_passed_over_and_a_damaged_claim_is_not_trusted() {
    let text = |members: &str| format!("2:AAAAAAAAAAAAAAAAAAAABw:slot:AAAAAAAAAAAAAAAAAAAA_w:0:{members}");
    let lists = |members: &str| decode(5, &text(members)).map(|metadata| metadata.lists);
    let ours = "lwIQ9BwEjRWeJq83vAAAAAAAAAAAAAAAAAAAAAw";
    assert_eq!(lists(""), Some(None));
    assert_eq!(lists(":sAbc"), Some(None));
    assert_eq!(lists(&format!(":sAbc:{ours}:z")), Some(Some(claim(1_000_000, 7))));
    for damaged in [":l", ":lAA", ":l!", &format!(":{}", ours.replacen("lw", "l", 1))] {
        assert_eq!(lists(damaged), None, "{damaged}");
    }
    assert_eq!(decode(5, &text(":sAbc").replacen("2:", "1:", 1)), None);
}

#[test]
fn a_delta_beyond_every_offset_is_no_metadata() {
    let text = |delta: u64| {
        let mut bytes = Vec::new();
        varint::push(&mut bytes, delta);
        let golden = "1:AAAAAAAAAAAAAAAAAAAABw:slot:AAAAAAAAAAAAAAAAAAAA_w:9223372036854775807:";
        format!("{golden}{}", BASE64.encode(bytes))
    };
    let largest = i64::MAX.unsigned_abs();
    assert_eq!(decode(0, &text(largest)).map(|metadata| metadata.not_done), Some(vec![i64::MAX]));
    // Ten bytes.
    for delta in [largest + 1, u64::MAX] {
        assert_eq!(decode(0, &text(delta)), None, "{delta}");
    }
}

/// A worker of the intake that reads sources commits where its offsets came from, and every owner finds it.
#[test]
fn golden_metadata_with_a_position() {
    let position = PositionClaim {
        id: Uuid::from_u128(0xa),
        source: Uuid::from_u128(0xb),
        handled: Handled::default().with(5, 9).with(1_000, 1_300),
    };
    let ours = CommitMetadata { position: Some(position.clone()), ..metadata(1_300, Vec::new()) };
    let (text, cut) = encode(1_300, &ours);
    assert!(
        text.starts_with("2:") && text.ends_with(":pAAAAAAAAAAAAAAAAAAAACgAAAAAAAAAAAAAAAAAAAAsFBN8HrAI"),
        "{text}"
    );
    assert!(!cut && text.len() <= length(1_300, &[]) + 250);
    assert_eq!(decode(1_300, &text), Some(ours));
    let mut rejected = position.clone();
    let of_both = CommitMetadata { lists: Some(claim(7, 9)), position: Some(position), ..metadata(9, vec![8]) };
    assert_eq!(decode(7, &encode(7, &of_both).0), Some(of_both));

    // What was rejected stands in a member of its own, which older releases pass over.
    [6, 1_000, 1_001].into_iter().for_each(|offset| rejected.handled.judge(offset, true));
    let ours = CommitMetadata { position: Some(rejected), ..metadata(1_300, Vec::new()) };
    let (text, cut) = encode(1_300, &ours);
    assert!(text.ends_with("sFBN8HrAI:xBgHhBwI") && !cut, "{text}");
    assert_eq!(decode(1_300, &text), Some(ours));
}

/// A record whose outputs take several transactions says how far it is, and every owner goes on there.
#[test]
fn golden_metadata_with_a_cursor() {
    let cursor = SliceCursor { last: Uuid::from_u128(0xa), count: 300 };
    let ours = CommitMetadata { slices: Some(cursor), ..metadata(7, Vec::new()) };
    let (text, cut) = encode(7, &ours);
    assert!(text.starts_with("2:") && text.ends_with("::cAAAAAAAAAAAAAAAAAAAACqwC") && !cut, "{text}");
    assert!(text.len() <= length(7, &[]));
    assert_eq!(decode(7, &text), Some(ours));
    let position = PositionClaim { handled: Handled::default().with(5, 7), ..PositionClaim::default() };
    let of_both = CommitMetadata { position: Some(position), slices: Some(cursor), ..metadata(7, Vec::new()) };
    assert_eq!(decode(7, &encode(7, &of_both).0), Some(of_both));
    for bad in ["c", "cAAAA", "cAAAAAAAAAAAAAAAAAAAACqwCAA"] {
        assert_eq!(decode(7, &text.replace("cAAAAAAAAAAAAAAAAAAAACqwC", bad)), None, "{bad}");
    }
}
