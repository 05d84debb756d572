//! `pybots slave scripts`: what may run here, and whether it is what its owner mapped.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::cli::exit::{Exit, Failure, say};
use crate::cli::files;
use crate::model::{CommandId, Digest, ParameterName, SlaveName};
use crate::slave::{
    Mapping, NetworkRule, Script, ScriptChange, ScriptState, SlaveConfig, StepLimits, check_script,
};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// As JSON.
    #[arg(long)]
    json: bool,
    /// The configuration.
    #[arg(long, value_name = "FILE", default_value = "slave.toml")]
    config: PathBuf,
}

/// How one mapped script stands.
pub(super) struct Look<'a> {
    mapping: &'a Mapping,
    /// The script as it is now; or why it is not run.
    script: Result<Script, String>,
    rule: ScriptChange,
}

impl<'a> Look<'a> {
    pub(super) fn at(mapping: &'a Mapping, rule: ScriptChange) -> Self {
        let script = check_script(&mapping.script).map_err(|fault| fault.to_string());
        let secrets = mapping
            .check_secrets()
            .map_err(|(name, fault)| format!("secrets.{name}: {fault}"));
        Self {
            mapping,
            script: secrets.and(script),
            rule,
        }
    }

    fn state(&self) -> Option<ScriptState> {
        let script = self.script.as_ref().ok()?;
        Some(self.mapping.state(script.digest))
    }

    fn runs(&self) -> bool {
        self.state().is_some_and(|state| self.rule.permits(state))
    }

    /// How it stands, in a few words.
    pub(super) fn word(&self) -> &'static str {
        match self.state() {
            None => "not safe",
            Some(ScriptState::Unrecorded) => "no digest",
            Some(ScriptState::Same) => "as mapped",
            Some(ScriptState::Changed) => "changed",
        }
    }

    /// What its owner should know, if anything.
    pub(super) fn remark(&self, id: &CommandId) -> Option<String> {
        let accept = format!("pybots slave map {id} --accept");
        match (&self.script, self.state()) {
            (Err(fault), _) => Some(format!("{fault}. It is not run.")),
            (Ok(_), Some(ScriptState::Changed)) if self.runs() => Some(format!(
                "it is another script than was mapped; it is run, and results say both digests. Record it: {accept}"
            )),
            (Ok(_), Some(ScriptState::Changed)) => Some(format!(
                "it is another script than was mapped, and is not run. If it was you who changed it: {accept}"
            )),
            (Ok(_), _) => None,
        }
    }

    /// What runs it.
    pub(super) fn interpreter(&self) -> Option<String> {
        let script = self.script.as_ref().ok()?;
        Some(script.interpreter.to_string())
    }
}

/// One document, `pybots.scripts.v1`, by the rules of [`crate::status::json`].
#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    slave: &'a SlaveName,
    scripts: Vec<ScriptDocument<'a>>,
}

