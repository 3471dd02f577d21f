//! The client against a registry on loopback: what it asks, what it makes of answers, and that it shows itself.

use std::time::Duration;

use schema_registry::{RegistryAnswer, RegistryClient, RegistryCredentials, RegistrySettings, TrustedRoots};
use sources::schema::{CompiledSchema, RegisteredSchema, SchemaId, SchemaKind};
use testkit::StubRegistry;
use testkit::endpoint::{Flaw, TestAuthority};
use testkit::registry::RegistryFault;
use uuid::Uuid;

const AVRO: &str = r#"{"type":"record","name":"shop.Order","fields":[{"name":"line","type":"shop.Line"}]}"#;
const LINE: &str = r#"{"type":"record","name":"shop.Line","fields":[{"name":"price","type":"shop.Price"}]}"#;
const PRICE: &str = r#"{"type":"record","name":"shop.Price","fields":[{"name":"cents","type":"long"}]}"#;

fn settings(urls: &[String]) -> RegistrySettings {
    RegistrySettings { urls: urls.to_vec(), credentials: None, ca_pem: None, timeout: Duration::from_secs(30) }
}

fn client_with(settings: &RegistrySettings) -> RegistryClient {
    RegistryClient::new(settings, &TrustedRoots::load()).unwrap()
}

fn client(registry: &StubRegistry) -> RegistryClient {
    client_with(&settings(&[registry.url()]))
}

fn found(answer: RegistryAnswer<RegisteredSchema>) -> RegisteredSchema {
    let RegistryAnswer::Found(found) = answer else { panic!("{answer:?}") };
    found
}

fn why(answer: RegistryAnswer<RegisteredSchema>) -> String {
    let RegistryAnswer::Unavailable(why) = answer else { panic!("{answer:?}") };
    why
}

#[tokio::test]
async fn a_schema_is_found_by_id_and_guid_with_what_it_refers_to_at_any_depth() {
    let registry = StubRegistry::start().unwrap();
    registry.schema_with(7, "AVRO", AVRO, &[("shop.Line", "shop/line", 2), ("shop.Price", "price", 1)]);
    registry.version("shop/line", 2, "AVRO", LINE, &[("shop.Price", "price", 1)]);
    registry.version("price", 1, "AVRO", PRICE, &[]);
    let guid = Uuid::from_u128(0xabc);
    registry.guid(&guid.to_string(), 7);
    let client = client(&registry);
    for id in [SchemaId::Number(7), SchemaId::Guid(guid)] {
        let schema = found(client.schema(id).await);
        let names: Vec<&str> = schema.references.iter().map(|it| it.name.as_str()).collect();
        assert_eq!((schema.kind, names), (SchemaKind::Avro, vec!["shop.Price", "shop.Line"]));
        CompiledSchema::compile(&schema, None).unwrap();
    }
    assert_eq!(registry.asked("/subjects/price/versions/1"), 2, "once each time");
}

#[tokio::test]
async fn a_schema_that_is_not_there_is_not_found_and_one_of_another_type_is_unusable() {
    let registry = StubRegistry::start().unwrap();
    registry.schema(8, "XML", "<a/>");
    let client = client(&registry);
    assert!(matches!(client.schema(SchemaId::Number(7)).await, RegistryAnswer::NotFound));
    assert!(matches!(client.schema(SchemaId::Guid(Uuid::nil())).await, RegistryAnswer::NotFound));
    assert!(matches!(client.schema(SchemaId::Number(8)).await, RegistryAnswer::Unusable(_)));
}

#[tokio::test]
async fn a_guid_towards_a_registry_without_any_is_unusable_once_it_answers_otherwise() {
    let registry = StubRegistry::start().unwrap();
    registry.without_guids();
    let (client, guid) = (client(&registry), SchemaId::Guid(Uuid::nil()));
    let answer = client.schema(guid).await;
    let RegistryAnswer::Unusable(told) = answer else { panic!("{answer:?}") };
    assert_eq!(told, "the registry answers, and has no schemas by GUID");
    registry.fails(Some(RegistryFault::WrongRoute));
    let told = why(client.schema(guid).await);
    assert!(told.contains("is the address right?"), "{told}");
}

#[tokio::test]
async fn what_a_schema_refers_to_and_cannot_be_read_is_waited_for() {
    let registry = StubRegistry::start().unwrap();
    registry.schema_with(7, "AVRO", AVRO, &[("shop.Line", "line", 2)]);
    let why = why(client(&registry).schema(SchemaId::Number(7)).await);
    assert!(why.contains("/subjects/line/versions/2 answered 404"), "{why}");
}

