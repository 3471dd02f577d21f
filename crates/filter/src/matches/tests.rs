//! What filters can say, how wrong ones are told, and that hostile ones come to an end.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::error::NoData;
use crate::facts::Event;
use crate::limits::{EVENT_UNITS, LOOPS};

const PAYLOAD: &str = r#"{
    "amount": 1200, "rate": 0.5, "big": 18446744073709551615, "currency": "EUR", "paid": true, "note": null,
    "customer": {"id": "c_1", "tags": ["vip", "b2b"], "näme": "caf\u00e9"},
    "items": [{"sku": "A-1", "count": 2}, {"sku": "B-2", "count": 0}]
}"#;

fn labels() -> BTreeMap<String, String> {
    BTreeMap::from([("region".to_owned(), "eu".to_owned())])
}

fn event<'a>(labels: &'a BTreeMap<String, String>, payload: &'a [u8]) -> Event<'a> {
    Event {
        event_type: "invoice.paid",
        id: "evt_1",
        labels,
        time: Some("2026-11-22T04:00:00+01:00"),
        accepted_ms: 1_700_000_000_000,
        payload,
    }
}

fn on(payload: &str, filter: &str) -> Result<bool, EvaluationError> {
    let labels = labels();
    Filter::compile(filter).unwrap().matches(&Facts::new(event(&labels, payload.as_bytes())))
}

fn refused(filter: &str) -> String {
    Filter::compile(filter).unwrap_err().to_string()
}

#[test]
fn what_a_filter_can_say() {
    for filter in [
        "true",
        "data.amount > 1000",
        "data.amount >= 1200.0 && data.currency == 'EUR'",
        "data.rate * 2.0 == 1.0",
        "data.big == 18446744073709551615u",
        "data.paid",
        "!(!data.paid)",
        "data.note == null",
        "labels.region == 'eu' && labels['region'].startsWith('e')",
        "type == 'invoice.paid' && id.contains('evt_')",
        "type.startsWith('invoice.') ? data.amount > 0 : false",
        "data.customer.id in ['c_1', 'c_2']",
        "'vip' in data.customer.tags",
        "'amount' in data",
        "data.customer['näme'] == 'café'",
        "has(data.customer.id) && !has(data.customer.email)",
        "!has(labels.tenant)",
        "data.items.exists(i, i.sku == 'B-2')",
        "data.items.all(i, i.count >= 0)",
        "data.items.exists_one(i, i.count == 2)",
        "data.items.filter(i, i.count > 0).size() == 1",
        "data.items.map(i, i.sku) == ['A-1', 'B-2']",
        "data.items.map(i, i.count > 0, i.sku) == ['A-1']",
        "data.items.exists(i, data.customer.tags.exists(t, i.sku.startsWith('A') && t == 'vip'))",
        "size(data.items) == 2 && size('näme') == 4",
        "data.currency.matches('^[A-Z]{3}$') && matches(data.currency, 'U')",
        "type(data.amount) == int && type(data.rate) == double && type(data.items) == list",
        "time > timestamp('2026-11-22T02:59:59Z') && time < timestamp('2026-11-22T03:00:01Z')",
        "time.getHours() == 3 && time.getHours('+01:00') == 4",
        "time - duration('1h') == timestamp('2026-11-22T02:00:00Z')",
        "int('7') + data.amount == 1207 && string(data.amount) == '1200'",
        "data.missing == 1 || data.paid",
        "'a' + 'b' == 'ab' && [1] + [2] == [1, 2]",
        "{'EUR': 1000, 'USD': 2000}[data.currency] < data.amount",
    ] {
        assert_eq!(on(PAYLOAD, filter), Ok(true), "{filter}");
    }
    for filter in ["false", "data.amount > 5000", "data.items.all(i, i.count > 0)", "data.note == 0", "data == null"] {
        assert_eq!(on(PAYLOAD, filter), Ok(false), "{filter}");
    }
}

