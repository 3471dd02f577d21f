//! Where the management API is and with which token: from the command line, the environment, or a running `hookbus dev`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::{Management, Trust};
use crate::cli::manage::Login;

/// What is needed of `info.json`.
#[derive(Deserialize)]
struct Info {
    gateway_url: String,
    control_url: String,
    admin_key: String,
    application_id: String,
}

/// A client as the command line says.
///
/// # Errors
/// Nothing is said and no `hookbus dev` runs, or only half of it is.
pub(crate) fn open(login: &Login) -> Result<Management> {
    let trust = Trust { ca: login.ca.clone(), insecure: login.insecure };
    match (login.url.as_deref(), login.token.as_deref()) {
        (Some(url), Some(token)) => Management::new(check(url)?, token, &trust),
        // The development key is not sent to just any address, nor a real token to the development server.
        (Some(_), None) => Err(crate::usage("give the token too: HOOKBUS_TOKEN or --token")),
        (None, Some(_)) => Err(crate::usage("give the address too: HOOKBUS_URL or --url")),
        (None, None) => of_dev(&login.dev_folder, &trust),
    }
}

fn of_dev(folder: &Path, trust: &Trust) -> Result<Management> {
    let path = folder.join("info.json");
    let text = fs::read(&path).map_err(|_absent| {
        let path = path.display();
        crate::usage(format!(
            "give HOOKBUS_URL and HOOKBUS_TOKEN (or --url and --token), or the --dev-folder of a running `hookbus dev`: there is no {path}"
        ))
    })?;
    let info: Info = serde_json::from_slice(&text).with_context(|| format!("cannot read {}", path.display()))?;
    let management = Management::new(&info.control_url, &info.admin_key, trust)?;
    Ok(management.with_defaults(Some(info.gateway_url), Some(info.application_id)))
}

fn check(url: &str) -> Result<&str> {
    let parsed: Result<http::Uri, _> = url.parse();
    let fits = parsed.is_ok_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.query().is_none());
    if fits { Ok(url) } else { Err(crate::usage(format!("`{url}` is no address like https://hookbus.example.com"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(url: Option<&str>, token: Option<&str>) -> Login {
        let (url, token) = (url.map(str::to_owned), token.map(str::to_owned));
        Login { url, token, ca: None, insecure: false, dev_folder: "no such folder".into() }
    }

    #[test]
    fn half_a_login_is_none() {
        rustls::crypto::ring::default_provider().install_default().ok();
        assert!(open(&login(Some("https://x"), Some("t"))).is_ok());
        for (url, token, says) in [
            (Some("https://x"), None, "HOOKBUS_TOKEN"),
            (None, Some("t"), "HOOKBUS_URL"),
            (None, None, "hookbus dev"),
            (Some("x"), Some("t"), "no address"),
            (Some("http://hookbus.example.com"), Some("t"), "--insecure"),
        ] {
            let error = open(&login(url, token)).unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
            assert!(error.is::<crate::Usage>());
        }
    }
}
