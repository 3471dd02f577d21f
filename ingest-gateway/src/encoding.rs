//! `Content-Encoding` of a request: which one it is, and the body decoded within the limits of a plain one.
//!
//! A few bytes can decode to gigabytes, so nothing is decoded beyond the limit of a body, and the room for that much is taken
//! from the budget of all bodies before the first byte is decoded. What the decoded body does not need goes back at once.

use std::io::Read as _;

use bytes::Bytes;
use chassis::body_budget::BodyShare;
use flate2::bufread::GzDecoder;
use http::HeaderMap;
use http::header::CONTENT_ENCODING;

use crate::problem::{self, Refused, bad_body, no_room};

/// Members of one gzip body: each restarts the decoder, and a body could hold a hundred thousand empty ones.
const GZIP_MEMBERS: usize = 16;

/// How a body is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// Not at all.
    Identity,
    Gzip,
    Zstd,
}

// === impl Encoding ===

impl Encoding {
    /// Reads the header. One coding is accepted, as every client sends it; `identity` counts for none.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Refused> {
        let mut encoding = Self::Identity;
        for value in headers.get_all(CONTENT_ENCODING) {
            let given = value.to_str().unwrap_or("?");
            for name in given.split(',').map(str::trim).filter(|name| !name.is_empty()) {
                let is = |known: &str| name.eq_ignore_ascii_case(known);
                let named = match name {
                    _ if is("identity") => continue,
                    _ if is("gzip") || is("x-gzip") => Self::Gzip,
                    _ if is("zstd") => Self::Zstd,
                    _unknown => return Err(problem::unsupported_encoding(name)),
                };
                if encoding != Self::Identity {
                    return Err(problem::unsupported_encoding(given));
                }
                encoding = named;
            }
        }
        Ok(encoding)
    }

    /// Decodes a whole body to at most `limit` bytes. An empty body stays empty: clients set the header on those too.
    pub(crate) fn decode(self, body: Bytes, limit: usize, share: &mut BodyShare) -> Result<Bytes, Refused> {
        if self == Self::Identity || body.is_empty() {
            return Ok(body);
        }
        share.grow(limit).map_err(no_room)?;
        let decoded = match self {
            Self::Identity => return Ok(body),
            Self::Gzip => gunzip(&body, limit)?,
            Self::Zstd => unzstd(&body, limit)?,
        };
        share.shrink((limit - decoded.len()) + body.len());
        Ok(decoded.into())
    }
}

fn gunzip(body: &[u8], limit: usize) -> Result<Vec<u8>, Refused> {
    // All the room at once: a vector that grows would for a moment take twice what the budget was asked for.
    let mut decoded = Vec::with_capacity(limit + 1);
    let mut rest = body;
    for _member in 0..GZIP_MEMBERS {
        let mut decoder = GzDecoder::new(rest);
        let room = (limit - decoded.len()) as u64;
        decoder
            .by_ref()
            .take(room + 1)
            .read_to_end(&mut decoded)
            .map_err(|error| bad_body(format!("the body is not gzip: {error}")))?;
        if decoded.len() > limit {
            return Err(problem::decoded_body_too_large(limit));
        }
        rest = decoder.into_inner();
        if rest.is_empty() {
            decoded.shrink_to_fit();
            return Ok(decoded);
        }
    }
    Err(bad_body(format!("the body is gzip of more than {GZIP_MEMBERS} members")))
}

/// In one call into one buffer: a decoder of streams would keep a window of up to 8 MiB beside it, as large as the body asks.
fn unzstd(body: &[u8], limit: usize) -> Result<Vec<u8>, Refused> {
    let not_zstd = |error: std::io::Error| bad_body(format!("the body is not zstd: {error}"));
    let mut decoder = zstd::bulk::Decompressor::new().map_err(not_zstd)?;
    match decoder.decompress(body, limit) {
        Ok(mut decoded) => {
            decoded.shrink_to_fit();
            Ok(decoded)
        }
        // The library has no type for it: this is its text for `ZSTD_error_dstSize_tooSmall`.
        Err(error) if error.to_string() == "Destination buffer is too small" => {
            Err(problem::decoded_body_too_large(limit))
        }
        Err(error) => Err(not_zstd(error)),
    }
}

#[cfg(test)]
pub(crate) mod tests;
