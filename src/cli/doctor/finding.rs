//! What was looked at, and what was found.

use std::collections::BTreeSet;

use serde::Serialize;

/// A thing that is looked at. Its id is stable.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Check {
    /// The configuration files.
    Config,
    /// The private keys.
    Keys,
    /// What a command may run here.
    Scripts,
    /// What the slave's owner said: pause, drain, panic, quiet hours.
    Owner,
    /// What must be left of the machine, and how it is counted what scripts use.
    Limits,
    /// What the slave has not said yet.
    Backlog,
    /// The service that runs the slave.
    Service,
    /// Whether the bus lets us in.
    Bus,
    /// This machine's clock against the bus's.
    Clock,
    /// Whether the farm's first keyring is the one that the farm id names.
    FarmId,
    /// The newest keyring, and who has it.
    Keyring,
    /// How long the master may still sign.
    SigningKey,
    /// The farm's streams.
    Streams,
    /// The master's last word.
    Head,
    /// The slaves of the farm.
    Roster,
    /// This slave's place among them.
    SlaveOnRoster,
    /// Room to work.
    Disk,
    /// The bus's program.
    NatsServer,
    /// The program `git`.
    Git,
    /// The program `python3`.
    Python3,
    /// A C compiler.
    Cc,
    /// Means to keep scripts apart from the machine.
    Sandbox,
}

impl Check {
    /// The id, as people and programs see it.
    pub(super) fn id(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Keys => "keys",
            Self::Scripts => "scripts",
            Self::Owner => "owner",
            Self::Limits => "limits",
            Self::Backlog => "backlog",
            Self::Service => "service",
            Self::Bus => "bus",
            Self::Clock => "clock",
            Self::FarmId => "farm-id",
            Self::Keyring => "keyring",
            Self::SigningKey => "signing-key",
            Self::Streams => "streams",
            Self::Head => "head",
            Self::Roster => "roster",
            Self::SlaveOnRoster => "slave-on-roster",
            Self::Disk => "disk",
            Self::NatsServer => "nats-server",
            Self::Git => "git",
            Self::Python3 => "python3",
            Self::Cc => "cc",
            Self::Sandbox => "sandbox",
        }
    }
}

impl Serialize for Check {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.id())
    }
}

/// Which file speaks of this machine, and what that makes of it.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Part {
    /// `slave.toml`.
    Slave,
    /// `master.toml`.
    Master,
    /// `farm.toml`.
    Viewer,
}

impl Part {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Slave => "slave",
            Self::Master => "master",
            Self::Viewer => "viewer",
        }
    }

    /// The usual name of its file.
    pub(super) fn file(self) -> &'static str {
        match self {
            Self::Slave => "slave.toml",
            Self::Master => "master.toml",
            Self::Viewer => "farm.toml",
        }
    }
}

/// What is to be said of one thing. Nothing is wrong without an effect and a fix.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Judgement {
    /// In order.
    Ok(String),
    /// Works, but should be seen to.
    Warn(Trouble),
    /// Does not work, or is not safe.
    Fail(Trouble),
    /// Was not looked at, or does not count yet, and why.
    Skip(String),
}

/// Something that is wrong.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Trouble {
    /// What was found.
    pub(super) found: String,
    /// What follows from it.
    pub(super) effect: String,
    /// One command or action that mends it.
    pub(super) fix: String,
}

/// The state of a finding.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum State {
    /// In order.
    Ok,
    /// Should be seen to.
    Warn,
    /// Wrong.
    Fail,
    /// Not looked at, or does not count yet.
    Skip,
}

impl Judgement {
    pub(super) fn ok(found: impl Into<String>) -> Self {
        Self::Ok(found.into())
    }

    pub(super) fn skip(why: impl Into<String>) -> Self {
        Self::Skip(why.into())
    }

    pub(super) fn warn(
        found: impl Into<String>,
        effect: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self::Warn(Trouble::new(found, effect, fix))
    }

    pub(super) fn fail(
        found: impl Into<String>,
        effect: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self::Fail(Trouble::new(found, effect, fix))
    }

    pub(super) fn state(&self) -> State {
        match self {
            Self::Ok(_) => State::Ok,
            Self::Warn(_) => State::Warn,
            Self::Fail(_) => State::Fail,
            Self::Skip(_) => State::Skip,
        }
    }

