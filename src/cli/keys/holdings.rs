//! What the bus holds of a farm's keys, verified by the keyrings at hand; and bringing it up to date.

use std::time::Duration;

use crate::bus::{Bus, BusError, Delivery, Expected, KeyringCursor, Progress, Stream, Taken};
use crate::cli::exit::{Exit, Failure, say};
use crate::cli::keyrings::{Keyrings, position_of};
use crate::master::{learn_keyrings_held, learn_rosters};
use crate::model::{
    Coverage, FarmId, Keyring, KeyringsHeld, PayloadId, Position, Roster, Timestamp,
};
use crate::trust::{Fork, Learnt, Reader, sha256};

/// What is to be done about two keyrings at one place.
pub(super) const AFTER_A_FORK: &str = "Nothing was sent. Somebody else signs with this farm's master key: until a higher generation is there, no slave starts \
     anything. Take the successor key out of its drawer: pybots keys rotate --master.";

/// How often publishing may find that somebody else was faster.
const MAX_TRIES: usize = 5;

/// The keyrings on the bus, and whoever reads them.
pub(super) struct Holdings {
    pub(super) bus: Bus,
    /// What follows from the keyrings at hand and those on the bus.
    pub(super) reader: Reader,
}

impl Holdings {
    /// Reads the keyrings and the rosters that the bus holds.
    pub(super) async fn look(bus: Bus, own: &Reader) -> Result<Self, Failure> {
        let mut holdings = Self {
            bus,
            reader: own.clone(),
        };
        // A farm whose master has not run yet has no streams.
        if holdings.read_keyrings().await.is_err() {
            holdings.bus.ensure_streams().await?;
            holdings.read_keyrings().await?;
        }
        learn_rosters(&holdings.bus, &mut holdings.reader).await?;
        Ok(holdings)
    }

    async fn read_keyrings(&mut self) -> Result<(), BusError> {
        let mut cursor = KeyringCursor::new(self.reader.keyring().position.generation);
        let reader = &mut self.reader;
        let mut take = |delivery: &Delivery| match reader.learn_keyring(&delivery.bytes) {
            Ok(Learnt::Newer) => Taken::Newest(reader.keyring().position),
            Ok(Learnt::Forked) => Taken::Contradiction,
            Ok(Learnt::Nothing) => Taken::Nothing,
            // Anybody can put that there who commands the broker.
            Err(error) => {
                tracing::warn!(sequence = delivery.sequence, %error, "keyring rejected");
                Taken::Nothing
            }
        };
        while self.bus.read_keyrings(&mut cursor, &mut take).await? == Progress::More {}
        Ok(())
    }

    /// Two keyrings at one place, among the files and on the bus.
    pub(super) fn fork(&self) -> Option<Fork> {
        self.reader.chain().fork()
    }

    /// The newest keyring on the bus, if it is newer than all that are at hand.
    pub(super) fn newer_than(&self, own: &Keyrings) -> Option<&Keyring> {
        let newest = self.reader.keyring();
        (newest.position > own.newest().position).then_some(newest)
    }

    /// Says no if the bus holds what the files do not: whoever builds on the files would contradict it.
    pub(super) fn check_agreement(&self, own: &Keyrings) -> Result<(), Failure> {
        if let Some(fork) = self.fork() {
            return Err(forked(&fork));
        }
        let Some(newer) = self.newer_than(own) else {
            return Ok(());
        };
        let message = format!(
            "the bus holds keyring {}, signed as it must be, and the newest one here is {}",
            newer.position,
            own.newest().position
        );
        Err(Failure::message(Exit::Unverified, message).advice(
            "Nothing was made or sent. If you or another operator made it, put its file beside the others and try again. \
             If nobody did, the master key was stolen: pybots keys rotate --master.",
        ))
    }

    /// Whether the bus holds the newest of the keyrings at hand.
    pub(super) async fn holds(&self, own: &Keyrings) -> Result<bool, Failure> {
        let Some((position, newest)) = own.messages().last_key_value() else {
            return Ok(true);
        };
        let subject = self.bus.subjects().keyring(*position);
        let there = self.bus.read_all(Stream::Keyring, &subject, 1).await?;
        Ok(there.iter().any(|delivery| delivery.bytes == *newest))
    }

