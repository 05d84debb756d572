//! What the farm says is newest: its keyring, and the head without which nothing is started.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::{RunError, Running, UnderWay};
use crate::bus::{Bus, KeyringCursor, Progress, Stream, Taken};
use crate::model::{Build, ClockOffset, Command, Head, Position, Timestamp};
use crate::slave::config::SlaveConfig;
use crate::slave::execute::Stop;
use crate::slave::journal::Journal;
use crate::trust::{Learnt, OpenError, Purpose, Reader, Verified};

/// How many batches of keyrings are read before something else is looked after.
const MAX_BATCHES: u32 = 64;

/// Why the head is read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Occasion {
    /// It is time to.
    Routine,
    /// The bus announces one at this moment, so that its time tells the clocks' difference.
    Announced,
}

/// How often keyrings may yet be read again because of what somebody said: junk must not turn a slave against the bus.
#[derive(Debug)]
pub(super) struct Rereads {
    left: u32,
    since: Timestamp,
}

impl Rereads {
    /// At once, and again one each second.
    const MOST: u32 = 8;

    pub(super) fn new() -> Self {
        Self {
            left: Self::MOST,
            since: Timestamp(0),
        }
    }

    fn allow(&mut self, now: Timestamp) -> bool {
        let grown = now.since(self.since).as_secs();
        if grown > 0 {
            self.since = now;
            self.left = u32::try_from(grown)
                .unwrap_or(Self::MOST)
                .saturating_add(self.left)
                .min(Self::MOST);
        }
        let allowed = self.left > 0;
        self.left = self.left.saturating_sub(1);
        allowed
    }
}

