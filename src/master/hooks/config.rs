//! `hooks.toml`: where to listen, and whose deliveries count.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::forge::Forge;
use crate::bus::BusAddress;
use crate::model::{FarmId, FileFault, RepositoryName};

/// The file, word for word.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct HooksFile {
    listen: SocketAddr,
    farm: FarmId,
    bus: BusAddress,
    bus_key: PathBuf,
    repositories: BTreeMap<RepositoryName, HookedFile>,
    #[serde(default)]
    limits: LimitsFile,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct HookedFile {
    forge: Forge,
    secret: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct LimitsFile {
    body_kib: u64,
    header_seconds: u64,
    body_seconds: u64,
    connections: u64,
    per_minute: u64,
    per_minute_and_address: u64,
}

impl Default for LimitsFile {
    fn default() -> Self {
        Self {
            body_kib: 1024,
            header_seconds: 10,
            body_seconds: 20,
            connections: 128,
            per_minute: 600,
            per_minute_and_address: 120,
        }
    }
}

/// What a listener for webhooks works by.
#[derive(Clone, Debug)]
pub struct HooksConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The farm.
    pub farm: FarmId,
    /// Where the bus is.
    pub bus: BusAddress,
    /// The file of the bus login's seed, or `credential:NAME`.
    pub bus_key: PathBuf,
    /// Whose deliveries count.
    pub repositories: BTreeMap<RepositoryName, Hooked>,
    /// What strangers may take of it.
    pub limits: HooksLimits,
}

/// A repository that is hinted at when its forge says so.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hooked {
    /// How its deliveries prove themselves.
    pub forge: Forge,
    /// The file of the secret that it shares with the forge, or `credential:NAME`.
    pub secret: PathBuf,
}

/// What strangers may take of a listener.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HooksLimits {
    /// Longest body, in bytes.
    pub body: usize,
    /// How long the head of a request may take.
    pub header_time: Duration,
    /// How long its body may take.
    pub body_time: Duration,
    /// Most connections at once.
    pub connections: usize,
    /// Most requests in a minute.
    pub per_minute: u32,
    /// Most of these from one address.
    pub per_minute_and_address: u32,
}

/// Why a `hooks.toml` cannot be acted on.
#[derive(Debug, thiserror::Error)]
pub enum HooksConfigError {
    /// Not TOML, an unknown key, a wrong type, or a value outside its grammar.
    #[error(transparent)]
    File(#[from] FileFault),
    /// Nothing to listen for.
    #[error("repositories: at least one is needed, such as [repositories.python]")]
    Empty,
    /// A limit that would let nothing or too much through.
    #[error("limits.{field}: must lie between 1 and {max}")]
    Range {
        /// Which key.
        field: &'static str,
        /// The greatest value allowed.
        max: u32,
    },
}

impl HooksConfig {
    /// Reads `text`; relative paths in it start from `folder`, the folder of the file.
    ///
    /// # Errors
    ///
    /// [`HooksConfigError`], the first that applies.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, HooksConfigError> {
        let file: HooksFile =
            toml::from_str(text).map_err(|error| FileFault::toml(text, &error))?;
        if file.repositories.is_empty() {
            return Err(HooksConfigError::Empty);
        }
        let repositories = file
            .repositories
            .into_iter()
            .map(|(name, hooked)| {
                let hooked = Hooked {
                    forge: hooked.forge,
                    secret: key_place(folder, hooked.secret),
                };
                (name, hooked)
            })
            .collect();
        Ok(Self {
            listen: file.listen,
            farm: file.farm,
            bus: file.bus,
            bus_key: key_place(folder, file.bus_key),
            repositories,
            limits: file.limits.read()?,
        })
    }
}

impl LimitsFile {
    fn read(&self) -> Result<HooksLimits, HooksConfigError> {
        let seconds = |field, value| {
            within(field, value, 300)
                .map(u64::from)
                .map(Duration::from_secs)
        };
        let body = within("body-kib", self.body_kib, 25 * 1024)?;
        let connections = within("connections", self.connections, 10_000)?;
        Ok(HooksLimits {
            body: usize::try_from(body).unwrap_or(usize::MAX) << 10,
            header_time: seconds("header-seconds", self.header_seconds)?,
            body_time: seconds("body-seconds", self.body_seconds)?,
            connections: usize::try_from(connections).unwrap_or(usize::MAX),
            per_minute: within("per-minute", self.per_minute, 100_000)?,
            per_minute_and_address: within(
                "per-minute-and-address",
                self.per_minute_and_address,
                100_000,
            )?,
        })
    }
}

fn within(field: &'static str, value: u64, max: u32) -> Result<u32, HooksConfigError> {
    u32::try_from(value)
        .ok()
        .filter(|value| (1..=max).contains(value))
        .ok_or(HooksConfigError::Range { field, max })
}

/// A credential of systemd lies in a folder that only the service is told of; every other path starts from `folder`.
fn key_place(folder: &Path, path: PathBuf) -> PathBuf {
    if path.to_string_lossy().starts_with("credential:") {
        path
    } else {
        folder.join(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(more: &str) -> Result<HooksConfig, String> {
        let farm = FarmId([7; 32]);
        let text = format!(
            "listen = \"127.0.0.1:8010\"\nfarm = \"{farm}\"\nbus = \"nats://127.0.0.1:4222\"\nbus-key = \"hooks.nk\"\n{more}"
        );
        HooksConfig::parse(&text, Path::new("/etc/pybots")).map_err(|error| error.to_string())
    }

    const PYTHON: &str = "[repositories.python]\nforge = \"github\"\nsecret = \"python.secret\"\n";

    #[test]
    fn what_is_not_said_has_a_limit_all_the_same() {
        let config = parse(PYTHON).unwrap();
        let python = &config.repositories[&"python".parse().unwrap()];
        assert_eq!(python.forge, Forge::Github);
        assert_eq!(python.secret, Path::new("/etc/pybots/python.secret"));
        assert_eq!(config.bus_key, Path::new("/etc/pybots/hooks.nk"));
        assert_eq!(config.limits.body, 1 << 20);
        assert_eq!(config.limits.connections, 128);
    }

    #[test]
    fn each_mistake_is_told_with_its_place() {
        for (more, told) in [
            (
                "[repositories]\n".to_owned(),
                "repositories: at least one is needed",
            ),
            (
                format!("{PYTHON}[limits]\nbody-kib = 0\n"),
                "limits.body-kib: must lie between 1 and 25600",
            ),
            (
                format!("{PYTHON}[limits]\nper-minute = 99999999999\n"),
                "limits.per-minute: must lie between",
            ),
            (
                PYTHON.replace("github", "sourceforge"),
                "line 6, column 9: unknown variant `sourceforge`",
            ),
            (
                PYTHON.replace("secret", "token"),
                "line 7, column 1: unknown field `token`",
            ),
            (PYTHON.replace("python]", "Py]"), "a repository's name"),
        ] {
            let said = parse(&more).unwrap_err();
            assert!(said.contains(told), "{said}");
        }
    }
}
