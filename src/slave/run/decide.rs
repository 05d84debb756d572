//! One delivery: open it, decide it, put on record what was decided.

use tokio::sync::watch;

use super::{Queued, RunError, Running, UnderWay};
use crate::bus::Parcel;
use crate::model::{Build, BuildId, Cancel, Command, PayloadId, ReportBody, Text, Timestamp};
use crate::slave::audit::Event;
use crate::slave::execute::Stop;
use crate::slave::gate::{Admitted, Decision, Refusal, Situation};
use crate::slave::host::Host;
use crate::slave::journal::{Decided, Entry};
use crate::slave::script::look_at_script;
use crate::trust::{OpenError, Purpose, Verified};
use crate::wire::encode;

impl Running {
    pub(super) async fn receive(&mut self, parcel: Parcel) -> Result<(), RunError> {
        let now = self.voice.now()?;
        self.reread_config();
        match self.open_command(parcel.bytes(), now).await? {
            Ok(command) => self.decide(command, now)?,
            Err(error) => match self.expired_under_an_old_key(parcel.bytes(), &error, now)? {
                Some((id, command, refusal)) => self.refuse(id, &command, &refusal, now)?,
                None => self.reject(None, error.code(), &error),
            },
        }
        parcel.acknowledge().await;
        self.start_queued();
        Ok(())
    }

    pub(super) fn decide(
        &mut self,
        command: Verified<Command>,
        received: Timestamp,
    ) -> Result<(), RunError> {
        let id = command.id();
        let body = command.body().clone();
        // One after the other: each holds the journal until its statement ends.
        let decided = self.voice.journal().decided(&id)?;
        let highest = self.voice.journal().highest(body.builder())?;
        let restored = self.voice.journal().restored()?;
        let name = match &body {
            Command::Build(build) => Some(build.id()),
            Command::Cancel(_) => None,
        };
        let situation = Situation {
            now: received,
            head: self.head.as_ref().map(Verified::body),
            keyring: self.reader.keyring().position,
            keys_fault: self.reader.keys_fault(received),
            highest,
            restored,
            seen: matches!(
                decided,
                Some(Decided::Accepted | Decided::Refused | Decided::Stopped)
            ),
            cancelled: decided == Some(Decided::Cancelled),
            script: &|mapping| look_at_script(name.as_ref(), mapping),
            held: self.held(received),
            misread: self.reload.is_misread(),
            host: Host::look(&self.executor.config.state),
        };
        match self.gate.decide(command, &situation) {
            Decision::Run(job) => self.accept(*job, received),
            Decision::Cancel(cancel) => self.cancel(&cancel, received),
            // Whoever ordered that waits for another slave's word, not for ours.
            Decision::Refuse(refusal @ Refusal::OtherSlave(_)) => {
                self.reject(name.as_ref(), refusal.code(), &refusal);
                Ok(())
            }
            Decision::Refuse(refusal) => self.refuse(id, &body, &refusal, received),
            Decision::Defer { until, why } => self.defer(id, &body, (until, &why), received),
            Decision::Replay => {
                self.reject(
                    name.as_ref(),
                    "E-REPLAY",
                    &format_args!("command {} was decided before", id.short()),
                );
                Ok(())
            }
        }
    }

    /// A slave that was off for long finds commands by keys that were rotated since. They were genuine and have expired, and
    /// whoever gave them may know; what has not expired is not believed for that.
    fn expired_under_an_old_key(
        &self,
        bytes: &[u8],
        error: &OpenError,
        now: Timestamp,
    ) -> Result<Option<(PayloadId, Command, Refusal)>, RunError> {
        if !matches!(error, OpenError::OutsideWindow(_)) {
            return Ok(None);
        }
        let Ok(command) = self.reader.open::<Command>(bytes, Purpose::History) else {
            return Ok(None);
        };
        let id = command.id();
        let known = self.voice.journal().decided(&id)?.is_some();
        let refusal = self.gate.expired(command.body(), now);
        Ok(refusal
            .filter(|_| !known)
            .map(|refusal| (id, command.into_body(), refusal)))
    }

