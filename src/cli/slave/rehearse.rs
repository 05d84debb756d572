//! `pybots slave rehearse`: run mapped scripts as a command would, and publish nothing.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use crate::cli::exit::{Exit, Failure, say};
use crate::cli::{clock, files};
use crate::model::{
    Branch, BuilderName, CommandId, ParameterName, ProjectName, ReportBody, RepositoryName,
    Revision, Source, Step, TestResults, Text, Verdict,
};
use crate::slave::{Abilities, Rehearsal, RehearseError, SlaveConfig};
use crate::status::json::BodyDocument;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Rehearse {
    /// The ids, in the order in which a command would name them.
    #[arg(required = true)]
    ids: Vec<CommandId>,
    /// A parameter's value, for each script that has it; may be given several times.
    #[arg(long = "parameter", value_name = "NAME=VALUE", value_parser = parameter)]
    parameters: Vec<(ParameterName, Text)>,
    /// A repository's revision, as the master would say it; may be given several times.
    #[arg(long = "source", value_name = "REPOSITORY=BRANCH@REVISION", value_parser = source)]
    sources: Vec<Source>,
    /// The builder in whose name it is done; without it, the first in slave.toml.
    #[arg(long, value_name = "NAME")]
    builder: Option<BuilderName>,
    /// Print what would be published as JSON, one document a line, on standard output; the scripts' output goes to standard
    /// error.
    #[arg(long)]
    json: bool,
    /// The configuration.
    #[arg(long, value_name = "FILE", default_value = "slave.toml")]
    config: PathBuf,
}

fn parameter(raw: &str) -> Result<(ParameterName, Text), String> {
    let (name, value) = raw
        .split_once('=')
        .ok_or("NAME=VALUE is wanted, such as version=3.0.4")?;
    let name = name.parse().map_err(|error| format!("{error}"))?;
    let value = value.to_owned().try_into();
    Ok((name, value.map_err(|error| format!("{error}"))?))
}

fn source(raw: &str) -> Result<Source, String> {
    let parts = raw
        .split_once('=')
        .and_then(|(repository, rest)| Some((repository, rest.rsplit_once('@')?)));
    let (repository, (branch, revision)) = parts
        .ok_or("REPOSITORY=BRANCH@REVISION is wanted, such as python=main@ and 40 hex digits")?;
    let repository: RepositoryName = repository.parse().map_err(|error| format!("{error}"))?;
    let branch: Branch = branch.parse().map_err(|error| format!("{error}"))?;
    let revision: Revision = revision.parse().map_err(|error| format!("{error}"))?;
    Ok(Source {
        repository,
        branch,
        revision,
    })
}

pub(super) async fn run(arguments: Rehearse) -> Result<Exit, Failure> {
    let (config, _) = files::configuration(&arguments.config, SlaveConfig::parse)?;
    let (json, rehearsal) = (arguments.json, arguments.rehearsal(&config)?);
    let abilities = Abilities::probe(&files::search_path());
    let program = files::program()?;
    let stop = async {
        // Without signals there is no Ctrl-C to hear.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let now = clock::now();
    let rehearsed = if json {
        let mut out = anstream::stderr();
        rehearsal
            .run(&config, abilities, &program, now, stop, &mut out)
            .await
    } else {
        let mut out = anstream::stdout();
        rehearsal
            .run(&config, abilities, &program, now, stop, &mut out)
            .await
    };
    let bodies = rehearsed.map_err(|error| match error {
        RehearseError::Refused(_) | RehearseError::Busy => {
            Failure::error(error).advice("Nothing ran, and nothing was published.")
        }
        RehearseError::Folder(_) | RehearseError::Fault { .. } => {
            Failure::error(error).advice("Nothing was published.")
        }
    })?;
    let mut out = anstream::stdout();
    for body in &bodies {
        if json {
            serde_json::to_writer(&mut out, &BodyDocument::from(body)).map_err(Failure::error)?;
            writeln!(out)?;
        } else {
            say!("  would be published: {}", describe(body));
        }
    }
    say!("  Nothing was published.");
    let well = bodies
        .last()
        .and_then(ReportBody::verdict)
        .is_some_and(Verdict::is_well);
    Ok(if well { Exit::Ok } else { Exit::NotWell })
}

impl Rehearse {
    fn rehearsal(self, config: &SlaveConfig) -> Result<Rehearsal, Failure> {
        let usage = |message: String| {
            Failure::message(Exit::Usage, message).advice("Nothing ran, and nothing was published.")
        };
        let builder = match self.builder {
            Some(builder) if config.builders.contains_key(&builder) => Some(builder),
            Some(builder) => return Err(usage(format!("this slave does not serve {builder}"))),
            None => config.builders.keys().next().cloned(),
        };
        let builder = builder.ok_or_else(|| usage("this slave serves no builder".to_owned()))?;
        let project: ProjectName = "rehearsal".parse().map_err(Failure::error)?;
        let has = |id: &CommandId, name: &ParameterName| {
            let mapping = config.commands.get(id);
            mapping.is_some_and(|mapping| mapping.parameters.contains_key(name))
        };
        let stray = self
            .parameters
            .iter()
            .find(|(name, _)| !self.ids.iter().any(|id| has(id, name)));
        if let Some((name, _)) = stray {
            return Err(usage(format!(
                "none of these scripts has a parameter {name}"
            )));
        }
        let steps = self.ids.iter().map(|id| Step {
            command: id.clone(),
            parameters: self
                .parameters
                .iter()
                .filter(|(name, _)| has(id, name))
                .cloned()
                .collect::<BTreeMap<_, _>>(),
            timeout: Duration::MAX,
            halt_on_failure: true,
            warn_only: false,
            always_run: false,
            script: None,
        });
        Ok(Rehearsal {
            builder,
            project,
            steps: steps.collect(),
            sources: self.sources,
        })
    }
}

fn describe(body: &ReportBody) -> String {
    match body {
        ReportBody::StepStarted {
            step,
            name,
            script,
            isolation,
            network,
            ..
        } => format!(
            "step {} {name} started, script {script}, isolation {}, network {}",
            step + 1,
            isolation.word(),
            network.word()
        ),
        ReportBody::StepFinished { step, outcome } => {
            let mut parts = vec![format!("step {} {}", step + 1, outcome.verdict)];
            parts.extend(outcome.exit.map(|exit| format!("exit {exit}")));
            parts.extend(outcome.signal.map(|signal| format!("signal {signal}")));
            parts.extend(
                outcome
                    .limit
                    .map(|limit| format!("over its limit of {}", limit.word())),
            );
            parts.push(format!("{:.1} s", outcome.duration.as_secs_f64()));
            parts.extend(
                outcome
                    .cpu
                    .map(|cpu| format!("{:.1} s CPU", cpu.as_secs_f64())),
            );
            parts.extend(
                outcome
                    .peak_memory
                    .map(|bytes| format!("{} MiB memory", bytes >> 20)),
            );
            parts.push(format!(
                "{} bytes of log, {} cut",
                outcome.log_bytes, outcome.log_cut
            ));
            parts.extend(outcome.tests.as_ref().map(tests));
            parts.join(", ")
        }
        ReportBody::Finished { verdict, .. } => format!("finished, {verdict}"),
        ReportBody::Accepted { .. }
        | ReportBody::Refused { .. }
        | ReportBody::Deferred { .. }
        | ReportBody::Lost { .. } => String::new(),
    }
}

fn tests(tests: &TestResults) -> String {
    format!(
        "{} tests passed, {} failed, {} skipped",
        tests.passed, tests.failed, tests.skipped
    )
}
