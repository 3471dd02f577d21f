//! What became of events, out of the delivery log: `hookbus event list`, `show` and `explain`, `attempts`, `attempt show`, `deadletters`.

use anyhow::Result;
use chassis::clock;
use serde_json::Value;

use super::follow;
use crate::cli::log::{
    AttemptArgs, AttemptCommand, AttemptsArgs, DeadLettersListArgs, EventExplainArgs, EventListArgs, EventShowArgs,
    PartOfList,
};
use crate::cli::manage::{Common, OfApplication, Output};
use crate::management::{self, Ask, Management, Refused, path};
use crate::output::{self, Column};
use crate::screen;

const EVENTS: &[Column] = &[
    ("received", "received_at"),
    ("event", "event_id"),
    ("type", "event_type_name"),
    ("matched", "matched"),
    ("bytes", "payload_bytes"),
    ("labels", "labels"),
];
const EVENT: &[Column] = &[
    ("event", "event_id"),
    ("webhook id", "webhook_id"),
    ("type", "event_type_name"),
    ("source", "source"),
    ("received", "received_at"),
    ("occurred", "occurred_at"),
    ("matched", "matched"),
    ("payload bytes", "payload_bytes"),
    ("content type", "payload_content_type"),
    ("labels", "labels"),
    ("metadata", "metadata"),
    ("from", "ip"),
    ("accepted at", "origin"),
];
const ENTRIES: &[Column] = &[
    ("at", "at"),
    ("what", "kind"),
    ("subscription", "subscription_id"),
    ("attempt", "attempt"),
    ("status", "status"),
    ("error", "error"),
    ("ms", "elapsed_ms"),
    ("next", "next_attempt_at"),
    ("made by", "made_by"),
    ("reason", "reason"),
    ("detail", "detail"),
];
const EXPLAINED: &[Column] = &[
    ("event", "event_id"),
    ("fate", "fate"),
    ("matched", "matched_at"),
    ("control offset", "control_offset"),
    ("detail", "detail"),
];
const SUBSCRIPTIONS: &[Column] = &[
    ("subscription", "subscription_id"),
    ("description", "description"),
    ("result", "result"),
    ("reason", "reason"),
    ("attempts", "attempts"),
    ("next", "next_attempt_at"),
    ("certain", "is_certain"),
    ("detail", "detail"),
];
const ATTEMPTS: &[Column] = &[
    ("created", "created_at"),
    ("attempt", "request_attempt_id"),
    ("event", "event_id"),
    ("subscription", "subscription.subscription_id"),
    ("no", "attempt"),
    ("stands", "status.type"),
    ("status", "http_response_status"),
    ("error", "error"),
    ("ms", "elapsed_ms"),
    ("next", "next_attempt_at"),
    ("reason", "reason"),
];
const ATTEMPT: &[Column] = &[
    ("attempt", "request_attempt_id"),
    ("event", "event_id"),
    ("type", "event.event_type_name"),
    ("subscription", "subscription.subscription_id"),
    ("delivery", "delivery_id"),
    ("no", "attempt"),
    ("made by", "made_by"),
    ("stands", "status.type"),
    ("created", "created_at"),
    ("started", "picked_at"),
    ("due", "delay_until"),
    ("next", "next_attempt_at"),
    ("reason", "reason"),
    ("method", "request.method"),
    ("url", "request.url"),
    ("headers", "request.headers"),
    ("signed", "request.signed"),
    ("payload", "request.payload.state"),
    ("to", "to"),
    ("http", "request.connection.http"),
    ("connection kept", "request.connection.reused"),
    ("dns ms", "request.connection.dns_ms"),
    ("connect ms", "request.connection.connect_ms"),
    ("tls ms", "request.connection.tls_ms"),
    ("first byte ms", "first_byte_ms"),
    ("elapsed ms", "elapsed_ms"),
    ("error", "error"),
    ("status", "http_response_status"),
    ("answer's headers", "response.headers"),
    ("answer", "response.body"),
];
const DEAD_LETTERS: &[Column] = &[
    ("died", "died_at"),
    ("dead letter", "dead_letter_id"),
    ("event", "event.event_id"),
    ("type", "event.event_type_name"),
    ("subscription", "subscription.subscription_id"),
    ("attempts", "attempts"),
    ("status", "last_status"),
    ("reason", "reason"),
    ("state", "state"),
];