    /// Counts a message that is not answered: an answer would let strangers make the slave speak.
    fn reject(&mut self, build: Option<&BuildId>, code: &str, error: &dyn std::fmt::Display) {
        self.rejected += 1;
        self.voice.telemetry.rejected(code);
        tracing::warn!(build = build.map(display), code, %error, "message rejected");
    }

    pub(super) fn accept(&mut self, job: Admitted, received: Timestamp) -> Result<(), RunError> {
        let id = job.id();
        let build = job.build();
        tracing::info!(build = %build.id(), command = %id.short(), "command accepted");
        self.voice.record(
            received,
            &Event::Accepted {
                command: id,
                build: Text::tidy(&build.id().to_string()),
                signer: job.signer().to_string(),
            },
        );
        let entries = vec![
            Entry::Decided {
                id,
                what: Decided::Accepted,
                forget_after: forget_after(build, received),
            },
            Entry::Build {
                id,
                signer: job.signer(),
                builder: build.builder.clone(),
                number: build.number,
                payload: encode(&Command::Build(build.clone())),
            },
        ];
        self.voice
            .say(id, build, ReportBody::Accepted { received }, entries)?;
        let (sender, stop) = watch::channel(None);
        self.cancels.insert(id, UnderWay::of(&job, sender));
        self.queue.push_back(Queued { job, stop });
        Ok(())
    }

    fn refuse(
        &self,
        id: PayloadId,
        command: &Command,
        refusal: &Refusal,
        now: Timestamp,
    ) -> Result<(), RunError> {
        let (code, command_id) = (refusal.code(), id.short());
        let Command::Build(build) = command else {
            tracing::warn!(code, command = %command_id, %refusal, "command refused");
            return Ok(());
        };
        let name = build.id();
        tracing::warn!(build = %name, code, command = %command_id, %refusal, "command refused");
        if let Refusal::Changed(script) = refusal {
            tracing::warn!(build = %name, "if it was you who changed it: pybots slave map {script} --accept");
        }
        self.record_refusal(id, build, refusal, now);
        let decided = Entry::Decided {
            id,
            what: Decided::Refused,
            forget_after: forget_after(build, now),
        };
        let body = ReportBody::Refused {
            code: Text::tidy(refusal.code()),
            detail: Text::tidy(&refusal.to_string()),
        };
        self.voice.say(id, build, body, vec![decided])?;
        Ok(())
    }

    pub(super) fn cancel(&self, cancel: &Cancel, now: Timestamp) -> Result<(), RunError> {
        let under_way = self.cancels.get(&cancel.target);
        tracing::info!(
            build = under_way.map(|under_way| display(&under_way.build)),
            command = %cancel.target.short(), reason = %cancel.reason,
            "cancel received"
        );
        let sender = under_way.map(|under_way| &under_way.stop);
        if sender.is_none() && self.voice.journal().decided(&cancel.target)?.is_some() {
            return Ok(());
        }
        // On record, because a slave that is killed at this moment goes on with its builds.
        let entry = Entry::Decided {
            id: cancel.target,
            what: sender.map_or(Decided::Cancelled, |_| Decided::Stopped),
            forget_after: now
                .after(Build::MAX_ACCEPT_WINDOW)
                .after(Build::REMEMBERED)
                .after(Build::CLOCK_SKEW),
        };
        self.voice.journal().commit(now, &[entry])?;
        if let Some(sender) = sender {
            sender.send_replace(Some(Stop::Cancelled));
        }
        Ok(())
    }
}

/// Until the command is answered no more; a thief's, that could be accepted for ever, for no longer than an honest one.
pub(super) fn forget_after(build: &Build, now: Timestamp) -> Timestamp {
    let longest = now.after(Build::MAX_ACCEPT_WINDOW);
    build
        .accept_by
        .clamp(now, longest)
        .after(Build::REMEMBERED)
        .after(Build::CLOCK_SKEW)
}
