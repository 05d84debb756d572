//! After a crash: say what became of what was under way, and send every line that it printed.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::{RunError, Running};
use crate::model::{Command, ReportBody, Text};
use crate::slave::journal::{Entry, OpenLog};
use crate::slave::keeper;
use crate::slave::outbox::LogPlace;
use crate::slave::workspace::{Workspace, remove_soon};
use crate::wire::decode;

impl Running {
    /// Ends what the process before this one has left running. Needs no bus.
    pub(super) async fn end_what_was_left(&mut self) -> Result<(), RunError> {
        let state = self.executor.config.state.clone();
        let state_error = |source| RunError::State {
            folder: state.clone(),
            source,
        };
        let open_logs = self.voice.journal().open_logs()?;
        for log in &open_logs {
            if !abandon(&log.folder).await.map_err(state_error)? {
                tracing::error!(folder = %log.folder.display(), "a script from before cannot be ended; the slave goes on without it");
            }
        }
        remove_soon(Workspace::left_behind(&self.executor.config));
        remove_forgotten(&state.join("jobs"), &open_logs).map_err(state_error)
    }

    /// Says `lost` for what was under way when the process before this one ended, and sends every line that it printed.
    pub(super) fn recover(&mut self) -> Result<(), RunError> {
        let open_builds = self.voice.journal().open_builds()?;
        let open_logs = self.voice.journal().open_logs()?;
        for open in open_builds {
            let Ok(Command::Build(build)) = decode::<Command>(&open.payload) else {
                continue;
            };
            tracing::warn!(build = %build.id(), "build lost");
            let detail = Text::tidy("the slave stopped while the build was under way");
            self.voice.say(
                open.id,
                &build,
                ReportBody::Lost { detail },
                vec![Entry::Ended(open.id)],
            )?;
        }
        for log in open_logs {
            let Ok(Command::Build(build)) = decode::<Command>(&log.payload) else {
                continue;
            };
            let place = LogPlace {
                id: log.id,
                build: build.id(),
                step: log.step,
                folder: log.folder,
                sent: log.sent,
            };
            // Nobody writes there any more, so the sender is dropped at once.
            let (_, ended) = oneshot::channel();
            let shipper = Arc::clone(&self.voice).ship_log(self.executor.bus.clone(), place, ended);
            tokio::spawn(async move {
                if let Err(error) = shipper.await {
                    tracing::error!(%error, "log not sent");
                }
            });
        }
        Ok(())
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
    keeper::request_stop(folder)?;
    // A keeper ends its script within its grace time whatever the script does.
    for _ in 0..TRIES {
        if keeper::try_abandon(folder)? {
            return Ok(true);
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(false)
}

/// Removes job folders that no log is waited for from: their keeper was never started, or all is sent.
fn remove_forgotten(jobs: &Path, open_logs: &[OpenLog]) -> io::Result<()> {
    for entry in fs::read_dir(jobs)? {
        let folder = entry?.path();
        if open_logs.iter().all(|log| log.folder != folder) {
            fs::remove_dir_all(folder)?;
        }
    }
    Ok(())
}
