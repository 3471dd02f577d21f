//! Round trips, bombs, broken bodies, and the budget's share after each.

use std::io::Write as _;

use chassis::body_budget::BodyBudget;
use chassis::metrics::IntGauge;
use http::HeaderValue;

use super::*;

const LIMIT: usize = 100_000;

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    ::zstd::bulk::compress(bytes, 19).unwrap()
}

fn of(values: &[&'static str]) -> Result<Encoding, Refused> {
    Encoding::of(&values.iter().map(|value| (CONTENT_ENCODING, HeaderValue::from_static(value))).collect())
}

/// The outcome, and what of the budget is in use while the body lives.
fn decode(encoding: Encoding, body: Vec<u8>, budget: usize) -> (Result<Bytes, Refused>, i64) {
    let shown = IntGauge::new("bytes", "bytes").unwrap();
    let budget = BodyBudget::new(budget, shown.clone());
    let mut share = budget.share();
    share.grow(body.len()).unwrap();
    let outcome = encoding.decode(body.into(), LIMIT, &mut share);
    let used = shown.get();
    drop(share);
    assert_eq!(shown.get(), 0, "everything is given back");
    (outcome, used)
}

#[test]
fn the_header_names_one_coding_we_know_or_is_refused() {
    for (values, expected) in [
        (&[][..], Encoding::Identity),
        (&["identity"], Encoding::Identity),
        (&["gzip"], Encoding::Gzip),
        (&["X-GZip"], Encoding::Gzip),
        (&["identity, zstd"], Encoding::Zstd),
    ] {
        assert_eq!(of(values).unwrap(), expected, "{values:?}");
    }
    for values in [&["br"][..], &["deflate"], &["gzip, gzip"], &["gzip", "zstd"], &["gzip;q=1"]] {
        let refused = of(values).unwrap_err();
        assert_eq!((refused.status, refused.code), (415, Some(schemas::problem::Code::UnsupportedEncoding)));
        assert!(refused.detail.contains(values[0].split(';').next().unwrap()), "{}", refused.detail);
    }
}

#[test]
fn bodies_come_back_whole_and_take_their_own_size_of_the_budget() {
    let text = br#"{"a": "b"}"#.repeat(1_000);
    for (encoding, body) in [(Encoding::Gzip, gzip(&text)), (Encoding::Zstd, zstd(&text))] {
        let (decoded, used) = decode(encoding, body, 1_000_000);
        assert_eq!(decoded.unwrap(), text);
        assert_eq!(used, i64::try_from(text.len()).unwrap(), "{encoding:?}");
    }
    let twice = [gzip(b"one "), gzip(b"two")].concat();
    assert_eq!(decode(Encoding::Gzip, twice, 1_000_000).0.unwrap(), "one two");
    let twice = [zstd(b"one "), zstd(b"two")].concat();
    assert_eq!(decode(Encoding::Zstd, twice, 1_000_000).0.unwrap(), "one two");
    assert_eq!(decode(Encoding::Gzip, Vec::new(), 1_000_000).0.unwrap(), "");
}

#[test]
fn a_bomb_is_refused_at_the_limit_and_exactly_the_limit_is_not() {
    for encode in [gzip, zstd] {
        let encoding = if encode(b"") == gzip(b"") { Encoding::Gzip } else { Encoding::Zstd };
        let (fits, _used) = decode(encoding, encode(&vec![0; LIMIT]), 1_000_000);
        assert_eq!(fits.unwrap().len(), LIMIT);
        for size in [LIMIT + 1, 500 * LIMIT] {
            let (bomb, used) = decode(encoding, encode(&vec![0; size]), 1_000_000);
            assert_eq!(bomb.unwrap_err().status, 413, "{encoding:?} {size}");
            assert!(used < 2 * i64::try_from(LIMIT).unwrap(), "{used} bytes");
        }
        let (no_room, _used) = decode(encoding, encode(b"{}"), LIMIT);
        assert_eq!(no_room.unwrap_err().status, 503, "the room is asked for before anything is decoded");
    }
}

#[test]
fn what_is_broken_or_endless_is_a_400() {
    let (whole_gzip, whole_zstd) = (gzip(b"hello, hello"), zstd(b"hello, hello"));
    let trailing = |whole: &[u8]| [whole, b"xx"].concat();
    for (encoding, body) in [
        (Encoding::Gzip, b"{}".to_vec()),
        (Encoding::Gzip, whole_gzip[..whole_gzip.len() - 1].to_vec()),
        (Encoding::Gzip, trailing(&whole_gzip)),
        (Encoding::Gzip, gzip(b"").repeat(GZIP_MEMBERS + 1)),
        (Encoding::Zstd, b"{}".to_vec()),
        (Encoding::Zstd, whole_zstd[..whole_zstd.len() - 1].to_vec()),
        (Encoding::Zstd, trailing(&whole_zstd)),
        (Encoding::Zstd, whole_gzip.clone()),
    ] {
        let (outcome, _used) = decode(encoding, body.clone(), 1_000_000);
        let refused = outcome.unwrap_err();
        assert_eq!((refused.status, refused.id), (400, "JsonPayload"), "{encoding:?} {body:?}");
    }
}
