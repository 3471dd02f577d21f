//! The rule and the table by themselves.

use uuid::Uuid;

use super::*;

fn organization(number: u128) -> ConnectionHolder {
    ConnectionHolder::Organization(OrganizationId(Uuid::from_u128(number)))
}

#[test]
fn everybody_has_one_and_nobody_more_than_half_of_the_last_quarter() {
    assert_eq!(one_more(700, 250, 1_000), OneMore::Yes);
    assert_eq!(one_more(700, 249, 1_000), OneMore::Instead);
    assert_eq!(one_more(123, 249, 1_000), OneMore::Yes);
    assert_eq!(one_more(124, 249, 1_000), OneMore::Instead);
    assert_eq!((one_more(0, 0, 1), one_more(1, 0, 1)), (OneMore::Yes, OneMore::Instead));
}

#[test]
fn many_organizations_that_are_never_idle_leave_places_for_the_next() {
    let (places, mut held) = (1_000, [0_usize; 8]);
    for _ in 0..places {
        for organization in 0..8 {
            let free = places - held.iter().sum::<usize>();
            if free > 0 && one_more(held[organization], free - 1, places) == OneMore::Yes {
                held[organization] += 1;
            }
        }
    }
    let free = places - held.iter().sum::<usize>();
    assert!(free >= 100, "{free} are left by {held:?}");
}

#[test]
fn the_table_knows_who_has_most_and_forgets_who_is_gone() {
    let mut table = HolderTable::default();
    let numbers: Vec<(ConnectionHolder, u64)> = (0_u128..60)
        .map(|at| organization(at % 3 * (at % 2) + at % 5))
        .map(|holder| (holder, table.add(holder, Weak::new())))
        .collect();
    for (at, (holder, number)) in numbers.into_iter().enumerate() {
        let most = table.holders.values().map(|held| held.all.len()).max();
        assert_eq!(table.by_count.last().map(|(count, _)| *count), most, "after {at}");
        assert_eq!(table.by_count.len(), table.holders.len());
        table.remove(holder, number);
        table.remove(holder, number);
    }
    assert!(table.by_count.is_empty() && table.holders.is_empty());
}
