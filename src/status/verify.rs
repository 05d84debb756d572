//! Checks a bundle with nothing but the farm's id: who said what of one build, and whether it fits together.
//!
//! Pure: no bus, no clock. Every part is opened by [`trust::Reader`](crate::trust::Reader) and has to be there for a
//! reason; what nothing asks for is refused, so that every byte of a bundle matters. A part that is missing where the
//! streams themselves may have lost it (a piece of the log, the end of a build under way) is said, and is no fault.
//!
//! What this cannot tell: that what was said is true, or that a moment is right. Times are the signers' own clocks.

mod log;
mod report;

use std::fmt;

use bytes::Bytes;

use crate::model::{
    Cancel, Command, FarmId, KeyId, Keyring, Report, Roster, RosterLine, SlaveState, Text, Verdict,
};
use crate::trust::{Fork, KeyringError, Learnt, Purpose, Reader, Standing, Verified, key_id};
use crate::wire::{Bundle, Payload};

use super::build::BuildStatus;
pub use log::{Digested, StepLog};

/// A part of a bundle.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Part {
    /// The whole.
    Bundle,
    /// A keyring, by its place from 1.
    Keyring(usize),
    /// A keyring that was given beside the bundle, by its place from 1.
    NewerKeyring(usize),
    /// A roster, by its place from 1.
    Roster(usize),
    /// The command.
    Command,
    /// The command that cancels it.
    Cancel,
    /// A report, by its place from 1.
    Report(usize),
    /// A piece of the log, by its place from 1.
    Piece(usize),
    /// The log of a step, from 1.
    Log(u32),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bundle => f.write_str("the bundle"),
            Self::Keyring(place) => write!(f, "keyring no. {place}"),
            Self::NewerKeyring(place) => write!(f, "given keyring no. {place}"),
            Self::Roster(place) => write!(f, "roster no. {place}"),
            Self::Command => f.write_str("the command"),
            Self::Cancel => f.write_str("the cancel"),
            Self::Report(place) => write!(f, "report no. {place}"),
            Self::Piece(place) => write!(f, "piece no. {place} of the log"),
            Self::Log(step) => write!(f, "the log of step {step}"),
        }
    }
}

/// A reason why a bundle does not verify.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// Stable code of the rule that failed, such as `E-SIGNATURE`.
    pub code: &'static str,
    /// Where.
    pub part: Part,
    /// A sentence.
    pub why: Text,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, part, why } = self;
        if *part != Part::Bundle {
            write!(f, "{part}: ")?;
        }
        write!(f, "{why} ({code})")
    }
}

/// What came of checking a bundle. Whatever it holds beside the findings was signed by whom it names.
#[derive(Clone, Debug)]
pub struct Verification {
    /// The farm that was pinned.
    pub farm: FarmId,
    /// The keyring that everything was judged by.
    pub keyring: Option<Keyring>,
    /// The roster that gives the report key to the slave.
    pub roster: Option<Verified<Roster>>,
    /// What was ordered, and what its slave's reports make of it.
    pub build: Option<BuildStatus>,
    /// The order to stop it, if there was one.
    pub cancel: Option<Verified<Command>>,
    /// The reports that fit, by the slave's own count.
    pub reports: Vec<Verified<Report>>,
    /// The log of each step that printed something or ended; none if the log was left out.
    pub logs: Option<Vec<StepLog>>,
    /// What is worth knowing and is no fault.
    pub notes: Vec<Text>,
    /// Why it does not verify; if there is nothing, it does.
    pub findings: Vec<Finding>,
}

impl Verification {
    fn new(farm: FarmId) -> Self {
        Self {
            farm,
            keyring: None,
            roster: None,
            build: None,
            cancel: None,
            reports: Vec::new(),
            logs: None,
            notes: Vec::new(),
            findings: Vec::new(),
        }
    }

    /// Whether everything in the bundle is what it claims to be, and fits together.
    #[must_use]
    pub fn is_verified(&self) -> bool {
        self.findings.is_empty()
    }

    /// The verdict that the slave signed; none if no report in the bundle ends the build.
    #[must_use]
    pub fn verdict(&self) -> Option<Verdict> {
        self.build.as_ref()?.ending.as_ref()?.body.verdict()
    }

    /// How many bytes of output the slave kept and the bundle lacks.
    #[must_use]
    pub fn missing_log(&self) -> u64 {
        let logs = self.logs.iter().flatten();
        logs.map(|log| log.missing).fold(0, u64::saturating_add)
    }