#[tokio::test]
async fn everything_else_is_no_answer_and_says_url_and_status() {
    let registry = StubRegistry::start().unwrap();
    registry.schema(7, "AVRO", PRICE);
    let client = client(&registry);
    let url = format!("GET {}/schemas/ids/7 ", registry.url());
    for (fault, told) in [
        (RegistryFault::Status(500), "answered 500: as told"),
        (RegistryFault::Status(503), "answered 503: as told"),
        (RegistryFault::Status(429), "answered 429: as told"),
        (RegistryFault::Status(401), "answered 401: as told"),
        (RegistryFault::Status(403), "answered 403: as told"),
        (RegistryFault::Status(302), "answered 302: as told"),
        (RegistryFault::WrongRoute, "answered 404 without a registry's error code: is the address right?"),
        (RegistryFault::NoJson, "answered 200 with something that is no schema"),
    ] {
        registry.fails(Some(fault));
        assert_eq!(why(client.schema(SchemaId::Number(7)).await), format!("{url}{told}"));
    }
    registry.fails(Some(RegistryFault::Closes));
    assert!(why(client.schema(SchemaId::Number(7)).await).starts_with(&url));
    registry.fails(None);
    found(client.schema(SchemaId::Number(7)).await);
}

#[tokio::test]
async fn silence_ends_with_the_timeout_and_an_answer_without_end_is_not_read() {
    let registry = StubRegistry::start().unwrap();
    registry.fails(Some(RegistryFault::Silent));
    let hasty = RegistrySettings { timeout: Duration::from_millis(100), ..settings(&[registry.url()]) };
    let told = why(client_with(&hasty).schema(SchemaId::Number(7)).await);
    assert!(told.ends_with("gave no answer in time"), "{told}");
    registry.fails(Some(RegistryFault::Long(9 * 1024 * 1024)));
    assert!(matches!(client(&registry).schema(SchemaId::Number(7)).await, RegistryAnswer::Unusable(_)));
}

#[tokio::test]
async fn urls_are_tried_in_turn_and_the_one_that_answered_is_asked_first() {
    let (down, up) = (StubRegistry::start().unwrap(), StubRegistry::start().unwrap());
    down.fails(Some(RegistryFault::Status(503)));
    up.schema(7, "AVRO", PRICE);
    let client = client_with(&settings(&[down.url(), up.url()]));
    for _ in 0..3 {
        found(client.schema(SchemaId::Number(7)).await);
    }
    assert_eq!((down.asked("/schemas/ids/7"), up.asked("/schemas/ids/7")), (1, 3));
    up.fails(Some(RegistryFault::Status(500)));
    let told = why(client.schema(SchemaId::Number(7)).await);
    assert!(told.contains(&up.url()) && told.contains(&down.url()), "{told}");
    down.fails(None);
    let answer = client.schema(SchemaId::Number(7)).await;
    assert!(matches!(answer, RegistryAnswer::NotFound), "that is an answer too: {answer:?}");
}

#[tokio::test]
async fn it_shows_its_credentials() {
    let registry = StubRegistry::start().unwrap();
    registry.schema(7, "AVRO", PRICE);
    registry.expects("Bearer t0k3n");
    let told = why(client(&registry).schema(SchemaId::Number(7)).await);
    assert!(told.contains("answered 401"), "{told}");
    let credentials = Some(RegistryCredentials::Bearer("t0k3n".to_owned().into()));
    let client = client_with(&RegistrySettings { credentials, ..settings(&[registry.url()]) });
    found(client.schema(SchemaId::Number(7)).await);
    assert!(!format!("{client:?}").contains("t0k3n"));
}

#[tokio::test]
async fn only_its_own_certificates_are_trusted_where_it_names_some() {
    let authority = TestAuthority::new().unwrap();
    let secure = authority.secure(&["http/1.1"], Flaw::None).unwrap();
    let registry = StubRegistry::start_secure(&secure).unwrap();
    registry.schema(7, "AVRO", PRICE);
    let told = why(client(&registry).schema(SchemaId::Number(7)).await);
    assert!(told.contains("did not connect"), "{told}");
    let ca_pem = Some(authority.pem());
    let trusting = RegistrySettings { ca_pem, ..settings(&[registry.url()]) };
    found(client_with(&trusting).schema(SchemaId::Number(7)).await);
    for wrong in ["", "no PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let wrong = RegistrySettings { ca_pem: Some(wrong.to_owned()), ..settings(&[registry.url()]) };
        assert!(RegistryClient::new(&wrong, &TrustedRoots::load()).is_err());
    }
}

#[tokio::test]
async fn it_can_be_reached_or_says_why_not() {
    let registry = StubRegistry::start().unwrap();
    registry.version("a", 1, "AVRO", PRICE, &[]);
    registry.version("b", 1, "AVRO", PRICE, &[]);
    assert_eq!(client(&registry).reach().await.unwrap().subjects, 2);
    registry.fails(Some(RegistryFault::WrongRoute));
    let told = client(&registry).reach().await.unwrap_err();
    assert!(told.contains("/subjects answered 404"), "{told}");
    assert!(RegistryClient::new(&settings(&[]), &TrustedRoots::load()).is_err());
}
