//! The feed of `hookbus dev`: every lifecycle record as one line.

use schemas::attempt::{Kind, Lifecycle};

use crate::screen;

/// One line for one lifecycle record, or nothing for what only the log needs.
pub(crate) fn line(record: &Lifecycle<'_>, now_ms: i64) -> Option<String> {
    let event = record.event_id.as_deref().unwrap_or("(no id)");
    let event_type = record.event_type.as_deref().unwrap_or("");
    let attempt = record.attempt.unwrap_or(0);
    let what = match record.kind {
        Kind::Matched => {
            let count = record.event.as_ref().map_or(0, |event| event.matched);
            let noun = if count == 1 { "subscription" } else { "subscriptions" };
            format!("matched    {event}  {event_type}  {count} {noun}")
        }
        Kind::Repeat => {
            format!(
                "repeat     {event}  {event_type}  nothing fires: this id was accepted before, inside the dedup window"
            )
        }
        Kind::Rejected => format!("rejected   {event}  {}  {}", reason(record), detail(record)),
        Kind::FilterFailed => format!("filter     {event}  failed: {}", detail(record)),
        Kind::Attempted => {
            format!("retry      {event}  attempt {attempt} failed: {}, next {}", answer(record), next(record, now_ms))
        }
        Kind::Parked => format!("parked     {event}  {}, next {}", reason(record), next(record, now_ms)),
        Kind::Delivered => format!("delivered  {event}  {event_type}  attempt {attempt}: {}", answer(record)),
        Kind::DeadLettered => {
            format!("dead       {event}  after {attempt} attempts: {}, {}", reason(record), answer(record))
        }
        Kind::Cancelled => format!("cancelled  {event}  {}", reason(record)),
        Kind::EndpointGone => {
            format!("gone       {event}  the endpoint asks for no more; its subscription is disabled")
        }
        Kind::Failing => format!("failing    {event}  {}; its subscription is disabled", detail(record)),
        Kind::Recovered => format!("recovered  {event}  {}", detail(record)),
        Kind::Undeclared => format!("undeclared {event}  {event_type} is declared on sight"),
        Kind::TriedOnce => format!("tried once {event}  {}", answer(record)),
        Kind::Redriven => format!("redriven   {event}  its dead letter is sent once more"),
        Kind::Discarded => format!("discarded  {event}  {}", reason(record)),
        Kind::Erased => format!("erased     {event}  its content leaves the delivery log"),
        Kind::Target | Kind::Unknown => return None,
    };
    // Ids and answers come from outside: nothing of them may steer the terminal.
    Some(format!("{}  {}", screen::clock(record.at_ms), screen::text(what.as_bytes(), 400)))
}

fn reason<'a>(record: &'a Lifecycle<'_>) -> &'a str {
    record.reason.as_deref().unwrap_or("")
}

fn detail<'a>(record: &'a Lifecycle<'_>) -> &'a str {
    record.detail.as_deref().unwrap_or("")
}

fn answer(record: &Lifecycle<'_>) -> String {
    let Some(exchange) = &record.exchange else { return detail(record).to_owned() };
    let what = exchange.status.map_or_else(
        || exchange.error.as_deref().unwrap_or("no answer").to_owned(),
        |status| format!("status {status}"),
    );
    format!("{what} in {} ms", exchange.elapsed_ms)
}

fn next(record: &Lifecycle<'_>, now_ms: i64) -> String {
    record.due_ms.map_or_else(
        || "soon".to_owned(),
        |due| {
            let wait_ms = due.saturating_sub(now_ms).max(0);
            format!("in {}.{} s", wait_ms / 1_000, wait_ms % 1_000 / 100)
        },
    )
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use schemas::attempt::Exchange;

    use super::*;

    #[test]
    fn a_failed_attempt_says_what_came_and_when_the_next_one_is() {
        let mut record = Lifecycle::new(Kind::Attempted, 1_790_000_000_000);
        record.event_id = Some(Cow::Borrowed("evt_1"));
        record.attempt = Some(2);
        record.due_ms = Some(1_790_000_005_200);
        record.exchange = Some(Exchange { status: Some(500), elapsed_ms: 3, ..Exchange::default() });
        assert_eq!(
            line(&record, 1_790_000_000_000).unwrap(),
            "14:13:20.000  retry      evt_1  attempt 2 failed: status 500 in 3 ms, next in 5.2 s"
        );
    }

    #[test]
    fn an_id_cannot_steer_the_terminal() {
        let mut record = Lifecycle::new(Kind::Cancelled, 0);
        record.event_id = Some(Cow::Borrowed("\u{1b}[2J"));
        assert!(!line(&record, 0).unwrap().contains('\u{1b}'));
    }

    #[test]
    fn what_only_the_log_needs_is_no_line() {
        assert_eq!(line(&Lifecycle::new(Kind::Target, 0), 0), None);
        assert_eq!(line(&Lifecycle::new(Kind::Unknown, 0), 0), None);
    }
}
