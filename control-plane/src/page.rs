//! Pages of a list: which part a request asks for, and where the next one begins.
//!
//! Every list is in the order of what its rows are called by (ids, or names), so a cursor is the last row's and nothing is kept
//! between two requests. Rows that come or go meanwhile are seen or not; none is seen twice.

use http::HeaderValue;
use schemas::problem::Code;
use url::form_urlencoded;
use uuid::Uuid;

use crate::problem::{Problem, internal};
use crate::query::Query;

/// Rows of one page.
pub(crate) const MOST: usize = 1_000;
/// Rows of a list that is asked for whole.
pub(crate) const WHOLE: usize = 10_000;
/// The parameter that says where a page begins.
const CURSOR: &str = "pagination_cursor";

/// The part of a list that is asked for: without `limit` all that is left of it.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    limit: Option<usize>,
    after: Option<String>,
}

/// The rows of a page, and what the next one begins after.
#[derive(Clone, Debug)]
pub(crate) struct Rows<T> {
    /// In the order of the list.
    pub(crate) rows: Vec<T>,
    next: Option<String>,
}

// === impl Page ===

impl Page {
    pub(crate) fn of(query: &Query) -> Result<Self, Problem> {
        let limit = query.get("limit").map(|text| {
            let number = text.parse().ok().filter(|number| text.bytes().all(|it| it.is_ascii_digit()) && *number > 0);
            let wrong = || Problem::field("limit", Code::InvalidField, format!("must be a whole number, 1 to {MOST}"));
            number.filter(|number| *number <= MOST).ok_or_else(wrong)
        });
        let after = query.get(CURSOR).map(str::to_owned);
        if after.as_deref() == Some("") {
            return Err(Problem::field(CURSOR, Code::InvalidField, "is empty"));
        }
        Ok(Self { limit: limit.transpose()?, after })
    }

    /// The id of the row that the page comes after.
    pub(crate) fn after_id(&self) -> Result<Option<Uuid>, Problem> {
        let wrong = |_error| Problem::field(CURSOR, Code::InvalidField, "is none that a `Link` of this list has named");
        self.after.as_deref().map(Uuid::parse_str).transpose().map_err(wrong)
    }

    /// The name of the row that the page comes after.
    pub(crate) fn after_name(&self) -> Option<&str> {
        self.after.as_deref()
    }

    /// Rows of a page, where the request says it.
    pub(crate) fn limit(&self) -> Option<usize> {
        self.limit
    }

    /// Rows that are shown; with one more of them there is a next page.
    pub(crate) fn wanted(&self) -> usize {
        self.limit.unwrap_or(WHOLE)
    }

    /// The page's rows of all that come after its cursor.
    ///
    /// # Errors
    /// A 422 where everything is asked for and there is too much of it.
    pub(crate) fn cut<T>(
        &self,
        rows: impl Iterator<Item = T>,
        called: impl Fn(&T) -> String,
    ) -> Result<Rows<T>, Problem> {
        let mut rows: Vec<T> = rows.take(self.wanted() + 1).collect();
        if rows.len() <= self.wanted() {
            return Ok(Rows { rows, next: None });
        }
        if self.limit.is_none() {
            let message = format!(
                "the list has more than {WHOLE} rows: ask for pages of at most {MOST} with `limit`, and follow `Link`"
            );
            return Err(Problem::field("limit", Code::InvalidField, message));
        }
        rows.truncate(self.wanted());
        let next = rows.last().map(called);
        Ok(Rows { rows, next })
    }

    /// The page's rows where the request has looked at as much as one may, up to what is called so.
    ///
    /// # Errors
    /// A 422 where everything is asked for.
    pub(crate) fn stopped<T>(&self, rows: Vec<T>, at: String) -> Result<Rows<T>, Problem> {
        if self.limit.is_none() {
            let message = "there is more than one request looks through: ask for pages with `limit`, and follow `Link`";
            return Err(Problem::field("limit", Code::InvalidField, message));
        }
        Ok(Rows { rows, next: Some(at) })
    }
}

