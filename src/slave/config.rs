//! `slave.toml`: all that its owner allows.

mod argument;
mod command;
mod edit;
mod isolation;
mod limits;
mod schedule;
mod telemetry;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

pub use argument::{Argument, ArgumentError};
pub use command::{Mapping, ScriptState};
pub use edit::{EditError, MappingChange, with_mapping, without_mapping};
pub use isolation::{IsolationSettings, LevelRule, NetworkRule};
pub use limits::{HostLimits, OnBattery, StepLimits};
pub use schedule::{QuietError, Schedule};

use command::{CommandFile, Defaults};
use isolation::IsolationFile;
use limits::LimitsFile;
use schedule::ScheduleFile;
use telemetry::TelemetryFile;

use super::parameter::GrammarError;
use crate::bus::BusAddress;
use crate::model::{BuilderName, CommandId, FarmId, FileFault, Head, ParameterName, SlaveName};

/// The file, word for word.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct SlaveFile {
    name: SlaveName,
    farm: FarmId,
    bus: BusAddress,
    state: PathBuf,
    builders: BTreeMap<BuilderName, BuilderFile>,
    #[serde(default)]
    commands: BTreeMap<CommandId, CommandFile>,
    #[serde(default)]
    environment: BTreeMap<String, String>,
    #[serde(default)]
    script_change: ScriptChange,
    #[serde(default)]
    limits: LimitsFile,
    #[serde(default)]
    isolation: IsolationFile,
    #[serde(default)]
    schedule: ScheduleFile,
    #[serde(default)]
    periods: PeriodsFile,
    #[serde(default)]
    telemetry: TelemetryFile,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct BuilderFile {
    #[serde(default)]
    workspace: WorkspaceRule,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct PeriodsFile {
    presence_seconds: u64,
    head_seconds: u64,
    max_head_age_minutes: u64,
}

impl Default for PeriodsFile {
    fn default() -> Self {
        Self {
            presence_seconds: 15,
            head_seconds: 60,
            max_head_age_minutes: Head::MAX_AGE.as_secs() / 60,
        }
    }
}

/// What its owner allows a slave, ready to act on: paths are absolute, no limit is zero.
#[derive(Clone, Debug)]
pub struct SlaveConfig {
    /// The slave's name.
    pub name: SlaveName,
    /// The farm that it pins.
    pub farm: FarmId,
    /// Where the bus is.
    pub bus: BusAddress,
    /// Folder of everything that it keeps: keys, journal, workspaces, caches.
    pub state: PathBuf,
    /// The builders that it serves.
    pub builders: BTreeMap<BuilderName, BuilderSettings>,
    /// The owner's scripts, by the ids that a command may name.
    pub commands: BTreeMap<CommandId, Mapping>,
    /// What a script's environment holds besides `PYBOTS_*`.
    pub environment: BTreeMap<String, String>,
    /// What is done when a script is another than when it was mapped.
    pub script_change: ScriptChange,
    /// How scripts are kept apart from the rest of the machine.
    pub isolation: IsolationSettings,
    /// What must be left of the machine before a build is started.
    pub host: HostLimits,
    /// When nothing new is started.
    pub schedule: Schedule,
    /// Time between two signs of life.
    pub presence_period: Duration,
    /// Time between two looks at the head.
    pub head_period: Duration,
    /// How old the newest head may be before nothing is started any more.
    pub max_head_age: Duration,
    /// Where metrics and health are served, if they are.
    pub telemetry: Option<SocketAddr>,
}

/// What the owner says of one builder.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BuilderSettings {
    /// Whether its workspace is emptied before each build.
    pub workspace: WorkspaceRule,
}

/// What a build finds in its workspace.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum WorkspaceRule {
    /// Nothing.
    #[default]
    Fresh,
    /// What the build before left.
    Kept,
}

/// What is done when a script is another than when it was mapped.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum ScriptChange {
    /// It is not run until its owner has mapped it anew.
    #[default]
    Ask,
    /// It is run, and the result says both digests.
    Accept,
}

