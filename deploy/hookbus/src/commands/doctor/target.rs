//! What the guard makes of a target, step by step: its URL, its name, and each address behind it. Nothing is sent.

use std::net::SocketAddr;
use std::time::Duration;

use chassis::config::Config;
use target::OwnAddresses;
use tokio::time::timeout;

use super::brokers::unbracketed;
use super::finding::DoctorFindings;
use crate::codes::Code;
use crate::process::target_policy;

/// The name is found within that.
const WITHIN: Duration = Duration::from_secs(5);
/// What to do about all of it.
const REMEDY: &str =
    "if the target is yours, allow it: delivery.allow_networks, delivery.allow_hosts, delivery.allow_http";

/// Looks.
pub(super) async fn look(config: &Config, text: &str, findings: &mut DoctorFindings) {
    let what = format!("target {text}");
    // The guard as a delivery worker has it, but for what that one listens on.
    let own = OwnAddresses::new(vec![config.admin.listen], &config.kafka.brokers);
    let policy = target_policy(&config.delivery, own);
    let url = match policy.read(text) {
        Ok(url) => url,
        Err(refused) => return findings.wrong(Code::Target, what, refused.to_string(), REMEDY),
    };
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
        return findings.wrong(Code::Target, what, "it has no host", REMEDY);
    };
    let name = unbracketed(host);
    let found = match timeout(WITHIN, tokio::net::lookup_host((name.as_str(), port))).await {
        Ok(Ok(found)) => found.collect::<Vec<SocketAddr>>(),
        Ok(Err(error)) => return findings.wrong(Code::Target, what, format!("its name is not known: {error}"), REMEDY),
        Err(_elapsed) => return findings.wrong(Code::Target, what, "no name server answers", REMEDY),
    };
    let mut allowed = 0;
    for address in &found {
        let by_name = name.parse::<std::net::IpAddr>().is_err().then_some(name.as_str());
        match policy.check_address(by_name, *address) {
            Ok(()) => allowed += 1,
            Err(refused) => {
                findings.wrong(Code::Target, format!("{what} at {}", address.ip()), refused.to_string(), REMEDY);
            }
        }
    }
    if allowed == found.len() && allowed > 0 {
        findings.well(what, format!("may be called, at {allowed} addresses"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn first(url: &str, change: impl FnOnce(&mut Config)) -> Option<Code> {
        let (mut config, mut findings) = (Config::for_tests(), DoctorFindings::default());
        config.delivery.allow_http = false;
        config.delivery.allow_networks.clear();
        change(&mut config);
        look(&config, url, &mut findings).await;
        findings.first()
    }

    #[tokio::test]
    async fn the_guard_says_what_is_wrong_with_a_target_and_what_is_not() {
        for refused in ["http://192.0.2.1/", "https://127.0.0.1:9/", "https://no-such-host.invalid/", "ftp://a/", "?"] {
            assert_eq!(first(refused, |_| {}).await, Some(Code::Target), "{refused}");
        }
        let networks = |config: &mut Config| config.delivery.allow_networks = vec!["10.0.0.0/8".parse().unwrap()];
        assert_eq!(first("https://10.1.2.3/hooks", networks).await, None);
        assert_eq!(first("https://1.1.1.1/", |_| {}).await, None, "nothing is sent there");
        let proxy = |config: &mut Config| {
            networks(config);
            config.delivery.egress_proxy = Some("http://10.9.9.9:3128".parse().unwrap());
        };
        assert_eq!(first("https://10.9.9.9:3128/", proxy).await, Some(Code::Target), "the way there is no target");
        assert_eq!(first("https://10.9.9.9/", proxy).await, None);
    }
}
