//! Many events in one request: each is accepted or refused by itself, answered in order.
//!
//! All records are handed to the producer before the first acknowledgement is waited for. An id that somebody else is at (an
//! earlier event of the same batch, or another request) is put off until all acknowledgements of this batch are there, so
//! that two batches with the same ids never wait for each other.
//!
//! Many events are much work: others have a turn now and then, and all checks together have a bound ([`check_budget`](crate::check_budget)).

use bytes::Bytes;
use serde::Serialize;

use crate::directory::Caller;
use crate::gateway::Gateway;
use crate::ingest::{Accepted, Asking, PreparedEvent, Sent};
use crate::problem::{self, Refused, bad_body, field};
use crate::recent_ids::Claim;
use crate::validate::Event;
use crate::{cloud_event, parse, validate};

/// How far an event is.
enum EventStep<'g> {
    Done(Result<Accepted, Refused>),
    Sent(Box<Sent<'g>>),
    PutOff(Box<PreparedEvent>),
}

/// One event's entry in the answer.
#[derive(Serialize)]
#[serde(untagged)]
enum ResultEntry<'a> {
    Accepted(&'a Accepted),
    Refused { problem: &'a schemas::problem::Problem },
}

#[derive(Serialize)]
struct Results<'a> {
    results: Vec<ResultEntry<'a>>,
}

impl Gateway {
    /// `{"events": [...]}`.
    pub(crate) async fn batch(&self, body: &Bytes, asking: Asking<'_>) -> Result<Vec<u8>, Refused> {
        let events = parse::batch(parse::utf8(body)?, self.config().batch_max_events)?;
        self.all(events.into_iter().map(serde_json::value::RawValue::get), body, asking).await
    }

    /// `CloudEvents` of the batched content mode: an array of structured ones.
    pub(crate) async fn cloud_batch(&self, body: &Bytes, mut asking: Asking<'_>) -> Result<Vec<u8>, Refused> {
        let events = parse::array(parse::utf8(body)?, self.config().batch_max_events)?;
        let mut steps = Vec::with_capacity(events.len());
        for event in events {
            let event = body.slice_ref(event.get().as_bytes());
            let checked = cloud_event::structured(&event, self.config().payload_limit);
            steps.push(self.start(checked, &mut asking).await);
        }
        self.finish(steps, asking.caller).await
    }

    /// One event per line; blank lines are skipped.
    pub(crate) async fn lines(&self, body: &Bytes, asking: Asking<'_>) -> Result<Vec<u8>, Refused> {
        let limit = self.config().batch_max_events;
        let lines: Vec<&str> = parse::utf8(body)?
            .split('\n')
            .map(str::trim_ascii)
            .filter(|line| !line.is_empty())
            .take(limit + 1)
            .collect();
        match lines.len() {
            0 => Err(bad_body("the body holds no event")),
            count if count > limit => Err(field("events", format!("at most {limit} lines are accepted"))),
            _fits => self.all(lines.into_iter(), body, asking).await,
        }
    }

    async fn all(
        &self,
        events: impl ExactSizeIterator<Item = &str> + Send,
        body: &Bytes,
        mut asking: Asking<'_>,
    ) -> Result<Vec<u8>, Refused> {
        let mut steps = Vec::with_capacity(events.len());
        for json in events {
            let checked = parse::event(json).and_then(|raw| validate::event(&raw, body, self.config().payload_limit));
            steps.push(self.start(checked, &mut asking).await);
        }
        self.finish(steps, asking.caller).await
    }

    /// Waits for the acknowledgements of what was sent, then takes what was put off in its turn.
    async fn finish(&self, steps: Vec<EventStep<'_>>, caller: Caller) -> Result<Vec<u8>, Refused> {
        let mut settled = Vec::with_capacity(steps.len());
        for step in steps {
            settled.push(match step {
                EventStep::Sent(sent) => EventStep::Done(self.acknowledged(*sent).await),
                other @ (EventStep::Done(_) | EventStep::PutOff(_)) => other,
            });
        }
        let mut results = Vec::with_capacity(settled.len());
        for step in settled {
            results.push(match step {
                EventStep::Done(result) => result,
                EventStep::Sent(sent) => self.acknowledged(*sent).await,
                EventStep::PutOff(prepared) => self.publish_in_turn(*prepared).await,
            });
        }
        self.count_refused_of_batch(caller, results.iter().filter_map(|result| result.as_ref().err()));
        Ok(self.write(&results))
    }

    async fn start(&self, checked: Result<Event<'_>, Refused>, asking: &mut Asking<'_>) -> EventStep<'_> {
        let payload_bytes = checked.as_ref().map_or(0, |event| event.payload.len());
        let step = self.start_now(checked, asking).await;
        if asking.checks.is_turn_over(payload_bytes) {
            tokio::task::yield_now().await;
        }
        step
    }

    async fn start_now(&self, checked: Result<Event<'_>, Refused>, asking: &mut Asking<'_>) -> EventStep<'_> {
        let prepared = match checked {
            Ok(event) => self.prepare(asking, &event).await,
            Err(refused) => Err(refused),
        };
        match prepared {
            Ok(prepared) => self.claim_and_send(prepared),
            Err(refused) => EventStep::Done(Err(refused)),
        }
    }

    fn claim_and_send(&self, prepared: PreparedEvent) -> EventStep<'_> {
        let claim = match prepared.key().map(|key| self.recent().claim(key)) {
            None => None,
            Some(Claim::New(claim)) => Some(claim),
            Some(Claim::Known) => return EventStep::Done(Err(problem::repeat(prepared.event_id()))),
            Some(Claim::Busy(_over)) => return EventStep::PutOff(Box::new(prepared)),
        };
        match self.send(prepared, claim) {
            Ok(sent) => EventStep::Sent(Box::new(sent)),
            Err(refused) => EventStep::Done(Err(refused)),
        }
    }

    fn write(&self, results: &[Result<Accepted, Refused>]) -> Vec<u8> {
        let entry = |result: &'_ Result<Accepted, Refused>| {
            if let Err(problem) = result {
                self.note_refusal(problem);
            }
        };
        results.iter().for_each(entry);
        let results = results.iter().map(|result| match result {
            Ok(accepted) => ResultEntry::Accepted(accepted),
            Err(problem) => ResultEntry::Refused { problem },
        });
        let results = Results { results: results.collect() };
        serde_json::to_vec(&results).expect("strings, numbers and trees of them are JSON")
    }
}
