//! What the documents want: objects with checked keys and resolved secrets, in the order in which they are made.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::keys::{KINDS, Kind, unknown};
use super::reference::{Resolver, Variables, beside};
use super::yaml::{Document, Wrong, join};

/// One object as a document wants it.
#[derive(Clone, Debug)]
pub(crate) struct Wanted<'a> {
    /// Where it stands.
    pub(crate) document: &'a Document,
    /// Its place inside the document; empty for the document itself.
    pub(crate) inside: String,
    /// What it is.
    pub(crate) kind: Kind,
    /// Its id, if one is given.
    pub(crate) id: Option<String>,
    /// What it is found by without an id: its uid, an event type's or a secret's name.
    pub(crate) key: Option<String>,
    /// What it belongs to, as written.
    pub(crate) parent: Option<String>,
    /// The fields that are written, as the API takes them; ids and parents are not among them.
    pub(crate) body: Map<String, Value>,
    /// Paths of values that are never printed.
    pub(crate) hidden: BTreeSet<String>,
}

// === reading ===

/// Every object of the documents, what is needed first.
///
/// # Errors
/// All that is wrong with all of them.
pub(crate) fn read<'a>(documents: &'a [Document], variables: Variables<'_>) -> Result<Vec<Wanted<'a>>, Vec<Wrong>> {
    let (mut all, mut wrong) = (Vec::new(), Vec::new());
    for document in documents {
        match of_document(document, variables) {
            Ok(wanted) => all.extend(wanted),
            Err(read) => wrong.extend(read),
        }
    }
    // Only when every document is understood: a parent that is wrong itself would be told as missing.
    if wrong.is_empty() {
        wrong.extend(name_parents(&mut all));
        wrong.extend(twice(&all));
    }
    all.sort_by_key(|wanted| wanted.kind);
    if wrong.is_empty() { Ok(all) } else { Err(wrong) }
}

fn of_document<'a>(document: &'a Document, variables: Variables<'_>) -> Result<Vec<Wanted<'a>>, Vec<Wrong>> {
    let kind = kind(document).map_err(|wrong| vec![wrong])?;
    let mut wrong = unknown_fields(document, kind, &document.fields, "");
    let mut resolver = Resolver { document, variables, hidden: BTreeSet::new(), wrong: Vec::new() };
    let mut fields = Map::new();
    for (name, value) in &document.fields {
        let resolved = if kind.may_refer(name) { resolver.resolve(value, name) } else { value.clone() };
        fields.insert(name.clone(), resolved);
    }
    let Resolver { hidden, wrong: unresolved, .. } = resolver;
    wrong.extend(unresolved);
    if kind == Kind::EventType {
        wrong.extend(load_schema(document, &mut fields));
    }
    let secrets = fields.remove("secrets");
    fields.remove("kind");
    let mut all = Vec::new();
    match Wanted::of(document, String::new(), kind, fields, hidden) {
        Ok(wanted) => all.push(wanted),
        Err(found) => wrong.extend(found),
    }
    if let Some(owner) = all.first().map(Wanted::name) {
        let hidden = all.first().map(|it| it.hidden.clone()).unwrap_or_default();
        for found in secrets_of(document, &owner, secrets, &hidden) {
            match found {
                Ok(secret) => all.push(secret),
                Err(found) => wrong.extend(found),
            }
        }
    }
    if wrong.is_empty() { Ok(all) } else { Err(wrong) }
}

fn kind(document: &Document) -> Result<Kind, Wrong> {
    let words: Vec<&str> = KINDS.iter().map(|kind| kind.word()).collect();
    match document.fields.get("kind") {
        Some(Value::String(word)) => {
            let kind = KINDS.into_iter().find(|kind| kind.word() == word);
            kind.ok_or_else(|| document.wrong("kind", unknown("kind", word, &words)))
        }
        Some(_other) => Err(document.wrong("kind", "must be text")),
        None => Err(document.wrong("", format!("`kind` is missing: one of {}", words.join(", ")))),
    }
}

fn unknown_fields(document: &Document, kind: Kind, fields: &Map<String, Value>, inside: &str) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    for (name, value) in fields {
        let path = join(inside, name);
        if !kind.fields().contains(&name.as_str()) {
            wrong.push(document.wrong(&path, unknown("field", name, kind.fields())));
        }
        if let (Some(known), Value::Object(inner)) = (kind.inner_fields(name), value) {
            let strange = inner.keys().filter(|inner| !known.contains(&inner.as_str()));
            wrong.extend(strange.map(|inner| document.wrong(&join(&path, inner), unknown("field", inner, known))));
        }
    }
    wrong
}

