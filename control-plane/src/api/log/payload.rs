//! The payload of an event as it was accepted, whatever format its record has.

use delivery_log::LoggedEvent;
use schemas::control::Application;
use schemas::record::TopicPartition;

use crate::problem::Problem;
use crate::state::App;

/// The payload as it was accepted; `None`: Kafka does not hold it any more, or holds another record there.
pub(super) async fn read(
    app: &App,
    application: &Application,
    event: &LoggedEvent,
) -> Result<Option<Vec<u8>>, Problem> {
    let Some(origin) = &event.origin else { return Ok(None) };
    let Some(record) = app.accepted().record(application, event).await? else { return Ok(None) };
    let from = TopicPartition::new(origin.topic.as_str(), origin.partition);
    Ok(sources::decode(&record, &from).ok().map(|accepted| Vec::from(accepted.payload)))
}
