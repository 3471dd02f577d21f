//! What a schema refers to, at any depth: what others refer to comes before them.

use std::collections::BTreeSet;

use sources::schema::{MAX_REFERENCES, MAX_SCHEMA_TEXT, RegisteredSchema, SchemaReference};

use crate::answer::{FoundReference, FoundSchema, RegistryAnswer};
use crate::client::RegistryClient;

/// The walk through what a schema refers to. Pure: whoever walks fetches what it asks for.
#[derive(Debug)]
pub(crate) struct ReferenceWalk {
    /// Names that were entered: a schema that several refer to is read once.
    entered: BTreeSet<String>,
    /// From the schema itself down to the one that is looked at.
    open: Vec<OpenSchema>,
    left: Vec<SchemaReference>,
    bytes: usize,
}

/// A schema some of whose references are still to be read.
#[derive(Debug)]
struct OpenSchema {
    /// None: the schema itself.
    reference: Option<SchemaReference>,
    references: std::vec::IntoIter<FoundReference>,
}

/// A schema with all that it refers to.
pub(crate) async fn complete(client: &RegistryClient, found: FoundSchema) -> RegistryAnswer<RegisteredSchema> {
    let (kind, text) = (found.kind, found.text);
    let mut walk = ReferenceWalk::new(text.len(), found.references);
    while let Some(wanted) = walk.next() {
        let wanted = match wanted {
            Ok(wanted) => wanted,
            Err(why) => return RegistryAnswer::Unusable(why),
        };
        let entered = match client.referenced(&wanted).await.found() {
            Ok(found) => walk.enter(wanted.name, found),
            Err(other) => return other,
        };
        if let Err(why) = entered {
            return RegistryAnswer::Unusable(why);
        }
    }
    RegistryAnswer::Found(RegisteredSchema { kind, text, references: walk.left })
}

// === impl ReferenceWalk ===

impl ReferenceWalk {
    fn new(bytes: usize, references: Vec<FoundReference>) -> Self {
        let root = OpenSchema { reference: None, references: references.into_iter() };
        Self { entered: BTreeSet::new(), open: vec![root], left: Vec::new(), bytes }
    }

    /// What is to be read next; an error: there are too many.
    fn next(&mut self) -> Option<Result<FoundReference, String>> {
        loop {
            let deepest = self.open.last_mut()?;
            match deepest.references.next() {
                Some(reference) if self.entered.contains(&reference.name) => {}
                Some(_) if self.entered.len() == MAX_REFERENCES => {
                    return Some(Err(format!("it refers to more than {MAX_REFERENCES} others")));
                }
                Some(reference) => return Some(Ok(reference)),
                None => {
                    let done = self.open.pop()?;
                    self.left.extend(done.reference);
                }
            }
        }
    }

    /// Goes on below what was read.
    fn enter(&mut self, name: String, found: FoundSchema) -> Result<(), String> {
        let names: usize = found.references.iter().map(|it| it.name.len() + it.subject.len()).sum();
        self.bytes += found.text.len() + names;
        if self.bytes > MAX_SCHEMA_TEXT {
            return Err(format!("it has more than {MAX_SCHEMA_TEXT} bytes with what it refers to"));
        }
        self.entered.insert(name.clone());
        let reference = Some(SchemaReference { name, text: found.text });
        self.open.push(OpenSchema { reference, references: found.references.into_iter() });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use sources::schema::SchemaKind;

    use super::*;

    fn reference(name: &str) -> FoundReference {
        FoundReference { name: name.to_owned(), subject: name.to_owned(), version: 1 }
    }

    fn found(text: &str, references: &[&str]) -> FoundSchema {
        let references = references.iter().map(|it| reference(it)).collect();
        FoundSchema { kind: SchemaKind::Avro, text: text.to_owned(), references }
    }

    /// Walks through what `of` says, and returns the order.
    fn walk(root: &[&str], of: impl Fn(&str) -> FoundSchema) -> Result<Vec<String>, String> {
        let mut walk = ReferenceWalk::new(1, root.iter().map(|it| reference(it)).collect());
        while let Some(wanted) = walk.next() {
            let name = wanted?.name;
            let found = of(&name);
            walk.enter(name, found)?;
        }
        Ok(walk.left.into_iter().map(|it| it.name).collect())
    }

    #[test]
    fn what_others_refer_to_comes_first_and_each_is_read_once() {
        let order = walk(&["a", "b"], |name| match name {
            "a" => found("a", &["c", "d"]),
            "b" => found("b", &["d", "a"]),
            "c" => found("c", &["d"]),
            other => found(other, &[]),
        });
        assert_eq!(order.unwrap(), ["d", "c", "a", "b"]);
    }

    #[test]
    fn a_circle_ends() {
        let order = walk(&["a"], |name| if name == "a" { found("a", &["b"]) } else { found("b", &["a"]) });
        assert_eq!(order.unwrap(), ["b", "a"]);
    }

    #[test]
    fn sixty_four_are_read_and_one_more_is_refused_however_deep() {
        let chain = |length: usize| {
            walk(&["0"], move |name| {
                let next = name.parse::<usize>().unwrap() + 1;
                if next < length { found("x", &[&next.to_string()]) } else { found("x", &[]) }
            })
        };
        assert_eq!(chain(MAX_REFERENCES).unwrap().len(), MAX_REFERENCES);
        assert!(chain(MAX_REFERENCES + 1).unwrap_err().contains("more than 64"));
        let long = "x".repeat(MAX_SCHEMA_TEXT);
        assert!(walk(&["a"], |_| found(&long, &[])).unwrap_err().contains("bytes"));
        assert!(walk(&["a"], |_| found("x", &[&long])).unwrap_err().contains("bytes"), "names are kept too");
    }
}