/// `schema: {file: order.json}` reads the file beside the document.
fn load_schema(document: &Document, fields: &mut Map<String, Value>) -> Option<Wrong> {
    let Some(Value::Object(map)) = fields.get("schema") else { return None };
    let Some(Value::String(name)) = map.get("file").filter(|_| map.len() == 1) else { return None };
    let path = beside(&document.file, name);
    let shown = path.display().to_string();
    let read = std::fs::read_to_string(&path).map_err(|error| format!("cannot read {shown}: {error}"));
    let read = read.and_then(|text| {
        let mut read = Document::read(&shown, &text).map_err(|wrong| wrong[0].to_string())?;
        if read.len() == 1 { Ok(read.remove(0).fields) } else { Err(format!("{shown} must hold one schema")) }
    });
    match read {
        Ok(schema) => {
            fields.insert("schema".to_owned(), Value::Object(schema));
            None
        }
        Err(message) => Some(document.wrong("schema", message)),
    }
}

/// The tokens that stand in an application's document.
fn secrets_of<'a>(
    document: &'a Document,
    owner: &str,
    secrets: Option<Value>,
    hidden: &BTreeSet<String>,
) -> Vec<Result<Wanted<'a>, Vec<Wrong>>> {
    let list = match secrets {
        None | Some(Value::Null) => return Vec::new(),
        Some(Value::Array(list)) => list,
        Some(_other) => return vec![Err(vec![document.wrong("secrets", "must be a list")])],
    };
    let secret = |(at, value): (usize, Value)| {
        let inside = format!("secrets.{at}");
        let Value::Object(fields) = value else { return Err(vec![document.wrong(&inside, "must be a mapping")]) };
        let wrong = unknown_fields(document, Kind::Secret, &fields, &inside);
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let inner = format!("{inside}.");
        let hidden = hidden.iter().filter_map(|path| path.strip_prefix(&inner)).map(str::to_owned).collect();
        let mut secret = Wanted::of(document, inside, Kind::Secret, fields, hidden)?;
        secret.parent = Some(owner.to_owned());
        Ok(secret)
    };
    list.into_iter().enumerate().map(secret).collect()
}

