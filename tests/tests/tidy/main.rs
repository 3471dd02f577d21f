//! The repository keeps its own rules: what a reviewer would have to look for every time is looked for here.

mod citations;
mod codes;
mod metrics;
mod names;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use toml::Table;

/// Lines of a file without its tests. Nobody goes above; who splits a file may take its name off the list.
const FILE_LINES: usize = 400;
/// Files that were above the limit when it was set, with their length then: they may shrink, not grow.
const LONG_FILES: &[(&str, usize)] = &[];

const SERVICES: &[&str] = &["ingest-gateway", "fanout-worker", "delivery-worker", "retry-scheduler", "control-plane"];

/// Libraries of outside that belong to one owner each.
const OWNED: &[(&str, &[&str])] = &[
    ("rdkafka", &["kafka"]),
    ("ring", &["signing", "vault"]),
    ("config", &["chassis"]),
    ("rusqlite", &["delivery-log"]),
    ("tokio-postgres", &["delivery-log"]),
    ("deadpool-postgres", &["delivery-log"]),
    ("tokio-postgres-rustls", &["delivery-log"]),
    ("reqwest", &["schema-registry"]),
    ("schema_registry_converter", &["schema-registry"]),
    ("clap", &["hookbus", "testkit"]),
    ("anyhow", &["hookbus", "testkit"]),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace").to_owned()
}

