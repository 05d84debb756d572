//! The golden farm: its keys, its keyring and its roster, all from fixed values. They protect nothing.

use std::time::Duration;

use ed25519_dalek::{Signer as _, SigningKey};
use pybots::model::{
    FarmId, KeyId, Keyring, Position, PublicKey, RevocationReason, RevokedKey, Roster, RosterLine,
    SigningKeyWindow, SlaveState, Timestamp,
};
use pybots::trust::{Reader, SecretKey, commitment, countersign, seal};
use sha2::{Digest as _, Sha512};

use crate::values::{name, text};

/// The moment at which every golden file is read: 2026-11-22 18:00 UTC.
pub(crate) const NOW: Timestamp = Timestamp(1_795_370_400_000_000);

pub(crate) fn days(days: u64) -> Duration {
    Duration::from_secs(days * 24 * 3600)
}

/// A key by what it is for. Its seed is its number, 32 times.
#[derive(Clone, Copy)]
pub(crate) enum Key {
    FirstMaster = 0x01,
    SecondMaster = 0x02,
    ThirdMaster = 0x03,
    FirstSuccessor = 0x04,
    SecondSuccessor = 0x05,
    Signing = 0x11,
    Expired = 0x12,
    Future = 0x13,
    Retired = 0x14,
    Compromised = 0x15,
    OakReport = 0x21,
    ElmReport = 0x22,
    YewReport = 0x23,
    OakBus = 0x31,
    ElmBus = 0x32,
    YewBus = 0x33,
    AdaRequester = 0x51,
    OtherMaster = 0x41,
    OtherSigning = 0x42,
    Stranger = 0x99,
}

impl Key {
    fn seed(self) -> [u8; 32] {
        [self as u8; 32]
    }

    pub(crate) fn secret(self) -> SecretKey {
        SecretKey::from_seed(&self.seed())
    }

    pub(crate) fn public(self) -> PublicKey {
        self.secret().public()
    }

    pub(crate) fn id(self) -> KeyId {
        self.secret().id()
    }

    /// Signs whatever it is given, as the product never does.
    pub(crate) fn sign(self, message: &[u8]) -> [u8; 64] {
        SigningKey::from_bytes(&self.seed())
            .sign(message)
            .to_bytes()
    }

    /// What only a lax verifier takes for this key's signature: its point R is the neutral element, so that S = k a.
    pub(crate) fn sign_with_neutral_point(self, message: &[u8]) -> [u8; 64] {
        let secret = SigningKey::from_bytes(&self.seed()).to_scalar();
        let mut signature = [0; 64];
        signature[0] = 1;
        let hash = Sha512::new()
            .chain_update(&signature[..32])
            .chain_update(self.public().0)
            .chain_update(message)
            .finalize();
        // S = H(R, A, message) a, by Horner's rule from the hash's last byte on.
        let base = number(&secret, 256);
        let s = hash.iter().rev().fold(number(&secret, 0), |sum, byte| {
            sum * base + secret * number(&secret, u64::from(*byte))
        });
        signature[32..].copy_from_slice(s.as_bytes());
        signature
    }
}

/// `n` as a number of the same type as `alike`, which ed25519-dalek uses without naming it.
fn number<S: From<u64>>(_alike: &S, n: u64) -> S {
    S::from(n)
}

fn window(key: Key, not_before: Timestamp, not_after: Timestamp) -> SigningKeyWindow {
    SigningKeyWindow {
        key: key.public(),
        not_before,
        not_after,
    }
}

