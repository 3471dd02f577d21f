//! What application secrets and service tokens have in common: how they are made, given, sealed and masked, and how one takes
//! over from another.
//!
//! **Rotation without downtime**: the next token is made, both open until the overlap ends (or the old one is deleted). A token
//! never changes its text: what is known to have leaked must not come back.

use std::fmt::Display;

use catalog::{Snapshot, sealed};
use schemas::control::{ControlKey, Sealed, TokenRole};
use schemas::problem::Code;
use utoipa::ToSchema;
use uuid::Uuid;
use vault::{LookupHash, Vault};
use zeroize::Zeroizing;

use crate::auth::TOKEN_BYTES;
use crate::body::Fields;
use crate::problem::{self, Problem};

/// Characters of a name.
pub(crate) const NAME: std::ops::RangeInclusive<usize> = 1..=200;
/// Tokens of one application or organization: everything that is looked through has a limit.
pub(crate) const MAX_TOKENS: usize = 1_000;
/// What service tokens begin with, so that scanners for leaked secrets know one when they see it.
const PREFIX: &str = "hookbus_st_";
/// A given token is at least as hard to guess as this long.
const MIN_GIVEN: usize = 16;
/// And not one character over and over.
const MIN_DISTINCT: usize = 6;
/// What stands for what is not shown.
const MASK: &str = "********";
/// Characters of a masked token that are shown, to tell one from another.
const SHOWN: usize = 4;
/// How long the former token goes on, unless the request says otherwise: a day.
const OVERLAP_MS: u64 = 86_400_000;
/// And at most: a week.
const MAX_OVERLAP_MS: u64 = 7 * OVERLAP_MS;

/// What a token may do: `ingest` sends events and nothing else, `viewer` reads, `editor` reads, changes and sends.
#[derive(Clone, Copy, Debug, ToSchema)]
#[schema(as = TokenRole, rename_all = "snake_case")]
#[expect(dead_code, reason = "it describes `schemas::control::TokenRole` in the document")]
pub(crate) enum RoleShown {
    /// Sends events.
    Ingest,
    /// Reads.
    Viewer,
    /// Reads, changes and sends.
    Editor,
}

/// What a body says about a token; absent fields say nothing.
#[derive(Debug)]
pub(crate) struct GivenToken {
    pub(crate) role: Option<TokenRole>,
    /// `Some(None)`: it is to live for ever.
    pub(crate) expires_ms: Option<Option<i64>>,
}

/// A token's text with what is stored of it.
#[derive(Debug)]
pub(crate) struct Minted {
    pub(crate) lookup: LookupHash,
    pub(crate) sealed: Sealed,
}

// === impl GivenToken ===

impl GivenToken {
    /// The fields `role` and `expires_at`.
    pub(crate) fn read(fields: &mut Fields) -> Result<Self, Problem> {
        let role = match fields.kept_text("role", 0..=20)?.as_deref() {
            None => None,
            Some("ingest") => Some(TokenRole::Ingest),
            Some("viewer") => Some(TokenRole::Viewer),
            Some("editor") => Some(TokenRole::Editor),
            Some(_other) => return Err(fields.wrong("role", "must be ingest, viewer or editor")),
        };
        Ok(Self { role, expires_ms: fields.moment("expires_at")? })
    }

    /// The same where whoever asks has an end of his own: what he makes or changes ends no later. What is as it was may stay.
    pub(crate) fn expiry_within(&self, former: Option<i64>, own_end: Option<i64>) -> Result<Option<i64>, Problem> {
        let (wanted, Some(own_end)) = (self.expiry(former), own_end) else { return Ok(self.expiry(former)) };
        if self.expires_ms.is_none() || wanted.is_some_and(|wanted| wanted <= own_end) || wanted == former {
            return Ok(wanted);
        }
        let message = "must not be later than the end of the token that asks";
        Err(Problem::field("expires_at", Code::InvalidField, message).with_status(403))
    }

    /// The role of a token that so far has `former` and is to end at `expires_ms`. Whoever asks and has an end of his own lets
    /// nobody do after it what he could not do before.
    pub(crate) fn role_within(
        &self,
        former: TokenRole,
        expires_ms: Option<i64>,
        own_end: Option<i64>,
    ) -> Result<TokenRole, Problem> {
        let role = self.role.unwrap_or(former);
        // An editor may do all that others may; an `ingest` token and a viewer each something that the other may not.
        let is_more = role != former && former != TokenRole::Editor;
        if is_more && outlives(expires_ms, own_end) {
            let message = "what may do more must not end later than the token that asks: give it an `expires_at` too";
            return Err(Problem::field("role", Code::InvalidField, message).with_status(403));
        }
        Ok(role)
    }

