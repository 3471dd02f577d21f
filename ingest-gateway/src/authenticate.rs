//! Whose request it is, and from where: the `Authorization` header's token, looked up in the catalog, and the caller's address.

use std::borrow::Cow;
use std::net::IpAddr;

use chassis::server::ConnectionState;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use schemas::problem::ProblemId;
use uuid::Uuid;

use crate::directory::Caller;
use crate::gateway::Gateway;
use crate::ingest::Fresh;
use crate::problem::{Refused, problem};

/// Longest token: ours have 54 characters at most (`hookbus_st_` and 256 bits in base64); those of other systems are longer.
const TOKEN_BYTES: usize = 512;

/// The token of `Authorization: Bearer <token>`.
fn bearer(headers: &HeaderMap) -> Result<&str, Refused> {
    let malformed = |why| problem(ProblemId::AuthInvalidAuthorizationHeader, why);
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let none = "send `Authorization: Bearer <application secret>`";
    let header = given.next().ok_or_else(|| problem(ProblemId::AuthNoAuthorizationHeader, none))?;
    if given.next().is_some() {
        return Err(malformed("the Authorization header stands twice"));
    }
    let text = header.to_str().map_err(|_bytes| malformed("the Authorization header is not ASCII text"))?;
    let (scheme, token) = text.split_once(' ').ok_or_else(|| malformed(none))?;
    let token = token.trim();
    let fits = (1..=TOKEN_BYTES).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic());
    if scheme.eq_ignore_ascii_case("bearer") && fits { Ok(token) } else { Err(malformed(none)) }
}

impl Gateway {
    /// The address of whoever called, by what proxies say that are trusted.
    pub(crate) fn caller_ip(&self, connection: &ConnectionState, headers: &HeaderMap) -> IpAddr {
        self.config().trusted_proxies.caller(connection.peer().0.ip().to_canonical(), headers)
    }

    /// The same as text.
    pub(crate) fn caller_address<'a>(&self, connection: &'a ConnectionState, headers: &HeaderMap) -> Cow<'a, str> {
        let caller = self.caller_ip(connection, headers);
        let is_peer = caller == connection.peer().0.ip().to_canonical();
        if is_peer { Cow::Borrowed(connection.ip()) } else { Cow::Owned(caller.to_string()) }
    }

    /// Whose token it is, by the snapshot that is there.
    pub(crate) fn known(&self, headers: &HeaderMap) -> Option<Caller> {
        self.directory().caller(bearer(headers).ok()?)
    }

    /// Whose token it is; an unknown one is looked for again in a current snapshot.
    pub(crate) async fn authenticate(&self, headers: &HeaderMap, fresh: &mut Fresh) -> Result<Caller, Refused> {
        let token = bearer(headers)?;
        let mut caller = self.directory().caller(token);
        if caller.is_none() && self.make_fresh(fresh).await? {
            caller = self.directory().caller(token);
        }
        match caller {
            Some(Caller::ReadOnly(_)) => Err(problem(ProblemId::Forbidden, "this token may not send events")),
            Some(caller) => Ok(caller),
            None if Uuid::parse_str(token).is_ok() => {
                Err(problem(ProblemId::AuthInvalidApplicationSecret, "no application has this secret"))
            }
            None => Err(problem(ProblemId::AuthInvalidBiscuit, "nobody has this token")),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(values: &[&'static str]) -> HeaderMap {
        values.iter().map(|value| (AUTHORIZATION, HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn the_scheme_is_bearer_in_any_case() {
        for good in ["Bearer abc", "bearer abc", "BEARER  abc "] {
            assert_eq!(bearer(&headers(&[good])).unwrap(), "abc");
        }
    }

    #[test]
    fn nothing_is_401_and_anything_else_400() {
        assert_eq!(bearer(&headers(&[])).unwrap_err().status, 401);
        for bad in [&["abc"][..], &["Basic abc"], &["Bearer "], &["Bearer a b"], &["Bearer a", "Bearer a"]] {
            assert_eq!(bearer(&headers(bad)).unwrap_err().status, 400, "{bad:?}");
        }
    }
}
