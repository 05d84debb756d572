//! `deploy/slave.toml`, `deploy/master.toml` and `deploy/nats-server.conf`: complete, true and accepted.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use pybots::master::MasterConfig;
use pybots::slave::SlaveConfig;
use tempfile::TempDir;

use crate::process::{pybots, succeed};

const FARM: &str = "SHA256:…";

fn example(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("deploy")
        .join(name);
    fs::read_to_string(path).unwrap()
}

/// A folder with keys and an example in it.
struct Place {
    folder: TempDir,
    farm: String,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keys = folder.path().join("keys").to_string_lossy().into_owned();
        let farm = succeed(&["keys", "init", "community-pybots", "--dir", &keys]);
        Self {
            folder,
            farm: farm.trim().to_owned(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn fill_in(&self, example: &str) -> String {
        assert_eq!(example.matches(&format!("farm = \"{FARM}\"")).count(), 1);
        example.replacen(FARM, &self.farm, 1)
    }

    /// What `pybots ROLE check` says to `text`.
    fn check(&self, role: &str, text: &str) -> Result<String, String> {
        let file = self.path(&format!("{role}.toml"));
        fs::write(&file, text).unwrap();
        let output = pybots(&[role, "check", "--config", &file.to_string_lossy()]);
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            Ok(said(&output.stdout))
        } else {
            Err(said(&output.stderr))
        }
    }

    /// The slave's keys, and the scripts that its owner copies.
    fn prepare_slave(&self) {
        let place = self.path("init").to_string_lossy().into_owned();
        let bus = "nats://bus.example.org:4222";
        let (farm, builder) = (self.farm.as_str(), "markupsafe-maple");
        let init = [
            "slave", "init", "--name", "maple", "--farm", farm, "--bus", bus,
        ];
        succeed(&[&init[..], &["--builder", builder, "--dir", &place]].concat());
        fs::rename(self.path("init/state"), self.path("state")).unwrap();
        fs::create_dir(self.path("scripts")).unwrap();
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/scripts");
        for script in fs::read_dir(scripts).unwrap() {
            let script = script.unwrap();
            let copy = self.path("scripts").join(script.file_name());
            fs::copy(script.path(), &copy).unwrap();
            let mode = fs::metadata(&copy).unwrap().permissions().mode() & 0o755;
            fs::set_permissions(copy, fs::Permissions::from_mode(mode)).unwrap();
        }
    }
}

#[test]
fn the_examples_are_accepted_as_soon_as_the_farm_id_and_the_keys_are_there() {
    let place = Place::new();
    let master = place.fill_in(&example("master.toml"));
    let said = place.check("master", &master).unwrap();
    assert!(said.contains("ok  repositories: 1, builders: 2"), "{said}");

    let slave = place.fill_in(&example("slave.toml"));
    place.prepare_slave();
    let said = place.check("slave", &slave).unwrap();
    for command in [
        "update-python",
        "build-python",
        "prepare-packages",
        "run-tests",
    ] {
        assert!(said.contains(&format!("ok  {command} runs ")), "{said}");
        assert!(
            master.contains(&format!("command = \"{command}\"")),
            "{command}"
        );
    }
}

#[test]
fn the_examples_name_every_key_that_there_is() {
    let place = Place::new();
    for role in ["master", "slave"] {
        let text = place.fill_in(&example(&format!("{role}.toml")));
        // Asked for a key that does not exist, the program lists those that do.
        let tables: BTreeSet<usize> = text
            .match_indices("\n[")
            .map(|(at, _)| at + 1 + text[at + 1..].find('\n').unwrap() + 1)
            .chain([0])
            .collect();
        for at in tables {
            let (before, after) = text.split_at(at);
            let said = place
                .check(role, &format!("{before}no-such-key = 1\n{after}"))
                .unwrap_err();
            let Some((_, known)) = said.split_once("expected ") else {
                panic!("after {before}: {said}");
            };
            let keys: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
            for key in keys {
                let stands = ["{}", "#{}", "# {}"].iter().any(|form| {
                    let start = format!("\n{}", form.replace("{}", key));
                    [" =", "."]
                        .iter()
                        .any(|end| text.contains(&format!("{start}{end}")))
                }) || ["\n[", "\n# ["]
                    .iter()
                    .any(|start| text.contains(&format!("{start}{key}")))
                    || text.contains(&format!("\n[[builders.markupsafe-maple.{key}]]"));
                assert!(stands, "{role}.toml does not show {key}");
            }
        }
    }
}

#[test]
fn the_defaults_that_the_examples_tell_are_the_defaults() {
    let place = Place::new();
    let folder = Path::new("/srv/pybots");
    for role in ["master", "slave"] {
        let text = place.fill_in(&example(&format!("{role}.toml")));
        let told: Vec<String> = text
            .lines()
            .map(|line| match line.strip_prefix('#') {
                Some(told) if told.starts_with(|c: char| c.is_ascii_lowercase()) => told.to_owned(),
                Some(_) | None => line.to_owned(),
            })
            .collect();
        let told = told.join("\n") + "\n";
        assert_ne!(told, text);
        let read = |text: &str| match role {
            "master" => format!("{:#?}", MasterConfig::parse(text, folder).unwrap()),
            _ => format!("{:#?}", SlaveConfig::parse(text, folder).unwrap()),
        };
        assert_eq!(read(&told), read(&text), "{role}.toml");
    }
}

#[test]
fn a_first_configuration_is_written_for_keys_that_are_made_and_takes_no_others_place() {
    let place = Place::new();
    let config = place.path("master.toml").to_string_lossy().into_owned();
    let bus_key = place.path("keys/bus.nk");
    fs::remove_file(&bus_key).unwrap();
    succeed(&["master", "init", "--config", &config]);
    assert!(bus_key.exists());
    let text = fs::read_to_string(&config).unwrap();
    let said = place.check("master", &text).unwrap();
    let expected = format!("ok  farm {}\n", place.farm);
    assert!(said.starts_with(&expected), "{said}");
    // What it shows commented out is a builder.
    let said = place.check("master", &text.replace("\n#", "\n").replace("\n ", "\n# "));
    let said = said.unwrap();
    assert!(
        said.contains("    maple: one build at a time\n        foo-maple: python main\n"),
        "{said}"
    );
    let json = ["master", "check", "--json", "--config", &config];
    let document: serde_json::Value = serde_json::from_str(&succeed(&json)).unwrap();
    assert_eq!(document["slaves"][0]["builders"][0]["builder"], "foo-maple");

    fs::write(&config, "mine").unwrap();
    let again = pybots(&["master", "init", "--config", &config]);
    assert_eq!(again.status.code(), Some(8));
    assert_eq!(fs::read_to_string(&config).unwrap(), "mine");
    let nowhere = place.path("nowhere.toml").to_string_lossy().into_owned();
    fs::rename(place.path("keys"), place.path("elsewhere")).unwrap();
    let lost = pybots(&["master", "init", "--config", &nowhere]);
    assert_eq!(lost.status.code(), Some(8));
    assert!(String::from_utf8_lossy(&lost.stderr).contains("there is no keyring in"));
    assert!(!place.path("nowhere.toml").exists());
}

#[test]
fn the_bus_of_the_example_listens_to_other_machines_and_acknowledges_nothing_before_it_is_on_disk()
{
    let config = example("nats-server.conf");
    for line in [
        "listen: \"0.0.0.0:4222\"",
        "  sync_interval: always",
        "    include \"users.conf\"",
    ] {
        assert!(config.lines().any(|found| found == line), "{line}");
    }
}