#[test]
fn what_fails_at_run_time_says_why_and_repeats_no_payload() {
    for (filter, reason) in [
        ("data.nothing.here > 1", "there is no key `nothing`"),
        ("labels.tenant == 'x'", "there is no key `tenant`"),
        ("data.currency > 1", "found no matching overload for '_>_' applied to '(string, int)'"),
        ("data.items[7].sku == 'x'", "the index is outside of the list"),
        ("data.amount / (data.amount - 1200) > 1", "division by zero"),
        ("data.customer + 1 == 2", "`add` does not fit its operands"),
        ("data.customer.exists(x, x.y)", "found no matching overload for '_._' applied to '(string, string)'"),
        ("9223372036854775807 + data.amount > 0", "`add` overflows"),
        ("timestamp(data.currency) < time", "timestamp"),
    ] {
        let error = on(PAYLOAD, filter).unwrap_err();
        assert_eq!(error.as_str(), "failed", "{filter}: {error}");
        assert!(error.to_string().contains(reason), "{filter}: {error}");
        assert!(!error.to_string().contains("c_1"), "{error}");
    }
    assert_eq!(on(PAYLOAD, "data.currency"), Err(EvaluationError::NotBool { got: "string".to_owned() }));
}

#[test]
fn a_payload_that_is_not_json_has_no_data() {
    for payload in ["", "hello", "{\"a\":1} x", &"[".repeat(200)] {
        assert!(matches!(on(payload, "data.a == 1"), Err(EvaluationError::NoData(NoData::NotJson(_)))), "{payload}");
        assert_eq!(on(payload, "has(data.a) || labels.region == 'eu'"), Ok(true), "{payload}");
    }
    let large = format!("\"{}\"", "x".repeat(crate::limits::DATA_BYTES));
    assert!(matches!(on(&large, "data == 'x'"), Err(EvaluationError::NoData(NoData::TooLarge { .. }))));
    assert_eq!(on("5", "data == 5"), Ok(true));
    assert_eq!(on("true", "data"), Ok(true));
}

#[test]
fn an_event_without_a_readable_time_has_the_time_it_was_accepted_at() {
    let labels = labels();
    let filter = Filter::compile("time == timestamp(1700000000)").unwrap();
    for time in [None, Some("yesterday")] {
        let event = Event { time, ..event(&labels, b"{}") };
        assert_eq!(filter.matches(&Facts::new(event)), Ok(true), "{time:?}");
    }
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    for (filter, error) in [
        ("", "line 1, column 1: a filter needs an expression"),
        ("dat.amount > 1", "line 1, column 1: unknown variable `dat`, did you mean `data`?"),
        ("true &&\n  lables.x == 'a'", "line 2, column 3: unknown variable `lables`, did you mean `labels`?"),
        ("payload.x == 1", "line 1, column 1: unknown variable `payload`, there are type, id, labels, data, time"),
        ("data.name.startwith('x')", "line 1, column 11: unknown function `startwith`, did you mean `startsWith`?"),
        ("data.name.contains()", "line 1, column 11: `contains` is called as value.contains(..)"),
        ("data.xs.all(x)", "line 1, column 9: `all` is called as list.all(name, condition)"),
        ("'just text'", "line 1, column 1: this is a string, true or false is needed here"),
        ("data.a > 1 && labels.region", "line 1, column 21: this is a string, true or false is needed here"),
        ("data.a + 1", "line 1, column 8: this is a value, true or false is needed here"),
        ("data.xs.map(x, x + 1)", "line 1, column 12: this is a list, true or false is needed here"),
        ("!size(data)", "line 1, column 6: this is a number, true or false is needed here"),
        ("data.xs.exists(x, 'a')", "line 1, column 19: this is a string, true or false is needed here"),
        ("data.xs.exists(data, data == 1)", "line 1, column 15: a loop cannot use the name `data`"),
        ("data.a.matches(data.b)", "line 1, column 20: the pattern of `matches` must be a text in quotes"),
        ("Thing{a: 1} == data", "line 1, column 6: there is no type `Thing` to make values of"),
    ] {
        assert_eq!(refused(filter), error, "{filter}");
    }
    for filter in ["data.a ==", "data..a", "(data.a", "data.a == 'x", "a b", "\u{0}", "data.?a == 1", "[?data] == 1"] {
        let error = Filter::compile(filter).unwrap_err();
        assert!(error.line == 1 && error.column >= 1 && !error.message.is_empty(), "{filter}: {error}");
    }
    assert!(refused("data.a.matches('(x')").contains("not a pattern"), "{}", refused("data.a.matches('(x')"));
}

