//! Loading as a user sees it: which value wins, what is refused and with which words.

use std::net::SocketAddr;
use std::time::Duration;

use schemas::topics::TopicSettings;
use secrecy::ExposeSecret as _;

use super::*;

const REFERENCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");

fn from(file: &str, env: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
    over(&Preset::default(), file, env)
}

fn over(preset: &Preset, file: &str, env: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hookbus.toml");
    std::fs::write(&path, file).unwrap();
    let host = [("HOSTNAME", "host")];
    let env = host.iter().chain(env).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    load_over(preset, Some(&path), env)
}

fn problems(file: &str, env: &[(&str, &str)]) -> Vec<String> {
    let error = from(file, env).unwrap_err();
    let ConfigError::Invalid(problems) = error else { panic!("{error}") };
    problems.iter().map(|problem| format!("{}: {}", problem.key, problem.message)).collect()
}

fn line<'a>(shown: &'a str, key: &str) -> &'a str {
    let line = shown.lines().find(|line| line.starts_with(&format!("{key} = ")));
    line.unwrap_or_else(|| panic!("{key} is not in {shown}"))
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn defaults_are_those_of_the_design() {
    let config = Config::for_tests();
    assert_eq!(config.kafka.session_timeout, Duration::from_secs(8));
    assert_eq!(config.kafka.transactional_id(Role::Fanout), "hookbus-fanout-test");
    assert_eq!(config.kafka.group(Role::Delivery), "hookbus.delivery");
    assert_eq!(config.gateway.payload_limit, 699_050);
    assert_eq!(config.gateway.rate_per_second, None);
    assert_eq!(config.fanout.dedup_window, Duration::from_secs(24 * 3_600));
    assert_eq!(config.delivery.schedule, "standard");
    assert!(config.delivery.allow_networks.is_empty());
    assert_eq!(config.log.format, LogFormat::Json);
    assert!(config.control.admin_keys.is_empty());
}

#[test]
fn default_topics_are_those_of_schemas() {
    let configured = Config::for_tests().topics;
    assert_eq!(configured.specs(), TopicSettings::default().specs());
    assert_eq!(configured.max_message_bytes(), TopicSettings::default().max_message_bytes());
}

#[test]
fn every_topic_setting_reaches_its_topic() {
    let file = "[topics.partitions]\nevents = 3\ndead_letters = 5\nretry = 2\n[topics.retention_hours]\naudit = 1\n\
                [retry]\ntiers = [\"1s\", \"5s\"]";
    let specs = from(file, &[]).unwrap().config.topics.specs();
    let spec = |name: &str| specs.iter().find(|spec| &*spec.name == name).unwrap();
    assert_eq!(spec("hookbus.events").partitions, 3);
    assert_eq!(spec("hookbus.dead-letters").partitions, 5);
    assert_eq!(spec("hookbus.retry.1s").partitions, 2);
    assert_eq!(spec("hookbus.audit").config["retention.ms"], "3600000");
    assert!(!specs.iter().any(|spec| spec.name.ends_with("12h")));
}

#[test]
fn environment_over_file_over_preset_over_default() {
    let preset = Preset::new("dev")
        .with("gateway.listen", "127.0.0.1:1")
        .with("control.listen", "127.0.0.1:2")
        .with("admin.listen", "127.0.0.1:3");
    let file = "[gateway]\nlisten = \"127.0.0.1:11\"\n[control]\nlisten = \"127.0.0.1:12\"\n";
    let loaded = over(&preset, file, &[("HOOKBUS__GATEWAY__LISTEN", "127.0.0.1:21")]).unwrap();
    assert_eq!(loaded.config.gateway.listen, address("127.0.0.1:21"));
    assert_eq!(loaded.config.control.listen, address("127.0.0.1:12"));
    assert_eq!(loaded.config.admin.listen, address("127.0.0.1:3"));
    let shown = loaded.show();
    assert!(shown.contains("listen = \"127.0.0.1:21\""), "{shown}");
    assert!(shown.contains("# env HOOKBUS__GATEWAY__LISTEN"), "{shown}");
    assert!(shown.contains("hookbus.toml\n"), "{shown}");
    assert!(shown.contains("# preset dev"), "{shown}");
    assert!(line(&shown, "session_timeout_ms").ends_with("# default"), "{shown}");
    assert_eq!(line(&shown, "slot").split_whitespace().nth(2), Some("\"host\""));
}