    /// When a token is to expire that so far would at `former`. A time that has passed is as good as any: it revokes at once,
    /// and a file that says it goes on to fit when it has.
    pub(crate) fn expiry(&self, former: Option<i64>) -> Option<i64> {
        self.expires_ms.unwrap_or(former)
    }
}

/// Whose a token is: the body names it in `field`, or it is the asking token's own.
pub(crate) fn owner(fields: &mut Fields, field: &str, own: Option<impl Display>) -> Result<String, Problem> {
    let named = fields.text(field, 1..=200)?.flatten();
    named.or_else(|| own.map(|id| id.to_string())).ok_or_else(|| fields.wrong(field, "is required"))
}

/// The field `token`: the text of a token that another system has made.
pub(crate) fn given_text(fields: &mut Fields) -> Result<Option<Zeroizing<String>>, Problem> {
    let Some(text) = fields.text("token", 0..=TOKEN_BYTES)?.flatten().map(Zeroizing::new) else { return Ok(None) };
    let fits = (MIN_GIVEN..=TOKEN_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    let distinct = text.bytes().collect::<std::collections::BTreeSet<u8>>().len();
    if fits && distinct < MIN_DISTINCT {
        return Err(fields.wrong("token", format!("must have at least {MIN_DISTINCT} different characters")));
    }
    if fits {
        return Ok(Some(text));
    }
    Err(fields.wrong("token", format!("must have {MIN_GIVEN} to {TOKEN_BYTES} visible ASCII characters")))
}

/// The field `overlap_ms` of a rotation.
pub(crate) fn overlap_ms(fields: &mut Fields) -> Result<i64, Problem> {
    let overlap = fields.number("overlap_ms", 0..=MAX_OVERLAP_MS)?.flatten().unwrap_or(OVERLAP_MS);
    Ok(i64::try_from(overlap).unwrap_or(i64::MAX))
}

/// The end of a token that is made by one that has an end: the earlier of both.
pub(crate) fn earlier(one: Option<i64>, other: Option<i64>) -> Option<i64> {
    one.into_iter().chain(other).min()
}

/// Whether a token that ends at `expires_ms` still opens something when whoever asks has ended.
pub(crate) fn outlives(expires_ms: Option<i64>, own_end: Option<i64>) -> bool {
    own_end.is_some_and(|own_end| expires_ms.is_none_or(|end| end > own_end))
}

/// When the former token of a rotation ends: it never lives longer than it would have.
pub(crate) fn end_of_former(expires_ms: Option<i64>, overlap_ms: i64, now_ms: i64) -> i64 {
    expires_ms.unwrap_or(i64::MAX).min(now_ms.saturating_add(overlap_ms))
}

// === texts ===

/// A new text of an application secret: a random UUID.
pub(crate) fn new_secret() -> Result<Zeroizing<String>, Problem> {
    vault::random_uuid().map(|token| Zeroizing::new(token.to_string())).map_err(|error| problem::vault(&error))
}

/// A new text of a service token: 256 random bits.
pub(crate) fn new_service_token() -> Result<Zeroizing<String>, Problem> {
    let random = vault::random_token_256().map_err(|error| problem::vault(&error))?;
    Ok(Zeroizing::new(format!("{PREFIX}{}", *random)))
}

/// What is stored of a text under a key of `control`.
pub(crate) fn mint(vault: &Vault, key: &ControlKey, text: &str) -> Result<Minted, Problem> {
    let sealed = sealed::seal_text(vault, &key.to_string(), text).map_err(|error| problem::vault(&error))?;
    Ok(Minted { lookup: vault.lookup(text), sealed })
}

/// A text must not open two things.
pub(crate) fn free(snapshot: &Snapshot, admin: &[LookupHash], lookup: &LookupHash) -> Result<(), Problem> {
    if admin.contains(lookup) || snapshot.token(lookup).is_some() {
        return Err(crate::api::taken("token", "token"));
    }
    Ok(())
}

/// At most so many in one place.
pub(crate) fn room(count: usize) -> Result<(), Problem> {
    at_most(count, MAX_TOKENS)
}

/// The same for a successor: each of as many tokens as there may be can be replaced, and the former ones go on for a while.
pub(crate) fn room_for_successor(count: usize) -> Result<(), Problem> {
    at_most(count, 2 * MAX_TOKENS)
}

fn at_most(count: usize, limit: usize) -> Result<(), Problem> {
    if count < limit {
        return Ok(());
    }
    let detail = format!("there are {count} tokens already: delete those that are not used");
    Err(Problem::new(schemas::problem::ProblemId::Validation, detail).with_code(Code::LimitReached))
}

/// A token's text with almost nothing of it.
pub(crate) fn masked(text: &str) -> String {
    let (prefix, rest) = text.strip_prefix(PREFIX).map_or(("", text), |rest| (PREFIX, rest));
    // What is short is given away by a few characters of it.
    let shown = if rest.len() >= 32 { SHOWN } else { 0 };
    let shown: String = rest.chars().take(shown).collect();
    format!("{prefix}{shown}{MASK}")
}

/// A masked application secret: clients decode a UUID.
pub(crate) const fn masked_secret() -> Uuid {
    Uuid::nil()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::parse;

    fn given(json: &str) -> Result<GivenToken, Problem> {
        GivenToken::read(&mut Fields::new(parse(json.as_bytes())?, "", &["role", "expires_at"])?)
    }

    #[test]
    fn roles_and_times_are_read() {
        let read = given(r#"{"role":"viewer","expires_at":"2030-01-01T00:00:00+01:00"}"#).unwrap();
        assert_eq!((read.role, read.expires_ms), (Some(TokenRole::Viewer), Some(Some(1_893_452_400_000))));
        let read = given(r#"{"expires_at":null}"#).unwrap();
        assert_eq!((read.role, read.expires_ms), (None, Some(None)));
        for bad in [r#"{"role":"root"}"#, r#"{"role":null}"#, r#"{"expires_at":"2030-01-01"}"#, r#"{"expires_at":5}"#] {
            assert_eq!(given(bad).unwrap_err().status, 422, "{bad}");
        }
    }

    #[test]
    fn an_expiry_stays_unless_something_is_said() {
        let given = |expires_ms| GivenToken { role: None, expires_ms };
        assert_eq!(given(None).expiry(Some(5)), Some(5));
        assert_eq!(given(Some(Some(6))).expiry(Some(5)), Some(6));
        assert_eq!(given(Some(None)).expiry(Some(5)), None);
    }

    #[test]
    fn who_has_an_end_makes_nothing_that_lives_longer() {
        let given = |expires_ms| GivenToken { role: None, expires_ms };
        assert_eq!(given(Some(Some(7))).expiry_within(None, Some(7)).unwrap(), Some(7));
        assert_eq!(given(Some(None)).expiry_within(Some(5), None).unwrap(), None, "without an end anything goes");
        assert_eq!(given(None).expiry_within(Some(9), Some(7)).unwrap(), Some(9), "what is not said stays");
        assert_eq!(given(Some(Some(9))).expiry_within(Some(9), Some(7)).unwrap(), Some(9), "and what is said to stay");
        for longer in [Some(Some(8)), Some(None)] {
            assert_eq!(given(longer).expiry_within(Some(5), Some(7)).unwrap_err().status, 403);
        }
        assert_eq!((earlier(None, Some(3)), earlier(Some(2), Some(3)), earlier(None, None)), (Some(3), Some(2), None));
    }

    #[test]
    fn who_has_an_end_gives_nobody_more_for_longer() {
        let (ingest, viewer, editor) = (TokenRole::Ingest, TokenRole::Viewer, TokenRole::Editor);
        let changed = |role, former, expires_ms, own_end| {
            GivenToken { role, expires_ms: None }.role_within(former, expires_ms, own_end).map_err(|it| it.status)
        };
        for (former, role) in [(viewer, editor), (ingest, editor), (ingest, viewer), (viewer, ingest)] {
            assert_eq!(changed(Some(role), former, None, Some(7)), Err(403), "{former:?} to {role:?}");
            assert_eq!(changed(Some(role), former, Some(8), Some(7)), Err(403));
            assert_eq!(changed(Some(role), former, Some(7), Some(7)), Ok(role), "it ends no later");
            assert_eq!(changed(Some(role), former, None, None), Ok(role), "without an end anything goes");
        }
        for (former, role) in [(editor, viewer), (editor, ingest), (viewer, viewer)] {
            assert_eq!(changed(Some(role), former, None, Some(7)), Ok(role), "{former:?} to {role:?} is no more");
        }
        assert_eq!(changed(None, viewer, None, Some(7)), Ok(viewer), "what is not said stays");
    }

    #[test]
    fn a_rotation_never_lengthens_a_life() {
        assert_eq!(end_of_former(None, 7, 100), 107);
        assert_eq!(end_of_former(Some(103), 7, 100), 103);
        assert_eq!(end_of_former(Some(200), 0, 100), 100);
    }

    #[test]
    fn masks_tell_tokens_apart_and_nothing_else() {
        let token = new_service_token().unwrap();
        assert_eq!(token.len(), PREFIX.len() + 43);
        let shown: String = token.chars().take(PREFIX.len() + SHOWN).collect();
        assert_eq!(masked(&token), format!("{shown}{MASK}"));
        assert_eq!(masked("a-short-token-of-old"), MASK);
    }
}
