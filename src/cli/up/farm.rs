//! The farm's folder: keys, configurations and scripts of a farm that runs on one machine.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::trunk::Sample;
use crate::bus::{Access, BusAddress, ServerConfig, User, server_config};
use crate::cli::exit::{Exit, Failure};
use crate::cli::farm_file::{FarmFile, Viewer};
use crate::cli::requester_file::{self, RequesterFile};
use crate::cli::{files, keys, slave};
use crate::master::Application;
use crate::model::{FarmId, FarmName, RequesterName, Verb};
use crate::wire::Subjects;

const SCRIPTS: [(&str, &str); 5] = [
    (
        "checkout.sh",
        include_str!("../../../deploy/sample/scripts/checkout.sh"),
    ),
    (
        "update-trunk.sh",
        include_str!("../../../deploy/sample/scripts/update-trunk.sh"),
    ),
    (
        "build-trunk.sh",
        include_str!("../../../deploy/sample/scripts/build-trunk.sh"),
    ),
    (
        "test-foo.sh",
        include_str!("../../../deploy/sample/scripts/test-foo.sh"),
    ),
    (
        "test-bar.sh",
        include_str!("../../../deploy/sample/scripts/test-bar.sh"),
    ),
];
const REPOSITORIES: &str = include_str!("../../../deploy/sample/scripts/repositories");

/// A farm in one folder.
pub(super) struct Farm {
    pub(super) folder: PathBuf,
    pub(super) file: FarmFile,
    pub(super) application: Application,
}

impl Farm {
    /// Opens the farm in `folder`, or makes one there.
    pub(super) fn open(folder: &Path, sample: &Sample) -> Result<Self, Failure> {
        let place = |name: &str| folder.join(name);
        for name in ["bus", "master", "slave", "slave/scripts", "logs"] {
            files::make_folder(&place(name))?;
        }
        let farm = farm_id(folder)?;
        let port = free_port()?;
        let bus: BusAddress = format!("nats://127.0.0.1:{port}")
            .parse()
            .map_err(Failure::error)?;
        let master_nkey = files::make_bus_seed(&place("master/bus.nk"))?;
        write_scripts(&place("slave/scripts"), sample)?;
        let application = slave::initialise(&place("slave"), &slave_toml(&farm, &bus, sample))?;
        let operator = Operator::open(folder)?;
        let master_toml = master_toml(&farm, &bus, sample);
        files::write(
            &place("master/master.toml"),
            &format!("{master_toml}\n{}", operator.stanza),
        )?;
        let viewer = Viewer::default();
        let users = [
            User::Key {
                nkey: master_nkey,
                access: Access::Master,
            },
            User::Key {
                nkey: application.nkey.clone(),
                access: Access::Slave(application.slave.clone()),
            },
            User::Key {
                nkey: operator.nkey,
                access: Access::Requester(operator.name),
            },
            User::Viewer {
                user: viewer.user.clone(),
                password: viewer.password.clone(),
            },
        ];
        let store = place("bus/store");
        let config = ServerConfig {
            port,
            store: &store,
            users: &users,
        };
        files::write(
            &place("bus/nats-server.conf"),
            &server_config(&Subjects::new(&farm), &config),
        )?;
        let file = FarmFile { farm, bus, viewer };
        files::write(&place("farm.toml"), &file.to_text()?)?;
        Ok(Self {
            folder: folder.to_owned(),
            file,
            application,
        })
    }
}

/// Whoever runs the farm may ask its master for everything.
struct Operator {
    name: RequesterName,
    nkey: String,
    /// What lets them ask, in `master.toml`.
    stanza: String,
}

impl Operator {
    /// Takes their keys, or makes them, and writes who they are beside `farm.toml`.
    fn open(folder: &Path) -> Result<Self, Failure> {
        let name: RequesterName = "operator".parse().map_err(Failure::error)?;
        let file = RequesterFile {
            name: name.clone(),
            farm_file: "farm.toml".into(),
            key: "keys/operator.key".into(),
            bus_key: "keys/operator.nk".into(),
        };
        let key = files::make_secret_key(&folder.join(&file.key))?;
        let nkey = files::make_bus_seed(&folder.join(&file.bus_key))?;
        files::write(&folder.join(requester_file::NAME), &file.to_text()?)?;
        let all = [
            Verb::Force,
            Verb::Cancel,
            Verb::Retry,
            Verb::Pause,
            Verb::Release,
        ];
        let stanza = keys::stanza(&name, &key.public(), &nkey, &all);
        Ok(Self { name, nkey, stanza })
    }
}

