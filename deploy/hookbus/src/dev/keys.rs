//! The keys of a development folder: made once, kept readable by their owner only.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use chassis::config::Preset;
use serde::{Deserialize, Serialize};

const FILE: &str = "keys.json";

/// What `hookbus dev` needs secret. Never for production: whoever has the folder has the keys.
#[derive(Serialize, Deserialize)]
pub(crate) struct Keys {
    encryption_keys: String,
    lookup_key: String,
    /// Opens the management API.
    pub(crate) admin_key: String,
}

impl Keys {
    /// Reads the folder's keys, or makes them.
    ///
    /// # Errors
    /// When the file cannot be read or written, or is not what this command wrote.
    pub(crate) fn in_folder(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        if path.exists() {
            let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            return serde_json::from_slice(&text)
                .with_context(|| format!("{} is damaged; remove the folder to start anew", path.display()));
        }
        let keys = Self {
            encryption_keys: format!("dev:{}", vault::generate_key()?.as_str()),
            lookup_key: vault::generate_key()?.to_string(),
            admin_key: vault::random_uuid()?.to_string(),
        };
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("cannot create {}", path.display()))?;
        file.write_all(&serde_json::to_vec_pretty(&keys)?)?;
        file.sync_all()?;
        Ok(keys)
    }

    /// The same as configuration.
    pub(crate) fn lay_over(&self, preset: Preset) -> Preset {
        preset
            .with("security.encryption_keys", self.encryption_keys.as_str())
            .with("security.lookup_key", self.lookup_key.as_str())
            .with("control.admin_key", self.admin_key.as_str())
    }
}
