//! Every spelling of `corpus.txt` at both doors: written as a target, stored as a target, and come back from a name server.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use proptest::prelude::*;
use target::{AllowList, OwnAddresses, TargetPolicy, TargetRefused, TargetRules};
use url::{Host, Url};

const CORPUS: &str = include_str!("corpus.txt");
/// A name that a resolver gave these addresses for.
const NAME: &str = "hooks.customer.example";

struct Row {
    spelling: &'static str,
    address: Option<IpAddr>,
    opened: &'static str,
}

fn corpus() -> Vec<Row> {
    let lines = CORPUS.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let rows = lines.map(|line| {
        let cells: Vec<&str> = line.split_whitespace().collect();
        let [spelling, address, opened] = cells[..] else { panic!("three columns: {line}") };
        Row { spelling, address: (address != "-").then(|| address.parse().unwrap()), opened }
    });
    rows.collect()
}

fn policy(networks: &[&str], hosts: &[&str]) -> TargetPolicy {
    with_rules(TargetRules { allow_http: true, ..TargetRules::default() }, networks, hosts)
}

fn with_rules(rules: TargetRules, networks: &[&str], hosts: &[&str]) -> TargetPolicy {
    let networks = networks.iter().map(|network| network.parse().unwrap()).collect();
    let hosts = hosts.iter().map(|host| host.parse().unwrap()).collect();
    TargetPolicy::new(rules, AllowList { networks, hosts })
}

/// What the doors say: of the spelling when it is written, of its normal form when it is dialled, and of the address when a
/// name resolved to it.
fn doors(policy: &TargetPolicy, row: &Row) -> Vec<(&'static str, Result<(), TargetRefused>)> {
    let text = format!("http://{}/", row.spelling);
    let written = policy.read(&text).map(drop);
    let dialled = policy.check_url(&Url::parse(&text).unwrap());
    let resolved = row.address.map(|address| policy.check_address(Some(NAME), SocketAddr::new(address, 80)));
    [("written", Some(written)), ("dialled", Some(dialled)), ("resolved", resolved)]
        .into_iter()
        .filter_map(|(door, verdict)| Some((door, verdict?)))
        .collect()
}

fn expect(policy: &TargetPolicy, row: &Row, is_open: bool, with: &str) {
    for (door, verdict) in doors(policy, row) {
        assert_eq!(verdict.is_ok(), is_open, "{} {door} with {with}: {verdict:?}", row.spelling);
    }
}

#[test]
fn every_spelling_denotes_what_the_corpus_says() {
    let rows = corpus();
    assert!(rows.len() > 120, "{} rows", rows.len());
    for row in &rows {
        let url = Url::parse(&format!("http://{}/", row.spelling)).unwrap();
        let denoted = match url.host().unwrap() {
            Host::Domain(_) => None,
            Host::Ipv4(address) => Some(IpAddr::V4(address)),
            Host::Ipv6(address) => Some(IpAddr::V6(address)),
        };
        assert_eq!(denoted, row.address, "{}", row.spelling);
    }
}

#[test]
fn without_a_list_only_what_is_public_is_open_at_every_door() {
    for row in corpus() {
        expect(&policy(&[], &[]), &row, row.opened == "public", "nothing");
    }
}

#[test]
fn a_list_opens_what_is_in_it_at_every_door_and_nothing_else() {
    let rows = corpus();
    let networks: Vec<&str> = {
        let mut networks: Vec<_> = rows.iter().map(|row| row.opened).filter(|it| it.parse::<IpNet>().is_ok()).collect();
        networks.sort_unstable();
        networks.dedup();
        networks
    };
    for network in networks {
        let policy = policy(&[network], &[]);
        for row in &rows {
            let holds = |address: IpAddr| network.parse::<IpNet>().unwrap().contains(&address.to_canonical());
            let is_open = match row.opened {
                "public" => true,
                "never" => false,
                opened => opened == network || row.address.is_some_and(holds),
            };
            expect(&policy, row, is_open, network);
        }
    }
}

#[test]
fn no_list_opens_metadata() {
    let everything = policy(&["0.0.0.0/0", "::/0"], &["example", "internal", "goog", "com", "metadata", "localhost"]);
    for row in corpus() {
        expect(&everything, &row, row.opened != "never", "everything");
    }
}

#[test]
fn a_host_suffix_opens_what_its_names_resolve_to_and_no_literal() {
    let policy = policy(&[], &["customer.example"]);
    for row in corpus() {
        for (door, verdict) in doors(&policy, &row) {
            let is_open = if door == "resolved" { row.opened != "never" } else { row.opened == "public" };
            assert_eq!(verdict.is_ok(), is_open, "{} {door}: {verdict:?}", row.spelling);
        }
        let elsewhere =
            row.address.map(|it| policy.check_address(Some("customer.example.com"), SocketAddr::new(it, 80)));
        assert!(elsewhere.is_none_or(|verdict| verdict.is_ok() == (row.opened == "public")), "{}", row.spelling);
    }
    let local = self::policy(&[], &["localhost"]);
    assert!(local.read("http://a.localhost/").is_ok() && local.read("http://127.0.0.1/").is_err());
}

