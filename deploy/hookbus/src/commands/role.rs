//! `hookbus gateway|fanout|delivery|retry|control`: one role, until a signal.

use anyhow::Result;
use chassis::config::{Loaded, Role};
use fanout_worker::Intakes;

use crate::listeners::listen;
use crate::process::Process;
use crate::roles::{self, Directory};

/// Runs one role; of the fan-out these intakes.
///
/// # Errors
/// What the role stopped with, or the configuration leaves nothing to do.
pub(crate) async fn run(role: Role, intakes: Intakes, loaded: &Loaded) -> Result<()> {
    if intakes == Intakes::Sources && !loaded.config.sources.enabled {
        return Err(crate::usage("--only sources: sources.enabled is false, so there is nothing to read"));
    }
    let mut process = Process::start(loaded)?;
    match role {
        Role::Gateway => {
            let address = process.config.gateway.listen;
            let listener = listen(&mut process, address, "gateway.listen").await?;
            roles::gateway(&process, &Directory::start(&process)?, listener, None)?;
        }
        Role::Fanout => roles::fanout(&process, &Directory::start(&process)?, intakes),
        Role::Delivery => roles::delivery(&process, &Directory::start(&process)?),
        Role::Retry => roles::retry(&process),
        Role::Control => {
            let address = process.config.control.listen;
            let listener = listen(&mut process, address, "control.listen").await?;
            let control = roles::control(&process, &Directory::of_control(&process)?).await?;
            roles::serve_control(&process, control, listener)?;
        }
    }
    process.wired();
    tracing::info!(%role, slot = %process.config.kafka.slot, brokers = process.connection.brokers(), "started");
    process.join().await
}
