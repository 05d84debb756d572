//! A farm to test with: one folder, one server, one slave, and a hostile login that may do everything at the broker.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pybots::bus::{Access, Bus, Login, Patience, ServerConfig, User, server_config};
use pybots::model::{
    Build, Command as Order, FarmId, PayloadId, Position, Source, Step, Text, Verdict,
};
use pybots::trust::{Sealed, SecretKey, key_id, seal};
use pybots::wire::Subjects;
use tempfile::TempDir;

use crate::process::{PYBOTS, Process, eventually, eventually_or, git, now, pybots, succeed};

pub(crate) struct Farm {
    folder: TempDir,
    pub(crate) id: FarmId,
    pub(crate) port: u16,
    pub(crate) signing: SecretKey,
    pub(crate) server: Process,
    pub(crate) slave: Option<Process>,
    pub(crate) master: Option<Process>,
    pub(crate) bus: Bus,
    /// What the slave's owner sends to the operator.
    application: String,
}

impl Farm {
    /// A farm with a server, and slave `maple` with builders `foo-linux` and `bar-linux`, approved but not started.
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let text = |name: &str| path(name).to_string_lossy().into_owned();
        let id: FarmId = succeed(&["keys", "init", "test-farm", "--dir", &text("keys")])
            .trim()
            .parse()
            .expect("a farm id");
        let signing = SecretKey::load(&path("keys/signing.key")).unwrap();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let address = format!("nats://127.0.0.1:{port}");
        let line = succeed(&[
            "slave",
            "init",
            "--name",
            "maple",
            "--farm",
            &id.to_string(),
            "--bus",
            &address,
            "--builder",
            "foo-linux",
            "--builder",
            "bar-linux",
            "--dir",
            &text("slave"),
        ]);
        let nkey = line.split_whitespace().nth(2).unwrap().to_owned();

        fs::create_dir(path("master")).unwrap();
        let master_seed = Login::generate_seed().unwrap();
        write_private(&path("master/bus.nk"), &master_seed);
        let hostile_seed = Login::generate_seed().unwrap();
        write_private(&path("hostile.nk"), &hostile_seed);
        let subjects = Subjects::new(&id);
        let nkey_of = |seed: &str| Login::nkey_of_seed(seed).unwrap();
        let users = [
            User::Key {
                nkey: nkey_of(&master_seed),
                access: Access::Master,
            },
            User::Key {
                nkey,
                access: Access::Slave("maple".parse().unwrap()),
            },
            User::Viewer {
                user: "viewer".to_owned(),
                password: "public".to_owned(),
            },
        ];
        let store = path("store");
        let config = server_config(
            &subjects,
            &ServerConfig {
                port,
                store: &store,
                users: &users,
            },
        );
        // Whoever holds the broker may do everything, and is none of the users that we would write.
        let hostile = format!("users: [\n      {{ nkey: {} }}", nkey_of(&hostile_seed));
        fs::write(
            path("nats-server.conf"),
            config.replace("users: [", &hostile),
        )
        .unwrap();
        let server = start_server(folder.path());

