//! Errors over HTTP: `application/problem+json` with a closed list of ids that published clients know.
//!
//! A failure of ours uses the fitting id and says the rest in `detail` and `code`.

use serde::Serialize;
use serde_json::Value;

macro_rules! problems {
    ($($id:ident $status:literal $title:literal,)*) => {
        /// Ids of the closed list.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum ProblemId {
            $(#[doc = $title] $id,)*
        }

        /// All of them, for the catalogue at `/errors`.
        pub const ALL: &[ProblemId] = &[$(ProblemId::$id,)*];

        impl ProblemId {
            /// The id on the wire.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$id => stringify!($id),)* }
            }

            /// Its HTTP status, unless the failure has a more exact one.
            #[must_use]
            pub fn status(self) -> u16 {
                match self { $(Self::$id => $status,)* }
            }

            /// Its title.
            #[must_use]
            pub fn title(self) -> &'static str {
                match self { $(Self::$id => $title,)* }
            }
        }
    };
}

problems! {
    OrganizationNameMissing 400 "Organization name cannot be empty or blank",
    ApplicationNameMissing 400 "Application name cannot be empty or blank",
    PasswordTooShort 400 "Provided password is too short",
    PasswordTooLong 400 "Provided password is too long",
    PasswordSimilarToEmail 400 "Provided password is too similar to the e-mail address",
    PasswordSimilarToName 400 "Provided password is too similar to the name",
    PasswordTooCommon 400 "Provided password is too common",
    PasswordNotDiverseEnough 400 "Provided password has too few different characters",
    InvalidRole 400 "Invalid role",
    EventTypeDoesNotExist 400 "Event type does not exist",
    UnauthorizedWorkers 400 "Workers are not allowed",
    EventInvalidPayloadContentType 400 "Payload content type is not supported",
    EventInvalidBase64Payload 400 "Payload is not base64",
    EventInvalidJsonPayload 400 "Payload is not JSON",
    LabelsAmbiguity 400 "Labels are given twice",
    InvalidDateRange 400 "Invalid date range",
    AuthInvalidAuthorizationHeader 400 "Authorization header is not valid",
    JsonPayload 400 "Request body is not valid",
    AuthNoAuthorizationHeader 401 "No Authorization header",
    AuthFailedLogin 401 "Login failed",
    AuthEmailNotVerified 401 "E-mail address is not verified",
    AuthFailedRefresh 401 "Refresh failed",
    AuthEmailExpired 401 "Link has expired",
    AuthInvalidApplicationSecret 403 "Application secret is not valid",
    AuthInvalidBiscuit 403 "Token is not valid",
    Forbidden 403 "Insufficient rights",
    NotFound 404 "Not found",
    InvitedUserDoesNotExist 404 "Invited user does not exist",
    RegistrationDisabled 410 "Registration is disabled",
    Validation 422 "Request is not valid",
    UserAlreadyExist 409 "User already exists",
    OrganizationIsNotEmpty 409 "Organization is not empty",
    InvitedUserAlreadyInOrganization 409 "User is already in the organization",
    EventTypeAlreadyExist 409 "Event type already exists",
    EventAlreadyIngested 409 "Event was already ingested",
    AuthEmailAlreadyVerified 409 "E-mail address is already verified",
    TooManyMembersPerOrganization 429 "Too many members in the organization",
    TooManyApplicationsPerOrganization 429 "Too many applications in the organization",
    TooManyEventsToday 429 "Too many events today",
    TooManySubscriptionsPerApplication 429 "Too many subscriptions in the application",
    TooManyEventTypesPerApplication 429 "Too many event types in the application",
    RateLimited 429 "Too many requests",
    InternalServerError 500 "Internal server error",
    AuthApplicationSecretLookupError 500 "Application secret could not be looked up",
    AuthBiscuitLookupError 500 "Token could not be looked up",
    ServiceUnavailable 503 "Service unavailable",
}