#[test]
fn what_is_too_large_is_refused_before_it_is_read() {
    assert!(refused(&format!("data.a == '{}'", "x".repeat(5_000))).contains("at most 4096 bytes"));
    assert!(refused(&format!("{}true{}", "(".repeat(1_000), ")".repeat(1_000))).contains("Recursion limit"));
    for filter in [
        format!("data.a == {}1", "1 + ".repeat(1_000)),
        format!("{}true", "!(".repeat(30)),
        format!("data{} == 1", ".a".repeat(2_000)),
        format!("data{} == 1", "[0]".repeat(1_000)),
        format!("[{}1] == data", "1,".repeat(2_000)),
        format!("data.a{}", "?true:true".repeat(400)),
        format!("{}data.a", "true || ".repeat(500)),
        format!("data{}", ".dyn()".repeat(600)),
    ] {
        assert!(Filter::compile(&filter).is_err(), "{filter:.40}");
    }
    let loops = |deep: usize| format!("{}true{}", "data.a.all(x, ".repeat(deep), ")".repeat(deep));
    assert!(Filter::compile(&loops(LOOPS)).is_ok());
    assert!(refused(&loops(LOOPS + 1)).contains("loops may stand"));
    assert!(refused(r"data.a.matches('(\\w{100}){100}')").contains("too large when compiled"));
}

