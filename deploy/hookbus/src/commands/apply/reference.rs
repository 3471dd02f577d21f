//! Secrets that stand elsewhere: `{env: NAME}` and `{file: PATH}`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value};

use super::yaml::{Document, Wrong, join};

/// Longer secrets than this nothing takes.
const SECRET_LIMIT: u64 = 64 * 1024;

/// How an environment variable is read.
pub(crate) type Variables<'a> = &'a (dyn Fn(&str) -> Option<String> + Sync);

/// Resolves the references in a document.
pub(crate) struct Resolver<'a> {
    /// The document, for lines.
    pub(crate) document: &'a Document,
    /// The environment.
    pub(crate) variables: Variables<'a>,
    /// Paths of what was a reference: such values are never printed.
    pub(crate) hidden: BTreeSet<String>,
    /// What is wrong so far.
    pub(crate) wrong: Vec<Wrong>,
}

impl Resolver<'_> {
    /// The value with every reference in it replaced by what it refers to.
    pub(crate) fn resolve(&mut self, value: &Value, path: &str) -> Value {
        match value {
            Value::Object(map) => match reference(map) {
                Some((kind, name)) => {
                    self.hidden.insert(path.to_owned());
                    let found = if kind == "env" { self.of_env(name) } else { self.of_file(name) };
                    found.map_or_else(
                        |message| {
                            self.wrong.push(self.document.wrong(path, message));
                            Value::Null
                        },
                        Value::String,
                    )
                }
                None => {
                    let entry =
                        |(name, value): (&String, &Value)| (name.clone(), self.resolve(value, &join(path, name)));
                    Value::Object(map.iter().map(entry).collect())
                }
            },
            Value::Array(list) => {
                let entry = |(at, value): (usize, &Value)| self.resolve(value, &join(path, &at.to_string()));
                Value::Array(list.iter().enumerate().map(entry).collect())
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
        }
    }

    fn of_env(&self, name: &str) -> Result<String, String> {
        (self.variables)(name).ok_or_else(|| format!("the environment variable {name} is not set"))
    }

    fn of_file(&self, name: &str) -> Result<String, String> {
        let path = beside(&self.document.file, name);
        let shown = path.display();
        let size = fs::metadata(&path).map_err(|error| format!("cannot read {shown}: {error}"))?.len();
        if size > SECRET_LIMIT {
            return Err(format!("{shown} has {size} bytes, a secret at most {SECRET_LIMIT}"));
        }
        let text = fs::read_to_string(&path).map_err(|error| format!("cannot read {shown}: {error}"))?;
        // Editors end a file with a line's end, which is no part of a secret.
        Ok(text.strip_suffix('\n').map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text)).to_owned())
    }
}

/// `{env: NAME}` or `{file: PATH}`.
fn reference(map: &Map<String, Value>) -> Option<(&str, &str)> {
    let mut entries = map.iter();
    let (kind, name) = entries.next()?;
    let fits = entries.next().is_none() && matches!(kind.as_str(), "env" | "file");
    if fits { Some((kind, name.as_str()?)) } else { None }
}

/// A path as it is written in a file: beside that file.
pub(crate) fn beside(file: &str, name: &str) -> std::path::PathBuf {
    Path::new(file).parent().map_or_else(|| name.into(), |folder| folder.join(name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn references_are_replaced_and_remembered_as_hidden() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("token"), "from a file\r\n").unwrap();
        let file = folder.path().join("f.yaml").display().to_string();
        let text = "a: {env: HERE}\nb: {file: token}\nc: {env: GONE}\nd: {file: gone}\ne: {env: x, more: y}\nf: [{env: HERE}]\n";
        let document = Document::read(&file, text).unwrap().remove(0);
        let variables = |name: &str| (name == "HERE").then(|| "from the environment".to_owned());
        let mut resolver =
            Resolver { document: &document, variables: &variables, hidden: BTreeSet::new(), wrong: Vec::new() };
        let resolved = resolver.resolve(&Value::Object(document.fields.clone()), "");
        let expected = json!({"a": "from the environment", "b": "from a file", "c": null, "d": null,
            "e": {"env": "x", "more": "y"}, "f": ["from the environment"]});
        assert_eq!(resolved, expected);
        assert_eq!(resolver.hidden.iter().map(String::as_str).collect::<Vec<_>>(), ["a", "b", "c", "d", "f.0"]);
        let wrong: Vec<String> = resolver.wrong.iter().map(ToString::to_string).collect();
        assert_eq!(wrong[0], format!("{file}:3: the environment variable GONE is not set"));
        assert!(wrong[1].starts_with(&format!("{file}:4: cannot read ")), "{wrong:?}");
    }
}
