//! Every target holds for its seeds and for many inputs that are made of them, the same in every run.

mod mutator;

use self::mutator::Mutator;
use super::{TARGETS, say};

/// How many in a thousand of them come far enough to prove something, at least.
const FAR: u32 = 20;

/// Tells which input it was, if the target panics.
struct Told<'a> {
    name: &'a str,
    input: &'a [u8],
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { name, input } = self;
            say(&format!("{name} breaks at the input `{}`", input.escape_ascii()));
        }
    }
}

fn holds(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target");
    let seeds: Vec<&[u8]> = target.seeds.lines().map(str::as_bytes).collect();
    let run = |input: &[u8]| {
        let _told = Told { name, input };
        (target.run)(input)
    };
    for seed in &seeds {
        run(seed);
    }
    let mut mutator = Mutator::new(name);
    let inputs = target.inputs;
    let far: u32 = (0..inputs).map(|_| u32::from(run(&mutator.input(&seeds)))).sum();
    assert!(far >= inputs / 1_000 * FAR, "{far} of {inputs} inputs came far: better seeds are needed");
}

/// One test each, so that they run beside each other.
macro_rules! targets_hold {
    ($($name:ident),+) => {
        $(#[test]
        fn $name() {
            holds(stringify!($name));
        })+

        #[test]
        fn every_target_is_tried() {
            let tried = [$(stringify!($name)),+];
            assert_eq!(TARGETS.map(|target| target.name).as_slice(), tried.as_slice());
        }
    };
}

targets_hold!(
    json,
    structured,
    binary,
    filter,
    pattern,
    schema,
    source,
    delivery,
    metadata,
    signature,
    retry_after,
    template,
    frame,
    avro
);

#[test]
fn a_bug_behind_three_bytes_of_a_seed_is_found() {
    let seeds: [&[u8]; 2] = [b"{\"id\":1}", b"[true]"];
    let mut mutator = Mutator::new("canary");
    let found = (0..100_000).any(|_| mutator.input(&seeds).starts_with(b"[[{"));
    assert!(found, "the inputs do not go beyond the seeds");
}
