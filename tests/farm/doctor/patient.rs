//! A farm for a doctor to look at, and what it says.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use pybots::model::{Head, InstanceId, Position, Presence};
use pybots::trust::seal;
use serde_json::Value;

use crate::harness::Farm;
use crate::process::{PYBOTS, now};

/// What `doctor --json` said, and how it ended.
pub(crate) struct Said {
    pub(crate) exit: Option<i32>,
    pub(crate) document: Value,
}

impl Said {
    pub(crate) fn findings(&self) -> &[Value] {
        self.document["findings"].as_array().unwrap()
    }

    /// That exactly this is wrong (and what follows from it at the checks named in `also`), with a fix that holds `fix`.
    pub(crate) fn is_ill(&self, id: &str, state: &str, found: &str, fix: &str, also: &[&str]) {
        let text = |finding: &Value, field: &str| finding[field].as_str().unwrap().to_owned();
        let document = format!("{:#}", self.document);
        let wrong: Vec<&Value> = self
            .findings()
            .iter()
            .filter(|finding| finding["state"] == "fail" || finding["state"] == "warn")
            .filter(|finding| !depends_on_the_machine(finding) && !is_silence(finding))
            .collect();
        let this = wrong
            .iter()
            .find(|finding| finding["id"] == id && finding["state"] == state)
            .filter(|finding| text(finding, "found").contains(found))
            .unwrap_or_else(|| panic!("{id} {state} {found:?} is not in {document}"));
        assert!(text(this, "fix").contains(fix), "{fix:?}: {document}");
        assert!(!text(this, "effect").is_empty(), "{document}");
        for finding in &wrong {
            let id_found = text(finding, "id");
            assert!(
                id_found == id || also.contains(&&*id_found),
                "{id_found} is wrong too: {document}"
            );
        }
        let failures = wrong.iter().any(|finding| finding["state"] == "fail");
        assert_eq!(self.exit, Some(if failures { 9 } else { 0 }), "{document}");
    }

    pub(crate) fn is_well(&self) {
        let ill: Vec<&Value> = self
            .findings()
            .iter()
            .filter(|finding| finding["state"] != "ok" && !depends_on_the_machine(finding))
            .filter(|finding| !is_silence(finding))
            .collect();
        assert!(ill.is_empty(), "{:#}", self.document);
        assert_eq!(self.exit, Some(0), "{:#}", self.document);
    }
}

/// How full the disk of the machine is that runs the tests is no claim of ours.
pub(crate) fn depends_on_the_machine(finding: &Value) -> bool {
    finding["id"] == "disk" && finding["state"] == "warn"
}

/// That the slave gives no sign of life.
pub(crate) fn is_silence(finding: &Value) -> bool {
    let found = finding["found"].as_str().unwrap();
    finding["id"] == "roster" && found == "no recent sign of life of maple"
}

pub(crate) fn doctor(arguments: &[&str], environment: &[(&str, &str)]) -> Said {
    let output = Command::new(PYBOTS)
        .arg("doctor")
        .args(arguments)
        .arg("--json")
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let document = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{error}: {}", String::from_utf8_lossy(&output.stderr));
    });
    Said {
        exit: output.status.code(),
        document,
    }
}

impl Farm {
    /// A farm in which nothing is wrong: the keys that open everything lie elsewhere, and scripts find their programs.
    pub(crate) async fn healthy() -> Self {
        let farm = Self::new().await;
        fs::create_dir(farm.path("drawer")).unwrap();
        for key in ["master.key", "successor.key"] {
            fs::rename(farm.path("keys").join(key), farm.path("drawer").join(key)).unwrap();
        }
        let path = std::env::var("PATH").unwrap();
        farm.edit("slave/slave.toml", "/usr/bin:/bin", &path);
        // One word of the master is enough for a whole test.
        farm.edit(
            "master/master.toml",
            "head-seconds = 1",
            "head-seconds = 600",
        );
        farm.publish_keyring_and_head().await;
        farm
    }

    pub(crate) fn edit(&self, file: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.path(file)).unwrap();
        let edited = text.replacen(from, to, 1);
        assert_ne!(text, edited, "{from}");
        fs::write(self.path(file), edited).unwrap();
    }

    pub(crate) fn doctor(&self) -> Said {
        self.doctor_with(&[])
    }

    pub(crate) fn doctor_with(&self, environment: &[(&str, &str)]) -> Said {
        let (slave, master) = (
            self.text("slave/slave.toml"),
            self.text("master/master.toml"),
        );
        doctor(&["--slave", &slave, "--master", &master], environment)
    }

    pub(crate) fn chmod(&self, file: &str, mode: u32) {
        fs::set_permissions(self.path(file), fs::Permissions::from_mode(mode)).unwrap();
    }

    /// A folder with a program of that name, to stand first on PATH.
    pub(crate) fn fake(&self, name: &str, body: &str) -> String {
        let folder = self.path("fake");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(name), format!("#!/bin/sh\n{body}\n")).unwrap();
        self.chmod(&format!("fake/{name}"), 0o755);
        folder.to_string_lossy().into_owned()
    }
}

pub(crate) fn before_others(folder: &str) -> String {
    format!("{folder}:{}", std::env::var("PATH").unwrap())
}

impl Farm {
    /// Publishes a head of the past.
    pub(crate) async fn speak(&self, ago: Duration) {
        let head = Head {
            farm: self.id,
            keyring: Position::default(),
            roster: 1,
            time: now().before(ago),
        };
        let sealed = seal(&self.signing, &self.id, &head);
        self.publish(self.bus.subjects().head(), sealed.bytes).await;
    }

    /// A sign of life, as the slave gives one while it runs.
    pub(crate) async fn show_presence(&self) {
        let slave = "maple".parse().unwrap();
        let subject = self.bus.subjects().presence(&slave);
        let presence = Presence {
            farm: self.id,
            slave,
            instance: InstanceId([7; 16]),
            issued: now(),
            sequence: 0,
            newest: None,
            builders: BTreeMap::new(),
            keyring: Position::default(),
            load: 0,
            paused_until: None,
            rejected: 0,
            clock: None,
        };
        let sealed = seal(&self.report_key(), &self.id, &presence);
        self.publish(subject, sealed.bytes).await;
    }
}
