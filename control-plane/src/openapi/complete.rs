//! What every operation shares, added to the document: problems, headers, preconditions, closed request bodies.

use schemas::problem::{Code, Problem, ProblemId};
use serde_json::{Value, json};

use super::shared::{CONSISTENCY, IDEMPOTENCY_KEY, headers, parameters};

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];
/// The operations whose body may be left out.
const OPTIONAL_BODY: [&str; 3] = ["subscriptions.rotateSecret", "requestAttempts.retry", "events.replay"];

/// What is known of one operation.
struct Operation<'a> {
    path: &'a str,
    method: &'a str,
    value: &'a mut Value,
}

pub(super) fn complete(document: &mut Value) {
    document["components"]["schemas"]["Problem"] = problem_schema();
    let by_hand = crate::api::shapes().into_iter().chain(crate::subscription::shapes()).chain(crate::source::shapes());
    let by_hand = by_hand.chain(crate::schema_registry::shapes());
    for (name, shape) in by_hand {
        document["components"]["schemas"][name] = shape;
    }
    document["components"]["schemas"]["Problems"] =
        json!({ "type": "array", "items": { "$ref": "#/components/schemas/Problem" } });
    document["components"]["parameters"] = parameters();
    document["components"]["headers"] = headers();
    document["components"]["responses"] = SHARED.iter().map(|it| (it.name.to_owned(), it.response())).collect();
    let mut requested = Vec::new();
    if let Some(paths) = document["paths"].as_object_mut() {
        for (path, item) in paths {
            for method in METHODS {
                if let Some(value) = item.get_mut(method) {
                    references(&value["requestBody"], &mut requested);
                    Operation { path, method, value }.complete();
                }
            }
        }
    }
    close(&mut document["components"]["schemas"], requested);
}

/// A problem that many operations share.
struct SharedProblem {
    status: u16,
    name: &'static str,
    description: &'static str,
    id: ProblemId,
    when: When,
}

/// Which operations may answer with a problem.
enum When {
    Always,
    /// Those that need a token.
    Secured,
    /// Those that look for something.
    Finds,
    /// Those with a body.
    Body,
    /// Those that may name a version or a write.
    Conditional,
    /// Bodies that may name what must be unique, and keys of requests that may be sent again.
    Unique,
}

const SHARED: &[SharedProblem] = &[
    SharedProblem {
        status: 422,
        name: "Invalid",
        description: "A parameter or a field is not valid; `validation` says which and why",
        id: ProblemId::Validation,
        when: When::Always,
    },
    SharedProblem {
        status: 500,
        name: "Failed",
        description: "An error of the server",
        id: ProblemId::InternalServerError,
        when: When::Always,
    },
    SharedProblem {
        status: 503,
        name: "Unavailable",
        description: "Kafka does not answer, or the request's deadline passed",
        id: ProblemId::ServiceUnavailable,
        when: When::Always,
    },
    SharedProblem {
        status: 400,
        name: "Unreadable",
        description: "The request cannot be read: its Authorization header, or its body (`JsonPayload`)",
        id: ProblemId::AuthInvalidAuthorizationHeader,
        when: When::Secured,
    },
    SharedProblem {
        status: 401,
        name: "NoToken",
        description: "No token",
        id: ProblemId::AuthNoAuthorizationHeader,
        when: When::Secured,
    },
    SharedProblem {
        status: 403,
        name: "NoAccess",
        description: "The token is unknown (`AuthInvalidApplicationSecret`, `AuthInvalidBiscuit`) or gives no access",
        id: ProblemId::Forbidden,
        when: When::Secured,
    },
    SharedProblem {
        status: 404,
        name: "Absent",
        description: "There is no such thing, or it is out of sight",
        id: ProblemId::NotFound,
        when: When::Finds,
    },
    SharedProblem {
        status: 408,
        name: "TooSlow",
        description: "The body came too slowly",
        id: ProblemId::Validation,
        when: When::Body,
    },
    SharedProblem {
        status: 413,
        name: "TooLarge",
        description: "The body is too large",
        id: ProblemId::Validation,
        when: When::Body,
    },
    SharedProblem {
        status: 415,
        name: "NoJson",
        description: "The body is of another media type or content encoding",
        id: ProblemId::Validation,
        when: When::Body,
    },
    SharedProblem {
        status: 412,
        name: "LostRace",
        description: "The object is not the version the request names, or there is no such write as its consistency token names",
        id: ProblemId::Validation,
        when: When::Conditional,
    },
    SharedProblem {
        status: 409,
        name: "Taken",
        description: "Another object has the id, uid or token that is given (`code` is `taken`), another request had this \
            `Idempotency-Key` (`idempotency_key_reused`), a newer release wrote the object (`newer_version`), or a process that \
            runs could not read it (`older_instance`)",
        id: ProblemId::Validation,
        when: When::Unique,
    },
];

