//! What a member of the group is given, and may read.

use super::*;

#[test]
fn a_denied_topic_ends_a_role_that_has_nothing_else_to_read() {
    let topics = ["t".to_owned(), "u".to_owned()];
    let mut state = State::new(limits(1, 1));
    let other = Lease { partition: TopicPartition::new("u", 0), epoch: Epoch(9) };
    state.assign(&[lease(0, 1), other.clone()]);
    assert!(!state.deny(Some("t".into()), &topics), "u is still read");
    assert!(state.deny(Some("u".into()), &topics));
    assert_eq!(state.denied(), ["t".into(), "u".into()]);
    // Whatever is read from it clears it.
    state.reach_end(&other.partition, 0);
    assert_eq!(state.denied(), ["t".into()]);
    // Nothing is ours: what may be read of the subscription decides.
    let mut spare = State::new(limits(1, 1));
    assert!(!spare.deny(Some("t".into()), &topics) && spare.deny(Some("u".into()), &topics));
    assert!(!spare.deny(None, &["^retry".to_owned()]), "what the pattern matches is not known");
}

/// The gauge stood at 1 until a restart when a source without permission was deleted.
#[test]
fn a_topic_that_is_not_read_any_more_is_not_told_to_be_denied() {
    let mut state = State::new(limits(1, 1));
    assert!(!state.deny(Some("t".into()), &["t".to_owned(), "u".to_owned()]));
    state.forget_denied(&["t".to_owned()]);
    assert_eq!(state.denied(), ["t".into()], "it is still read");
    state.forget_denied(&["^re.*".to_owned()]);
    assert_eq!(state.denied(), ["t".into()], "the pattern may match it");
    state.forget_denied(&["u".to_owned()]);
    assert!(state.denied().is_empty());
}

#[test]
fn an_empty_assignment_is_known_from_none() {
    let mut state = State::new(limits(1, 1));
    assert_eq!(state.membership(), (false, 0));
    state.assign(&[]);
    assert_eq!(state.membership(), (true, 0));
    assert!(state.next_event().is_none(), "nothing to do for the role");
    state.assign(&[lease(0, 1)]);
    assert_eq!(state.membership(), (true, 1));
    state.lose_membership();
    assert!(!state.membership().0);
}
