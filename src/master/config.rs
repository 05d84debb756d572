//! `master.toml`: what is watched, and which builder builds what.

mod paths;
mod requester;
mod schedule;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

pub use paths::PathFilter;
pub use requester::{Everything, Requester};
pub use schedule::Schedule;

use super::watch::RemoteUrl;
use crate::bus::BusAddress;
use crate::model::{
    Branch, BuilderName, CommandId, Digest, FarmId, FileFault, Head, LockName, ParameterName,
    ProjectName, RepositoryName, RequesterName, SlaveName, Step, Text,
};

/// The file, word for word.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct MasterFile {
    farm: FarmId,
    bus: BusAddress,
    keyring: PathBuf,
    signing_key: PathBuf,
    bus_key: PathBuf,
    state: PathBuf,
    #[serde(default)]
    periods: PeriodsFile,
    #[serde(default)]
    telemetry: TelemetryFile,
    repositories: BTreeMap<RepositoryName, RepositoryFile>,
    builders: BTreeMap<BuilderName, BuilderFile>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TelemetryFile {
    listen: Option<SocketAddr>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct PeriodsFile {
    head_seconds: u64,
    silence_seconds: u64,
}

impl Default for PeriodsFile {
    fn default() -> Self {
        Self {
            head_seconds: Head::PERIOD.as_secs(),
            silence_seconds: 45,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RepositoryFile {
    url: RemoteUrl,
    branches: Vec<Branch>,
    #[serde(default = "default_poll_seconds")]
    poll_seconds: u64,
    #[serde(default = "default_patience_seconds")]
    patience_seconds: u64,
}

fn default_poll_seconds() -> u64 {
    60
}

/// Enough for the first fetch of every commit of a large repository; a remote that hangs holds up nobody else.
fn default_patience_seconds() -> u64 {
    600
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct BuilderFile {
    slave: SlaveName,
    project: ProjectName,
    sources: BTreeMap<RepositoryName, Branch>,
    #[serde(default = "default_accept_minutes")]
    accept_minutes: u64,
    steps: Vec<StepFile>,
}

fn default_accept_minutes() -> u64 {
    60
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct StepFile {
    command: CommandId,
    #[serde(default)]
    parameters: BTreeMap<ParameterName, Text>,
    #[serde(default = "default_timeout_minutes")]
    timeout_minutes: u64,
    #[serde(default = "yes")]
    halt_on_failure: bool,
    #[serde(default)]
    warn_only: bool,
    #[serde(default)]
    always_run: bool,
    script: Option<Digest>,
}

fn default_timeout_minutes() -> u64 {
    60
}

fn yes() -> bool {
    true
}

/// What a master leads, ready to act on.
#[derive(Clone, Debug)]
pub struct MasterConfig {
    /// The farm.
    pub farm: FarmId,
    /// Where the bus is.
    pub bus: BusAddress,
    /// The file of the keyring in force.
    pub keyring: PathBuf,
    /// The file of the signing key, or `credential:NAME`.
    pub signing_key: PathBuf,
    /// The file of the bus login's seed, or `credential:NAME`.
    pub bus_key: PathBuf,
    /// Folder of the mirrors; may be deleted at any time.
    pub state: PathBuf,
    /// Time between two heads.
    pub head_period: Duration,
    /// How long nothing may come from a slave before it counts as silent.
    pub silence: Duration,
    /// What is watched.
    pub repositories: BTreeMap<RepositoryName, Repository>,
    /// Who builds what.
    pub builders: BTreeMap<BuilderName, Builder>,
    /// How long a leading master that is not heard of may still be alive.
    pub lease: Duration,
    /// Who may ask for what.
    pub requesters: BTreeMap<RequesterName, Requester>,
    /// Where releases of projects are looked for.
    pub releases: BTreeMap<ProjectName, ReleaseSource>,
    /// What is known of slaves; of others the defaults hold.
    pub slaves: BTreeMap<SlaveName, SlaveRules>,
    /// How many builds may hold each lock at one time; of others it is one.
    pub locks: BTreeMap<LockName, u32>,
    /// Where metrics and health are served, if they are.
    pub telemetry: Option<SocketAddr>,
    /// The public nkey of the listener for webhooks, if there is one.
    pub hooks: Option<String>,
}

/// What holds for one slave.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SlaveRules {
    /// Most builds that are in flight on it at one time.
    pub capacity: u32,
}

impl Default for SlaveRules {
    /// One, as many as a slave runs at once by default.
    fn default() -> Self {
        Self { capacity: 1 }
    }
}

/// Where releases of a project are looked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ReleaseSource {
    /// Where.
    pub place: ReleasePlace,
    /// Whether versions such as `2.0rc1` count.
    pub pre_releases: PreReleases,
    /// Time between two looks.
    pub poll_period: Duration,
    /// Longest that one look may take.
    pub patience: Duration,
}

/// Where releases are found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ReleasePlace {
    /// Tags of a watched repository.
    Tags {
        /// Which repository.
        repository: RepositoryName,
        /// What stands before the version in a tag, such as `v`.
        prefix: Text,
    },
    /// The page of the project in a package index (PEP 691), `https://…/simple/<project>/`.
    Index(Text),
    /// Only requests announce them.
    Requests,
}

/// Whether versions such as `2.0rc1` count.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PreReleases {
    /// They do.
    Count,
    /// They do not.
    Skip,
}

/// A watched repository.
#[derive(Clone, Debug)]
pub struct Repository {
    /// Where it is.
    pub url: RemoteUrl,
    /// Which branches are watched.
    pub branches: Vec<Branch>,
    /// Time between two looks.
    pub poll_period: Duration,
    /// Longest that one look may take.
    pub patience: Duration,
}

/// A recipe on one slave.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Builder {
    /// The slave.
    pub slave: SlaveName,
    /// Whose tests.
    pub project: ProjectName,
    /// What is checked out; a move of any of them wants a build.
    pub sources: BTreeMap<RepositoryName, Branch>,
    /// How long a command stays acceptable.
    pub accept_window: Duration,
    /// What is run. `{release}` in a parameter stands for the version of the followed release.
    pub steps: Vec<Step>,
    /// Which paths of a repository matter; of one that is not here, all do.
    pub paths: BTreeMap<RepositoryName, PathFilter>,
    /// The project whose releases want a build.
    pub release: Option<ProjectName>,
    /// How long an accepted build may wait for its first step.
    pub start_window: Duration,
    /// How long nothing may have moved before it builds.
    pub quiet: Duration,
    /// What becomes of changes that come while it is busy.
    pub collapse: Collapse,
    /// 0 to 100: the higher, the sooner.
    pub priority: u8,
    /// What it holds while it builds.
    pub locks: BTreeSet<LockName>,
    /// Builders that must have passed what it builds.
    pub after: BTreeSet<BuilderName>,
    /// When it builds, if not at every change.
    pub schedule: Option<Schedule>,
    /// Whether a schedule's moment wants a build though nothing changed.
    pub unchanged: Unchanged,
    /// What becomes of builds that say nothing of the code.
    pub retry: Retry,
}

impl Builder {
    /// A builder of which nothing is said but what must be. It builds from nothing.
    #[must_use]
    pub fn new(slave: SlaveName, project: ProjectName, steps: Vec<Step>) -> Self {
        Self {
            slave,
            project,
            sources: BTreeMap::new(),
            accept_window: Duration::from_secs(3600),
            steps,
            paths: BTreeMap::new(),
            release: None,
            start_window: Duration::from_secs(3600),
            quiet: Duration::ZERO,
            collapse: Collapse::Newest,
            priority: 50,
            locks: BTreeSet::new(),
            after: BTreeSet::new(),
            schedule: None,
            unchanged: Unchanged::Skip,
            retry: Retry::default(),
        }
    }
}

/// What becomes of changes that come while a builder is busy.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Collapse {
    /// One build at the newest of them.
    Newest,
    /// One build each, in their order.
    Every,
}

