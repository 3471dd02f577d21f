//! What the audit says of a write: hashes of every changed object before and after and the names of its changed fields, never a value.

use catalog::{Snapshot, Stored};
use schemas::audit::{Audit, VERSION};
use schemas::control::{ControlKey, ControlObject};

use crate::store::Change;
use crate::store::changed::fields;
use crate::store::log::Entry;

/// What was there of the objects a decision changes, in the order of its changes.
#[derive(Debug)]
pub(crate) struct Audited(Vec<Option<Stored>>);

impl Audited {
    /// Taken under the decision's own lock; hashed after it.
    pub(crate) fn take(snapshot: &Snapshot, changes: &[Change]) -> Self {
        Self(changes.iter().map(|change| snapshot.stored(&change.key())).collect())
    }

    /// Of a decision that changes nothing.
    pub(crate) fn none() -> Self {
        Self(Vec::new())
    }

    /// Nothing was there.
    #[cfg(test)]
    pub(crate) fn nothing(changes: &[Change]) -> Self {
        Self(changes.iter().map(|_| None).collect())
    }

    /// The changes, each with the object that was there.
    pub(crate) fn changed<'a>(
        &self,
        changes: &'a [Change],
    ) -> impl Iterator<Item = (&'a Change, Option<ControlObject>)> {
        changes.iter().zip(&self.0).map(|(change, before)| (change, before.as_ref().map(Stored::object)))
    }

    /// One record per change, and one per object that something else was done with. A change that changes nothing (an object that was
    /// not there is removed) has none, an answer that is kept is no object, and that a job is cancelled is audited where somebody asks for it.
    pub(crate) fn records(&self, entry: &Entry<'_>) -> Result<Vec<Audit>, serde_json::Error> {
        let mut records = Vec::with_capacity(entry.changes.len());
        for (change, before) in entry.changes.iter().zip(&self.0) {
            let before = before.as_ref().map(|stored| stored.object().encode()).transpose()?;
            let after = match change {
                Change::Put(object) => Some(object.encode()?),
                Change::Remove(_) => None,
            };
            let is_beside = matches!(change.key(), ControlKey::KeptAnswer(..) | ControlKey::CancelledJob(..));
            if is_beside || (before.is_none() && after.is_none()) {
                continue;
            }
            let verb = match (&before, &after) {
                (None, _) => "create",
                (Some(_), Some(_)) => "update",
                (Some(_), None) => "delete",
            };
            records.push(record(entry, &change.key(), verb, (before.as_deref(), after.as_deref())));
        }
        records.extend(entry.used.iter().map(|key| record(entry, key, "use", (None, None))));
        Ok(records)
    }
}

fn record(entry: &Entry<'_>, key: &ControlKey, verb: &str, (before, after): (Option<&[u8]>, Option<&[u8]>)) -> Audit {
    let own = entry.actor.action.filter(|action| action.split('.').next() == Some(kind(key)));
    let caller = &entry.actor.caller;
    Audit {
        v: VERSION,
        at_ms: entry.at_ms,
        actor: entry.actor.name.to_string(),
        action: own.map_or_else(|| format!("{}.{verb}", kind(key)), str::to_owned),
        key: key.to_string(),
        changed: fields(before, after),
        before: before.map(hash),
        after: after.map(hash),
        address: caller.address.map(|address| address.to_string()),
        request_id: caller.request_id.as_deref().map(str::to_owned),
        write_id: entry.write_id,
    }
}

/// The first part of the key.
fn kind(key: &ControlKey) -> &'static str {
    match key {
        ControlKey::Organization(_) => "organization",
        ControlKey::ServiceToken(..) => "service_token",
        ControlKey::Application(..) => "application",
        ControlKey::ApplicationSecret(..) => "application_secret",
        ControlKey::RetiredApplication(_) => "retired",
        ControlKey::EventType(..) => "event_type",
        ControlKey::Subscription(..) => "subscription",
        ControlKey::Source(..) => "source",
        ControlKey::SchemaRegistry(_) => "schema_registry",
        ControlKey::KeptAnswer(..) => "answer",
        ControlKey::CancelledJob(..) => "cancelled_job",
    }
}

fn hash(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    vault::sha256(bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string");
        text
    })
}