#[test]
fn what_is_shown_is_toml_that_loads_again() {
    let file = "[kafka.properties]\n\"security.protocol\" = \"SASL_SSL\"\n[retry]\ntiers = [\"1s\", \"5s\"]\n\
                [delivery]\nallow_networks = [\"10.0.0.0/8\", \"fd00::/8\"]\nallow_http = true\n";
    let first = from(file, &[]).unwrap();
    let again = from(&first.show(), &[]).unwrap();
    assert_eq!(again.config.delivery, first.config.delivery);
    assert_eq!(again.config.kafka, first.config.kafka);
    assert_eq!(again.config.topics, first.config.topics);
}

#[test]
fn unknown_keys_name_the_nearest_known_one() {
    let found = problems("[gateway]\nlissten = \"127.0.0.1:1\"\n[kafak]\nbrokers = \"a:1\"\n", &[]);
    assert_eq!(
        found,
        [
            "gateway.lissten: unknown key, the nearest known one is gateway.listen (HOOKBUS__GATEWAY__LISTEN)",
            "kafak.brokers: unknown key, the nearest known one is kafka.brokers (HOOKBUS__KAFKA__BROKERS)",
        ]
    );
    let error = from("", &[("HOOKBUS__KAFKA__BROKER", "a:1")]).unwrap_err().to_string();
    assert_eq!(
        error,
        "configuration is not valid:\n  kafka.broker: unknown key, the nearest known one is kafka.brokers \
         (HOOKBUS__KAFKA__BROKERS) (env HOOKBUS__KAFKA__BROKER)"
    );
}

#[test]
fn a_section_is_no_key_and_a_key_no_section() {
    assert_eq!(problems("kafka = 5\n", &[]).len(), 1);
    assert_eq!(problems("[gateway.listen]\nport = 1\n", &[]).len(), 1);
    assert_eq!(problems("", &[("HOOKBUS__KAFKA", "x"), ("HOOKBUS__GATEWAY__LISTEN__PORT", "1")]).len(), 2);
}

#[test]
fn single_underscores_are_noticed_where_they_are_surely_ours() {
    let found = problems("", &[("HOOKBUS_KAFKA_BROKERS", "a:1")]);
    assert_eq!(found, ["kafka.brokers: sections are separated by two underscores, this is HOOKBUS__KAFKA__BROKERS"]);
    let kubernetes = [("HOOKBUS_GATEWAY_SERVICE_HOST", "10.0.0.1"), ("HOOKBUS_CONFIG", "x.toml")];
    assert!(from("", &kubernetes).is_ok());
}

#[test]
fn violations_name_key_value_and_range_all_at_once() {
    let file = "[gateway]\nmax_connections = 0\nlisten = \"localhost\"\n[delivery]\nallow_http = \"yes\"\n\
                schedule = \"slow\"\n[retry]\ntiers = \"5s\"\n";
    let found = problems(file, &[("HOOKBUS__FANOUT__DEDUP_IDS", "many")]);
    assert_eq!(
        found,
        [
            "delivery.allow_http: \"yes\" is not allowed, expected true or false",
            "delivery.schedule: \"slow\" is not allowed, expected one of standard, hook0, quick",
            "fanout.dedup_ids: \"many\" is not a whole number from 1000 to 1000000000 (invalid digit found in string)",
            "gateway.listen: \"localhost\" is not allowed, expected an address with port, such as 0.0.0.0:8080 or [::]:8080",
            "gateway.max_connections: \"0\" is not allowed, expected a whole number from 1 to 1000000",
            "retry.tiers: \"5s\" is not allowed, expected a list of texts",
        ]
    );
}

