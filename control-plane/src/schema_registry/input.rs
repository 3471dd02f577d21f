//! What a client may say of a schema registry, and what becomes of the object. Absent keeps, `null` clears.

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use schemas::control::schema_registry::{
    MAX_REGISTRY_CA, MAX_REGISTRY_URL, MAX_REGISTRY_URLS, REGISTRY_TIMEOUT_MS, REGISTRY_TIMEOUTS_MS,
};
use schemas::control::{ControlKey, SchemaRegistry};
use schemas::ids::SchemaRegistryId;
use schemas::problem::{Code, ProblemId};
use serde_json::{Map, Value};
use url::{Origin, Url};
use vault::Vault;

use super::auth::{RegistryAuthInput, secret_field};
use crate::body::Fields;
use crate::problem::Problem;
use crate::{api, certificates};

pub(crate) const FIELDS: &[&str] = &[
    "schema_registry_id",
    "name",
    "uid",
    "urls",
    "auth",
    "ca_pem",
    "timeout_ms",
    // Shown by us: whoever sends back what he read is not told off for it.
    "created_at",
    "updated_at",
];

/// A request's fields, checked. `None`: not given, keeps its value.
#[derive(Clone, Debug)]
pub(crate) struct RegistryInput {
    /// The id it had elsewhere.
    pub(crate) id: Option<SchemaRegistryId>,
    pub(crate) name: Option<String>,
    uid: Option<Option<String>>,
    urls: Option<Vec<String>>,
    auth: Option<Option<RegistryAuthInput>>,
    ca_pem: Option<Option<String>>,
    timeout_ms: Option<u64>,
}

// === impl RegistryInput ===

impl RegistryInput {
    /// Checks everything that can be checked without the catalog.
    pub(crate) fn read(map: Map<String, Value>) -> Result<Self, Problem> {
        if map.get("urls").is_some_and(Value::is_null) {
            return Err(Problem::field("urls", Code::InvalidField, "is required and cannot be cleared"));
        }
        let mut fields = Fields::new(map, "", FIELDS)?;
        let auth = match fields.take("auth") {
            None => None,
            Some(Value::Null) => Some(None),
            Some(Value::Object(map)) => Some(RegistryAuthInput::read(map)?),
            Some(_other) => return Err(fields.wrong("auth", "must be an object")),
        };
        Ok(Self {
            id: api::given_id(&mut fields, "schema_registry_id")?.map(SchemaRegistryId),
            name: api::name(&mut fields, ProblemId::Validation)?,
            uid: api::uid(&mut fields)?,
            urls: fields.texts("urls", MAX_REGISTRY_URLS)?.map(|given| urls(&given)).transpose()?,
            auth,
            ca_pem: ca_pem(&mut fields)?,
            timeout_ms: fields
                .number("timeout_ms", REGISTRY_TIMEOUTS_MS)?
                .map(|given| given.unwrap_or(REGISTRY_TIMEOUT_MS)),
        })
    }

    /// The uid that it is to have, if it is given one.
    pub(crate) fn uid(&self) -> Option<&str> {
        self.uid.as_ref()?.as_deref()
    }

    /// What is given over what was there.
    pub(crate) fn apply(&self, former: SchemaRegistry, vault: &Vault) -> Result<SchemaRegistry, Problem> {
        self.check_receiver(&former)?;
        let mut registry = former;
        if let Some(name) = &self.name {
            registry.name.clone_from(name);
        }
        if let Some(uid) = &self.uid {
            registry.uid.clone_from(uid);
        }
        if let Some(urls) = &self.urls {
            registry.urls.clone_from(urls);
        }
        if registry.urls.is_empty() {
            let message = "is required: where the registry is, such as [\"https://registry.internal:8081\"]";
            return Err(Problem::field("urls", Code::InvalidField, message));
        }
        if let Some(given) = &self.auth {
            let context = ControlKey::SchemaRegistry(registry.schema_registry_id).to_string();
            let seal = |given: &RegistryAuthInput| given.seal(registry.auth.as_ref(), vault, &context);
            registry.auth = given.as_ref().map(seal).transpose()?;
        }
        if let Some(ca_pem) = &self.ca_pem {
            registry.ca_pem.clone_from(ca_pem);
        }
        if let Some(timeout_ms) = self.timeout_ms {
            registry.timeout_ms = timeout_ms;
        }
        Ok(registry)
    }

    /// A stored secret does not follow a changed URL: what was given for one receiver goes to another only if it is given again. Who
    /// was never shown it could else read it at a host of his own.
    fn check_receiver(&self, former: &SchemaRegistry) -> Result<(), Problem> {
        let (Some(urls), Some(stored)) = (&self.urls, &former.auth) else { return Ok(()) };
        let is_kept = match &self.auth {
            None => true,
            Some(given) => given.as_ref().is_some_and(|given| given.keeps(stored)),
        };
        let known: Vec<Origin> = former.urls.iter().filter_map(|it| origin(it)).collect();
        let strange = urls.iter().filter_map(|it| origin(it)).find(|it| !known.contains(it));
        match strange.filter(|_| is_kept) {
            None => Ok(()),
            Some(strange) => {
                let field = format!("auth.{}", secret_field(stored));
                let message = format!(
                    "was given for other URLs, and {} is now among them: give it again, or remove `auth`",
                    strange.ascii_serialization()
                );
                Err(Problem::field(&field, Code::InvalidField, message))
            }
        }
    }
}

fn origin(url: &str) -> Option<Origin> {
    Url::parse(url).ok().map(|url| url.origin())
}

fn urls(given: &[String]) -> Result<Vec<String>, Problem> {
    let mut urls: Vec<String> = Vec::with_capacity(given.len());
    for (at, text) in given.iter().enumerate() {
        let wrong = |message: &str| Problem::field("urls", Code::InvalidField, format!("number {} {message}", at + 1));
        let url = normal(text).map_err(|message| wrong(&message))?;
        if urls.contains(&url) {
            return Err(wrong("stands there twice"));
        }
        urls.push(url);
    }
    Ok(urls)
}

/// One URL as it is kept: parsed, without a slash at its end. What was given is not quoted, because it may hold a password.
fn normal(text: &str) -> Result<String, String> {
    let url = Url::parse(text.trim()).map_err(|error| format!("is no URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("must begin with http:// or https://".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must hold no user and no password: they belong into `auth`".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must have neither `?` nor `#`: paths are put behind it".to_owned());
    }
    let text = url.as_str().trim_end_matches('/');
    if text.len() > MAX_REGISTRY_URL {
        return Err(format!("has more than {MAX_REGISTRY_URL} bytes"));
    }
    Ok(text.to_owned())
}

/// Certificates to trust, each fit to be one.
fn ca_pem(fields: &mut Fields) -> Result<Option<Option<String>>, Problem> {
    let Some(given) = fields.text("ca_pem", 1..=MAX_REGISTRY_CA)? else { return Ok(None) };
    let Some(pem) = given else { return Ok(Some(None)) };
    if !certificates::are_alone(&pem) {
        return Err(fields.wrong("ca_pem", certificates::NOT_ALONE));
    }
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|error| fields.wrong("ca_pem", format!("is not PEM: {error}")))?;
        roots
            .add(certificate)
            .map_err(|error| fields.wrong("ca_pem", format!("certificate {}: {error}", roots.len() + 1)))?;
    }
    if roots.is_empty() {
        return Err(fields.wrong("ca_pem", "holds no PEM certificate"));
    }
    Ok(Some(Some(pem)))
}

#[cfg(test)]
mod tests;