// === impl Operation ===

impl Operation<'_> {
    fn complete(mut self) {
        let tag = self.tag();
        let writes = self.method != "get";
        let secured = self.value.get("security").is_none();
        // What the log answers with are no objects of the control topic, and neither are jobs and rejected records.
        let logged = matches!(self.value["tags"][0].as_str(), Some("log" | "jobs" | "rejected"));
        let object = secured && self.path.contains('{') && !self.is_beside() && !logged;
        // The gateway serves events, and they change nothing that a later request could miss.
        let own = self.value["tags"][0] != "events";
        let listed = secured
            && !writes
            && self.value["responses"]["200"]["content"]["application/json"]["schema"]["type"] == "array";
        // Pages of `audit` are not made of rows alone.
        if listed && !logged && self.value["tags"][0] != "audit" {
            self.parameter("limit");
            let of_names = ["sources.partitions", "instances.list", "topics.list"];
            let by_name = self.value["tags"][0] == "event_types"
                || self.value["operationId"].as_str().is_some_and(|id| of_names.contains(&id));
            self.parameter(if by_name { "NameCursor" } else { "IdCursor" });
        }
        self.problems(secured, own);
        self.require_body();
        if own {
            self.parameter(CONSISTENCY);
        }
        if own && secured && self.method == "post" {
            self.parameter(IDEMPOTENCY_KEY);
        }
        if writes && (object || self.is_of_job()) {
            self.parameter("If-Match");
        }
        if object && !writes {
            self.parameter("If-None-Match");
            self.response(304, json!({ "description": "The client has this version already" }));
        }
        self.response_headers(writes && secured && own, tag);
        if listed || self.path.ends_with("/timeline") || self.path.ends_with("/explain") {
            self.value["responses"]["200"]["headers"]["Link"] = json!({ "$ref": "#/components/headers/Link" });
        }
    }

    /// Adds the problems that the layers, the extractors and the store may answer with.
    fn problems(&mut self, secured: bool, conditional: bool) {
        let body = self.value.get("requestBody").is_some();
        let finds = secured && (body || self.value.get("parameters").is_some());
        for shared in SHARED {
            let applies = match shared.when {
                When::Always => true,
                When::Secured => secured,
                When::Finds => finds,
                When::Body => body,
                When::Conditional => conditional,
                When::Unique => secured && (body || self.method == "post") && self.value["tags"][0] != "events",
            };
            if applies {
                self.response(shared.status, json!({ "$ref": format!("#/components/responses/{}", shared.name) }));
            }
        }
        self.own_problems();
    }

    /// What a handler lists as `(status = 409, description = "OrganizationIsNotEmpty: ...")` gets its body.
    fn own_problems(&mut self) {
        let Some(responses) = self.value["responses"].as_object_mut() else { return };
        for (status, response) in responses {
            let failed = status.parse::<u16>().is_ok_and(|status| status >= 400);
            if failed && response.get("content").is_none() && response.get("$ref").is_none() {
                let described = response["description"].as_str().unwrap_or_default().to_owned();
                let named = |id: &&ProblemId| described.starts_with(id.as_str());
                let id = schemas::problem::ALL.iter().find(named).copied().unwrap_or(ProblemId::Validation);
                response["content"] = problem_content(id, status.parse().unwrap_or(500));
            }
        }
    }

    /// Adds a response, unless the handler has described it.
    fn response(&mut self, status: u16, response: Value) {
        let responses = &mut self.value["responses"];
        if responses.get(status.to_string()).is_none() {
            responses[status.to_string()] = response;
        }
    }

    /// A body that is described may not be left out, but where all of it is optional.
    fn require_body(&mut self) {
        let required = !OPTIONAL_BODY.iter().any(|id| self.value["operationId"] == **id);
        if let Some(body) = self.value.get_mut("requestBody").and_then(Value::as_object_mut) {
            body.entry("required").or_insert(Value::Bool(required));
        }
    }

    fn parameter(&mut self, name: &str) {
        let reference = json!({ "$ref": format!("#/components/parameters/{name}") });
        match self.value["parameters"].as_array_mut() {
            Some(parameters) => parameters.push(reference),
            None => self.value["parameters"] = json!([reference]),
        }
    }

    fn response_headers(&mut self, token: bool, tag: bool) {
        let Some(responses) = self.value["responses"].as_object_mut() else { return };
        for (status, response) in responses.iter_mut().filter(|(_, it)| it.get("$ref").is_none()) {
            let mut headers = vec!["X-Request-Id"];
            if token {
                headers.push(CONSISTENCY);
            }
            if tag && matches!(status.as_str(), "200" | "201" | "304") {
                headers.push("ETag");
            }
            if matches!(status.as_str(), "429" | "503") {
                headers.push("Retry-After");
            }
            for name in headers {
                response["headers"][name] = json!({ "$ref": format!("#/components/headers/{name}") });
            }
        }
    }

    /// Whether it reads something beside an object, which has no version of its own: how a subscription is doing.
    fn is_beside(&self) -> bool {
        self.method == "get" && self.path.contains('{') && !self.path.ends_with('}')
    }

    /// Whether it is about one job, which has a version though it is no object of the control topic.
    fn is_of_job(&self) -> bool {
        self.path.starts_with("/api/v1/jobs/{job_id}")
    }

    /// Whether it answers with one object that has a version.
    fn tag(&self) -> bool {
        let success = |status: &str| {
            let schema = &self.value["responses"][status]["content"]["application/json"]["schema"];
            let array = schema["type"] == "array";
            !(schema.is_null() || array)
        };
        let own = matches!(self.value["tags"][0].as_str(), Some("events" | "instance" | "log" | "jobs" | "rejected"))
            || [":batch", ":test", "/check"].iter().any(|end| self.path.ends_with(end));
        (!own || self.is_of_job()) && !self.is_beside() && (success("200") || success("201"))
    }
}

