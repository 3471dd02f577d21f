//! A control record, decoded: what is to change. Pure, and done before the snapshot is locked.

use std::sync::Arc;

use schemas::control::{ControlKey, ControlObject, shape};
use schemas::header;
use schemas::record::Record;
use uuid::Uuid;
use vault::{LookupHash, Vault};

use crate::event_type::EventType;
use crate::snapshot::weights::weight;
use crate::stored::Object;
use crate::subscription::Subscription;

/// One record of `control`.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) offset: i64,
    pub(crate) write: Option<Write>,
    pub(crate) kind: ChangeKind,
    pub(crate) newer: Option<NewerObject>,
}

/// That a newer release wrote the record, and this build does not know all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewerObject {
    /// `None`: it is of a type that this build does not know.
    pub(crate) key: Option<ControlKey>,
    /// The key as it stands, cut.
    pub(crate) text: String,
    /// What is not known.
    pub(crate) why: String,
}

/// The write a record belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Write {
    pub(crate) id: Uuid,
    /// How many records it has; compaction may have taken some of them.
    pub(crate) size: u32,
    /// The transaction it came in: its own id, where it was alone.
    pub(crate) transaction: Uuid,
}

/// What it does.
#[derive(Debug)]
pub(crate) enum ChangeKind {
    /// The object is this now; the digest stands for its key and value, the weight is its bytes in memory.
    Put(Object, u64, u32),
    /// The object is gone.
    Remove(ControlKey),
    /// A type of object that this build does not know.
    Unknown,
    /// Ours, but it does not decode: the former object stays.
    Undecodable { key: String, reason: String },
}

impl Change {
    pub(crate) fn decode(record: &Record, vault: &Arc<Vault>) -> Self {
        let id = |name| record.headers.text(name).and_then(|text| Uuid::parse_str(text).ok());
        let size = record.headers.text(header::WRITE_SIZE).and_then(|text| text.parse().ok()).unwrap_or(1);
        let transaction = id(header::TRANSACTION_ID);
        let write = id(header::WRITE_ID).map(|id| Write { id, size, transaction: transaction.unwrap_or(id) });
        let (kind, newer) = decode(record, vault);
        Self { offset: record.offset, write, kind, newer }
    }
}

impl ChangeKind {
    /// The key of the object it is about; `None`: of none of ours.
    pub(crate) fn key(&self) -> Option<ControlKey> {
        match self {
            Self::Put(object, ..) => Some(object.key()),
            Self::Remove(key) => Some(key.clone()),
            Self::Unknown | Self::Undecodable { .. } => None,
        }
    }

    /// What a record with this value does, and which member of it is not known here.
    fn of_value(
        (key, text): (&ControlKey, &str),
        value: &[u8],
        offset: i64,
        vault: &Arc<Vault>,
    ) -> (Self, Option<String>) {
        let object = match ControlObject::decode(key, value) {
            Ok(object) if object.key() == *key => object,
            Ok(_moved) => return (undecodable(text, "the object's ids are not those of its key"), None),
            Err(error) => return (undecodable(text, &error.to_string()), None),
        };
        let (digest, weight, unread) = (digest_of(text, value), weight(&object, value.len()), object.unread(value));
        match prepare(object, digest, offset, vault) {
            Ok(object) => (Self::Put(object.weighing(weight), digest, weight), unread),
            Err(reason) => (undecodable(text, &reason), None),
        }
    }
}

