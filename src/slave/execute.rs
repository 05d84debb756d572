//! Running an admitted command: its steps, one keeper each.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::sync::{oneshot, watch};

use super::config::SlaveConfig;
use super::gate::{Admitted, Recipe};
use super::journal::{Entry, JournalError};
use super::keeper::{self, Ending, ExitRecord, Job};
use super::outbox::{LogPlace, Voice};
use super::script::{ScriptCopy, copy_script};
use super::workspace::{Workspace, remove_soon};
use crate::bus::Bus;
use crate::model::{
    Build, Digest, Isolation, Network, Outcome, PayloadId, ReportBody, Step, Text, Timestamp,
    Verdict,
};
use crate::trust::Sha256;

/// Why a build is to stop.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stop {
    /// The master cancelled it.
    Cancelled,
    /// The key that ordered it was stolen.
    KeyStolen,
    /// The slave itself is being stopped.
    SlaveStops,
}

/// Runs admitted commands.
#[derive(Clone)]
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
    #[error("a folder of the slave cannot be used: {}", .0.kind())]
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

/// What the steps so far amount to.
struct Tally {
    verdict: Verdict,
    detail: Option<Text>,
    logs: Sha256,
    /// Whether only steps that always run are left.
    halted: bool,
    /// The weakest of any step so far.
    isolation: Option<Isolation>,
    /// The most of any step so far.
    network: Network,
}

impl Tally {
    fn new() -> Self {
        Self {
            verdict: Verdict::Passed,
            detail: None,
            logs: Sha256::default(),
            halted: false,
            isolation: None,
            network: Network::Off,
        }
    }

    fn fault(&mut self, why: &str) {
        self.verdict = self.verdict.and(Verdict::Errored);
        self.detail.get_or_insert_with(|| Text::tidy(why));
        self.halted = true;
    }

    fn began(&mut self, recipe: &Recipe) {
        let weakest = self.isolation.unwrap_or(recipe.isolation);
        self.isolation = Some(weakest.min(recipe.isolation));
        self.network = self.network.max(recipe.network);
    }

    fn count(&mut self, step: &Step, ran: &Ran) {
        self.logs.update(&ran.log.0);
        let counted = if step.warn_only && ran.verdict == Verdict::Failed {
            Verdict::Warned
        } else {
            ran.verdict
        };
        self.verdict = self.verdict.and(counted);
        // What is not about the code (a cancel, the machine's fault) ends the build whatever the step's flags say.
        self.halted |= match ran.verdict {
            Verdict::Passed | Verdict::Warned | Verdict::Skipped => false,
            Verdict::Failed => step.halt_on_failure,
            Verdict::Refused
            | Verdict::Cancelled
            | Verdict::TimedOut
            | Verdict::Errored
            | Verdict::Lost => true,
        };
    }
}

impl Executor {
    /// Runs an admitted command to its end, or until `stop` says so, and reports.
    ///
    /// # Errors
    ///
    /// [`JournalError`] if nothing can be put on record any more; then the slave must stop.
    pub(super) async fn execute(
        self: Arc<Self>,
        job: Admitted,
        mut stop: watch::Receiver<Option<Stop>>,
    ) -> Result<(), JournalError> {
        let (id, build) = (job.id(), job.build());
        let mut tally = Tally::new();
        if self.voice.now()? > build.finish_by {
            tally.fault("its time was over before its turn came, so nothing ran");
        } else {
            match Workspace::prepare(&self.config, &build.builder, &id.to_hex()) {
                Ok(mut workspace) => {
                    remove_soon(workspace.take_discarded());
                    self.run_steps(&job, &workspace, &mut stop, &mut tally)
                        .await?;
                }
                Err(error) => tally.fault(&format!(
                    "the workspace cannot be prepared: {}",
                    error.kind()
                )),
            }
        }
        let why = *stop.borrow();
        if tally.verdict == Verdict::Cancelled && why == Some(Stop::KeyStolen) {
            let detail = "the key that ordered it was revoked: somebody else may hold it";
            tally.detail = Some(Text::tidy(detail));
        }
        let cut_short = tally.verdict == Verdict::Cancelled && why == Some(Stop::SlaveStops);
        let ending = if cut_short {
            ReportBody::Lost {
                detail: Text::tidy("the slave was stopped while the build was under way"),
            }
        } else {
            ReportBody::Finished {
                verdict: tally.verdict,
                log: tally.logs.finish(),
                isolation: tally.isolation.unwrap_or(Isolation::Plain),
                detail: tally.detail,
                network: tally.network,
            }
        };
        let verdict = ending.verdict();
        self.voice.say(id, build, ending, vec![Entry::Ended(id)])?;
        tracing::info!(build = %build.id(), verdict = verdict.map(Verdict::word), "build finished");
        Ok(())
    }

