//! Connections to the server: how they are made, and what is set on each.

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chassis::telemetry::chain;
use deadpool_postgres::{Manager, ManagerConfig, Pool, PoolError, RecyclingMethod, Runtime};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;
use tracing::debug;

use super::failure::{PgFailure, PgResult, within};
use crate::store::StoreError;

/// How long a connection may take to be made, and how long one that does not answer any more is waited for.
const PATIENCE: Duration = Duration::from_secs(4);
/// How long one may take to be made with all that is said before the first question, seconds.
const CONNECTED_SECONDS: u64 = 8;
/// A server that hears nothing of a connection for so long asks, and gives it up some seconds later.
const KEEPALIVE: Duration = Duration::from_secs(1);

/// Makes connections. Clones are the same.
#[derive(Clone)]
pub(super) struct PgConnector {
    config: Config,
    tls: MakeRustlsConnect,
    pub(super) schema: String,
}

/// A connection of its own; whoever lets go of it ends it at once, whatever it waits for.
pub(super) struct PgConnection {
    client: Client,
    driver: JoinHandle<()>,
}

// === impl PgConnector ===

impl PgConnector {
    /// Over an address as `postgres://user:password@host:port/database`; nothing is asked of it yet.
    ///
    /// # Errors
    /// The address is none, or what it is to be trusted by cannot be read. Neither says the password.
    pub(super) fn new(url: &str, ca_file: Option<&Path>, schema: &str) -> Result<Self, StoreError> {
        let mut config: Config = url.parse().map_err(|error| unopened(chain(&error)))?;
        config.connect_timeout(PATIENCE).tcp_user_timeout(PATIENCE);
        config.keepalives(true).keepalives_idle(KEEPALIVE).keepalives_interval(KEEPALIVE).keepalives_retries(3);
        config.application_name("hookbus");
        Ok(Self { config, tls: MakeRustlsConnect::new(trust(ca_file)?), schema: schema.to_owned() })
    }

    /// Where the server is, without what opens it.
    pub(super) fn place(&self) -> String {
        let host = self.config.get_hosts().first().map(|host| match host {
            tokio_postgres::config::Host::Tcp(name) => name.clone(),
            tokio_postgres::config::Host::Unix(path) => path.display().to_string(),
        });
        let database = self.config.get_dbname().or_else(|| self.config.get_user()).unwrap_or_default();
        format!("{}/{database}", host.unwrap_or_default())
    }

    /// A connection of its own, for whoever writes.
    #[expect(clippy::disallowed_methods, reason = "what drives a connection ends with it")]
    pub(super) async fn connect(&self, settings: &str) -> PgResult<PgConnection> {
        let config = self.with(settings);
        let made = async { config.connect(self.tls.clone()).await.map_err(PgFailure::from) };
        let (client, connection) = within(CONNECTED_SECONDS, made).await?;
        let driver = tokio::spawn(async move {
            if let Err(error) = connection.await {
                debug!(error = %chain(&error), "a connection to postgresql has ended");
            }
        });
        Ok(PgConnection { client, driver })
    }

    /// Connections that are shared.
    pub(super) fn pool(&self, size: usize, settings: &str) -> Result<Pool, StoreError> {
        let manager = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_config(self.with(settings), self.tls.clone(), manager);
        let pool = Pool::builder(manager).max_size(size).runtime(Runtime::Tokio1);
        let pool = pool.create_timeout(Some(PATIENCE)).wait_timeout(Some(PATIENCE)).build();
        pool.map_err(|error| unopened(error.to_string()))
    }

    /// With settings, each as `-c name=value`, behind those of the address.
    fn with(&self, settings: &str) -> Config {
        let (mut config, schema) = (self.config.clone(), &self.schema);
        let options = config.get_options().unwrap_or_default().to_owned();
        // Names are looked for in one schema; what a server drops of a connection that is cut it drops within some seconds.
        config.options(format!(
            "{options} -c search_path={schema} -c tcp_keepalives_idle=1 -c tcp_keepalives_interval=1 -c tcp_keepalives_count=3 {settings}"
        ));
        config
    }
}

// === impl PgConnection ===

impl Deref for PgConnection {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl DerefMut for PgConnection {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

impl Drop for PgConnection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Why a pool gave no connection.
pub(super) fn refused(error: &PoolError) -> StoreError {
    match error {
        PoolError::Timeout(deadpool_postgres::TimeoutType::Wait) => StoreError::Overloaded,
        PoolError::Backend(error) => StoreError::Away { reason: chain(error) },
        PoolError::Timeout(_) | PoolError::Closed | PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => {
            StoreError::Away { reason: error.to_string() }
        }
    }
}

fn unopened(reason: String) -> StoreError {
    StoreError::Unopened { place: "postgresql".to_owned(), reason }
}

/// Trusts the public authorities and the host's, or those of a file alone.
fn trust(ca_file: Option<&Path>) -> Result<ClientConfig, StoreError> {
    let roots = match ca_file {
        Some(path) => own(path)?,
        None => {
            let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
            // What is wrong with one of them is the host's business: it is not trusted then.
            let native = rustls_native_certs::load_native_certs();
            let (added, ignored) = roots.add_parsable_certificates(native.certs);
            debug!(added, ignored, errors = native.errors.len(), "certificate authorities of this host");
            roots
        }
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| unopened(error.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn own(path: &Path) -> Result<RootCertStore, StoreError> {
    let failed = |error: String| unopened(format!("{}: {error}", PathBuf::from(path).display()));
    let pem = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| failed(error.to_string()))?;
        roots.add(certificate).map_err(|error| failed(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(failed("there is no certificate in it".to_owned()));
    }
    Ok(roots)
}
