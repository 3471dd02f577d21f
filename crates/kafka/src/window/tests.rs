//! The window against a naive model, over small worlds in every order and over random large ones.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// Checks what may be committed against what is truly unresolved.
fn check(window: &Window, unresolved: &BTreeSet<i64>, read: i64) {
    let (committed, read_up_to, not_done) = window.progress();
    assert!(committed <= read_up_to && read_up_to <= read);
    for offset in unresolved {
        assert!(committed <= *offset, "the commit passed unresolved {offset}: {committed}");
        assert!(*offset >= read_up_to || not_done.contains(offset), "unresolved {offset} would count as done");
    }
    assert!(not_done.is_sorted() && not_done.iter().all(|offset| (committed..read_up_to).contains(offset)));
    assert!(not_done.iter().all(|offset| unresolved.contains(offset)), "{not_done:?} lists something done");
}

/// One step of a small world.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The next record is read.
    Read,
    /// The n-th record is resolved.
    Resolve(i64),
    /// The partition is revoked after a commit; a new owner restores from what was committed.
    Revoke,
}

/// Walks every order of reads, resolutions and up to `revokes` revokes, depth first.
fn walk(window: &Window, unresolved: &BTreeSet<i64>, read: i64, (count, revokes): (i64, u32), visited: &mut u64) {
    *visited += 1;
    check(window, unresolved, count);
    let live: Vec<i64> = unresolved.iter().copied().filter(|offset| *offset < read).collect();
    let steps = (read < count).then_some(Step::Read).into_iter();
    let steps = steps.chain(live.into_iter().map(Step::Resolve)).chain((revokes > 0).then_some(Step::Revoke));
    for step in steps {
        let (mut window, mut unresolved, mut read, mut revokes) = (window.clone(), unresolved.clone(), read, revokes);
        match step {
            Step::Read => {
                // Even offsets only: the odd ones are transaction markers and never appear.
                assert_eq!(window.admit(read), unresolved.contains(&read), "at {read}");
                read += 2;
            }
            Step::Resolve(offset) => {
                window.complete(offset);
                unresolved.remove(&offset);
            }
            Step::Revoke => {
                let (committed, read_up_to, not_done) = window.progress();
                window = Window::restore(committed, read_up_to, not_done);
                read = committed + committed % 2;
                revokes -= 1;
            }
        }
        walk(&window, &unresolved, read, (count, revokes), visited);
    }
}

#[test]
fn in_every_order_of_resolutions_and_revokes_the_commit_never_passes_an_unresolved_record() {
    for records in 0..=6 {
        let revokes = if records <= 4 { 2 } else { 1 };
        let unresolved: BTreeSet<i64> = (0..records).map(|record| record * 2).collect();
        let mut visited = 0;
        walk(&Window::restore(0, 0, Vec::new()), &unresolved, 0, (records * 2, revokes), &mut visited);
        assert!(visited > 0);
    }
}

#[test]
fn a_record_that_was_done_is_skipped_after_a_restore() {
    let mut window = Window::restore(10, 15, vec![10, 13]);
    let admitted: Vec<bool> = (10..17).map(|offset| window.admit(offset)).collect();
    assert_eq!(admitted, [true, false, false, true, false, true, true]);
    assert_eq!(window.live(), 4);
    window.complete(10);
    assert_eq!(window.progress(), (13, 17, vec![13, 15, 16]));
}

#[test]
fn a_not_done_record_that_no_longer_exists_does_not_hold_the_commit() {
    let mut window = Window::restore(10, 15, vec![10, 13]);
    assert_eq!(window.oldest(), Some(10));
    assert!(!window.admit(14));
    assert_eq!(window.progress(), (15, 15, vec![]));
}

#[test]
fn one_old_record_does_not_keep_the_finished_ones_in_memory() {
    let mut window = Window::restore(0, 0, Vec::new());
    for offset in 0..100_000 {
        assert!(window.admit(offset));
        if offset > 0 {
            window.complete(offset);
        }
    }
    assert!(window.admitted.len() < 100);
    assert_eq!(window.progress(), (0, 100_000, vec![0]));
}

#[test]
fn a_window_is_full_before_its_metadata_is_too_long() {
    let mut window = Window::restore(0, 0, Vec::new());
    let mut offset = 0;
    while !window.is_full() {
        assert!(window.admit(offset));
        offset += 20_000;
    }
    let (committed, _, not_done) = window.progress();
    assert!(metadata::fits(committed, &not_done));
    assert!(not_done.len() > 900);
}

