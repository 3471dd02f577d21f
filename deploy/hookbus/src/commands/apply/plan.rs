//! What has to be done: made from what is wanted and what is there, before anything is written.

use anyhow::Result;
use http::Method;
use serde_json::{Map, Value};

use super::all_wrong;
use super::difference::{changes, fields, is_there};
use super::keys::Kind;
use super::state::State;
use super::wanted::Wanted;
use super::yaml::Wrong;
use crate::management::{Ask, Management, Refused, path};

/// The name of a secret every application is made with.
const DEFAULT_SECRET: &str = "Default";
/// Asks for the answer without the change.
const DRY_RUN: &str = "dry_run=true";

/// Everything that has to be done, in order.
#[derive(Debug, Default)]
pub(crate) struct Plan<'a> {
    /// The steps.
    pub(crate) steps: Vec<PlanStep<'a>>,
    /// Objects that are as they are wanted.
    unchanged: usize,
    /// Event types and subscriptions of the given applications that no document names.
    pub(crate) unnamed: usize,
}

/// One thing to do.
#[derive(Debug)]
pub(crate) struct PlanStep<'a> {
    /// What it is done to.
    pub(crate) name: String,
    /// What is done.
    pub(crate) action: Action,
    /// The document that wants it; a deletion has none.
    pub(crate) wanted: Option<&'a Wanted<'a>>,
    /// Field by field.
    lines: Vec<String>,
}

/// What is done.
#[derive(Debug)]
pub(crate) enum Action {
    /// It is made.
    Create {
        /// Where.
        path: String,
        /// With what.
        body: Value,
    },
    /// It is changed, if it is still what was planned with.
    Change {
        /// How.
        method: Method,
        /// Where.
        path: String,
        /// To what.
        body: Value,
        /// Its version when this was planned.
        etag: Option<String>,
    },
    /// It is deleted.
    Delete {
        /// Where.
        path: String,
    },
}

/// What the management API makes of a change.
enum ChangeVerdict {
    /// Nothing: it is so already.
    Same,
    /// This, of that version.
    Differs { lines: Vec<String>, etag: Option<String> },
}

/// Makes the plan.
///
/// # Errors
/// What is wanted cannot be (all of it, with its lines), or the management API cannot be reached.
pub(crate) async fn make<'a>(
    management: &Management,
    all: &'a [Wanted<'a>],
    state: &State,
    prune: bool,
) -> Result<Plan<'a>> {
    let (mut plan, mut wrong) = (Plan::default(), Vec::new());
    // An event type that is only planned is not declared yet, and a subscription may name it.
    let declares = all.iter().any(|it| it.kind == Kind::EventType && !matches!(state.find(it), Ok(Some(_))));
    let planner = Planner { management, all, state, declares };
    for wanted in all {
        match state.find(wanted) {
            Ok(found) => match planner.step(wanted, found).await? {
                Ok(Some(step)) => plan.steps.push(step),
                Ok(None) => plan.unchanged += 1,
                Err(found) => wrong.extend(found),
            },
            Err(found) => wrong.push(found),
        }
    }
    if !wrong.is_empty() {
        return Err(all_wrong(wrong));
    }
    let deletions = deletions(all, state);
    plan.unnamed = deletions.len();
    if prune {
        plan.steps.extend(deletions);
    }
    Ok(plan)
}

struct Planner<'p> {
    management: &'p Management,
    all: &'p [Wanted<'p>],
    state: &'p State,
    declares: bool,
}