    async fn run_steps(
        &self,
        job: &Admitted,
        workspace: &Workspace,
        stop: &mut watch::Receiver<Option<Stop>>,
        tally: &mut Tally,
    ) -> Result<(), JournalError> {
        let (id, build) = (job.id(), job.build());
        for (number, (step, recipe)) in (0..).zip(build.steps.iter().zip(job.recipes())) {
            if stop.borrow().is_some() {
                tally.verdict = tally.verdict.and(Verdict::Cancelled);
                return Ok(());
            }
            if tally.halted && !step.always_run {
                continue;
            }
            let place = StepPlace {
                id,
                build,
                number,
                step,
                recipe,
                workspace,
            };
            match self.step(&place, stop).await {
                Ok(ran) => {
                    tally.began(recipe);
                    tally.count(step, &ran);
                }
                Err(StepFault::Journal(error)) => return Err(error),
                Err(fault) => tally.fault(&fault.to_string()),
            }
        }
        Ok(())
    }

    async fn step(
        &self,
        place: &StepPlace<'_>,
        stop: &mut watch::Receiver<Option<Stop>>,
    ) -> Result<Ran, StepFault> {
        let folder = place.folder(&self.config.state);
        std::fs::create_dir_all(&folder)?;
        let script = match place.script(&folder) {
            Ok(script) => script,
            Err(fault) => {
                std::fs::remove_dir_all(&folder)?;
                return Err(fault);
            }
        };
        let job = Job {
            environment: place.workspace.environment(
                &self.config,
                place.build,
                place.step,
                &script.original,
            ),
            confinement: place
                .workspace
                .confinement(&self.config, place.recipe, &script.original),
            arguments: Vec::new(),
            workspace: place.workspace.folder.clone(),
            timeout_ms: milliseconds(place.step.timeout.min(place.recipe.mapping.limits.wall)),
            log_cap: place.recipe.mapping.limits.log,
        };
        keeper::prepare(&folder, &job)?;
        // That the command runs is on disk since it was accepted; this is where a slave that was killed finds its output.
        let now = self.voice.now()?;
        let entry = Entry::Log {
            id: place.id,
            step: place.number,
            folder: folder.clone(),
        };
        self.voice.journal().note(now, &[entry])?;

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
                mapped: place.recipe.mapping.digest,
                isolation: place.recipe.isolation,
                network: place.recipe.network,
            },
            Vec::new(),
        )?;
        kept.ended(&folder, stop).await?;
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
            // The keeper outlives a slave that is killed or stopped: it makes a session of its own at once.
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
    recipe: &'a Recipe,
    workspace: &'a Workspace,
}

impl StepPlace<'_> {
    /// Copies the step's script, if it is still safe and the one expected: its owner may have edited it since.
    fn script(&self, folder: &Path) -> Result<ScriptCopy, StepFault> {
        let script =
            copy_script(&self.recipe.mapping.script, &keeper::script(folder)).map_err(|fault| {
                tracing::warn!(build = %self.build.id(), %fault, "script not run");
                StepFault::Script
            })?;
        match self.step.script {
            Some(expected) if expected != script.digest => Err(StepFault::Digest),
            Some(_) | None => Ok(script),
        }
    }

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
            Ok(_) = cancel.wait_for(Option::is_some) => if let Err(error) = keeper::request_stop(folder) {
                // Its time limit ends it all the same; what must not happen is that it is left alone.
                tracing::error!(%error, "script not asked to stop");
            },
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
        limit: None,
        peak_processes: None,
        counted: None,
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