    /// The roster's line of the slave.
    #[must_use]
    pub fn slave(&self) -> Option<&RosterLine> {
        let order = &self.build.as_ref()?.order;
        let lines = &self.roster.as_ref()?.body().lines;
        lines
            .iter()
            .find(|line| key_id(&line.report_key) == order.report_key && line.slave == order.slave)
    }

    fn fault(&mut self, code: &'static str, part: Part, why: impl fmt::Display) {
        let why = Text::tidy(&why.to_string());
        self.findings.push(Finding { code, part, why });
    }

    fn note(&mut self, text: impl fmt::Display) {
        self.notes.push(Text::tidy(&text.to_string()));
    }

    /// Opens a part; what does not open is a finding.
    fn open<T: Payload>(
        &mut self,
        reader: &Reader,
        part: Part,
        bytes: &[u8],
    ) -> Option<Verified<T>> {
        match reader.open(bytes, Purpose::History) {
            Ok(verified) => Some(verified),
            Err(error) => {
                self.fault(error.code(), part, chain(&error));
                None
            }
        }
    }

    fn unnecessary(&mut self, part: Part, why: &str) {
        self.fault("E-UNNECESSARY", part, why);
    }
}

/// Checks a bundle as it lies in a file; as [`verify()`].
#[must_use]
pub fn verify_file(farm: FarmId, file: &Bytes, newer: &[Bytes]) -> Verification {
    match Bundle::parse(file) {
        Ok(bundle) => verify(farm, &bundle, newer),
        Err(error) => {
            let mut verification = Verification::new(farm);
            verification.fault(error.code(), Part::Bundle, chain(&error));
            verification
        }
    }
}

/// Checks a bundle by its own keyrings and by those in `newer`, in whatever order they come.
#[must_use]
pub fn verify(farm: FarmId, bundle: &Bundle, newer: &[Bytes]) -> Verification {
    let mut found = Verification::new(farm);
    let Some(mut reader) = keyrings(&mut found, bundle) else {
        return found;
    };
    let own = reader.keyring().position;
    judge_by_newer(&mut found, &mut reader, newer);
    check(&mut found, reader, bundle);
    if let Some(Keyring { position, .. }) = found.keyring {
        found.note(if own < position {
            format!("judged by keyring {position}, which was given; the bundle's own is {own}")
        } else {
            format!("judged by keyring {position}; a newer one, if there is one, may say otherwise")
        });
    }
    found
}

fn check(found: &mut Verification, mut reader: Reader, bundle: &Bundle) {
    let Some(mut build) = command(found, &reader, bundle) else {
        return;
    };
    cancel(found, &reader, &build, bundle);
    // Without the roster nothing that the slave signed can be opened, and each of its messages would only say so again.
    if roster(found, &mut reader, &build, bundle) {
        report::check(found, &reader, &mut build, bundle);
        log::check(found, &reader, &build, bundle);
    }
    if !build.proven {
        found.fault(
            "E-UNPROVEN",
            Part::Command,
            "it is signed by a key that was stolen, and no report answers it",
        );
    }
    found.build = Some(build);
    if let Some(line) = found.slave() {
        let closed = line
            .closed
            .map(|at| format!("slave {} left the farm at {at}", line.slave));
        let revoked = (line.state == SlaveState::Revoked)
            .then(|| format!("the operator has cut slave {} off since", line.slave));
        for note in closed.into_iter().chain(revoked) {
            found.note(note);
        }
    }
}

/// Walks the keyrings of the bundle: the first of each generation, and the newest.
fn keyrings(found: &mut Verification, bundle: &Bundle) -> Option<Reader> {
    let Some(first) = bundle.keyrings.first() else {
        found.fault("E-MISSING", Part::Bundle, "the bundle has no keyring");
        return None;
    };
    let mut reader = match Reader::new(found.farm, first) {
        Ok(reader) => reader,
        Err(error) => {
            found.fault(error.code(), Part::Keyring(1), chain(&error));
            return None;
        }
    };
    for (place, bytes) in (1..).zip(&bundle.keyrings).skip(1) {
        let before = reader.keyring().position;
        match reader.learn_keyring(bytes) {
            Ok(Learnt::Newer) if before.serial > 0 => {
                let why = "a newer one follows, which makes it unnecessary";
                found.unnecessary(Part::Keyring(place - 1), why);
            }
            // What two keyrings contradict each other is said once, below.
            Ok(Learnt::Newer | Learnt::Forked) => {}
            Ok(Learnt::Nothing) => {
                let why = "it says nothing that those before it do not";
                found.unnecessary(Part::Keyring(place), why);
            }
            Err(error) => {
                found.fault(error.code(), Part::Keyring(place), chain(&error));
                return None;
            }
        }
    }
    Some(reader)
}