/// The farm's id, written down beside its keys when they were made.
fn farm_id(folder: &Path) -> Result<FarmId, Failure> {
    let record = folder.join("keys/farm-id");
    if let Ok(text) = fs::read_to_string(&record) {
        return text
            .trim()
            .parse()
            .with_context(|| format!("{} holds no farm id", record.display()))
            .map_err(Failure::configuration);
    }
    if folder.join("bus/store").exists() {
        let message = format!(
            "{} holds a farm without its keys; nothing was started",
            folder.display()
        );
        return Err(Failure::message(Exit::Configuration, message)
            .advice("Bring its folder `keys` back, or choose another folder with --dir."));
    }
    let name: FarmName = "sample".parse().map_err(Failure::error)?;
    let made = keys::make(&name, &folder.join("keys"), 90, &keys::Masters::ONE)?;
    files::write(&record, &format!("{}\n", made.farm))?;
    Ok(made.farm)
}

fn free_port() -> Result<u16, Failure> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

fn write_scripts(folder: &Path, sample: &Sample) -> Result<(), Failure> {
    let put = |name: &str, text: &str| -> std::io::Result<()> {
        let path = folder.join(name);
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
    };
    for (name, text) in SCRIPTS {
        put(name, text)?;
    }
    let quoted = |name: &str| {
        format!(
            "'{}'",
            sample.place(name).to_string_lossy().replace('\'', "'\\''")
        )
    };
    let repositories = REPOSITORIES
        .replace("@PYTHON_URL@", &quoted("trunk"))
        .replace("@FOO_URL@", &quoted("foo"))
        .replace("@BAR_URL@", &quoted("bar"));
    put("repositories", &repositories)?;
    Ok(())
}

fn slave_toml(farm: &FarmId, bus: &BusAddress, sample: &Sample) -> String {
    let variable = |name: &str, default: &str| {
        toml::Value::String(files::variable(name).unwrap_or_else(|| default.to_owned())).to_string()
    };
    let readable: Vec<String> = ["trunk", "foo", "bar"]
        .map(|name| {
            toml::Value::String(sample.place(name).to_string_lossy().into_owned()).to_string()
        })
        .into();
    format!(
        r#"# Written anew by `pybots up`.
name = "sample-slave"
farm = "{farm}"
bus = "{bus}"
state = "state"

[builders.foo-sample]
[builders.bar-sample]

[limits]
parallel-builds = 2

[isolation]
# The repositories are on this machine.
readable = [{readable}]

[periods]
presence-seconds = 5

[environment]
PATH = {path}
HOME = {home}

[commands.update-trunk]
script = "scripts/update-trunk.sh"
[commands.build-trunk]
script = "scripts/build-trunk.sh"
[commands.test-foo]
script = "scripts/test-foo.sh"
[commands.test-bar]
script = "scripts/test-bar.sh"
"#,
        readable = readable.join(", "),
        path = variable("PATH", "/usr/bin:/bin"),
        home = variable("HOME", "/nonexistent"),
    )
}

fn master_toml(farm: &FarmId, bus: &BusAddress, sample: &Sample) -> String {
    let url = |name: &str| {
        toml::Value::String(sample.place(name).to_string_lossy().into_owned()).to_string()
    };
    let head = format!(
        r#"# Written anew by `pybots up`.
farm = "{farm}"
bus = "{bus}"
keyring = "../keys/sample.keyring"
signing-key = "../keys/signing.key"
bus-key = "bus.nk"
state = "state"
"#
    );
    let repository = |(repository, place): (&str, &str)| {
        format!(
            r#"
[repositories.{repository}]
url = {url}
branches = ["main"]
poll-seconds = 1
"#,
            url = url(place)
        )
    };
    let builder = |project: &str| {
        format!(
            r#"
[builders.{project}-sample]
slave = "sample-slave"
project = "{project}"
sources = {{ python = "main", {project} = "main" }}
steps = [
    {{ command = "update-trunk", timeout-minutes = 1 }},
    {{ command = "build-trunk", timeout-minutes = 1 }},
    {{ command = "test-{project}", timeout-minutes = 1 }},
]
"#
        )
    };
    let repositories = [("python", "trunk"), ("foo", "foo"), ("bar", "bar")]
        .map(repository)
        .concat();
    [head, repositories, ["foo", "bar"].map(builder).concat()].concat()
}
