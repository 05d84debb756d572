//! One of the owner's scripts, as `slave.toml` maps it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::argument::Argument;
use super::isolation::NetworkRule;
use super::limits::{Narrower, StepLimits};
use super::{ScriptChange, SlaveConfigError, is_variable};
use crate::model::{CommandId, Digest, ParameterName, Text};
use crate::slave::parameter::Grammar;

/// A table of `commands`, word for word.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct CommandFile {
    script: PathBuf,
    digest: Option<Digest>,
    timeout_minutes: Option<u64>,
    silent_minutes: Option<u64>,
    cpu_minutes: Option<u64>,
    memory_mebibytes: Option<u64>,
    processes: Option<u32>,
    disk_mebibytes: Option<u64>,
    log_mebibytes: Option<u64>,
    network: Option<NetworkRule>,
    #[serde(default)]
    parameters: BTreeMap<ParameterName, Grammar>,
    #[serde(default)]
    arguments: Vec<Argument>,
    #[serde(default)]
    secrets: BTreeMap<String, PathBuf>,
}

/// One of the owner's scripts and what a command may say to it.
#[derive(Clone, Debug)]
pub struct Mapping {
    /// The script.
    pub script: PathBuf,
    /// The script's digest when its owner mapped it, if it was recorded.
    pub digest: Option<Digest>,
    /// Most that it may use, whatever a command says.
    pub limits: StepLimits,
    /// Whether it may reach the network, where its owner says so.
    pub network: Option<NetworkRule>,
    /// Its parameters.
    pub parameters: BTreeMap<ParameterName, Grammar>,
    /// What stands on its command line.
    pub arguments: Vec<Argument>,
    /// Files of its owner's that it may read, by the name of the variable `PYBOTS_SECRET_<NAME>` which says where.
    pub secrets: BTreeMap<String, PathBuf>,
}

/// What a script may use and reach where its table says nothing.
pub(super) struct Defaults<'a> {
    pub(super) folder: &'a Path,
    pub(super) limits: StepLimits,
    pub(super) network: Option<NetworkRule>,
}

impl CommandFile {
    pub(super) fn parse(
        self,
        id: &CommandId,
        defaults: &Defaults<'_>,
    ) -> Result<Mapping, SlaveConfigError> {
        for (parameter, grammar) in &self.parameters {
            grammar
                .check()
                .map_err(|source| SlaveConfigError::Grammar {
                    command: id.clone(),
                    parameter: parameter.clone(),
                    source,
                })?;
        }
        let stated = self.arguments.iter().flat_map(Argument::parameters);
        let undeclared = |name: &&ParameterName| !self.parameters.contains_key(*name);
        if let Some(parameter) = { stated }.find(undeclared) {
            return Err(SlaveConfigError::Argument {
                command: id.clone(),
                parameter: parameter.clone(),
            });
        }
        if let Some(name) = self.secrets.keys().find(|name| !is_variable(name)) {
            return Err(SlaveConfigError::Secret {
                command: id.clone(),
                name: name.clone(),
            });
        }
        let narrower = Narrower {
            timeout_minutes: self.timeout_minutes,
            silent_minutes: self.silent_minutes,
            cpu_minutes: self.cpu_minutes,
            memory_mebibytes: self.memory_mebibytes,
            processes: self.processes,
            disk_mebibytes: self.disk_mebibytes,
            log_mebibytes: self.log_mebibytes,
        };
        let limits =
            defaults
                .limits
                .narrowed(&narrower)
                .map_err(|key| SlaveConfigError::ZeroOfCommand {
                    command: id.clone(),
                    key,
                })?;
        let secrets = self.secrets.into_iter();
        Ok(Mapping {
            script: defaults.folder.join(self.script),
            digest: self.digest,
            limits,
            network: self.network.or(defaults.network),
            parameters: self.parameters,
            arguments: self.arguments,
            secrets: secrets
                .map(|(name, path)| (name, defaults.folder.join(path)))
                .collect(),
        })
    }
}

/// How a script stands to the one that its owner mapped.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ScriptState {
    /// No digest was recorded.
    Unrecorded,
    /// It is the same.
    Same,
    /// It is another.
    Changed,
}

impl ScriptChange {
    /// Whether a script that stands so may run.
    #[must_use]
    pub fn permits(self, state: ScriptState) -> bool {
        match (self, state) {
            (Self::Ask, ScriptState::Changed) => false,
            (Self::Ask | Self::Accept, _) => true,
        }
    }
}

impl Mapping {
    /// How a script with the digest `present` stands to the one that was mapped.
    #[must_use]
    pub fn state(&self, present: Digest) -> ScriptState {
        match self.digest {
            None => ScriptState::Unrecorded,
            Some(mapped) if mapped == present => ScriptState::Same,
            Some(_) => ScriptState::Changed,
        }
    }

    /// The words of the script's command line for a command with these parameters, which fit its grammars.
    #[must_use]
    pub fn argv(&self, parameters: &BTreeMap<ParameterName, Text>) -> Vec<String> {
        let words = self.arguments.iter();
        words.map(|argument| argument.word(parameters)).collect()
    }
}
