//! The published Rust client of Hook0, unmodified, against Hookbus.
//!
//! Speaks JSON lines with the test that runs it (see `tests/clients/README.md`): reads the set-up, says `done` for every operation and
//! every check that held, and ends with an error at the first that did not.

mod events;
mod operations;
mod problems;
mod setup;

use anyhow::Result;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let setup = setup::Setup::read()?;
    operations::instance(&setup).await?;
    operations::applications(&setup).await?;
    operations::service_tokens(&setup).await?;
    let tenant = operations::Tenant::make(&setup).await?;
    operations::secrets(&setup, &tenant).await?;
    operations::event_types(&setup, &tenant).await?;
    operations::subscriptions(&setup, &tenant).await?;
    events::check(&setup, &tenant).await?;
    problems::check(&setup, &tenant).await?;
    problems::limits(&setup).await?;
    operations::mixed(&setup).await?;
    tenant.remove(&setup).await
}
