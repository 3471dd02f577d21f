//! The task that asks: one question for each schema at a time, a few at once, to registries as they are now.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use catalog::Catalog;
use chassis::clock;
use chassis::limited::Limited;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use schemas::control::SchemaRegistry;
use schemas::ids::SchemaRegistryId;
use sources::schema::{CompiledSchema, SchemaKey};
use tracing::warn;
use vault::Vault;

use crate::answer::RegistryAnswer;
use crate::cache::SchemaCache;
use crate::client::RegistryClient;
use crate::compile::SchemaCompiler;
use crate::settings::RegistrySettings;
use crate::table::SchemaQuestion;
use crate::tls::TrustedRoots;

/// A registry in trouble says so this often.
const LOG_PERIOD: Duration = Duration::from_secs(30);

/// Fetches what is wanted of a cache.
#[derive(Debug)]
pub struct SchemaFetcher {
    cache: SchemaCache,
    catalog: Catalog,
    compiler: SchemaCompiler,
    roots: TrustedRoots,
    registries: BTreeMap<SchemaRegistryId, KnownRegistry>,
    /// Seeds the jitter.
    draws: u64,
    limited: Limited<SchemaRegistryId>,
}

/// A registry as it was when it was looked at last.
#[derive(Debug)]
struct KnownRegistry {
    object: Arc<SchemaRegistry>,
    /// Made when it is first asked; an error: it cannot be asked as it stands.
    client: Option<Result<Arc<RegistryClient>, String>>,
}

/// A question with its answer.
type AnsweredQuestion = (SchemaQuestion, RegistryAnswer<Arc<CompiledSchema>>);

// === impl SchemaFetcher ===

impl SchemaFetcher {
    /// A fetcher for a cache, of the registries that the catalog knows.
    #[must_use]
    pub fn new(cache: SchemaCache, catalog: Catalog, compiler: SchemaCompiler) -> Self {
        let draws = u64::from(std::process::id()) << 32;
        let (roots, limited) = (TrustedRoots::load(), Limited::new(LOG_PERIOD));
        Self { cache, catalog, compiler, roots, registries: BTreeMap::new(), draws, limited }
    }

    /// Fetches until it is dropped.
    pub async fn run(mut self) {
        let mut changes = self.catalog.schema_registries_changed();
        let mut asking: FuturesUnordered<BoxFuture<'static, AnsweredQuestion>> = FuturesUnordered::new();
        changes.mark_changed();
        loop {
            if changes.has_changed().unwrap_or_default() {
                changes.borrow_and_update();
                self.follow();
            }
            let (questions, next) = self.cache.ask(clock::instant());
            asking.extend(questions.into_iter().map(|question| self.question(question)));
            tokio::select! {
                Some((question, answer)) = asking.next(), if !asking.is_empty() => self.answered(question, answer),
                () = self.cache.wanted() => {}
                () = until(next) => {}
                // An error is the catalog's end, and with it the process's.
                Ok(()) = changes.changed() => changes.mark_changed(),
            }
        }
    }

    /// Takes the registries as they are now. What one said that is another one now does not count any more.
    fn follow(&mut self) {
        let newest = self.catalog.schema_registries();
        let mut former = std::mem::take(&mut self.registries);
        for (id, object) in newest.iter() {
            let client = match former.remove(id) {
                Some(known) if is_same(&known.object, object) => known.client,
                Some(known) if has_same_schemas(&known.object, object, self.catalog.vault()) => {
                    self.cache.renew(*id);
                    None
                }
                Some(_) | None => {
                    self.cache.forget(*id, false);
                    None
                }
            };
            self.registries.insert(*id, KnownRegistry { object: Arc::clone(object), client });
        }
        for id in former.into_keys() {
            self.cache.forget(id, true);
        }
    }

