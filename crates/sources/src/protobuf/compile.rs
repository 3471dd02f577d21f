//! From what a registry gives to files of messages: text, or a descriptor in base64.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use protox::Compiler;
use protox::file::{File, FileResolver, GoogleFileResolver};

use super::ProtobufFile;
use crate::schema::{RegisteredSchema, UnusableSchema};

/// What the file itself is called: registries do not say.
const MAIN: &str = "schema.proto";
/// Messages, fields and enum values that a file may have with what it imports, judged by what ends or begins each.
const MAX_PROTOBUF_PARTS: usize = 100_000;
/// A descriptor has at least about so many bytes for each of them.
const DESCRIPTOR_PART: usize = 10;
/// What each of them takes once it is compiled, bytes, roughly: the library keeps a file both as it came and linked.
const PART_BYTES: usize = 1_200;

/// Files by what imports call them; what every compiler brings is found behind them.
struct RegisteredFiles {
    texts: HashMap<String, String>,
    google: GoogleFileResolver,
}

impl ProtobufFile {
    /// Compiles a file with what it imports.
    pub(crate) fn compile(registered: &RegisteredSchema) -> Result<Self, UnusableSchema> {
        let unusable = |detail: String| UnusableSchema { detail };
        let mut texts: HashMap<String, String> =
            registered.references.iter().map(|it| (it.name.clone(), it.text.clone())).collect();
        let bytes: usize = texts.values().map(String::len).sum::<usize>() + registered.text.len();
        if texts.contains_key(MAIN) {
            return Err(unusable(format!("a reference is called `{MAIN}`, as the schema itself is here")));
        }
        texts.insert(MAIN.to_owned(), registered.text.clone());
        if texts.values().map(|text| parts(text)).sum::<usize>() > MAX_PROTOBUF_PARTS {
            return Err(unusable(format!("it has more than about {MAX_PROTOBUF_PARTS} messages, fields and values")));
        }
        let mut compiler = Compiler::with_file_resolver(RegisteredFiles { texts, google: GoogleFileResolver::new() });
        compiler.open_file(MAIN).map_err(|error| unusable(format!("not a Protobuf schema: {error}")))?;
        let pool = compiler.descriptor_pool();
        let file = pool.get_file_by_name(MAIN);
        let file = file.ok_or_else(|| unusable("not a Protobuf schema: it defines nothing".to_owned()))?;
        let counts_map_entries = descriptor(&registered.text).is_some();
        let messages: usize = pool.all_messages().map(|it| 1 + it.fields().len()).sum();
        let values: usize = pool.all_enums().map(|it| it.values().len()).sum();
        let weight = 2 * bytes + PART_BYTES * (messages + values);
        Ok(Self { file, counts_map_entries, weight })
    }
}

/// Messages, fields and enum values of a file, about: more rather than fewer.
fn parts(text: &str) -> usize {
    match descriptor(text) {
        Some(bytes) => bytes.len() / DESCRIPTOR_PART,
        None => text.bytes().filter(|byte| matches!(byte, b';' | b'{')).count(),
    }
}

/// The bytes of a descriptor. Text is never base64: it has spaces and semicolons in it.
fn descriptor(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text.trim()).ok().filter(|bytes| !bytes.is_empty())
}

// === impl RegisteredFiles ===

impl FileResolver for RegisteredFiles {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        let Some(text) = self.texts.get(name) else { return self.google.open_file(name) };
        let file = match descriptor(text) {
            None => File::from_source(name, text)?,
            Some(bytes) => File::decode_file_descriptor_proto(bytes.as_slice()).map_err(protox::Error::new)?,
        };
        // It is called what it is imported as.
        let mut descriptor = file.file_descriptor_proto().clone();
        descriptor.name = Some(name.to_owned());
        // Where each word of the text stands takes several times the rest, and nobody reads it.
        descriptor.source_code_info = None;
        Ok(File::from_file_descriptor_proto(descriptor))
    }
}
