//! YAML text as JSON values that know their lines. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use saphyr::{LoadableYamlNode, MarkedYaml, Scalar, YamlData};
use serde_json::{Map, Number, Value};

/// As deep as the management API reads.
const MAX_DEPTH: usize = 127;

/// One document of a file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Document {
    /// The file, as it is shown.
    pub(crate) file: Arc<str>,
    /// The fields.
    pub(crate) fields: Map<String, Value>,
    /// The line of each value by its path (`target.url`), the document's own under the empty one.
    lines: BTreeMap<String, usize>,
}

/// Something wrong in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    place: String,
    message: String,
}

// === impl Document ===

impl Document {
    /// All documents of a text. Empty ones are left out.
    ///
    /// # Errors
    /// It is not YAML, or holds what JSON cannot.
    pub(crate) fn read(file: &str, text: &str) -> Result<Vec<Self>, Vec<Wrong>> {
        let file: Arc<str> = file.into();
        let roots = MarkedYaml::load_from_str(text).map_err(|error| {
            vec![Wrong { place: format!("{file}:{}", error.marker().line()), message: error.info().to_owned() }]
        })?;
        let (mut documents, mut wrong) = (Vec::new(), Vec::new());
        for root in roots {
            let mut document = Self { file: Arc::clone(&file), fields: Map::new(), lines: BTreeMap::new() };
            match document.value(&root, "", 0) {
                Ok(Value::Object(fields)) => {
                    document.fields = fields;
                    documents.push(document);
                }
                Ok(Value::Null) => {}
                Ok(_other) => wrong.push(document.wrong("", "a document must be a mapping that names its `kind`")),
                Err(error) => wrong.push(error),
            }
        }
        if wrong.is_empty() { Ok(documents) } else { Err(wrong) }
    }

    /// Something wrong at a path, or where its nearest written ancestor stands.
    pub(crate) fn wrong(&self, path: &str, message: impl Into<String>) -> Wrong {
        Wrong { place: self.place(path), message: message.into() }
    }

    /// `file:line` of a path.
    pub(crate) fn place(&self, path: &str) -> String {
        let mut path = path;
        loop {
            if let Some(line) = self.lines.get(path) {
                return format!("{}:{line}", self.file);
            }
            match path.rsplit_once('.') {
                Some((parent, _last)) => path = parent,
                None if path.is_empty() => return self.file.to_string(),
                None => path = "",
            }
        }
    }

    fn value(&mut self, node: &MarkedYaml<'_>, path: &str, depth: usize) -> Result<Value, Wrong> {
        self.lines.entry(path.to_owned()).or_insert_with(|| node.span.start.line());
        if depth > MAX_DEPTH {
            return Err(self.wrong(path, format!("is nested more than {MAX_DEPTH} levels deep")));
        }
        match &node.data {
            YamlData::Value(scalar) => self.scalar(scalar, path),
            YamlData::Sequence(list) => {
                let entries = list.iter().enumerate();
                let entries = entries.map(|(at, entry)| self.value(entry, &join(path, &at.to_string()), depth + 1));
                entries.collect::<Result<_, _>>().map(Value::Array)
            }
            YamlData::Mapping(mapping) => {
                let mut map = Map::new();
                for (key, entry) in mapping {
                    let Some(name) = key.data.as_str() else {
                        self.lines.insert(path.to_owned(), key.span.start.line());
                        return Err(self.wrong(path, "a key that is no text must stand in quotes"));
                    };
                    let inner = join(path, name);
                    // The key's line: a block begins one line later.
                    self.lines.insert(inner.clone(), key.span.start.line());
                    map.insert(name.to_owned(), self.value(entry, &inner, depth + 1)?);
                }
                Ok(Value::Object(map))
            }
            YamlData::Tagged(tag, _) => Err(self.wrong(path, format!("the tag {tag} is not known"))),
            YamlData::Representation(..) | YamlData::Alias(_) | YamlData::BadValue => {
                Err(self.wrong(path, "is no value of YAML's core schema"))
            }
        }
    }