macro_rules! codes {
    ($($(#[$doc:meta])* $code:ident,)*) => {
        /// Codes of ours: what exactly failed, stable for programs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Code {
            $($(#[$doc])* $code,)*
        }

        impl Code {
            /// All of them, for the OpenAPI document.
            pub const ALL: &[Self] = &[$(Self::$code,)*];
        }
    };
}

codes! {
    /// 405.
    MethodNotAllowed,
    /// 412.
    PreconditionFailed,
    /// 413.
    BodyTooLarge,
    /// 413 of one payload.
    PayloadTooLarge,
    /// 415.
    UnsupportedMediaType,
    /// 415 of a `Content-Encoding`.
    UnsupportedEncoding,
    /// 431.
    HeadersTooLarge,
    /// 408: headers or body came too slowly.
    RequestTimeout,
    /// JSON nested too deeply.
    TooDeep,
    /// A field nobody knows.
    UnknownField,
    /// A value outside its range or form.
    InvalidField,
    /// Checking a payload against its schema, or compiling the schema, would take too long.
    SchemaTooCostly,
    /// The same request is under way or was just done.
    Repeat,
    /// 409: another object has the id, uid or token.
    Taken,
    /// 409: the `Idempotency-Key` was used for another request.
    IdempotencyKeyReused,
    /// Kafka does not take records now.
    KafkaUnavailable,
    /// A write was not confirmed in time: it may or may not have taken effect.
    OutcomeUnknown,
    /// Memory or queue limit reached.
    Overloaded,
    /// The catalog is not caught up.
    CatalogBehind,
    /// The target is refused by policy.
    TargetRefused,
    /// The subscription is disabled, and what was asked for needs an enabled one.
    SubscriptionDisabled,
    /// A limit of this instance.
    LimitReached,
    /// Another source reads the topic.
    TopicTaken,
    /// 404 of something whose record Kafka does not hold any more.
    Expired,
    /// 404 of something whose content was erased.
    Erased,
    /// 409: a job has ended, and cannot be changed any more.
    AlreadyEnded,
    /// 409: none of the dead letters that were named is open.
    NotOpen,
    /// 503: there is no delivery log, or it cannot be used.
    LogUnavailable,
    /// 503: what was asked for is not in the delivery log, which does not have everything yet.
    LogBehind,
    /// 409: other objects refer to it.
    InUse,
    /// 409: a newer release wrote the object, and this one would lose something of it.
    NewerVersion,
    /// 409: a process that runs could not read what would be written.
    OlderInstance,
    /// Part of the contract that is not built yet.
    NotBuilt,
}

/// A problem, ready to be written.
#[derive(Clone, Debug, Serialize)]
pub struct Problem {
    /// A URI reference that names the kind.
    #[serde(rename = "type")]
    pub kind: String,
    /// Id of the closed list.
    pub id: &'static str,
    /// Title.
    pub title: &'static str,
    /// What happened, for people.
    pub detail: String,
    /// HTTP status.
    pub status: u16,
    /// A tree per field, or null.
    pub validation: Option<Value>,
    /// What exactly, for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
    /// `Retry-After` in whole seconds; a header, not part of the body.
    #[serde(skip)]
    pub retry_after_s: Option<u32>,
}

// === impl Problem ===

impl Problem {
    /// Media type of the body.
    pub const CONTENT_TYPE: &'static str = "application/problem+json";

    /// A problem with its id's own status.
    #[must_use]
    pub fn new(id: ProblemId, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("/api/v1/errors#{}", id.as_str()),
            id: id.as_str(),
            title: id.title(),
            detail: detail.into(),
            status: id.status(),
            validation: None,
            code: None,
            retry_after_s: None,
        }
    }

    /// With a more exact status.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// With a code of ours.
    #[must_use]
    pub fn with_code(mut self, code: Code) -> Self {
        self.code = Some(code);
        self
    }

    /// With a tree of field errors.
    #[must_use]
    pub fn with_validation(mut self, tree: Value) -> Self {
        self.validation = Some(tree);
        self
    }

    /// With `Retry-After`.
    #[must_use]
    pub fn with_retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// A 503: what came of a write is not known. Without an `Idempotency-Key` there is no `Retry-After`: asked again as it is, it might
    /// be done twice.
    #[must_use]
    pub fn outcome_unknown(is_keyed: bool) -> Self {
        let problem = |detail: &str| Self::new(ProblemId::ServiceUnavailable, detail).with_code(Code::OutcomeUnknown);
        if is_keyed {
            let detail = "the write was not confirmed in time: send it again with the same `Idempotency-Key`, and it is done once";
            return problem(detail).with_retry_after(1);
        }
        problem(
            "the write was not confirmed in time: it may or may not have taken effect, so look before you send it again",
        )
    }

    /// A 422 about one field: `{"<field>": [{"code", "message"}]}`.
    #[must_use]
    pub fn field(field: &str, code: Code, message: impl Into<String>) -> Self {
        let message = message.into();
        let tree = serde_json::json!({ field: [{ "code": code, "message": message }] });
        Self::new(ProblemId::Validation, format!("{field}: {message}")).with_code(code).with_validation(tree)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_has_the_46_ids_clients_know() {
        assert_eq!(ALL.len(), 46);
        assert_eq!(ProblemId::EventAlreadyIngested.status(), 409);
        assert_eq!(ProblemId::RateLimited.as_str(), "RateLimited");
    }

    #[test]
    fn every_code_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<_> =
            Code::ALL.iter().map(|code| serde_json::to_value(code).unwrap().as_str().unwrap().to_owned()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        assert!(names.contains("idempotency_key_reused"), "{names:?}");
    }

    #[test]
    fn a_field_problem_names_the_field() {
        let problem = Problem::field("payload", Code::InvalidField, "must be there");
        let json = serde_json::to_value(&problem).unwrap();
        assert_eq!(json["status"], 422);
        assert_eq!(json["code"], "invalid_field");
        assert_eq!(json["validation"]["payload"][0]["message"], "must be there");
    }
}
