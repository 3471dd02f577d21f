//! Lines of ordering keys: one of each in flight, and what comes back first.

use uuid::Uuid;

use super::*;

const ONE: OrderingKey = OrderingKey(1);
const OTHER: OrderingKey = OrderingKey(2);

fn first(offset: i64) -> Rank {
    Rank { role: ListRole::FirstTries, offset }
}

fn retried(offset: i64) -> Rank {
    Rank { role: ListRole::Retries, offset }
}

fn id(number: u128) -> DeliveryId {
    DeliveryId(Uuid::from_u128(number))
}

fn of(key: OrderingKey, number: u128) -> Option<Keyed> {
    Some(Keyed { key, delivery: id(number) })
}

fn held(key: OrderingKey, number: u128) -> HeldKey {
    HeldKey { key, delivery: id(number), matched_at: 1, until_ms: 10, retry: None, listed_at: None }
}

#[test]
fn of_each_key_one_goes_at_a_time_and_in_order() {
    let mut queue = LaneQueue::default();
    queue.push(first(1), 'a', false, of(ONE, 1));
    queue.push(first(2), 'b', false, of(ONE, 2));
    queue.push(first(3), 'c', false, of(OTHER, 3));
    queue.push(first(4), 'd', false, None);
    for (expected, rank) in [('a', first(1)), ('c', first(3)), ('d', first(4))] {
        assert_eq!(queue.head(), QueueHead::Ready(expected));
        queue.send(rank);
    }
    assert_eq!((queue.head(), queue.len()), (QueueHead::Nothing, 1), "it waits for the one before it");
    queue.ended(ONE, None);
    assert_eq!(queue.head(), QueueHead::Ready('b'));
    queue.send(first(2));
    queue.ended(ONE, None);
    queue.ended(OTHER, None);
    assert!(queue.is_empty() && !queue.is_keyed());
}

#[test]
fn one_that_has_failed_holds_its_key_and_nothing_else_until_it_has_ended() {
    let mut queue = LaneQueue::default();
    queue.push(first(1), 'a', false, of(ONE, 1));
    queue.push(first(2), 'b', false, of(ONE, 2));
    queue.push(first(3), 'c', false, of(OTHER, 3));
    queue.send(first(1));
    queue.ended(ONE, Some(held(ONE, 1)));
    assert!(queue.has_held());
    assert_eq!(queue.head(), QueueHead::Ready('c'));
    queue.send(first(3));
    assert_eq!(queue.head(), QueueHead::Nothing);
    // It is back; another retry of its key, which the key does not wait for, is not in its place.
    queue.push(retried(7), 'x', false, of(ONE, 9));
    assert_eq!(queue.head(), QueueHead::Nothing);
    queue.push(retried(8), 'a', false, of(ONE, 1));
    assert_eq!(queue.head(), QueueHead::Ready('a'));
    queue.send(retried(8));
    queue.ended(ONE, None);
    assert_eq!((queue.head(), queue.has_held()), (QueueHead::Ready('x'), false));
    queue.send(retried(7));
    queue.ended(ONE, None);
    assert_eq!(queue.head(), QueueHead::Ready('b'));
}

#[test]
fn what_is_listed_behind_a_held_key_waits_as_an_offset_and_lets_the_others_pass() {
    let mut queue = LaneQueue::default();
    queue.hold(held(ONE, 1));
    (2..40).for_each(|offset| queue.push_offset(first(offset)));
    assert_eq!((queue.ask(1), queue.head()), (Some(first(2)), QueueHead::Absent), "nobody knows whose it is");
    queue.answered(2);
    queue.push(first(2), 'b', true, of(ONE, 2));
    assert!(queue.is_behind(first(2)));
    queue.drop_payload(first(2));
    assert_eq!((queue.listed(), queue.absent(), queue.asked()), (38, 38, 0));
    assert_eq!(queue.ask(1), Some(first(3)), "it is not asked for again");
    queue.answered(3);
    queue.push(first(3), 'c', true, of(OTHER, 3));
    assert_eq!(queue.head(), QueueHead::Ready('c'));
    queue.send(first(3));
    // Its retry is back, listed and dropped from memory: it is found again.
    queue.push(retried(50), 'a', true, of(ONE, 1));
    queue.drop_payload(retried(50));
    assert_eq!(queue.ask(2), Some(retried(50)));
    queue.answered(50);
    queue.push(retried(50), 'a', true, of(ONE, 1));
    assert_eq!(queue.head(), QueueHead::Ready('a'));
    queue.send(retried(50));
    queue.ended(ONE, None);
    assert_eq!(queue.ask(2), Some(first(2)), "what waited for it is read back first");
    assert_eq!(queue.answered(2), Some(first(2)));
}

