//! What a keeper is handed for a step, and what it hands back.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use super::tally::Ran;
use crate::model::{Build, Outcome, PayloadId, ReportBody, Step, TestResults, Timestamp, Verdict};
use crate::slave::config::SlaveConfig;
use crate::slave::gate::Recipe;
use crate::slave::journal::JournalError;
use crate::slave::keeper::{self, Allowance, Ending, ExitRecord, Job};
use crate::slave::results;
use crate::slave::script::copy_script;
use crate::slave::workspace::Workspace;

/// One step of one build, and where it takes place.
pub(super) struct StepPlace<'a> {
    pub(super) id: PayloadId,
    pub(super) build: &'a Build,
    pub(super) number: u16,
    pub(super) step: &'a Step,
    pub(super) recipe: &'a Recipe,
    pub(super) workspace: &'a Workspace,
}

/// Why a step came to no verdict of its own: the machine's fault, not the code's.
#[derive(Debug, thiserror::Error)]
pub(super) enum StepFault {
    #[error("a folder of the slave cannot be used: {}", .0.kind())]
    Folder(#[from] io::Error),
    #[error("the script is not safe to run any more")]
    Script,
    #[error("a secret of the script is not safe any more")]
    Secret,
    #[error("the script is another than when its owner mapped it")]
    Changed,
    #[error("the script is not the one that the command expects")]
    Digest,
    #[error("the keeper left no record of how the script ended")]
    NoRecord,
    #[error("the script could not be started: {0}")]
    NotStarted(String),
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl StepPlace<'_> {
    /// Copies the step's script, if it and its secrets are still safe and it is the one expected: its owner may have edited it
    /// since.
    pub(super) fn job(
        &self,
        config: &SlaveConfig,
        bubblewrap: Option<&Path>,
        folder: &Path,
    ) -> Result<Job, StepFault> {
        let mapping = &self.recipe.mapping;
        mapping.check_secrets().map_err(|(name, fault)| {
            tracing::warn!(build = %self.build.id(), secret = name, %fault, "script not run");
            StepFault::Secret
        })?;
        let script = copy_script(&mapping.script, &keeper::script(folder)).map_err(|fault| {
            tracing::warn!(build = %self.build.id(), %fault, "script not run");
            StepFault::Script
        })?;
        if !config.script_change.permits(mapping.state(script.digest)) {
            tracing::warn!(
                build = %self.build.id(),
                "script changed; if it was you: pybots slave map {} --accept",
                self.step.command
            );
            return Err(StepFault::Changed);
        }
        if self
            .step
            .script
            .is_some_and(|expected| expected != script.digest)
        {
            return Err(StepFault::Digest);
        }
        Ok(Job {
            script: script.digest,
            mapped: mapping.digest,
            confinement: self
                .workspace
                .confinement(config, self.recipe, &script.path, bubblewrap),
            arguments: mapping.argv(&self.step.parameters),
            environment: self.workspace.environment(
                config,
                self.build,
                self.step,
                mapping,
                &script.path,
            ),
            workspace: self.workspace.folder.clone(),
            allowance: Allowance::new(&mapping.limits, self.step.timeout, config.host.free_disk),
        })
    }

    /// What came of a step whose keeper left this record, and what a report says of it.
    pub(super) async fn finished(
        &self,
        job: &Job,
        record: ExitRecord,
    ) -> Result<(Ran, ReportBody), StepFault> {
        if let Ending::NotStarted(why) = record.ending {
            return Err(StepFault::NotStarted(why));
        }
        let tests = results::gather_apart(self.build.id(), self.workspace.reports.clone()).await;
        let outcome = outcome(&record, tests);
        let ran = Ran::Ended {
            verdict: outcome.verdict,
            log: outcome.log,
            isolation: job.confinement.level,
            network: job.confinement.network,
        };
        let finished = ReportBody::StepFinished {
            step: self.number,
            outcome,
        };
        Ok((ran, finished))
    }

    /// What a report says of its start.
    pub(super) fn started(&self, job: &Job, started: Timestamp) -> ReportBody {
        ReportBody::StepStarted {
            step: self.number,
            name: self.step.command.clone(),
            started,
            script: job.script,
            mapped: job.mapped,
            isolation: job.confinement.level,
            network: job.confinement.network,
        }
    }
}

/// Starts a keeper, which is `program` executed again, and waits for its word that it holds the job, or for its end.
pub(super) async fn spawn(program: &Path, folder: &Path) -> io::Result<()> {
    let mut child = Command::new(program)
        .arg("keeper")
        .arg(folder)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        // What it has to say goes where the slave's own log goes.
        .stderr(Stdio::inherit())
        // The keeper outlives a slave that is killed or stopped: it makes a session of its own at once.
        .kill_on_drop(false)
        .spawn()?;
    if let Some(output) = child.stdout.take() {
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).await?;
    }
    // Waited for by the runtime once it has ended, so that it is no zombie. What it does is seen by its lock.
    drop(child);
    Ok(())
}

/// What a report says of how a script ended.
fn outcome(record: &ExitRecord, tests: Option<TestResults>) -> Outcome {
    let (verdict, exit, signal, limit) = match record.ending {
        Ending::Exited(status) => (Verdict::of_exit(status), Some(status), None, None),
        Ending::Signalled(signal) => (Verdict::Failed, None, Some(signal), None),
        Ending::Over(limit) => (limit.verdict(), None, None, Some(limit)),
        Ending::Stopped => (Verdict::Cancelled, None, None, None),
        Ending::NotStarted(_) => (Verdict::Errored, None, None, None),
    };
    Outcome {
        verdict,
        exit,
        signal,
        duration: Timestamp(record.finished).since(Timestamp(record.started)),
        cpu: Some(Duration::from_millis(record.cpu_ms)),
        peak_memory: Some(record.peak_memory),
        log: record.log,
        log_bytes: record.log_bytes,
        log_cut: record.log_cut,
        tests,
        limit,
        peak_processes: record.peak_processes,
        counted: Some(record.counted),
    }
}
