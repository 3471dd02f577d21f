//! `var/dev/info.json`: where everything is, for scripts.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

/// Addresses and tokens of a running `hookbus dev`.
#[derive(Debug, Serialize)]
pub(crate) struct Info {
    /// Events go here.
    pub(crate) gateway_url: String,
    /// Management goes here; the same as the gateway's.
    pub(crate) control_url: String,
    /// Prometheus metrics.
    pub(crate) metrics_url: String,
    /// Bootstrap servers.
    pub(crate) kafka_brokers: String,
    /// Opens the management API.
    pub(crate) admin_key: String,
    /// The seeded organization.
    pub(crate) organization_id: String,
    /// The demo application.
    pub(crate) application_id: String,
    /// Its token.
    pub(crate) application_secret: String,
    /// The demo receiver.
    pub(crate) receiver_url: String,
}

impl Info {
    /// Writes the file in one step: a reader sees the old one or the new one, whole.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join("info.json");
        let aside = folder.join("info.json.new");
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        // It has the admin key in it.
        private(&aside, &text).with_context(|| format!("cannot write {}", aside.display()))?;
        fs::rename(&aside, &path).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Takes the file away: nothing is running any more.
    pub(crate) fn remove(folder: &Path) {
        if let Err(error) = fs::remove_file(folder.join("info.json")) {
            tracing::debug!(%error, "info.json was not there");
        }
    }
}

/// Writes a file that nobody else reads.
fn private(path: &Path, text: &[u8]) -> std::io::Result<()> {
    // What is left of an earlier try may have another mode.
    if let Err(error) = fs::remove_file(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text)
}