    /// The sentence that is always there.
    pub(super) fn found(&self) -> &str {
        match self {
            Self::Ok(found) | Self::Skip(found) => found,
            Self::Warn(trouble) | Self::Fail(trouble) => &trouble.found,
        }
    }

    pub(super) fn trouble(&self) -> Option<&Trouble> {
        match self {
            Self::Warn(trouble) | Self::Fail(trouble) => Some(trouble),
            Self::Ok(_) | Self::Skip(_) => None,
        }
    }

    /// For a check of one part of this machine.
    pub(super) fn of(self, check: Check, part: Part) -> Finding {
        Finding {
            check,
            about: BTreeSet::from([part]),
            judgement: self,
        }
    }

    /// For a check of the machine as such.
    pub(super) fn of_machine(self, check: Check) -> Finding {
        Finding {
            check,
            about: BTreeSet::new(),
            judgement: self,
        }
    }
}

impl Trouble {
    pub(super) fn new(
        found: impl Into<String>,
        effect: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self {
            found: found.into(),
            effect: effect.into(),
            fix: fix.into(),
        }
    }
}

/// What is to be said of one thing, and whom it concerns.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Finding {
    pub(super) check: Check,
    /// Empty: the machine as such.
    pub(super) about: BTreeSet<Part>,
    pub(super) judgement: Judgement,
}

/// All findings, in the order of the checks; the same is said once for all whom it concerns.
#[derive(Debug)]
pub(super) struct Examination {
    findings: Vec<Finding>,
}

impl Examination {
    pub(super) fn new(mut all: Vec<Finding>) -> Self {
        all.sort_by(|a, b| (a.check, &a.about).cmp(&(b.check, &b.about)));
        // What was found in one way needs no word that it was not looked at in another.
        let looked_at: BTreeSet<(Check, Part)> = all
            .iter()
            .filter(|finding| finding.judgement.state() != State::Skip)
            .flat_map(|finding| finding.about.iter().map(|part| (finding.check, *part)))
            .collect();
        all.retain(|finding| {
            let known = |part: &Part| looked_at.contains(&(finding.check, *part));
            finding.judgement.state() != State::Skip || !finding.about.iter().any(known)
        });
        let mut findings: Vec<Finding> = Vec::new();
        for finding in all {
            let same = findings
                .iter_mut()
                .find(|said| said.check == finding.check && said.judgement == finding.judgement);
            match same {
                Some(said) => said.about.extend(finding.about),
                None => findings.push(finding),
            }
        }
        Self { findings }
    }

    pub(super) fn findings(&self) -> &[Finding] {
        &self.findings
    }

    pub(super) fn count(&self, state: State) -> usize {
        self.findings
            .iter()
            .filter(|finding| finding.judgement.state() == state)
            .count()
    }
}

/// A path as a shell takes it.
pub(super) fn quoted(path: &std::path::Path) -> String {
    let path = path.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@%=".contains(c);
    if !path.is_empty() && path.chars().all(plain) {
        path.into_owned()
    } else {
        format!("'{}'", path.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_said_once_and_in_the_order_of_the_checks() {
        let examination = Examination::new(vec![
            Judgement::ok("6 GiB free").of(Check::Disk, Part::Slave),
            Judgement::ok("reached").of(Check::Bus, Part::Viewer),
            Judgement::fail("refused", "nothing works", "ask").of(Check::Bus, Part::Master),
            Judgement::ok("reached").of(Check::Bus, Part::Slave),
            Judgement::skip("not tried").of(Check::Bus, Part::Slave),
        ]);
        let said: Vec<_> = examination
            .findings()
            .iter()
            .map(|finding| (finding.check.id(), finding.about.len()))
            .collect();
        assert_eq!(said, [("bus", 2), ("bus", 1), ("disk", 1)]);
        assert_eq!(
            [State::Fail, State::Warn].map(|state| examination.count(state)),
            [1, 0]
        );
    }

    #[test]
    fn a_path_in_a_fix_can_be_pasted_into_a_shell() {
        for (path, expected) in [
            ("/home/bob/slave.toml", "/home/bob/slave.toml"),
            ("/home/bob/a farm", "'/home/bob/a farm'"),
            ("/tmp/$(id)", "'/tmp/$(id)'"),
            ("/tmp/it's", r"'/tmp/it'\''s'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(std::path::Path::new(path)), expected);
        }
    }
}
