//! The target policy, spelling by spelling.

use super::*;

fn strict() -> TargetPolicy {
    TargetPolicy::default()
}

#[test]
fn public_https_targets_are_kept_normalised() {
    let url = strict().check(" HTTPS://Example.COM:443/a/../b?c=d#e ").unwrap();
    assert_eq!(url.as_str(), "https://example.com/b?c=d");
    assert!(strict().check("https://1.1.1.1/").is_ok());
    assert!(strict().check("https://[2606:4700::1111]/").is_ok());
}

#[test]
fn every_spelling_of_the_sender_itself_is_refused() {
    let policy = TargetPolicy { allow_http: true, ..strict() };
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "0",
        "localhost",
        "LOCALHOST.",
        "a.localhost",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "10.0.0.1",
        "172.31.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.1.1",
        "224.0.0.1",
        "255.255.255.255",
        "[fd12::1]",
        "[fe80::1]",
        "[ff02::1]",
        "[2001:db8::1]",
        "[64:ff9b:1::1]",
        "198.18.0.1",
        "%31%32%37.0.0.1",
        "\u{ff11}27.0.0.1",
    ] {
        assert!(policy.check(&format!("http://{host}/")).is_err(), "{host}");
    }
}

#[test]
fn an_allowed_network_opens_everything_but_metadata() {
    let everything = ["0.0.0.0/0", "::/0"].map(|text| text.parse().unwrap()).to_vec();
    let policy = TargetPolicy { allow_http: true, allow_networks: everything };
    assert!(policy.check("http://127.0.0.1:8080/").is_ok());
    assert!(policy.check("http://localhost:8080/").is_ok());
    assert!(policy.check("http://[::1]/").is_ok());
    for host in [
        "169.254.169.254",
        "[::ffff:169.254.169.254]",
        "[fd00:ec2::254]",
        "metadata.google.internal",
        "100.100.100.200",
    ] {
        assert!(policy.check(&format!("http://{host}/")).is_err(), "{host}");
    }
}

#[test]
fn other_shapes_are_refused_with_their_reason() {
    let refusal = |text: &str| strict().check(text).unwrap_err();
    assert_eq!(refusal("http://example.com/"), Refusal::Scheme("http".into()));
    assert_eq!(refusal("ftp://example.com/"), Refusal::Scheme("ftp".into()));
    assert_eq!(refusal("https://user:secret@example.com/"), Refusal::Credentials);
    assert!(matches!(refusal("example.com"), Refusal::NotUrl(_)));
    assert_eq!(refusal(&format!("https://example.com/{}", "a".repeat(2_048))), Refusal::TooLong);
}
