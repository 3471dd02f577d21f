//! An answer's head and body: headers of its lifecycle record, so that they are neither escaped nor decoded with the index.
//!
//! | header | value |
//! |---|---|
//! | `hookbus-response-head` | lines `name: value`, names in lower case, repeats joined by `, `, whole lines up to the limit |
//! | `hookbus-response-body` | the first bytes, as they came |
//! | `hookbus-cut` | bytes of the body that came, where those are more than were kept |
//!
//! Version 1 of the record has both in its JSON; here they read alike.

use std::borrow::Cow;

use bytes::BufMut;

use super::Exchange;
use crate::header;
use crate::record::{Headers, HeadersBuilder};

/// What an endpoint answered, as far as it was kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response<'a> {
    /// Headers in the order they came: names in lower case, and values, of which what is no UTF-8 is replaced.
    pub head: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// The first bytes of the body.
    pub body: Cow<'a, [u8]>,
    /// Bytes of the body that came, where those are more than were kept.
    pub cut: Option<u64>,
}

// === impl Response ===

impl<'a> Response<'a> {
    /// What the headers of a lifecycle record hold, or its exchange where version 1 wrote it.
    #[must_use]
    pub fn of(headers: &'a Headers, exchange: Option<&'a Exchange<'_>>) -> Self {
        let (head, body) = (headers.get(header::RESPONSE_HEAD), headers.get(header::RESPONSE_BODY));
        if let (None, None, Some(exchange)) = (head, body, exchange) {
            let borrowed = |text: &'a Cow<'_, str>| Cow::Borrowed(&**text);
            return Self {
                head: exchange.headers.iter().map(|(name, value)| (borrowed(name), borrowed(value))).collect(),
                body: exchange.body.as_ref().map_or_else(Cow::default, |body| Cow::Borrowed(body.as_bytes())),
                cut: None,
            };
        }
        Self {
            head: lines(head.unwrap_or_default()),
            body: Cow::Borrowed(body.unwrap_or_default()),
            cut: headers.text(header::CUT).and_then(|came| came.parse().ok()),
        }
    }
}

fn lines(head: &[u8]) -> Vec<(Cow<'_, str>, Cow<'_, str>)> {
    let lines = head.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let pair = |line| {
        let (name, value) = split_line(line);
        (String::from_utf8_lossy(name), String::from_utf8_lossy(value))
    };
    lines.map(pair).collect()
}

fn split_line(line: &[u8]) -> (&[u8], &[u8]) {
    let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
    let (name, rest) = line.split_at(colon);
    (name, rest.get(1..).unwrap_or_default().trim_ascii_start())
}

/// Appends an answer's head: each name with all its values, as many whole lines as fit into so many bytes. Nothing where none
/// fits.
pub fn push_head<'h, V: Iterator<Item = &'h [u8]>>(
    builder: &mut HeadersBuilder,
    head: impl Iterator<Item = (&'h str, V)>,
    limit: usize,
) {
    builder.push_if(header::RESPONSE_HEAD, |data| {
        let start = data.len();
        for (name, values) in head {
            let line = data.len();
            data.put_slice(name.as_bytes());
            for (at, value) in values.enumerate() {
                data.put_slice(if at == 0 { b": " } else { b", " });
                data.put_slice(value);
            }
            data.put_u8(b'\n');
            if data.len() - start > limit {
                data.truncate(line);
                break;
            }
        }
    });
}

/// Appends what was kept of an answer's body, and how many bytes came where those are more. Nothing where none came.
pub fn push_body(builder: &mut HeadersBuilder, body: &[u8], cut: Option<u64>) {
    if !body.is_empty() {
        builder.push(header::RESPONSE_BODY, body);
    }
    if let Some(came) = cut {
        builder.push_display(header::CUT, came);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Head<'a> = [(&'a str, &'a [&'a [u8]])];

    fn headers(head: &Head<'_>, limit: usize, body: &[u8], cut: Option<u64>) -> Headers {
        let mut builder = Headers::builder(3, 64);
        push_head(&mut builder, head.iter().map(|(name, values)| (*name, values.iter().copied())), limit);
        push_body(&mut builder, body, cut);
        builder.build()
    }

    #[test]
    fn an_answer_reads_as_it_was_written_and_its_body_byte_for_byte() {
        let head: [(&str, &[&[u8]]); 3] =
            [("server", &[b"nginx"]), ("set-cookie", &[b"a=1", b"b: 2"]), ("x-latin", &[b"caf\xe9"])];
        let written = headers(&head, 4_096, b"\x00\xff\"\n", Some(9_000));
        assert_eq!(
            written.get(header::RESPONSE_HEAD),
            Some(&b"server: nginx\nset-cookie: a=1, b: 2\nx-latin: caf\xe9\n"[..])
        );
        let read = Response::of(&written, None);
        let pairs: Vec<(&str, &str)> = read.head.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(pairs, [("server", "nginx"), ("set-cookie", "a=1, b: 2"), ("x-latin", "caf\u{fffd}")]);
        assert_eq!((&*read.body, read.cut), (&b"\x00\xff\"\n"[..], Some(9_000)));
    }

    #[test]
    fn a_head_ends_with_the_last_line_that_fits_whole() {
        let head: [(&str, &[&[u8]]); 3] = [("a", &[b"1"]), ("b", &[b"22"]), ("c", &[b"3"])];
        for (limit, kept) in [(4, None), (5, Some("a: 1\n")), (10, Some("a: 1\n")), (11, Some("a: 1\nb: 22\n"))] {
            assert_eq!(headers(&head, limit, b"", None).text(header::RESPONSE_HEAD), kept, "{limit}");
        }
    }

    #[test]
    fn an_answer_with_nothing_to_keep_costs_no_header() {
        assert!(headers(&[], 4_096, b"", None).is_empty());
        assert_eq!(Response::of(&Headers::default(), None), Response::default());
    }

    #[test]
    fn what_version_1_wrote_reads_alike() {
        let exchange = Exchange {
            headers: vec![("server".into(), "x".into())],
            body: Some("ok \"quoted\"".into()),
            ..Exchange::default()
        };
        let none = Headers::default();
        let read = Response::of(&none, Some(&exchange));
        assert_eq!(read.head, [(Cow::Borrowed("server"), Cow::Borrowed("x"))]);
        assert_eq!((&*read.body, read.cut), (&b"ok \"quoted\""[..], None));
    }
}
