//! One step: its keeper is started, or found again, and what it wrote down is reported.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use super::job::{StepFault, StepPlace, spawn};
use super::tally::Ran;
use super::{Executor, Stop};
use crate::model::{BuildId, PayloadId, Timestamp};
use crate::slave::isolation::JobGroup;
use crate::slave::journal::{Entry, JournalError};
use crate::slave::keeper::{self, Haste, Job, Stage};
use crate::slave::outbox::LogPlace;
use crate::slave::run::abandon;

/// The pause after a folder could not be used.
const PAUSE: Duration = Duration::from_secs(1);

impl Executor {
    /// Brings a step to its end: starts it, or goes on with what an earlier process of this slave has started. What came of
    /// it is on record when this returns.
    pub(super) async fn step(
        &self,
        place: &StepPlace<'_>,
        stop: &mut watch::Receiver<Option<Stop>>,
    ) -> Result<Ran, JournalError> {
        let mut shipped = None;
        match self.bring_to_its_end(place, stop, &mut shipped).await {
            Ok(ran) => Ok(ran),
            Err(StepFault::Journal(error)) => Err(error),
            Err(fault) => {
                // Whatever went wrong here, a script that was started does not go on beside what comes next.
                make_sure_of_its_end(&place.build.id(), &place.folder(&self.config.state)).await;
                let ran = Ran::Fault(fault.to_string());
                let now = self.voice.now()?;
                // At most once, also for what cannot be told any more.
                self.voice.journal().commit(now, &[place.ended(&ran)])?;
                Ok(ran)
            }
        }
    }

    async fn bring_to_its_end(
        &self,
        place: &StepPlace<'_>,
        stop: &mut watch::Receiver<Option<Stop>>,
        shipped: &mut Option<oneshot::Sender<()>>,
    ) -> Result<Ran, StepFault> {
        let folder = place.folder(&self.config.state);
        let progress = self.voice.journal().progress(&place.id, place.number)?;
        if let Some(ran) = progress.ran {
            return serde_json::from_str(&ran).map_err(|_| StepFault::NoRecord);
        }
        if !progress.begun {
            self.prepare(place, &folder)?;
        } else if !folder.exists() {
            return Err(StepFault::NoRecord);
        }
        let job = keeper::read_job(&folder)?;
        *shipped = Some(self.ship_log(place, &folder, progress.sent));
        let mut stage = keeper::stage(&folder)?;
        if matches!(stage, Stage::Waiting) {
            spawn(&self.program, &folder).await?;
            stage = keeper::stage(&folder)?;
        }
        if !progress.said
            && let Some(started) = keeper::started_at(&folder)
        {
            self.say_started(place, &job, started)?;
        }
        while matches!(stage, Stage::Running) {
            wait(&place.build.id(), &folder, stop).await?;
            stage = keeper::stage(&folder)?;
        }
        let record = match stage {
            Stage::Ended(record) => record,
            stage @ (Stage::Waiting | Stage::Running | Stage::Broken) => {
                tracing::error!(build = %place.build.id(), ?stage, "keeper left no record");
                // What a keeper that was killed could not end.
                JobGroup::end_left(&folder);
                return Err(StepFault::NoRecord);
            }
        };
        let (ran, finished) = place.finished(&job, record).await?;
        self.voice
            .say(place.id, place.build, finished, vec![place.ended(&ran)])?;
        // From here on the shipper may send the rest and remove the folder.
        drop(shipped.take());
        Ok(ran)
    }

    /// Makes the folder that a keeper is handed. When this returns, it is on record that it was.
    fn prepare(&self, place: &StepPlace<'_>, folder: &Path) -> Result<(), StepFault> {
        fs::create_dir_all(folder)?;
        let job = place
            .job(&self.config, self.bubblewrap.as_deref(), folder)
            .inspect_err(|_| {
                // Nothing of it was handed to anybody.
                let _ = fs::remove_dir_all(folder);
            })?;
        let mark = format!("{}-{}", self.voice.instance, place.number);
        place.workspace.empty_reports(&mark)?;
        keeper::prepare(folder, &job)?;
        // That the command runs is on disk since it was accepted; this is where a slave that was killed finds its output.
        let entry = Entry::Log {
            id: place.id,
            step: place.number,
            folder: folder.to_owned(),
        };
        let now = self.voice.now()?;
        self.voice.journal().note(now, &[entry])?;
        Ok(())
    }

    fn say_started(
        &self,
        place: &StepPlace<'_>,
        job: &Job,
        started: Timestamp,
    ) -> Result<(), JournalError> {
        let body = place.started(job, started);
        let said = Entry::StepStarted {
            id: place.id,
            step: place.number,
        };
        self.voice.say(place.id, place.build, body, vec![said])
    }

    /// Sends the step's output while it grows, until what is returned is dropped.
    fn ship_log(&self, place: &StepPlace<'_>, folder: &Path, sent: u64) -> oneshot::Sender<()> {
        let (ended, shipping) = oneshot::channel();
        let log = LogPlace {
            id: place.id,
            build: place.build.id(),
            step: place.number,
            folder: folder.to_owned(),
            sent,
        };
        let build = place.build.id();
        let shipper = Arc::clone(&self.voice).ship_log(self.bus.clone(), log, shipping);
        // Not awaited: the bus may be away for longer than the build takes. What is left is sent after a restart.
        tokio::spawn(async move {
            if let Err(error) = shipper.await {
                tracing::error!(%build, %error, "log not sent");
            }
        });
        ended
    }
}

/// Ends what may be at work in a job's folder, however long it takes.
pub(in crate::slave) async fn make_sure_of_its_end(build: &BuildId, folder: &Path) {
    loop {
        match abandon(folder).await {
            Ok(true) => return,
            Ok(false) => {
                tracing::error!(%build, folder = %folder.display(), "a script cannot be ended; the build waits for it");
            }
            Err(error) => {
                tracing::error!(%build, folder = %folder.display(), %error, "a script cannot be asked to end");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Waits until no keeper holds the job; a stop makes it end the script.
async fn wait(
    build: &BuildId,
    folder: &Path,
    stop: &mut watch::Receiver<Option<Stop>>,
) -> io::Result<()> {
    let mut ended = keeper::ended(folder)?;
    tokio::select! {
        _ = &mut ended => return Ok(()),
        // A sender that is gone never stops anything.
        Ok(_) = stop.wait_for(Option::is_some) => {
            if let Err(error) = keeper::request_stop(folder, Haste::Polite) {
                // Its time limit ends it all the same; what must not happen is that it is left alone.
                tracing::error!(%build, %error, "script not asked to stop");
            }
        }
    }
    let _ = ended.await;
    Ok(())
}

/// Where a step's keeper works.
pub(super) fn job_folder(state: &Path, id: PayloadId, step: u16) -> PathBuf {
    state.join("jobs").join(format!("{}-{step}", id.to_hex()))
}

impl StepPlace<'_> {
    fn folder(&self, state: &Path) -> PathBuf {
        job_folder(state, self.id, self.number)
    }

    fn ended(&self, ran: &Ran) -> Entry {
        Entry::StepEnded {
            id: self.id,
            step: self.number,
            ran: serde_json::to_string(ran).unwrap_or_default(),
        }
    }
}
