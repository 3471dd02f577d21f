//! Sending many events again: by their ids, or by what they or their deliveries have in common.

use std::collections::HashSet;
use std::sync::Arc;

use axum::extract::State;
use delivery_log::{Day, DeliveryStore};
use http::StatusCode;
use schemas::ids::{ApplicationId, SubscriptionId};
use schemas::jobs::{JobDefinition, JobKind, JobReplays, JobSubject, MAX_JOB_IDS, PackedIds, ReplayOutcome, ReplayTo};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::estimates::estimated;
use super::letters::{event_types, period};
use super::resend::{receiver, replay_job};
use super::{JobShown, ask, definition, rate};
use crate::api::json;
use crate::api::log::{AskedLog, event_named, uuids_of};
use crate::body::{Fields, Json};
use crate::log::failed;
use crate::problem::{Answer, Problem};
use crate::state::App;

/// Events that are looked up at once.
const FEW: usize = 50;
/// Labels of a filter.
const MOST_LABELS: usize = 50;
/// Fields of a filter.
const FILTER: [&str; 8] =
    ["event_types", "labels", "from", "to", "outcome", "subscription_id", "http_status", "event_ids"];

/// Send events again
///
/// All that fit the filter, from the oldest on, at the rate that is given. One of `from`, `outcome` and `event_ids` must be there.
/// `outcome` looks at the deliveries that the events were matched to, not at those that jobs made of them; a failed one whose event
/// has been delivered to its subscription since is left out. Without it, and with `unmatched`, events themselves are looked at.
///
/// With `?dry_run=true` nothing is written, and the answer is a 200 with what the job would do: `events`, `deliveries`, `bytes`,
/// `oldest`, `newest`, `expired`, and `is_estimate`, which says whether all of it was counted.
#[utoipa::path(
    post, path = "/api/v1/replays", operation_id = "replays.create", tag = "jobs",
    request_body(content = super::shapes::ReplaysPost),
    responses(
        (status = 202, description = "The job that sends them", body = JobShown),
        (status = 409, description = "Validation: the subscription in `to` is disabled (`code` is `subscription_disabled`), or this `Idempotency-Key` or `replay_id` was another request's"),
        (status = 429, description = "RateLimited: 100 jobs of the application have not ended"),
    ),
)]
pub(in crate::api) async fn create(State(app): State<Arc<App>>, asked: AskedLog, Json(body): Json) -> Answer {
    asked.principal.editor()?;
    let mut fields = Fields::new(body, "", &["application_id", "filter", "to", "rate_per_second", "replay_id"])?;
    let given = fields.kept_text("application_id", 1..=200)?;
    let (application, store) = asked.log_of(&app, given.as_deref())?;
    let application = application.application_id;
    let replay_id = fields.kept_text("replay_id", 1..=128)?;
    let filter = fields.object("filter", "filter.", &FILTER)?.flatten();
    let filter = filter.ok_or_else(|| fields.wrong("filter", "is required"))?;
    let mut replays = read_filter(store.as_ref(), application, filter).await?;
    replays.to = to(&app, &asked, application, (&mut fields, &replays))?;
    let per_second = rate(&mut fields)?;
    let made =
        definition(&app, &asked.principal, (application, JobKind::Replay, JobSubject::Events(replays)), per_second);
    let job_id = replay_id.map_or(made.job_id, |name| replay_job(application, &name));
    let made = JobDefinition { job_id, ..made };
    if asked.principal.is_dry_run() {
        return estimated(&app, store.as_ref(), made).await;
    }
    json(StatusCode::ACCEPTED, &JobShown::of(&ask(&app, &asked.principal, made).await?))
}

async fn read_filter(
    store: &dyn DeliveryStore,
    application: ApplicationId,
    mut filter: Fields,
) -> Result<JobReplays, Problem> {
    let outcomes = outcomes(&mut filter)?;
    let named = filter.texts("event_ids", MAX_JOB_IDS)?;
    let (from_ms, to_ms) = period(&mut filter)?;
    let subscription = filter.kept_text("subscription_id", 1..=200)?;
    let wrong = |_error| filter.wrong("subscription_id", "must be a UUID");
    let subscription_id = subscription.map(|id| Uuid::parse_str(&id)).transpose().map_err(wrong)?.map(SubscriptionId);
    let status = filter.kept_text("http_status", 3..=3)?;
    let status = status.map(|text| self::status(&filter, &text)).transpose()?;
    let replays = JobReplays {
        event_types: event_types(&mut filter)?,
        labels: filter.map("labels", MOST_LABELS)?.unwrap_or_default(),
        from_ms,
        to_ms,
        outcomes,
        subscription_id,
        status,
        ..JobReplays::default()
    };
    if !replays.is_of_deliveries() && (subscription_id.is_some() || status.is_some()) {
        let name = if subscription_id.is_some() { "subscription_id" } else { "http_status" };
        return Err(
            filter.wrong(name, "is about deliveries: give an `outcome` of `delivered`, `failed` or `waiting` with it")
        );
    }
    let Some(named) = named else {
        if replays.outcomes.is_empty() && from_ms.is_none() {
            return Err(filter.wrong("from", "give `from`, `outcome` or `event_ids`"));
        }
        return Ok(replays);
    };
    if named.is_empty() || replays != JobReplays::default() {
        return Err(filter.wrong("event_ids", "names events by itself: at least one, and no other field beside it"));
    }
    let ids = Some(PackedIds(known_events(store, application, &filter, &named).await?));
    Ok(JobReplays { ids, ..replays })
}

