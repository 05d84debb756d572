//! Running an admitted command: its steps, one keeper each.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::sync::{oneshot, watch};

use super::config::{Mapping, SlaveConfig};
use super::gate::Admitted;
use super::isolation;
use super::journal::{Entry, JournalError};
use super::keeper::{self, Ending, ExitRecord, Job};
use super::outbox::{LogPlace, Voice};
use super::script::copy_script;
use super::workspace::Workspace;
use crate::bus::Bus;
use crate::model::{Build, Digest, Outcome, PayloadId, ReportBody, Step, Text, Timestamp, Verdict};
use crate::trust::Sha256;

/// Why a build is to stop.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stop {
    /// The master cancelled it.
    Cancelled,
    /// The slave itself is being stopped.
    SlaveStops,
}

/// Runs admitted commands.
pub(super) struct Executor {
    pub(super) config: SlaveConfig,
    pub(super) voice: Arc<Voice>,
    pub(super) bus: Bus,
    /// Our own binary, which is executed again as the keeper.
    pub(super) program: PathBuf,
}

/// Why a step came to no verdict of its own: the machine's fault, not the code's.
#[derive(Debug, thiserror::Error)]
enum StepFault {
    #[error("a folder of the slave cannot be used: {0}")]
    Folder(#[from] io::Error),
    #[error("the script is not safe to run any more")]
    Script,
    #[error("the script is not the one that the command expects")]
    Digest,
    #[error("the keeper left no record of how the script ended")]
    NoRecord,
    #[error("the script could not be started: {0}")]
    NotStarted(String),
    #[error(transparent)]
    Journal(#[from] JournalError),
}

struct Ran {
    verdict: Verdict,
    log: Digest,
}

impl Executor {
    /// Runs an admitted command to its end, or until `cancel` says stop, and reports.
    ///
    /// # Errors
    ///
    /// [`JournalError`] if nothing can be put on record any more; then the slave must stop.
    pub(super) async fn execute(
        self: Arc<Self>,
        job: Admitted,
        mut cancel: watch::Receiver<Option<Stop>>,
    ) -> Result<(), JournalError> {
        let id = job.id();
        let build = job.build();
        let mut verdict = Verdict::Passed;
        let mut detail = None;
        let mut logs = Sha256::default();
        let mut halted = false;
        match Workspace::prepare(&self.config, &build.builder) {
            Err(error) => {
                verdict = Verdict::Errored;
                detail = Some(Text::tidy(&format!(
                    "the workspace cannot be prepared: {}",
                    error.kind()
                )));
            }
            Ok(workspace) => {
                for (number, (step, mapping)) in (0..).zip(build.steps.iter().zip(job.mappings())) {
                    if cancel.borrow().is_some() {
                        verdict = verdict.and(Verdict::Cancelled);
                        break;
                    }
                    if halted && !step.always_run {
                        continue;
                    }
                    let place = StepPlace {
                        id,
                        build,
                        number,
                        step,
                        mapping,
                        workspace: &workspace,
                    };
                    let (own, why) = match self.step(&place, &mut cancel).await {
                        Ok(ran) => {
                            logs.update(&ran.log.0);
                            (ran.verdict, None)
                        }
                        Err(StepFault::Journal(error)) => return Err(error),
                        Err(fault) => (Verdict::Errored, Some(Text::tidy(&fault.to_string()))),
                    };
                    let bad = !matches!(own, Verdict::Passed | Verdict::Skipped | Verdict::Warned);
                    let counted = if step.warn_only && own == Verdict::Failed {
                        Verdict::Warned
                    } else {
                        own
                    };
                    verdict = verdict.and(counted);
                    detail = detail.or(why);
                    // An infrastructure fault or a cancel ends the build whatever the step's flags say.
                    halted |= bad && (step.halt_on_failure || !own.is_about_the_code());
                }
            }
        }
        let finished = ReportBody::Finished {
            verdict,
            log: logs.finish(),
            isolation: isolation::LEVEL,
            detail,
        };
        self.voice
            .say(id, build, finished, vec![Entry::Ended(id)])?;
        tracing::info!(build = %build.id(), %verdict, "build finished");
        Ok(())
    }

    async fn step(
        &self,
        place: &StepPlace<'_>,
        cancel: &mut watch::Receiver<Option<Stop>>,
    ) -> Result<Ran, StepFault> {
        let folder = place.folder(&self.config.state);
        std::fs::create_dir_all(&folder)?;
        let script =
            copy_script(&place.mapping.script, &keeper::script(&folder)).map_err(|fault| {
                tracing::warn!(build = %place.build.id(), %fault, "script not run");
                StepFault::Script
            })?;
        if place
            .step
            .script
            .is_some_and(|expected| expected != script.digest)
        {
            return Err(StepFault::Digest);
        }
        let job = Job {
            environment: place.workspace.environment(
                &self.config,
                place.build,
                place.step,
                &script.original,
            ),
            workspace: place.workspace.folder.clone(),
            timeout_ms: milliseconds(place.step.timeout.min(place.mapping.timeout)),
            log_cap: self.config.log_cap,
        };
        keeper::prepare(&folder, &job)?;
        // On record before anything is started: after a crash this folder is found, and never run again.
        let now = self.voice.now()?;
        let entry = Entry::Log {
            id: place.id,
            step: place.number,
            folder: folder.clone(),
        };
        self.voice.journal().commit(now, &[entry])?;

        let mut kept = self.spawn(&folder)?;
        let (ended, shipping) = oneshot::channel();
        let log = LogPlace {
            id: place.id,
            build: place.build.id(),
            step: place.number,
            folder: folder.clone(),
            sent: 0,
        };
        let shipper = Arc::clone(&self.voice).ship_log(self.bus.clone(), log, shipping);
        // Not awaited: the bus may be away for longer than the build takes. What is left is sent after a restart.
        tokio::spawn(async move {
            if let Err(error) = shipper.await {
                tracing::error!(%error, "log not sent");
            }
        });
        let started = kept.started().await.unwrap_or(now);
        self.voice.say(
            place.id,
            place.build,
            ReportBody::StepStarted {
                step: place.number,
                name: place.step.command.clone(),
                started,
                script: script.digest,
            },
            Vec::new(),
        )?;
        kept.ended(&folder, cancel).await?;
        let record = keeper::exit_record(&folder);
        // From here on the shipper may send the rest and remove the folder.
        let _ = ended.send(());
        let record = record.ok_or(StepFault::NoRecord)?;
        if let Ending::NotStarted(why) = &record.ending {
            return Err(StepFault::NotStarted(why.clone()));
        }
        let outcome = outcome(&record);
        let verdict = outcome.verdict;
        self.voice.say(
            place.id,
            place.build,
            ReportBody::StepFinished {
                step: place.number,
                outcome,
            },
            Vec::new(),
        )?;
        Ok(Ran {
            verdict,
            log: record.log,
        })
    }

    fn spawn(&self, folder: &Path) -> io::Result<Kept> {
        let mut child = Command::new(&self.program)
            .arg("keeper")
            .arg(folder)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // The keeper outlives a slave that is killed or stopped, and a Ctrl-C at the slave's terminal.
            .process_group(0)
            .kill_on_drop(false)
            .spawn()?;
        let output = child.stdout.take().map(BufReader::new);
        Ok(Kept { child, output })
    }
}

/// One step of one build, and where it takes place.
struct StepPlace<'a> {
    id: PayloadId,
    build: &'a Build,
    number: u16,
    step: &'a Step,
    mapping: &'a Mapping,
    workspace: &'a Workspace,
}

impl StepPlace<'_> {
    fn folder(&self, state: &Path) -> PathBuf {
        state
            .join("jobs")
            .join(format!("{}-{}", self.id.to_hex(), self.number))
    }
}

