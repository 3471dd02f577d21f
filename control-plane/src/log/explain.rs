//! Why an event went to a subscription, or did not. Pure: the event's record, the subscription as it is now, and what became of
//! its delivery in; the reason out.
//!
//! Whom the fan-out matched is the truth, as it wrote it. Why it did not match others is found out by matching again, with the
//! subscription as it is now: that is certain only where nothing was written of it since.

use catalog::Subscription;
use delivery_log::{Fact, FactKind, LoggedEvent};
use filter::Facts;
use schemas::control;
use schemas::event::StringMap;
use schemas::ids::SubscriptionId;

/// An event that is explained.
#[derive(Debug)]
pub(crate) struct ExplainedEvent<'a> {
    pub(crate) event: &'a LoggedEvent,
    labels: StringMap,
    /// None: it is gone, and no filter can be asked.
    payload: Option<&'a [u8]>,
    /// Who matched, sorted. None: the record names nobody, though some did.
    matched: Option<Vec<SubscriptionId>>,
}

/// What is said of one subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Explanation {
    pub(crate) result: ExplainedResult,
    /// Why it was not matched, or how its delivery ended.
    pub(crate) reason: Option<String>,
    pub(crate) detail: Option<String>,
    /// It was so, and nothing that is not known any more could say otherwise.
    pub(crate) is_certain: bool,
}

/// What became of an event for a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExplainedResult {
    Delivered,
    Waiting,
    Failed,
    Cancelled,
    NotMatched,
}

/// Why a subscription does not match an event, as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Misfit {
    /// It does, or would.
    None,
    Disabled(Option<String>),
    EventType,
    Label(String),
    /// Its filter says no, or failed.
    Filter(String),
    /// Its filter cannot be asked without the payload.
    Unasked,
}

// === impl ExplainedEvent ===

impl<'a> ExplainedEvent<'a> {
    pub(crate) fn new(event: &'a LoggedEvent, payload: Option<&'a [u8]>) -> Self {
        let labels = event.labels.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        Self { event, labels, payload, matched: matched(event) }
    }

    /// What can be said of a subscription: `facts` are those of its delivery of the event.
    pub(crate) fn explain(&self, id: SubscriptionId, now: Option<&Subscription>, facts: &[Fact]) -> Explanation {
        let is_named = self.matched.as_ref().map(|matched| matched.binary_search(&id).is_ok());
        if is_named == Some(true) || !facts.is_empty() {
            return delivered(facts);
        }
        let is_certain = is_named == Some(false);
        match now {
            Some(now) => self.not_matched(now, &now.object(), is_certain),
            // It was deleted since, and nobody knows what it was like.
            None => not_matched(None, None),
        }
    }

    /// Why it was not matched. `is_certain`: whether it was not is.
    fn not_matched(&self, now: &Subscription, object: &control::Subscription, is_certain: bool) -> Explanation {
        let is_unchanged = self.event.control_offset.is_some_and(|offset| now.offset() <= offset);
        if !is_unchanged && object.created_ms > self.event.at_ms {
            let detail = "it was made after the event was matched".to_owned();
            // What was never changed was made where it stands, and the event was matched before.
            let is_first = object.created_ms == object.updated_ms && self.event.control_offset.is_some();
            return Explanation {
                is_certain: is_certain && is_first,
                ..not_matched(Some("created_later"), Some(detail))
            };
        }
        let certainly = |reason, detail| Explanation {
            is_certain: is_certain && is_unchanged,
            ..not_matched(Some(reason), detail)
        };
        match self.misfit(now, object) {
            Misfit::Disabled(why) => certainly("disabled", why),
            Misfit::EventType => {
                let patterns: Vec<&str> = object.event_types.iter().map(|pattern| pattern.as_str()).collect();
                let detail = format!("`{}` is none of: {}", self.event.event_type, patterns.join(", "));
                certainly("event_type", Some(detail))
            }
            Misfit::Label(detail) => certainly("label", Some(detail)),
            Misfit::Filter(detail) => certainly("filter", Some(detail)),
            Misfit::Unasked => {
                let detail = "the payload is gone, so its filter cannot be asked".to_owned();
                not_matched(Some("filter"), Some(detail))
            }
            Misfit::None => not_matched(
                None,
                Some("as it is now it would match: it was changed since, or its filter failed then".to_owned()),
            ),
        }
    }

    /// In the order in which the fan-out looks.
    fn misfit(&self, now: &Subscription, object: &control::Subscription) -> Misfit {
        if !object.is_enabled {
            return Misfit::Disabled(object.disabled_reason.clone());
        }
        if !object.event_types.iter().any(|pattern| pattern.matches(&self.event.event_type)) {
            return Misfit::EventType;
        }
        for (key, wanted) in &object.labels {
            match self.labels.get(key) {
                Some(value) if value == wanted => {}
                Some(value) => return Misfit::Label(format!("`{key}` is `{value}`, and it asks for `{wanted}`")),
                None => return Misfit::Label(format!("`{key}` is not there, and it asks for `{wanted}`")),
            }
        }
        match (now.filter(), self.payload) {
            (None, _) => Misfit::None,
            (Some(_), None) => Misfit::Unasked,
            (Some(Err(error)), Some(_)) => Misfit::Filter(format!("failed: {error}")),
            (Some(Ok(filter)), Some(payload)) => match filter.matches(&self.facts(payload)) {
                Ok(true) => Misfit::None,
                Ok(false) => Misfit::Filter("false".to_owned()),
                Err(error) => Misfit::Filter(format!("failed: {error}")),
            },
        }
    }

    fn facts<'f>(&'f self, payload: &'f [u8]) -> Facts<'f> {
        Facts::new(filter::Event {
            event_type: &self.event.event_type,
            id: &self.event.id,
            labels: &self.labels,
            time: self.event.occurred_at.as_deref(),
            accepted_ms: self.event.accepted_ms,
            payload,
        })
    }
}

/// Who matched, as the record names them, sorted. None: it names nobody, though some did.
pub(crate) fn matched(event: &LoggedEvent) -> Option<Vec<SubscriptionId>> {
    if event.matched == 0 {
        return Some(Vec::new());
    }
    let (ids, _rest) = event.subscriptions.as_deref()?.as_chunks::<16>();
    let mut ids: Vec<SubscriptionId> = ids.iter().map(|id| SubscriptionId(uuid::Uuid::from_bytes(*id))).collect();
    ids.sort_unstable();
    Some(ids)
}

/// What became of a delivery, by what is known of it.
fn delivered(facts: &[Fact]) -> Explanation {
    let last = facts.iter().reduce(|one, other| if other.is_above(one) { other } else { one });
    let said = |result| Explanation {
        result,
        reason: last.and_then(|fact| fact.reason.clone()),
        detail: last.and_then(|fact| fact.detail.clone()),
        is_certain: true,
    };
    let is = |kinds: &[FactKind]| last.is_some_and(|fact| kinds.contains(&fact.kind));
    if is(&[FactKind::Delivered]) {
        said(ExplainedResult::Delivered)
    } else if is(&[FactKind::DeadLettered, FactKind::TriedOnce]) {
        said(ExplainedResult::Failed)
    } else if is(&[FactKind::Cancelled]) {
        said(ExplainedResult::Cancelled)
    } else {
        // Nothing was said of it yet, or that it is tried again.
        said(ExplainedResult::Waiting)
    }
}

fn not_matched(reason: Option<&str>, detail: Option<String>) -> Explanation {
    let reason = reason.map(str::to_owned);
    Explanation { result: ExplainedResult::NotMatched, reason, detail, is_certain: false }
}

#[cfg(test)]
mod tests;