/// Whether a schedule's moment wants a build though nothing changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unchanged {
    /// It does.
    Build,
    /// It does not.
    Skip,
}

/// What becomes of builds that end lost, errored or deferred.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Retry {
    /// How often such a build is tried again at most.
    pub most: u32,
    /// How long to wait before the first retry; before each further one twice as long, up to an hour.
    pub wait: Duration,
    /// After so many builds in a row that say nothing of the code, the builder is set aside.
    pub set_aside_after: u32,
    /// For how long, the first time; then twice as long each time, up to a day.
    pub set_aside_for: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            most: 2,
            wait: Duration::from_secs(60),
            set_aside_after: 5,
            set_aside_for: Duration::from_secs(3600),
        }
    }
}

/// Why a `master.toml` cannot be acted on.
#[derive(Debug, thiserror::Error)]
pub enum MasterConfigError {
    /// Not TOML, an unknown key, a wrong type, or a value outside its grammar.
    #[error(transparent)]
    File(#[from] FileFault),
    /// Something that must hold at least one.
    #[error("{0}: at least one is needed")]
    Empty(String),
    /// A time or period that must not be zero, or that is too long.
    #[error("{field}: must lie between 1 and {max}")]
    Range {
        /// Which key.
        field: String,
        /// The greatest value allowed.
        max: u64,
    },
    /// A builder wants what nobody watches.
    #[error(
        "builders.{builder}.sources.{repository}: there is no branch {branch} in [repositories.{repository}]"
    )]
    UnknownSource {
        /// Whose.
        builder: BuilderName,
        /// Which repository.
        repository: RepositoryName,
        /// Which branch.
        branch: Branch,
    },
}