impl Planner<'_> {
    /// What has to be done for one object; the inner error is what is wrong with its document.
    async fn step<'a>(
        &self,
        wanted: &'a Wanted<'a>,
        found: Option<&Value>,
    ) -> Result<Result<Option<PlanStep<'a>>, Vec<Wrong>>> {
        let Some(shown) = found else { return self.creation(wanted).await };
        let body = wanted.change();
        let ask_for = body.iter().any(|(name, value)| !is_there(value, &shown[shown_name(wanted.kind, name)]));
        if !ask_for {
            return Ok(Ok(None));
        }
        let place = place(wanted, shown, self.state);
        let verdict = match wanted.kind {
            // Its path holds the token: it is compared here, and asked for only when it is changed.
            Kind::Secret => ChangeVerdict::Differs { lines: local(shown, &body, wanted), etag: None },
            Kind::Organization
            | Kind::Application
            | Kind::EventType
            | Kind::Subscription
            | Kind::SchemaRegistry
            | Kind::Source => match self.ask(wanted, &place, &body).await? {
                Ok(verdict) => verdict,
                Err(wrong) => return Ok(Err(wrong)),
            },
        };
        let ChangeVerdict::Differs { lines, etag } = verdict else { return Ok(Ok(None)) };
        let action = Action::Change { method: place.method, path: place.write, body: whole(wanted, body), etag };
        Ok(Ok(Some(PlanStep { name: wanted.to_string(), action, wanted: Some(wanted), lines })))
    }

    async fn creation<'a>(&self, wanted: &'a Wanted<'a>) -> Result<Result<Option<PlanStep<'a>>, Vec<Wrong>>> {
        if let Some(wrong) = self.state.without_parent(wanted, self.all) {
            return Ok(Err(vec![wrong]));
        }
        let is_inner = matches!(wanted.kind, Kind::Secret | Kind::EventType | Kind::Subscription);
        let parent_is_there = !is_inner || self.state.application_of(wanted).is_some();
        if wanted.kind == Kind::Secret && !parent_is_there && wanted.id.is_none() && wanted.name() == DEFAULT_SECRET {
            return Ok(Ok(None));
        }
        let (path, body) = (format!("/{}", wanted.kind.plural()), wanted.creation());
        // What needs an object that is only planned cannot be tried; its turn comes when it is made.
        let is_tried = is_inner && parent_is_there && wanted.kind != Kind::Secret;
        let is_tried = is_tried || wanted.kind == Kind::SchemaRegistry;
        if is_tried || wanted.kind == Kind::Source && self.has_all() {
            let tried = format!("{path}?{DRY_RUN}");
            let tried = self.management.ask(&wanted.to_string(), Ask::send(Method::POST, tried, &body)).await;
            if let Err(error) = tried
                && let Err(wrong) = self.refused(wanted, error)?
            {
                return Ok(Err(wrong));
            }
        }
        let lines = fields(&Value::Object(wanted.body.clone()), &wanted.hidden);
        let action = Action::Create { path, body };
        Ok(Ok(Some(PlanStep { name: wanted.to_string(), action, wanted: Some(wanted), lines })))
    }

    /// Whether every organization, application and schema registry of the documents is there: a source may name any of them.
    fn has_all(&self) -> bool {
        let named = |kind: Kind| matches!(kind, Kind::Organization | Kind::Application | Kind::SchemaRegistry);
        self.all.iter().filter(|it| named(it.kind)).all(|it| matches!(self.state.find(it), Ok(Some(_))))
    }

    /// What a change would come to.
    async fn ask(
        &self,
        wanted: &Wanted<'_>,
        place: &Place,
        body: &Map<String, Value>,
    ) -> Result<Result<ChangeVerdict, Vec<Wrong>>> {
        let what = wanted.to_string();
        let before = self.management.ask(&what, Ask::get(place.read.as_str())).await?;
        let dry = format!("{}{}{DRY_RUN}", place.write, if place.write.contains('?') { '&' } else { '?' });
        let whole = whole(wanted, body.clone());
        let after = match self.management.ask(&what, Ask::send(place.method.clone(), dry, &whole)).await {
            Ok(after) => after,
            Err(error) => {
                return Ok(self.refused(wanted, error)?.map(|()| {
                    let lines = local(&before.value, body, wanted);
                    ChangeVerdict::Differs { lines, etag: before.etag }
                }));
            }
        };
        if before.etag.is_some() && before.etag == after.etag {
            return Ok(Ok(ChangeVerdict::Same));
        }
        let (before_fields, after_fields) = (own(wanted.kind, &before.value), own(wanted.kind, &after.value));
        let mut lines = changes(&before_fields, &after_fields, &wanted.hidden);
        if lines.is_empty() {
            lines.push("a value that is not shown".to_owned());
        }
        Ok(Ok(ChangeVerdict::Differs { lines, etag: before.etag }))
    }

    /// A refusal of a try: the outer error is no refusal at all, the inner one is the document's fault.
    fn refused(&self, wanted: &Wanted<'_>, error: anyhow::Error) -> Result<Result<(), Vec<Wrong>>> {
        let refused = error.downcast::<Refused>()?;
        if self.declares && refused.is("EventTypeDoesNotExist") {
            return Ok(Ok(()));
        }
        if !matches!(refused.status, 400 | 409 | 422) {
            return Err(refused.into());
        }
        Ok(Err(blame(wanted, &refused)))
    }
}

/// What is wrong with a document, by what the API says of its fields.
pub(crate) fn blame(wanted: &Wanted<'_>, refused: &Refused) -> Vec<Wrong> {
    if refused.fields.is_empty() {
        return vec![wanted.wrong("", &format!("{wanted}: {}", refused.detail))];
    }
    refused.fields.iter().map(|(field, message)| wanted.wrong(field, message)).collect()
}