#[test]
fn an_idle_window_moves_over_markers_and_a_busy_one_does_not() {
    let mut window = Window::restore(0, 0, Vec::new());
    assert!(window.admit(0));
    assert!(!window.advance(2), "a record is live");
    window.complete(0);
    assert!(window.advance(2));
    assert_eq!(window.progress(), (2, 2, vec![]));
    assert!(!window.advance(2) && !window.advance(1), "not ahead");
    assert!(window.admit(2));
    assert_eq!(window.progress(), (2, 3, vec![2]));

    let mut window = Window::restore(10, 15, vec![13]);
    assert!(!window.advance(20), "13 is not done and may come");
    assert_eq!(window.progress(), (13, 15, vec![13]));
    assert!(!window.admit(14));
    assert!(window.advance(20), "14 came: 13 no longer exists");
    assert_eq!(window.progress_in_order(), 20);
}

#[test]
fn what_was_completed_too_early_is_not_done_again() {
    let mut window = Window::restore(0, 0, Vec::new());
    for offset in 0..6 {
        assert!(window.admit(offset));
    }
    for offset in [0, 1, 3, 5] {
        window.complete(offset);
    }
    assert_eq!(window.progress(), (2, 6, vec![2, 4]));
    // 0 and 1 were popped, 3 and 5 are still there; 2 is live already.
    for offset in [1, 3, 3, 2] {
        window.reopen(offset);
    }
    assert_eq!((window.progress(), window.live()), ((1, 6, vec![1, 2, 3, 4]), 4));
    window.reopen(7);
    assert_eq!(window.live(), 4, "7 was never admitted");
    for offset in [1, 2, 3, 4] {
        window.complete(offset);
    }
    assert_eq!((window.progress(), window.live()), ((6, 6, vec![]), 0));
    window.reopen(5);
    assert_eq!(window.progress(), (5, 6, vec![5]));
    assert!(window.admit(6));
}

proptest! {
    #[test]
    fn with_failed_transactions_and_idle_ends_the_rule_holds_too(
        ops in prop::collection::vec((0_u8..12, 0_usize..40), 1..400),
    ) {
        let mut window = Window::restore(0, 0, Vec::new());
        // Records stand at even offsets, markers at odd ones.
        let mut unresolved: BTreeSet<i64> = (0..400).map(|record| record * 2).collect();
        let (mut read, mut uncommitted) = (0, Vec::new());
        for (kind, pick) in ops {
            match kind {
                0..=4 => {
                    prop_assert_eq!(window.admit(read), unresolved.contains(&read));
                    read += 2;
                }
                5..=8 => {
                    let live: Vec<i64> = unresolved.range(..read).copied().collect();
                    if let Some(offset) = live.get(pick % live.len().max(1)) {
                        window.complete(*offset);
                        unresolved.remove(offset);
                        uncommitted.push(*offset);
                    }
                }
                9 => for offset in uncommitted.drain(..) {
                    window.reopen(offset);
                    unresolved.insert(offset);
                },
                10 => { window.advance(read); }
                _ => {
                    uncommitted.clear();
                    let (committed, read_up_to, not_done) = window.progress();
                    window = Window::restore(committed, read_up_to, not_done);
                    read = committed + committed % 2;
                }
            }
            check(&window, &unresolved, 800);
            prop_assert_eq!(window.live(), window.progress().2.len() - window.inherited.len());
            prop_assert_eq!(window.progress_in_order(), window.progress().0);
        }
    }

    #[test]
    fn random_histories_keep_the_rule(
        ops in prop::collection::vec((0_u8..10, 0_usize..40), 1..400),
    ) {
        let mut window = Window::restore(0, 0, Vec::new());
        let mut unresolved: BTreeSet<i64> = (0..400).collect();
        let mut read = 0;
        for (kind, pick) in ops {
            match kind {
                0..=4 => {
                    prop_assert_eq!(window.admit(read), unresolved.contains(&read));
                    read += 1;
                }
                5..=8 => {
                    let live: Vec<i64> = unresolved.range(..read).copied().collect();
                    if let Some(offset) = live.get(pick % live.len().max(1)) {
                        window.complete(*offset);
                        unresolved.remove(offset);
                    }
                }
                _ => {
                    let (committed, read_up_to, not_done) = window.progress();
                    window = Window::restore(committed, read_up_to, not_done);
                    read = committed;
                }
            }
            check(&window, &unresolved, 400);
        }
    }
}