    /// Asks for a schema and compiles it.
    fn question(&mut self, question: SchemaQuestion) -> BoxFuture<'static, AnsweredQuestion> {
        let client = self.client(question.key.registry);
        let compiler = self.compiler.clone();
        Box::pin(async move {
            let answer = match client {
                Ok(client) => compiler.fetch(&client, question.key.id).await,
                Err(why) => RegistryAnswer::Unavailable(why),
            };
            (question, answer)
        })
    }

    fn client(&mut self, id: SchemaRegistryId) -> Result<Arc<RegistryClient>, String> {
        let known = self.registries.get_mut(&id).ok_or_else(|| format!("there is no schema registry {id}"))?;
        let (vault, roots) = (self.catalog.vault(), &self.roots);
        let make = || {
            let settings = RegistrySettings::of(&known.object, vault).map_err(|error| error.to_string())?;
            RegistryClient::new(&settings, roots).map(Arc::new).map_err(|error| error.reason)
        };
        known.client.get_or_insert_with(make).clone()
    }

    fn answered(&mut self, question: SchemaQuestion, answer: RegistryAnswer<Arc<CompiledSchema>>) {
        if let RegistryAnswer::Unavailable(why) | RegistryAnswer::Unusable(why) = &answer
            && let SchemaKey { registry, id } = question.key
            && let Some(swallowed) = self.limited.permit(&registry)
        {
            warn!(%registry, schema = %id, why, swallowed, "a schema cannot be had: records that need it wait, or are rejected");
        }
        self.draws = self.draws.wrapping_add(1);
        self.cache.end(question, answer, (clock::instant(), retry::unit(self.draws)));
    }
}

/// Whether the same is asked in the same way: its name may have changed.
fn is_same(one: &SchemaRegistry, other: &SchemaRegistry) -> bool {
    let of = |it: &SchemaRegistry| (it.urls.clone(), it.auth.clone(), it.ca_pem.clone(), it.timeout_ms);
    of(one) == of(other)
}

/// Whether the same schemas are there for who asks now: an edit of anything else, or a secret sealed anew, leaves what was said
/// as it is.
fn has_same_schemas(one: &SchemaRegistry, other: &SchemaRegistry, vault: &Vault) -> bool {
    // What cannot be opened is not known to be the same.
    let of = |it: &SchemaRegistry| RegistrySettings::of(it, vault).ok().map(|it| (it.urls, it.credentials));
    matches!((of(one), of(other)), (Some(one), Some(other)) if one == other)
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use catalog::sealed::seal_text;
    use schemas::control::{ControlKey, RegistryAuth};
    use uuid::Uuid;
    use vault::EncryptionKey;

    use super::*;

    #[test]
    fn a_secret_sealed_anew_and_a_timeout_leave_the_schemas_and_another_url_or_secret_does_not() {
        let vault = Vault::new(&[EncryptionKey::new("k1", [7; 32])], &[8; 32]).unwrap();
        let id = SchemaRegistryId(Uuid::from_u128(5));
        let context = ControlKey::SchemaRegistry(id).to_string();
        let of = |url: &str, timeout_ms: u64, secret: &str| {
            let token = seal_text(&vault, &context, secret).unwrap();
            let auth = Some(RegistryAuth::Bearer { token });
            SchemaRegistry { urls: vec![url.to_owned()], timeout_ms, auth, ..SchemaRegistry::new(id, "main", 0) }
        };
        let one = of("http://r", 1_000, "hush");
        for (other, expected) in [
            (of("http://r", 1_000, "hush"), true),
            (of("http://r", 2_000, "hush"), true),
            (of("http://s", 1_000, "hush"), false),
            (of("http://r", 1_000, "other"), false),
        ] {
            assert!(!is_same(&one, &other), "each is sealed anew");
            assert_eq!(has_same_schemas(&one, &other, &vault), expected, "{other:?}");
        }
        let stranger = Vault::new(&[EncryptionKey::new("k2", [9; 32])], &[8; 32]).unwrap();
        assert!(!has_same_schemas(&one, &one, &stranger), "what cannot be opened is not known to be the same");
    }
}
