//! What the testkit reads from its environment: nothing else does.

use std::path::PathBuf;

use anyhow::{Context, bail};

/// The built binary, if it is not beside the test.
pub const HOOKBUS_BIN: &str = "HOOKBUS_BIN";
/// The brokers every test of a run shares.
pub const KAFKA: &str = "HOOKBUS_TEST_KAFKA";
/// Their listeners for proxies: `port:advertised`, separated by commas.
pub const PROXIED: &str = "HOOKBUS_TEST_PROXIED";

/// The Helm to render the chart with, if it is neither where `deploy/helm/prepare.sh` puts it nor on the path.
pub const HELM: &str = "HOOKBUS_TEST_HELM";

/// A variable that is set and not empty.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "tests have no configuration file: this is their one place")]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The `hookbus` binary: `HOOKBUS_BIN`, or the one in the folder this test was built into.
///
/// # Errors
/// When there is none; the message says how to get it.
pub fn hookbus_binary() -> anyhow::Result<PathBuf> {
    if let Some(path) = variable(HOOKBUS_BIN) {
        return Ok(path.into());
    }
    let test = std::env::current_exe().context("finding the path of this test")?;
    // target/debug/deps/e2e-0123 or target/debug/with-kafka
    let found = test.ancestors().skip(1).take(2).map(|folder| folder.join("hookbus")).find(|path| path.is_file());
    match found {
        Some(path) => Ok(path),
        None => bail!("no `hookbus` beside {}: run `cargo build -p hookbus` or set {HOOKBUS_BIN}", test.display()),
    }
}