fn decode(record: &Record, vault: &Arc<Vault>) -> (ChangeKind, Option<NewerObject>) {
    let text = record.key.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
    let newer = |key: Option<ControlKey>, why: String| NewerObject { key, text: cut(&text), why };
    let Some(key) = ControlKey::parse(&text) else {
        if is_ours(&text) {
            return (undecodable(&text, "the key is malformed"), None);
        }
        let newer = record.value.is_some().then(|| newer(None, "its type is not known here".to_owned()));
        return (ChangeKind::Unknown, newer);
    };
    let Some(value) = &record.value else { return (ChangeKind::Remove(key), None) };
    let shape = record.headers.text(header::VERSION).and_then(|text| text.parse().ok()).unwrap_or(shape::FIRST);
    let (kind, unread) = ChangeKind::of_value((&key, &text), value, record.offset, vault);
    if shape > shape::READS {
        // What does not even decode is no damage: the former object stays.
        let kind = if let ChangeKind::Undecodable { .. } = kind { ChangeKind::Unknown } else { kind };
        let why = format!("it has shape {shape}, and this build reads shapes up to {}", shape::READS);
        return (kind, Some(newer(Some(key), why)));
    }
    let newer = unread.map(|member| newer(Some(key), format!("it has `{}`, which is not known here", cut(&member))));
    (kind, newer)
}

/// What one object adds to the snapshot's digest.
fn digest_of(key: &str, value: &[u8]) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = vault::sha256(value);
    // Two objects may have the same value: the key (FNV-1a, 64 bits) tells them apart.
    let key = key
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    u64::from_le_bytes([a, b, c, d, e, f, g, h]).wrapping_mul(key | 1)
}

fn prepare(object: ControlObject, digest: u64, offset: i64, vault: &Arc<Vault>) -> Result<Object, String> {
    Ok(match object {
        ControlObject::Organization(it) => Object::Organization(Arc::new(it)),
        ControlObject::ServiceToken(it) => {
            let lookup: LookupHash = it.lookup.parse().map_err(|error: vault::VaultError| error.to_string())?;
            Object::ServiceToken(lookup, Arc::new(it))
        }
        ControlObject::Application(it) => Object::Application(Arc::new(it)),
        ControlObject::ApplicationSecret(it) => {
            let lookup: LookupHash = it.lookup.parse().map_err(|error: vault::VaultError| error.to_string())?;
            Object::ApplicationSecret(lookup, Arc::new(it))
        }
        ControlObject::RetiredApplication(it) => Object::RetiredApplication(Arc::new(it)),
        ControlObject::EventType(it) => Object::EventType(Arc::new(EventType::new(it))),
        ControlObject::Source(it) => Object::Source(Arc::from(it)),
        ControlObject::SchemaRegistry(it) => Object::SchemaRegistry(Arc::from(it)),
        ControlObject::KeptAnswer(it) => Object::KeptAnswer(Arc::new(it)),
        ControlObject::CancelledJob(it) => Object::CancelledJob(Arc::new(it)),
        ControlObject::Subscription(it) => {
            let compiled = Subscription::new(*it, offset, Arc::clone(vault)).map_err(|error| error.to_string())?;
            Object::Subscription(Arc::new(compiled.with_digest(digest)))
        }
    })
}

/// Whether the key names a type of this build, so that a bad one is damage and not a newer writer's.
fn is_ours(key: &str) -> bool {
    let kind = key.split('/').next().unwrap_or_default();
    let ours = [
        "organization",
        "service_token",
        "application",
        "application_secret",
        "event_type",
        "subscription",
        "source",
        "schema_registry",
        "answer",
        "cancelled_job",
        "",
    ];
    ours.contains(&kind)
}

fn undecodable(key: &str, reason: &str) -> ChangeKind {
    ChangeKind::Undecodable { key: cut(key), reason: reason.to_owned() }
}

fn cut(text: &str) -> String {
    text.chars().take(200).collect()
}

impl Change {
    /// The change a record with this object makes.
    pub(crate) fn of(object: ControlObject, offset: i64, vault: &Arc<Vault>) -> Self {
        let key = object.key().to_string();
        let encoded = object.encode().map(|value| (digest_of(&key, &value), weight(&object, value.len())));
        let kind = match encoded {
            Ok((digest, weight)) => match prepare(object, digest, offset, vault) {
                Ok(object) => ChangeKind::Put(object.weighing(weight), digest, weight),
                Err(reason) => undecodable(&key, &reason),
            },
            Err(error) => undecodable(&key, &error.to_string()),
        };
        Self { offset, write: None, kind, newer: None }
    }
}
