//! From received bytes to something believed.

use std::collections::{BTreeMap, BTreeSet};

use super::digest::payload_id;
use super::key::{SoundKey, UnsoundKey};
use super::keyring::{KeyringError, open_first};
use crate::model::{
    FarmId, KeyId, Keyring, PayloadId, PublicKey, RevocationReason, Roster, RosterLine,
    SigningKeyWindow, SlaveName, Timestamp,
};
use crate::wire::{Envelope, EnvelopeError, Kind, Payload, PayloadError, Role, decode};

/// A `T` that was signed by a key entitled to say it.
///
/// Only [`Reader::open`] makes one: the fields are private, and nothing here can be deserialized or hands out `&mut`.
///
/// ```compile_fail
/// use pybots::model::{Head, KeyId, PayloadId};
/// fn forge(body: Head, signer: KeyId, id: PayloadId) -> pybots::trust::Verified<Head> {
///     pybots::trust::Verified { body, signer, id, standing: pybots::trust::Standing::Good }
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Verified<T> {
    body: T,
    signer: KeyId,
    id: PayloadId,
    standing: Standing,
}

impl<T> Verified<T> {
    /// What was said.
    pub fn body(&self) -> &T {
        &self.body
    }

    /// What was said, given away.
    pub fn into_body(self) -> T {
        self.body
    }

    /// By which key.
    pub fn signer(&self) -> KeyId {
        self.signer
    }

    /// What it is identified by.
    pub fn id(&self) -> PayloadId {
        self.id
    }

    /// How much the signature still proves.
    pub fn standing(&self) -> Standing {
        self.standing
    }
}

/// How much a signature still proves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// The key was in force.
    Good,
    /// The key was stolen at some time. What it signed still counts for numbering; that its owner said it is unproven
    /// unless a verified report names it.
    Unproven,
}

/// What something is opened for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Purpose {
    /// To act on it, at this moment: every rule holds.
    Admit {
        /// Now.
        now: Timestamp,
    },
    /// To fold the past: what a key said inside its window counts, also after the key's end.
    History,
}

/// Why a message is not believed. Nothing of it was used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Not an envelope in its one spelling.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// Another kind than was asked for.
    #[error("message is a {found}, where a {expected} must stand")]
    OtherKind {
        /// What must stand here.
        expected: Kind,
        /// What came.
        found: Kind,
    },
    /// Nobody entitled to sign this kind has that key.
    #[error("key {0} is not one that may sign this")]
    UnknownKey(KeyId),
    /// The signature does not match the bytes, for this kind and farm.
    #[error("the signature by key {0} does not match")]
    BadSignature(KeyId),
    /// Signed by a known key, yet not the fields of its kind.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// Signed for another farm. (The signature's context holds the farm too; this is the second wall.)
    #[error("message is for another farm, {0}")]
    OtherFarm(FarmId),
    /// A slave's key, but in another slave's name.
    #[error("key {key} is not the report key of slave {slave}")]
    NotTheReporter {
        /// Who signed.
        key: KeyId,
        /// In whose name.
        slave: SlaveName,
    },
    /// The signing key was revoked.
    #[error("key {0} is revoked")]
    Revoked(KeyId),
    /// The signing key was not in force.
    #[error("key {0} was not in force then")]
    OutsideWindow(KeyId),
}

impl OpenError {
    /// Stable code, for counters and searching.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Envelope(error) => error.code(),
            Self::OtherKind { .. } => "E-KIND",
            Self::UnknownKey(_) => "E-KEY",
            Self::BadSignature(_) => "E-SIGNATURE",
            Self::Payload(_) => "E-PAYLOAD",
            Self::OtherFarm(_) => "E-FARM",
            Self::NotTheReporter { .. } => "E-REPORTER",
            Self::Revoked(_) => "E-REVOKED",
            Self::OutsideWindow(_) => "E-KEY-WINDOW",
        }
    }
}

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

struct Signer {
    key: SoundKey,
    window: SigningKeyWindow,
    revoked: Option<RevocationReason>,
}

struct Reporter {
    key: SoundKey,
    line: RosterLine,
}

/// What one party has verified so far of a farm, and its means to verify more.
pub struct Reader {
    farm: FarmId,
    keyring: Keyring,
    signers: BTreeMap<KeyId, Signer>,
    reporters: BTreeMap<KeyId, Reporter>,
    roster: Option<Verified<Roster>>,
}

