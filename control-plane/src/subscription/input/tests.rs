//! Reading is total: whatever JSON comes, it is an input or a problem.

use proptest::prelude::*;
use serde_json::json;

use serde_json::Map;

use super::read::FIELDS;
use super::*;
use ::target::TargetPolicy;

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 20, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::hash_map("[a-z_]{1,8}", inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// The corpus of the rules themselves, through the door of the management API.
#[test]
fn no_spelling_of_an_inner_address_is_taken_for_a_target() {
    let corpus = include_str!("../../../../crates/target/tests/corpus.txt");
    let rows = corpus.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    for line in rows {
        let cells: Vec<&str> = line.split_whitespace().collect();
        let [spelling, _address, opened] = cells[..] else { panic!("three columns: {line}") };
        let url = format!("https://{spelling}/");
        let target = Map::from_iter([("target".to_owned(), json!({ "type": "http", "url": url }))]);
        let auth = json!({ "type": "oauth2", "token_url": url, "client_id": "a", "client_secret": "b" });
        let auth = Map::from_iter([("auth".to_owned(), auth)]);
        for (door, input) in [("target", target), ("token endpoint", auth)] {
            let read = Input::read(input, &TargetPolicy::default());
            assert_eq!(read.is_ok(), opened == "public", "{spelling} as {door}: {read:?}");
        }
    }
}

proptest! {
    #[test]
    fn any_field_is_read_or_refused_with_its_name(
        field in proptest::sample::select(FIELDS.to_vec()),
        value in value(),
    ) {
        let map = Map::from_iter([(field.to_owned(), value)]);
        if let Err(problem) = Input::read(map, &TargetPolicy::default()) {
            prop_assert!((400..500).contains(&problem.status), "{problem:?}");
        }
    }

    #[test]
    fn any_text_as_a_url_is_normalised_or_refused(text in ".{0,60}") {
        let target = json!({"target": {"type": "http", "url": text}});
        let Value::Object(map) = target else { unreachable!("an object") };
        if let Ok(input) = Input::read(map, &TargetPolicy::default()) {
            let url = input.target.unwrap().url;
            let again = TargetPolicy::default().read(&url).unwrap();
            prop_assert_eq!(again.as_str(), url.as_str());
        }
    }
}
