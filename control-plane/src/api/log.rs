//! Reading the delivery log: events, attempts, answers, days. What all of these routes share stands here.

pub(in crate::api) mod attempts;
pub(in crate::api) mod days;
pub(in crate::api) mod dead_letters;
pub(in crate::api) mod erase;
pub(in crate::api) mod events;
pub(in crate::api) mod explain;
pub(in crate::api) mod overview;
mod payload;
pub(in crate::api) mod requests;
pub(in crate::api) mod responses;
pub(in crate::api) mod stats;
pub(in crate::api) mod timeline;

use std::sync::Arc;

use axum::extract::{FromRequestParts, MatchedPath};
use axum::response::Response;
use delivery_log::{CursorError, DeliveryStore, FilterHash, ListOrder, LogPage, PageOf, RowPosition, Times};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};
use schemas::control::Application;
use schemas::event_type::EventTypePattern;
use schemas::identity::{event_uuid, gateway_source};
use schemas::ids::ApplicationId;
use schemas::problem::{Code, ProblemId};
use serde::Serialize;
use url::form_urlencoded;
use uuid::Uuid;

use super::json;
use crate::auth::Principal;
use crate::etag::Preconditions;
use crate::log::{QueryTimer, failed};
use crate::page::link_to;
use crate::problem::{Answer, Problem};
use crate::query::Query;
use crate::state::App;
use crate::turns::OwnedTurn;

/// Rows of a page.
const MOST: usize = 250;
/// The parameter that says where a page begins.
const CURSOR: &str = "pagination_cursor";

/// Who asks for what of which application's log.
pub(in crate::api) struct AskedLog {
    pub(in crate::api) principal: Principal,
    pub(in crate::api) query: Query,
    /// Whether the client takes UUIDs only as ids of events.
    pub(in crate::api) uuids: bool,
    /// Who asks with it waits for others of its organization.
    _turn: Option<OwnedTurn>,
    /// Until it is answered.
    _timer: Option<QueryTimer>,
}

/// The part of a list that is asked for, with what its cursors go with.
struct LogPart {
    page: PageOf,
    filter: FilterHash,
}

// === impl AskedLog ===

impl AskedLog {
    /// The application that is asked about, and the log.
    fn log(&self, app: &App) -> Result<(Arc<Application>, Arc<dyn DeliveryStore>), Problem> {
        self.log_of(app, None)
    }

    /// The application that a body names, else the query, and the log.
    pub(in crate::api) fn log_of(
        &self,
        app: &App,
        given: Option<&str>,
    ) -> Result<(Arc<Application>, Arc<dyn DeliveryStore>), Problem> {
        let named = given.or_else(|| self.query.get("application_id"));
        let own = self.principal.own_application().map(|id| id.to_string());
        let Some(id) = named.or(own.as_deref()) else { return Err(missing_application()) };
        let application = self.principal.application(&app.catalog().read(), id)?;
        Ok((application, app.log().store()?))
    }

    fn part(&self, application: ApplicationId, usual: usize) -> Result<LogPart, Problem> {
        let wrong = |message: String| Problem::field("limit", Code::InvalidField, message);
        let limit = match self.query.get("limit") {
            None => usual,
            Some(text) => {
                let number =
                    text.parse().ok().filter(|number| text.bytes().all(|it| it.is_ascii_digit()) && *number > 0);
                let number = number.filter(|number| *number <= MOST);
                number.ok_or_else(|| wrong(format!("must be a whole number, 1 to {MOST}")))?
            }
        };
        let order = match self.query.get("order") {
            None | Some("desc") => ListOrder::Descending,
            Some("asc") => ListOrder::Ascending,
            Some(_other) => return Err(Problem::field("order", Code::InvalidField, "must be asc or desc")),
        };
        let filter = self.filter(application);
        let after = self.query.get(CURSOR).map(|cursor| RowPosition::of_cursor(cursor, filter)).transpose();
        let wrong = |error: CursorError| Problem::field(CURSOR, Code::InvalidField, error.to_string());
        Ok(LogPart { page: PageOf { order, after: after.map_err(wrong)?, limit }, filter })
    }

    /// Of all that was asked but the cursor and the limit.
    fn filter(&self, application: ApplicationId) -> FilterHash {
        let apart = [CURSOR, "limit", "application_id"];
        let mut pairs: Vec<(&str, &str)> = self.query.pairs().filter(|(name, _)| !apart.contains(name)).collect();
        pairs.sort_unstable();
        let text = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        FilterHash::of(&format!("{} {application} {text}", self.query.path()))
    }

