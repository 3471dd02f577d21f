//! The scanner beside `serde_json`, which knows better: the same texts are JSON, and pointers lead to the same values.

use proptest::prelude::*;
use serde_json::Value;
use serde_json::value::RawValue;

use super::*;
use crate::pointer;

fn pointers(texts: &[&str]) -> Pointers {
    let mut pointers = Pointers::new();
    for text in texts {
        pointers.add(text, &pointer::steps(text).unwrap());
    }
    pointers
}

fn found<'j>(json: &'j str, texts: &[&str]) -> Result<Vec<Option<&'j str>>, ScanFault> {
    let places = scan(json, &pointers(texts))?;
    Ok(places.into_iter().map(|place| place.map(|place| json.get(place).unwrap())).collect())
}

#[test]
fn pointers_lead_to_slices() {
    let json = r#" {"a" : { "b/c":[1, {"d":"x\"y"} ,3e5 ] ,"":null}, "e~":{}, "n":-0.50E+2 } "#;
    let texts = ["/a/b~1c/1/d", "/a/b~1c/2", "/a/", "/e~0", "/n", "/a", "", "/a/b~1c/3", "/n/x", "/z"];
    let expected = [
        Some(r#""x\"y""#),
        Some("3e5"),
        Some("null"),
        Some("{}"),
        Some("-0.50E+2"),
        Some(r#"{ "b/c":[1, {"d":"x\"y"} ,3e5 ] ,"":null}"#),
        Some(json.trim()),
        None,
        None,
        None,
    ];
    assert_eq!(found(json, &texts).unwrap(), expected);
}

#[test]
fn names_are_compared_as_what_they_say() {
    assert_eq!(found(r#"{"\u0061":1}"#, &["/a"]).unwrap(), [Some("1")]);
    assert_eq!(found(r#"{"\ud800":1,"a":2}"#, &["/a"]).unwrap(), [Some("2")]);
}

#[test]
fn a_duplicate_key_under_a_pointer_is_told_and_one_elsewhere_is_not() {
    let fault = found(r#"{"a":{"b":1,"c":2,"b":3}}"#, &["/a/b"]).unwrap_err();
    assert_eq!((fault.at, &fault.what), (18, &ScanFaultKind::Twice("b".to_owned())));
    assert!(found(r#"{"a":1,"\u0061":2}"#, &["/a"]).is_err());
    assert_eq!(found(r#"{"a":{"b":1,"c":2,"c":3}}"#, &["/a/b"]).unwrap(), [Some("1")]);
}

#[test]
fn ten_thousand_levels_are_told_without_a_stack() {
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
        let deep = |levels: usize| format!("{}1{}", open.repeat(levels), close.repeat(levels));
        for texts in [[].as_slice(), &["/a/a/a"], &["/0/0"]] {
            assert!(found(&deep(MAX_JSON_DEPTH), texts).is_ok());
            let fault = found(&deep(10_000), texts).unwrap_err();
            assert_eq!(fault.what, ScanFaultKind::TooDeep);
            assert_eq!(fault.at, MAX_JSON_DEPTH * open.len());
        }
    }
}

#[test]
fn what_means_something_in_a_string_is_seen_wherever_it_stands() {
    for at in 0..24 {
        let with = |byte: u8| {
            let mut bytes = [b'a'; 24];
            bytes[at] = byte;
            format!("[\"{}\",0]", String::from_utf8_lossy(&bytes))
        };
        for control in 0..0x20 {
            assert_eq!(found(&with(control), &["/1"]).unwrap_err().at, at + 2, "{control:#x}");
        }
        for byte in [0x20, 0x21, 0x23, 0x5b, 0x5d, 0x7f] {
            assert_eq!(found(&with(byte), &["/1"]).unwrap(), [Some("0")], "{byte:#x}");
        }
        assert_eq!(found(&with(b'"'), &["/1"]).unwrap_err().at, at + 3);
        assert!(found(&with(b'\\'), &["/1"]).is_err());
    }
}

#[test]
fn a_number_of_one_mebibyte_is_a_number() {
    let json = format!(r#"{{"n":{},"m":1}}"#, "7".repeat(1 << 20));
    assert_eq!(found(&json, &["/m", "/n"]).unwrap()[1].map(str::len), Some(1 << 20));
}

#[test]
fn a_lone_surrogate_is_no_text_where_it_is_asked_for() {
    let json = r#"{"a":"\ud800","b":"\ud83d\ude00"}"#;
    let places = found(json, &["/a", "/b"]).unwrap();
    assert!(scalar(places[0].unwrap()).unwrap_err().contains("no character"));
    assert_eq!(scalar(places[1].unwrap()).unwrap().as_deref(), Some("\u{1f600}"));
}

#[test]
fn what_is_no_json_is_told_with_its_place() {
    for (json, at) in [
        ("", 0),
        ("{", 1),
        ("[1,]", 3),
        (r#"{"a":1,}"#, 7),
        (r#"{"a" 1}"#, 5),
        ("{a:1}", 1),
        ("[1 2]", 3),
        ("01", 1),
        ("-", 1),
        ("1.", 2),
        ("1e", 2),
        (".5", 0),
        ("tru", 0),
        ("\"a\nb\"", 2),
        (r#""\x""#, 1),
        (r#""\u12g4""#, 1),
        (r#""abc"#, 4),
        ("1 1", 2),
        ("[1}", 2),
        (r#"{"a":1]"#, 6),
        ("nul", 0),
        ("\u{feff}1", 0),
    ] {
        for texts in [[].as_slice(), &["/a", "/0"]] {
            assert_eq!(found(json, texts).unwrap_err().at, at, "{json}");
        }
    }
}

/// JSON, with spaces and escapes in it, and sometimes broken by a byte.
fn json_text() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>()
            .prop_filter("JSON has no others", |number| number.is_finite())
            .prop_map(|number| format!("{number:e}")),
        ".{0,12}".prop_map(|text| serde_json::to_string(&text).unwrap()),
        Just(r#""\u0061\/\\""#.to_owned()),
    ];
    scalar.prop_recursive(5, 40, 5, |inner| {
        let name = prop_oneof![Just("a"), Just("b"), Just("\\u0061"), Just("c/d"), Just("0")];
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(|all| format!("[{}]", all.join(" , "))),
            proptest::collection::vec((name, inner), 0..4).prop_map(|all| {
                let members: Vec<String> = all.iter().map(|(name, value)| format!("\"{name}\" :{value}")).collect();
                format!("{{ {} }}", members.join(",\n"))
            }),
        ]
    })
}

const LOOKED_UP: [&str; 8] = ["/a", "/a/b", "/0", "/a/0/a", "/c~1d", "/b/1", "", "/a/b/a/0"];

/// Whether an object on the way of a pointer has a member of interest twice, by a tree that keeps them all.
fn holds(json: &str) -> Result<(), TestCaseError> {
    let known = serde_json::from_str::<&RawValue>(json).is_ok();
    match found(json, &LOOKED_UP) {
        Ok(places) => {
            prop_assert!(known, "{json} is taken for JSON");
            let Ok(tree) = serde_json::from_str::<Value>(json) else { return Ok(()) };
            for (text, place) in LOOKED_UP.iter().zip(places) {
                let here = place.map(|place| serde_json::from_str::<Value>(place).unwrap());
                prop_assert_eq!(here.as_ref(), tree.pointer(text), "{} in {}", text, json);
            }
        }
        Err(ScanFault { what: ScanFaultKind::Twice(_), .. }) => {}
        Err(fault) => prop_assert!(!known, "{json}: {fault}"),
    }
    Ok(())
}

proptest! {
    #[test]
    fn the_scanner_knows_what_serde_json_knows(json in json_text(), at in any::<prop::sample::Index>(), byte in proptest::option::of(0x20_u8..0x7f)) {
        holds(&json)?;
        let mut bytes = json.into_bytes();
        let at = at.index(bytes.len());
        match byte {
            Some(byte) => bytes[at] = byte,
            None => bytes.truncate(at),
        }
        if let Ok(json) = String::from_utf8(bytes) {
            holds(&json)?;
        }
    }

    #[test]
    fn strings_end_where_they_end_whatever_is_in_them(text in ".{0,64}", more in ".{0,16}") {
        let json = serde_json::to_string(&[&text, &more]).unwrap();
        let places = found(&json, &["/0", "/1"]).unwrap();
        prop_assert_eq!(scalar(places[0].unwrap()).unwrap().unwrap(), text);
        prop_assert_eq!(scalar(places[1].unwrap()).unwrap().unwrap(), more);
    }
}