/// Keyring 0.0: two of three master keys must sign, and one signing key of each sort that there is.
pub(crate) fn keyring() -> Keyring {
    let revoked = |key, reason| RevokedKey {
        window: window(key, NOW.before(days(200)), NOW.after(days(100))),
        reason,
        revoked: NOW.before(days(100)),
    };
    Keyring {
        name: name("golden"),
        position: Position::default(),
        previous: None,
        issued: NOW.before(days(30)),
        expires: NOW.after(days(335)),
        master_keys: vec![
            Key::FirstMaster.public(),
            Key::SecondMaster.public(),
            Key::ThirdMaster.public(),
        ],
        threshold: 2,
        commitment: commitment(
            2,
            &[Key::FirstSuccessor.public(), Key::SecondSuccessor.public()],
        ),
        signing_keys: vec![
            window(Key::Signing, NOW.before(days(30)), NOW.after(days(60))),
            window(Key::Expired, NOW.before(days(120)), NOW.before(days(30))),
            window(Key::Future, NOW.after(days(46)), NOW.after(days(136))),
        ],
        revoked: vec![
            revoked(Key::Retired, RevocationReason::Retired),
            revoked(Key::Compromised, RevocationReason::Compromised),
        ],
    }
}

/// The first keyring of another farm, with the smallest number of everything.
pub(crate) fn other_keyring() -> Keyring {
    Keyring {
        name: name("other"),
        master_keys: vec![Key::OtherMaster.public()],
        threshold: 1,
        commitment: commitment(1, &[Key::FirstSuccessor.public()]),
        signing_keys: vec![window(
            Key::OtherSigning,
            NOW.before(days(30)),
            NOW.after(days(60)),
        )],
        revoked: vec![],
        ..keyring()
    }
}

/// `keyring` as it travels, signed by `keys`, and the farm that it would be the first of.
pub(crate) fn signed_keyring(keyring: &Keyring, keys: &[Key]) -> (FarmId, Vec<u8>) {
    let secrets: Vec<SecretKey> = keys.iter().map(|key| key.secret()).collect();
    let envelopes = countersign(&secrets.iter().collect::<Vec<_>>(), keyring)
        .expect("distinct keys sign one keyring");
    let farm = FarmId(pybots::trust::sha256(envelopes.payload()));
    (farm, envelopes.to_bytes())
}

/// What the golden farm pins, and its keyring.
pub(crate) fn golden() -> (FarmId, Vec<u8>) {
    signed_keyring(&keyring(), &[Key::FirstMaster, Key::SecondMaster])
}

pub(crate) fn other_farm() -> FarmId {
    signed_keyring(&other_keyring(), &[Key::OtherMaster]).0
}

pub(crate) fn line(slave: &str, report: Key, bus: Key, state: SlaveState) -> RosterLine {
    RosterLine {
        slave: name(slave),
        report_key: report.public(),
        bus_key: bus.public(),
        owner: text("Ada Lovelace"),
        platform: text("Debian 13, x86_64"),
        builders: vec![name(&format!("foo-{slave}"))],
        state,
        approved: NOW.before(days(20)),
        closed: None,
    }
}

/// Two slaves that serve, and one that has left.
pub(crate) fn roster(farm: FarmId) -> Roster {
    let mut departed = line("yew", Key::YewReport, Key::YewBus, SlaveState::Revoked);
    departed.closed = Some(NOW.before(days(3)));
    let mut elm = line("elm", Key::ElmReport, Key::ElmBus, SlaveState::Probation);
    elm.builders.push(name("bar-elm"));
    Roster {
        farm,
        version: 7,
        keyring: Position::default(),
        issued: NOW.before(days(1)),
        lines: vec![
            line("oak", Key::OakReport, Key::OakBus, SlaveState::Active),
            elm,
            departed,
        ],
    }
}

/// A reader that holds the golden farm's keyring and roster.
pub(crate) fn reader() -> Reader {
    let (farm, keyring) = golden();
    let mut reader = Reader::new(farm, &keyring).expect("the golden keyring opens");
    let roster = seal(&Key::Signing.secret(), &farm, &roster(farm));
    reader
        .learn_roster(&roster.bytes)
        .expect("the golden roster opens");
    reader
        .let_ask([(&name("ada"), Key::AdaRequester.public())])
        .expect("the golden requester's key is sound");
    reader
}