/// Why a `slave.toml` cannot be acted on.
#[derive(Debug, thiserror::Error)]
pub enum SlaveConfigError {
    /// Not TOML, an unknown key, a wrong type, or a value outside its grammar.
    #[error(transparent)]
    File(#[from] FileFault),
    /// No builder.
    #[error("builders: at least one [builders.NAME] is needed")]
    NoBuilder,
    /// A limit that would stop everything.
    #[error("{0}: must be at least 1")]
    Zero(&'static str),
    /// A command's limit that would stop it at once.
    #[error("commands.{command}.{key}: must be at least 1")]
    ZeroOfCommand {
        /// Whose.
        command: CommandId,
        /// Which.
        key: &'static str,
    },
    /// A load average that no machine has.
    #[error("limits.load: must be above 0")]
    Load,
    /// An address that others than this machine can reach, and nobody said that they may.
    #[error(
        "telemetry.listen: others than this machine reach {0}; if that is meant, write reach = \"network\" beside it"
    )]
    Reach(SocketAddr),
    /// A level that the owner himself says is too low.
    #[error("isolation.level is below isolation.minimum, so nothing could ever run")]
    BelowMinimum,
    /// Quiet hours that cannot be read.
    #[error("schedule.quiet: {raw:?} {source}")]
    Quiet {
        /// As it stands there.
        raw: String,
        /// What is wrong.
        source: QuietError,
    },
    /// No time zone of that name.
    #[error(
        "schedule.time-zone: this machine knows no time zone {0:?}; names are such as Europe/Berlin, from the package tzdata"
    )]
    TimeZone(String),
    /// A secret's name that cannot be the end of a variable's.
    #[error("commands.{command}.secrets.{name}: names are letters, digits and _")]
    Secret {
        /// Whose.
        command: CommandId,
        /// The name.
        name: String,
    },
    /// A secret where no script sees anything.
    #[error("commands.{command}.secrets.{name}: it lies in the state folder, which no script sees")]
    HiddenSecret {
        /// Whose.
        command: CommandId,
        /// The name.
        name: String,
    },
    /// A word of a command line that speaks of a parameter which is not there.
    #[error(
        "commands.{command}.arguments: {{{parameter}}} stands for a parameter, and commands.{command}.parameters has none of that name"
    )]
    Argument {
        /// Whose.
        command: CommandId,
        /// The name.
        parameter: ParameterName,
    },
    /// A grammar that cannot be meant.
    #[error("commands.{command}.parameters.{parameter}: {source}")]
    Grammar {
        /// Whose.
        command: CommandId,
        /// Of which parameter.
        parameter: ParameterName,
        /// What is wrong.
        source: GrammarError,
    },
    /// A variable that is ours to set, or that no program could read.
    #[error(
        "environment.{0}: names are letters, digits and _, and PYBOTS_* is set by the slave itself"
    )]
    Environment(String),
}

impl SlaveConfig {
    /// Reads `text`; relative paths in it start from `folder`, the folder of the file.
    ///
    /// # Errors
    ///
    /// [`SlaveConfigError`], the first that applies.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, SlaveConfigError> {
        let file: SlaveFile =
            toml::from_str(text).map_err(|error| FileFault::toml(text, &error))?;
        if file.builders.is_empty() {
            return Err(SlaveConfigError::NoBuilder);
        }
        let positive = |value: u64, name| {
            if value == 0 {
                Err(SlaveConfigError::Zero(name))
            } else {
                Ok(value)
            }
        };
        let minutes = |minutes: u64| Duration::from_secs(minutes.saturating_mul(60));
        let (limits, host) = file.limits.parse()?;
        let isolation = file.isolation.parse(folder)?;
        let defaults = Defaults {
            folder,
            limits,
            network: isolation.network,
        };
        let commands = file
            .commands
            .into_iter()
            .map(|(id, command)| {
                let mapping = command.parse(&id, &defaults)?;
                Ok((id, mapping))
            })
            .collect::<Result<BTreeMap<CommandId, Mapping>, SlaveConfigError>>()?;
        if let Some(name) = file.environment.keys().find(|name| !is_variable(name)) {
            return Err(SlaveConfigError::Environment(name.clone()));
        }
        let PeriodsFile {
            presence_seconds,
            head_seconds,
            max_head_age_minutes,
        } = file.periods;
        let builders = file
            .builders
            .into_iter()
            .map(|(name, builder)| {
                (
                    name,
                    BuilderSettings {
                        workspace: builder.workspace,
                    },
                )
            })
            .collect();
        let state = folder.join(file.state);
        for (id, mapping) in &commands {
            let hidden = |(_, path): &(&String, &PathBuf)| path.starts_with(&state);
            if let Some((name, _)) = mapping.secrets.iter().find(hidden) {
                return Err(SlaveConfigError::HiddenSecret {
                    command: id.clone(),
                    name: name.clone(),
                });
            }
        }
        Ok(Self {
            name: file.name,
            farm: file.farm,
            bus: file.bus,
            state,
            builders,
            commands,
            environment: file.environment,
            script_change: file.script_change,
            isolation,
            host,
            schedule: file.schedule.parse()?,
            presence_period: Duration::from_secs(positive(
                presence_seconds,
                "periods.presence-seconds",
            )?),
            head_period: Duration::from_secs(positive(head_seconds, "periods.head-seconds")?),
            max_head_age: minutes(positive(
                max_head_age_minutes,
                "periods.max-head-age-minutes",
            )?),
            telemetry: file.telemetry.parse()?,
        })
    }

    /// The file that holds the key which signs this slave's reports.
    #[must_use]
    pub fn report_key(&self) -> PathBuf {
        self.state.join("report.key")
    }

    /// The file that holds the seed of the bus login.
    #[must_use]
    pub fn bus_key(&self) -> PathBuf {
        self.state.join("bus.nk")
    }
}