    fn scalar(&self, scalar: &Scalar<'_>, path: &str) -> Result<Value, Wrong> {
        Ok(match scalar {
            Scalar::Null => Value::Null,
            Scalar::Boolean(flag) => Value::Bool(*flag),
            Scalar::Integer(number) => Value::Number((*number).into()),
            Scalar::FloatingPoint(number) => {
                let number = Number::from_f64(number.into_inner());
                Value::Number(number.ok_or_else(|| self.wrong(path, "must be a finite number"))?)
            }
            Scalar::String(text) => Value::String(text.as_ref().to_owned()),
        })
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

impl Wrong {
    /// Something wrong that is at no line.
    pub(crate) fn of_file(file: &str, message: impl Into<String>) -> Self {
        Self { place: file.to_owned(), message: message.into() }
    }
}

/// A path one step deeper.
pub(crate) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn wrong(text: &str) -> String {
        Document::read("f.yaml", text).unwrap_err().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn values_know_their_lines() {
        let text = "---\n# first\nkind: application\ntarget:\n  url: x\n  headers:\n    a: 1\nlist:\n  - b\n---\n---\nkind: y\n";
        let documents = Document::read("f.yaml", text).unwrap();
        assert_eq!(documents.len(), 2);
        let first = &documents[0];
        let fields = json!({"kind": "application", "target": {"url": "x", "headers": {"a": 1}}, "list": ["b"]});
        assert_eq!(Value::Object(first.fields.clone()), fields);
        for (path, line) in
            [("", 3), ("kind", 3), ("target", 4), ("target.url", 5), ("target.headers.a", 7), ("list.0", 9)]
        {
            assert_eq!(first.place(path), format!("f.yaml:{line}"), "{path}");
        }
        assert_eq!(first.place("target.headers.nobody.has.this"), "f.yaml:6");
        assert_eq!(documents[1].place("nothing"), "f.yaml:12");
    }

    #[test]
    fn scalars_are_of_yaml_1_2_and_anchors_are_followed() {
        let text = "a: yes\nb: true\nc: 0o17\nd: 1.5\ne: ~\nf: 2026-11-22\ng: &x [1, '2']\nh: *x\ni: 'true'\nj: |\n  two\n  lines\n";
        let fields = Document::read("f", text).unwrap().remove(0).fields;
        let expected = json!({"a": "yes", "b": true, "c": 15, "d": 1.5, "e": null, "f": "2026-11-22",
            "g": [1, "2"], "h": [1, "2"], "i": "true", "j": "two\nlines\n"});
        assert_eq!(Value::Object(fields), expected);
    }

    #[test]
    fn json_is_yaml() {
        let documents = Document::read("f.json", "{\"kind\": \"x\",\n \"a\": [{\"b\": null}]}").unwrap();
        assert_eq!(Value::Object(documents[0].fields.clone()), json!({"kind": "x", "a": [{"b": null}]}));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        assert!(wrong("kind: x\nname: [1, 2\n").starts_with("f.yaml:"), "{}", wrong("kind: x\nname: [1, 2\n"));
        assert!(wrong("a: 1\nb: 2\na: 3\n").starts_with("f.yaml:3: "), "{}", wrong("a: 1\nb: 2\na: 3\n"));
        assert_eq!(wrong("# nothing\n\n- a\n"), "f.yaml:3: a document must be a mapping that names its `kind`");
        assert_eq!(wrong("a:\n  1: b\n"), "f.yaml:2: a key that is no text must stand in quotes");
        assert_eq!(wrong("a: .inf\n"), "f.yaml:1: must be a finite number");
        assert!(wrong("a: !secret b\n").contains("is not known"));
    }

    #[test]
    fn bombs_are_refused() {
        let mut laughs = "a0: &a0 [x]\n".to_owned();
        for at in 1..20 {
            let refs = vec![format!("*a{}", at - 1); 10].join(", ");
            laughs.push_str(&format!("a{at}: &a{at} [{refs}]\n"));
        }
        assert!(Document::read("f", &laughs).is_err());
        let deep = format!("a: {}{}", "[".repeat(1_000), "]".repeat(1_000));
        assert!(Document::read("f", &deep).is_err());
    }
}