#[test]
fn relations_between_keys_are_checked() {
    let file = "[gateway]\nmessage_timeout_ms = 5000\nrequest_limit_bytes = 2048\n[kafka]\nhandover_wait_ms = 8000\n\
                [topics]\nreplication_factor = 1\nmin_insync_replicas = 2\n[delivery]\nconnect_timeout_ms = 20000\n";
    let found = problems(file, &[]);
    assert_eq!(
        found,
        [
            "kafka.handover_wait_ms: 8000 is not allowed, expected less than kafka.session_timeout_ms (8000)",
            "topics.min_insync_replicas: 2 is not allowed, expected at most topics.replication_factor (1)",
            "gateway.message_timeout_ms: 5000 is not allowed, expected less than gateway.request_timeout_ms (5000)",
            "topics.payload_limit_bytes: 699050 is not allowed, expected at most gateway.request_limit_bytes (2048)",
            "delivery.connect_timeout_ms: 20000 is not allowed, expected at most delivery.attempt_timeout_ms (15000)",
        ]
    );
}

#[test]
fn texts_with_a_form_are_checked() {
    let env = [
        ("HOOKBUS__KAFKA__BROKERS", "localhost"),
        ("HOOKBUS__KAFKA__SLOT", "this-slot-is-longer-than-fits"),
        ("HOOKBUS__TOPICS__PREFIX", "no spaces"),
        ("HOOKBUS__DELIVERY__ALLOW_NETWORKS", "10.0.0.0/8, 10.0.0.0/40"),
        ("HOOKBUS__RETRY__TIERS", "20s 5s"),
        ("HOOKBUS__CONTROL__ORGANIZATION_ID", "42"),
        ("HOOKBUS__CONTROL__ADMIN_KEY", "short"),
        ("HOOKBUS__LOG__LEVEL", "kafka=loud"),
    ];
    let found = problems("", &env);
    let keys: Vec<&str> = found.iter().map(|problem| problem.split(':').next().unwrap()).collect();
    assert_eq!(
        keys,
        [
            "kafka.brokers",
            "kafka.slot",
            "topics.prefix",
            "delivery.allow_networks",
            "retry.tiers",
            "control.admin_key",
            "control.organization_id",
            "log.level"
        ]
    );
    assert!(!found.join(" ").contains("short"), "a refused secret is not shown: {found:?}");
}

#[test]
fn where_is_passed_on_to_is_a_place_and_who_is_believed_are_networks() {
    let wrong = [
        ("HOOKBUS__GATEWAY__TRUSTED_PROXIES", "10.0.0.0/8, ingress"),
        ("HOOKBUS__GATEWAY__FORWARD_TO", "control:8081"),
        ("HOOKBUS__CONTROL__TRUSTED_PROXIES", "10.0.0.1-9"),
    ];
    let found = problems("", &wrong);
    let keys: Vec<&str> = found.iter().map(|problem| problem.split(':').next().unwrap()).collect();
    assert_eq!(keys, ["gateway.trusted_proxies", "gateway.forward_to", "control.trusted_proxies"], "{found:?}");
    let right = [
        ("HOOKBUS__GATEWAY__TRUSTED_PROXIES", "10.0.0.0/8, fd00::/8"),
        ("HOOKBUS__GATEWAY__FORWARD_TO", "http://control:8081"),
    ];
    let config = from("", &right).unwrap().config;
    assert_eq!(format!("{:?}", config.gateway.forward.unwrap().to), "http://control:8081");
    assert_ne!(config.gateway.trusted_proxies, config.control.trusted_proxies);
    assert!(Config::for_tests().gateway.forward.is_none());
}

#[test]
fn tiers_must_be_readable_rising_and_in_range() {
    for bad in ["", "5s 5s", "5s 2s", "5", "50ms", "8d", "5s soon"] {
        let file =
            format!("[retry]\ntiers = [{}]\n", bad.split(' ').map(|t| format!("{t:?}")).collect::<Vec<_>>().join(","));
        assert_eq!(problems(&file, &[]).len(), 1, "{bad}");
    }
    let env = [("HOOKBUS__RETRY__TIERS", "1s,5s 2m")];
    let tiers = from("", &env).unwrap().config.retry.tiers;
    assert_eq!(tiers[2], ("2m".to_owned(), Duration::from_secs(120)));
    assert_eq!(tiers.len(), 3);
}

