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
    }
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(
        committed in 0_i64..1_000_000_000_000,
        steps in prop::collection::vec(1_i64..400, 0..1_000),
    ) {
        let not_done: Vec<i64> = steps.iter().scan(committed, |at, step| { *at += step; Some(*at) }).collect();
        let read_up_to = not_done.last().map_or(committed, |last| last + 1);
        let metadata = metadata(read_up_to, not_done.clone());
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
    ) {
        let not_done: Vec<i64> = steps.iter().scan(committed, |at, step| { *at += step; Some(*at) }).collect();
        let read_up_to = not_done.last().map_or(committed, |last| last + 1);
        let (text, cut) = encode(committed, &metadata(read_up_to, not_done.clone()));
        prop_assert!(cut && text.len() <= MAX_LENGTH);
        let back = decode(committed, &text).unwrap();
        let below: Vec<i64> = not_done.into_iter().filter(|offset| *offset < back.read_up_to).collect();
        prop_assert_eq!(back.not_done, below);
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
    let newer = ours.replacen("1:", "2:", 1);
    assert_eq!((other_version(&newer), decode(7, &newer)), (Some("2"), None));
    for nobodys in ["", "by hand", "note: set by hand: twice", "2", "2:x"] {
        assert_eq!(other_version(nobodys), None, "{nobodys}");
    }
}

#[test]
fn the_length_is_never_told_too_short() {
    for count in [0, 1, 10, 900, 5_000] {
        let not_done: Vec<i64> = (0..count).map(|index| index * 20_000).collect();
        let text = encode(0, &metadata(i64::MAX / 2, not_done.clone())).0;
        assert!(text.len() <= length(0, &not_done), "{count}: {}", text.len());
    }
}
