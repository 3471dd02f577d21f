//! Why an event went to its subscriptions, and why not to others.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use axum::extract::{Path, State};
use catalog::{Snapshot, Subscription};
use delivery_log::{Day, DeliveryStore, Fact, FactKind, FactQuery, Kinds, LoggedEvent, Subject};
use http::StatusCode;
use schemas::control::Application;
use schemas::identity::{EventIdentity, gateway_source};
use schemas::ids::{ApplicationId, DeliveryId, Generation, SubscriptionId};
use schemas::problem::Code;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::events::shown_id;
use super::payload::FoundPayload;
use super::{AskedLog, MOST, event_named, payload, uuids_of, with_headers};
use crate::api::{json, linked, time};
use crate::log::explain::{ExplainedEvent, ExplainedResult, Explanation, matched};
use crate::log::failed;
use crate::log::letters::by_delivery;
use crate::page::{Page, Rows};
use crate::problem::{Answer, Problem, internal};
use crate::state::App;

/// Subscriptions of a page that does not say how many.
const USUAL: usize = 100;

/// What became of an event, and why, subscription by subscription.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EventExplanation)]
pub(in crate::api) struct ExplanationShown {
    event_id: String,
    /// What the fan-out said of it.
    fate: EventFate,
    detail: Option<String>,
    #[schema(format = DateTime)]
    matched_at: Option<String>,
    /// The subscriptions as they stood behind this offset of `control` were matched.
    control_offset: Option<i64>,
    /// By id. Those that matched and are gone are among them.
    subscriptions: Vec<SubscriptionExplained>,
}

/// What the fan-out said of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::api) enum EventFate {
    Matched,
    /// Its id was seen before; nothing was sent for it.
    Repeat,
    /// It could not be used.
    Rejected,
    /// Nothing of it is in the log.
    Unknown,
}

/// Why an event went to a subscription, or did not.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct SubscriptionExplained {
    subscription_id: Uuid,
    /// As it is now; null where it is gone.
    description: Option<String>,
    result: MatchResult,
    /// Of `not_matched`: `created_later`, `disabled`, `event_type`, `label` or `filter`; null where none can be told. Else why its
    /// delivery ended, where it ended badly.
    reason: Option<String>,
    detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery_id: Option<Uuid>,
    /// Requests that were made.
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    next_attempt_at: Option<String>,
    /// False where the subscription was changed since, the payload is gone, or whom the fan-out matched is not known.
    is_certain: bool,
}

/// What became of an event for a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ExplainedResult)]
pub(in crate::api) enum MatchResult {
    Delivered,
    Waiting,
    Failed,
    Cancelled,
    NotMatched,
}

/// A page's subscriptions, with what is known of their deliveries.
struct ExplainedPage {
    event: LoggedEvent,
    payload: Option<Vec<u8>>,
    subscriptions: Vec<(SubscriptionId, Option<Arc<Subscription>>)>,
    facts: HashMap<DeliveryId, Vec<Fact>>,
}

/// Explain what became of an event
///
/// Each subscription of its application: whether it matched, and if not, why. Its own delivery is told of, not replays.
#[utoipa::path(
    get, path = "/api/v1/events/{event_id}/explain", operation_id = "events.explain", tag = "log",
    params(
        ("event_id" = String, Path, description = "Id, UUID or webhook id"),
        ("application_id" = Option<String>, Query, description = "Id or uid; may be left out with an application's token", nullable = false),
        ("subscription_id" = Option<String>, Query, description = "Only this subscription", format = Uuid, nullable = false),
        ("limit" = Option<u32>, Query, description = "Subscriptions of a page, 1 to 250", minimum = 1, maximum = 250, nullable = false),
        ("pagination_cursor" = Option<String>, Query, description = "Where a page begins, as the `Link` of the one before says", nullable = false),
    ),
    responses((status = 200, description = "What became of it", body = ExplanationShown)),
)]
pub(in crate::api) async fn get(State(app): State<Arc<App>>, asked: AskedLog, Path(id): Path<String>) -> Answer {
    let (application, store) = asked.log(&app)?;
    let page = Page::of(&asked.query)?;
    let limit = page.limit().unwrap_or(USUAL);
    if limit > MOST {
        return Err(Problem::field("limit", Code::InvalidField, format!("must be a whole number, 1 to {MOST}")));
    }
    let (after, only) = (page.after_id()?.map(SubscriptionId), asked.uuid("subscription_id")?.map(SubscriptionId));
    let Some(event) = event_named(store.as_ref(), application.application_id, &id).await? else {
        let shown = unmatched(store.as_ref(), application.application_id, &id).await?;
        if shown.fate == EventFate::Unknown
            && let Some(behind) = app.log().may_lack("event")
        {
            return Err(behind);
        }
        return Ok(with_headers(&app, json(StatusCode::OK, &shown)?));
    };
    let mut chosen = chosen(&app.catalog().read(), &event, (only, after, limit + 1));
    let next = (chosen.len() > limit).then(|| chosen[limit - 1].0.to_string());
    chosen.truncate(limit);
    let page = ExplainedPage::load(&app, store.as_ref(), (&application, event), chosen).await?;
    let uuids = asked.uuids;
    // Filters are compiled and asked.
    let explained = tokio::task::spawn_blocking(move || page.explain(uuids)).await;
    let shown = explained.map_err(|error| internal("an event could not be explained", &error))?;
    let mut response = json(StatusCode::OK, &shown)?;
    linked(&mut response, Rows::of(Vec::<()>::new(), next).link(&asked.query)?);
    Ok(with_headers(&app, response))
}