#[test]
fn an_offset_of_a_key_is_read_back_however_much_that_is_newer_is_in_memory() {
    let mut queue = LaneQueue::default();
    queue.push(first(20), 'n', true, of(ONE, 20));
    queue.send(first(20));
    (2..20).for_each(|offset| queue.push(first(offset), 'x', true, of(ONE, 20 + u128::try_from(offset).unwrap())));
    queue.drop_payload(first(2));
    queue.ended(ONE, None);
    assert_eq!((queue.head(), queue.ask(9)), (QueueHead::Nothing, Some(first(2))));
    queue.answered(2);
    queue.push(first(2), 'o', true, of(ONE, 22));
    assert_eq!(queue.head(), QueueHead::Ready('o'));
}

#[test]
fn a_key_is_free_when_what_it_waits_for_leaves_or_is_over() {
    let mut queue = LaneQueue::default();
    queue.hold(held(ONE, 1));
    queue.hold(held(OTHER, 2));
    queue.push(first(3), 'c', false, of(ONE, 3));
    assert!(!queue.release(Keyed { key: ONE, delivery: id(3) }));
    assert!(queue.release(Keyed { key: ONE, delivery: id(1) }));
    assert_eq!(queue.head(), QueueHead::Ready('c'));
    assert_eq!(queue.release_where(|held| held.until_ms <= 9), []);
    assert_eq!(queue.release_where(|held| held.until_ms <= 10), [OTHER]);
    assert!(!queue.has_held());
}

#[test]
fn what_was_set_aside_and_is_not_read_yet_may_be_of_any_key() {
    let mut queue = LaneQueue::default();
    queue.push_offset(first(1));
    queue.hold(held(ONE, 9));
    queue.push(first(2), 'b', true, of(ONE, 2));
    queue.drop_payload(first(2));
    queue.set_aside();
    queue.push(first(5), 'k', false, of(OTHER, 5));
    assert_eq!(queue.head(), QueueHead::Nothing);
    queue.push(first(6), 'n', false, None);
    assert_eq!(queue.head(), QueueHead::Ready('n'), "without a key it passes");
    let aside = |offset| Rank { role: ListRole::SetAside, offset };
    assert_eq!([queue.ask_aside(9), queue.ask_aside(9)], [Some(aside(1)), Some(aside(2))]);
    assert_eq!([queue.answered(1), queue.answered(2)], [Some(aside(1)), Some(aside(2))]);
    queue.remove(first(6));
    assert_eq!(queue.head(), QueueHead::Ready('k'));
}

#[test]
fn no_more_keys_are_held_than_a_record_has_room_for() {
    let mut queue = LaneQueue::default();
    for number in 0..u128::try_from(HELD_AT_MOST).unwrap() {
        queue.hold(held(OrderingKey(100 + u64::try_from(number).unwrap()), number));
    }
    queue.push(first(1), 'a', false, of(ONE, 1_000));
    assert_eq!(queue.head(), QueueHead::Nothing);
    queue.push(retried(2), 'r', false, of(OrderingKey(107), 7));
    assert_eq!(queue.head(), QueueHead::Ready('r'), "what they wait for goes");
    queue.send(retried(2));
    queue.ended(OrderingKey(107), None);
    assert_eq!(queue.head(), QueueHead::Ready('a'));
}

#[test]
fn what_a_key_waits_for_is_away_until_it_is_back_and_while_nothing_of_the_key_is_in_flight() {
    let mut queue = LaneQueue::default();
    assert_eq!(queue.away().count(), 0);
    queue.push(first(1), 'a', false, of(ONE, 1));
    queue.send(first(1));
    queue.ended(ONE, Some(held(ONE, 1)));
    assert_eq!(queue.away().collect::<Vec<_>>(), [held(ONE, 1)]);
    // Another retry goes in its place.
    let retry = Some(PendingRetry::new(1, 2, 5));
    let other = HeldKey { retry, ..held(ONE, 1) };
    queue.hold(other.clone());
    assert_eq!((queue.waits_for(&held(ONE, 1)), queue.waits_for(&other)), (false, true));
    queue.push(retried(7), 'r', false, of(ONE, 1));
    assert_eq!((queue.away().count(), queue.waits_for(&other)), (0, false), "it is back");
    assert_eq!(queue.head(), QueueHead::Ready('r'));
    queue.send(retried(7));
    assert_eq!(queue.away().count(), 0, "it is in flight");
    queue.ended(ONE, None);
    assert!(queue.is_empty() && !queue.is_keyed());
}

#[test]
fn where_what_a_key_waits_for_stands_in_a_list_is_known_of_that_attempt_alone() {
    let mut queue: LaneQueue<char> = LaneQueue::default();
    let keyed = |number| Keyed { key: ONE, delivery: id(number) };
    assert!(!queue.lists(keyed(1), (2, 5), 7), "nothing is held");
    queue.hold(HeldKey { retry: Some(PendingRetry::new(1, 2, 5)), ..held(ONE, 1) });
    assert!(!queue.lists(keyed(3), (2, 5), 7), "another delivery");
    assert!(!queue.lists(keyed(1), (2, 90), 7), "a retry that another one went in the place of");
    assert_eq!(queue.release_where(|held| held.listed_at.is_some()), []);
    assert!(queue.lists(keyed(1), (2, 5), 7));
    assert_eq!(queue.release_where(|held| held.listed_at == Some(7)), [ONE]);
}
