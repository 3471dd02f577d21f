//! The file of this repository, as an operator who reads it would check it.

use super::*;
use crate::player::compose::compose_file;

fn text() -> String {
    std::fs::read_to_string(compose_file()).unwrap()
}

fn all() -> Map<String, Value> {
    document(&text(), &BTreeMap::new()).unwrap()["services"].as_object().unwrap().clone()
}

#[test]
fn every_image_is_pinned_and_every_service_is_bounded() {
    let own = format!("hookbus:{}", env!("CARGO_PKG_VERSION"));
    for (name, service) in all() {
        let image = service["image"].as_str().unwrap();
        if image != own {
            let (tagged, digest) = image.split_once("@sha256:").unwrap_or_else(|| panic!("{name}: {image}"));
            assert!(digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()), "{name}: {image}");
            assert!(tagged.contains(':') && !tagged.contains("latest"), "{name}: {image}");
        }
        for field in ["mem_limit", "pids_limit", "restart", "logging", "security_opt"] {
            assert!(!service[field].is_null(), "{name} has no {field}");
        }
    }
}

#[test]
fn roles_start_behind_the_topics_and_are_asked_whether_they_are_ready() {
    let services = services(&text(), &BTreeMap::new()).unwrap();
    let at = |name: &str| services.iter().position(|service| service.name == name).unwrap();
    for role in ["control", "gateway", "fanout", "delivery", "retry"] {
        let service = &services[at(role)];
        assert_eq!(service.after["topics"], StartsAfter::Ended, "{role}");
        assert_eq!(service.health.as_ref().unwrap().command, ["/hookbus", "ready"], "{role}");
        assert!(service.grace_s > 30 && service.hostname != *role, "{role}: the slot is named");
        assert!(at("keys") < at("topics") && at("topics") < at(role));
        for name in service.environment.keys() {
            let is_secret = ["_KEY", "_KEYS", "_PASSWORD"].iter().any(|end| name.ends_with(end));
            assert!(!is_secret, "{role}: {name} is no file");
        }
    }
    assert!(services.iter().all(|service| service.name != "grafana"), "it is of a profile");
}

#[test]
fn each_variable_is_explained_with_the_value_that_it_has_without() {
    let mut used = BTreeMap::new();
    let text = text();
    for named in text.split("${").skip(1) {
        let (name, default) = named.split('}').next().unwrap().split_once(":-").expect("every variable has a default");
        assert_eq!(used.insert(name, default).unwrap_or(default), default, "{name} has two defaults");
    }
    let example = std::fs::read_to_string(compose_file().with_file_name(".env.example")).unwrap();
    let explained: BTreeMap<&str, &str> =
        example.lines().filter_map(|line| line.strip_prefix("#HOOKBUS")?.split_once('=')).collect();
    let used = used.into_iter().map(|(name, default)| (name.strip_prefix("HOOKBUS").unwrap(), default));
    assert_eq!(explained, used.collect());
}

#[test]
fn merges_and_variables_are_resolved_and_what_nobody_plays_is_said() {
    let file =
        |more: &str| format!("x-a: &a {{ image: 'hookbus:1', command: [a] }}\nservices:\n  one:\n    <<: *a\n{more}");
    let variables = BTreeMap::from([("SET".to_owned(), "one".to_owned())]);
    let read = |more: &str| services(&file(more), &variables);
    let [one] = &read("    command: ['${SET}', '${UNSET:-two}']\n    ports: ['127.0.0.1:1:80']\n").unwrap()[..] else {
        panic!("one service")
    };
    assert_eq!(
        (one.command.as_slice(), one.ports.as_slice()),
        (["one".to_owned(), "two".to_owned()].as_slice(), [80].as_slice())
    );
    for refused in [
        "    command: ['${UNSET}']\n",
        "    volumes: ['./x:/y']\n",
        "    entrypoint: [sh]\n",
        "    depends_on: { other: { condition: service_healthy } }\n",
        "    depends_on: { one: { condition: service_healthy } }\n",
        "    healthcheck: { test: [CMD-SHELL, x] }\n",
        "    stop_grace_period: 1m\n",
    ] {
        assert!(read(refused).is_err(), "{refused}");
    }
}