/// A document may leave out its application, or its organization, where the files hold only one.
fn name_parents(all: &mut [Wanted<'_>]) -> Vec<Wrong> {
    let only = |kind: Kind| {
        let mut of_kind = all.iter().filter(|it| it.kind == kind);
        let first = of_kind.next().map(Wanted::name);
        if of_kind.next().is_none() { first } else { None }
    };
    let (organization, application) = (only(Kind::Organization), only(Kind::Application));
    let mut wrong = Vec::new();
    for wanted in all.iter_mut().filter(|it| it.parent.is_none()) {
        match wanted.kind {
            Kind::Organization | Kind::SchemaRegistry => {}
            Kind::Application | Kind::Source => wanted.parent.clone_from(&organization),
            Kind::Secret | Kind::EventType | Kind::Subscription => match &application {
                Some(only) => wanted.parent = Some(only.clone()),
                None => wrong
                    .push(wanted.document.wrong("", "`application` is missing, and the files do not hold just one")),
            },
        }
    }
    wrong
}

/// The same object in two documents.
fn twice(all: &[Wanted<'_>]) -> Vec<Wrong> {
    // An application may be named by its id here and by its uid there.
    let names: BTreeMap<&str, String> =
        all.iter().filter_map(|it| Some((it.id.as_deref()?, it.name()))).filter(|(id, name)| id != name).collect();
    let canonical = |name: &str| names.get(name).cloned().unwrap_or_else(|| name.to_owned());
    let mut seen: BTreeMap<(Kind, String, String), String> = BTreeMap::new();
    let mut wrong = Vec::new();
    for wanted in all.iter().filter(|it| it.kind != Kind::Secret) {
        let scope = if wanted.kind == Kind::Application { None } else { wanted.parent.as_deref() };
        let key = (wanted.kind, scope.map(canonical).unwrap_or_default(), canonical(&wanted.name()));
        let place = wanted.document.place("");
        if let Some(first) = seen.insert(key, place) {
            wrong.push(wanted.document.wrong("", format!("{wanted} stands in {first} already")));
        }
    }
    wrong
}

// === impl Wanted ===

impl<'a> Wanted<'a> {
    fn of(
        document: &'a Document,
        inside: String,
        kind: Kind,
        mut fields: Map<String, Value>,
        hidden: BTreeSet<String>,
    ) -> Result<Self, Vec<Wrong>> {
        let mut wrong = Vec::new();
        let mut text = |fields: &mut Map<String, Value>, name: &str| match fields.remove(name) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) if !text.is_empty() => Some(text),
            Some(_other) => {
                wrong.push(document.wrong(&join(&inside, name), format!("`{name}` must be text")));
                None
            }
        };
        let id = kind.id_key().and_then(|key| text(&mut fields, key));
        let parent = match kind {
            Kind::Organization | Kind::SchemaRegistry | Kind::Secret => None,
            Kind::Application | Kind::EventType | Kind::Subscription | Kind::Source => {
                kind.parent_fields().and_then(|(field, _)| text(&mut fields, field))
            }
        };
        let key_field = match kind {
            Kind::Organization | Kind::Application | Kind::Subscription | Kind::SchemaRegistry | Kind::Source => "uid",
            Kind::Secret | Kind::EventType => "name",
        };
        let key = text(&mut fields, key_field);
        if kind != Kind::Secret && id.as_deref().is_some_and(|id| Uuid::parse_str(id).is_err()) {
            let field = kind.id_key().unwrap_or("id");
            wrong.push(document.wrong(&join(&inside, field), format!("`{field}` must be a UUID")));
        }
        if wrong.is_empty() && key.is_none() && (id.is_none() || kind == Kind::Secret) {
            let or_id = kind.id_key().filter(|_| kind != Kind::Secret).map(|field| format!(" (or `{field}`)"));
            let or_id = or_id.unwrap_or_default();
            wrong
                .push(document.wrong(&inside, format!("`{key_field}`{or_id} is missing: what the {kind} is known by")));
        }
        let wanted = Self { document, inside, kind, id, key, parent, body: fields, hidden };
        if wrong.is_empty() { Ok(wanted) } else { Err(wrong) }
    }

    /// What it is called: its key, else its id.
    pub(crate) fn name(&self) -> String {
        let id = if self.kind == Kind::Secret { None } else { self.id.as_ref() };
        self.key.as_ref().or(id).cloned().unwrap_or_default()
    }

    /// The fields a new one is made with.
    pub(crate) fn creation(&self) -> Value {
        let mut body = self.body.clone();
        let key_field = if matches!(self.kind, Kind::Secret | Kind::EventType) { "name" } else { "uid" };
        if let Some(key) = &self.key {
            body.insert(key_field.to_owned(), Value::String(key.clone()));
        }
        if let Some(id) = &self.id {
            body.insert(self.kind.id_field().to_owned(), Value::String(id.clone()));
        }
        if let (Some((_, field)), Some(parent)) = (self.kind.parent_fields(), &self.parent) {
            body.insert(field.to_owned(), Value::String(parent.clone()));
        }
        Value::Object(body)
    }

    /// The fields a known one is changed to. One that is found by its id may get another uid, or name.
    pub(crate) fn change(&self) -> Map<String, Value> {
        let mut body = self.body.clone();
        if let (Some(_id), Some(key)) = (&self.id, &self.key) {
            let key_field = if self.kind == Kind::Secret { "name" } else { "uid" };
            body.insert(key_field.to_owned(), Value::String(key.clone()));
        }
        body
    }

    /// Something wrong with one of its fields, by the API's name of it.
    pub(crate) fn wrong(&self, field: &str, message: &str) -> Wrong {
        let (own, parent) = (self.kind.id_field(), self.kind.parent_fields());
        let field = match parent {
            Some((written, api)) if api == field => written,
            _ if own == field && self.kind != Kind::EventType => self.kind.id_key().unwrap_or("id"),
            _other => field,
        };
        let said = if field.is_empty() { message.to_owned() } else { format!("`{field}` {message}") };
        self.document.wrong(&join(&self.inside, field), said)
    }
}

impl fmt::Display for Wanted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name())?;
        match (self.kind, &self.parent) {
            (Kind::Secret | Kind::EventType | Kind::Subscription, Some(parent)) => write!(f, " of {parent}"),
            _other => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
