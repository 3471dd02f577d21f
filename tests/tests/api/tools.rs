//! What is not ours and not in the workspace: installed on demand by `tests/clients/prepare.sh`, kept under `var/cache`.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::process::Command;

/// The first time fetches and builds; `make test` has done that before.
const PREPARED_WITHIN: Duration = Duration::from_secs(20 * 60);

/// Makes a client ready to run: `python` (and schemathesis with it), `node` or `rust`.
///
/// # Errors
/// It cannot be installed: with what was printed.
pub(super) async fn prepare(client: &str) -> anyhow::Result<()> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/prepare.sh");
    let running = Command::new(script).arg(client).stdin(Stdio::null()).kill_on_drop(true).output();
    let ended = tokio::time::timeout(PREPARED_WITHIN, running).await.context("clients/prepare.sh does not end")?;
    let output = ended.context("running clients/prepare.sh")?;
    let printed = || [String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)].concat();
    ensure!(output.status.success(), "preparing the {client} client: {}\n{}", output.status, printed());
    Ok(())
}
