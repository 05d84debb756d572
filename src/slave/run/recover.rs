//! After a crash, an upgrade or a restart: go on with what was under way. After a power cut: say that it is lost.
//!
//! A keeper outlives its slave, so within one start of the machine a build is found again where it is by now. A keeper does
//! not outlive the machine, and then nobody can say what became of its script: it is not run a second time.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tracing::field::display;

use super::{Queued, RunError, Running, UnderWay};
use crate::model::{Build, Command, PayloadId, ReportBody, Text};
use crate::slave::execute::{Stop, make_sure_of_its_end};
use crate::slave::isolation;
use crate::slave::journal::{Decided, Entry, OpenBuild, OpenLog};
use crate::slave::keeper::{self, Haste};
use crate::slave::outbox::LogPlace;
use crate::slave::workspace::{Workspace, remove_soon};
use crate::wire::decode;

/// Whether keepers that an earlier process started may still be at work.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Past {
    /// The machine has run on since.
    SameBoot,
    /// It has started anew since, or nobody knows.
    OtherBoot,
}

impl Running {
    /// Looks at what the process before this one has left. Needs no bus.
    pub(super) async fn look_back(&mut self) -> Result<Past, RunError> {
        let state = self.executor.config.state.clone();
        let state_error = |source| RunError::State {
            folder: state.clone(),
            source,
        };
        let boot = isolation::boot();
        let before = self.voice.journal().boot()?;
        let past = if boot.is_some() && boot == before {
            Past::SameBoot
        } else {
            Past::OtherBoot
        };
        let open_logs = self.voice.journal().open_logs()?;
        if past == Past::OtherBoot {
            for log in &open_logs {
                if !abandon(&log.folder).await.map_err(state_error)? {
                    let build = decode::<Command>(&log.payload).ok();
                    let build = build.and_then(|command| match command {
                        Command::Build(build) => Some(display(build.id())),
                        Command::Cancel(_) => None,
                    });
                    tracing::error!(build, folder = %log.folder.display(), "a script from before cannot be ended; the slave goes on without it");
                }
            }
            let open_builds = self.voice.journal().open_builds()?;
            for open in open_builds {
                self.lose(&open, "the machine stopped while the build was under way")?;
            }
        }
        if let Some(boot) = boot {
            let now = self.voice.now()?;
            self.voice.journal().commit(now, &[Entry::Booted(boot)])?;
        }
        remove_soon(Workspace::left_behind(&self.executor.config));
        remove_soon(forgotten(&state.join("jobs"), &open_logs).map_err(state_error)?);
        Ok(past)
    }

    /// Goes on with the builds that are under way, and sends every line that was printed.
    pub(super) async fn recover(&mut self) -> Result<(), RunError> {
        let open_builds = self.voice.journal().open_builds()?;
        let open_logs = self.voice.journal().open_logs()?;
        for open in open_builds {
            let Ok(Command::Build(build)) = decode::<Command>(&open.payload) else {
                continue;
            };
            let name = build.id();
            match self.gate.readmit(open.id, open.signer, build) {
                Ok(job) => {
                    tracing::info!(build = %name, "build goes on");
                    let decided = self.voice.journal().decided(&open.id)?;
                    let stop = (decided == Some(Decided::Stopped)).then_some(Stop::Cancelled);
                    let (sender, stop) = watch::channel(stop);
                    self.cancels.insert(open.id, UnderWay::of(&job, sender));
                    self.queue.push_back(Queued { job, stop });
                }
                Err(refusal) => {
                    tracing::warn!(build = %name, code = refusal.code(), %refusal, "build cannot go on");
                    for log in open_logs.iter().filter(|log| log.id == open.id) {
                        make_sure_of_its_end(&name, &log.folder).await;
                    }
                    self.lose(
                        &open,
                        "its owner changed what may run while it was under way",
                    )?;
                }
            }
        }
        self.stop_what_thieves_ordered();
        for log in open_logs {
            // A step that is still under way is looked after by its build.
            let over = self
                .voice
                .journal()
                .progress(&log.id, log.step)?
                .ran
                .is_some();
            if over || !self.cancels.contains_key(&log.id) {
                self.ship(log);
            }
        }
        self.start_queued();
        Ok(())
    }

    fn lose(&self, open: &OpenBuild, why: &str) -> Result<(), RunError> {
        let Ok(Command::Build(build)) = decode::<Command>(&open.payload) else {
            return Ok(());
        };
        self.say_lost(open.id, &build, why)
    }

    fn say_lost(&self, id: PayloadId, build: &Build, why: &str) -> Result<(), RunError> {
        tracing::warn!(build = %build.id(), why, "build lost");
        let detail = Text::tidy(why);
        let lost = ReportBody::Lost { detail };
        self.voice.say(id, build, lost, vec![Entry::Ended(id)])?;
        Ok(())
    }

    /// Sends what the stream lacks of a log to which nothing is written any more.
    fn ship(&self, log: OpenLog) {
        let Ok(Command::Build(build)) = decode::<Command>(&log.payload) else {
            return;
        };
        let name = build.id();
        let place = LogPlace {
            id: log.id,
            build: name.clone(),
            step: log.step,
            folder: log.folder,
            sent: log.sent,
        };
        // Nobody writes there any more, so the sender is dropped at once.
        let (_, ended) = oneshot::channel();
        let shipper = Arc::clone(&self.voice).ship_log(self.executor.bus.clone(), place, ended);
        tokio::spawn(async move {
            if let Err(error) = shipper.await {
                tracing::error!(build = %name, %error, "log not sent");
            }
        });
    }
}

/// How often, and with what pause, a keeper that was asked to stop is looked at: for longer than it may take.
const TRIES: u32 = 1000;
const PAUSE: Duration = Duration::from_millis(20);

/// Ends the keeper that may still be at work in a job's folder, and makes sure that none ever runs it again. False if it
/// cannot be ended.
pub(in crate::slave) async fn abandon(folder: &Path) -> io::Result<bool> {
    if !folder.exists() {
        return Ok(true);
    }
    keeper::request_stop(folder, Haste::Polite)?;
    // A keeper ends its script within its grace time whatever the script does.
    for tried in 0..TRIES {
        if tried == TRIES / 2 {
            keeper::request_stop(folder, Haste::Now)?;
        }
        if keeper::try_abandon(folder)? {
            return Ok(true);
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(false)
}

/// What lies among the job folders and no log is waited for from: folders that were never handed to a keeper, or all of which
/// is sent, or what somebody else has put there.
fn forgotten(jobs: &Path, open_logs: &[OpenLog]) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(jobs)?.flatten().map(|entry| entry.path());
    Ok(entries
        .filter(|path| open_logs.iter().all(|log| log.folder != *path))
        .collect())
}