#[test]
fn librdkafka_properties_are_handed_on_and_their_secrets_masked() {
    let file = "[kafka.properties]\n\"security.protocol\" = \"SASL_SSL\"\n\"socket.keepalive.enable\" = true\n\
                \"sasl.password\" = \"from-file\"\nssl.ca.location = \"/ca.pem\"\n";
    let env = [("HOOKBUS__KAFKA__PROPERTIES__SASL_PASSWORD", "geheim")];
    let loaded = from(file, &env).unwrap();
    let properties: Vec<_> = loaded.config.kafka.properties.as_map().iter().map(|(n, v)| format!("{n}={v}")).collect();
    assert_eq!(
        properties,
        [
            "sasl.password=geheim",
            "security.protocol=SASL_SSL",
            "socket.keepalive.enable=true",
            "ssl.ca.location=/ca.pem"
        ]
    );
    let shown = loaded.show();
    assert!(shown.contains("properties.\"sasl.password\" = \"***\""), "{shown}");
    assert!(shown.contains("# env HOOKBUS__KAFKA__PROPERTIES__SASL_PASSWORD"), "{shown}");
    assert!(!shown.contains("geheim") && !shown.contains("from-file"));
    assert!(!format!("{loaded:?}").contains("from-file"));
}

#[test]
fn secrets_never_show() {
    let env = [
        ("HOOKBUS__CONTROL__ADMIN_KEY", "geheim-geheim-geheim"),
        ("HOOKBUS__SECURITY__LOOKUP_KEY", "auch-geheim"),
        ("HOOKBUS__KAFKA__PROPERTIES__SASL_PASSWORD", "geheim"),
    ];
    let loaded = from("[security]\nencryption_keys = [\"b:geheim2\", \"a:geheim1\"]\n", &env).unwrap();
    let keys = loaded.config.security.required().unwrap();
    assert_eq!(keys.encryption_keys.expose_secret(), "b:geheim2,a:geheim1");
    assert_eq!(loaded.config.gateway.admin_keys[0].expose_secret(), "geheim-geheim-geheim");
    for text in [loaded.show(), format!("{:?}", loaded.config), format!("{loaded:?}")] {
        assert!(!text.contains("geheim"), "{text}");
    }
    assert!(line(&loaded.show(), "admin_key").starts_with("admin_key = \"***\""));
}

#[test]
fn missing_keys_are_named_to_the_role_that_needs_them() {
    let error = Config::for_tests().security.required().unwrap_err().to_string();
    assert!(error.contains("security.encryption_keys: not set"), "{error}");
    assert!(error.contains("security.lookup_key: not set"), "{error}");
}

#[test]
fn an_empty_variable_counts_as_not_set() {
    let loaded = from("[kafka]\nbrokers = \"a:1\"\n", &[("HOOKBUS__KAFKA__BROKERS", "")]).unwrap();
    assert_eq!(loaded.config.kafka.brokers, "a:1");
    assert_eq!(problems("", &[("HOOKBUS__KAFKA__BROKER", "")]).len(), 1);
}

#[test]
fn broken_files_say_where_but_not_what() {
    let error = from("[control]\nadmin_key = \"geheim\n", &[]).unwrap_err().to_string();
    assert!(error.contains("is not TOML: line 2, column"), "{error}");
    assert!(!error.contains("geheim"), "{error}");
    let missing = load(Some(Path::new("/nowhere/hookbus.toml")), std::iter::empty()).unwrap_err();
    assert_eq!(missing.to_string(), "cannot read configuration file /nowhere/hookbus.toml");
}

#[test]
fn ids_follow_the_topic_prefix_and_always_fit() {
    let env = [("HOOKBUS__TOPICS__PREFIX", "team-a.staging."), ("HOSTNAME", "hookbus-delivery-7c9d5f6b8-abcde")];
    let kafka = from("", &env).unwrap().config.kafka;
    assert_eq!(kafka.group(Role::Retry), "team-a.staging.retry");
    for role in Role::ALL {
        let id = kafka.transactional_id(role);
        assert!(id.starts_with(&format!("team-a.staging-{role}-hookbu")) && id.len() <= 40, "{id}");
    }
}