/// Every file with this ending that belongs to the repository.
fn files(ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a readable folder") {
            let path = entry.expect("a readable entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            let at_root = folder == root() && ["target", "var"].contains(&name.as_str());
            let outside = at_root || name.starts_with('.') || ["node_modules", "__pycache__"].contains(&name.as_str());
            if path.is_dir() && !outside {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// A file without its inline tests.
fn without_tests(path: &Path) -> String {
    let text = read(path);
    text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).expect("a text file of the repository")
}

/// Manifests of the workspace. The published Rust client is run by a program of its own, which brings what we do not want.
fn manifests() -> impl Iterator<Item = PathBuf> {
    let strangers = root().join("tests/clients");
    files("toml").into_iter().filter(move |path| path.ends_with("Cargo.toml") && !path.starts_with(&strangers))
}

/// Our crates: name, manifest.
fn crates() -> BTreeMap<String, Table> {
    let manifests = manifests();
    let parsed = manifests.map(|path| read(&path).parse::<Table>().expect("cargo has read it too"));
    let members = parsed.filter(|manifest| manifest.contains_key("package"));
    members.map(|manifest| (manifest["package"]["name"].as_str().expect("a name").to_owned(), manifest)).collect()
}

/// What a crate uses when it is built, not when it is tested.
fn dependencies(manifest: &Table) -> BTreeSet<String> {
    let tables = ["dependencies", "build-dependencies"];
    let names = tables.iter().filter_map(|name| manifest.get(*name)?.as_table()).flat_map(Table::keys);
    names.cloned().collect()
}

fn fail_with(heading: &str, offenders: &[String]) {
    assert!(offenders.is_empty(), "{heading}:\n  {}", offenders.join("\n  "));
}

#[test]
fn every_file_opens_by_saying_what_it_does() {
    let silent = files("rs").into_iter().filter(|path| !read(path).starts_with("//! "));
    let silent: Vec<String> = silent.map(|path| shown(&path)).collect();
    fail_with("these files do not open with `//!`", &silent);
}

#[test]
fn no_file_grows_beyond_what_one_reads_in_one_go() {
    let mut long = Vec::new();
    for path in files("rs") {
        let name = shown(&path);
        if name.ends_with("tests.rs") || name.contains("/tests/") {
            continue;
        }
        let text = read(&path);
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let lines = code.lines().count();
        let limit = LONG_FILES.iter().find(|(long, _)| *long == name).map_or(FILE_LINES, |(_, lines)| *lines);
        if lines > limit {
            long.push(format!("{name}: {lines} lines, at most {limit}"));
        }
    }
    fail_with("split these files", &long);
}

#[test]
fn modules_are_files_with_a_name() {
    let nameless: Vec<String> =
        files("rs").iter().filter(|path| path.ends_with("mod.rs")).map(|path| shown(path)).collect();
    fail_with("`foo.rs` and `foo/` in place of these", &nameless);
}

/// Who may use whom. Services never use each other; tests and the binary may use everything.
#[test]
fn dependencies_point_one_way() {
    const LIBRARIES: &[&str] = &[
        "catalog",
        "filter",
        "sources",
        "schema-registry",
        "retry",
        "signing",
        "vault",
        "target",
        "chassis",
        "kafka",
        "schemas",
    ];
    let crates = crates();
    let allowed = |name: &str| -> Option<Vec<&str>> {
        match name {
            "schemas" | "kafka-dev" | "target" => Some(vec![]),
            "kafka" | "signing" | "vault" | "retry" | "filter" | "sources" => Some(vec!["schemas"]),
            // The configuration reads allow-lists as the rules take them.
            "chassis" => Some(vec!["kafka", "schemas", "target"]),
            "catalog" => {
                Some(LIBRARIES.iter().copied().filter(|it| !["catalog", "schema-registry"].contains(it)).collect())
            }
            // It opens the secrets of registries as they stand on `control`, and checks JSON as event types are checked.
            "schema-registry" => Some(vec!["catalog", "chassis", "retry", "schemas", "sources", "vault"]),
            // An index over records: of what is in them it knows all, of where they come from nothing.
            "delivery-log" => Some(vec!["chassis", "schemas"]),
            // The one loop stands above what roles share, and knows none of it but Kafka and the process it runs in.
            "stage" => Some(vec!["chassis", "kafka", "schemas"]),
            service if SERVICES.contains(&service) => Some([LIBRARIES, &["stage", "delivery-log"]].concat()),
            "hookbus" | "testkit" | "fuzz" => None,
            unknown => panic!("the crate {unknown} has no place among the arrows: give it one here"),
        }
    };
    let mut wrong = Vec::new();
    for (name, manifest) in &crates {
        let Some(allowed) = allowed(name) else { continue };
        let ours = dependencies(manifest).into_iter().filter(|dependency| crates.contains_key(dependency));
        wrong.extend(ours.filter(|used| !allowed.contains(&used.as_str())).map(|used| format!("{name} -> {used}")));
    }
    fail_with("these dependencies point the wrong way", &wrong);
}

#[test]
fn the_kit_of_tests_is_in_no_product() {
    let crates = crates();
    let users = crates.iter().filter(|(_, manifest)| dependencies(manifest).contains("testkit"));
    let users: Vec<String> = users.map(|(name, _)| name.clone()).collect();
    fail_with("these crates depend on testkit", &users);
}

/// A product that is built alone has no bugs to plant: `schemas` has them behind a feature that only the testkit turns on.
#[test]
fn planted_bugs_are_in_no_product() {
    const FEATURE: &str = "planted-bugs";
    let names = |value: &toml::Value| value.to_string().contains(FEATURE);
    let mut turned_on = Vec::new();
    for (name, manifest) in crates() {
        let features = manifest.get("features").and_then(toml::Value::as_table).cloned().unwrap_or_default();
        let dependencies = ["dependencies", "dev-dependencies", "build-dependencies"];
        let by_dependency = dependencies.iter().filter_map(|table| manifest.get(*table)).any(names);
        let by_feature = features.iter().any(|(feature, turns_on)| feature == "default" || names(turns_on));
        if by_dependency || (by_feature && features.values().any(names)) {
            turned_on.push(name.clone());
        }
        assert!(name != "schemas" || features.contains_key(FEATURE), "`schemas` defines {FEATURE}");
        assert!(name != "schemas" || !features.contains_key("default"), "`schemas` turns nothing on by itself");
    }
    assert_eq!(turned_on, ["testkit"], "only the testkit turns {FEATURE} on");
    let workspace = read(&root().join("Cargo.toml"));
    assert!(!workspace.contains(FEATURE), "the workspace's dependencies turn {FEATURE} on for every product");
}

/// Doors to what is private, for the fuzz targets alone.
#[test]
fn doors_for_fuzzing_are_in_no_product() {
    const FEATURE: &str = "fuzzing";
    for (name, manifest) in crates() {
        let tables = ["dependencies", "dev-dependencies", "build-dependencies"];
        let turns_on =
            tables.iter().filter_map(|table| manifest.get(*table)).any(|it| it.to_string().contains(FEATURE));
        assert_eq!(turns_on, name == "fuzz", "{name}: tests/fuzz turns `{FEATURE}` on, and nobody else");
        let features = manifest.get("features").and_then(toml::Value::as_table).cloned().unwrap_or_default();
        let others = features.iter().filter(|(feature, _)| feature.as_str() != FEATURE);
        let by_feature = others.map(|(_, turns_on)| turns_on.to_string()).any(|turns_on| turns_on.contains(FEATURE));
        assert!(!by_feature, "{name}: a feature turns `{FEATURE}` on");
    }
}

#[test]
fn libraries_of_outside_stay_with_their_owners() {
    let mut wrong = Vec::new();
    for (name, manifest) in crates() {
        let used = dependencies(&manifest);
        let taken =
            OWNED.iter().filter(|(library, owners)| used.contains(*library) && !owners.contains(&name.as_str()));
        wrong.extend(taken.map(|(library, owners)| format!("{name} uses {library}, which belongs to {owners:?}")));
    }
    fail_with("these belong elsewhere", &wrong);
}

#[test]
fn every_crate_follows_the_workspace() {
    let mut wrong = Vec::new();
    for (name, manifest) in crates() {
        if manifest.get("lints").and_then(|lints| lints.get("workspace")).and_then(toml::Value::as_bool) != Some(true) {
            wrong.push(format!("{name}: no `lints.workspace = true`"));
        }
        for table in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let entries = manifest.get(table).and_then(toml::Value::as_table).into_iter().flatten();
            let own = entries.filter(|(_, entry)| entry.get("workspace").is_none());
            wrong.extend(own.map(|(dependency, _)| format!("{name}: {dependency} has a version of its own")));
        }
    }
    fail_with("the workspace decides these", &wrong);
}

#[test]
fn every_dependency_of_the_workspace_has_its_reason() {
    let text = read(&root().join("Cargo.toml"));
    let table = text.split("[workspace.dependencies]").nth(1).and_then(|rest| rest.split("\n[").next());
    let lines = table.expect("the table of dependencies").lines();
    let bare = lines.filter(|line| line.contains(" = ") && !line.contains("path = ") && !line.contains(" # "));
    let bare: Vec<String> = bare.map(str::to_owned).collect();
    fail_with("say in a word what these are for", &bare);
}

#[test]
fn members_are_the_crates_that_exist() {
    let workspace: Table = read(&root().join("Cargo.toml")).parse().expect("cargo has read it too");
    let members = workspace["workspace"]["members"].as_array().expect("a list");
    let members: BTreeSet<String> = members.iter().filter_map(|member| member.as_str().map(str::to_owned)).collect();
    let folders = manifests().filter_map(|path| Some(shown(path.parent()?)));
    let found: BTreeSet<String> =
        folders.filter(|folder| *folder != root().display().to_string() && !folder.is_empty()).collect();
    assert_eq!(members, found);
}

#[test]
fn the_readme_shows_the_programs_that_are_tested() {
    let readme = read(&root().join("README.md"));
    let programs = ["python/send.py", "node/send.js", "rust/src/bin/send.rs"];
    let differ = programs.iter().filter(|name| {
        let program = read(&root().join("tests/clients").join(name));
        // The first line says what the file is.
        program.split_once('\n').is_none_or(|(_, shown)| !readme.contains(shown))
    });
    let differ: Vec<String> = differ.map(|name| (*name).to_owned()).collect();
    fail_with("README.md shows these otherwise than they are in tests/clients", &differ);
}
