//! What was found, one line each: what was looked at, how it is, under which code it is explained, and what to do.

use kafka::KafkaError;
use serde_json::{Value, json};

use super::DoctorPrincipal;
use crate::codes::Code;
use crate::screen;

/// Longest text of a cell: what brokers and others say is cut.
const CELL: usize = 300;

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// What was looked at.
    what: String,
    /// What was found.
    found: String,
    verdict: Verdict,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    /// As it should be.
    Well,
    /// Not looked at, or not to be seen.
    Unknown,
    /// Not as it should be: its code, and what to do.
    Wrong(Code, String),
}

/// All of them, in the order in which they were found.
#[derive(Debug, Default)]
pub(super) struct DoctorFindings(Vec<Finding>);

// === impl DoctorFindings ===

impl DoctorFindings {
    /// As it should be.
    pub(super) fn well(&mut self, what: impl Into<String>, found: impl Into<String>) {
        self.0.push(Finding { what: what.into(), found: found.into(), verdict: Verdict::Well });
    }

    /// It was not looked at, or cannot be seen; that is no fault.
    pub(super) fn skipped(&mut self, what: impl Into<String>, why: impl Into<String>) {
        self.0.push(Finding { what: what.into(), found: why.into(), verdict: Verdict::Unknown });
    }

    /// It is not as it should be.
    pub(super) fn wrong(
        &mut self,
        code: Code,
        what: impl Into<String>,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let verdict = Verdict::Wrong(code, remedy.into());
        self.0.push(Finding { what: what.into(), found: found.into(), verdict });
    }

    /// A question to Kafka failed: under the code of its reason, where that says more than `code`.
    pub(super) fn failed(&mut self, code: Code, what: impl Into<String>, error: &anyhow::Error) {
        let found = Code::of(error).unwrap_or(code);
        self.wrong(found, what, format!("{error:#}"), format!("hookbus explain {found}"));
    }

    /// The same, where the one who asks need not see it: a role's principal may not look at everything that the operator may, and
    /// what it needs is looked at by itself.
    pub(super) fn unseen(&mut self, who: DoctorPrincipal, code: Code, what: impl Into<String>, error: &anyhow::Error) {
        let is_denied =
            error.chain().any(|cause| cause.downcast_ref::<KafkaError>().is_some_and(KafkaError::is_denied));
        if is_denied && who != DoctorPrincipal::Operator {
            self.skipped(what, "may not be seen by this principal, which does not need it");
        } else {
            self.failed(code, what, error);
        }
    }

    /// What was found of something that was looked at beside others, behind what is here.
    pub(super) fn append(&mut self, mut found: Self) {
        self.0.append(&mut found.0);
    }

    /// What was found under this code is no fault here.
    pub(super) fn excuse(&mut self, code: Code) {
        for finding in &mut self.0 {
            if matches!(&finding.verdict, Verdict::Wrong(found, _) if *found == code) {
                finding.verdict = Verdict::Unknown;
            }
        }
    }

    /// All, in order.
    pub(super) fn all(&self) -> &[Finding] {
        &self.0
    }

    /// How many are not as they should be.
    pub(super) fn wrong_count(&self) -> usize {
        self.0.iter().filter(|finding| matches!(finding.verdict, Verdict::Wrong(..))).count()
    }

    /// How many were looked at.
    pub(super) fn looked_at(&self) -> usize {
        self.0.iter().filter(|finding| finding.verdict != Verdict::Unknown).count()
    }

    /// What to do, in the order of what was found, each once.
    pub(super) fn remedies(&self) -> impl Iterator<Item = String> {
        let mut lines: Vec<String> = Vec::new();
        for finding in &self.0 {
            if let Verdict::Wrong(code, remedy) = &finding.verdict {
                let line = format!("{code}: {}", cell(remedy));
                if !lines.contains(&line) {
                    lines.push(line);
                }
            }
        }
        let gap = if lines.is_empty() { None } else { Some(String::new()) };
        gap.into_iter().chain(lines)
    }

    /// The first code, for tests.
    #[cfg(test)]
    pub(super) fn first(&self) -> Option<Code> {
        self.0.iter().find_map(|finding| match &finding.verdict {
            Verdict::Wrong(code, _) => Some(*code),
            Verdict::Well | Verdict::Unknown => None,
        })
    }
}

// === impl Finding ===

impl Finding {
    /// For programs.
    pub(super) fn to_json(&self) -> Value {
        let (state, code, remedy) = match &self.verdict {
            Verdict::Well => ("ok", None, None),
            Verdict::Unknown => ("not_looked_at", None, None),
            Verdict::Wrong(code, remedy) => ("wrong", Some(code.to_string()), Some(remedy)),
        };
        json!({ "state": state, "code": code, "what": self.what, "found": self.found, "remedy": remedy })
    }

    /// For people.
    pub(super) fn row(&self) -> [String; 3] {
        let code = match &self.verdict {
            Verdict::Well => "ok".to_owned(),
            Verdict::Unknown => "-".to_owned(),
            Verdict::Wrong(code, _) => code.to_string(),
        };
        [code, cell(&self.what), cell(&self.found)]
    }
}

/// What others said does not steer the terminal.
fn cell(text: &str) -> String {
    screen::text(text.as_bytes(), CELL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_has_its_code_and_what_to_do_stands_once() {
        let mut findings = DoctorFindings::default();
        findings.well("broker a:9092", "answers");
        findings.skipped("settings", "may not be seen");
        assert_eq!((findings.wrong_count(), findings.looked_at(), findings.remedies().count()), (0, 1, 0));
        for topic in ["events", "seen"] {
            findings.wrong(Code::TopicMissing, topic, "missing\u{1b}[31m", "hookbus topics ensure");
        }
        assert_eq!((findings.wrong_count(), findings.looked_at(), findings.first()), (2, 3, Some(Code::TopicMissing)));
        let remedies: Vec<String> = findings.remedies().collect();
        assert_eq!(remedies, ["", "HB-015: hookbus topics ensure"]);
        assert_eq!(findings.all()[2].row(), ["HB-015", "events", "missing\u{fffd}[31m"]);
        assert_eq!(findings.all()[0].to_json()["code"], Value::Null);
    }
}
