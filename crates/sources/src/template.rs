//! The small language in which a source says where the attributes of an event come from. Compiled when a source is written.
//!
//! ```text
//! orders.{value:/kind}.{topic:1}      text, and parts in braces
//!
//! {value:/json/pointer}   a scalar of the value          {header:name}   a header, the last of that name
//! {key}                   the key, as text               {topic}         the topic's name
//! {key:/json/pointer}     a scalar of the key, as JSON   {topic:1}       a part of it between dots, from 0
//! {schema}                full name of the record or message that the value is
//! {{  }}                  a brace
//! ```
//!
//! A part ends at the first `}`. Pointers are not looked up one by one: all templates of a source share two sets of them (of
//! value and of key), each looked up in one pass.

use std::fmt;

use crate::pointer;
use crate::pointers::{MAX_POINTERS, Pointers};

/// Longest template, bytes: what is longer is no attribute.
pub(crate) const TEMPLATE_BYTES: usize = 1_000;
/// Longest name repeated in a message, characters.
const REPEATED: usize = 80;

/// A compiled template.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    parts: Box<[TemplatePart]>,
}

/// Text, or where text comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TemplatePart {
    Text(Box<str>),
    /// A slot of the value's pointers.
    Value(usize),
    Key,
    /// A slot of the key's pointers.
    KeyAt(usize),
    Header(Box<str>),
    Topic,
    TopicPart(usize),
    SchemaName,
}

/// What templates look up, of all of a source.
#[derive(Clone, Debug)]
pub(crate) struct TemplatePointers {
    pub(crate) value: Pointers,
    pub(crate) key: Pointers,
}

/// A text that is no template, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TemplateFault {
    /// Characters, from 1.
    pub(crate) column: usize,
    pub(crate) message: String,
}

struct TemplateParser<'t, 'p> {
    text: &'t str,
    rest: &'t str,
    pointers: &'p mut TemplatePointers,
    parts: Vec<TemplatePart>,
    literal: String,
}

// === impl Template ===

impl Template {
    /// Compiles a text. What it looks up is added to `pointers`.
    pub(crate) fn compile(text: &str, pointers: &mut TemplatePointers) -> Result<Self, TemplateFault> {
        let whole = |message: String| Err(TemplateFault { column: 1, message });
        if text.is_empty() {
            return whole("a template needs some text; leave the field out where there is nothing to say".to_owned());
        }
        if text.len() > TEMPLATE_BYTES {
            return whole(format!("a template has at most {TEMPLATE_BYTES} bytes, this one has {}", text.len()));
        }
        TemplateParser { text, rest: text, pointers, parts: Vec::new(), literal: String::new() }.parse()
    }

    pub(crate) fn parts(&self) -> &[TemplatePart] {
        &self.parts
    }

    /// The text, where it is the same for every record.
    pub(crate) fn constant(&self) -> Option<&str> {
        match &*self.parts {
            [TemplatePart::Text(text)] => Some(text),
            _varies => None,
        }
    }

    /// Whether a part of it needs the value parsed.
    pub(crate) fn looks_into_the_value(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, TemplatePart::Value(_)))
    }

    /// Whether it names the value's schema.
    pub(crate) fn names_the_schema(&self) -> bool {
        self.parts.contains(&TemplatePart::SchemaName)
    }
}

// === impl TemplatePointers ===

impl TemplatePointers {
    pub(crate) fn new() -> Self {
        Self { value: Pointers::new(), key: Pointers::new() }
    }

    /// How a part is written, for messages.
    pub(crate) fn shown<'a>(&'a self, part: &'a TemplatePart) -> impl fmt::Display + 'a {
        ShownPart { part, pointers: self }
    }
}

// === impl TemplateParser ===

impl TemplateParser<'_, '_> {
    fn parse(mut self) -> Result<Template, TemplateFault> {
        while let Some(character) = self.rest.chars().next() {
            if self.skip("{{") {
                self.literal.push('{');
            } else if self.skip("}}") {
                self.literal.push('}');
            } else if character == '}' {
                return Err(self.fault("a `}` that ends nothing; written `}}` it is a brace"));
            } else if character == '{' {
                self.part()?;
            } else {
                self.literal.push(character);
                self.rest = self.rest.get(character.len_utf8()..).unwrap_or_default();
            }
        }
        self.end_literal();
        Ok(Template { parts: self.parts.into() })
    }

