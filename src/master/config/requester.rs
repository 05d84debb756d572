//! Who may ask the master for what.

use std::collections::{BTreeMap, BTreeSet};

use globset::Glob;

use super::faults::{Place, did_you_mean};
use super::section::{At, Section};
use crate::bus::bus_public_key;
use crate::model::{BuilderName, PublicKey, RequesterName, Verb};
use crate::trust::SoundKey;

/// Somebody who may ask.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Requester {
    /// Signs the requests.
    pub key: PublicKey,
    /// The public nkey of the bus login, if it has one of its own.
    pub login: Option<String>,
    /// What may be asked for.
    pub may: BTreeSet<Verb>,
    /// Of which builders.
    pub builders: BTreeSet<BuilderName>,
    /// Of which builders, whatever their names.
    pub every_builder: Everything,
}

/// Whether a rule holds for all there are, or for those that it names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Everything {
    /// All.
    Yes,
    /// Those named.
    No,
}

impl Requester {
    /// Whether `verb` may be asked for, of `builder` where the wish is about one.
    #[must_use]
    pub fn may(&self, verb: Verb, builder: Option<&BuilderName>) -> bool {
        let here = builder.is_none_or(|builder| {
            self.every_builder == Everything::Yes || self.builders.contains(builder)
        });
        self.may.contains(&verb) && here
    }
}

/// Reads who may ask for what.
pub(super) fn read(
    top: &mut Section<'_, '_>,
    builders: &BTreeMap<BuilderName, Place>,
) -> BTreeMap<RequesterName, Requester> {
    let mut keys: BTreeMap<PublicKey, String> = BTreeMap::new();
    let mut requesters = BTreeMap::new();
    for (name, mut section) in top.named::<RequesterName>("requesters") {
        section.need("key");
        let key = section.optional::<PublicKey>("key");
        let login = read_login(&mut section);
        let login_key = login
            .as_ref()
            .and_then(|login| bus_public_key(&login.value));
        for (field, at, key) in [
            (
                "key",
                key.as_ref().map(|key| &key.place),
                key.as_ref().map(|key| key.value),
            ),
            ("login", login.as_ref().map(|login| &login.place), login_key),
        ] {
            let (Some(place), Some(key)) = (at, key) else {
                continue;
            };
            if let Err(error) = SoundKey::new(key) {
                section.fault(place, field, error);
            }
            // What a bus chooses and a login signs must never be able to be a request.
            let whose = section.owner.within(field).table;
            if let Some(other) = keys.insert(key, whose) {
                let message = format!("is the key that {other} is, too: each is a key of its own");
                section.fault(place, field, message);
            }
        }
        let may = section.full_list::<Verb>("may").unwrap_or_default();
        let may: BTreeSet<Verb> = may.into_iter().map(|verb| verb.value).collect();
        // Only a release is about no builder.
        if may.iter().any(|verb| *verb != Verb::Release) {
            section.need("builders");
            section.check_full("builders");
        }
        let globs = section.list::<String>("builders").unwrap_or_default();
        let mut allowed = BTreeSet::new();
        let mut every_builder = Everything::No;
        for At { place, value } in globs {
            if value == "*" {
                every_builder = Everything::Yes;
                continue;
            }
            match matching(&value, builders) {
                Ok(found) => allowed.extend(found),
                Err(message) => section.fault(&place, "builders", message),
            }
        }
        section.finish();
        if let (Some(name), Some(key)) = (name, key) {
            let requester = Requester {
                key: key.value,
                login: login.map(|login| login.value),
                may,
                builders: allowed,
                every_builder,
            };
            requesters.insert(name, requester);
        }
    }
    requesters
}

/// The public nkey of a login.
pub(super) fn read_login(section: &mut Section<'_, '_>) -> Option<At<String>> {
    let login = section.optional::<String>("login")?;
    if bus_public_key(&login.value).is_some() {
        return Some(login);
    }
    // No message repeats it: it may be the seed.
    let message = "is no public nkey of a user (U…)";
    section.fault(&login.place, "login", message);
    None
}

fn matching(
    pattern: &str,
    builders: &BTreeMap<BuilderName, Place>,
) -> Result<Vec<BuilderName>, String> {
    let glob = Glob::new(pattern).map_err(|error| error.to_string())?;
    let matcher = glob.compile_matcher();
    let names = builders.keys();
    let found: Vec<BuilderName> = names
        .filter(|name| matcher.is_match(name.as_str()))
        .cloned()
        .collect();
    if found.is_empty() {
        let guess = did_you_mean(pattern, builders.keys().map(BuilderName::as_str));
        return Err(format!("there is no builder {pattern}{guess}"));
    }
    Ok(found)
}