/// A written field's name in what is shown.
fn shown_name(kind: Kind, written: &str) -> &str {
    if kind == Kind::EventType && written == "name" { "event_type_name" } else { written }
}

/// The fields a document may have: figures that are worked out on reading are none.
fn own(kind: Kind, shown: &Value) -> Value {
    let fields = kind.fields().iter().filter(|name| !shown[**name].is_null());
    Value::Object(fields.map(|name| ((*name).to_owned(), shown[*name].clone())).collect())
}

/// The differences without asking: of the written fields alone.
fn local(shown: &Value, body: &Map<String, Value>, wanted: &Wanted<'_>) -> Vec<String> {
    let mut after = shown.clone();
    for (name, value) in body {
        after[name.as_str()] = value.clone();
    }
    changes(shown, &after, &wanted.hidden)
}

/// Where a known object is read and changed.
struct Place {
    read: String,
    method: Method,
    write: String,
}

fn place(wanted: &Wanted<'_>, shown: &Value, state: &State) -> Place {
    let id = shown[wanted.kind.id_field()].as_str().unwrap_or_default();
    let application = state.application_of(wanted).unwrap_or_default();
    let put = |read: String| Place { write: read.clone(), read, method: Method::PUT };
    // Putting replaces what is written as a whole and leaves the rest; a patch would merge labels and schemas.
    match wanted.kind {
        Kind::Organization => put(path("/organizations/{}", [id])),
        Kind::Application => put(path("/applications/{}", [id])),
        Kind::Secret => put(path("/application_secrets/{}", [id])),
        Kind::SchemaRegistry => put(path("/schema_registries/{}", [id])),
        Kind::Source => put(path("/sources/{}", [id])),
        Kind::Subscription => put(path("/subscriptions/{}?application_id={}", [id, &application])),
        Kind::EventType => {
            let read = path("/event_types/{}?application_id={}", [id, &application]);
            // Declaring what is declared changes it.
            Place { read, method: Method::POST, write: "/event_types".to_owned() }
        }
    }
}

/// The body of a change: secrets and event types name what they are of, and themselves.
fn whole(wanted: &Wanted<'_>, mut body: Map<String, Value>) -> Value {
    if let (Kind::Secret | Kind::EventType, Some(parent), Some(name)) = (wanted.kind, &wanted.parent, &wanted.key) {
        body.insert("application_id".to_owned(), Value::String(parent.clone()));
        body.insert("name".to_owned(), Value::String(name.clone()));
    }
    Value::Object(body)
}

/// What no document names, in the applications that have a document themselves; what needs others goes first.
fn deletions<'a>(all: &'a [Wanted<'a>], state: &State) -> Vec<PlanStep<'a>> {
    let mut steps = Vec::new();
    for kind in [Kind::Subscription, Kind::EventType] {
        for application in all.iter().filter(|it| it.kind == Kind::Application) {
            let Some(id) = state.application_of(application) else { continue };
            let named: Vec<&Value> = all
                .iter()
                .filter(|it| it.kind == kind && state.application_of(it).as_ref() == Some(&id))
                .filter_map(|it| state.find(it).ok().flatten())
                .collect();
            for unnamed in state.held(&id, kind).iter().filter(|it| !named.contains(it)) {
                let own = unnamed[kind.id_field()].as_str().unwrap_or_default();
                let shown = unnamed["uid"].as_str().unwrap_or(own);
                let name = format!("{kind} {shown} of {}", application.name());
                let path = path(&format!("/{}/{{}}?application_id={{}}", kind.plural()), [own, &id]);
                steps.push(PlanStep { name, action: Action::Delete { path }, wanted: None, lines: Vec::new() });
            }
        }
    }
    steps
}

// === impl Plan ===

impl Plan<'_> {
    /// Whether everything is as it is wanted.
    pub(crate) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The plan as a person reads it.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut counts = [0_usize; 3];
        for step in &self.steps {
            let (sign, at) = match step.action {
                Action::Create { .. } => ('+', 0),
                Action::Change { .. } => ('~', 1),
                Action::Delete { .. } => ('-', 2),
            };
            counts[at] += 1;
            lines.push(format!("{sign} {}", step.name));
            lines.extend(step.lines.iter().map(|line| format!("    {line}")));
        }
        let [create, change, delete] = counts;
        let unchanged = self.unchanged;
        lines.push(if self.is_empty() {
            format!("Nothing to do: {unchanged} unchanged.")
        } else {
            format!("Plan: {create} to create, {change} to change, {delete} to delete, {unchanged} unchanged.")
        });
        lines
    }
}
