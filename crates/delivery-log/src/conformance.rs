//! What every store has to pass. `suite!` makes a test of each check, over the stores that a fixture opens.

pub(crate) mod checks;
pub(crate) mod edges;
pub(crate) mod ended;
pub(crate) mod made;
pub(crate) mod paging;
pub(crate) mod removals;
pub(crate) mod targets;

use crate::query::{EventQuery, FactQuery, ListOrder, LogPage, PageOf};
use crate::store::{DeliveryStore, StoreError};

/// Opens stores.
pub(crate) trait Fixture: Sized {
    /// What it opens.
    type Opened: DeliveryStore;

    /// Stores that are filled while a hundred readers go through each.
    const READ_STORES: u64 = 100;

    /// With nothing in it.
    fn empty() -> Self;

    /// Opens what is there; whatever was opened before is closed.
    fn open(&mut self) -> impl Future<Output = &Self::Opened> + Send;
}

macro_rules! suite {
    ($fixture:ty: $($check:ident in $group:ident,)*) => {
        $(
            #[tokio::test]
            async fn $check() {
                crate::conformance::$group::$check::<$fixture>().await;
            }
        )*
    };
    ($fixture:ty) => {
        $crate::conformance::suite! { $fixture:
            what_is_projected_twice_changes_nothing in checks,
            the_order_of_chunks_does_not_matter in checks,
            lists_are_what_a_filter_over_all_rows_would_be in checks,
            what_was_projected_is_there_when_the_store_is_opened_again in checks,
            a_day_is_given_up_as_a_whole_and_does_not_come_back in checks,
            another_topic_is_another_log in checks,
            nothing_of_one_application_is_in_an_answer_to_another in checks,
            events_and_deliveries_are_found_by_their_names in checks,
            what_attempts_had_in_common_is_found_by_subscription_and_offset in targets,
            minutes_and_days_count_each_row_once in checks,
            what_has_ended_of_a_generation_is_counted_once_and_goes_with_its_day in ended,
            a_delivery_with_the_longest_schedule_has_its_whole_history in edges,
            a_clock_that_was_ahead_for_a_moment_leaves_no_hole in edges,
            what_a_topic_lost_is_given_up_with_its_day_and_other_records_take_the_offsets in edges,
            a_dead_letter_is_open_until_it_is_settled_or_its_day_is_gone in edges,
            what_is_erased_is_without_content_whatever_comes_first in removals,
            what_was_erased_does_not_come_back_while_the_log_is_made_again in removals,
            an_erasure_outlives_the_day_of_its_record in removals,
            what_an_application_does_not_keep_is_removed_and_nothing_else in removals,
            a_page_that_looked_at_too_much_ends_and_goes_on in paging,
            every_row_that_was_there_when_the_first_page_was_asked_for_comes_once in paging,
        }
    };
}
pub(crate) use suite;

/// A page as a list gives it.
pub(crate) type GivenPage<T> = Result<LogPage<T>, StoreError>;

/// Walks a list to its end, pages of this size.
pub(crate) async fn walk<T, F: Future<Output = GivenPage<T>>>(
    order: ListOrder,
    limit: usize,
    ask: impl Fn(PageOf) -> F,
) -> Vec<T> {
    let (mut rows, mut page) = (Vec::new(), PageOf { order, after: None, limit });
    loop {
        let found = ask(page).await.unwrap();
        assert!(found.rows.len() <= limit);
        rows.extend(found.rows);
        match found.next {
            Some(next) => page.after = Some(next),
            None => return rows,
        }
    }
}

/// All facts that a query finds.
pub(crate) async fn all_facts(store: &impl DeliveryStore, query: &FactQuery) -> Vec<crate::fact::Fact> {
    walk(query.page.order, 250, |page| store.facts(FactQuery { page, ..query.clone() })).await
}

/// All events that a query finds.
pub(crate) async fn all_events(store: &impl DeliveryStore, query: &EventQuery) -> Vec<crate::fact::LoggedEvent> {
    walk(query.page.order, 250, |page| store.events(EventQuery { page, ..query.clone() })).await
}
