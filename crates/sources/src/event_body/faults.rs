//! What is wrong with an event's fields, as the problem that says so. Pure.

use schemas::problem::{Code, Problem, ProblemId};
use serde_json::{Map, Value, json};

use super::json::quoted;

/// From here on (Jaro-Winkler, 0 to 1) a name is taken for a mistyped one.
const SIMILAR: f64 = 0.8;

/// A refusal. Boxed: results of the hot path stay small.
pub type Refused = Box<Problem>;

/// What is wrong with fields, gathered so that one answer names them all.
#[derive(Debug, Default)]
pub struct Faults(Vec<Fault>);

#[derive(Debug)]
struct Fault {
    field: String,
    code: Code,
    message: String,
}

// === impl Faults ===

impl Faults {
    /// A value that does not fit its field.
    pub fn invalid(&mut self, field: &str, message: impl Into<String>) {
        let field = quoted(field).into_owned();
        self.0.push(Fault { field, code: Code::InvalidField, message: message.into() });
    }

    /// A field nobody knows, with the known one that was meant: that ends with it (`type`), or looks like it.
    pub fn unknown(&mut self, field: &str, known: &[&str]) {
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
    ///
    /// # Errors
    /// That problem.
    pub fn refuse(self) -> Result<(), Refused> {
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

/// A refusal of this kind, with this sentence.
#[must_use]
pub fn problem(id: ProblemId, detail: impl Into<String>) -> Refused {
    Box::new(Problem::new(id, detail))
}

/// One field that does not fit.
#[must_use]
pub fn field(name: &str, message: impl Into<String>) -> Refused {
    Box::new(Problem::field(name, Code::InvalidField, message))
}

/// A payload beyond the limit, bytes.
#[must_use]
pub fn payload_too_large(size: usize, limit: usize) -> Refused {
    validation(413, Code::PayloadTooLarge, format!("the payload has {size} bytes, at most {limit} are accepted"))
}

/// JSON that nests too deeply.
#[must_use]
pub fn too_deep(what: &str) -> Refused {
    let detail = format!("{what} is nested more than {} levels deep", super::json::MAX_DEPTH);
    validation(400, Code::TooDeep, detail)
}

/// A body that is no JSON, or not of the right shape.
#[must_use]
pub fn bad_body(detail: impl AsRef<str>) -> Refused {
    problem(ProblemId::JsonPayload, quoted(detail.as_ref()))
}

fn validation(status: u16, code: Code, detail: impl Into<String>) -> Refused {
    Box::new(Problem::new(ProblemId::Validation, detail).with_status(status).with_code(code))
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
