//! One build, as its command and its slave's reports tell it.

use crate::model::{
    Build, BuildId, BuildState, CommandId, Digest, KeyId, LogChunk, Outcome, PayloadId, Report,
    ReportBody, Text, Timestamp, Verdict,
};
use crate::trust::{Standing, Verified};

use super::board::Reported;

/// One build, as its command and its slave's reports tell it.
#[derive(Clone, Debug)]
pub struct BuildStatus {
    /// The command's id, by which its reports name it.
    pub command: PayloadId,
    /// The key that signed the command.
    pub signer: KeyId,
    /// The command's place in its stream.
    pub sequence: u64,
    /// What was ordered.
    pub order: Build,
    /// Whether the farm's master is known to have ordered it. A command by a key that was stolen counts only if the slave
    /// that it names has answered it.
    pub proven: bool,
    /// How far it has come.
    pub state: BuildState,
    /// When the command reached the slave, by the slave's clock.
    pub received: Option<Timestamp>,
    /// Its steps, in order.
    pub steps: Vec<StepStatus>,
    /// The report that ended it.
    pub ending: Option<Ending>,
    /// Whether its slave has signed two verdicts that differ. The first stands.
    pub disputed: bool,
    /// Whether the command itself is signed by a key in good standing.
    ordered_in_good_standing: bool,
}

/// One step of a build.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StepStatus {
    /// The script's name, as ordered.
    pub name: CommandId,
    /// When its script was executed, by the slave's clock.
    pub started: Option<Timestamp>,
    /// The digest of the script that was executed.
    pub script: Option<Digest>,
    /// How it ended.
    pub outcome: Option<Outcome>,
}

/// The report that ended a build.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ending {
    /// The report's id.
    pub report: PayloadId,
    /// The key that signed it.
    pub signer: KeyId,
    /// When the slave said it, by its own clock.
    pub issued: Timestamp,
    /// When the bus stored it, by the bus's clock.
    pub stored: Timestamp,
    /// What it says: refused, deferred, finished or lost.
    pub body: ReportBody,
}

impl Ending {
    /// When the build ended. The slave's word, but never later than its report arrived: a clock that is ahead makes no
    /// result look fresher than it is.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        self.issued.min(self.stored)
    }
}

impl BuildStatus {
    pub(super) fn new(
        command: PayloadId,
        sequence: u64,
        signer: KeyId,
        standing: Standing,
        order: Build,
    ) -> Self {
        let steps = order.steps.iter().map(|step| StepStatus {
            name: step.command.clone(),
            started: None,
            script: None,
            outcome: None,
        });
        let good = standing == Standing::Good;
        Self {
            command,
            signer,
            sequence,
            steps: steps.collect(),
            order,
            proven: good,
            state: BuildState::default(),
            received: None,
            ending: None,
            disputed: false,
            ordered_in_good_standing: good,
        }
    }

    /// `<builder>/<number>`.
    #[must_use]
    pub fn id(&self) -> BuildId {
        self.order.id()
    }

    /// The verdict at `now`; none while it may still go on. A build gone silent is lost, by computation.
    #[must_use]
    pub fn verdict(&self, now: Timestamp) -> Option<Verdict> {
        let silent_after = self.order.finish_by.after(Build::CLOCK_SKEW);
        self.state.verdict(silent_after, now)
    }

    /// When its first script was executed, by the slave's clock.
    #[must_use]
    pub fn started(&self) -> Option<Timestamp> {
        self.steps.iter().find_map(|step| step.started)
    }

    /// The steps, from 0, that did not go well at `now`: neither passed, warned nor skipped, or begun and never ended.
    #[must_use]
    pub fn steps_not_well(&self, now: Timestamp) -> Vec<u16> {
        let over = self.verdict(now).is_some();
        let not_well = |step: &StepStatus| match &step.outcome {
            Some(outcome) => !outcome.verdict.is_well(),
            None => over && step.started.is_some(),
        };
        (0..)
            .zip(&self.steps)
            .filter(|(_, step)| not_well(step))
            .map(|(number, _)| number)
            .collect()
    }

    /// The stable code of the rule that failed, if it was refused.
    #[must_use]
    pub fn refusal_code(&self) -> Option<&Text> {
        match &self.ending.as_ref()?.body {
            ReportBody::Refused { code, .. } => Some(code),
            ReportBody::Accepted { .. }
            | ReportBody::Deferred { .. }
            | ReportBody::StepStarted { .. }
            | ReportBody::StepFinished { .. }
            | ReportBody::Finished { .. }
            | ReportBody::Lost { .. } => None,
        }
    }

    /// Whether `report` is this build's own: by the key that was meant, of the same slave, builder and number.
    pub(super) fn is_answered_by(&self, report: &Verified<Report>) -> bool {
        let said = report.body();
        report.signer() == self.order.report_key
            && said.slave == self.order.slave
            && said.builder == self.order.builder
            && said.number == self.order.number
    }

    /// Whether `chunk` is a piece of this build's own log.
    pub(super) fn has_printed(&self, chunk: &Verified<LogChunk>) -> bool {
        let said = chunk.body();
        said.command == self.command
            && said.slave == self.order.slave
            && said.builder == self.order.builder
            && chunk.signer() == self.order.report_key
            && usize::from(said.step) < self.steps.len()
            && said.offset.checked_add(said.bytes.len() as u64).is_some()
    }

    /// Folds all that was reported of this command, in the order of the stream.
    pub(super) fn fold<'a>(&mut self, told: impl Iterator<Item = &'a Reported>) {
        self.state = BuildState::default();
        self.received = None;
        self.ending = None;
        self.disputed = false;
        self.proven = self.ordered_in_good_standing;
        for step in &mut self.steps {
            (step.started, step.script, step.outcome) = (None, None, None);
        }
        for reported in told {
            self.take(reported);
        }
    }

    /// Takes in a report, if it is its own.
    pub(super) fn take(&mut self, Reported { stored, report, .. }: &Reported) {
        let said = report.body();
        if said.command != self.command || !self.is_answered_by(report) {
            return;
        }
        self.proven = true;
        match &said.body {
            ReportBody::Accepted { received } => {
                self.received.get_or_insert(*received);
            }
            ReportBody::StepStarted {
                step,
                started,
                script,
                ..
            } => {
                if let Some(step) = self.steps.get_mut(usize::from(*step)) {
                    step.started.get_or_insert(*started);
                    step.script.get_or_insert(*script);
                }
            }
            ReportBody::StepFinished { step, outcome } => {
                if let Some(step) = self.steps.get_mut(usize::from(*step)) {
                    step.outcome.get_or_insert_with(|| outcome.clone());
                }
            }
            ReportBody::Refused { .. }
            | ReportBody::Deferred { .. }
            | ReportBody::Finished { .. }
            | ReportBody::Lost { .. } => {}
        }
        if let (BuildState::Done { verdict, .. }, Some(other)) = (self.state, said.body.verdict()) {
            let real = |verdict| verdict != Verdict::Lost;
            self.disputed |= real(verdict) && real(other) && verdict != other;
        }
        let before = self.state;
        self.state = self.state.after(&said.body, said.issued);
        if self.state != before && matches!(self.state, BuildState::Done { .. }) {
            self.ending = Some(Ending {
                report: report.id(),
                signer: report.signer(),
                issued: said.issued,
                stored: *stored,
                body: said.body.clone(),
            });
        }
    }
}
