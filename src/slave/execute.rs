//! Running an admitted command: its steps, one keeper each, also when the slave was gone in between.

mod job;
mod rehearse;
mod step;
mod tally;

pub(super) use step::make_sure_of_its_end;

pub use rehearse::{Rehearsal, RehearseError};

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;

use self::job::StepPlace;
use self::step::job_folder;
use self::tally::Tally;
use super::config::SlaveConfig;
use super::gate::Admitted;
use super::journal::{Entry, JournalError};
use super::outbox::Voice;
use super::workspace::{Workspace, remove_soon};
use crate::bus::Bus;
use crate::model::{Isolation, ReportBody, Text, Verdict};

/// Why a build is to stop.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stop {
    /// The master cancelled it.
    Cancelled,
    /// The key that ordered it was stolen.
    KeyStolen,
    /// The slave's owner stops the slave, and what it runs.
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
    /// Where bubblewrap is, if namespaces can be had.
    pub(super) bubblewrap: Option<PathBuf>,
}

impl Executor {
    /// Runs an admitted command to its end, or until `stop` says so, and reports. If an earlier process of this slave has
    /// begun it, goes on where that stopped: nothing is started twice.
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
        let begun = self.voice.journal().has_begun(&id)?;
        if !begun && self.voice.now()? > build.finish_by {
            tally.fault("its time was over before its turn came, so nothing ran");
        } else {
            let workspace = if begun {
                Workspace::find(&self.config, &build.builder)
            } else {
                let mark = format!("{}-{}", id.to_hex(), self.voice.instance);
                Workspace::prepare(&self.config, &build.builder, &mark)
            };
            match workspace {
                Ok(mut workspace) => {
                    remove_soon(workspace.take_discarded());
                    self.run_steps(&job, &workspace, &mut stop, &mut tally)
                        .await?;
                }
                Err(error) => {
                    for (number, _) in (0..).zip(&build.steps) {
                        make_sure_of_its_end(
                            &build.id(),
                            &job_folder(&self.config.state, id, number),
                        )
                        .await;
                    }
                    tally.fault(&format!(
                        "the workspace cannot be prepared: {}",
                        error.kind()
                    ));
                }
            }
        }
        let why = *stop.borrow();
        if tally.verdict == Verdict::Cancelled && why == Some(Stop::KeyStolen) {
            let detail = "the key that ordered it was revoked: somebody else may hold it";
            tally.detail = Some(Text::tidy(detail));
        }
        if tally.verdict == Verdict::Cancelled && why.is_none() {
            tally.detail = Some(Text::tidy("the slave's owner ended everything"));
        }
        let cut_short = tally.verdict == Verdict::Cancelled && why == Some(Stop::SlaveStops);
        let ending = if cut_short {
            ReportBody::Lost {
                detail: Text::tidy("the slave was stopped while the build was under way"),
            }
        } else {
            let recipes = job.recipes().iter();
            let weakest = recipes.map(|recipe| recipe.isolation).min();
            ReportBody::Finished {
                verdict: tally.verdict,
                isolation: tally.isolation(weakest.unwrap_or(Isolation::Plain)),
                detail: tally.detail.take(),
                network: tally.network,
                log: tally.logs(),
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
            if !tally.lets(step) {
                continue;
            }
            // What has begun is brought to its end: its keeper is still to be told, and its result to be kept.
            let begun = self.voice.journal().progress(&id, number)?.begun;
            if !begun && stop.borrow().is_some() {
                tally.cancel();
                return Ok(());
            }
            let place = StepPlace {
                id,
                build,
                number,
                step,
                recipe,
                workspace,
            };
            let ran = self.step(&place, stop).await?;
            tally.count(step, &ran);
        }
        Ok(())
    }
}
