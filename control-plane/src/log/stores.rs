//! The stores that a delivery log can have, as the configuration names them.

use std::sync::Arc;

use chassis::config::{ControlLogConfig, LogStore};
use delivery_log::{
    DeliveryStore, LogCopy, LogFolder, PostgresCopy, PostgresOptions, PostgresStore, SqliteOptions, SqliteStore,
    StoreError,
};

/// Opens the store that the configuration names.
///
/// # Errors
/// Why it cannot be.
pub(super) async fn open(config: &ControlLogConfig) -> Result<Arc<dyn DeliveryStore>, String> {
    if config.store == LogStore::Postgres {
        if config.postgres_url.is_none() {
            return Err("`control.log.store` is `postgres`, and `control.log.postgres_url` is not set".to_owned());
        }
        let store = PostgresStore::open(&postgres(config)).await.map_err(|error| error.to_string())?;
        return Ok(Arc::new(store));
    }
    let options =
        SqliteOptions { folder: config.folder.clone(), readers: config.readers, memory_bytes: config.memory_bytes };
    let opened = tokio::task::spawn_blocking(move || SqliteStore::open(&options)).await;
    match opened {
        Ok(Ok(store)) => Ok(Arc::new(store)),
        Ok(Err(error)) => Err(error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

fn postgres(config: &ControlLogConfig) -> PostgresOptions {
    PostgresOptions {
        url: config.postgres_url.clone().unwrap_or_default(),
        ca_file: config.postgres_ca_file.clone(),
        schema: PostgresOptions::SCHEMA.to_owned(),
        readers: config.readers,
        seconds: PostgresOptions::SECONDS,
    }
}

/// What the log's store holds, beside whoever fills it; `None`: there is no log.
///
/// # Errors
/// The store cannot be read.
pub fn log_copy(config: &ControlLogConfig) -> Result<Option<Box<dyn LogCopy>>, StoreError> {
    Ok(match config.store {
        LogStore::None => None,
        LogStore::Sqlite => Some(Box::new(LogFolder::new(config.folder.clone()))),
        LogStore::Postgres => Some(Box::new(PostgresCopy::new(&postgres(config))?)),
    })
}
