//! The payload of an event as it was accepted, whatever format its record has.

use delivery_log::LoggedEvent;
use schemas::control::Application;
use schemas::record::TopicPartition;

use super::events::PayloadState;
use super::{erased, expired};
use crate::problem::Problem;
use crate::state::App;

/// What is found where a payload is looked for.
pub(super) enum FoundPayload {
    /// The payload as it was accepted.
    There(Vec<u8>),
    /// Kafka does not hold it any more, or holds another record there.
    Expired,
    /// Its event was erased.
    Erased,
}

/// Reads the payload of an event back.
pub(super) async fn read(app: &App, application: &Application, event: &LoggedEvent) -> Result<FoundPayload, Problem> {
    if app.log().is_erased(event.uuid, event.accepted_ms).await? {
        return Ok(FoundPayload::Erased);
    }
    let Some(origin) = &event.origin else { return Ok(FoundPayload::Expired) };
    let Some(record) = app.accepted().record(application, event).await? else { return Ok(FoundPayload::Expired) };
    let from = TopicPartition::new(origin.topic.as_str(), origin.partition);
    let accepted = sources::decode(&record, &from).ok();
    Ok(accepted.map_or(FoundPayload::Expired, |accepted| FoundPayload::There(Vec::from(accepted.payload))))
}

// === impl FoundPayload ===

impl FoundPayload {
    /// What is said of it.
    pub(super) fn state(&self) -> PayloadState {
        match self {
            Self::There(_) => PayloadState::Available,
            Self::Expired => PayloadState::Expired,
            Self::Erased => PayloadState::Erased,
        }
    }

    /// The payload.
    pub(super) fn bytes(self) -> Option<Vec<u8>> {
        match self {
            Self::There(payload) => Some(payload),
            Self::Expired | Self::Erased => None,
        }
    }

    /// The payload of what has this name.
    ///
    /// # Errors
    /// 404 `expired` or `erased`.
    pub(super) fn required(self, what: &str) -> Result<Vec<u8>, Problem> {
        match self {
            Self::There(payload) => Ok(payload),
            Self::Expired => Err(expired(what)),
            Self::Erased => Err(erased(what)),
        }
    }
}
