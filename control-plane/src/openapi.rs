//! The OpenAPI 3.1 document: made of the handlers' own descriptions, then completed with what all of them share.
//!
//! ```text
//! #[utoipa::path] on each handler --routes!--> router + document --complete--> schemas/openapi/openapi.json (a test compares)
//!                                                                    |
//!                              problems, headers, preconditions, "unknown fields are refused" of every operation
//! ```
//!
//! A handler says what is its own: operation id, parameters, bodies, its success and its special problems. Everything that
//! the layers and the extractors do to every request is said here, once.

mod complete;
mod shared;

use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Components, InfoBuilder, License, OpenApi, OpenApiBuilder, SecurityRequirement};
use utoipa::openapi::{ServerBuilder, tag::TagBuilder};

/// Name of the security scheme.
const BEARER: &str = "bearer";
const ABOUT: &str = "Webhooks from Kafka. Shapes follow Hook0's API; what is ours is additional and optional. Unknown query \
    parameters are ignored, unknown body fields are a 422. A trailing slash is accepted everywhere. Every object carries an \
    `ETag` that stands for what was written: send it back as `If-Match` and a lost race is a 412. Every answer to a write \
    carries `Hookbus-Consistency-Token`: a request that sends it sees that write, whichever replica answers. A `POST` with an \
    `Idempotency-Key` may be sent again until it is answered: it is done once.";
const TAGS: &[(&str, &str)] = &[
    ("organizations", "Tenants."),
    ("service_tokens", "Tokens of an organization."),
    ("applications", "Scopes of events: what an endpoint sees is one application's."),
    ("application_secrets", "Tokens of an application."),
    ("event_types", "What kinds of events an application has."),
    ("subscriptions", "Who receives what."),
    ("sources", "Topics of others that are read as they are, and how their records become events."),
    ("schema_registries", "Where schemas of records are asked for: the operator's."),
    ("events", "Sending events: the gateway's routes."),
    ("audit", "Who changed what."),
    ("log", "What became of events: an index over Kafka, some moments behind it (`Hookbus-Log-Behind-Ms`)."),
    ("jobs", "Sending again: what is asked for goes on by itself, and is done once, whatever fails meanwhile."),
    ("rejected", "Records of topics that could not be used: why, what they hold, and having them planned again."),
    ("instance", "What a client may ask before it has a token."),
];

/// What routers are filled into.
pub(crate) fn start() -> OpenApi {
    let tags = TAGS.iter().map(|(name, about)| TagBuilder::new().name(*name).description(Some(*about)).build());
    let info = InfoBuilder::new()
        .title("Hookbus")
        .description(Some(ABOUT))
        .version("1")
        .license(Some(License::new("Apache-2.0")));
    let mut components = Components::new();
    components.add_security_scheme(BEARER, SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    OpenApiBuilder::new()
        .info(info.build())
        .servers(Some([ServerBuilder::new().url("/").build()]))
        .components(Some(components))
        .security(Some([SecurityRequirement::new(BEARER, Vec::<String>::new())]))
        .tags(Some(tags))
        .build()
}

/// The whole document, as it is served and committed.
pub(crate) fn finish(document: &OpenApi) -> Result<String, serde_json::Error> {
    let mut document = serde_json::to_value(document)?;
    complete::complete(&mut document);
    let mut text = serde_json::to_string_pretty(&document)?;
    text.push('\n');
    Ok(text)
}

#[cfg(test)]
mod tests;
