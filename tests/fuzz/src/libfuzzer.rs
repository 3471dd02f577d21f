//! libFuzzer's program for all targets: `FUZZ_TARGET` says which. `make fuzz` builds and runs it.
#![no_main]
#![expect(unsafe_code, reason = "the macro's function has a name that libFuzzer's library, in C++, calls")]

use std::sync::OnceLock;

static TARGET: OnceLock<&fuzz::Target> = OnceLock::new();

libfuzzer_sys::fuzz_target!(
    init: {
        // The library ends the process at any panic, also at one that the product catches; what nobody catches ends it still.
        std::panic::set_hook(Box::new(|panic| fuzz::say(&panic.to_string())));
    },
    |data: &[u8]| {
        (TARGET.get_or_init(fuzz::chosen).run)(data);
    }
);
