//! The arrows between the layers, and who may touch the world. This table is the architecture page.

#![expect(clippy::expect_used, reason = "a test may end where it cannot go on")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Each layer, and all that it may import. Read top to bottom: nothing names a later line.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("wire", &["model"]),
    ("trust", &["model", "wire"]),
    ("bus", &["model", "wire"]),
    ("master", &["model", "wire", "trust", "bus"]),
    ("slave", &["model", "wire", "trust", "bus"]),
    ("status", &["model", "wire", "trust", "bus"]),
    (
        "cli",
        &["model", "wire", "trust", "bus", "master", "slave", "status"],
    ),
];

/// Words that stand for a touch of the world, and the only places where they may stand.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("cfg(target_os", &["src/slave/isolation/"]),
    ("SystemTime::now", &["src/cli/clock.rs"]),
    ("env::var", &["src/cli/files.rs", "src/cli/up/server.rs"]),
    (
        "rusqlite",
        &[
            "src/slave/journal.rs",
            "src/slave/journal/",
            "src/status/store.rs",
        ],
    ),
    ("hyper::", &["src/master/hooks/", "src/master/releases/"]),
    ("axum", &["src/status/web/", "src/cli/telemetry"]),
    (
        "prometheus_client",
        &[
            "src/master/telemetry.rs",
            "src/slave/telemetry.rs",
            "src/cli/telemetry",
        ],
    ),
    ("async_nats::", &["src/bus/"]),
    ("ed25519_dalek", &["src/trust/key.rs", "src/trust/key/"]),
    ("coset", &["src/wire/envelope.rs"]),
];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("folder") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The code of a file without its comments, relative to the repository.
fn code() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    sources(&root.join("src"))
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).expect("source");
            let code: Vec<&str> = text
                .lines()
                .map(|line| line.split("//").next().unwrap_or_default())
                .collect();
            let name = path
                .strip_prefix(root)
                .expect("below the root")
                .to_string_lossy()
                .into_owned();
            (name, code.join("\n"))
        })
        .collect()
}

/// The layers that a piece of code names after `crate::`, grouped imports included.
fn imported(code: &str) -> BTreeSet<String> {
    let mut layers = BTreeSet::new();
    for after in code.split("crate::").skip(1) {
        let group = after
            .strip_prefix('{')
            .map(|rest| rest.split('}').next().unwrap_or_default());
        let names: Vec<&str> =
            group.map_or_else(|| vec![after], |group| group.split(',').collect());
        for name in names {
            let layer: String = name
                .trim()
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                .collect();
            layers.insert(layer);
        }
    }
    layers
}

#[test]
fn arrows_between_layers_point_down() {
    for (name, code) in code() {
        let layer = name
            .trim_start_matches("src/")
            .split(['/', '.'])
            .next()
            .expect("a layer")
            .to_owned();
        if matches!(layer.as_str(), "lib" | "main") {
            continue;
        }
        let (_, allowed) = MAY_IMPORT
            .iter()
            .find(|(known, _)| *known == layer)
            .unwrap_or_else(|| panic!("{layer} is no layer"));
        for import in imported(&code) {
            let known = MAY_IMPORT.iter().any(|(known, _)| *known == import);
            assert!(
                !known || import == layer || allowed.contains(&import.as_str()),
                "{name} imports {import}, which {layer} may not"
            );
        }
    }
}

#[test]
fn the_table_names_no_later_line() {
    for (position, (layer, allowed)) in MAY_IMPORT.iter().enumerate() {
        let earlier: Vec<&str> = MAY_IMPORT[..position]
            .iter()
            .map(|(layer, _)| *layer)
            .collect();
        assert!(
            allowed.iter().all(|import| earlier.contains(import)),
            "{layer}"
        );
    }
}

#[test]
fn the_world_is_touched_only_where_the_table_says() {
    for (name, code) in code() {
        for (word, places) in ONLY_IN {
            let allowed = places.iter().any(|place| name.starts_with(place));
            assert!(
                allowed || !code.contains(word),
                "{name} holds {word}, which stands only in {places:?}"
            );
        }
    }
}

#[test]
fn the_table_of_words_is_not_out_of_date() {
    let code = code();
    for (word, places) in ONLY_IN {
        for place in *places {
            assert!(
                code.iter()
                    .any(|(name, code)| name.starts_with(place) && code.contains(word)),
                "{place} no longer holds {word}"
            );
        }
    }
}

#[test]
fn a38_no_type_that_holds_a_secret_derives_debug() {
    let mut holders = 0;
    for (name, code) in code() {
        // Every item that derives something, up to the end of its fields.
        for item in code.split("#[derive(").skip(1) {
            let item = item.split("\n}").next().unwrap_or_default();
            let item = item.split(";\n").next().unwrap_or_default();
            let (derived, fields) = item.split_once(")]").unwrap_or_default();
            // `SecretKey` and `Passphrase` have a `Debug` that shows nothing; this holds the bytes themselves.
            if fields.contains("Zeroizing<") {
                holders += 1;
                assert!(!derived.contains("Debug"), "{name}: {fields}");
            }
        }
    }
    assert!(holders > 0, "this test no longer finds what it looks at");
}

#[test]
fn there_are_no_drawers() {
    for (name, _) in code() {
        for drawer in [
            "common", "util", "utils", "helper", "helpers", "manager", "misc", "prelude", "types",
        ] {
            let is_drawer = name.split(['/', '.']).any(|part| part == drawer);
            assert!(!is_drawer, "{name}: give it a noun of its own");
        }
    }
}