/// The UUIDs of the events that are named.
async fn known_events(
    store: &dyn DeliveryStore,
    application: ApplicationId,
    filter: &Fields,
    named: &[String],
) -> Result<Vec<Uuid>, Problem> {
    let mut ids = Vec::with_capacity(named.len());
    for few in named.chunks(FEW) {
        let wanted: Vec<(Uuid, Day)> =
            few.iter().flat_map(|name| uuids_of(application, name)).map(|id| (id, Day::of(0))).collect();
        let found = store.events_of(application, wanted).await.map_err(|error| failed(&error))?;
        let found: HashSet<Uuid> = found.into_iter().map(|event| event.uuid).collect();
        for name in few {
            if let Some(id) = uuids_of(application, name).into_iter().find(|id| found.contains(id)) {
                ids.push(id);
                continue;
            }
            // From a source of its own.
            let other = event_named(store, application, name).await?;
            let unknown = || filter.wrong("event_ids", format!("there is no event {name} in the delivery log"));
            ids.push(other.ok_or_else(unknown)?.uuid);
        }
    }
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

fn outcomes(filter: &mut Fields) -> Result<Vec<ReplayOutcome>, Problem> {
    let Some(given) = filter.texts("outcome", ReplayOutcome::ALL.len())? else { return Ok(Vec::new()) };
    let words = || ReplayOutcome::ALL.map(ReplayOutcome::as_str).join(", ");
    let wrong = || filter.wrong("outcome", format!("must be a list of {}", words()));
    if given.is_empty() {
        return Err(wrong());
    }
    let of = |word: &String| ReplayOutcome::ALL.into_iter().find(|outcome| outcome.as_str() == word);
    let mut found: Vec<ReplayOutcome> = given.iter().map(of).collect::<Option<_>>().ok_or_else(wrong)?;
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// `404`, or a class such as `5xx`.
fn status(filter: &Fields, text: &str) -> Result<(u16, u16), Problem> {
    let class =
        text.strip_suffix("xx").and_then(|digit| digit.parse().ok()).map(|class: u16| (class * 100, class * 100 + 99));
    let one = text.parse().ok().map(|status: u16| (status, status));
    let found = class.or(one).filter(|(from, to)| *from >= 100 && *to <= 599);
    found.ok_or_else(|| filter.wrong("http_status", "must be a status, `404`, or a class of them, `5xx`"))
}

/// To whom: `matching`, `same`, or a subscription.
fn to(
    app: &App,
    asked: &AskedLog,
    application: ApplicationId,
    (fields, replays): (&mut Fields, &JobReplays),
) -> Result<ReplayTo, Problem> {
    let is_same_possible = replays.is_of_deliveries() && !replays.is_of_events();
    let usual = if is_same_possible { ReplayTo::Same } else { ReplayTo::Matching };
    let to = match fields.take("to") {
        None => usual,
        Some(Value::String(word)) if word == "matching" => ReplayTo::Matching,
        Some(Value::String(word)) if word == "same" => ReplayTo::Same,
        Some(Value::Object(named)) => ReplayTo::Subscription(named_in(app, asked, application, named)?),
        Some(_other) => {
            let problem = fields.wrong("to", "must be `matching`, `same` or an object with a `subscription_id`");
            return Err(problem);
        }
    };
    if to == ReplayTo::Same && !is_same_possible {
        return Err(fields
            .wrong("to", "`same` goes with an `outcome` of deliveries alone: not with `unmatched` or `event_ids`"));
    }
    if to != ReplayTo::Same && replays.outcomes.contains(&ReplayOutcome::Waiting) {
        return Err(fields.wrong("to", "what waits is sent again to the subscription it waits for: only to `same`"));
    }
    Ok(to)
}

fn named_in(
    app: &App,
    asked: &AskedLog,
    application: ApplicationId,
    named: Map<String, Value>,
) -> Result<SubscriptionId, Problem> {
    let mut fields = Fields::new(named, "to.", &["subscription_id"])?;
    let name = fields.required_text("subscription_id", 1..=200)?;
    receiver(app, asked, application, &name)
}