    /// A part in braces; `rest` begins with the brace.
    fn part(&mut self) -> Result<(), TemplateFault> {
        let Some((inside, after)) = self.rest.get(1..).and_then(|rest| rest.split_once('}')) else {
            return Err(self.fault("a `{` without its `}`; written `{{` it is a brace"));
        };
        let (name, argument) = match inside.split_once(':') {
            Some((name, argument)) => (name, Some(argument)),
            None => (inside, None),
        };
        // Characters in front of the argument, the brace and the colon among them.
        let argument_at = name.chars().count() + 2;
        let part = match (name, argument) {
            ("value", Some(text)) => TemplatePart::Value(self.pointer(text, argument_at, |it| &mut it.value)?),
            ("value", None) => return Err(self.fault("`{value}` needs a JSON pointer, as in `{value:/order/id}`")),
            ("key", Some(text)) => TemplatePart::KeyAt(self.pointer(text, argument_at, |it| &mut it.key)?),
            ("key", None) => TemplatePart::Key,
            ("header", Some(header)) if !header.is_empty() => TemplatePart::Header(header.into()),
            ("header", _) => return Err(self.fault("`{header}` needs a name, as in `{header:tenant}`")),
            ("topic", None) => TemplatePart::Topic,
            ("topic", Some(number)) => match pointer::index(number) {
                Some(index) => TemplatePart::TopicPart(index),
                None => return Err(self.fault_at(argument_at, "the parts of a topic are counted from 0: `{topic:1}`")),
            },
            ("schema", None) => TemplatePart::SchemaName,
            ("schema", Some(_)) => return Err(self.fault("`{schema}` takes nothing behind a colon")),
            (unknown, _) => return Err(self.unknown(unknown)),
        };
        self.end_literal();
        self.parts.push(part);
        self.rest = after;
        Ok(())
    }

    fn pointer(
        &mut self,
        text: &str,
        at: usize,
        of: impl Fn(&mut TemplatePointers) -> &mut Pointers,
    ) -> Result<usize, TemplateFault> {
        let steps = pointer::steps(text).map_err(|fault| self.fault_at(at + fault.at, fault.message))?;
        let slot = of(self.pointers).add(text, &steps);
        if slot >= MAX_POINTERS {
            return Err(self.fault(format!("the templates of a source look up at most {MAX_POINTERS} pointers")));
        }
        Ok(slot)
    }

    fn unknown(&self, name: &str) -> TemplateFault {
        const KNOWN: [&str; 5] = ["value", "key", "header", "topic", "schema"];
        let scored = KNOWN.iter().map(|known| (strsim::jaro_winkler(known, name), known));
        let similar = scored.filter(|(score, _)| *score >= 0.8).max_by(|one, other| one.0.total_cmp(&other.0));
        let name: String = name.chars().take(REPEATED).collect();
        let hint = similar.map_or_else(
            || format!("known are {}; a brace is written `{{{{`", KNOWN.join(", ")),
            |(_, known)| format!("did you mean `{known}`?"),
        );
        self.fault(format!("`{{{name}}}` is not known; {hint}"))
    }

    fn end_literal(&mut self) {
        if !self.literal.is_empty() {
            self.parts.push(TemplatePart::Text(std::mem::take(&mut self.literal).into()));
        }
    }

    fn skip(&mut self, what: &str) -> bool {
        let after = self.rest.strip_prefix(what);
        self.rest = after.unwrap_or(self.rest);
        after.is_some()
    }

    fn fault(&self, message: impl Into<String>) -> TemplateFault {
        self.fault_at(0, message)
    }

    /// A fault so many characters after where the parser stands.
    fn fault_at(&self, after: usize, message: impl Into<String>) -> TemplateFault {
        let before = self.text.len() - self.rest.len();
        let before = self.text.get(..before).unwrap_or_default().chars().count();
        TemplateFault { column: before + after + 1, message: message.into() }
    }
}

// === showing ===

struct ShownPart<'a> {
    part: &'a TemplatePart,
    pointers: &'a TemplatePointers,
}