        let login = Login::Key {
            name: "hostile".to_owned(),
            seed: hostile_seed,
        };
        let address = address.parse().unwrap();
        let bus = eventually("the server answers", || async {
            Bus::connect(&address, login.clone(), subjects.clone(), Patience::Brief)
                .await
                .ok()
        })
        .await;
        let farm = Self {
            folder,
            id,
            port,
            signing,
            server,
            slave: None,
            master: None,
            bus,
            application: line.trim().to_owned(),
        };
        farm.write_master_toml("");
        farm.write_slave_toml("");
        farm.approve().await;
        farm
    }

    /// Puts the slave on the roster, as soon as the server answers.
    pub(crate) async fn approve(&self) {
        self.approve_line(&self.application).await;
    }

    /// The same by another line of its owner.
    pub(crate) async fn approve_line(&self, application: &str) {
        let config = self.text("master/master.toml");
        let approve = ["master", "approve", "--config", &config, application];
        eventually("the slave is approved", || async {
            pybots(&approve).status.success().then_some(())
        })
        .await;
    }

    /// The same, with the slave started and the keyring and a head on the bus.
    pub(crate) async fn with_slave() -> Self {
        let mut farm = Self::new().await;
        farm.publish_keyring_and_head().await;
        farm.start_slave().await;
        farm
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).to_string_lossy().into_owned()
    }

    /// Writes an executable script below the slave's folder and returns its path.
    pub(crate) fn script(&self, name: &str, body: &str) -> PathBuf {
        let path = self.path("slave").join(name);
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// Writes slave.toml. `record` appends a line to the file `ran` each time that it runs.
    pub(crate) fn write_slave_toml(&self, more: &str) {
        let ran = self.text("ran");
        self.script(
            "record.sh",
            &format!("echo \"$PYBOTS_BUILD ${{PYBOTS_REV_PYTHON:-}}\" >> {ran}\necho recorded"),
        );
        let text = format!(
            r#"name = "maple"
farm = "{}"
bus = "nats://127.0.0.1:{}"
state = "state"
[builders.foo-linux]
[builders.bar-linux]
[limits]
parallel-builds = 2
[isolation]
writable = ["{}"]
[periods]
presence-seconds = 1
[environment]
PATH = "/usr/bin:/bin"
[commands.record]
script = "record.sh"
[commands.with-version]
script = "record.sh"
parameters.version = {{ type = "word" }}
{more}
"#,
            self.id,
            self.port,
            // Where scripts leave what the tests look at.
            self.folder.path().display()
        );
        fs::write(self.path("slave/slave.toml"), text).unwrap();
    }

    /// Writes slave.toml with more lines in the table `periods`.
    pub(crate) fn write_slave_toml_with_periods(&self, periods: &str) {
        self.write_slave_toml("");
        let path = self.path("slave/slave.toml");
        let text = fs::read_to_string(&path).unwrap();
        let table = format!("[periods]\n{periods}\n");
        fs::write(path, text.replace("[periods]\n", &table)).unwrap();
    }

    /// Writes master.toml: builder foo-linux runs `record` at each move of the branch main of the repository `trunk`.
    pub(crate) fn write_master_toml(&self, more: &str) {
        let steps = r#"[{ command = "record", timeout-minutes = 1 }]"#;
        self.write_master_toml_with(steps, more);
    }

    /// The same with other steps.
    pub(crate) fn write_master_toml_with(&self, steps: &str, more: &str) {
        let text = format!(
            r#"farm = "{}"
bus = "nats://127.0.0.1:{}"
keyring = "../keys/test-farm.keyring"
signing-key = "../keys/signing.key"
bus-key = "bus.nk"
state = "state"
[periods]
head-seconds = 1
lease-seconds = 1
[repositories.python]
url = "{}"
branches = ["main"]
poll-seconds = 1
[builders.foo-linux]
slave = "maple"
project = "foo"
sources = {{ python = "main" }}
steps = {steps}
{more}
"#,
            self.id,
            self.port,
            self.text("trunk"),
        );
        fs::write(self.path("master/master.toml"), text).unwrap();
    }

    pub(crate) async fn start_slave(&mut self) {
        let config = self.text("slave/slave.toml");
        let log = self.path("slave.log");
        let before = fs::read_to_string(&log)
            .unwrap_or_default()
            .matches("slave started")
            .count();
        let arguments = ["--log-format", "json", "slave", "run", "--config", &config];
        self.slave = Some(Process::start(PYBOTS, &arguments, log));
        let ready = || async {
            (self.slave_said().matches("slave started").count() > before).then_some(())
        };
        eventually_or("the slave is ready", ready, || self.slave_said()).await;
    }

    pub(crate) fn start_master(&mut self) {
        let config = self.text("master/master.toml");
        let arguments = ["master", "run", "--config", &config];
        self.master = Some(Process::start(PYBOTS, &arguments, self.path("master.log")));
    }

    pub(crate) fn slave_said(&self) -> String {
        fs::read_to_string(self.path("slave.log")).unwrap_or_default()
    }

    pub(crate) fn start_server(&mut self) {
        self.server = start_server(self.folder.path());
    }

    /// What the master would have published first.
    pub(crate) async fn publish_keyring_and_head(&self) {
        let keyring = fs::read(self.path("keys/test-farm.keyring")).unwrap();
        self.publish(self.bus.subjects().keyring(Position::default()), keyring)
            .await;
        let head = pybots::model::Head {
            farm: self.id,
            keyring: Position::default(),
            roster: 1,
            time: now(),
        };
        let sealed = seal(&self.signing, &self.id, &head);
        self.publish(self.bus.subjects().head(), sealed.bytes).await;
    }

    /// Publishes as somebody who holds the broker.
    pub(crate) async fn publish(&self, subject: String, bytes: Vec<u8>) {
        let mut id = [0; 16];
        getrandom::fill(&mut id).unwrap();
        let id = data_encoding::HEXLOWER.encode(&id);
        self.bus.publish_until_stored(subject, &id, bytes).await;
    }

    pub(crate) fn report_key(&self) -> SecretKey {
        SecretKey::load(&self.path("slave/state/report.key")).unwrap()
    }

    /// A command that the slave accepts.
    pub(crate) fn order(&self, number: u64, commands: &[&str]) -> Build {
        let issued = now();
        Build {
            farm: self.id,
            slave: "maple".parse().unwrap(),
            report_key: key_id(&self.report_key().public()),
            builder: "foo-linux".parse().unwrap(),
            number,
            issued,
            accept_by: issued.after(Duration::from_secs(600)),
            finish_by: issued.after(Duration::from_secs(1200)),
            keyring: Position::default(),
            project: "foo".parse().unwrap(),
            sources: vec![Source {
                repository: "python".parse().unwrap(),
                branch: "main".parse().unwrap(),
                revision: "a".repeat(40).parse().unwrap(),
            }],
            covers: Vec::new(),
            steps: commands
                .iter()
                .map(|command| Step {
                    command: command.parse().unwrap(),
                    parameters: std::collections::BTreeMap::new(),
                    timeout: Duration::from_secs(60),
                    halt_on_failure: true,
                    warn_only: false,
                    always_run: false,
                    script: None,
                })
                .collect(),
            reason: Text::tidy("a test"),
            requester: None,
            request: None,
            retry_of: None,
            attempt: 1,
            experiment: None,
        }
    }

    pub(crate) fn seal(&self, build: &Build) -> Sealed {
        seal(&self.signing, &self.id, &Order::Build(build.clone()))
    }

    /// Signs and publishes a command where its slave looks for it.
    pub(crate) async fn send(&self, build: &Build) -> PayloadId {
        let sealed = self.seal(build);
        self.publish(
            self.bus.subjects().command(&build.slave, &build.builder),
            sealed.bytes,
        )
        .await;
        sealed.id
    }

    /// The lines that the scripts of this farm wrote to `ran`, one for each run.
    pub(crate) fn ran(&self) -> Vec<String> {
        fs::read_to_string(self.path("ran"))
            .unwrap_or_default()
            .lines()
            .map(str::to_owned)
            .collect()
    }

    /// Sends a command that is fine and waits for its end: whatever was sent before it has been decided then.
    pub(crate) async fn settle(&self, number: u64) {
        let id = self.send(&self.order(number, &["record"])).await;
        let ending = self.ending(id).await;
        assert_eq!(
            ending.verdict(),
            Some(Verdict::Passed),
            "{ending:?}\n{}",
            self.slave_said()
        );
    }

    /// Makes a commit to the trunk and returns its revision.
    pub(crate) fn check_in(&self, file: &str) -> String {
        self.check_in_as(file, "A", file)
    }

    /// The same by another author, under another subject.
    pub(crate) fn check_in_as(&self, file: &str, author: &str, subject: &str) -> String {
        let trunk = self.path("trunk");
        if !trunk.exists() {
            fs::create_dir(&trunk).unwrap();
            git(&trunk, &["init", "--quiet", "--initial-branch=main"]);
        }
        fs::write(trunk.join(file), file).unwrap();
        git(&trunk, &["add", "--all"]);
        git(
            &trunk,
            &[
                "-c",
                &format!("user.name={author}"),
                "-c",
                "user.email=a@example.org",
                "commit",
                "--quiet",
                "-m",
                subject,
            ],
        );
        git(&trunk, &["rev-parse", "HEAD"])
    }
}

fn start_server(folder: &Path) -> Process {
    let config = folder.join("nats-server.conf");
    Process::start(
        "nats-server",
        &["-c", &config.to_string_lossy()],
        folder.join("nats-server.log"),
    )
}

pub(crate) fn write_private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}