#[test]
fn the_key_table_is_sound() {
    let mut paths: Vec<&str> = keys().map(|key| key.path).collect();
    paths.sort_unstable();
    paths.windows(2).for_each(|pair| assert_ne!(pair[0], pair[1]));
    for section in SECTIONS {
        for key in section.keys {
            assert!(key.path.starts_with(&format!("{}.", section.name)), "{}", key.path);
            assert!(!key.title.is_empty() && !key.title.ends_with('.'), "{}", key.path);
            let key::Kind::Integer(_, _, unit) = key.kind else { continue };
            let unit = match unit {
                key::Unit::Millis => "_ms",
                key::Unit::Bytes => "_bytes",
                key::Unit::Hours => "_hours",
                key::Unit::PerSecond => "_per_second",
                key::Unit::PerDay => "_per_day",
                key::Unit::Count => "",
            };
            let named = key.path.ends_with(unit) || key.path.contains(&format!("{unit}."));
            assert!(named, "{} does not end with its unit", key.path);
        }
    }
}

#[test]
fn the_committed_reference_is_in_step() {
    let committed = std::fs::read_to_string(REFERENCE).unwrap();
    assert!(
        committed == reference(),
        "docs/configuration.md is old: cargo test -p chassis -- --ignored write_the_reference"
    );
}

#[test]
#[ignore = "writes docs/configuration.md: run it after a change of the key table"]
fn write_the_reference() {
    std::fs::create_dir_all(Path::new(REFERENCE).parent().unwrap()).unwrap();
    std::fs::write(REFERENCE, reference()).unwrap();
}

/// A file with this content, kept as long as the folder.
fn secret_file(folder: &tempfile::TempDir, name: &str, content: &str) -> String {
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    path.display().to_string()
}

#[test]
fn a_secret_or_a_property_may_stand_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let key = secret_file(&folder, "admin", "geheim-geheim-geheim\n");
    let password = secret_file(&folder, "password", " pass word \r\n");
    let loaded = from(
        "",
        &[
            ("HOOKBUS__CONTROL__ADMIN_KEY_FILE", &key),
            ("HOOKBUS__KAFKA__PROPERTIES__SASL_PASSWORD_FILE", &password),
            // Empty is not set, as everywhere.
            ("HOOKBUS__SECURITY__LOOKUP_KEY_FILE", ""),
            // These two are no such names: the file is what is asked for.
            ("HOOKBUS__DELIVERY__CA_FILE", "/etc/own.pem"),
            ("HOOKBUS__KAFKA__PROPERTIES__SASL_OAUTHBEARER_ASSERTION_FILE", "/run/assertion"),
        ],
    )
    .unwrap();
    assert_eq!(loaded.config.control.admin_keys[0].expose_secret(), "geheim-geheim-geheim");
    assert_eq!(loaded.config.kafka.properties.as_map()["sasl.password"], " pass word ");
    assert_eq!(loaded.config.kafka.properties.as_map()["sasl.oauthbearer.assertion.file"], "/run/assertion");
    assert!(loaded.config.security.lookup_key.is_none());
    let shown = loaded.show();
    assert!(line(&shown, "admin_key").ends_with("# env HOOKBUS__CONTROL__ADMIN_KEY_FILE"), "{shown}");
    assert!(!shown.contains("geheim") && !shown.contains("pass word"), "{shown}");
}