/// The parser and the interpreter recurse, and a stack that overflows takes the process with it: no text may come near.
#[test]
fn the_deepest_texts_fit_a_small_stack() {
    let bracketed = |open: &str, close: &str, deep: usize| format!("{}data.a{}", open.repeat(deep), close.repeat(deep));
    let mut texts: Vec<String> = [
        ("1+", 2_040),
        ("data.a&&", 500),
        ("true?1:", 580),
        ("data.a==", 500),
        ("!", 4_000),
        ("-", 4_000),
        ("!-", 2_000),
    ]
    .iter()
    .map(|(part, count)| format!("{}data.a", part.repeat(*count)))
    .collect();
    for tail in [".a", "[0]", ".a()", ".size()", ".map(x,x)", ".a(1)"] {
        texts.push(format!("data{}", tail.repeat((TEXT_BYTES - 4) / tail.len())));
    }
    for deep in [20, 24, 25, 40, 600] {
        for (open, close) in
            [("(", ")"), ("[", "]"), ("{1:", "}"), ("dyn(", ")"), ("!(", ")"), ("(true?", ":1)"), ("[0].all(x,", ")")]
        {
            texts.push(bracketed(open, close, deep));
        }
    }
    let run = move || {
        let labels = labels();
        for text in &texts {
            if let Ok(filter) = Filter::compile(text) {
                let facts = Facts::new(event(&labels, br#"{"a":true}"#));
                assert_ne!(filter.matches(&facts), Err(EvaluationError::Panicked), "{text:.40}");
            }
        }
    };
    // Half of what threads have in production, and without optimisation.
    std::thread::Builder::new().stack_size(1024 * 1024).spawn(run).unwrap().join().unwrap();
}

#[test]
fn one_evaluation_and_one_event_have_their_limits() {
    let labels = labels();
    let payload = format!("{{\"xs\":[{}0]}}", "0,".repeat(2_000));
    let facts = Facts::new(event(&labels, payload.as_bytes()));
    let costly = Filter::compile("data.xs.all(x, data.xs.all(y, x == y)) || true").unwrap();
    let cheap = Filter::compile("size(data.xs) > 7").unwrap();
    for _ in 0..EVENT_UNITS / FILTER_UNITS {
        assert_eq!(costly.matches(&facts), Err(EvaluationError::TooCostly), "a failure that is absorbed stays one");
    }
    assert_eq!(costly.matches(&facts), Err(EvaluationError::EventTooCostly));
    // Its neighbours left nothing, and it needs no more than its own.
    assert!((0..10_000).all(|_| cheap.matches(&facts) == Ok(true)));
}

#[test]
fn a_loop_of_nine_thousand_turns_passes_and_one_of_twenty_thousand_does_not() {
    let zeros = |count: usize| format!("{{\"xs\":[{}0]}}", "0,".repeat(count - 1));
    for filter in ["data.xs.all(x, x == 0)", "size(data.xs.map(x, x)) > 1", "!data.xs.exists_one(x, x == 0)"] {
        assert_eq!(on(&zeros(9_000), filter), Ok(true), "{filter}");
        assert_eq!(on(&zeros(20_000), filter), Err(EvaluationError::TooCostly), "{filter}");
    }
    // A longer body makes fewer turns.
    let long = format!("data.xs.all(x, {}0 == 0)", "x + ".repeat(20));
    assert_eq!(on(&zeros(9_000), &long), Err(EvaluationError::TooCostly));
}

/// Filters that do as much as they can, on payloads made for them.
fn hostile() -> Vec<(&'static str, String, String)> {
    let long = format!("{{\"s\":\"{}\"}}", "a".repeat(1_000_000));
    let list = format!("{{\"xs\":[{}0]}}", "0,".repeat(400_000));
    let small = format!("{{\"xs\":[{}0]}}", "0,".repeat(5_000));
    let objects = format!("{{\"xs\":[{}{{}}],\"s\":\"x\"}}", "{\"a\":{\"b\":\"c\"}},".repeat(50_000));
    let texts = format!(
        "{{\"xs\":[{}\"\"]}}",
        "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab\",".repeat(15_000)
    );
    let sums = "data.s + ".repeat(40);
    let patterns = [r"data.s.matches('(?:\\w|a){0,3}a?a?a?a?b$')"; 8].join(" || ");
    [
        ("text that doubles", long.clone(), format!("size({sums} '') > 1")),
        ("text searched again and again", long.clone(), vec!["data.s.contains(data.s)"; 120].join(" && ")),
        ("loop in loop", small.clone(), "data.xs.all(x, data.xs.all(y, x == y))".to_owned()),
        ("loop over everything", list.clone(), "data.xs.map(x, x + 1).size() == 1".to_owned()),
        ("lists of lists", small, "data.xs.map(x, data.xs.map(y, [x, y])).size() == 1".to_owned()),
        ("copies of everything", objects.clone(), format!("[{}] == 1", vec!["data"; 300].join(","))),
        ("errors with everything in them", objects, "data.xs.exists(x, 1 < data)".to_owned()),
        ("keys that are not there", long.clone(), "[1,2,3,4,5,6,7,8].exists(x, {}[data.s] == x)".to_owned()),
        ("search in lists", texts.clone(), "data.xs.exists(x, x + 'c' in data.xs)".to_owned()),
        ("patterns", long, patterns),
        ("patterns in a loop", texts, r"data.xs.exists(x, x.matches('(?:\\w|a){0,3}a?a?a?c$'))".to_owned()),
        ("sizes", list, vec!["size(data.xs) > 1"; 150].join(" && ")),
    ]
    .into_iter()
    .collect()
}

#[test]
fn hostile_filters_come_to_an_end_and_the_event_after_them_does() {
    let labels = labels();
    for (name, payload, filter) in hostile() {
        let filter = Filter::compile(&filter).unwrap_or_else(|error| panic!("{name}: {error}"));
        let facts = Facts::new(event(&labels, payload.as_bytes()));
        let before = facts.units();
        let result = filter.matches(&facts);
        let spent = before - facts.units();
        assert!(spent <= FILTER_UNITS, "{name}: {spent}");
        assert!(result != Err(EvaluationError::Panicked), "{name}");
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark's clock; the crate itself knows no time")]
fn instant() -> std::time::Instant {
    std::time::Instant::now()
}

/// Prints what the costliest filters cost; the limit is an order of magnitude, not a promise.
#[test]
#[ignore = "long: make bench"]
fn bench_hostile_filters() {
    let labels = labels();
    for (name, payload, filter) in hostile() {
        let filter = Filter::compile(&filter).unwrap();
        let facts = Facts::new(event(&labels, payload.as_bytes()));
        let begin = instant();
        let parsed = facts.data().is_ok();
        let parsing = begin.elapsed();
        let begin = instant();
        let before = facts.units();
        let result = filter.matches(&facts).map_err(|error| error.as_str());
        let (took, spent) = (begin.elapsed(), before - facts.units());
        println!("{name}: {took:?} for {spent} units, {result:?} (parsing {parsing:?}, {parsed})");
    }
    let payload = PAYLOAD.as_bytes();
    for filter in [
        "type == 'invoice.paid'",
        "data.amount > 1000 && data.currency == 'EUR'",
        "data.items.exists(i, i.sku == 'B-2')",
    ] {
        let begin = instant();
        let compiled = Filter::compile(filter).unwrap();
        let compiling = begin.elapsed();
        let begin = instant();
        for _ in 0..1_000 {
            let facts = Facts::new(event(&labels, payload));
            assert_eq!(compiled.matches(&facts), Ok(true));
        }
        let facts = Facts::new(event(&labels, payload));
        let (alone, begin) = (begin.elapsed() / 1_000, instant());
        for _ in 0..10_000.min(EVENT_UNITS / 300) {
            assert_eq!(compiled.matches(&facts), Ok(true));
        }
        println!("{filter}: compile {compiling:?}, one event {alone:?}, one more filter {:?}", begin.elapsed() / 8_333);
    }
}

proptest! {
    #[test]
    fn no_text_panics_or_is_placed_outside_of_itself(text in "\\PC{0,60}") {
        if let Err(error) = Filter::compile(&text) {
            prop_assert!(error.line >= 1 && error.column >= 1);
        }
    }

    #[test]
    fn no_expression_panics(
        parts in proptest::collection::vec(proptest::sample::select(vec![
            "data", ".a", ".xs", "[0]", "[", "]", "(", ")", " + ", " - ", " * ", " / ", " % ", " == ", " < ", " && ", " || ", "!", "-",
            "1", "2u", "1.5", "'x'", "b'x'", "true", "null", "time", "labels", "type", "size(", "string(", "int(", "duration('1h')",
            ".exists(x, ", ".map(x, ", "x", ", ", "timestamp('2026-01-01T00:00:00Z')", " ? ", " : ", " in ", "9223372036854775807", "{", "}", ":",
            ".getHours('Europe/Berlin')", ".matches('a+')", "has(",
        ]), 1..14),
    ) {
        let text = parts.concat();
        if let Ok(filter) = Filter::compile(&text) {
            let labels = labels();
            let facts = Facts::new(event(&labels, br#"{"a":1,"xs":[1,"x",{"a":null}]}"#));
            prop_assert!(filter.matches(&facts) != Err(EvaluationError::Panicked), "{}", text);
        }
    }
}

#[test]
fn a_pattern_whose_table_does_not_fit_pays_for_all_its_places() {
    let payload = |bytes: usize| format!(r#"{{"s":"{}"}}"#, "ab".repeat(bytes / 2));
    let hard = r#"data.s.matches("[ab]*a[ab]{250}c")"#;
    assert_eq!(on(&payload(100), hard), Ok(false));
    assert_eq!(on(&payload(25_000), hard), Err(EvaluationError::TooCostly));
    assert_eq!(on(&payload(25_000), r#"data.s.matches("^[ab]*c$")"#), Ok(false), "a byte is a byte");
}
