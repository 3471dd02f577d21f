//! The problems the gateway answers with, each made in one place. Pure.

use catalog::schema::{Mismatch, Unfit};
use chassis::body_budget::BodyRefusal;
use schemas::problem::{Code, Problem, ProblemId};

use crate::check_budget::CheckBudget;
use crate::config::RETRY_AFTER_S;
use crate::json::quoted;
use crate::limits::{Over, Whose};

pub(crate) use sources::event_body::faults::{Faults, Refused, bad_body, field, problem, too_deep};

fn validation(status: u16, code: Code, detail: impl Into<String>) -> Refused {
    Box::new(Problem::new(ProblemId::Validation, detail).with_status(status).with_code(code))
}

fn unavailable(code: Code, detail: impl Into<String>) -> Refused {
    let problem = Problem::new(ProblemId::ServiceUnavailable, detail).with_code(code);
    Box::new(problem.with_retry_after(RETRY_AFTER_S))
}

/// The path is not repeated: who mistakes an address may have put a token into it, and this ends in a log.
pub(crate) fn not_found() -> Refused {
    problem(ProblemId::NotFound, "nothing is served at this path")
}

pub(crate) fn method_not_allowed(method: &http::Method) -> Refused {
    let detail = format!("{} is not allowed here, only POST", quoted(method.as_str()));
    validation(405, Code::MethodNotAllowed, detail)
}

pub(crate) fn headers_too_large(detail: impl Into<String>) -> Refused {
    validation(431, Code::HeadersTooLarge, detail)
}

pub(crate) fn unsupported_media_type(given: &str, accepted: &str) -> Refused {
    let detail = format!("content type `{}` is not accepted here, only {accepted}", quoted(given));
    validation(415, Code::UnsupportedMediaType, detail)
}

pub(crate) fn unsupported_encoding(given: &str) -> Refused {
    let detail = format!("content encoding `{}` is not accepted, only `gzip`, `zstd` and `identity`", quoted(given));
    validation(415, Code::UnsupportedEncoding, detail)
}

pub(crate) fn body_too_large(limit: usize) -> Refused {
    validation(413, Code::BodyTooLarge, format!("the body is larger than {limit} bytes"))
}

pub(crate) fn decoded_body_too_large(limit: usize) -> Refused {
    validation(413, Code::BodyTooLarge, format!("the decoded body is larger than {limit} bytes"))
}

pub(crate) fn record_too_large(size: usize, limit: usize) -> Refused {
    let detail = format!("payload, labels and metadata make a record of {size} bytes, at most {limit} fit");
    validation(413, Code::PayloadTooLarge, detail)
}

pub(crate) fn body_too_slow(limit_ms: u128) -> Refused {
    validation(408, Code::RequestTimeout, format!("the body did not arrive within {limit_ms} ms"))
}

pub(crate) fn kafka_unavailable(detail: impl Into<String>) -> Refused {
    unavailable(Code::KafkaUnavailable, detail)
}

pub(crate) fn overloaded(detail: impl Into<String>) -> Refused {
    unavailable(Code::Overloaded, detail)
}

/// A body that may not hold more. Its own size was checked before: what is too large by itself is room that an encoded one asks for.
pub(crate) fn no_room(refusal: BodyRefusal) -> Refused {
    match refusal {
        BodyRefusal::Organization => overloaded("too many bytes of other requests of this organization are in flight"),
        BodyRefusal::Others | BodyRefusal::TooLarge { .. } => {
            overloaded("too many bytes of other requests are in flight")
        }
    }
}

/// What was passed on may have been done, and nobody says so.
pub(crate) fn outcome_unknown(is_keyed: bool) -> Refused {
    Box::new(Problem::outcome_unknown(is_keyed))
}

/// What is passed on finds nobody.
pub(crate) fn control_unavailable() -> Refused {
    let problem = Problem::new(ProblemId::ServiceUnavailable, "the management API does not answer now");
    Box::new(problem.with_retry_after(RETRY_AFTER_S))
}

pub(crate) fn catalog_behind(detail: impl Into<String>) -> Refused {
    unavailable(Code::CatalogBehind, detail)
}

/// A payload that does not fit its type's schema: the field is `payload` and the JSON pointer of the place in it.
pub(crate) fn unfit(event_type: &str, unfit: &Unfit) -> Refused {
    match unfit {
        Unfit::Mismatch(Mismatch { path, message }) => {
            let field = format!("payload{}", quoted(path));
            let message = format!("does not fit the schema of `{event_type}`: {}", quoted(message));
            Box::new(Problem::field(&field, Code::InvalidField, message))
        }
        Unfit::TooCostly { .. } => {
            let message = format!("cannot be checked with the schema of `{event_type}`: {unfit}");
            Box::new(Problem::field("payload", Code::SchemaTooCostly, message))
        }
    }
}

/// The payloads of one request whose checks may take longer together than one request may ask for.
pub(crate) fn checks_used_up() -> Refused {
    let detail = format!(
        "the events before it in this request have used up the {} ms that checks of payloads with their schemas may take: \
         send it in another request",
        CheckBudget::whole_ms()
    );
    let problem = Problem::new(ProblemId::RateLimited, detail).with_code(Code::SchemaTooCostly);
    Box::new(problem.with_retry_after(RETRY_AFTER_S))
}

/// Beyond a limit of the application or its organization.
pub(crate) fn over_limit(over: Over) -> Refused {
    let of = |whose| match whose {
        Whose::Application => "this application",
        Whose::Unlimited => "the applications of this organization that have no limit of their own, together,",
        Whose::Organization => "the organization of this application",
    };
    match over {
        Over::Rate { whose, per_second, retry_after_s } => {
            let detail = format!("{} may send {per_second} events per second", of(whose));
            let problem = Problem::new(ProblemId::RateLimited, detail).with_code(Code::LimitReached);
            Box::new(problem.with_retry_after(retry_after_s))
        }
        Over::Refused { whose, per_second, retry_after_s } => {
            let detail = format!(
                "more than {per_second} events per second of {} were refused: what they were answered says why",
                of(whose)
            );
            let problem = Problem::new(ProblemId::RateLimited, detail).with_code(Code::LimitReached);
            Box::new(problem.with_retry_after(retry_after_s))
        }
        Over::Quota { whose, per_day } => {
            let detail = format!("{} may send {per_day} events per day, until midnight UTC", of(whose));
            Box::new(Problem::new(ProblemId::TooManyEventsToday, detail).with_code(Code::LimitReached))
        }
    }
}

/// Whether it counts as an event that was refused: not what this process or Kafka lacks, not what was over a rate, and no repeat, which
/// is what a sender has to send that was not answered.
pub(crate) fn is_senders_own(refused: &Refused) -> bool {
    let uncounted = [ProblemId::RateLimited, ProblemId::EventAlreadyIngested];
    refused.status < 500 && !uncounted.iter().any(|id| refused.id == id.as_str())
}

/// Whether it was over a rate.
pub(crate) fn is_over_rate(refused: &Refused) -> bool {
    refused.id == ProblemId::RateLimited.as_str() && refused.code == Some(Code::LimitReached)
}

pub(crate) fn repeat(event_id: &str) -> Refused {
    let problem = Problem::new(ProblemId::EventAlreadyIngested, format!("event {event_id} was accepted before"));
    Box::new(problem.with_code(Code::Repeat))
}
