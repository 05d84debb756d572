//! Every kind of message as a file that opens, and what is said of each.

use std::fmt::Debug;

use pybots::model::{Command, FarmId, Head, KeyId, Keyring, PayloadId};
use pybots::trust::{Purpose, Reader, Sealed, Standing, seal};
use pybots::wire::{Kind, Payload};

use crate::ext;
use crate::farm::{self, Key, NOW};
use crate::values::{self, report};

/// A file that opens, and what is said of it.
pub(crate) struct Good {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) farm: FarmId,
    pub(crate) id: PayloadId,
    pub(crate) signers: Vec<KeyId>,
    pub(crate) purpose: Purpose,
    pub(crate) standing: Standing,
    pub(crate) bytes: Vec<u8>,
    /// Opens the bytes from the disk and compares what comes out with the value that went in.
    pub(crate) check: Check,
}

pub(crate) type Check = Box<dyn Fn(&[u8])>;

pub(crate) const ADMIT: Purpose = Purpose::Admit { now: NOW };

pub(crate) fn all() -> Vec<Good> {
    let (farm, keyring) = farm::golden();
    let (other, other_keyring) = farm::signed_keyring(&farm::other_keyring(), &[Key::OtherMaster]);
    let masters = vec![Key::SecondMaster.id(), Key::FirstMaster.id()];
    let mut all = vec![
        keyring_file("keyring", farm, keyring, &farm::keyring(), masters),
        keyring_file(
            "keyring-of-another-farm",
            other,
            other_keyring,
            &farm::other_keyring(),
            vec![Key::OtherMaster.id()],
        ),
        roster_file(
            "roster",
            seal(&Key::Signing.secret(), &farm, &farm::roster(farm)),
        ),
        message("head", Key::Signing, values::head()),
        message("lead", Key::Signing, values::lead()),
        message("change", Key::Signing, values::change()),
        message("change-first", Key::Signing, values::first_change()),
        message(
            "command-build",
            Key::Signing,
            Command::Build(values::build()),
        ),
        message(
            "command-build-least",
            Key::Signing,
            Command::Build(values::least_build()),
        ),
        message(
            "command-cancel",
            Key::Signing,
            Command::Cancel(values::cancel()),
        ),
        message(
            "command-cancel-asked",
            Key::Signing,
            Command::Cancel(values::asked_cancel()),
        ),
        message("release", Key::Signing, values::release()),
        message("release-first", Key::Signing, values::first_release()),
        message("answer-denied", Key::Signing, values::answer()),
        message("answer-granted", Key::Signing, values::grant()),
        message("lease", Key::Signing, values::lease()),
        message("log", Key::OakReport, values::log()),
        message("log-empty", Key::OakReport, values::empty_log()),
        message("presence", Key::OakReport, values::presence()),
        message("presence-first", Key::OakReport, values::first_presence()),
        message(
            "report-of-a-departed-slave",
            Key::YewReport,
            values::late_report(),
        ),
        past(
            "head-by-a-retired-key",
            Key::Retired,
            values::past_head(),
            Standing::Good,
        ),
        past(
            "head-by-a-compromised-key",
            Key::Compromised,
            values::past_head(),
            Standing::Unproven,
        ),
    ];
    all.extend(
        values::bodies()
            .into_iter()
            .map(|(name, body)| message(name, Key::OakReport, report(body))),
    );
    all.extend(
        values::wishes()
            .into_iter()
            .map(|(name, wish)| message(name, Key::AdaRequester, values::request(wish))),
    );
    all.extend(ext::good());
    all
}

fn message<T>(name: &'static str, key: Key, body: T) -> Good
where
    T: Payload + PartialEq + Debug + 'static,
{
    opened(name, key, body, ADMIT, Standing::Good)
}

fn past(name: &'static str, key: Key, body: Head, standing: Standing) -> Good {
    opened(name, key, body, Purpose::History, standing)
}

fn opened<T>(name: &'static str, key: Key, body: T, purpose: Purpose, standing: Standing) -> Good
where
    T: Payload + PartialEq + Debug + 'static,
{
    let sealed = seal(&key.secret(), &farm::golden().0, &body);
    sealed_message(name, key, body, sealed, purpose, standing)
}

/// `sealed`, which must be read as `body`.
pub(crate) fn sealed_message<T>(
    name: &'static str,
    key: Key,
    body: T,
    sealed: Sealed,
    purpose: Purpose,
    standing: Standing,
) -> Good
where
    T: Payload + PartialEq + Debug + 'static,
{
    let Sealed { id, bytes } = sealed;
    let signer = key.id();
    Good {
        name,
        kind: T::KIND,
        farm: farm::golden().0,
        id,
        signers: vec![signer],
        purpose,
        standing,
        bytes,
        check: Box::new(move |bytes| {
            let read = farm::reader()
                .open::<T>(bytes, purpose)
                .unwrap_or_else(|error| panic!("{name} does not open: {error}"));
            assert_eq!(read.body(), &body, "{name}");
            let said = (read.id(), read.signer(), read.standing());
            assert_eq!(said, (id, signer, standing), "{name}");
        }),
    }
}

/// `bytes`, which must be read as `keyring`, the first of `farm`.
pub(crate) fn keyring_file(
    name: &'static str,
    farm: FarmId,
    bytes: Vec<u8>,
    keyring: &Keyring,
    mut signers: Vec<KeyId>,
) -> Good {
    signers.sort_unstable();
    let keyring = keyring.clone();
    Good {
        name,
        kind: Kind::Keyring,
        farm,
        // The farm's id is the hash of its first keyring.
        id: PayloadId(farm.0),
        signers,
        purpose: ADMIT,
        standing: Standing::Good,
        bytes,
        check: Box::new(move |bytes| {
            let reader = Reader::new(farm, bytes)
                .unwrap_or_else(|error| panic!("{name} does not open: {error}"));
            assert_eq!(reader.keyring(), &keyring, "{name}");
        }),
    }
}

/// `sealed`, which must be read as the golden roster.
pub(crate) fn roster_file(name: &'static str, sealed: Sealed) -> Good {
    let (farm, keyring) = farm::golden();
    let roster = farm::roster(farm);
    let Sealed { id, bytes } = sealed;
    Good {
        name,
        kind: Kind::Roster,
        farm,
        id,
        signers: vec![Key::Signing.id()],
        purpose: Purpose::History,
        standing: Standing::Good,
        bytes,
        check: Box::new(move |bytes| {
            let mut reader = Reader::new(farm, &keyring).expect("the golden keyring opens");
            reader
                .learn_roster(bytes)
                .unwrap_or_else(|error| panic!("{name} does not open: {error}"));
            assert_eq!(reader.roster(), Some(&roster));
            for (key, line) in [Key::OakReport, Key::ElmReport, Key::YewReport]
                .iter()
                .zip(&roster.lines)
            {
                assert_eq!(reader.reporter(&key.id()), Some(line));
            }
        }),
    }
}
