//! `pybots slave map` and `unmap`: which script an id runs here, and what the master may say to it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::own::{NOT_DONE, OwnConfig};
use crate::cli::exit::{Exit, Failure, say};
use crate::model::{CommandId, ParameterName, Text};
use crate::slave::{
    Grammar, LeadingHyphen, Mapping, MappingChange, NetworkRule, Script, ScriptState, SlaveConfig,
    check_script, with_mapping, without_mapping,
};

pub(super) const EXAMPLES: &str = "\
Examples:
  pybots slave map test-foo ~/bots/foo.sh --parameter version=word --network off
  pybots slave map test-foo --accept

A parameter is NAME=TYPE, and TYPE one of
  word                 letters, digits and . _ + -, beginning with a letter or digit
  revision             a full git revision
  integer:MIN..MAX     a whole number
  choice:ONE,OTHER     one of these
  pattern:REGEX        what the regular expression fits as a whole, at most 100 bytes, with no leading -";

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Map {
    /// The id that a command may name.
    id: CommandId,
    /// Your script.
    #[arg(required_unless_present = "accept")]
    script: Option<PathBuf>,
    /// What the master may fill in, and must; may be given several times. Without it, what stands in slave.toml stays.
    #[arg(long = "parameter", value_name = "NAME=TYPE", value_parser = parameter)]
    parameters: Vec<(ParameterName, Grammar)>,
    /// Longest that it may run. Without it, what stands in slave.toml stays.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=MOST_MINUTES))]
    timeout_minutes: Option<u64>,
    /// Whether it may reach the network. Without it, what stands in slave.toml stays.
    #[arg(long, value_enum, value_name = "on|off")]
    network: Option<Network>,
    /// Record the script as it is now, of an id that is mapped: it was you who changed it.
    #[arg(long, conflicts_with_all = ["script", "parameters", "timeout_minutes", "network"])]
    accept: bool,
    /// The configuration.
    #[arg(long, value_name = "FILE", default_value = "slave.toml")]
    config: PathBuf,
}

