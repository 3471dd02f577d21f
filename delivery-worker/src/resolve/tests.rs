//! The resolver against a name server on loopback that does what hostile and broken ones do.

use futures_util::future::join_all;
use target::{AllowList, OwnAddresses, TargetRules};
use testkit::dns::{Family, NameServer, Reply};
use url::Url;

use super::*;
use crate::testing;

fn shown(found: Result<Vec<SocketAddr>, ResolveError>) -> Vec<String> {
    found.unwrap().iter().map(SocketAddr::to_string).collect()
}

#[tokio::test]
async fn a_name_is_asked_for_once_and_kept() {
    let names = NameServer::start().unwrap();
    names.answers("hooks.example", Reply::addresses(&["1.1.1.1", "1.1.1.2"]).ttl(60));
    let resolver = testing::resolver_at(&names, false, &[]);
    let found = join_all((0..50).map(|_| resolver.resolve("hooks.example", 443))).await;
    for found in found {
        assert_eq!(shown(found), ["1.1.1.1:443", "1.1.1.2:443"]);
    }
    assert_eq!(shown(resolver.resolve("hooks.example", 8443).await), ["1.1.1.1:8443", "1.1.1.2:8443"]);
    assert_eq!(names.asked("hooks.example", Family::V4), 1, "fifty at once and one later ask once");
}

#[tokio::test]
async fn a_dot_at_the_end_and_capitals_are_the_same_name_elsewhere() {
    let names = NameServer::start().unwrap();
    names.answers("hooks.example", Reply::addresses(&["1.1.1.1"]));
    let resolver = testing::resolver_at(&names, false, &[]);
    for spelling in ["hooks.example.", "HOOKS.Example"] {
        assert_eq!(shown(resolver.resolve(spelling, 443).await), ["1.1.1.1:443"], "{spelling}");
    }
    for literal in ["1.1.1.1", "16843009", "[::ffff:1.1.1.1]"] {
        assert_eq!(resolver.resolve(literal, 443).await.unwrap().len(), 1, "{literal} asks nobody");
    }
}

#[tokio::test]
async fn of_mixed_answers_only_what_may_be_called_is_left() {
    let names = NameServer::start().unwrap();
    names.answers("mixed.example", Reply::addresses(&["10.0.0.1", "1.1.1.1", "169.254.169.254", "::1", "fd12::1"]));
    let resolver = testing::resolver_at(&names, false, &[]);
    assert_eq!(shown(resolver.resolve("mixed.example", 443).await), ["1.1.1.1:443"]);
}

#[tokio::test]
async fn an_alias_that_leads_inside_is_refused() {
    let names = NameServer::start().unwrap();
    names.answers("outside.example", Reply::alias("inside.corp.example"));
    names.answers("inside.corp.example", Reply::addresses(&["10.0.0.1"]));
    let policy = |hosts: &[&str]| {
        let hosts = hosts.iter().map(|host| host.parse().unwrap()).collect();
        TargetPolicy::new(TargetRules::default(), AllowList { networks: Vec::new(), hosts })
    };
    for hosts in [&[][..], &["corp.example"]] {
        let resolver = Resolver::new(policy(hosts), &[names.address()]);
        let refused = resolver.resolve("outside.example", 443).await;
        assert!(matches!(refused, Err(ResolveError::RefusedNow { .. })), "{hosts:?}: {refused:?}");
    }
    let resolver = Resolver::new(policy(&["corp.example"]), &[names.address()]);
    assert_eq!(shown(resolver.resolve("inside.corp.example", 443).await), ["10.0.0.1:443"], "by its own name it may");
}

/// The name was public when somebody looked, and is not when it is dialled.
#[tokio::test]
async fn a_name_that_turns_inside_between_two_looks_is_refused_the_second_time() {
    let names = NameServer::start().unwrap();
    let (public, inside) = (Reply::addresses(&["1.1.1.1"]), Reply::addresses(&["127.0.0.1"]));
    names.script("rebinds.example", [public, inside]);
    let first = testing::resolver_at(&names, false, &[]);
    assert_eq!(shown(first.resolve("rebinds.example", 443).await), ["1.1.1.1:443"]);
    assert_eq!(shown(first.resolve("rebinds.example", 443).await), ["1.1.1.1:443"], "what is kept was judged");
    let later = testing::resolver_at(&names, false, &[]);
    let refused = later.resolve("rebinds.example", 443).await;
    assert!(matches!(refused, Err(ResolveError::RefusedNow { .. })), "{refused:?}");
}

#[tokio::test]
async fn of_a_thousand_addresses_eight_are_tried() {
    let names = NameServer::start().unwrap();
    names.answers("many.example", Reply::many(1_000).ttl(60));
    let found = testing::resolver_at(&names, false, &[]).resolve("many.example", 443).await.unwrap();
    assert_eq!(found.len(), DIALLED);
}

#[tokio::test]
async fn what_is_wrong_with_a_name_is_told_apart() {
    let names = NameServer::start().unwrap();
    names.answers("empty.example", Reply::addresses(&[]));
    names.answers("fails.example", Reply::failure());
    let resolver = testing::resolver_at(&names, false, &[]);
    let why = async |name: &str| match resolver.resolve(name, 443).await {
        Err(ResolveError::Unresolved { error, .. }) => error,
        other => panic!("{name}: {other:?}"),
    };
    assert_eq!(why("nowhere.example").await, LookupError::NoSuchName);
    assert_eq!(why("empty.example").await, LookupError::NoAddress);
    let failed = why("fails.example").await;
    assert!(matches!(&failed, LookupError::Unanswered(text) if text.contains("Server Failure")), "{failed}");
    for impossible in [format!("{}.example", "a".repeat(64)), "a..example".to_owned()] {
        assert_eq!(why(&impossible).await, LookupError::NoSuchName, "{impossible}");
    }
}

