//! A problem as an error and as an answer.

use std::ops::Deref;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use schemas::problem::{self, Code, ProblemId};
use serde_json::Value;
use tracing::error;
use vault::VaultError;

/// What a request failed with: [`problem::Problem`] behind a pointer, because every `Result` of this crate carries one.
#[derive(Clone, Debug)]
pub(crate) struct Problem(Box<problem::Problem>);

/// What a handler gives.
pub(crate) type Answer = Result<Response, Problem>;

// === impl Problem ===

impl Problem {
    pub(crate) fn new(id: ProblemId, detail: impl Into<String>) -> Self {
        Self(Box::new(problem::Problem::new(id, detail)))
    }

    /// A 422 about one field.
    pub(crate) fn field(field: &str, code: Code, message: impl Into<String>) -> Self {
        Self(Box::new(problem::Problem::field(field, code, message)))
    }

    /// What came of a write is not known.
    pub(crate) fn outcome_unknown(is_keyed: bool) -> Self {
        Self(Box::new(problem::Problem::outcome_unknown(is_keyed)))
    }

    pub(crate) fn with_status(mut self, status: u16) -> Self {
        self.0.status = status;
        self
    }

    pub(crate) fn with_code(mut self, code: Code) -> Self {
        self.0.code = Some(code);
        self
    }

    /// A tree of field errors of its own.
    pub(crate) fn with_validation(mut self, tree: Value) -> Self {
        self.0.validation = Some(tree);
        self
    }

    pub(crate) fn with_retry_after(mut self, seconds: u32) -> Self {
        self.0.retry_after_s = Some(seconds);
        self
    }

    /// What it says, for a log line.
    pub(crate) fn into_detail(self) -> String {
        self.0.detail
    }
}

impl Deref for Problem {
    type Target = problem::Problem;

    fn deref(&self) -> &problem::Problem {
        &self.0
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self.0).unwrap_or_else(|error| {
            error!(%error, "a problem could not be written");
            Vec::new()
        });
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        let content_type = HeaderValue::from_static(problem::Problem::CONTENT_TYPE);
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.0.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// 404 for what is not there.
pub(crate) fn not_found(what: &str) -> Problem {
    Problem::new(ProblemId::NotFound, format!("there is no such {what}"))
}

/// 403 for what a token may not touch, whether it is there or not.
pub(crate) fn forbidden() -> Problem {
    Problem::new(ProblemId::Forbidden, "this token does not give access to what was asked for")
}

/// 503: Kafka does not take or give records now.
pub(crate) fn unavailable(detail: impl Into<String>) -> Problem {
    Problem::new(ProblemId::ServiceUnavailable, detail).with_code(Code::KafkaUnavailable).with_retry_after(1)
}

/// 503: the request's time is over, and nothing of it is on its way.
pub(crate) fn out_of_time(detail: &str) -> Problem {
    Problem::new(ProblemId::ServiceUnavailable, detail).with_code(Code::Overloaded).with_retry_after(1)
}

/// 500, logged here with what the client is not told.
pub(crate) fn internal(what: &'static str, cause: &dyn std::error::Error) -> Problem {
    error!(error = %cause, "{what}");
    Problem::new(ProblemId::InternalServerError, what)
}

/// 500: a secret could not be sealed or opened.
pub(crate) fn vault(error: &VaultError) -> Problem {
    internal("a secret could not be sealed or opened", error)
}
