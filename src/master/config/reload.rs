//! What is different in a configuration that is read anew.

use std::collections::BTreeMap;
use std::fmt;

use super::MasterConfig;

/// What is added, removed and changed, by names, in their order.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Changed {
    /// There is now what was not there.
    pub added: Vec<String>,
    /// There was what is there no more.
    pub removed: Vec<String>,
    /// There still is, and something about it is another.
    pub changed: Vec<String>,
}

/// How a configuration differs from the one before. Its text is one sentence.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Differences {
    /// Builders, those of templates and matrices too.
    pub builders: Changed,
    /// Repositories.
    pub repositories: Changed,
    /// Requesters.
    pub requesters: Changed,
    /// Projects whose releases are looked for.
    pub releases: Changed,
    /// Slaves of which something is said.
    pub slaves: Changed,
    /// Locks of which something is said.
    pub locks: Changed,
    /// Other keys that can change while a master runs, such as `periods.lease-seconds`.
    pub keys: Vec<&'static str>,
}

impl MasterConfig {
    /// The keys that differ though a running master cannot take them over: they need a restart.
    #[must_use]
    pub fn fixed_differences(&self, new: &Self) -> Vec<&'static str> {
        let fixed = [
            ("farm", self.farm != new.farm),
            ("bus", self.bus != new.bus),
            ("keyring", self.keyring != new.keyring),
            ("signing-key", self.signing_key != new.signing_key),
            ("bus-key", self.bus_key != new.bus_key),
            ("state", self.state != new.state),
            ("telemetry.listen", self.telemetry != new.telemetry),
        ];
        those_that_differ(&fixed)
    }

    /// What else differs: all that a running master can take over.
    #[must_use]
    pub fn differences(&self, new: &Self) -> Differences {
        let keys = [
            ("periods.head-seconds", self.head_period != new.head_period),
            ("periods.silence-seconds", self.silence != new.silence),
            ("periods.lease-seconds", self.lease != new.lease),
            ("webhooks.login", self.hooks != new.hooks),
        ];
        Differences {
            builders: Changed::between(&self.builders, &new.builders),
            repositories: Changed::between(&self.repositories, &new.repositories),
            requesters: Changed::between(&self.requesters, &new.requesters),
            releases: Changed::between(&self.releases, &new.releases),
            slaves: Changed::between(&self.slaves, &new.slaves),
            locks: Changed::between(&self.locks, &new.locks),
            keys: those_that_differ(&keys),
        }
    }
}