    /// Publishes those keyrings that the bus lacks, in the order of their positions; returns which.
    pub(super) async fn publish<'a>(
        &mut self,
        keyrings: impl IntoIterator<Item = (&'a Position, &'a Vec<u8>)>,
    ) -> Result<Vec<Position>, Failure> {
        self.bus.ensure_streams().await?;
        let mut published = Vec::new();
        for (position, message) in keyrings {
            if self.publish_one(*position, message).await? {
                published.push(*position);
            }
        }
        self.read_keyrings().await?;
        Ok(published)
    }

    async fn publish_one(&mut self, position: Position, message: &[u8]) -> Result<bool, Failure> {
        let subject = self.bus.subjects().keyring(position);
        let id = PayloadId(sha256(message)).to_hex();
        for _ in 0..MAX_TRIES {
            // Whatever else somebody made the server store there hides nothing: each reader looks at all of it.
            let there = self.bus.read_all(Stream::Keyring, &subject, 1).await?;
            if there.iter().any(|delivery| delivery.bytes == message) {
                return Ok(false);
            }
            let last = there.last().map_or(0, |delivery| delivery.sequence);
            let publish = self.bus.publish_expecting(
                Stream::Keyring,
                subject.clone(),
                &id,
                message.to_vec(),
                Expected::Subject(last),
            );
            match publish.await {
                Ok(_) => return Ok(true),
                Err(BusError::Overtaken) => {}
                Err(error) => {
                    return Err(Failure::from(error).advice(format!(
                        "Keyring {position} is perhaps not on the bus yet; its file is. Try again: pybots keys publish."
                    )));
                }
            }
        }
        Err(Failure::from(BusError::Overtaken))
    }

    /// Who holds which keyring.
    pub(super) async fn held(&mut self) -> Result<KeyringsHeld, Failure> {
        learn_rosters(&self.bus, &mut self.reader).await?;
        Ok(learn_keyrings_held(&self.bus, &self.reader).await?)
    }

    /// Which slaves hold `wanted`.
    pub(super) async fn coverage(&mut self, wanted: Position) -> Result<Coverage, Failure> {
        let held = self.held().await?;
        Ok(held.coverage(&self.slaves(), wanted))
    }

    /// The roster; where nobody has been approved yet, one without lines.
    pub(super) fn slaves(&self) -> Roster {
        self.reader.roster().cloned().unwrap_or_else(|| Roster {
            farm: *self.reader.farm(),
            version: 0,
            keyring: Position::default(),
            issued: Timestamp(0),
            lines: Vec::new(),
        })
    }

    /// Waits until each slave holds `wanted`, and tells of each that comes; gives up after `patience`.
    pub(super) async fn wait_for(
        &mut self,
        wanted: Position,
        patience: Duration,
    ) -> Result<(Coverage, Exit), Failure> {
        let mut said = String::new();
        let waiting = async {
            loop {
                let coverage = self.coverage(wanted).await?;
                if coverage.waiting.is_empty() {
                    return Ok::<_, Failure>(coverage);
                }
                let sentence = coverage.to_string();
                if said != sentence {
                    say!("  ..  {sentence}");
                    said = sentence;
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        match tokio::time::timeout(patience, waiting).await {
            Ok(coverage) => Ok((coverage?, Exit::Ok)),
            Err(_) => Ok((self.coverage(wanted).await?, Exit::TimedOut)),
        }
    }
}

/// The first keyring of `farm` among what the bus holds, and all that it leads to.
pub(super) async fn reader_from_bus(bus: &Bus, farm: FarmId) -> Result<Option<Reader>, Failure> {
    let subject = bus.subjects().keyring(Position::default());
    let firsts = bus.read_all(Stream::Keyring, &subject, 1).await?;
    Ok(firsts
        .iter()
        .filter(|first| position_of(&first.bytes) == Some(Position::default()))
        .find_map(|first| Reader::new(farm, &first.bytes).ok()))
}

pub(super) fn forked(fork: &Fork) -> Failure {
    let Fork { position, ids } = fork;
    let message = format!(
        "two different keyrings claim the place {position}, both signed by this farm's master key: {} and {}",
        ids[0], ids[1]
    );
    Failure::message(Exit::Unverified, message).advice(AFTER_A_FORK)
}