/// `event list`.
///
/// # Errors
/// The management API refuses or cannot be reached.
pub(crate) async fn events(management: &Management, output: Output, args: &EventListArgs) -> Result<()> {
    let application = management.application(args.of.application.as_deref()).await?;
    let mut asked = ListQuery::of(&application, "min_created_at", &args.part)?;
    asked.put("source", args.source.as_deref());
    if !args.event_types.is_empty() {
        asked.put("event.event_type_names", Some(&args.event_types.join(",")));
    }
    for (name, value) in &args.labels {
        asked.put("label", Some(&format!("{name}={value}")));
    }
    let found = management.newest("events", &asked.path("/events"), args.part.limit).await?;
    output::list(output, &found, EVENTS)
}

/// `event show`: what is known of it, and below it what happened, the oldest first.
///
/// # Errors
/// As [`events`].
pub(crate) async fn event(management: &Management, output: Output, args: &EventShowArgs) -> Result<()> {
    let application = management.application(args.of.application.as_deref()).await?;
    let what = format!("event {}", args.event);
    let place = path("/events/{}/timeline?application_id={}", [&args.event, &application]);
    let timeline = management.ask(&what, Ask::get(place)).await?.value;
    if output == Output::Json {
        return output::one(output, &timeline, EVENT);
    }
    output::one(output, &timeline["event"], EVENT)?;
    let entries = timeline["entries"].as_array().map_or(&[][..], Vec::as_slice);
    screen::line("")?;
    output::list(output, entries, &told(entries, ENTRIES))
}

/// `attempts`.
///
/// # Errors
/// As [`events`].
pub(crate) async fn attempts(args: &AttemptsArgs) -> Result<()> {
    let (management, output) = opened(&args.common)?;
    let application = management.application(args.of.application.as_deref()).await?;
    let mut asked = ListQuery::of(&application, "min_created_at", &args.part)?;
    asked.put("subscription_id", args.subscription.as_deref());
    asked.put("event_id", args.event.as_deref());
    asked.put("status", args.status.as_deref());
    asked.put("http_status", args.http_status.as_deref());
    asked.put("error", args.error.as_deref());
    let asked = asked.path("/request_attempts");
    if args.follow {
        return follow::follow(&management, (output, ATTEMPTS), ("attempts", &asked), args.part.limit).await;
    }
    let found = management.newest("attempts", &asked, args.part.limit).await?;
    output::list(output, &found, ATTEMPTS)
}

/// `event explain`: what the fan-out said of it, and below it what became of it for each subscription.
///
/// # Errors
/// As [`events`].
pub(crate) async fn explain(management: &Management, output: Output, args: &EventExplainArgs) -> Result<()> {
    let application = management.application(args.of.application.as_deref()).await?;
    let mut place = path("/events/{}/explain?application_id={}", [&args.event, &application]);
    if let Some(subscription) = &args.subscription {
        place.push_str(&path("&subscription_id={}", [subscription]));
    }
    let explained = management.explain(&format!("event {}", args.event), &place).await?;
    if output == Output::Json {
        return output::one(output, &explained, EXPLAINED);
    }
    output::one(output, &explained, EXPLAINED)?;
    let subscriptions = explained["subscriptions"].as_array().map_or(&[][..], Vec::as_slice);
    screen::line("")?;
    output::list(output, subscriptions, &told(subscriptions, SUBSCRIPTIONS))
}

/// `attempt show`: with its request and its answer, as far as Kafka has them.
///
/// # Errors
/// As [`events`].
pub(crate) async fn attempt(args: &AttemptArgs) -> Result<()> {
    let (management, output) = opened(&args.common)?;
    let AttemptCommand::Show { attempt, of } = &args.command;
    let application = management.application(of.application.as_deref()).await?;
    let what = format!("attempt {attempt}");
    let place = |pattern: &str| path(&format!("{pattern}?application_id={{}}"), [attempt, &application]);
    let mut shown = management.ask(&what, Ask::get(place("/request_attempts/{}"))).await?.value;
    for (name, pattern) in [("request", "/request_attempts/{}/request"), ("response", "/responses/{}")] {
        shown[name] = read_back(&management, &what, &place(pattern)).await?;
    }
    output::one(output, &shown, ATTEMPT)
}

