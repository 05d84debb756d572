//! Running mapped scripts as a command would, for nobody but their owner: nothing is journalled, signed or published.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::job::{StepFault, StepPlace, spawn};
use super::tally::{Ran, Tally};
use crate::model::{
    Build, BuilderName, Isolation, KeyId, PayloadId, Position, ProjectName, ReportBody, Source,
    Step, Text, Timestamp,
};
use crate::slave::config::{SlaveConfig, WorkspaceRule};
use crate::slave::gate::{Admitted, Gate, Refusal};
use crate::slave::isolation::Abilities;
use crate::slave::keeper::{self, Haste, Stage};
use crate::slave::script::look_at_script;
use crate::slave::workspace::{Workspace, remove};

/// How often a script's output is looked for.
const PERIOD: Duration = Duration::from_millis(20);

/// What is to be rehearsed.
#[derive(Debug)]
pub struct Rehearsal {
    /// For which builder.
    pub builder: BuilderName,
    /// What the scripts are told is their project.
    pub project: ProjectName,
    /// Which scripts, with what parameters, in this order.
    pub steps: Vec<Step>,
    /// The revisions that they are told.
    pub sources: Vec<Source>,
}

/// Why nothing was rehearsed, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum RehearseError {
    /// A command would be refused.
    #[error("a command for this would be refused ({code}): {refusal}", code = .0.code(), refusal = .0)]
    Refused(Refusal),
    /// Somebody rehearses already.
    #[error("another rehearsal is under way")]
    Busy,
    /// A folder cannot be used, or the output not be written.
    #[error(transparent)]
    Folder(#[from] io::Error),
    /// A step came to no verdict of its own.
    #[error("step {step} came to no verdict: {why}")]
    Fault {
        /// Which, from 1.
        step: usize,
        /// Why.
        why: String,
    },
}

impl Rehearsal {
    /// Runs the scripts with the checks, the isolation and the limits that a command's would have, each output byte going to
    /// `out`, until they have ended or `stop` completes. Returns what would be reported.
    ///
    /// # Errors
    ///
    /// [`RehearseError`].
    pub async fn run(
        self,
        config: &SlaveConfig,
        abilities: Abilities,
        program: &Path,
        now: Timestamp,
        stop: impl Future<Output = ()>,
        out: &mut impl Write,
    ) -> Result<Vec<ReportBody>, RehearseError> {
        let bubblewrap = abilities.namespaces.clone().ok();
        let nobody = KeyId([0; 32]);
        let gate = Gate::new(config.clone(), nobody, abilities);
        let build = self.build(config, nobody, now);
        let admitted = gate
            .readmit(PayloadId([0; 32]), nobody, build)
            .map_err(RehearseError::Refused)?;
        gate.check_scripts(&admitted, &|mapping| look_at_script(None, mapping))
            .map_err(RehearseError::Refused)?;
        let mut scene = Scene::enter(config, &admitted, program, bubblewrap).await?;
        tokio::pin!(stop);
        let bodies = tokio::select! {
            bodies = scene.play(out) => bodies,
            () = &mut stop => {
                scene.end_scripts().await?;
                Err(io::Error::from(io::ErrorKind::Interrupted).into())
            }
        };
        scene.leave().await?;
        bodies
    }

    fn build(self, config: &SlaveConfig, nobody: KeyId, now: Timestamp) -> Build {
        Build {
            farm: config.farm,
            slave: config.name.clone(),
            report_key: nobody,
            builder: self.builder,
            number: 0,
            issued: now,
            accept_by: now,
            finish_by: now,
            keyring: Position::default(),
            project: self.project,
            sources: self.sources,
            covers: Vec::new(),
            steps: self.steps,
            reason: Text::tidy("a rehearsal by its owner"),
            requester: None,
            request: None,
            retry_of: None,
            attempt: 1,
            experiment: None,
        }
    }
}

/// Where a rehearsal takes place: a folder of its own in the slave's state, so that no build is in its way.
struct Scene<'a> {
    config: &'a SlaveConfig,
    admitted: &'a Admitted,
    program: &'a Path,
    bubblewrap: Option<PathBuf>,
    folder: PathBuf,
    workspace: Workspace,
    /// Held for as long as it takes.
    _lock: File,
}