/// A name whose server says nothing costs its own domain places; everybody else's names are resolved meanwhile.
#[tokio::test]
async fn silent_names_starve_nobody_and_take_no_thread() {
    let names = NameServer::start().unwrap();
    names.answers("*.silent.example", Reply::silent());
    names.answers("healthy.test", Reply::addresses(&["1.1.1.1"]));
    let resolver = testing::resolver_at(&names, false, &[]);
    // Of runtimes; fakes of other tests have others.
    let threads = || {
        let names = std::fs::read_dir("/proc/self/task")
            .unwrap()
            .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
        names.filter(|name| name.starts_with("tokio")).count()
    };
    let before = threads();
    let silent: Vec<String> = (0..400).map(|number| format!("{number}.silent.example")).collect();
    let silent = join_all(silent.iter().map(|name| resolver.resolve(name, 443)));
    let healthy = async {
        let found = resolver.resolve("healthy.test", 443).await;
        (shown(found), threads())
    };
    tokio::pin!(silent, healthy);
    tokio::select! {
        biased;
        _ = &mut silent => panic!("the silent ones were answered first"),
        (found, during) = &mut healthy => {
            assert_eq!(found, ["1.1.1.1:443"]);
            assert!(during <= before + 8, "{before} threads, then {during}: other tests run beside this one");
        }
    }
    for unanswered in silent.await {
        assert!(matches!(unanswered, Err(ResolveError::Unresolved { error: LookupError::Unanswered(_), .. })));
    }
}

/// Some name servers say nothing to questions about a family that they do not know.
#[tokio::test]
async fn a_family_that_nobody_answers_for_costs_the_other_nothing() {
    let names = NameServer::start().unwrap();
    names.answers("four.example", Reply::addresses(&["1.1.1.1"]).silent_about(Family::V6));
    names.answers("six.example", Reply::addresses(&["2606:4700::1111"]).silent_about(Family::V4));
    let resolver = testing::resolver_at(&names, false, &[]);
    assert_eq!(shown(resolver.resolve("four.example", 443).await), ["1.1.1.1:443"]);
    assert_eq!(shown(resolver.resolve("six.example", 443).await), ["[2606:4700::1111]:443"]);
}

#[tokio::test]
async fn brokers_known_by_name_are_refused_where_another_name_leads_to_them() {
    let names = NameServer::start().unwrap();
    names.answers("kafka.example", Reply::addresses(&["127.0.0.1"]));
    names.answers("hooks.example", Reply::addresses(&["127.0.0.1"]));
    let own = OwnAddresses::new(vec!["127.0.0.1:8081".parse().unwrap()], "kafka.example:9092");
    let networks = vec!["127.0.0.0/8".parse().unwrap()];
    let policy =
        TargetPolicy::new(TargetRules { own, ..TargetRules::default() }, AllowList { networks, hosts: vec![] });
    let resolver = Resolver::new(policy, &[names.address()]);
    assert_eq!(shown(resolver.resolve("hooks.example", 443).await), ["127.0.0.1:443"]);
    for port in [9092, 8081] {
        let refused = resolver.resolve("hooks.example", port).await;
        let is_own = matches!(&refused, Err(ResolveError::RefusedNow { refused: TargetRefused::Own(_), .. }));
        assert!(is_own, "{port}: {refused:?}");
    }
}

/// The corpus of the rules themselves, through the door of the delivery worker: as it is written, and as a name server's word.
#[tokio::test]
async fn no_spelling_of_an_inner_address_is_dialled() {
    let names = NameServer::start().unwrap();
    let resolver = testing::resolver_at(&names, false, &[]);
    let corpus = include_str!("../../../crates/target/tests/corpus.txt");
    let rows = corpus.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    for (number, line) in rows.enumerate() {
        let cells: Vec<&str> = line.split_whitespace().collect();
        let [spelling, address, opened] = cells[..] else { panic!("three columns: {line}") };
        if address == "-" {
            let url = Url::parse(&format!("https://{spelling}/")).unwrap();
            let refused = resolver.resolve(url.host_str().unwrap(), 443).await;
            let is_refused = matches!(refused, Err(ResolveError::Refused(_)));
            assert_eq!(is_refused, opened != "public", "{spelling}: {refused:?}");
            continue;
        }
        let literal = resolver.resolve(spelling, 443).await;
        let name = format!("row-{number}.example");
        names.answers(&name, Reply::addresses(&[address]));
        let resolved = resolver.resolve(&name, 443).await;
        if opened == "public" {
            assert!(literal.is_ok() && resolved.is_ok(), "{spelling}: {literal:?}, {resolved:?}");
        } else {
            assert!(matches!(literal, Err(ResolveError::Refused(_))), "{spelling} as it is written: {literal:?}");
            assert!(matches!(resolved, Err(ResolveError::RefusedNow { .. })), "{spelling} resolved: {resolved:?}");
        }
    }
}
