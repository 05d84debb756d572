//! Who reports: rosters taken in, and the keys that they give to slaves.

use std::collections::{BTreeMap, BTreeSet};

use super::{OpenError, Purpose, Reader, Reporter, Standing, Verified};
use crate::model::{KeyId, PublicKey, Roster, RosterLine, SlaveName, SlaveState, Text, Timestamp};
use crate::trust::key::{SecretKey, SoundKey, UnsoundKey};

/// Why a roster was not taken in.
#[derive(Debug, thiserror::Error)]
pub enum RosterError {
    /// Not believed.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A key in it cannot be relied on.
    #[error(transparent)]
    Unsound(#[from] UnsoundKey),
    /// A slave logs in with a key that signs something, its own reports or anything else in the farm: the broker chooses
    /// what a login key signs.
    #[error("slave {0} has a key that serves both to log in and to sign")]
    OneKeyForTwo(SlaveName),
    /// Two lines give one key to two slaves, or one slave two keys at once.
    #[error("slave {0} has two lines that contradict each other")]
    Contradiction(SlaveName),
}

impl RosterError {
    /// Stable code, for counters and searching.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Open(error) => error.code(),
            Self::Unsound(_) => "E-UNSOUND",
            Self::OneKeyForTwo(_) => "E-ONE-KEY",
            Self::Contradiction(_) => "E-ROSTER",
        }
    }
}

impl Reader {
    /// With the same keyrings, and no roster.
    #[must_use]
    pub fn without_rosters(&self) -> Self {
        Self {
            reporters: BTreeMap::new(),
            roster: None,
            ..self.clone()
        }
    }

    /// The newest roster taken in.
    #[must_use]
    pub fn roster(&self) -> Option<&Roster> {
        self.roster.as_ref().map(Verified::body)
    }

    /// The same, with who signed it.
    #[must_use]
    pub fn verified_roster(&self) -> Option<&Verified<Roster>> {
        self.roster.as_ref()
    }

    /// Takes in a version of the roster. Every version adds its reporters, so that reports of a slave that has left
    /// stay verifiable; the newest decides the rest. Versions are compared only within one signing key; one by a key
    /// that was introduced later is newer.
    ///
    /// # Errors
    ///
    /// [`RosterError`]; then nothing of it was taken in.
    pub fn learn_roster(&mut self, bytes: &[u8]) -> Result<(), RosterError> {
        let roster: Verified<Roster> = self.open(bytes, Purpose::History)?;
        // Numbering survives a stolen key; the word on who reports does not.
        if roster.standing == Standing::Unproven {
            return Err(OpenError::Revoked(roster.signer).into());
        }
        let known = self.reporters.values().map(|reporter| &reporter.line);
        let (mut signing, login): (BTreeSet<PublicKey>, BTreeSet<PublicKey>) = known
            .chain(&roster.body.lines)
            .map(|line| (line.report_key, line.bus_key))
            .unzip();
        signing.extend(&self.keyring().master_keys);
        signing.extend(self.signers.values().map(|signer| signer.window.key));
        let mut reporters = Vec::new();
        for line in &roster.body.lines {
            let key = SoundKey::new(line.report_key)?;
            SoundKey::new(line.bus_key)?;
            if signing.contains(&line.bus_key) || login.contains(&line.report_key) {
                return Err(RosterError::OneKeyForTwo(line.slave.clone()));
            }
            let open_lines = roster
                .body
                .lines
                .iter()
                .filter(|l| l.slave == line.slave && l.closed.is_none());
            let namesakes = roster
                .body
                .lines
                .iter()
                .filter(|l| l.report_key == line.report_key);
            let earlier = self
                .reporters
                .get(&key.id())
                .is_some_and(|known| known.line.slave != line.slave);
            if earlier || open_lines.count() > 1 || namesakes.count() > 1 {
                return Err(RosterError::Contradiction(line.slave.clone()));
            }
            reporters.push((
                key.id(),
                Reporter {
                    key,
                    line: line.clone(),
                    introduced_by: Some(roster.signer),
                },
            ));
        }
        let rank = |roster: &Verified<Roster>| (self.rank(&roster.signer), roster.body.version);
        let newer = self
            .roster
            .as_ref()
            .is_none_or(|held| rank(held) < rank(&roster));
        for (id, reporter) in reporters {
            if newer || !self.reporters.contains_key(&id) {
                self.reporters.insert(id, reporter);
            }
        }
        if newer {
            self.roster = Some(roster);
        }
        Ok(())
    }

    /// Believes reports of `slave` by `key`, which this party holds itself, whatever the roster says.
    pub fn know_reporter(&mut self, slave: SlaveName, key: &SecretKey) {
        let Ok(sound) = SoundKey::new(key.public()) else {
            return;
        };
        let line = RosterLine {
            slave,
            report_key: key.public(),
            bus_key: PublicKey([0; 32]),
            owner: Text::default(),
            platform: Text::default(),
            builders: Vec::new(),
            state: SlaveState::Active,
            approved: Timestamp(0),
            closed: None,
        };
        let reporter = Reporter {
            key: sound,
            line,
            introduced_by: None,
        };
        self.reporters.insert(key.id(), reporter);
    }

    /// The roster's line, open or closed, of the key that signed a report.
    #[must_use]
    pub fn reporter(&self, signer: &KeyId) -> Option<&RosterLine> {
        self.reporters.get(signer).map(|reporter| &reporter.line)
    }
}
