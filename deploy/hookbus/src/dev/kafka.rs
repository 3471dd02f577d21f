//! The Kafka of `hookbus dev`: a configured one, or a real broker from Maven packages whose data survives restarts.

use std::path::Path;

use anyhow::{Context, Result, bail};
use kafka_dev::{Broker, BrokerOptions, KafkaDevError};

use crate::screen;

/// The port a development broker takes if it is free, so that `kcat` and friends find it.
const USUAL_PORT: u16 = 9092;

/// Starts the development broker.
///
/// # Errors
/// When another one runs on this folder, Java or Maven is missing, or the broker does not come up; with the end of its log.
pub(crate) async fn start(folder: &Path) -> Result<Broker> {
    let mut failed = None;
    let jars = kafka_dev::prepare(&folder.join("cache"), |progress| {
        if let Err(error) = screen::progress(&format!("    {progress}")) {
            failed = Some(error);
        }
    })
    .await
    .context("Kafka could not be fetched")?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    let mut options = BrokerOptions::new(jars, folder.join("kafka"), folder.join("kafka.log"));
    options.port = if kafka_dev::ports::is_free(USUAL_PORT) { USUAL_PORT } else { 0 };
    options.quick = true;
    match Broker::start(options).await {
        Err(KafkaDevError::InUse { .. }) => bail!(
            "another `hookbus dev` runs on {}: end it, or give this one a folder of its own with --folder",
            folder.display()
        ),
        started => {
            started.with_context(|| format!("Kafka did not start; its log is {}", folder.join("kafka.log").display()))
        }
    }
}