    /// `min_created_at` and `max_created_at`.
    fn times(&self) -> Result<Times, Problem> {
        let times =
            Times { from_ms: self.query.moment("min_created_at")?, to_ms: self.query.moment("max_created_at")? };
        if times.from_ms.zip(times.to_ms).is_some_and(|(from, to)| from > to) {
            return Err(range("min_created_at is after max_created_at"));
        }
        Ok(times)
    }

    /// `event.event_type_names`: patterns, with commas between them.
    fn types(&self) -> Result<Vec<EventTypePattern>, Problem> {
        const NAME: &str = "event.event_type_names";
        let wrong = |error| Problem::field(NAME, Code::InvalidField, format!("{error}"));
        let given = self.query.get(NAME).unwrap_or_default().split(',').map(str::trim).filter(|name| !name.is_empty());
        given.map(|name| EventTypePattern::parse(name).map_err(wrong)).collect()
    }

    fn uuid(&self, name: &str) -> Result<Option<Uuid>, Problem> {
        let wrong = |_error| Problem::field(name, Code::InvalidField, "must be a UUID");
        self.query.get(name).map(Uuid::parse_str).transpose().map_err(wrong)
    }

    /// A page as it is answered, with the way to the next one.
    fn answer<T: Serialize>(&self, app: &App, part: &LogPart, page: &LogPage<T>) -> Answer {
        let mut response = json(StatusCode::OK, &page.rows)?;
        super::linked(&mut response, self.link(part, page.next)?);
        Ok(with_headers(app, response))
    }

    fn link(&self, part: &LogPart, next: Option<RowPosition>) -> Result<Option<HeaderValue>, Problem> {
        next.map(|next| link_to(&self.query, &next.to_cursor(part.filter))).transpose()
    }
}

impl FromRequestParts<Arc<App>> for AskedLog {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let principal = Principal::from_request_parts(parts, app).await?;
        let query = Query::from_request_parts(parts, app).await?;
        if parts.method == Method::POST {
            // What is asked for is made by that: there is no version of it yet.
            Preconditions::from_request_parts(parts, app).await?.check_absent()?;
        }
        let organization = principal.who.organization(&app.catalog().read());
        let turn = app.turns().log.take(organization).await?;
        let route = parts.extensions.get::<MatchedPath>().map_or("none", MatchedPath::as_str);
        let (timer, uuids) = (app.log().timer(route), parts.headers.contains_key("hook0-client-options"));
        Ok(Self { principal, query, uuids, _turn: turn, _timer: timer })
    }
}

/// Says how new and how whole an answer is.
fn with_headers(app: &App, mut response: Response) -> Response {
    response.headers_mut().extend(app.log().headers(chassis::clock::now_ms()));
    response
}

fn missing_application() -> Problem {
    Problem::field("application_id", Code::InvalidField, "this query parameter is required")
}

fn range(detail: &str) -> Problem {
    Problem::new(ProblemId::InvalidDateRange, detail)
}

/// 404 of something that Kafka does not hold any more.
pub(in crate::api) fn expired(what: &str) -> Problem {
    Problem::new(ProblemId::NotFound, format!("{what} is not in Kafka any more")).with_code(Code::Expired)
}

/// 404 of something whose event was erased.
pub(in crate::api) fn erased(what: &str) -> Problem {
    Problem::new(ProblemId::NotFound, format!("{what} was erased with its event")).with_code(Code::Erased)
}

/// The identities that an event's name may stand for: its id as the gateway takes it, and the UUID itself.
pub(in crate::api) fn uuids_of(application: ApplicationId, name: &str) -> Vec<Uuid> {
    let by_id = event_uuid(application, &gateway_source(application), name);
    std::iter::once(by_id).chain(Uuid::parse_str(name)).collect()
}

/// The event that a path or a parameter names: by its id, its UUID or its webhook id.
pub(in crate::api) async fn event_named(
    store: &dyn DeliveryStore,
    application: ApplicationId,
    name: &str,
) -> Result<Option<delivery_log::LoggedEvent>, Problem> {
    use delivery_log::EventName;
    let uuids = uuids_of(application, name).into_iter().map(EventName::Uuid);
    for name in uuids.chain([EventName::Id(name.to_owned())]) {
        if let Some(event) = store.event(application, name).await.map_err(|error| failed(&error))? {
            return Ok(Some(event));
        }
    }
    Ok(None)
}
