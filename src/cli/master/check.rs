//! `pybots master check`: is all in order, and what would be built where?

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Checked;
use crate::cli::exit::{Exit, Failure};
use crate::cli::files;
use crate::master::{Builder, MasterConfig, MasterConfigError, SlaveRules};
use crate::model::{BuilderName, FileFault, SlaveName};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The configuration.
    #[arg(long, value_name = "FILE", default_value = "master.toml")]
    config: PathBuf,
    /// Say it in JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let Arguments { config: path, json } = arguments;
    // Read for its mistakes first: what the rest says of a file with mistakes in it is of no use.
    match files::configuration(path, parse)?.0 {
        Err(error) if *json => {
            let mistakes: Vec<Value> = error.faults().iter().map(fault_in_json).collect();
            let document = json!({ "ok": false, "mistakes": mistakes });
            writeln!(anstream::stdout(), "{document:#}")?;
            return Err(failure(path, &error));
        }
        Err(error) => return Err(failure(path, &error)),
        Ok(_) => {}
    }
    let checked = Checked::load(path)?;
    let config = &checked.setup.config;
    let mut out = anstream::stdout();
    if *json {
        writeln!(out, "{:#}", in_json(config))?;
        return Ok(Exit::Ok);
    }
    let MasterConfig {
        farm,
        repositories,
        builders,
        ..
    } = config;
    writeln!(out, "ok  farm {farm}")?;
    writeln!(out, "ok  the signing key is in force")?;
    writeln!(
        out,
        "ok  repositories: {}, builders: {}",
        repositories.len(),
        builders.len()
    )?;
    for (slave, (rules, builders)) in by_slave(config) {
        let at_once = match (builders.is_empty(), rules.capacity) {
            (true, _) => "no builders".to_owned(),
            (false, 1) => "one build at a time".to_owned(),
            (false, capacity) => format!("{capacity} builds at a time"),
        };
        writeln!(out, "    {slave}: {at_once}")?;
        for (name, builder) in builders {
            writeln!(out, "        {name}: {}", follows(builder))?;
        }
    }
    Ok(Exit::Ok)
}

/// Never fails, so that the mistakes stay what they are.
#[expect(
    clippy::unnecessary_wraps,
    reason = "what reads a configuration may fail"
)]
fn parse(
    text: &str,
    folder: &Path,
) -> Result<Result<MasterConfig, MasterConfigError>, std::convert::Infallible> {
    Ok(MasterConfig::parse(text, folder))
}

/// A mistake as editors and compilers write it.
fn sentence(path: &Path, fault: &FileFault) -> String {
    let place = fault
        .place()
        .map_or_else(String::new, |(line, column)| format!("{line}:{column}:"));
    format!("{}:{place} {}", path.display(), fault.message())
}

fn failure(path: &Path, error: &MasterConfigError) -> Failure {
    let mut lines: Vec<String> = (error.faults().iter())
        .map(|fault| sentence(path, fault))
        .collect();
    if lines.len() > 1 {
        lines.insert(0, format!("{} mistakes in {}", lines.len(), path.display()));
    }
    Failure::message(Exit::Configuration, lines.join("\n")).advice("Nothing was started.")
}

fn fault_in_json(fault: &FileFault) -> Value {
    let (line, column) = fault.place().unzip();
    json!({ "line": line, "column": column, "message": fault.message() })
}

type BySlave<'a> = BTreeMap<&'a SlaveName, (SlaveRules, BTreeMap<&'a BuilderName, &'a Builder>)>;

/// Every slave that has a builder, or of which something is said.
fn by_slave(config: &MasterConfig) -> BySlave<'_> {
    let mut slaves = BySlave::new();
    for (slave, rules) in &config.slaves {
        slaves.insert(slave, (*rules, BTreeMap::new()));
    }
    for (name, builder) in &config.builders {
        let (_, builders) = slaves.entry(&builder.slave).or_default();
        builders.insert(name, builder);
    }
    slaves
}

