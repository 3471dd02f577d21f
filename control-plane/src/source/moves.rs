//! Where a source is moved to.

use schemas::control::SourceStart;
use schemas::problem::Code;
use serde_json::{Map, Value};

use super::input::start;
use super::rules;
use crate::body::Fields;
use crate::problem::Problem;

const MOVE_FIELDS: &[&str] = &["to", "topics", "again"];

/// What is asked for.
#[derive(Clone, Debug)]
pub(crate) struct MoveInput {
    /// Where to.
    pub(crate) to: SourceStart,
    /// These topics; `None`: all of them.
    pub(crate) topics: Option<Vec<String>>,
    /// What was fanned out before is fanned out again.
    pub(crate) again: bool,
}

impl MoveInput {
    /// Checks everything that can be checked without the catalog and the cluster.
    pub(crate) fn read(map: Map<String, Value>) -> Result<Self, Problem> {
        let mut fields = Fields::new(map, "", MOVE_FIELDS)?;
        let to = fields.take("to").filter(|it| !it.is_null());
        let to = to.ok_or_else(|| fields.wrong("to", "is required: where reading goes on"))?;
        let topics = fields.texts("topics", usize::MAX)?.map(|given| rules::patterns("topics", given)).transpose()?;
        if topics.iter().flatten().any(|it| it.ends_with('*')) {
            return Err(Problem::field("topics", Code::InvalidField, "are names here, no prefixes"));
        }
        Ok(Self { to: start("to", to)?, topics, again: fields.flag("again")?.unwrap_or(false) })
    }
}
