//! A control record, decoded: what is to change. Pure, and done before the snapshot is locked.

use std::sync::Arc;

use schemas::control::{ControlKey, ControlObject};
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
        Self { offset: record.offset, write, kind: ChangeKind::decode(record, vault) }
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
        let digest = digest_of(&text, value);
        let weight = weight(&object, value.len());
        match prepare(object, digest, record.offset, vault) {
            Ok(object) => Self::Put(object.weighing(weight), digest, weight),
            Err(reason) => undecodable(&text, &reason),
        }
    }
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
    ChangeKind::Undecodable { key: key.chars().take(200).collect(), reason: reason.to_owned() }
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
        Self { offset, write: None, kind }
    }
}