fn those_that_differ(keys: &[(&'static str, bool)]) -> Vec<&'static str> {
    keys.iter()
        .filter_map(|(key, differs)| differs.then_some(*key))
        .collect()
}

impl Changed {
    fn between<N: Ord + ToString, T: PartialEq>(
        old: &BTreeMap<N, T>,
        new: &BTreeMap<N, T>,
    ) -> Self {
        let names = |from: &BTreeMap<N, T>, is_wanted: &dyn Fn(&N, &T) -> bool| {
            from.iter()
                .filter(|(name, value)| is_wanted(name, value))
                .map(|(name, _)| name.to_string())
                .collect()
        };
        Self {
            added: names(new, &|name, _| !old.contains_key(name)),
            removed: names(old, &|name, _| !new.contains_key(name)),
            changed: names(new, &|name, value| {
                old.get(name).is_some_and(|before| before != value)
            }),
        }
    }

    /// Whether there is nothing of it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }

    /// Such as `2 builders added (a, b), 1 changed (c)`; nothing where nothing is different.
    fn clause(&self, one: &str, many: &str) -> Option<String> {
        let parts = [
            ("added", &self.added),
            ("removed", &self.removed),
            ("changed", &self.changed),
        ];
        let mut clause = String::new();
        for (word, names) in parts.into_iter().filter(|(_, names)| !names.is_empty()) {
            let thing = match (clause.is_empty(), names.len()) {
                (false, _) => String::new(),
                (true, 1) => format!(" {one}"),
                (true, _) => format!(" {many}"),
            };
            let comma = if clause.is_empty() { "" } else { ", " };
            let named = some_of(names);
            clause = format!("{clause}{comma}{}{thing} {word} ({named})", names.len());
        }
        (!clause.is_empty()).then_some(clause)
    }
}

/// The names, or the first of them: a matrix may bring hundreds.
fn some_of(names: &[String]) -> String {
    const MOST: usize = 8;
    match names.get(..MOST) {
        Some(first) if names.len() > MOST => {
            format!("{}, and {} more", first.join(", "), names.len() - MOST)
        }
        Some(_) | None => names.join(", "),
    }
}

impl Differences {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = (!self.keys.is_empty()).then(|| format!("{} changed", self.keys.join(", ")));
        let clauses = [
            self.builders.clause("builder", "builders"),
            self.repositories.clause("repository", "repositories"),
            self.requesters.clause("requester", "requesters"),
            self.releases
                .clause("project's releases", "projects' releases"),
            self.slaves.clause("slave's rules", "slaves' rules"),
            self.locks.clause("lock", "locks"),
            keys,
        ];
        let clauses: Vec<String> = clauses.into_iter().flatten().collect();
        if clauses.is_empty() {
            f.write_str("nothing changed")
        } else {
            f.write_str(&clauses.join("; "))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::master::config::{Collapse, SlaveRules};

    const TEXT: &str = r#"
farm = "SHA256:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc"
bus = "nats://127.0.0.1:4222"
keyring = "farm.keyring"
signing-key = "signing.key"
bus-key = "bus.nk"
state = "state"
[repositories.python]
url = "https://example.org/python.git"
branches = ["main"]
[builders.a]
slave = "maple"
project = "foo"
sources = { python = "main" }
steps = [{ command = "test-foo" }]
[builders.b]
slave = "maple"
project = "foo"
sources = { python = "main" }
steps = [{ command = "test-foo" }]
"#;

    fn config() -> MasterConfig {
        MasterConfig::parse(TEXT, Path::new("/srv")).unwrap()
    }

    #[test]
    fn a_new_configuration_says_in_a_sentence_what_is_different() {
        let (old, mut new) = (config(), config());
        assert!(old.differences(&new).is_empty());
        assert_eq!(old.differences(&new).to_string(), "nothing changed");
        let b = new.builders.remove(&"b".parse().unwrap()).unwrap();
        for name in ["c", "d"] {
            new.builders.insert(name.parse().unwrap(), b.clone());
        }
        let a = new.builders.get_mut(&"a".parse().unwrap()).unwrap();
        a.collapse = Collapse::Every;
        new.slaves
            .insert("oak".parse().unwrap(), SlaveRules { capacity: 2 });
        new.lease = Duration::from_secs(5);
        let differences = old.differences(&new);
        assert!(!differences.is_empty());
        assert_eq!(
            differences.to_string(),
            "2 builders added (c, d), 1 removed (b), 1 changed (a); 1 slave's rules added (oak); \
             periods.lease-seconds changed"
        );
        assert_eq!(
            new.differences(&old).to_string(),
            "1 builder added (b), 2 removed (c, d), 1 changed (a); 1 slave's rules removed (oak); \
             periods.lease-seconds changed"
        );
    }

    #[test]
    fn a_sentence_does_not_name_hundreds_of_builders() {
        let (old, mut new) = (config(), config());
        let a = new.builders[&"a".parse().unwrap()].clone();
        for number in 100..200 {
            let name = format!("x{number}").parse().unwrap();
            new.builders.insert(name, a.clone());
        }
        assert_eq!(
            old.differences(&new).to_string(),
            "100 builders added (x100, x101, x102, x103, x104, x105, x106, x107, and 92 more)"
        );
    }

    #[test]
    fn what_a_running_master_cannot_take_over_is_named() {
        let old = config();
        assert!(old.fixed_differences(&config()).is_empty());
        let other = TEXT
            .replace("BwcH", "AwcH")
            .replace(":4222", ":4223")
            .replace("farm.keyring", "other.keyring")
            .replace("signing.key", "other.key")
            .replace("bus.nk", "other.nk")
            .replace("\"state\"", "\"other\"");
        let mut new = MasterConfig::parse(&other, Path::new("/srv")).unwrap();
        new.telemetry = Some(([127, 0, 0, 1], 9464).into());
        let fixed = [
            "farm",
            "bus",
            "keyring",
            "signing-key",
            "bus-key",
            "state",
            "telemetry.listen",
        ];
        assert_eq!(old.fixed_differences(&new), fixed);
        assert!(old.differences(&new).is_empty());
    }
}
