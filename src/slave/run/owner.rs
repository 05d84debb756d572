//! Listening to the owner, who speaks by a file in the state folder.

use std::path::Path;
use std::time::Duration;

use super::decide::forget_after;
use super::{RunError, Running};
use crate::model::{Build, Command, PayloadId, ReportBody, Text, Timestamp};
use crate::slave::audit::Event;
use crate::slave::deferral::Deferral;
use crate::slave::gate::Refusal;
use crate::slave::journal::{Decided, Entry};
use crate::slave::owner::{Hold, Owner};

/// How often the owner's file is looked at. What it says counts for a command in any case; this is for the rest: that the
/// farm learns of it, and that a drained slave ends.
pub(super) const PERIOD: Duration = Duration::from_millis(500);

/// A slave whose owner ended everything at once does not start before its owner resumes.
pub(super) fn check_panic(state: &Path) -> Result<(), RunError> {
    match Owner::read(state) {
        Ok(Owner {
            panic: Some(since), ..
        }) => Err(RunError::Panic(since)),
        // Where it cannot be read nothing is started either, but what is under way can be told of.
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Waits until the owner wants the slave to drain. One that has not begun to take commands has drained at once.
pub(super) async fn drained_before_the_start(state: &Path) {
    while !Owner::read(state).is_ok_and(|owner| owner.draining.is_some()) {
        tokio::time::sleep(PERIOD).await;
    }
    has_drained(state);
}

/// Takes note that the slave has drained: the next one that starts takes commands again.
pub(super) fn has_drained(state: &Path) {
    tracing::info!("slave drained");
    let written = Owner::read(state).and_then(|owner| {
        Owner {
            draining: None,
            ..owner
        }
        .write(state)
    });
    if let Err(error) = written {
        tracing::error!(%error, "what the owner said not changed; the next start drains, too");
    }
}

impl Running {
    /// Until when the owner wants nothing started, and why.
    pub(super) fn held(&self, now: Timestamp) -> Option<(Timestamp, Hold)> {
        Owner::defers_or_unreadable(&Owner::read(&self.executor.config.state), now)
    }

    /// Says until when a command is put off, and to the owner alone why.
    pub(super) fn defer(
        &self,
        id: PayloadId,
        command: &Command,
        (until, why): (Timestamp, &Deferral),
        now: Timestamp,
    ) -> Result<(), RunError> {
        let Command::Build(build) = command else {
            return Ok(());
        };
        tracing::warn!(
            build = %build.id(), code = why.code(), command = %id.short(), %why, %until,
            "command put off"
        );
        self.voice.record(
            now,
            &Event::Deferred {
                command: id,
                build: Text::tidy(&build.id().to_string()),
                until,
                code: Text::tidy(why.code()),
                why: Text::tidy(&why.to_string()),
            },
        );
        let decided = Entry::Decided {
            id,
            // As final as a refusal: the master may ask again with a new build.
            what: Decided::Refused,
            forget_after: forget_after(build, now),
        };
        self.voice
            .say(id, build, ReportBody::Deferred { until }, vec![decided])?;
        Ok(())
    }

    /// Puts on the owner's record where the slave stands by its own memory.
    pub(super) fn record_start(&self) -> Result<(), RunError> {
        let (sequence, newest) = self.voice.journal().newest_report()?;
        let now = self.voice.now()?;
        self.voice.record(now, &Event::Started { newest, sequence });
        Ok(())
    }

    /// Puts a refusal on the owner's record.
    pub(super) fn record_refusal(
        &self,
        id: PayloadId,
        build: &Build,
        refusal: &Refusal,
        now: Timestamp,
    ) {
        let event = Event::Refused {
            command: id,
            build: Text::tidy(&build.id().to_string()),
            code: Text::tidy(refusal.code()),
            why: Text::tidy(&refusal.to_string()),
        };
        self.voice.record(now, &event);
    }

    /// Until when nothing is started whatever the command, as the farm is told.
    pub(super) fn paused_until(&self) -> Result<Option<Timestamp>, RunError> {
        let now = self.voice.now()?;
        let held = self.held(now).map(|(until, _)| until);
        let quiet = self.executor.config.schedule.quiet_until(now);
        Ok(held.max(quiet))
    }

    /// Looks at what the owner says by the two files, and lets the farm know if that has changed.
    pub(super) async fn listen_to_owner(&mut self) -> Result<(), RunError> {
        self.reread_config();
        let hold = self.held(self.voice.now()?).map(|(_, hold)| hold);
        if hold == self.hold {
            return Ok(());
        }
        match &hold {
            Some(Hold::Unreadable) => {
                let path = Owner::path(&self.executor.config.state);
                tracing::error!(path = %path.display(), "what the owner said cannot be read; nothing new is started");
            }
            Some(why) => tracing::info!(%why, "owner holds back whatever is new"),
            None => tracing::info!("owner lets commands run again"),
        }
        self.hold = hold;
        self.show_presence().await
    }

    /// Whether the owner wants the slave to end after what it has accepted, and that is done.
    pub(super) fn is_drained(&self) -> bool {
        self.hold == Some(Hold::Draining) && self.builds.is_empty() && self.queue.is_empty()
    }
}
