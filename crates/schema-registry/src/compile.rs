//! Compiles what was fetched, on a thread for what takes long: a large schema takes milliseconds, a hostile one longer.

use std::sync::Arc;
use std::time::Duration;

use sources::schema::{CompiledSchema, RegisteredSchema, SchemaId, SchemaState};
use tokio::sync::Semaphore;

use crate::answer::RegistryAnswer;
use crate::check;
use crate::client::RegistryClient;

/// Schemas that are compiled at once, so that strangers' schemas leave processors to others.
const AT_ONCE: usize = 2;
/// What takes longer cannot be used. Its thread goes on to its end, and counts among those at work until then.
const WITHIN: Duration = Duration::from_secs(30);
/// So long a schema waits for those that are compiled before it; then it is fetched anew.
const TURN_WITHIN: Duration = Duration::from_secs(60);

/// Compiles schemas. Clones share how many at once.
#[derive(Clone, Debug)]
pub struct SchemaCompiler {
    room: Arc<Semaphore>,
}

impl Default for SchemaCompiler {
    fn default() -> Self {
        Self { room: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

impl SchemaCompiler {
    /// Asks for a schema once, without a cache: for who tries a single record.
    ///
    /// # Errors
    /// The registry gave no answer: a sentence.
    pub async fn schema(&self, client: &RegistryClient, id: SchemaId) -> Result<SchemaState, String> {
        match self.fetch(client, id).await {
            RegistryAnswer::Found(schema) => Ok(SchemaState::Ready(schema)),
            RegistryAnswer::NotFound => Ok(SchemaState::NotFound),
            RegistryAnswer::Unusable(why) => Ok(SchemaState::Unusable(why.into())),
            RegistryAnswer::Unavailable(why) => Err(why),
        }
    }

    /// Asks for a schema, and compiles it.
    pub(crate) async fn fetch(&self, client: &RegistryClient, id: SchemaId) -> RegistryAnswer<Arc<CompiledSchema>> {
        match client.schema(id).await.found() {
            Ok(registered) => self.compile(registered).await,
            Err(other) => other,
        }
    }

    async fn compile(&self, registered: RegisteredSchema) -> RegistryAnswer<Arc<CompiledSchema>> {
        let turn = Arc::clone(&self.room).acquire_owned();
        let Ok(Ok(turn)) = tokio::time::timeout(TURN_WITHIN, turn).await else {
            return RegistryAnswer::Unavailable("gave a schema, and others are still being compiled".to_owned());
        };
        let compile = move || {
            let compiled = CompiledSchema::compile(&registered, Some(&check::compile));
            drop(turn);
            compiled
        };
        match tokio::time::timeout(WITHIN, tokio::task::spawn_blocking(compile)).await {
            Ok(Ok(Ok(schema))) => RegistryAnswer::Found(Arc::new(schema)),
            Ok(Ok(Err(unusable))) => RegistryAnswer::Unusable(unusable.detail),
            Ok(Err(_panic)) => RegistryAnswer::Unusable("its compiler stumbled over it".to_owned()),
            Err(_elapsed) => {
                RegistryAnswer::Unusable(format!("to compile it takes longer than {} s", WITHIN.as_secs()))
            }
        }
    }
}