#[test]
fn behind_a_configured_nat64_prefix_the_inner_address_counts() {
    let nat64 = ["2001:67c:2b0:db32::/96", "fd64::/96"].map(|prefix| prefix.parse().unwrap()).to_vec();
    let rules = TargetRules { nat64, ..TargetRules::default() };
    let (strict, opened) = (with_rules(rules.clone(), &[], &[]), with_rules(rules, &["10.0.0.0/8"], &[]));
    let check = |policy: &TargetPolicy, address: &str| {
        policy.check_address(Some(NAME), SocketAddr::new(address.parse().unwrap(), 443)).is_ok()
    };
    for prefix in ["2001:67c:2b0:db32::", "fd64::"] {
        assert!(check(&strict, &format!("{prefix}1.1.1.1")), "{prefix}: public behind it");
        assert!(!check(&strict, &format!("{prefix}10.0.0.1")) && check(&opened, &format!("{prefix}10.0.0.1")));
        assert!(!check(&opened, &format!("{prefix}169.254.169.254")), "{prefix}: metadata behind it");
    }
    let plain = policy(&[], &[]);
    assert!(check(&plain, "2001:67c:2b0:db32::10.0.0.1"), "without configuration nobody can know");
}

#[test]
fn hookbus_itself_and_its_brokers_are_refused_whatever_is_open() {
    let own = OwnAddresses::new(vec!["127.0.0.1:8081".parse().unwrap()], "127.0.0.1:9092,kafka.internal.example:9092");
    let rules = TargetRules { allow_http: true, own, ..TargetRules::default() };
    let policy = with_rules(rules, &["0.0.0.0/0", "::/0"], &["example"]);
    for url in [
        "http://127.0.0.1:8081/",
        "http://[::ffff:127.0.0.1]:8081/",
        "http://0x7f.1:9092/",
        "http://kafka.internal.example:9092/",
        "http://KAFKA.internal.example.:9092/",
    ] {
        assert!(matches!(policy.read(url), Err(TargetRefused::Own(_))), "{url}");
        assert!(matches!(policy.check_url(&Url::parse(url).unwrap()), Err(TargetRefused::Own(_))), "{url}");
    }
    let resolved = policy.check_address(Some(NAME), "127.0.0.1:9092".parse().unwrap());
    assert!(matches!(resolved, Err(TargetRefused::Own(_))), "{resolved:?}");
    for url in ["http://127.0.0.1:8082/", "http://kafka.internal.example/", "http://127.0.0.1/"] {
        assert!(policy.read(url).is_ok(), "{url}");
    }
}

#[test]
fn urls_are_kept_normalised_and_other_shapes_refused_with_their_reason() {
    let strict = TargetPolicy::default();
    let url = strict.read(" HTTPS://Example.COM:443/a/../b?c=d#e ").unwrap();
    assert_eq!(url.as_str(), "https://example.com/b?c=d");
    let refused = |text: &str| strict.read(text).unwrap_err();
    assert_eq!(refused("http://example.com/"), TargetRefused::Scheme("http".into()));
    assert_eq!(refused("ftp://example.com/"), TargetRefused::Scheme("ftp".into()));
    for text in ["https://user:secret@example.com/", "https://user@example.com/", "https://:secret@example.com/"] {
        assert_eq!(refused(text), TargetRefused::Credentials, "{text}");
    }
    // Who reads it hastily takes the first for the host.
    assert_eq!(refused("https://example.com@127.0.0.1/"), TargetRefused::Credentials);
    assert!(matches!(refused("https://127.0.0.1#@example.com/"), TargetRefused::Address { .. }));
    assert!(matches!(refused("https://127.0.0.1\\@example.com/"), TargetRefused::Address { .. }));
    assert!(matches!(refused("example.com"), TargetRefused::NotUrl(_)));
    assert!(matches!(refused("https:///"), TargetRefused::NotUrl(_)));
    assert!(matches!(refused(&format!("https://example.com/{}", "a".repeat(2_048))), TargetRefused::TooLong { .. }));
    // Short as it is written, too long as it is kept and sent.
    assert!(matches!(refused(&format!("https://example.com/{}", "é".repeat(400))), TargetRefused::TooLong { .. }));
}

proptest! {
    /// What the first door lets in, the second does too: nothing is accepted and then dead-lettered by another rule.
    #[test]
    fn what_may_be_written_may_be_sent(text in "https?://[a-zA-Z0-9.:%@\\[\\]_-]{1,30}(/[a-z]{0,3})?") {
        for policy in [policy(&[], &[]), policy(&["10.0.0.0/8", "::/0"], &["example"])] {
            if let Ok(url) = policy.read(&text) {
                prop_assert_eq!(policy.check_url(&url), Ok(()));
                prop_assert_eq!(policy.read(url.as_str()).unwrap(), url);
            }
        }
    }

    /// A mapped address is the v4 one, and one that is written in a URL is what it is when a name resolves to it.
    #[test]
    fn an_address_is_the_same_however_it_comes(bits in any::<u32>(), high in any::<u128>()) {
        let policy = policy(&["10.0.0.0/8"], &[]);
        let v4 = std::net::Ipv4Addr::from_bits(bits);
        let check = |address: IpAddr| policy.check_address(None, SocketAddr::new(address, 80)).is_ok();
        prop_assert_eq!(check(v4.into()), check(v4.to_ipv6_mapped().into()));
        prop_assert_eq!(check(v4.into()), policy.read(&format!("http://{v4}/")).is_ok());
        let v6 = std::net::Ipv6Addr::from_bits(high);
        prop_assert_eq!(check(v6.into()), policy.read(&format!("http://[{v6}]/")).is_ok());
    }
}
