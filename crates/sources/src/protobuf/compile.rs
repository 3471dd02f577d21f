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
/// What a byte of text takes once it is compiled, roughly.
const EXPANSION: usize = 12;

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
        let mut compiler = Compiler::with_file_resolver(RegisteredFiles { texts, google: GoogleFileResolver::new() });
        compiler.open_file(MAIN).map_err(|error| unusable(format!("not a Protobuf schema: {error}")))?;
        let file = compiler.descriptor_pool().get_file_by_name(MAIN);
        let file = file.ok_or_else(|| unusable("not a Protobuf schema: it defines nothing".to_owned()))?;
        let counts_map_entries = descriptor(&registered.text).is_some();
        Ok(Self { file, counts_map_entries, weight: bytes * EXPANSION })
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
        let Some(bytes) = descriptor(text) else { return File::from_source(name, text) };
        let file = File::decode_file_descriptor_proto(bytes.as_slice()).map_err(protox::Error::new)?;
        // It is called what it is imported as.
        let mut descriptor = file.file_descriptor_proto().clone();
        descriptor.name = Some(name.to_owned());
        Ok(File::from_file_descriptor_proto(descriptor))
    }
}