/// What is read back from Kafka, or null where that has it no more, or does not answer: what the log knows is shown all the same.
async fn read_back(management: &Management, what: &str, place: &str) -> Result<Value> {
    match management.ask(what, Ask::get(place)).await {
        Ok(answer) => Ok(answer.value),
        Err(error) if error.downcast_ref::<Refused>().is_some_and(|it| matches!(it.status, 404 | 503)) => {
            Ok(Value::Null)
        }
        Err(error) => Err(error),
    }
}

/// `deadletters list`.
///
/// # Errors
/// As [`events`].
pub(crate) async fn dead_letters(management: &Management, output: Output, args: &DeadLettersListArgs) -> Result<()> {
    let application = management.application(args.of.application.as_deref()).await?;
    let mut asked = ListQuery::of(&application, "min_created_at", &args.part)?;
    asked.put("subscription_id", args.subscription.as_deref());
    asked.put("reason", args.reason.as_deref());
    asked.put("state", Some(&args.state));
    let found = management.newest("dead letters", &asked.path("/dead_letters"), args.part.limit).await?;
    output::list(output, &found, &told(&found, DEAD_LETTERS))
}

/// `deadletters show`.
///
/// # Errors
/// As [`events`], and where there is none.
pub(crate) async fn dead_letter(
    management: &Management,
    output: Output,
    dead_letter: &str,
    of: &OfApplication,
) -> Result<()> {
    let application = management.application(of.application.as_deref()).await?;
    let list =
        path("/request_attempts?application_id={}&delivery_id={}&order=asc", [application.as_str(), dead_letter]);
    let found = management.newest("dead letters", &list, usize::MAX).await?;
    if found.is_empty() {
        anyhow::bail!("dead letter {dead_letter}: there is none in application {application}");
    }
    output::list(output, &found, ATTEMPTS)
}

fn opened(common: &Common) -> Result<(Management, Output)> {
    Ok((management::open(&common.login)?, common.output))
}

/// The columns in which a row says something.
fn told(rows: &[Value], columns: &[Column]) -> Vec<Column> {
    let says =
        |(_, path): &&Column| rows.iter().any(|row| !path.split('.').fold(row, |value, name| &value[name]).is_null());
    columns.iter().filter(says).copied().collect()
}

/// The query of a list.
struct ListQuery(Vec<(&'static str, String)>);

impl ListQuery {
    fn of(application: &str, since: &'static str, part: &PartOfList) -> Result<Self> {
        let mut query = Self(vec![("application_id", application.to_owned())]);
        let from = part.since.as_deref().map(|text| super::audit::since(text, clock::now_ms())).transpose()?;
        query.put(since, from.map(screen::time).as_deref());
        Ok(query)
    }

    fn put(&mut self, name: &'static str, value: Option<&str>) {
        self.0.extend(value.map(|value| (name, value.to_owned())));
    }

    fn path(&self, list: &str) -> String {
        let pairs: Vec<String> = self.0.iter().map(|(name, value)| path(&format!("{name}={{}}"), [value])).collect();
        format!("{list}?{}", pairs.join("&"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_asked_for_stands_in_the_path() {
        let part = PartOfList { limit: 50, since: Some("1970-01-01T00:00:01Z".to_owned()) };
        let mut query = ListQuery::of("a b", "min_created_at", &part).unwrap();
        query.put("label", Some("x=y&z"));
        query.put("error", None);
        let expected = "/events?application_id=a%20b&min_created_at=1970-01-01T00%3A00%3A01.000Z&label=x%3Dy%26z";
        assert_eq!(query.path("/events"), expected);
    }

    #[test]
    fn columns_that_say_nothing_are_left_out() {
        let rows = [json!({"at": "now", "error": null}), json!({"at": "then", "subscription": {"id": 5}})];
        let columns: &[Column] = &[("at", "at"), ("error", "error"), ("made by", "made_by"), ("to", "subscription.id")];
        assert_eq!(told(&rows, columns), [("at", "at"), ("to", "subscription.id")]);
    }
}
