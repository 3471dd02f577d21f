//! Secrets that stand in files: `HOOKBUS__SECURITY__LOOKUP_KEY_FILE` names the file that holds `security.lookup_key`.
//!
//! Every secret key and every librdkafka property can be given so: what mounts secrets (Kubernetes, a CSI driver, Vault's
//! agent, Docker) mounts files, and a variable's value is seen by whoever sees the process.

use std::collections::BTreeMap;
use std::io::Read as _;

use super::PREFIX;
use super::error::Problem;
use super::key::Kind;
use super::layers::{find, is_property, segments};
use super::value::Origin;

/// At the end of the variable that names the file.
const SUFFIX: &str = "_FILE";
/// More than any key or bundle of certificates has.
const MAX_BYTES: u64 = 1_048_576;
/// Properties of librdkafka whose own names end as ours: the value is the path itself.
const PATHS: &[&str] = &[
    "sasl.oauthbearer.assertion.file",
    "sasl.oauthbearer.assertion.private.key.file",
    "sasl.oauthbearer.assertion.jwt.template.file",
];

/// The text of a variable of ours, and the variable it came from.
pub(super) struct EnvironmentText {
    pub(super) path: Vec<String>,
    pub(super) origin: Origin,
    pub(super) text: String,
}

/// The variables of ours, with the content of the files that some of them name; and what is wrong with those.
pub(super) fn read(env: &BTreeMap<String, String>) -> (Vec<EnvironmentText>, Vec<Problem>) {
    let (mut texts, mut problems) = (Vec::new(), Vec::new());
    for (name, text) in env {
        let Some(own) = name.strip_prefix(PREFIX) else { continue };
        let origin = Origin::Env(name.clone());
        let Some(direct) = in_file(own) else {
            texts.push(EnvironmentText { path: steps(own), origin, text: text.clone() });
            continue;
        };
        if text.trim().is_empty() {
            continue;
        }
        let path = steps(direct);
        let twin = format!("{PREFIX}{direct}");
        let is_twice = env.get(&twin).is_some_and(|text| !text.trim().is_empty());
        let content =
            if is_twice { Err(format!("{twin} is set as well: take one away")) } else { content(text.trim()) };
        match content {
            Ok(text) => texts.push(EnvironmentText { path, origin, text }),
            Err(message) => problems.push(Problem { key: path.join("."), origin, message }),
        }
    }
    (texts, problems)
}

/// The variable whose value stands in a file, if this one names such a file.
fn in_file(own: &str) -> Option<&str> {
    let direct = own.strip_suffix(SUFFIX)?;
    let path = steps(direct);
    if is_property(&path) {
        let own = steps(own);
        return (path.len() == 3 && !PATHS.contains(&own[2].as_str())).then_some(direct);
    }
    let is_secret = find(&path.join(".")).is_some_and(|key| matches!(key.kind, Kind::Secret));
    is_secret.then_some(direct)
}

fn steps(own: &str) -> Vec<String> {
    segments(&own.to_lowercase(), "__")
}

/// What the file holds, without the newline that editors put at its end. Never in an error.
fn content(path: &str) -> Result<String, String> {
    let mut text = String::new();
    let file = std::fs::File::open(path);
    let read = file.and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text));
    let read = read.map_err(|error| format!("cannot read the file {path}: {error}"))?;
    if u64::try_from(read).is_ok_and(|read| read > MAX_BYTES) {
        return Err(format!("the file {path} is larger than {MAX_BYTES} bytes: that is no secret"));
    }
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.trim().is_empty() {
        return Err(format!("the file {path} is empty"));
    }
    Ok(text.to_owned())
}
