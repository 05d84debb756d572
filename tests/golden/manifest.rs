//! What is said of each file, for readers in any language.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use pybots::model::KeyId;
use pybots::trust::{Purpose, Standing};

use crate::farm::{self, Key, NOW};
use crate::{bad, good};

#[derive(serde::Serialize)]
struct Manifest {
    /// Microseconds since the Unix epoch: when `admit` takes place.
    now: u64,
    /// The golden farm, whose keyring and roster are `good/keyring.cbor` and `good/roster.cbor`.
    farm: String,
    /// Whose requests its master reads, and their public keys.
    requesters: BTreeMap<&'static str, String>,
    good: Vec<GoodFile>,
    bad: Vec<BadFile>,
}

#[derive(serde::Serialize)]
struct GoodFile {
    file: String,
    kind: &'static str,
    farm: String,
    id: String,
    signers: Vec<String>,
    purpose: &'static str,
    standing: &'static str,
}

#[derive(serde::Serialize)]
struct BadFile {
    file: String,
    kind: &'static str,
    farm: String,
    id: Option<String>,
    signers: Vec<String>,
    purpose: &'static str,
    code: &'static str,
    why: &'static str,
}

fn manifest() -> Manifest {
    let good = good::all().into_iter().map(|good| GoodFile {
        file: format!("good/{}.cbor", good.name),
        kind: good.kind.name(),
        farm: HEXLOWER.encode(&good.farm.0),
        id: good.id.to_hex(),
        signers: signers(&good.signers),
        purpose: purpose(good.purpose),
        standing: match good.standing {
            Standing::Good => "good",
            Standing::Unproven => "unproven",
        },
    });
    let bad = bad::all().into_iter().map(|bad| BadFile {
        file: format!("bad/{}.cbor", bad.name),
        kind: bad.kind.name(),
        farm: HEXLOWER.encode(&bad.farm.0),
        id: bad.id.map(|id| id.to_hex()),
        signers: signers(&bad.signers),
        purpose: purpose(bad.purpose),
        code: bad.code,
        why: bad.why,
    });
    Manifest {
        now: NOW.0,
        farm: HEXLOWER.encode(&farm::golden().0.0),
        requesters: BTreeMap::from([("ada", HEXLOWER.encode(&Key::AdaRequester.public().0))]),
        good: good.collect(),
        bad: bad.collect(),
    }
}

fn signers(keys: &[KeyId]) -> Vec<String> {
    keys.iter().map(|key| HEXLOWER.encode(&key.0)).collect()
}

fn purpose(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Admit { .. } => "admit",
        Purpose::History => "history",
    }
}

/// The manifest, as its file must read.
pub(crate) fn text() -> String {
    let mut text = serde_json::to_string_pretty(&manifest()).expect("it is all text and numbers");
    text.push('\n');
    text
}

/// The files that it lists.
pub(crate) fn files() -> Vec<String> {
    let Manifest { good, bad, .. } = manifest();
    let good = good.into_iter().map(|it| it.file);
    good.chain(bad.into_iter().map(|it| it.file)).collect()
}
