//! The service of systemd that runs the slave, against what would be written now.

use std::fs;
use std::io;
use std::path::Path;

use super::finding::{Judgement, quoted};
use super::patient::Read;
use crate::cli::slave::install::{self, Scope, UNIT};
use crate::slave::SlaveConfig;

/// A service, as it was found.
struct Service {
    scope: Scope,
    text: String,
    wanted: String,
}

/// Looks for a service of the user and one of the machine.
pub(super) fn examine(slave: &Read<SlaveConfig>) -> Vec<Judgement> {
    let file = fs::canonicalize(&slave.path).unwrap_or_else(|_| slave.path.clone());
    let mut judged = Vec::new();
    for scope in [Scope::User, Scope::System] {
        // Without a home nobody has a service there.
        let Ok(place) = install::place(scope) else {
            continue;
        };
        let text = match fs::read_to_string(&place) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                let why = format!("{} cannot be read: {error}", place.display());
                judged.push(Judgement::skip(why));
                continue;
            }
        };
        let wanted = match install::text(scope, &slave.config, &file) {
            Ok(wanted) => wanted,
            Err(failure) => {
                judged.push(Judgement::skip(failure.sentence()));
                continue;
            }
        };
        let service = Service {
            scope,
            text,
            wanted,
        };
        if service.is_of_this_slave() {
            judged.push(service.judge(&place, &file, install::state(scope).as_deref()));
        }
    }
    if judged.is_empty() {
        judged.push(Judgement::ok(
            "no service; the slave runs only while you run it",
        ));
    }
    judged
}

impl Service {
    /// Whether it runs a slave with the same slave.toml, be it by another program.
    fn is_of_this_slave(&self) -> bool {
        configuration(&self.text).is_some_and(|file| configuration(&self.wanted) == Some(file))
    }

    /// `state` is what systemd says of it, if it says anything.
    fn judge(&self, place: &Path, file: &Path, state: Option<&str>) -> Judgement {
        let place = place.display();
        let (option, systemctl) = match self.scope {
            Scope::User => ("--user", "systemctl --user"),
            Scope::System => ("--system", "systemctl"),
        };
        if self.text != self.wanted {
            return Judgement::warn(
                format!("{place} is not what would be written now"),
                "the slave runs as slave.toml and this program were when it was written, or is kept from what it needs",
                format!(
                    "run pybots slave install again; it shows the difference: pybots slave install {option} --config {}",
                    quoted(file)
                ),
            );
        }
        match state {
            None => Judgement::ok(format!("{place}, as it would be written now")),
            Some(state @ ("active" | "activating" | "reloading")) => {
                Judgement::ok(format!("{place}, as it would be written now, is {state}"))
            }
            Some(state) => Judgement::warn(
                format!("{place} is {state}"),
                "the service does not run the slave",
                format!("{systemctl} start {UNIT}; why it ended says {systemctl} status {UNIT}"),
            ),
        }
    }
}

/// What a unit gives its slave as the configuration.
fn configuration(unit: &str) -> Option<&str> {
    let command = unit.lines().find(|line| line.starts_with("ExecStart="))?;
    command
        .split_once(" slave run --config ")
        .map(|(_, file)| file)
}

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::*;

    #[test]
    fn a_service_is_in_order_if_it_is_as_it_would_be_written_and_does_not_stand_still() {
        let unit = |program: &str, file: &str| {
            format!("[Service]\nExecStart={program} slave run --config {file}\n")
        };
        let service = |text: String| Service {
            scope: Scope::User,
            text,
            wanted: unit("/bin/pybots", "/s/slave.toml"),
        };
        let same = unit("/bin/pybots", "/s/slave.toml");
        let moved = unit("/old/pybots", "/s/slave.toml");
        let other = unit("/bin/pybots", "/t/slave.toml");
        assert!(service(same.clone()).is_of_this_slave());
        assert!(service(moved.clone()).is_of_this_slave());
        assert!(!service(other).is_of_this_slave());
        assert!(!service(String::new()).is_of_this_slave());
        for (text, state, expected) in [
            (&same, None, State::Ok),
            (&same, Some("active"), State::Ok),
            (&same, Some("failed"), State::Warn),
            (&moved, Some("active"), State::Warn),
        ] {
            let judgement = service(text.clone()).judge(
                Path::new("/u/unit"),
                Path::new("/s/slave.toml"),
                state,
            );
            assert_eq!(judgement.state(), expected, "{judgement:?}");
        }
    }
}