#[derive(Serialize)]
struct ScriptDocument<'a> {
    id: &'a CommandId,
    script: String,
    /// Whether a command that names it would run it.
    runs: bool,
    state: &'static str,
    /// Why it is not safe.
    fault: Option<&'a str>,
    mapped: Option<Digest>,
    present: Option<Digest>,
    interpreter: Option<String>,
    parameters: BTreeMap<&'a str, String>,
    secrets: Vec<&'a str>,
    network: Option<&'static str>,
    timeout_seconds: u64,
    memory: u64,
    processes: u32,
    disk: u64,
    log: u64,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let (config, _) = files::configuration(&arguments.config, SlaveConfig::parse)?;
    let looks: Vec<(&CommandId, Look<'_>)> = config
        .commands
        .iter()
        .map(|(id, mapping)| (id, Look::at(mapping, config.script_change)))
        .collect();
    let mut out = anstream::stdout();
    if arguments.json {
        let document = Document {
            schema: "pybots.scripts.v1",
            slave: &config.name,
            scripts: looks.iter().map(|(id, look)| describe(id, look)).collect(),
        };
        serde_json::to_writer_pretty(&mut out, &document).map_err(std::io::Error::from)?;
        writeln!(out)?;
        return Ok(Exit::Ok);
    }
    if looks.is_empty() {
        say!("No command is mapped, so nothing can run here. Next:  pybots slave map ID SCRIPT");
    }
    let rows = looks.iter().map(|(id, look)| row(id, look));
    let header = [
        "COMMAND",
        "STATE",
        "NETWORK",
        "LIMIT",
        "SCRIPT",
        "PARAMETERS",
    ];
    let table: Vec<[String; 6]> = [header.map(str::to_owned)]
        .into_iter()
        .chain(rows)
        .collect();
    let mut widths = [0; 6];
    for row in &table {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let shown = if looks.is_empty() { 0 } else { table.len() };
    for row in table.iter().take(shown) {
        let cells = row.iter().zip(widths);
        let cells: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    for (id, look) in &looks {
        if let Some(remark) = look.remark(id) {
            say!("{id}: {remark}");
        }
    }
    Ok(Exit::Ok)
}

fn row(id: &CommandId, look: &Look<'_>) -> [String; 6] {
    let mapping = look.mapping;
    let parameters: Vec<&str> = mapping
        .parameters
        .keys()
        .map(ParameterName::as_str)
        .collect();
    [
        id.to_string(),
        look.word().to_owned(),
        word(mapping.network)
            .unwrap_or("off if it can be")
            .to_owned(),
        minutes(mapping.limits.wall),
        line(&mapping.script.to_string_lossy()),
        parameters.join(" "),
    ]
}

fn describe<'a>(id: &'a CommandId, look: &'a Look<'_>) -> ScriptDocument<'a> {
    let mapping = look.mapping;
    let limits = &mapping.limits;
    let parameters = mapping.parameters.iter();
    ScriptDocument {
        id,
        script: mapping.script.to_string_lossy().into_owned(),
        runs: look.runs(),
        state: match look.state() {
            None => "unsafe",
            Some(ScriptState::Unrecorded) => "unrecorded",
            Some(ScriptState::Same) => "same",
            Some(ScriptState::Changed) => "changed",
        },
        fault: look.script.as_ref().err().map(String::as_str),
        mapped: mapping.digest,
        present: look.script.as_ref().ok().map(|script| script.digest),
        interpreter: look.interpreter(),
        parameters: parameters
            .map(|(name, grammar)| (name.as_str(), grammar.to_string()))
            .collect(),
        secrets: mapping.secrets.keys().map(String::as_str).collect(),
        network: word(mapping.network),
        timeout_seconds: limits.wall.as_secs(),
        memory: limits.memory,
        processes: limits.processes,
        disk: limits.disk,
        log: limits.log,
    }
}

fn word(network: Option<NetworkRule>) -> Option<&'static str> {
    network.map(|network| match network {
        NetworkRule::Off => "off",
        NetworkRule::On => "on",
    })
}

/// What a script can reach of the network, in words.
pub(super) fn network(rule: Option<NetworkRule>) -> &'static str {
    match rule {
        Some(NetworkRule::Off) => "off; not run where that cannot be had",
        Some(NetworkRule::On) => "on",
        None => "off where that can be had",
    }
}

/// A script's limits, in words.
pub(super) fn limits(limits: &StepLimits) -> String {
    let mebibytes = |bytes: u64| bytes >> 20;
    let cpu = limits.cpu.map(|cpu| format!(", {} of CPU", minutes(cpu)));
    format!(
        "{}, {} without output{}, {} MiB memory, {} processes, {} MiB disk, {} MiB log",
        minutes(limits.wall),
        minutes(limits.silent),
        cpu.unwrap_or_default(),
        mebibytes(limits.memory),
        limits.processes,
        mebibytes(limits.disk),
        mebibytes(limits.log)
    )
}

fn minutes(duration: Duration) -> String {
    format!("{} min", duration.as_secs() / 60)
}

/// A path is one line, and steers no terminal.
fn line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}