impl Reader {
    /// Begins with the farm's first keyring, which the pinned farm id vouches for.
    ///
    /// # Errors
    ///
    /// [`KeyringError`].
    pub fn new(farm: FarmId, first_keyring: &[u8]) -> Result<Self, KeyringError> {
        let keyring = open_first(&farm, first_keyring)?;
        let mut signers = BTreeMap::new();
        let current = keyring.signing_keys.iter().map(|window| (window, None));
        let revoked = keyring
            .revoked
            .iter()
            .map(|revoked| (&revoked.window, Some(revoked.reason)));
        for (window, revoked) in current.chain(revoked) {
            let key = SoundKey::new(window.key)?;
            signers.insert(
                key.id(),
                Signer {
                    key,
                    window: window.clone(),
                    revoked,
                },
            );
        }
        Ok(Self {
            farm,
            keyring,
            signers,
            reporters: BTreeMap::new(),
            roster: None,
        })
    }

    /// The pinned farm.
    #[must_use]
    pub fn farm(&self) -> &FarmId {
        &self.farm
    }

    /// The keyring in force.
    #[must_use]
    pub fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// The newest roster taken in.
    #[must_use]
    pub fn roster(&self) -> Option<&Roster> {
        self.roster.as_ref().map(Verified::body)
    }