fn is_variable(name: &str) -> bool {
    !name.starts_with("PYBOTS_")
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Text;

    const GOOD: &str = r#"
name = "maple"
farm = "SHA256:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc"
bus = "nats://127.0.0.1:4222"
state = "state"

[builders.foo-linux]
workspace = "kept"

[commands.test-foo]
script = "scripts/test-foo.sh"
timeout-minutes = 5
parameters.version = { type = "word" }
"#;

    #[test]
    fn a_good_file_is_read_with_paths_from_its_own_folder() {
        let config = SlaveConfig::parse(GOOD, Path::new("/home/bob")).unwrap();
        let mapping = &config.commands[&"test-foo".parse().unwrap()];
        assert_eq!(mapping.script, Path::new("/home/bob/scripts/test-foo.sh"));
        assert_eq!(mapping.limits.wall, Duration::from_secs(300));
        assert_eq!(config.state, Path::new("/home/bob/state"));
        assert_eq!(config.max_head_age, Duration::from_secs(24 * 3600));
        assert_eq!(config.presence_period, Duration::from_secs(15));
    }

    #[test]
    fn a60_the_words_of_a_command_line_are_its_owners_and_only_values_are_filled_in() {
        let text = GOOD.replace(
            "timeout-minutes = 5",
            "arguments = [\"--version\", \"{version}\", \"--quiet\"]",
        );
        let config = SlaveConfig::parse(&text, Path::new("/")).unwrap();
        let mapping = &config.commands[&"test-foo".parse().unwrap()];
        let value = Text::tidy("3.0 --evil");
        let values = BTreeMap::from([("version".parse().unwrap(), value)]);
        assert_eq!(
            mapping.argv(&values),
            ["--version", "3.0 --evil", "--quiet"]
        );
    }

    #[test]
    fn each_mistake_is_named_with_its_place() {
        let cases = [
            (
                "name = \"maple\"",
                "name = \"Maple\"",
                "line 2, column 8: a slave's name must begin",
            ),
            (
                "state = ",
                "stat = ",
                "line 5, column 1: unknown field `stat`",
            ),
            (
                "timeout-minutes = 5",
                "timeout-minutes = \"5\"",
                "line 12, column 19: invalid type",
            ),
            (
                "timeout-minutes = 5",
                "timeout-minutes = 0",
                "commands.test-foo.timeout-minutes: must be at least 1",
            ),
            (
                "[builders.foo-linux]",
                "[builders.\"a.b\"]",
                "a builder's name may have only",
            ),
            (
                "workspace = \"kept\"",
                "workspace = \"keep\"",
                "line 8, column 13: unknown variant `keep`",
            ),
            (
                "[commands.test-foo]",
                "[builders.foo-linux]\n[commands.test-foo]",
                "duplicate key",
            ),
            (
                "type = \"word\"",
                "type = \"integer\", min = 2, max = 1",
                "parameters.version: min is greater than max",
            ),
            (
                "[commands.test-foo]",
                "[environment]\nPYBOTS_X = \"1\"\n[commands.test-foo]",
                "environment.PYBOTS_X",
            ),
            (
                "SHA256:",
                "SHA1:",
                "line 3, column 8: a farm id is written SHA256:",
            ),
            ("nats://", "http://", "line 4, column 7: a bus address is"),
            (
                "timeout-minutes = 5",
                "arguments = [\"--version\", \"{versoin}\"]",
                "commands.test-foo.arguments: {versoin} stands for a parameter",
            ),
            (
                "timeout-minutes = 5",
                "arguments = [\"--version\", \"{version\"]",
                "line 12, column 13: a { without a }",
            ),
            (
                "type = \"word\"",
                "type = \"pattern\", pattern = \"a(b\"",
                "line 13, column 22: not a regular expression that can be used here: unclosed group",
            ),
            (
                "type = \"word\"",
                "type = \"pattern\", pattern = \"a\", max-length = 0",
                "parameters.version: max-length must be 1 to 512",
            ),
            (
                "timeout-minutes = 5",
                "secrets.TOKEN = \"state/token\"",
                "commands.test-foo.secrets.TOKEN: it lies in the state folder",
            ),
            (
                "[commands.test-foo]",
                "[schedule]\nquiet = [\"22:00\"]\n[commands.test-foo]",
                "schedule.quiet: \"22:00\" is not written as 22:00-08:00",
            ),
            (
                "[commands.test-foo]",
                "[schedule]\ntime-zone = \"Middle/Earth\"\n[commands.test-foo]",
                "schedule.time-zone: this machine knows no time zone \"Middle/Earth\"",
            ),
        ];
        for (from, to, expected) in cases {
            let text = GOOD.replacen(from, to, 1);
            assert_ne!(text, GOOD, "{from}");
            let error = SlaveConfig::parse(&text, Path::new("/"))
                .unwrap_err()
                .to_string();
            assert!(error.contains(expected), "{to}: {error}");
        }
    }
}
