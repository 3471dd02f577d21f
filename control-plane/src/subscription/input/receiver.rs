//! Stored secrets do not follow a changed target: what was given for one receiver goes to another only if it is given again.
//!
//! Secrets are never shown, and that has to hold for who may change a subscription too: he could else name a host of his own
//! as the target, send the masks back, and read there what he was not shown. A path or a query is still the same receiver,
//! another scheme, host or port is another one. Signing secrets are not concerned: they never travel.

use schemas::control::{Auth, Subscription};
use schemas::problem::{Code, ProblemId};
use serde_json::{Map, Value, json};
use url::{Origin, Url};

use super::Input;
use crate::problem::Problem;
use crate::subscription::auth::{self, AuthInput};

/// Secrets that would go to another receiver: the field of each, and what has to be done.
#[derive(Default)]
struct Strays(Vec<(String, String)>);

/// Refuses a change that would send a stored secret elsewhere. Pure.
pub(super) fn check(input: &Input, former: &Subscription) -> Result<(), Problem> {
    let mut strays = Strays::default();
    if let Some(target) = &input.target
        && let Some(moved) = moved(&former.target.url, &target.url)
    {
        for name in target.keeps(&former.target) {
            let message = format!("{moved}: give its value again, or remove the header");
            strays.0.push((format!("target.headers.{name}"), message));
        }
        if let Some(field) = kept_auth(input, former.auth.as_ref()) {
            strays.0.push((format!("auth.{field}"), format!("{moved}: give it again, or remove `auth`")));
        }
    }
    if let (Some(Some(given)), Some(former)) = (&input.auth, &former.auth)
        && strays.0.is_empty()
        && let Some(field) = given.keeps(former)
        && given.token_url() != auth::token_url(former)
    {
        let message = "was given for another `token_url`: give it again, or remove `auth`";
        strays.0.push((format!("auth.{field}"), message.to_owned()));
    }
    strays.refuse()
}

/// The field of the stored credential, if the change leaves it as it is.
fn kept_auth(input: &Input, former: Option<&Auth>) -> Option<&'static str> {
    match (&input.auth, former?) {
        (None, former) => Some(auth::secret_field(former)),
        (Some(given), former) => given.as_ref().and_then(|given: &AuthInput| given.keeps(former)),
    }
}

/// Why the receiver is another one, if it is.
fn moved(former: &str, url: &str) -> Option<String> {
    let origin = |text: &str| Url::parse(text).ok().map(|url| url.origin());
    let (former, now) = (origin(former), origin(url));
    if former.is_some() && former == now {
        return None;
    }
    let shown = |origin: Option<Origin>| origin.map_or_else(|| "another".to_owned(), |it| it.ascii_serialization());
    Some(format!("was given for the target {}, and the target is now {}", shown(former), shown(now)))
}

// === impl Strays ===

impl Strays {
    /// One answer that names them all.
    fn refuse(self) -> Result<(), Problem> {
        if self.0.is_empty() {
            return Ok(());
        }
        let detail: Vec<String> = self.0.iter().map(|(field, message)| format!("{field}: {message}")).collect();
        let entry = |(field, message)| (field, json!([{ "code": Code::InvalidField, "message": message }]));
        let tree: Map<String, Value> = self.0.into_iter().map(entry).collect();
        let problem = Problem::new(ProblemId::Validation, detail.join("; ")).with_code(Code::InvalidField);
        Err(problem.with_validation(Value::Object(tree)))
    }
}

#[cfg(test)]
mod tests;