impl MasterConfig {
    /// Reads `text`; relative paths in it start from `folder`, the folder of the file.
    ///
    /// # Errors
    ///
    /// [`MasterConfigError`], the first that applies.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, MasterConfigError> {
        let file: MasterFile =
            toml::from_str(text).map_err(|error| FileFault::toml(text, &error))?;
        let repositories = file
            .repositories
            .into_iter()
            .map(|(name, repository)| {
                let place = format!("repositories.{name}");
                Ok((name, read_repository(&place, repository)?))
            })
            .collect::<Result<BTreeMap<_, _>, MasterConfigError>>()?;
        let builders = file
            .builders
            .into_iter()
            .map(|(name, builder)| {
                let builder = read_builder(&name, builder, &repositories)?;
                Ok((name, builder))
            })
            .collect::<Result<_, MasterConfigError>>()?;
        Ok(Self {
            farm: file.farm,
            bus: file.bus,
            keyring: folder.join(file.keyring),
            signing_key: key_place(folder, file.signing_key),
            bus_key: key_place(folder, file.bus_key),
            state: folder.join(file.state),
            head_period: within("periods.head-seconds", file.periods.head_seconds, 86_400, 1)?,
            silence: within(
                "periods.silence-seconds",
                file.periods.silence_seconds,
                86_400,
                1,
            )?,
            repositories,
            builders,
            lease: Duration::from_secs(3),
            requesters: BTreeMap::new(),
            releases: BTreeMap::new(),
            slaves: BTreeMap::new(),
            locks: BTreeMap::new(),
            telemetry: file.telemetry.listen,
            hooks: None,
        })
    }
}

/// A credential of systemd lies in a folder that only the service is told of; every other path starts from `folder`.
fn key_place(folder: &Path, path: PathBuf) -> PathBuf {
    if path.to_string_lossy().starts_with("credential:") {
        path
    } else {
        folder.join(path)
    }
}

fn within(
    field: &str,
    value: u64,
    max: u64,
    unit_seconds: u64,
) -> Result<Duration, MasterConfigError> {
    if (1..=max).contains(&value) {
        Ok(Duration::from_secs(value * unit_seconds))
    } else {
        Err(MasterConfigError::Range {
            field: field.to_owned(),
            max,
        })
    }
}

fn read_repository(place: &str, file: RepositoryFile) -> Result<Repository, MasterConfigError> {
    if file.branches.is_empty() {
        return Err(MasterConfigError::Empty(format!("{place}.branches")));
    }
    let branches: BTreeSet<Branch> = file.branches.into_iter().collect();
    Ok(Repository {
        url: file.url,
        branches: branches.into_iter().collect(),
        poll_period: within(
            &format!("{place}.poll-seconds"),
            file.poll_seconds,
            86_400,
            1,
        )?,
        patience: within(
            &format!("{place}.patience-seconds"),
            file.patience_seconds,
            3600,
            1,
        )?,
    })
}