/// What a builder follows, in one line.
fn follows(builder: &Builder) -> String {
    let sources = builder.sources.iter();
    let sources = sources.map(|(repository, branch)| format!("{repository} {branch}"));
    let release = builder.release.iter();
    let releases = release.map(|project| format!("releases of {project}"));
    let mut line = sources.chain(releases).collect::<Vec<_>>().join(", ");
    if let Some(schedule) = &builder.schedule {
        line = format!("{line}; at {schedule}");
    }
    if !builder.after.is_empty() {
        let after: Vec<&str> = builder.after.iter().map(BuilderName::as_str).collect();
        line = format!("{line}; after {}", after.join(", "));
    }
    line
}

fn in_json(config: &MasterConfig) -> Value {
    let slaves = by_slave(config)
        .into_iter()
        .map(|(slave, (rules, builders))| {
            let builders: Vec<Value> = builders.into_iter().map(builder_in_json).collect();
            json!({ "slave": slave, "capacity": rules.capacity, "builders": builders })
        });
    json!({
        "ok": true,
        "farm": config.farm,
        "repositories": config.repositories.keys().collect::<Vec<_>>(),
        "slaves": slaves.collect::<Vec<_>>(),
    })
}

fn builder_in_json((name, builder): (&BuilderName, &Builder)) -> Value {
    json!({
        "builder": name,
        "project": builder.project,
        "sources": builder.sources,
        "release": builder.release,
        "schedule": builder.schedule.as_ref().map(ToString::to_string),
        "after": builder.after,
        "steps": builder.steps.iter().map(|step| &step.command).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
farm = "SHA256:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc"
bus = "nats://127.0.0.1:4222"
keyring = "farm.keyring"
signing-key = "signing.key"
bus-key = "bus.nk"
state = "state"
[repositories.python]
url = "/srv/python"
branches = ["main"]
[releases.foo]
[slaves.oak]
capacity = 2
[builders.a]
slave = "maple"
project = "foo"
sources = { python = "main" }
release = "foo"
steps = [{ command = "test-foo" }]
[builders.b]
slave = "maple"
project = "foo"
sources = { python = "main" }
after = ["a"]
schedule = "0 3 * * *"
steps = [{ command = "test-foo" }]
"#;

    #[test]
    fn what_a_builder_follows_is_said_in_one_line() {
        let config = MasterConfig::parse(TEXT, Path::new("/")).unwrap();
        let lines: Vec<String> = config.builders.values().map(follows).collect();
        let expected = [
            "python main, releases of foo",
            "python main; at 0 3 * * * UTC; after a",
        ];
        assert_eq!(lines, expected);
        let document = in_json(&config);
        assert_eq!(document["slaves"][0]["slave"], "maple");
        assert_eq!(document["slaves"][0]["builders"][1]["after"], json!(["a"]));
        assert_eq!(document["slaves"][1]["capacity"], 2);
    }

    #[test]
    fn a_mistake_is_written_as_compilers_write_it() {
        let text = TEXT.replace("capacity = 2", "capacity = 0");
        let error = MasterConfig::parse(&text, Path::new("/")).unwrap_err();
        let path = Path::new("farm/master.toml");
        assert_eq!(
            sentence(path, &error.faults()[0]),
            "farm/master.toml:13:12: slaves.oak.capacity: must lie between 1 and 1000"
        );
        let alone = failure(path, &error).sentence();
        assert_eq!(alone, sentence(path, &error.faults()[0]));
        let text = text.replace("project = \"foo\"", "");
        let error = MasterConfig::parse(&text, Path::new("/")).unwrap_err();
        let told = failure(path, &error).sentence();
        assert!(
            told.starts_with("3 mistakes in farm/master.toml\nfarm/master.toml:13:12: "),
            "{told}"
        );
        assert_eq!(told.lines().count(), 4);
    }
}
