//! The problems the gateway answers with, each made in one place. Pure.

use catalog::schema::{Mismatch, Unfit};
use chassis::body_budget::BodyRefusal;
use schemas::problem::{Code, Problem, ProblemId};
use serde_json::{Map, Value, json};

use crate::check_budget::CheckBudget;
use crate::config::RETRY_AFTER_S;
use crate::json::quoted;
use crate::limits::{Over, Whose};

/// From here on (Jaro-Winkler, 0 to 1) a name is taken for a mistyped one.
const SIMILAR: f64 = 0.8;

/// A refusal. Boxed: results of the hot path stay small.
pub(crate) type Refused = Box<Problem>;

/// What is wrong with fields, gathered so that one answer names them all.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<Fault>);

#[derive(Debug)]
struct Fault {
    field: String,
    code: Code,
    message: String,
}

// === impl Faults ===

impl Faults {
    /// A value that does not fit its field.
    pub(crate) fn invalid(&mut self, field: &str, message: impl Into<String>) {
        let field = quoted(field).into_owned();
        self.0.push(Fault { field, code: Code::InvalidField, message: message.into() });
    }

    /// A field nobody knows, with the known one that was meant: that ends with it (`type`), or looks like it.
    pub(crate) fn unknown(&mut self, field: &str, known: &[&str]) {
        let field = quoted(field).into_owned();
        let whole = known.iter().find(|name| name.ends_with(&format!("_{field}")));
        let scored = known.iter().map(|name| (strsim::jaro_winkler(name, &field), name));
        let similar = scored.filter(|(score, _)| *score >= SIMILAR).max_by(|one, other| one.0.total_cmp(&other.0));
        let similar = similar.map(|(_, name)| name);
        let message = whole.or(similar).map_or_else(
            || format!("is not known; known are {}", known.join(", ")),
            |name| format!("is not known, did you mean `{name}`?"),
        );
        self.0.push(Fault { field, code: Code::UnknownField, message });
    }

    /// The problem that names them all, if there are any.
    pub(crate) fn refuse(self) -> Result<(), Refused> {
        let Some(first) = self.0.first() else { return Ok(()) };
        if self.0.len() == 1 {
            return Err(Box::new(Problem::field(&first.field, first.code, first.message.clone())));
        }
        let detail: Vec<String> = self.0.iter().map(|fault| format!("{}: {}", fault.field, fault.message)).collect();
        let code = first.code;
        let mut tree = Map::new();
        for fault in self.0 {
            let entry = tree.entry(fault.field).or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(list) = entry {
                list.push(json!({ "code": fault.code, "message": fault.message }));
            }
        }
        let problem = Problem::new(ProblemId::Validation, detail.join("; ")).with_code(code);
        Err(Box::new(problem.with_validation(Value::Object(tree))))
    }
}

// === constructors ===

pub(crate) fn problem(id: ProblemId, detail: impl Into<String>) -> Refused {
    Box::new(Problem::new(id, detail))
}

fn validation(status: u16, code: Code, detail: impl Into<String>) -> Refused {
    Box::new(Problem::new(ProblemId::Validation, detail).with_status(status).with_code(code))
}

fn unavailable(code: Code, detail: impl Into<String>) -> Refused {
    let problem = Problem::new(ProblemId::ServiceUnavailable, detail).with_code(code);
    Box::new(problem.with_retry_after(RETRY_AFTER_S))
}

pub(crate) fn field(name: &str, message: impl Into<String>) -> Refused {
    Box::new(Problem::field(name, Code::InvalidField, message))
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

pub(crate) fn payload_too_large(size: usize, limit: usize) -> Refused {
    validation(413, Code::PayloadTooLarge, format!("the payload has {size} bytes, at most {limit} are accepted"))
}

pub(crate) fn record_too_large(size: usize, limit: usize) -> Refused {
    let detail = format!("payload, labels and metadata make a record of {size} bytes, at most {limit} fit");
    validation(413, Code::PayloadTooLarge, detail)
}

pub(crate) fn body_too_slow(limit_ms: u128) -> Refused {
    validation(408, Code::RequestTimeout, format!("the body did not arrive within {limit_ms} ms"))
}

pub(crate) fn too_deep(what: &str) -> Refused {
    let detail = format!("{what} is nested more than {} levels deep", crate::json::MAX_DEPTH);
    validation(400, Code::TooDeep, detail)
}

pub(crate) fn bad_body(detail: impl AsRef<str>) -> Refused {
    problem(ProblemId::JsonPayload, quoted(detail.as_ref()))
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
        Over::Quota { whose, per_day } => {
            let detail = format!("{} may send {per_day} events per day, until midnight UTC", of(whose));
            Box::new(Problem::new(ProblemId::TooManyEventsToday, detail).with_code(Code::LimitReached))
        }
    }
}

pub(crate) fn repeat(event_id: &str) -> Refused {
    let problem = Problem::new(ProblemId::EventAlreadyIngested, format!("event {event_id} was accepted before"));
    Box::new(problem.with_code(Code::Repeat))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_fault_names_its_field_and_the_nearest_known_one() {
        let mut faults = Faults::default();
        faults.unknown("event_typ", &["event_id", "event_type", "payload"]);
        let problem = faults.refuse().unwrap_err();
        assert_eq!((problem.status, problem.code), (422, Some(Code::UnknownField)));
        assert!(problem.detail.contains("event_typ") && problem.detail.contains("`event_type`"), "{}", problem.detail);
    }

    #[test]
    fn what_is_like_no_known_field_is_answered_with_all_of_them() {
        let told = |field: &str| {
            let mut faults = Faults::default();
            faults.unknown(field, &["event_type", "labels", "payload"]);
            faults.refuse().unwrap_err().detail
        };
        assert!(told("type").ends_with("did you mean `event_type`?"), "{}", told("type"));
        assert!(told("lables").ends_with("did you mean `labels`?"), "{}", told("lables"));
        assert!(told("x").ends_with("known are event_type, labels, payload"), "{}", told("x"));
    }

    #[test]
    fn several_faults_stand_in_one_tree() {
        let mut faults = Faults::default();
        faults.invalid("payload", "must be there");
        faults.invalid("event_type", "must be there");
        faults.invalid("event_type", "must be a string");
        let tree = faults.refuse().unwrap_err().validation.unwrap();
        assert_eq!(tree["payload"].as_array().unwrap().len(), 1);
        assert_eq!(tree["event_type"].as_array().unwrap().len(), 2);
        assert!(Faults::default().refuse().is_ok());
    }
}