fn read_builder(
    name: &BuilderName,
    file: BuilderFile,
    repositories: &BTreeMap<RepositoryName, Repository>,
) -> Result<Builder, MasterConfigError> {
    let place = format!("builders.{name}");
    if file.sources.is_empty() {
        return Err(MasterConfigError::Empty(format!("{place}.sources")));
    }
    if file.steps.is_empty() {
        return Err(MasterConfigError::Empty(format!("{place}.steps")));
    }
    for (repository, branch) in &file.sources {
        if !repositories
            .get(repository)
            .is_some_and(|known| known.branches.contains(branch))
        {
            return Err(MasterConfigError::UnknownSource {
                builder: name.clone(),
                repository: repository.clone(),
                branch: branch.clone(),
            });
        }
    }
    let steps = file
        .steps
        .into_iter()
        .enumerate()
        .map(|(number, step)| {
            let field = format!("{place}.steps[{number}].timeout-minutes");
            Ok(Step {
                command: step.command,
                parameters: step.parameters,
                timeout: within(&field, step.timeout_minutes, 7 * 24 * 60, 60)?,
                halt_on_failure: step.halt_on_failure,
                warn_only: step.warn_only,
                always_run: step.always_run,
                script: step.script,
            })
        })
        .collect::<Result<_, MasterConfigError>>()?;
    let accept_window = within(
        &format!("{place}.accept-minutes"),
        file.accept_minutes,
        7 * 24 * 60,
        60,
    )?;
    Ok(Builder {
        sources: file.sources,
        accept_window,
        ..Builder::new(file.slave, file.project, steps)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
farm = "SHA256:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc"
bus = "nats://127.0.0.1:4222"
keyring = "farm.keyring"
signing-key = "signing.key"
bus-key = "bus.nk"
state = "state"

[repositories.python]
url = "https://example.org/python.git"
branches = ["main", "3.15"]

[builders.foo-linux]
slave = "maple"
project = "foo"
sources = { python = "main" }
steps = [{ command = "test-foo", parameters = { version = "1.0" } }]
"#;

    #[test]
    fn a_good_file_is_read_and_its_default_periods_are_these() {
        let config = MasterConfig::parse(GOOD, Path::new("/srv/pybots")).unwrap();
        assert_eq!(config.head_period, Duration::from_secs(600));
        // A slave speaks every 15 s: one that freezes is noticed within 60 s.
        assert_eq!(config.silence, Duration::from_secs(45));
        assert_eq!(config.signing_key, Path::new("/srv/pybots/signing.key"));
        assert_eq!(
            config.builders[&"foo-linux".parse().unwrap()].steps.len(),
            1
        );
    }

    #[test]
    fn a_credential_of_systemd_lies_in_no_folder_of_ours() {
        let text = GOOD.replace("\"signing.key\"", "\"credential:signing-key\"");
        let config = MasterConfig::parse(&text, Path::new("/srv/pybots")).unwrap();
        assert_eq!(config.signing_key, Path::new("credential:signing-key"));
    }

    #[test]
    fn each_mistake_is_named_with_its_place() {
        let cases = [
            (
                "branches = [",
                "branch = [",
                "line 11, column 1: unknown field `branch`",
            ),
            (
                "[\"main\", \"3.15\"]",
                "[]",
                "repositories.python.branches: at least one",
            ),
            (
                "{ python = \"main\" }",
                "{ python = \"mian\" }",
                "there is no branch mian in [repositories.python]",
            ),
            (
                "{ python = \"main\" }",
                "{ pyhton = \"main\" }",
                "there is no branch main in [repositories.pyhton]",
            ),
            (
                "[builders.foo-linux]",
                "[builders.foo-linux]\n[builders.foo-linux]",
                "duplicate key",
            ),
            (
                "command = \"test-foo\"",
                "command = \"../foo\"",
                "a command id must begin",
            ),
            ("https://example.org", "ext::sh -c x", "line 10, column 7"),
            (
                "state = \"state\"",
                "state = \"state\"\nperiods = { head-seconds = 0 }",
                "periods.head-seconds: must lie",
            ),
        ];
        for (from, to, expected) in cases {
            let text = GOOD.replacen(from, to, 1);
            assert_ne!(text, GOOD, "{from}");
            let error = MasterConfig::parse(&text, Path::new("/"))
                .unwrap_err()
                .to_string();
            assert!(error.contains(expected), "{to}: {error}");
        }
    }
}