/// More than a year, and less than what would be no number of TOML's.
const MOST_MINUTES: u64 = 1_000_000;

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Network {
    On,
    Off,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Unmap {
    /// The id that no command may name any more.
    id: CommandId,
    /// The configuration.
    #[arg(long, value_name = "FILE", default_value = "slave.toml")]
    config: PathBuf,
}

fn parameter(raw: &str) -> Result<(ParameterName, Grammar), String> {
    let (name, grammar) = raw
        .split_once('=')
        .ok_or("NAME=TYPE is wanted, such as version=word")?;
    let name = name.parse().map_err(|error| format!("{error}"))?;
    let (kind, rest) = match grammar.split_once(':') {
        Some((kind, rest)) => (kind, Some(rest)),
        None => (grammar, None),
    };
    let text = |raw: &str| Text::try_from(raw.to_owned()).map_err(|error| error.to_string());
    let grammar = match (kind, rest) {
        ("word", None) => Grammar::Word,
        ("revision", None) => Grammar::Revision,
        ("integer", Some(range)) => {
            let bounds = range.split_once("..").and_then(|(min, max)| {
                let bounds = (min.parse().ok()?, max.parse().ok()?);
                Some(bounds)
            });
            let (min, max) = bounds.ok_or("integer:MIN..MAX is wanted, such as integer:1..8")?;
            Grammar::Integer { min, max }
        }
        ("choice", Some(values)) => Grammar::Choice {
            values: values.split(',').map(text).collect::<Result<_, _>>()?,
        },
        ("pattern", Some(pattern)) => Grammar::Pattern {
            pattern: pattern
                .to_owned()
                .try_into()
                .map_err(|error| format!("{error}"))?,
            max_length: Grammar::LONGEST,
            leading_hyphen: LeadingHyphen::Refuse,
        },
        _ => {
            return Err(
                "TYPE is word, revision, integer:MIN..MAX, choice:ONE,OTHER or pattern:REGEX"
                    .to_owned(),
            );
        }
    };
    grammar.check().map_err(|error| error.to_string())?;
    Ok((name, grammar))
}

pub(super) fn map(arguments: Map) -> Result<Exit, Failure> {
    let own = OwnConfig::open(&arguments.config)?;
    let before = own.config.commands.get(&arguments.id).cloned();
    let written = match &arguments.script {
        Some(script) => Some(written(script, &own.path)?),
        None => None,
    };
    let script = match &arguments.script {
        Some(script) => safe(script)?,
        None => safe(&own.mapping(&arguments.id)?.script)?,
    };
    let mut parameters = BTreeMap::new();
    for (name, grammar) in arguments.parameters {
        if parameters.insert(name.clone(), grammar).is_some() {
            let message = format!("parameter {name} was given twice");
            return Err(Failure::message(Exit::Usage, message).advice(NOT_DONE));
        }
    }
    let change = MappingChange {
        script: written,
        digest: Some(script.digest),
        parameters: Some(parameters).filter(|parameters| !parameters.is_empty()),
        timeout_minutes: arguments.timeout_minutes,
        network: arguments.network.map(|network| match network {
            Network::On => NetworkRule::On,
            Network::Off => NetworkRule::Off,
        }),
    };
    let id = &arguments.id;
    let path = own.path.clone();
    let (config, ()) = own.change(|text| Ok((with_mapping(text, id, &change)?, ())))?;
    if let Some(mapping) = config.commands.get(id) {
        tell(id, mapping, &script);
    }
    if let Some(before) = &before {
        tell_before(before, &script);
    }
    say!("  ok  mapped in {}", path.display());
    tell_next(&config);
    Ok(Exit::Ok)
}

pub(super) fn unmap(arguments: &Unmap) -> Result<Exit, Failure> {
    let own = OwnConfig::open(&arguments.config)?;
    own.mapping(&arguments.id)?;
    let path = own.path.clone();
    let (_, taken) = own.change(|text| without_mapping(text, &arguments.id))?;
    say!("  taken out of {}:", path.display());
    for line in taken.lines() {
        say!("    {line}");
    }
    say!(
        "  ok  {} runs nothing here any more. Your script is as it was.",
        arguments.id
    );
    Ok(Exit::Ok)
}

/// Looks at a script before anything is written.
fn safe(path: &Path) -> Result<Script, Failure> {
    check_script(path).map_err(|fault| Failure::configuration(fault).advice(NOT_DONE))
}

/// How the path of a script is written into the file at `config`: from the file's own folder, if it lies below it.
fn written(script: &Path, config: &Path) -> Result<String, Failure> {
    let whole = std::path::absolute(script)?;
    let folder = config.parent().unwrap_or(Path::new("/"));
    let path = whole.strip_prefix(folder).unwrap_or(&whole);
    path.to_str().map(str::to_owned).ok_or_else(|| {
        let message = format!("{} is not text in UTF-8", path.display());
        Failure::message(Exit::Usage, message).advice(NOT_DONE)
    })
}

fn tell(id: &CommandId, mapping: &Mapping, script: &Script) {
    if mapping.parameters.is_empty() {
        say!("  command   {id}   the master may fill in nothing");
    } else {
        say!("  command   {id}   the master may fill in only:");
    }
    let width = mapping.parameters.keys().map(|name| name.as_str().len());
    let width = width.max().unwrap_or_default();
    for (name, grammar) in &mapping.parameters {
        say!("            {name:width$}  {grammar}");
    }
    say!(
        "  script    {}   mode {:04o}, which only you and root can change",
        mapping.script.display(),
        script.mode
    );
    say!(
        "            {}, run by {}",
        script.digest,
        script.interpreter
    );
    let variables: Vec<String> = mapping
        .parameters
        .keys()
        .map(|name| {
            format!(
                "PYBOTS_P_{}",
                name.as_str().replace('-', "_").to_ascii_uppercase()
            )
        })
        .collect();
    if !variables.is_empty() {
        let variables = variables.join(", ");
        say!("  passed as environment {variables}; never as shell text");
    }
    say!("  limits    {}", super::scripts::limits(&mapping.limits));
    say!("  network   {}", super::scripts::network(mapping.network));
    if !mapping.secrets.is_empty() {
        let names: Vec<&str> = mapping.secrets.keys().map(String::as_str).collect();
        say!("  secrets   {}", names.join(", "));
    }
}

fn tell_before(before: &Mapping, script: &Script) {
    match (before.state(script.digest), before.digest) {
        (ScriptState::Changed, Some(digest)) => {
            say!("  before    {}   {digest}", before.script.display());
        }
        (ScriptState::Changed | ScriptState::Unrecorded, _) => {
            say!(
                "  before    {}   no digest recorded",
                before.script.display()
            );
        }
        (ScriptState::Same, _) => {
            say!("  before    {}   the same script", before.script.display());
        }
    }
}

fn tell_next(config: &SlaveConfig) {
    let quiet = config
        .commands
        .values()
        .any(|mapping| mapping.digest.is_none());
    if quiet {
        say!("      Some scripts are mapped without their digest: pybots slave scripts");
    }
    say!("      Next:  pybots slave check      (a slave that runs takes it up by itself)");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_on_the_command_line_is_a_name_and_a_grammar() {
        let good = [
            ("version=word", "1 to 100 letters"),
            ("rev=revision", "a full git revision"),
            ("jobs=integer:-1..8", "a whole number from -1 to 8"),
            ("mode=choice:fast,all", "one of: fast, all"),
            ("ref=pattern:[a-z]+=:x", "[a-z]+=:x, at most 100 bytes"),
        ];
        for (raw, expected) in good {
            let (name, grammar) = parameter(raw).unwrap();
            assert!(raw.starts_with(name.as_str()));
            assert!(grammar.to_string().starts_with(expected), "{grammar}");
        }
        let bad = [
            ("version", "NAME=TYPE is wanted"),
            ("Version=word", "a parameter's name"),
            ("version=words", "TYPE is word"),
            ("version=word:x", "TYPE is word"),
            ("jobs=integer:1-8", "integer:MIN..MAX is wanted"),
            ("jobs=integer:8..1", "min is greater than max"),
            ("ref=pattern:(", "unclosed group"),
        ];
        for (raw, expected) in bad {
            let error = parameter(raw).unwrap_err();
            assert!(error.contains(expected), "{raw}: {error}");
        }
    }
}