    /// Takes in a version of the roster. Every version adds its reporters, so that reports of a slave that has left
    /// stay verifiable; the newest decides the rest.
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
        signing.extend(&self.keyring.master_keys);
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
                },
            ));
        }
        let newer = self
            .roster()
            .is_none_or(|held| held.version < roster.body.version);
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

    /// Opens a message: the one way to a [`Verified`] value.
    ///
    /// # Errors
    ///
    /// [`OpenError`], the first that applies, in the order declared.
    pub fn open<T: Payload>(
        &self,
        bytes: &[u8],
        purpose: Purpose,
    ) -> Result<Verified<T>, OpenError> {
        let envelope = Envelope::parse(bytes, T::KIND.max_len())?;
        if envelope.kind != T::KIND {
            return Err(OpenError::OtherKind {
                expected: T::KIND,
                found: envelope.kind,
            });
        }
        let signer = envelope.signer;
        let key = self
            .key(T::KIND, &signer)
            .ok_or(OpenError::UnknownKey(signer))?;
        if !key.verifies(
            &envelope.signed_bytes(Some(&self.farm)),
            &envelope.signature,
        ) {
            return Err(OpenError::BadSignature(signer));
        }
        // Only now is anything that a stranger wrote looked at.
        let body: T = decode(&envelope.payload)?;
        if let Some(farm) = body.farm()
            && *farm != self.farm
        {
            return Err(OpenError::OtherFarm(*farm));
        }
        let standing = match body.reporter() {
            Some(slave) => self.report_standing(signer, slave)?,
            None => self.signing_standing(signer, body.issued(), purpose)?,
        };
        Ok(Verified {
            body,
            signer,
            id: payload_id(&envelope.payload),
            standing,
        })
    }

    fn key(&self, kind: Kind, signer: &KeyId) -> Option<&SoundKey> {
        match kind.signer() {
            // A keyring is never opened here: it comes by the chain from the pinned farm id.
            Role::Master => None,
            Role::Signing => self.signers.get(signer).map(|signer| &signer.key),
            Role::Report => self.reporters.get(signer).map(|reporter| &reporter.key),
        }
    }

    fn report_standing(&self, signer: KeyId, slave: &SlaveName) -> Result<Standing, OpenError> {
        match self.reporters.get(&signer) {
            Some(reporter) if reporter.line.slave == *slave => Ok(Standing::Good),
            Some(_) | None => Err(OpenError::NotTheReporter {
                key: signer,
                slave: slave.clone(),
            }),
        }
    }

    fn signing_standing(
        &self,
        id: KeyId,
        issued: Timestamp,
        purpose: Purpose,
    ) -> Result<Standing, OpenError> {
        let signer = self.signers.get(&id).ok_or(OpenError::UnknownKey(id))?;
        match (purpose, signer.revoked) {
            (Purpose::Admit { .. }, Some(_)) => Err(OpenError::Revoked(id)),
            // The date that a message claims proves nothing to someone about to act on it; the clock decides.
            (Purpose::Admit { now }, None) if signer.window.contains(now) => Ok(Standing::Good),
            (Purpose::History, Some(RevocationReason::Compromised)) => Ok(Standing::Unproven),
            (Purpose::History, Some(RevocationReason::Retired) | None)
                if signer.window.contains(issued) =>
            {
                Ok(Standing::Good)
            }
            (Purpose::Admit { .. } | Purpose::History, None)
            | (Purpose::History, Some(RevocationReason::Retired)) => {
                Err(OpenError::OutsideWindow(id))
            }
        }
    }

    /// The roster's line, open or closed, of the key that signed a report.
    #[must_use]
    pub fn reporter(&self, signer: &KeyId) -> Option<&RosterLine> {
        self.reporters.get(signer).map(|reporter| &reporter.line)
    }

    /// Whether `key` is a signing key in force at `now`.
    #[must_use]
    pub fn may_sign(&self, key: &PublicKey, now: Timestamp) -> bool {
        self.signers.values().any(|signer| {
            signer.window.key == *key && signer.revoked.is_none() && signer.window.contains(now)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        Digest, Head, InstanceId, Position, Report, ReportBody, RevokedKey, SlaveState, Text,
    };
    use crate::trust::{SecretKey, countersign, seal};

    const MASTER: u8 = 1;
    const CURRENT: u8 = 2;
    const EXPIRED: u8 = 3;
    const RETIRED: u8 = 4;
    const COMPROMISED: u8 = 5;
    const NOW: Timestamp = Timestamp(1_000);

    fn key(seed: u8) -> SecretKey {
        SecretKey::from_seed(&[seed; 32])
    }

    fn window(seed: u8, not_before: u64, not_after: u64) -> SigningKeyWindow {
        SigningKeyWindow {
            key: key(seed).public(),
            not_before: Timestamp(not_before),
            not_after: Timestamp(not_after),
        }
    }

    fn first_keyring() -> (FarmId, Vec<u8>) {
        let revoked = |seed, reason| RevokedKey {
            window: window(seed, 100, 2_000),
            reason,
            revoked: Timestamp(500),
        };
        let keyring = Keyring {
            name: "test".parse().unwrap(),
            position: Position::default(),
            previous: None,
            issued: Timestamp(0),
            expires: Timestamp(9_000),
            master_keys: vec![key(MASTER).public()],
            threshold: 1,
            commitment: Digest([0; 32]),
            signing_keys: vec![window(CURRENT, 900, 1_100), window(EXPIRED, 100, 200)],
            revoked: vec![
                revoked(RETIRED, RevocationReason::Retired),
                revoked(COMPROMISED, RevocationReason::Compromised),
            ],
        };
        let envelopes = countersign(&[&key(MASTER)], &keyring).unwrap();
        (
            FarmId(payload_id(envelopes.payload()).0),
            envelopes.to_bytes(),
        )
    }

    fn reader() -> Reader {
        let (farm, keyring) = first_keyring();
        Reader::new(farm, &keyring).unwrap()
    }

    fn sealed<T: Payload>(seed: u8, body: &T) -> Vec<u8> {
        seal(&key(seed), &first_keyring().0, body).bytes
    }

    fn line(slave: &str, report: u8, bus: u8) -> RosterLine {
        RosterLine {
            slave: slave.parse().unwrap(),
            report_key: key(report).public(),
            bus_key: key(bus).public(),
            owner: Text::default(),
            platform: Text::default(),
            builders: vec![],
            state: SlaveState::Active,
            approved: Timestamp(0),
            closed: None,
        }
    }

    fn closed(line: RosterLine) -> RosterLine {
        RosterLine {
            closed: Some(NOW),
            ..line
        }
    }

    fn roster(version: u64, lines: &[RosterLine]) -> Vec<u8> {
        roster_by(CURRENT, version, lines)
    }

    fn roster_by(seed: u8, version: u64, lines: &[RosterLine]) -> Vec<u8> {
        let roster = Roster {
            farm: first_keyring().0,
            version,
            keyring: Position::default(),
            issued: NOW,
            lines: lines.to_vec(),
        };
        sealed(seed, &roster)
    }

    fn report(seed: u8, slave: &str) -> Vec<u8> {
        let report = Report {
            farm: first_keyring().0,
            slave: slave.parse().unwrap(),
            instance: InstanceId([0; 16]),
            builder: "foo".parse().unwrap(),
            command: PayloadId([0; 32]),
            number: 1,
            sequence: 1,
            previous: None,
            keyring: Position::default(),
            issued: NOW,
            experiment: None,
            body: ReportBody::Deferred { until: NOW },
        };
        sealed(seed, &report)
    }

    /// Whom a reader believes that `seed` reports for.
    fn speaks_for(reader: &Reader, seed: u8, slave: &str) -> bool {
        reader
            .open::<Report>(&report(seed, slave), Purpose::History)
            .is_ok()
    }

    #[test]
    fn a_reader_begins_only_with_the_pinned_farms_keyring() {
        let (_, keyring) = first_keyring();
        let error = Reader::new(FarmId([7; 32]), &keyring).err().unwrap();
        assert_eq!(error.code(), "E-FARM");
    }

    #[test]
    fn a26_a27_what_a_key_signed_counts_by_its_window_its_end_and_the_purpose() {
        let admit = |now| Purpose::Admit {
            now: Timestamp(now),
        };
        let history = Purpose::History;
        let good = Ok(Standing::Good);
        let unproven = Ok(Standing::Unproven);
        let outside = Err("E-KEY-WINDOW");
        let revoked = Err("E-REVOKED");
        let cases = [
            // Whoever acts goes by the clock; the date in the message, here the second number, changes nothing.
            (CURRENT, 1_000, admit(899), outside),
            (CURRENT, 1_000, admit(900), good),
            (CURRENT, 1_000, admit(1_099), good),
            (CURRENT, 1_000, admit(1_100), outside),
            (CURRENT, 1, admit(1_000), good),
            (EXPIRED, 1_000, admit(1_000), outside),
            (EXPIRED, 150, admit(1_000), outside),
            (RETIRED, 150, admit(1_000), revoked),
            (COMPROMISED, 150, admit(1_000), revoked),
            // A fold of the past goes by the date in the message.
            (CURRENT, 899, history, outside),
            (CURRENT, 900, history, good),
            (CURRENT, 1_099, history, good),
            (CURRENT, 1_100, history, outside),
            (EXPIRED, 150, history, good),
            (EXPIRED, 200, history, outside),
            (RETIRED, 99, history, outside),
            (RETIRED, 150, history, good),
            (RETIRED, 2_000, history, outside),
            (COMPROMISED, 99, history, unproven),
            (COMPROMISED, 150, history, unproven),
            (COMPROMISED, 2_000, history, unproven),
        ];
        for (seed, time, purpose, expected) in cases {
            let head = Head {
                farm: first_keyring().0,
                keyring: Position::default(),
                roster: 1,
                time: Timestamp(time),
            };
            let got = reader()
                .open::<Head>(&sealed(seed, &head), purpose)
                .map(|head| head.standing())
                .map_err(|error| error.code());
            assert_eq!(got, expected, "key {seed}, dated {time}, {purpose:?}");
        }
    }

    #[test]
    fn only_a_key_in_force_may_sign() {
        let cases = [
            (CURRENT, NOW, true),
            (CURRENT, Timestamp(1_100), false),
            (EXPIRED, NOW, false),
            (RETIRED, NOW, false),
            (COMPROMISED, NOW, false),
            (MASTER, NOW, false),
        ];
        for (seed, now, expected) in cases {
            let got = reader().may_sign(&key(seed).public(), now);
            assert_eq!(got, expected, "key {seed} at {now}");
        }
    }

    #[test]
    fn a_keyring_is_never_opened_like_a_message() {
        let (_, keyring) = first_keyring();
        let bare = &keyring[1..];
        let error = reader().open::<Keyring>(bare, Purpose::History).err();
        assert_eq!(error.unwrap().code(), "E-KEY");
    }

    #[test]
    fn a_roster_that_contradicts_itself_or_an_earlier_one_leaves_no_trace() {
        let weak = PublicKey([0; 32]);
        let oak = line("oak", 10, 20);
        let cases = [
            (
                "two slaves, one key",
                vec![oak.clone(), line("elm", 10, 21)],
                "E-ROSTER",
            ),
            (
                "one slave, two keys at once",
                vec![oak.clone(), line("oak", 12, 22)],
                "E-ROSTER",
            ),
            (
                "one key in two lines of one slave",
                vec![oak.clone(), closed(oak.clone())],
                "E-ROSTER",
            ),
            (
                "a departed slave's key",
                vec![closed(oak.clone()), line("elm", 10, 21)],
                "E-ROSTER",
            ),
            (
                "a key that an earlier version gave to yew",
                vec![oak.clone(), line("elm", 90, 21)],
                "E-ROSTER",
            ),
            (
                "one key to report and to log in",
                vec![line("elm", 13, 13)],
                "E-ONE-KEY",
            ),
            (
                "a login key that an earlier version gave to yew to report with",
                vec![line("elm", 13, 90)],
                "E-ONE-KEY",
            ),
            (
                "a report key that an earlier version gave to yew to log in with",
                vec![line("elm", 91, 23)],
                "E-ONE-KEY",
            ),
            (
                "a weak report key",
                vec![RosterLine {
                    report_key: weak,
                    ..oak.clone()
                }],
                "E-UNSOUND",
            ),
            (
                "a weak login key",
                vec![RosterLine {
                    bus_key: weak,
                    ..oak.clone()
                }],
                "E-UNSOUND",
            ),
        ];
        for (what, lines, code) in cases {
            let mut reader = reader();
            let yew = line("yew", 90, 91);
            reader
                .learn_roster(&roster(1, std::slice::from_ref(&yew)))
                .unwrap();
            // A sound line first: what stands before the fault is not taken in either.
            let lines = [vec![line("ash", 14, 24)], lines].concat();
            let error = reader.learn_roster(&roster(2, &lines)).err();
            assert_eq!(error.map(|error| error.code()), Some(code), "{what}");
            assert_eq!(reader.roster().map(|held| held.version), Some(1), "{what}");
            assert!(!speaks_for(&reader, 14, "ash"), "{what}");
            assert_eq!(reader.reporter(&key(90).id()), Some(&yew), "{what}");
        }
    }

    #[test]
    fn a139_an_older_roster_adds_departed_slaves_and_takes_nothing_back() {
        let oak = line("oak", 10, 20);
        let elm = line("elm", 11, 21);
        let newest = [closed(oak.clone()), line("oak", 12, 22)];
        let mut reader = reader();
        reader.learn_roster(&roster(5, &newest)).unwrap();
        assert!(!speaks_for(&reader, 11, "elm"));
        reader.learn_roster(&roster(4, &[oak, elm])).unwrap();

        assert_eq!(reader.roster().map(|held| held.version), Some(5));
        assert_eq!(reader.reporter(&key(10).id()), Some(&newest[0]));
        assert_eq!(
            reader.roster().unwrap().line(&newest[1].slave),
            Some(&newest[1])
        );
        for (seed, slave, expected) in [
            (10, "oak", true),
            (12, "oak", true),
            (11, "elm", true),
            (11, "oak", false),
            (12, "elm", false),
        ] {
            assert_eq!(
                speaks_for(&reader, seed, slave),
                expected,
                "{seed} as {slave}"
            );
        }
    }

    #[test]
    fn a_newer_roster_closes_a_line_and_what_it_said_still_opens() {
        let oak = line("oak", 10, 20);
        let mut reader = reader();
        reader
            .learn_roster(&roster(1, std::slice::from_ref(&oak)))
            .unwrap();
        let departed = closed(oak);
        reader
            .learn_roster(&roster(2, std::slice::from_ref(&departed)))
            .unwrap();
        assert_eq!(reader.reporter(&key(10).id()), Some(&departed));
        assert!(speaks_for(&reader, 10, "oak"));
    }

    #[test]
    fn a_roster_counts_by_the_key_that_signed_it() {
        for (seed, expected) in [
            (CURRENT, None),
            (RETIRED, None),
            (COMPROMISED, Some("E-REVOKED")),
            (EXPIRED, Some("E-KEY-WINDOW")),
            (MASTER, Some("E-KEY")),
        ] {
            let mut reader = reader();
            let learnt = reader.learn_roster(&roster_by(seed, 1, &[line("oak", 10, 20)]));
            let code = learnt.err().map(|error| error.code());
            assert_eq!(code, expected, "key {seed}");
            assert_eq!(
                speaks_for(&reader, 10, "oak"),
                expected.is_none(),
                "key {seed}"
            );
        }
    }
}
