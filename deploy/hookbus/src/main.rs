//! The hookbus binary.
fn main() {}
