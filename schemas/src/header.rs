//! The names of all headers, in one place, with the shape of their values. Every value is text, readable with `kcat`, but for
//! what an endpoint answered.

/// CloudEvents version, `1.0`.
pub const CE_SPECVERSION: &str = "ce_specversion";
/// The event's id inside its source.
pub const CE_ID: &str = "ce_id";
/// The event's type, dot separated.
pub const CE_TYPE: &str = "ce_type";
/// The event's source, a URI reference.
pub const CE_SOURCE: &str = "ce_source";
/// When it occurred, RFC 3339.
pub const CE_TIME: &str = "ce_time";
/// What the payload is described by, a URI reference.
pub const CE_DATASCHEMA: &str = "ce_dataschema";
/// Media type of the value.
pub const CONTENT_TYPE: &str = "content-type";

/// The application's id or uid.
pub const APPLICATION: &str = "hookbus-application";
/// Labels, a JSON object of strings.
pub const LABELS: &str = "hookbus-labels";
/// Metadata, a JSON object of strings.
pub const METADATA: &str = "hookbus-metadata";
/// The producer's address as the gateway saw it.
pub const IP: &str = "hookbus-ip";
/// Types of the extension attributes that are no texts, a JSON object of words by name.
pub const EXTENSION_TYPES: &str = "hookbus-extension-types";
/// `1`: whoever wrote the record made its id for it alone, so that nobody can repeat it, and nobody has to remember it. It ends
/// with the fan-out: no delivery carries it.
pub const ID_MADE: &str = "hookbus-id-made";
/// The inbound `hookbus-*` headers the fan-out keeps.
pub const INBOUND: [&str; 5] = [APPLICATION, LABELS, METADATA, IP, EXTENSION_TYPES];

/// Delivery id, a UUID.
pub const DELIVERY: &str = "hookbus-delivery";
/// Subscription id, a UUID (also the key on `deliveries`).
pub const SUBSCRIPTION: &str = "hookbus-subscription";
/// Number of the attempt to make next, 1-based.
pub const ATTEMPT: &str = "hookbus-attempt";
/// Not before this time, Unix ms.
pub const DUE: &str = "hookbus-due";
/// When the event was accepted, Unix ms.
pub const ACCEPTED: &str = "hookbus-accepted";
/// When the delivery dies of age, Unix ms.
pub const DEADLINE: &str = "hookbus-deadline";
/// The snapshot it was matched at: offset of the last control record its matcher had applied, -1 for none.
pub const CONTROL_OFFSET: &str = "hookbus-control-offset";
/// Where the payload came from: `topic/partition/offset`.
pub const ORIGIN: &str = "hookbus-origin";
/// Replay, redrive, retry or ping that made it, a UUID; absent for the first generation.
pub const GENERATION: &str = "hookbus-generation";
/// What made a later generation: `ping`, `replay`, `retry` or `redrive`.
pub const MADE_BY: &str = "hookbus-made-by";
/// How often the delivery was redriven, where it was.
pub const REDRIVES: &str = "hookbus-redrives";
/// `1`: one attempt is made, at once, whatever the schedule, and no other follows. On a retry that somebody asked for.
pub const ONCE: &str = "hookbus-once";
/// Digest of the event's key on its topic, 16 hex digits: of one subscription's deliveries with the same one goes one at a time.
pub const ORDERING_KEY: &str = "hookbus-ordering-key";
/// Since when its event type is deprecated, and when it may end, where it is: `Unix ms/Unix ms`.
pub const DEPRECATION: &str = "hookbus-deprecation";
/// Parks in the current hour and the hour's start: `count/unix-ms`.
pub const PARKS: &str = "hookbus-parks";
/// Why it waits: `retry` or a park reason.
pub const WAIT: &str = "hookbus-wait";
/// Since when every attempt for its subscription has failed, as far as the writer of the retry knew, Unix ms.
pub const FAILING_SINCE: &str = "hookbus-failing-since";
/// W3C trace context.
pub const TRACEPARENT: &str = "traceparent";

/// Why it died or was rejected, a word of a closed list.
pub const REASON: &str = "hookbus-reason";
/// Where in a record it was seen that it cannot be used, on rejected ones: `byte 17`, or a JSON pointer.
pub const SEEN_AT: &str = "hookbus-seen-at";
/// The source that a rejected record came through, a UUID.
pub const SOURCE: &str = "hookbus-source";
/// Whose a rejected record is, an organization's UUID.
pub const ORGANIZATION: &str = "hookbus-organization";
/// How often a rejected record was retried, where it was.
pub const RETRIES: &str = "hookbus-retries";
/// How far the event of a rejected record was written, where a part of it was: `id of the last subscription that has it/how many have it`.
pub const WRITTEN: &str = "hookbus-written";
/// A sentence for people.
pub const DETAIL: &str = "hookbus-detail";
/// HTTP status of the last attempt's answer, on retries and dead letters.
pub const LAST_STATUS: &str = "hookbus-last-status";
/// How the last attempt ended, for people, on retries and dead letters; absent: none was made.
pub const LAST_ERROR: &str = "hookbus-last-error";
/// When it died or was rejected, Unix ms.
pub const AT: &str = "hookbus-at";
/// Original size in bytes, where the value was cut or left out; on lifecycle records, of an answer's body that was cut.
pub const CUT: &str = "hookbus-cut";
/// Head of an endpoint's answer, lines `name: value`, on lifecycle records. Not always UTF-8.
pub const RESPONSE_HEAD: &str = "hookbus-response-head";
/// First bytes of an answer's body, as they came, on lifecycle records. Any bytes.
pub const RESPONSE_BODY: &str = "hookbus-response-body";
/// Version of the record's shape, a small integer.
pub const VERSION: &str = "hookbus-version";
/// Id of one write to `control`, a UUID.
pub const WRITE_ID: &str = "hookbus-write-id";
/// Id of the transaction that several writes share, a UUID; absent where a write has one for itself, which has the write's id then.
pub const TRANSACTION_ID: &str = "hookbus-transaction-id";
/// How many records of `control` that write has: readers apply them together.
pub const WRITE_SIZE: &str = "hookbus-write-size";
/// Who wrote it.
pub const ACTOR: &str = "hookbus-actor";