// === impl SharedProblem ===

impl SharedProblem {
    fn response(&self) -> Value {
        let header = |name: &str| json!({ "$ref": format!("#/components/headers/{name}") });
        let mut headers = json!({ "X-Request-Id": header("X-Request-Id") });
        if self.status == 503 {
            headers["Retry-After"] = header("Retry-After");
        }
        let content = problem_content(self.id, self.status);
        json!({ "description": self.description, "headers": headers, "content": content })
    }
}

// === parts ===

fn problem_content(id: ProblemId, status: u16) -> Value {
    let example = Problem::new(id, id.title()).with_status(status);
    json!({
        Problem::CONTENT_TYPE: { "schema": { "$ref": "#/components/schemas/Problem" }, "example": example },
    })
}

fn problem_schema() -> Value {
    let ids: Vec<&str> = schemas::problem::ALL.iter().map(|id| id.as_str()).collect();
    json!({
        "type": "object",
        "description": "What went wrong: RFC 9457, with an id of the closed list clients know and a code of ours.",
        "required": ["type", "id", "title", "detail", "status"],
        "properties": {
            "type": { "type": "string", "format": "uri-reference" },
            "id": { "type": "string", "enum": ids },
            "title": { "type": "string" },
            "detail": { "type": "string", "description": "What happened, for people." },
            "status": { "type": "integer", "format": "int32", "minimum": 400, "maximum": 599 },
            "validation": { "type": ["object", "null"], "description": "Messages per field." },
            // No `enum`: a client that checks answers would refuse the codes of a newer server.
            "code": {
                "type": "string",
                "x-extensible-enum": Code::ALL,
                "description": "What exactly, for programs. Those that are known so far: a newer server may have more.",
            },
        },
        "example": Problem::new(ProblemId::NotFound, "there is no such application"),
    })
}

// === request bodies ===

/// Names of the schemas a value refers to.
fn references(value: &Value, names: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            let name = fields.get("$ref").and_then(Value::as_str).and_then(|it| it.rsplit('/').next());
            names.extend(name.map(str::to_owned));
            fields.values().for_each(|value| references(value, names));
        }
        Value::Array(elements) => elements.iter().for_each(|value| references(value, names)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Says of every schema that stands in a request that unknown fields are refused.
fn close(schemas: &mut Value, mut names: Vec<String>) {
    let mut done = std::collections::BTreeSet::new();
    while let Some(name) = names.pop() {
        if !done.insert(name.clone()) {
            continue;
        }
        if let Some(schema) = schemas.get_mut(&name) {
            close_objects(schema);
            references(schema, &mut names);
        }
    }
}

fn close_objects(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if fields.get("properties").is_some_and(Value::is_object) && !fields.contains_key("additionalProperties") {
                fields.insert("additionalProperties".to_owned(), Value::Bool(false));
            }
            fields.iter_mut().filter(|(name, _)| *name != "example").for_each(|(_, value)| close_objects(value));
        }
        Value::Array(elements) => elements.iter_mut().for_each(close_objects),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
