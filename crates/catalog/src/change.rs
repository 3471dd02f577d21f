//! A control record, decoded: what is to change. Pure, and done before the snapshot is locked.

use std::sync::Arc;

use schemas::control::{ControlKey, ControlObject};
use schemas::header;
use schemas::record::Record;
use uuid::Uuid;
use vault::{LookupHash, Vault};

use crate::snapshot::Object;
use crate::subscription::Subscription;

/// One record of `control`.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) offset: i64,
    pub(crate) write_id: Option<Uuid>,
    pub(crate) kind: ChangeKind,
}

/// What it does.
#[derive(Debug)]
pub(crate) enum ChangeKind {
    /// The object is this now.
    Put(Object),
    /// The object is gone.
    Remove(ControlKey),
    /// A type of object that this build does not know.
    Unknown,
    /// Ours, but it does not decode: the former object stays.
    Undecodable { key: String, reason: String },
}

impl Change {
    pub(crate) fn decode(record: &Record, vault: &Arc<Vault>) -> Self {
        let write_id = record.headers.text(header::WRITE_ID).and_then(|text| Uuid::parse_str(text).ok());
        Self { offset: record.offset, write_id, kind: ChangeKind::decode(record, vault) }
    }
}

impl ChangeKind {
    fn decode(record: &Record, vault: &Arc<Vault>) -> Self {
        let text = record.key.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
        let Some(key) = ControlKey::parse(&text) else {
            return if is_ours(&text) { undecodable(&text, "the key is malformed") } else { Self::Unknown };
        };
        let Some(value) = &record.value else { return Self::Remove(key) };
        let object = match ControlObject::decode(&key, value) {
            Ok(object) if object.key() == key => object,
            Ok(_moved) => return undecodable(&text, "the object's ids are not those of its key"),
            Err(error) => return undecodable(&text, &error.to_string()),
        };
        match prepare(object, record.offset, vault) {
            Ok(object) => Self::Put(object),
            Err(reason) => undecodable(&text, &reason),
        }
    }
}

fn prepare(object: ControlObject, offset: i64, vault: &Arc<Vault>) -> Result<Object, String> {
    Ok(match object {
        ControlObject::Organization(it) => Object::Organization(Arc::new(it)),
        ControlObject::Application(it) => Object::Application(Arc::new(it)),
        ControlObject::ApplicationSecret(it) => {
            let lookup: LookupHash = it.lookup.parse().map_err(|error: vault::VaultError| error.to_string())?;
            Object::ApplicationSecret(lookup, Arc::new(it))
        }
        ControlObject::EventType(it) => Object::EventType(Arc::new(it)),
        ControlObject::Subscription(it) => {
            let compiled = Subscription::new(*it, offset, Arc::clone(vault)).map_err(|error| error.to_string())?;
            Object::Subscription(Arc::new(compiled))
        }
    })
}

/// Whether the key names a type of this build, so that a bad one is damage and not a newer writer's.
fn is_ours(key: &str) -> bool {
    let kind = key.split('/').next().unwrap_or_default();
    ["organization", "application", "application_secret", "event_type", "subscription", ""].contains(&kind)
}

fn undecodable(key: &str, reason: &str) -> ChangeKind {
    ChangeKind::Undecodable { key: key.chars().take(200).collect(), reason: reason.to_owned() }
}

impl Change {
    /// The change a record with this object makes.
    pub(crate) fn of(object: ControlObject, offset: i64, vault: &Arc<Vault>) -> Self {
        let key = object.key();
        let kind = match prepare(object, offset, vault) {
            Ok(object) => ChangeKind::Put(object),
            Err(reason) => undecodable(&key.to_string(), &reason),
        };
        Self { offset, write_id: None, kind }
    }
}