impl fmt::Display for ShownPart<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.part {
            TemplatePart::Text(text) => f.write_str(text),
            TemplatePart::Value(slot) => write!(f, "{{value:{}}}", self.pointers.value.text(*slot)),
            TemplatePart::Key => f.write_str("{key}"),
            TemplatePart::KeyAt(slot) => write!(f, "{{key:{}}}", self.pointers.key.text(*slot)),
            TemplatePart::Header(name) => write!(f, "{{header:{name}}}"),
            TemplatePart::Topic => f.write_str("{topic}"),
            TemplatePart::TopicPart(index) => write!(f, "{{topic:{index}}}"),
            TemplatePart::SchemaName => f.write_str("{schema}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (Vec<TemplatePart>, TemplatePointers) {
        let mut pointers = TemplatePointers::new();
        (Template::compile(text, &mut pointers).unwrap().parts.to_vec(), pointers)
    }

    fn fault(text: &str) -> (usize, String) {
        let fault = Template::compile(text, &mut TemplatePointers::new()).unwrap_err();
        (fault.column, fault.message)
    }

    #[test]
    fn text_and_every_part() {
        let (parts, pointers) = parts("a{{{value:/o/id}}}{key}-{key:/k}{header:x-Tenant}{topic}{topic:12}{schema}z");
        let text = |text: &str| TemplatePart::Text(text.into());
        let expected = [
            text("a{"),
            TemplatePart::Value(0),
            text("}"),
            TemplatePart::Key,
            text("-"),
            TemplatePart::KeyAt(0),
            TemplatePart::Header("x-Tenant".into()),
            TemplatePart::Topic,
            TemplatePart::TopicPart(12),
            TemplatePart::SchemaName,
            text("z"),
        ];
        assert_eq!(parts, expected);
        assert_eq!((pointers.value.text(0), pointers.key.text(0)), ("/o/id", "/k"));
        let shown: String = parts.iter().map(|part| pointers.shown(part).to_string()).collect();
        assert_eq!(shown, "a{{value:/o/id}}{key}-{key:/k}{header:x-Tenant}{topic}{topic:12}{schema}z");
    }

    #[test]
    fn the_same_pointer_has_the_same_slot_in_all_templates() {
        let mut pointers = TemplatePointers::new();
        let one = Template::compile("{value:/a}{value:/b}", &mut pointers).unwrap();
        let other = Template::compile("{value:/b}", &mut pointers).unwrap();
        assert_eq!(one.parts[1], other.parts[0]);
        assert_eq!(pointers.value.len(), 2);
    }

    #[test]
    fn templates_are_analysed() {
        let compile = |text: &str| Template::compile(text, &mut TemplatePointers::new()).unwrap();
        assert_eq!(compile("order.placed").constant(), Some("order.placed"));
        assert_eq!(compile("{topic}").constant(), None);
        assert!(compile("x{value:/a}").looks_into_the_value());
        assert!(!compile("{key:/a}{header:value}").looks_into_the_value());
        assert!(compile("{schema}").names_the_schema() && !compile("schema").names_the_schema());
    }

    #[test]
    fn mistakes_are_told_with_their_column() {
        for (text, column, word) in [
            ("", 1, "needs some text"),
            ("abc}", 4, "ends nothing"),
            ("ab{value:/a", 3, "without its `}`"),
            ("\u{e9}\u{e9}{vale:/a}", 3, "did you mean `value`?"),
            ("{xyz}", 1, "known are value, key"),
            ("{value}", 1, "needs a JSON pointer"),
            ("a{value:a}", 9, "begins with `/`"),
            ("a{value:/\u{e9}~2}", 11, "`~` is written"),
            ("{header}", 1, "needs a name"),
            ("{header:}", 1, "needs a name"),
            ("{topic:x}", 8, "counted from 0"),
            ("{topic:01}", 8, "counted from 0"),
            ("{schema:x}", 1, "takes nothing"),
            ("{}", 1, "is not known"),
        ] {
            let (at, message) = fault(text);
            assert_eq!(at, column, "{text}: {message}");
            assert!(message.contains(word), "{text}: {message}");
        }
        assert_eq!(fault(&"x".repeat(TEMPLATE_BYTES + 1)).0, 1);
    }

    #[test]
    fn what_is_looked_up_is_bounded() {
        let mut pointers = TemplatePointers::new();
        let compiled = (0..=MAX_POINTERS).map(|at| Template::compile(&format!("{{value:/{at}}}"), &mut pointers));
        let faults: Vec<TemplateFault> = compiled.filter_map(Result::err).collect();
        assert_eq!(faults.len(), 1);
        assert!(faults[0].message.contains("at most 64"));
    }
}
