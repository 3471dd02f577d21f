//! What is refused is counted: in the metrics, and against whose token it came with.

use chassis::clock;
use http::{HeaderValue, Response};

use crate::directory::Caller;
use crate::gateway::Gateway;
use crate::problem::{self, Refused};
use crate::response::{self, GatewayBody};

impl Gateway {
    /// Counts a refusal; `hookbus::refused=debug` shows it, as `hookbus dev` does.
    pub(crate) fn note_refusal(&self, refused: &Refused) {
        self.metrics().refuse(refused);
        tracing::debug!(target: "hookbus::refused", status = refused.status, "{}: {}", refused.id, refused.detail);
    }

    /// The answer that refuses.
    pub(crate) fn refuse(&self, refused: &Refused, request_id: HeaderValue) -> Response<GatewayBody> {
        self.note_refusal(refused);
        response::problem(refused, request_id)
    }

    /// Counts events that were refused after their body was read, against the limits of their caller: else they would be free.
    pub(crate) fn count_refused<'r>(&self, caller: Caller, refused: impl IntoIterator<Item = &'r Refused>) {
        let count = refused.into_iter().filter(|refused| problem::is_senders_own(refused)).count();
        self.count_events_refused(caller, count);
    }

    /// The same of a batch. What it had over the rate counts as one: it was read in vain, and who sends it again in batches keeps to the
    /// rate all the same.
    pub(crate) fn count_refused_of_batch<'r>(&self, caller: Caller, refused: impl IntoIterator<Item = &'r Refused>) {
        let (mut own, mut is_over_rate) = (0, false);
        for refused in refused {
            own += usize::from(problem::is_senders_own(refused));
            is_over_rate |= problem::is_over_rate(refused);
        }
        self.count_events_refused(caller, own + usize::from(is_over_rate));
    }

    fn count_events_refused(&self, caller: Caller, count: usize) {
        let Some(senders) = self.directory().senders(caller).filter(|_| count > 0) else { return };
        let senders = self.directory().refused_senders(caller, senders);
        self.limits().count_refused(senders, u32::try_from(count).unwrap_or(u32::MAX), clock::now_ms());
    }
}