/// Gets the keyrings held from the journal, or keyring 0.0 from the bus, and checks it against the pinned farm id.
pub(super) async fn learn_first_keyring(
    config: &SlaveConfig,
    bus: &Bus,
    journal: &Mutex<Journal>,
) -> Result<Reader, RunError> {
    let lock = || journal.lock().unwrap_or_else(PoisonError::into_inner);
    let held = lock().keyrings()?;
    if let Some((first, later)) = held.split_first() {
        let other_farm = |source| RunError::OtherFarm {
            folder: config.state.clone(),
            source,
        };
        let mut reader = Reader::new(config.farm, first).map_err(other_farm)?;
        for message in later {
            reader.learn_keyring(message).map_err(other_farm)?;
        }
        return Ok(reader);
    }
    let subject = bus.subjects().keyring(Position::default());
    let mut told = false;
    loop {
        match bus.read_all(Stream::Keyring, &subject, 1).await {
            // Whoever can make the broker store junk beside the keyring does not hide it: the first that verifies counts.
            Ok(deliveries) => {
                for delivery in deliveries {
                    match Reader::new(config.farm, &delivery.bytes) {
                        Ok(reader) => {
                            lock().set_keyrings(&reader.chain().messages())?;
                            return Ok(reader);
                        }
                        Err(error) => tracing::warn!(%error, "keyring rejected"),
                    }
                }
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(
                        farm = %config.farm,
                        "no keyring of the pinned farm on the bus: the master has not run yet, or the farm id is another's"
                    );
                }
            }
            Err(error) => tracing::info!(%error, "keyring not readable yet"),
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

impl Running {
    /// Takes in what the bus holds of keyrings that are not known here.
    pub(super) async fn learn_keyrings(&mut self) -> Result<(), RunError> {
        let bus = self.executor.bus.clone();
        // A bus that has lost what it held counts anew: what was read to the end is read again.
        let mut cursor = match self.keyrings.take() {
            Some(cursor) => cursor,
            None => KeyringCursor::new(self.reader.keyring().position.generation),
        };
        for _ in 0..MAX_BATCHES {
            let mut failed = None;
            let read = bus.read_keyrings(&mut cursor, |delivery| {
                self.learn_keyring(&delivery.bytes).unwrap_or_else(|error| {
                    failed = Some(error);
                    Taken::Nothing
                })
            });
            let read = read.await;
            if let Some(error) = failed {
                return Err(error);
            }
            match read {
                Ok(Progress::More) => {}
                Ok(Progress::Done) => return Ok(()),
                Err(error) => {
                    tracing::debug!(%error, "keyrings not readable now");
                    break;
                }
            }
        }
        self.keyrings = Some(cursor);
        Ok(())
    }

    /// Everything is checked and on disk before anything of it counts.
    fn learn_keyring(&mut self, bytes: &[u8]) -> Result<Taken, RunError> {
        let mut reader = self.reader.clone();
        let taken = match reader.learn_keyring(bytes) {
            Ok(Learnt::Nothing) => {
                self.reader = reader;
                return Ok(Taken::Nothing);
            }
            Ok(Learnt::Newer) => Taken::Newest(reader.keyring().position),
            Ok(Learnt::Forked) => {
                if let Some(fork) = reader.chain().fork() {
                    let [held, other] = fork.ids.map(|id| id.short());
                    tracing::error!(
                        code = "E-FORK", keyring = %fork.position, held, other,
                        "two keyrings contradict each other: somebody else holds a master key; nothing is started until a succession"
                    );
                }
                Taken::Contradiction
            }
            Err(error) => {
                tracing::warn!(code = error.code(), %error, "keyring rejected");
                self.voice.telemetry.rejected(error.code());
                return Ok(Taken::Nothing);
            }
        };
        self.voice
            .journal()
            .set_keyrings(&reader.chain().messages())?;
        self.reader = reader;
        self.voice.set_keyring(self.reader.keyring().position);
        // Whatever a stolen key said of how new everything is.
        if let Some(head) = &self.head
            && !self.reader.stands_by(head)
        {
            tracing::warn!("head forgotten: its key is no longer believed");
            self.head = None;
        }
        self.stop_what_thieves_ordered();
        // Said when it counts, not before.
        if let Taken::Newest(keyring) = taken {
            tracing::info!(%keyring, "keyring accepted");
        }
        Ok(taken)
    }

    /// Nothing that a stolen key ordered goes on, nor does what waits for its turn begin.
    pub(super) fn stop_what_thieves_ordered(&self) {
        for (
            id,
            UnderWay {
                build,
                signer,
                stop,
            },
        ) in &self.cancels
        {
            if !self.reader.counts(signer) && stop.borrow().is_none() {
                tracing::warn!(%build, command = %id.short(), %signer, "build stopped: its key is no longer believed");
                stop.send_replace(Some(Stop::KeyStolen));
            }
        }
    }

    /// Opens a command. Without a fresh head, the head is read first. Before one is turned away because its key is not
    /// known, or one is decided that speaks of a newer keyring, the keyrings are read again. Either can bring a keyring by
    /// which the command's key is stolen, so what is returned was opened after both.
    pub(super) async fn open_command(
        &mut self,
        bytes: &[u8],
        now: Timestamp,
    ) -> Result<Result<Verified<Command>, OpenError>, RunError> {
        let mut opened = self.reader.open(bytes, Purpose::Admit { now });
        if opened.is_ok() && self.head_is_stale(now) {
            self.look_at_head(Occasion::Routine).await?;
            opened = self.reader.open(bytes, Purpose::Admit { now });
        }
        let outdated = match &opened {
            Ok(command) => self.is_behind(command),
            Err(error) => matches!(error, OpenError::UnknownKey(_)),
        };
        if !outdated || !self.rereads.allow(now) {
            return Ok(opened);
        }
        self.learn_keyrings().await?;
        Ok(self.reader.open(bytes, Purpose::Admit { now }))
    }

    fn is_behind(&self, command: &Verified<Command>) -> bool {
        let held = self.reader.keyring().position;
        let by_command = match command.body() {
            Command::Build(build) => build.keyring > held,
            Command::Cancel(_) => false,
        };
        let by_head = |head: &Verified<Head>| head.body().keyring > held;
        by_command || self.head.as_ref().is_some_and(by_head)
    }

    /// Whether the newest head is older than the owner allows, or there is none.
    fn head_is_stale(&self, now: Timestamp) -> bool {
        let max_age = self.executor.config.max_head_age;
        self.head
            .as_ref()
            .is_none_or(|head| now.since(head.body().time) > max_age)
    }

    /// Reads the head and takes it in if it is newer; reads the keyrings if it speaks of a newer one, or is by a key that
    /// is not known.
    pub(super) async fn look_at_head(&mut self, occasion: Occasion) -> Result<(), RunError> {
        let subject = self.executor.bus.subjects().head();
        let newest = match self.executor.bus.read_newest(Stream::Head, &subject).await {
            Ok(newest) => newest,
            Err(error) => {
                tracing::debug!(%error, "head not readable now");
                return Ok(());
            }
        };
        let now = self.voice.now()?;
        let Some(delivery) = newest else {
            return Ok(());
        };
        let opened = self.reader.open(&delivery.bytes, Purpose::Admit { now });
        let outdated = match &opened {
            Ok(head) => {
                let head: &Verified<Head> = head;
                head.body().keyring > self.reader.keyring().position
            }
            Err(error) => matches!(error, OpenError::UnknownKey(_)),
        };
        if outdated && self.rereads.allow(now) {
            self.learn_keyrings().await?;
            let opened = self.reader.open(&delivery.bytes, Purpose::Admit { now });
            self.take_head(opened, occasion, now);
        } else {
            self.take_head(opened, occasion, now);
        }
        Ok(())
    }

    fn take_head(
        &mut self,
        opened: Result<Verified<Head>, OpenError>,
        occasion: Occasion,
        now: Timestamp,
    ) {
        let head = match opened {
            Ok(head) => head,
            Err(error) => {
                tracing::warn!(code = error.code(), %error, "head rejected");
                self.voice.telemetry.rejected(error.code());
                return;
            }
        };
        let time = head.body().time;
        if occasion == Occasion::Announced || time > now {
            self.clock = Some(ClockOffset::between(now, time));
        }
        // From beyond the clock skew it would keep a slave content for too long.
        if time > now.after(Build::CLOCK_SKEW) {
            tracing::warn!(code = "E-CLOCK", %time, "head rejected");
            self.voice.telemetry.rejected("E-CLOCK");
            return;
        }
        // Times are compared only within one key, and a key introduced later outranks an earlier one: a thief's last
        // word is not the last.
        let newness = |head: &Verified<Head>| (self.reader.rank(&head.signer()), head.body().time);
        if self
            .head
            .as_ref()
            .is_none_or(|held| newness(held) < newness(&head))
        {
            self.head = Some(head);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keyrings_are_read_again_a_few_times_at_once_and_then_once_a_second() {
        let mut rereads = Rereads::new();
        let at = |seconds: u64| Timestamp(1_000_000_000 + seconds * 1_000_000);
        let allowed = |rereads: &mut Rereads, seconds| {
            (0..100).filter(|_| rereads.allow(at(seconds))).count()
        };
        assert_eq!(allowed(&mut rereads, 0), 8);
        assert_eq!(allowed(&mut rereads, 0), 0);
        assert_eq!(allowed(&mut rereads, 1), 1);
        assert_eq!(allowed(&mut rereads, 4), 3);
        assert_eq!(allowed(&mut rereads, 4_000), 8);
    }
}