/// Takes in the keyrings that were given beside the bundle.
fn judge_by_newer(found: &mut Verification, reader: &mut Reader, newer: &[Bytes]) {
    let mut waiting: Vec<(usize, &Bytes)> = (1..).zip(newer).collect();
    loop {
        let before = waiting.len();
        waiting.retain(|(place, bytes)| match reader.learn_keyring(bytes) {
            Ok(_) => false,
            // Another one may lead to it.
            Err(KeyringError::Unlinked { .. }) => true,
            Err(error) => {
                let part = Part::NewerKeyring(*place);
                found.fault(error.code(), part, chain(&error));
                false
            }
        });
        if waiting.is_empty() || waiting.len() == before {
            break;
        }
    }
    for (place, bytes) in waiting {
        if let Err(error) = reader.learn_keyring(bytes) {
            found.fault(error.code(), Part::NewerKeyring(place), chain(&error));
        }
    }
    if let Some(Fork { position, .. }) = reader.chain().fork() {
        let why = format!(
            "two keyrings at {position}: somebody else holds a master key, and nothing of this generation is to be believed"
        );
        found.fault("E-FORK", Part::Bundle, why);
    }
    found.keyring = Some(reader.keyring().clone());
}

fn command(found: &mut Verification, reader: &Reader, bundle: &Bundle) -> Option<BuildStatus> {
    let command: Verified<Command> = found.open(reader, Part::Command, &bundle.command)?;
    let (id, signer, standing) = (command.id(), command.signer(), command.standing());
    say_standing(found, "the command", signer, standing);
    match command.into_body() {
        Command::Build(order) => Some(BuildStatus::new(id, 0, signer, standing, order)),
        Command::Cancel(_) => {
            found.fault(
                "E-COMMAND",
                Part::Command,
                "it orders no build: it cancels one",
            );
            None
        }
    }
}

fn cancel(found: &mut Verification, reader: &Reader, build: &BuildStatus, bundle: &Bundle) {
    let Some(bytes) = &bundle.cancel else { return };
    let Some(cancel) = found.open::<Command>(reader, Part::Cancel, bytes) else {
        return;
    };
    if matches!(cancel.body(), Command::Cancel(cancel) if cancels(cancel, build)) {
        say_standing(found, "the cancel", cancel.signer(), cancel.standing());
        found.cancel = Some(cancel);
    } else {
        found.fault("E-COMMAND", Part::Cancel, "it does not cancel this build");
    }
}

/// Whether `cancel` means `build`.
pub(super) fn cancels(cancel: &Cancel, build: &BuildStatus) -> bool {
    cancel.target == build.command
        && cancel.slave == build.order.slave
        && cancel.builder == build.order.builder
}

/// Whether `roster` gives the key that the command names to the slave that it names.
pub(super) fn gives_key(roster: &Roster, build: &BuildStatus) -> bool {
    roster.lines.iter().any(|line| {
        line.slave == build.order.slave && key_id(&line.report_key) == build.order.report_key
    })
}

fn roster(
    found: &mut Verification,
    reader: &mut Reader,
    build: &BuildStatus,
    bundle: &Bundle,
) -> bool {
    let Some(bytes) = bundle.rosters.first() else {
        found.fault("E-MISSING", Part::Bundle, "the bundle has no roster");
        return false;
    };
    for (place, _) in (1..).zip(&bundle.rosters).skip(1) {
        found.unnecessary(Part::Roster(place), "one roster is needed");
    }
    let part = Part::Roster(1);
    if let Err(error) = reader.learn_roster(bytes) {
        found.fault(error.code(), part, chain(&error));
        return false;
    }
    found.roster = reader.verified_roster().cloned();
    let gives_key = reader
        .roster()
        .is_some_and(|roster| gives_key(roster, build));
    if !gives_key {
        let (slave, key) = (&build.order.slave, build.order.report_key);
        let why =
            format!("it does not give report key {key} to slave {slave}, as the command does");
        found.fault("E-SLAVE-KEY", part, why);
    }
    gives_key
}

fn say_standing(found: &mut Verification, what: &str, signer: KeyId, standing: Standing) {
    match standing {
        Standing::Good => {}
        Standing::Unproven => found.note(format!(
            "{what} is signed by {signer}, a key that was stolen: by itself that proves nothing"
        )),
    }
}

/// An error with its causes.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        said = format!("{said}: {error}");
        cause = error.source();
    }
    said
}

#[cfg(test)]
pub(super) mod sample;
#[cfg(test)]
mod tests;
