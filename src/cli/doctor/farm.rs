//! What the bus holds of the farm, judged.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::finding::{Judgement, Part};
use super::keyring::{RENEW, WARNING};
use crate::bus::{Stream, StreamState};
use crate::master::Builder;
use crate::model::{
    BuilderName, FarmId, Keyring, PublicKey, Roster, SigningKeyWindow, SlaveName, SlaveState,
    Timestamp,
};
use crate::status::text::age;
use crate::trust::words;

/// A keyring that the farm id vouches for.
pub(super) fn judge_keyring(keyring: &Keyring, farm: &FarmId) -> Judgement {
    Judgement::ok(format!("{}, {farm}, {}", keyring.name, words(farm)))
}

/// The bus holds no keyring of this farm, or not this farm's.
pub(super) fn judge_no_keyring(sentence: &str, part: Part) -> Judgement {
    match part {
        Part::Slave | Part::Viewer => Judgement::fail(
            sentence,
            match part {
                Part::Slave => "this slave has nobody to believe, so it starts nothing",
                Part::Master | Part::Viewer => "nothing of the farm can be shown",
            },
            format!(
                "compare the farm id in {} with the farm's published one; if they are the same, its operator starts \
                 pybots master run",
                part.file()
            ),
        ),
        Part::Master => Judgement::fail(
            sentence,
            "slaves have nobody to believe, so they start nothing",
            "start it: pybots master run publishes the keyring",
        ),
    }
}

/// When a key may sign, by the keyring.
pub(super) fn window_of(keyring: &Keyring, key: PublicKey) -> Option<&SigningKeyWindow> {
    let mut windows = keyring.signing_keys.iter();
    windows.find(|window| window.key == key)
}

/// The key that the master signs with; none if there is no such key in the keyring.
pub(super) fn judge_signing_key(window: Option<&SigningKeyWindow>, now: Timestamp) -> Judgement {
    let effect = "nothing that the master signs is believed, so slaves start nothing";
    let Some(SigningKeyWindow {
        not_before,
        not_after,
        ..
    }) = window
    else {
        return Judgement::fail(
            "the signing key is not in the farm's keyring",
            effect,
            "correct signing-key or keyring in master.toml: they belong to two farms",
        );
    };
    let left = not_after.since(now);
    if now < *not_before {
        let found = format!("in force from {not_before} on, which is yet to come");
        return Judgement::fail(found, effect, "wait, or set this machine's clock");
    }
    if left == Duration::ZERO {
        return Judgement::fail(format!("ended at {not_after}"), effect, RENEW);
    }
    let found = format!(
        "the master may sign until {not_after}, {} from now",
        age(left)
    );
    if left < WARNING {
        Judgement::warn(found, "then slaves start nothing any more", RENEW)
    } else {
        Judgement::ok(found)
    }
}

/// What is known of one stream.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Seen {
    Missing,
    /// There, and that is all that this login may know.
    There,
    Described(StreamState),
}

pub(super) fn judge_streams(streams: &[(Stream, Seen)]) -> Judgement {
    let missing: Vec<&str> = streams
        .iter()
        .filter(|(_, seen)| *seen == Seen::Missing)
        .map(|(stream, _)| stream.name())
        .collect();
    if !missing.is_empty() {
        return Judgement::fail(
            format!("missing: {}", missing.join(", ")),
            "the farm stands still",
            "start pybots master run: it makes those that are missing",
        );
    }
    let mut messages = 0;
    let mut described = 0;
    let mut differing = Vec::new();
    let mut strange = false;
    for (stream, seen) in streams {
        if let Seen::Described(state) = seen {
            messages += state.messages;
            described += 1;
            strange |= state.differences.contains(&"subjects");
            if !state.differences.is_empty() {
                let names = state.differences.join(", ");
                differing.push(format!("{} ({names})", stream.name()));
            }
        }
    }
    if strange {
        return Judgement::fail(
            "the streams there are those of another farm",
            "a master started so would take them away from that farm",
            "correct bus or farm in master.toml: each farm has a bus of its own",
        );
    }
    if !differing.is_empty() {
        return Judgement::warn(
            format!("not set as the farm needs them: {}", differing.join(", ")),
            "messages that count may be dropped, or not be seen",
            "start pybots master run again: it sets them, or says why it cannot",
        );
    }
    if described == 0 {
        return Judgement::ok(format!(
            "all {} that this login may read are there",
            streams.len()
        ));
    }
    Judgement::ok(format!(
        "all {} are there and set as they should be, with {messages} messages",
        streams.len()
    ))
}

/// When the master's silence is to be seen to, and when slaves start nothing any more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Silence {
    pub(super) odd: Duration,
    pub(super) deadly: Duration,
}

