//! A log that was cut, as by an unclean leader election: what stood there and was acknowledged is gone, and others stand in its
//! places. The books are judged without it, and what is gone is told, so that a test can say what it has to be.

use std::collections::BTreeSet;

use schemas::ids::DeliveryId;

use super::books::{Books, Place};

impl Books {
    /// Takes out what was acknowledged and is not on the topic any more, with all that followed from it before the log was cut
    /// (Unix ms) at this place. Returns the ids of those events, in order.
    pub fn take_out_cut(&mut self, at: &Place, cut_ms: i64) -> Vec<String> {
        let kept: BTreeSet<_> =
            self.events.iter().filter_map(|event| Some(&event.content.as_ref()?.identity)).collect();
        let (told, gone) = std::mem::take(&mut self.told).into_iter().partition(|told| kept.contains(&told.identity));
        self.told = told;
        let gone: BTreeSet<_> = gone.into_iter().map(|told: super::books::Told| told.identity).collect();
        let ended = |hop: &super::books::Hopped| gone.contains(&hop.identity);
        let deliveries: BTreeSet<DeliveryId> =
            self.hops.iter().filter(|hop| ended(hop)).map(|hop| hop.delivery).collect();
        let is_gone = |delivery: Option<DeliveryId>| delivery.is_some_and(|delivery| deliveries.contains(&delivery));
        let is_cut =
            |place: &Place| (&place.topic, place.partition) == (&at.topic, at.partition) && place.offset >= at.offset;
        self.hops.retain(|hop| !is_gone(Some(hop.delivery)));
        self.requests.retain(|request| !is_gone(request.delivery));
        self.facts.retain(|fact| {
            let spoke_of_cut = fact.written_ms < cut_ms && fact.place.as_ref().is_some_and(is_cut);
            !is_gone(fact.delivery) && !spoke_of_cut
        });
        gone.into_iter().map(|identity| identity.id).collect()
    }
}