impl<'a> Scene<'a> {
    async fn enter(
        config: &'a SlaveConfig,
        admitted: &'a Admitted,
        program: &'a Path,
        bubblewrap: Option<PathBuf>,
    ) -> Result<Self, RehearseError> {
        let folder = config.state.join("rehearsal");
        fs::create_dir_all(&folder)?;
        let lock = File::create(folder.join("lock"))?;
        if lock.try_lock().is_err() {
            return Err(RehearseError::Busy);
        }
        // What an earlier one has left that was cut off, and may be at work yet.
        let jobs = folder.join("jobs");
        if jobs.exists() {
            for job in fs::read_dir(&jobs)? {
                end_script(&job?.path()).await?;
            }
            remove(vec![jobs]).await;
        }
        let mark = admitted.build().issued.0.to_string();
        let workspace = Workspace::prepare_at(config, &folder, WorkspaceRule::Fresh, &mark)?;
        Ok(Self {
            config,
            admitted,
            program,
            bubblewrap,
            folder,
            workspace,
            _lock: lock,
        })
    }

    fn job(&self, number: u16) -> PathBuf {
        self.folder.join("jobs").join(number.to_string())
    }

    async fn play(&self, out: &mut impl Write) -> Result<Vec<ReportBody>, RehearseError> {
        let build = self.admitted.build();
        let mut tally = Tally::new();
        let mut bodies = Vec::new();
        for (number, (step, recipe)) in (0..).zip(build.steps.iter().zip(self.admitted.recipes())) {
            if !tally.lets(step) {
                continue;
            }
            let place = StepPlace {
                id: self.admitted.id(),
                build,
                number,
                step,
                recipe,
                workspace: &self.workspace,
            };
            let ran = self.step(&place, &mut bodies, out).await;
            let ran = ran.map_err(|fault| RehearseError::Fault {
                step: usize::from(number) + 1,
                why: fault.to_string(),
            })?;
            tally.count(step, &ran);
        }
        bodies.push(ReportBody::Finished {
            verdict: tally.verdict,
            isolation: tally.isolation(Isolation::Plain),
            detail: tally.detail.take(),
            network: tally.network,
            log: tally.logs(),
        });
        Ok(bodies)
    }

    async fn step(
        &self,
        place: &StepPlace<'_>,
        bodies: &mut Vec<ReportBody>,
        out: &mut impl Write,
    ) -> Result<Ran, StepFault> {
        let folder = self.job(place.number);
        fs::create_dir_all(&folder)?;
        let job = place.job(self.config, self.bubblewrap.as_deref(), &folder)?;
        place.workspace.empty_reports(&place.number.to_string())?;
        keeper::prepare(&folder, &job)?;
        spawn(self.program, &folder).await?;
        if let Some(started) = keeper::started_at(&folder) {
            bodies.push(place.started(&job, started));
        }
        let mut printed = 0;
        let record = loop {
            let stage = keeper::stage(&folder)?;
            printed = copy_from(&keeper::spool(&folder), printed, out)?;
            match stage {
                Stage::Running => tokio::time::sleep(PERIOD).await,
                Stage::Ended(record) => break record,
                Stage::Waiting | Stage::Broken => return Err(StepFault::NoRecord),
            }
        };
        let (ran, finished) = place.finished(&job, record).await?;
        bodies.push(finished);
        Ok(ran)
    }

    /// Ends whatever runs, and waits until it has ended.
    async fn end_scripts(&self) -> io::Result<()> {
        let steps = u16::try_from(self.admitted.build().steps.len()).unwrap_or(u16::MAX);
        for folder in (0..steps).map(|number| self.job(number)) {
            if folder.exists() {
                end_script(&folder).await?;
            }
        }
        Ok(())
    }

    async fn leave(&mut self) -> io::Result<()> {
        remove(self.workspace.take_discarded()).await;
        fs::remove_dir_all(self.folder.join("jobs"))
    }
}

async fn end_script(folder: &Path) -> io::Result<()> {
    keeper::request_stop(folder, Haste::Now)?;
    let _ = keeper::ended(folder)?.await;
    Ok(())
}

/// Copies what a file has got since it was `from` long; how long it is now.
fn copy_from(path: &Path, from: u64, out: &mut impl Write) -> io::Result<u64> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(from))?;
    let copied = io::copy(&mut file.take(u64::MAX), out)?;
    out.flush()?;
    Ok(from + copied)
}