/// The newest head's time; none if there is no head.
pub(super) fn judge_head(head: Option<Timestamp>, silence: Silence, now: Timestamp) -> Judgement {
    let effect = "without a fresh word of the master slaves start nothing";
    let fix = "pybots master run must be running: the operator looks at its log, and whether it reaches the bus";
    let Some(head) = head else {
        return Judgement::fail("the master has never spoken", effect, fix);
    };
    let since = now.since(head);
    let found = format!("the master spoke {} ago", age(since));
    if since > silence.deadly {
        let limit = age(silence.deadly);
        Judgement::fail(format!("{found}, more than {limit}"), effect, fix)
    } else if since > silence.odd {
        let effect = format!(
            "when it has been silent for {}, slaves start nothing any more",
            age(silence.deadly)
        );
        Judgement::warn(found, effect, fix)
    } else {
        Judgement::ok(found)
    }
}

/// A head that is not believed.
pub(super) fn judge_bad_head(why: &str) -> Judgement {
    Judgement::fail(
        format!("the newest word of the master does not verify: {why}"),
        "without a believable word of the master slaves start nothing",
        "if the clock and the signing key are in order, somebody tampers with the bus: tell the operator",
    )
}

/// The farm's slaves: for a master, whether those of its builders are among them; and which give no sign of life.
pub(super) fn judge_roster(
    roster: Option<&Roster>,
    builders: &BTreeMap<BuilderName, Builder>,
    silent: &[SlaveName],
) -> Judgement {
    const FIX: &str = "pybots master approve LINE, with the line that pybots slave init printed on the slave's machine";
    let open: Vec<_> = roster
        .iter()
        .flat_map(|roster| &roster.lines)
        .filter(|line| line.closed.is_none())
        .collect();
    if open.is_empty() {
        return Judgement::warn("no slave is approved", "nobody builds anything", FIX);
    }
    let serves = |builder: &BuilderName, slave: &SlaveName| {
        open.iter()
            .any(|line| line.slave == *slave && line.builders.contains(builder))
    };
    let orphans: Vec<String> = builders
        .iter()
        .filter(|(builder, recipe)| !serves(builder, &recipe.slave))
        .map(|(builder, recipe)| format!("{builder} (slave {})", recipe.slave))
        .collect();
    if !orphans.is_empty() {
        return Judgement::warn(
            format!(
                "no approved slave serves what master.toml gives it: {}",
                orphans.join(", ")
            ),
            "these builders build nothing",
            FIX,
        );
    }
    if !silent.is_empty() {
        let names: Vec<&str> = silent.iter().map(SlaveName::as_str).collect();
        return Judgement::warn(
            format!("no recent sign of life of {}", names.join(", ")),
            "their builders build nothing until they are back; commands wait for them, and expire",
            "start it there: pybots slave run; or ask its owner",
        );
    }
    let mut found = match open.len() {
        1 => "1 slave:".to_owned(),
        count => format!("{count} slaves:"),
    };
    for (number, line) in open.iter().enumerate() {
        let separator = if number == 0 { "" } else { "," };
        let _ = write!(found, "{separator} {} ({})", line.slave, state(line.state));
    }
    Judgement::ok(found)
}

fn state(state: SlaveState) -> &'static str {
    match state {
        SlaveState::Probation => "on probation",
        SlaveState::Active => "active",
        SlaveState::Paused => "paused",
        SlaveState::Revoked => "revoked",
    }
}

/// What a slave knows of itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Own<'a> {
    pub(super) name: &'a SlaveName,
    pub(super) key: PublicKey,
    pub(super) builders: &'a [&'a BuilderName],
    /// Its line for the operator.
    pub(super) application: &'a str,
}

/// This slave's line on the roster.
pub(super) fn judge_line(roster: Option<&Roster>, own: Own<'_>) -> Judgement {
    let Own {
        name,
        key,
        builders,
        application,
    } = own;
    let approve = format!("the operator runs: pybots master approve {application}");
    let Some(line) = roster.and_then(|roster| roster.line(name)) else {
        return Judgement::warn(
            format!("{name} is not approved yet"),
            "it gets no commands",
            approve,
        );
    };
    if line.report_key != key {
        return Judgement::fail(
            format!("the farm knows another machine as {name}, with another report key"),
            "what this machine reports is not believed",
            "put the old keys back, or join under a new name: pybots slave init --name",
        );
    }
    match line.state {
        SlaveState::Paused | SlaveState::Revoked => {
            return Judgement::warn(
                format!("{name} is {} by the operator", state(line.state)),
                "it gets no commands",
                "ask the operator why",
            );
        }
        SlaveState::Probation | SlaveState::Active => {}
    }
    let differing: Vec<&str> = line
        .builders
        .iter()
        .filter(|builder| !builders.contains(builder))
        .chain(
            builders
                .iter()
                .copied()
                .filter(|builder| !line.builders.contains(builder)),
        )
        .map(BuilderName::as_str)
        .collect();
    if !differing.is_empty() {
        return Judgement::warn(
            format!(
                "slave.toml and the roster differ in the builders {}",
                differing.join(", ")
            ),
            "these builders get no commands, or refuse them",
            format!("correct [builders] in slave.toml; or {approve}"),
        );
    }
    Judgement::ok(format!("{name} is {} for its builders", state(line.state)))
}