/// The first subscriptions behind a cursor, by id: those of the application, and those that matched and are gone.
fn chosen(
    snapshot: &Snapshot,
    event: &LoggedEvent,
    (only, after, most): (Option<SubscriptionId>, Option<SubscriptionId>, usize),
) -> Vec<(SubscriptionId, Option<Arc<Subscription>>)> {
    let is_asked = |id: &SubscriptionId| only.is_none_or(|only| *id == only) && after.is_none_or(|after| *id > after);
    let named = matched(event).unwrap_or_default().into_iter().filter(is_asked).take(most);
    let mut found: BTreeMap<SubscriptionId, Option<Arc<Subscription>>> = named.map(|id| (id, None)).collect();
    let there = snapshot.subscriptions_after(event.application, after).filter(|it| is_asked(&it.id())).take(most);
    found.extend(there.map(|subscription| (subscription.id(), Some(Arc::clone(subscription)))));
    found.into_iter().take(most).collect()
}

/// What is said of an event that was not matched.
async fn unmatched(
    store: &dyn DeliveryStore,
    application: ApplicationId,
    name: &str,
) -> Result<ExplanationShown, Problem> {
    let mut fact = None;
    for uuid in uuids_of(application, name) {
        let kinds = Kinds::of(&[FactKind::Repeat, FactKind::Rejected]);
        let query = FactQuery { subject: Subject::Event(uuid), kinds, ..FactQuery::of(application, 1) };
        let found = store.facts(query).await.map_err(|error| failed(&error))?;
        fact = fact.or_else(|| found.rows.into_iter().next());
    }
    let fate = match &fact {
        Some(fact) if fact.kind == FactKind::Rejected => EventFate::Rejected,
        Some(_repeat) => EventFate::Repeat,
        None => EventFate::Unknown,
    };
    Ok(ExplanationShown {
        event_id: name.to_owned(),
        fate,
        detail: fact.and_then(|fact| fact.detail.or(fact.reason)),
        matched_at: None,
        control_offset: None,
        subscriptions: Vec::new(),
    })
}

// === impl ExplainedPage ===

impl ExplainedPage {
    async fn load(
        app: &App,
        store: &dyn DeliveryStore,
        (application, event): (&Application, LoggedEvent),
        subscriptions: Vec<(SubscriptionId, Option<Arc<Subscription>>)>,
    ) -> Result<Self, Problem> {
        let since = Day::of(event.accepted_ms).minus(1);
        let deliveries = subscriptions.iter().map(|(id, _)| (delivery_of(&event, *id), since)).collect();
        let history = store.histories(event.application, deliveries).await.map_err(|error| failed(&error))?;
        let facts = by_delivery(history);
        // Where nobody has a filter, nobody asks for the payload; and without Kafka all else is told.
        let is_asked = subscriptions.iter().any(|(_, now)| now.as_ref().is_some_and(|now| now.filter().is_some()));
        let payload = if is_asked {
            payload::read(app, application, &event).await.ok().and_then(FoundPayload::bytes)
        } else {
            None
        };
        Ok(Self { event, payload, subscriptions, facts })
    }

    fn explain(self, uuids: bool) -> ExplanationShown {
        let explained = ExplainedEvent::new(&self.event, self.payload.as_deref());
        let subscriptions = self.subscriptions.iter().map(|(id, now)| {
            let delivery = delivery_of(&self.event, *id);
            let facts: Vec<Fact> = self.facts.get(&delivery).cloned().unwrap_or_default();
            show((*id, now.as_deref()), explained.explain(*id, now.as_deref(), &facts), (delivery, &facts))
        });
        ExplanationShown {
            subscriptions: subscriptions.collect(),
            event_id: shown_id(self.event.uuid, &self.event.id, uuids),
            fate: EventFate::Matched,
            detail: self.event.detail.clone(),
            matched_at: Some(time(self.event.at_ms)),
            control_offset: self.event.control_offset,
        }
    }
}

fn delivery_of(event: &LoggedEvent, subscription: SubscriptionId) -> DeliveryId {
    let source = event.source.clone().unwrap_or_else(|| gateway_source(event.application));
    let identity = EventIdentity { application: event.application, source, id: event.id.clone() };
    identity.delivery_id(subscription, Generation::default())
}

fn show(
    (id, now): (SubscriptionId, Option<&Subscription>),
    said: Explanation,
    (delivery, facts): (DeliveryId, &[Fact]),
) -> SubscriptionExplained {
    let is_matched = said.result != ExplainedResult::NotMatched;
    let last = facts.iter().reduce(|one, other| if other.is_above(one) { other } else { one });
    SubscriptionExplained {
        subscription_id: id.0,
        description: now.and_then(|now| now.object().description),
        result: MatchResult::of(said.result),
        reason: said.reason,
        detail: said.detail,
        delivery_id: is_matched.then_some(delivery.0),
        attempts: is_matched.then(|| last.and_then(|fact| fact.attempt).unwrap_or(0)),
        next_attempt_at: last.filter(|_| said.result == ExplainedResult::Waiting).and_then(|it| it.due_ms).map(time),
        is_certain: said.is_certain,
    }
}

// === impl MatchResult ===

impl MatchResult {
    fn of(result: ExplainedResult) -> Self {
        match result {
            ExplainedResult::Delivered => Self::Delivered,
            ExplainedResult::Waiting => Self::Waiting,
            ExplainedResult::Failed => Self::Failed,
            ExplainedResult::Cancelled => Self::Cancelled,
            ExplainedResult::NotMatched => Self::NotMatched,
        }
    }
}