#[test]
fn a_secrets_file_that_cannot_be_used_is_named_and_never_quoted() {
    let folder = tempfile::tempdir().unwrap();
    let (full, empty) = (secret_file(&folder, "full", "geheim"), secret_file(&folder, "empty", " \n"));
    let missing = folder.path().join("missing").display().to_string();
    let large = secret_file(&folder, "large", &"geheim".repeat(200_000));
    let found = problems(
        "",
        &[
            ("HOOKBUS__SECURITY__LOOKUP_KEY_FILE", &missing),
            ("HOOKBUS__SECURITY__ENCRYPTION_KEYS_FILE", &empty),
            ("HOOKBUS__CONTROL__ADMIN_KEY", "another-geheim-key"),
            ("HOOKBUS__CONTROL__ADMIN_KEY_FILE", &full),
            ("HOOKBUS__KAFKA__PROPERTIES__SASL_PASSWORD_FILE", &large),
            ("HOOKBUS__KAFKA__BROKERS_FILE", &full),
        ],
    );
    for expected in [
        format!("security.lookup_key: cannot read the file {missing}: No such file"),
        format!("security.encryption_keys: the file {empty} is empty"),
        "control.admin_key: HOOKBUS__CONTROL__ADMIN_KEY is set as well: take one away".to_owned(),
        format!("kafka.properties.sasl.password: the file {large} is larger than 1048576 bytes"),
        // Only secrets are worth a file of their own.
        "kafka.brokers_file: unknown key, the nearest known one is kafka.brokers".to_owned(),
    ] {
        assert!(found.iter().any(|problem| problem.starts_with(&expected)), "{expected} is not in {found:#?}");
    }
    assert_eq!(found.len(), 5, "{found:#?}");
    assert!(!found.concat().contains("geheim"), "{found:#?}");
}

#[test]
fn the_schema_knows_every_key_with_its_default() {
    let schema = schema();
    for key in keys() {
        let pointer: String = key.path.split('.').map(|step| format!("/properties/{step}")).collect();
        let found = schema.pointer(&pointer).unwrap_or_else(|| panic!("{} is not in the schema", key.path));
        assert!(found["type"].is_string() || found["type"].is_array(), "{}", key.path);
        let is_secret = matches!(key.kind, key::Kind::Secret);
        assert_eq!(found["writeOnly"] == true, is_secret, "{}", key.path);
        assert_eq!(found.get("default").is_none(), key.default.is_empty(), "{}", key.path);
    }
    assert_eq!(schema["properties"]["gateway"]["additionalProperties"], false);
    assert_eq!(schema["properties"]["topics"]["properties"]["partitions"]["properties"]["events"]["default"], 8);
    assert_eq!(schema["properties"]["retry"]["properties"]["tiers"]["default"][0], "5s");
}

#[test]
fn more_admin_keys_stand_beside_the_first_and_none_is_short() {
    let exposed =
        |keys: &[secrecy::SecretString]| keys.iter().map(|key| key.expose_secret().to_owned()).collect::<Vec<_>>();
    let env = [
        ("HOOKBUS__CONTROL__ADMIN_KEY", "geheim-geheim-geheim"),
        ("HOOKBUS__CONTROL__ADMIN_KEYS", "zweites-geheim-zwei, drittes-geheim-drei,"),
    ];
    let loaded = from("", &env).unwrap();
    let all = ["geheim-geheim-geheim", "zweites-geheim-zwei", "drittes-geheim-drei"];
    assert_eq!(exposed(&loaded.config.control.admin_keys), all);
    assert_eq!(exposed(&loaded.config.gateway.admin_keys), all);
    assert!(!loaded.show().contains("geheim"), "{}", loaded.show());
    let found = problems("[control]\nadmin_keys = [\"long-enough-to-be-one\", \"short\"]\n", &[]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("control.admin_keys") && !found[0].contains("short"), "{found:?}");
}

#[test]
fn plans_are_limits_by_name() {
    let env = [("HOOKBUS__CONTROL__PLANS", "free:applications=1;events_per_day=100,team:applications=10")];
    let plans = from("", &env).unwrap().config.control.plans;
    assert_eq!((plans["free"].applications, plans["free"].events_per_day), (Some(1), Some(100)));
    assert_eq!((plans["team"].applications, plans.len()), (Some(10), 2));
    for bad in ["free:cats=1", "free:applications=1,free:applications=2", "free"] {
        assert_eq!(problems("", &[("HOOKBUS__CONTROL__PLANS", bad)]).len(), 1, "{bad}");
    }
}
