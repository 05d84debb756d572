//! Who may ask the master for what.

use std::collections::BTreeSet;

use crate::model::{BuilderName, PublicKey, Verb};

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