// === impl Rows ===

impl<T> Rows<Result<T, Problem>> {
    /// The rows, if all of them can be shown.
    pub(crate) fn transpose(self) -> Result<Rows<T>, Problem> {
        Ok(Rows { rows: self.rows.into_iter().collect::<Result<_, _>>()?, next: self.next })
    }
}

impl<T> Rows<T> {
    /// Rows that were found, and the cursor of what comes after them.
    pub(crate) fn of(rows: Vec<T>, next: Option<String>) -> Self {
        Self { rows, next }
    }

    /// The same rows as they are shown.
    pub(crate) fn map<U>(self, show: impl FnMut(T) -> U) -> Rows<U> {
        Rows { rows: self.rows.into_iter().map(show).collect(), next: self.next }
    }

    /// `Link` to the next page: the same request with another cursor. None on the last page.
    pub(crate) fn link(&self, query: &Query) -> Result<Option<HeaderValue>, Problem> {
        self.next.as_deref().map(|next| link_to(query, next)).transpose()
    }
}

/// `Link` to the page of a cursor: the same request with that one.
pub(crate) fn link_to(query: &Query, cursor: &str) -> Result<HeaderValue, Problem> {
    let others = query.pairs().filter(|(name, _)| *name != CURSOR);
    let parameters =
        form_urlencoded::Serializer::new(String::new()).extend_pairs(others).append_pair(CURSOR, cursor).finish();
    let link = format!("<{}?{parameters}>; rel=\"next\"", query.path());
    HeaderValue::from_str(&link).map_err(|error| internal("a link could not be written", &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(query: &str) -> Result<(Page, Query), Problem> {
        let query = Query::parse("/api/v1/things", query)?;
        Ok((Page::of(&query)?, query))
    }

    fn cut(query: &str, rows: usize) -> Result<(Vec<usize>, Option<String>), Problem> {
        let (page, query) = page(query)?;
        let cut = page.cut(0..rows, |row| format!("row {row}"))?;
        let link = cut.link(&query)?.map(|it| it.to_str().unwrap().to_owned());
        Ok((cut.rows, link))
    }

    #[test]
    fn a_page_names_the_next_one_and_keeps_what_was_asked() {
        let link = "</api/v1/things?limit=2&uid=a%26b&pagination_cursor=row+1>; rel=\"next\"";
        assert_eq!(cut("limit=2&pagination_cursor=x&uid=a%26b", 3).unwrap(), (vec![0, 1], Some(link.to_owned())));
        assert_eq!(cut("limit=2", 2).unwrap(), (vec![0, 1], None));
        assert_eq!(cut("limit=2", 0).unwrap(), (vec![], None));
    }

    #[test]
    fn a_list_is_whole_without_a_limit_until_it_is_too_long() {
        assert_eq!(cut("", WHOLE).unwrap().0.len(), WHOLE);
        let problem = cut("", WHOLE + 1).unwrap_err();
        assert_eq!(problem.status, 422);
        assert!(problem.validation.as_ref().unwrap()["limit"][0]["message"].as_str().unwrap().contains("`Link`"));
        assert_eq!(cut("limit=1000", WHOLE + 1).unwrap().0.len(), MOST);
    }

    #[test]
    fn what_is_no_limit_and_no_cursor_is_named() {
        for bad in ["limit=0", "limit=1001", "limit=-1", "limit=+1", "limit=", "limit=x", "limit=99999999999999999999"]
        {
            assert_eq!(page(bad).unwrap_err().status, 422, "{bad}");
        }
        assert_eq!(page("pagination_cursor=").unwrap_err().status, 422);
        assert_eq!(page("limit=1&limit=2").unwrap_err().status, 422);
        assert_eq!(page("pagination_cursor=x").unwrap().0.after_id().unwrap_err().status, 422);
    }
}
