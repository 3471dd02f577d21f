//! Who asks schema registries.

use std::time::Duration;

use ::schema_registry::{RegistryClient, RegistrySettings, SchemaCompiler, TrustedRoots};
use chassis::clock;
use schemas::control::SchemaRegistry;
use sources::schema::{SchemaId, SchemaState};
use vault::Vault;

use super::show::RegistryCheckShown;

/// What one request may ask takes no longer, however many URLs a registry has.
const PATIENCE: Duration = Duration::from_secs(8);

/// Who asks.
#[derive(Debug)]
pub(crate) enum RegistryAsker {
    /// Over HTTP.
    Http { roots: TrustedRoots, compiler: SchemaCompiler },
    /// Answers of a test, by the registry's name.
    #[cfg(test)]
    Memory(parking_lot::Mutex<std::collections::BTreeMap<String, RegistryCheckShown>>),
}

// === impl RegistryAsker ===

impl RegistryAsker {
    pub(crate) fn start() -> Self {
        Self::Http { roots: TrustedRoots::load(), compiler: SchemaCompiler::default() }
    }

    /// Whether a registry answers, and how many subjects it has.
    pub(crate) async fn check(&self, registry: &SchemaRegistry, vault: &Vault) -> RegistryCheckShown {
        match self {
            Self::Http { roots, .. } => {
                let begun = clock::instant();
                let reach = async { client(registry, vault, roots)?.reach().await };
                match in_time(reach).await {
                    Ok(reach) => RegistryCheckShown::reached(reach.subjects, reach.latency),
                    Err(error) => RegistryCheckShown::failed(error, begun.elapsed()),
                }
            }
            #[cfg(test)]
            Self::Memory(answers) => {
                let nothing = || RegistryCheckShown::failed("nobody listens", Duration::ZERO);
                answers.lock().get(&registry.name).cloned().unwrap_or_else(nothing)
            }
        }
    }

    /// One schema of a registry, compiled.
    ///
    /// # Errors
    /// The registry gives no answer: each URL that was asked, and what it answered.
    pub(crate) async fn schema(
        &self,
        registry: &SchemaRegistry,
        vault: &Vault,
        id: SchemaId,
    ) -> Result<SchemaState, String> {
        match self {
            Self::Http { roots, compiler } => {
                let asked = async { compiler.schema(&client(registry, vault, roots)?, id).await };
                in_time(asked).await
            }
            #[cfg(test)]
            Self::Memory(_) => Ok(SchemaState::NotFound),
        }
    }
}

fn client(registry: &SchemaRegistry, vault: &Vault, roots: &TrustedRoots) -> Result<RegistryClient, String> {
    let settings = RegistrySettings::of(registry, vault).map_err(|error| error.to_string())?;
    RegistryClient::new(&settings, roots).map_err(|error| error.to_string())
}

async fn in_time<T>(asked: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let late = |_elapsed| Err(format!("the registry did not answer within {PATIENCE:?}"));
    tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(late)
}