/// A keeper at work.
struct Kept {
    child: tokio::process::Child,
    output: Option<BufReader<tokio::process::ChildStdout>>,
}

impl Kept {
    /// Waits for the keeper's word of when it started the script.
    async fn started(&mut self) -> Option<Timestamp> {
        let mut line = String::new();
        self.output.as_mut()?.read_line(&mut line).await.ok()?;
        line.trim().parse().ok().map(Timestamp)
    }

    /// Waits for the keeper's end; a cancel makes it stop the script.
    async fn ended(
        &mut self,
        folder: &Path,
        cancel: &mut watch::Receiver<Option<Stop>>,
    ) -> io::Result<()> {
        tokio::select! {
            ended = self.child.wait() => return ended.map(drop),
            // A sender that is gone never cancels.
            Ok(_) = cancel.wait_for(Option::is_some) => keeper::request_stop(folder)?,
        }
        self.child.wait().await.map(drop)
    }
}

fn outcome(record: &ExitRecord) -> Outcome {
    let (verdict, exit, signal) = match record.ending {
        Ending::Exited(status) => (Verdict::of_exit(status), Some(status), None),
        Ending::Signalled(signal) => (Verdict::Failed, None, Some(signal)),
        Ending::TimedOut => (Verdict::TimedOut, None, None),
        Ending::Stopped => (Verdict::Cancelled, None, None),
        Ending::NotStarted(_) => (Verdict::Errored, None, None),
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
        tests: None,
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
