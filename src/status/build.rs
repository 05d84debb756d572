//! One build, as its command and its slave's reports tell it.

use crate::model::{
    Build, BuildId, BuildState, CommandId, Digest, Isolation, KeyId, LogChunk, Network, Outcome,
    PayloadId, Report, ReportBody, SecondEnd, Text, Timestamp, Verdict,
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
    /// The report that ended it: the first. `lost` alone gives way to what is known after all.
    pub ending: Option<Ending>,
    /// What else its slave has signed as the end of it, in the order of the stream: evidence that it contradicts itself.
    pub contradictions: Vec<Ending>,
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
    /// The digest that its owner recorded when mapping it, if one was recorded.
    pub mapped: Option<Digest>,
    /// How it is kept apart from the rest of the machine, and what it can reach of the network.
    pub confined: Option<(Isolation, Network)>,
    /// How it ended.
    pub outcome: Option<Outcome>,
}

impl StepStatus {
    /// One of which nothing was said yet.
    fn ordered(name: &CommandId) -> Self {
        Self {
            name: name.clone(),
            started: None,
            script: None,
            mapped: None,
            confined: None,
            outcome: None,
        }
    }
}

/// Of the ends of one build that contradict the first, so many are kept.
const MAX_CONTRADICTIONS: usize = 4;

/// A report that ended a build.
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
        let steps = order.steps.iter();
        let steps = steps.map(|step| StepStatus::ordered(&step.command));
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
            contradictions: Vec::new(),
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
        self.state.verdict(self.order.lost_after(self.state), now)
    }

    /// Whether its slave has signed two different ends of it. The first is shown, and counts for nothing.
    #[must_use]
    pub fn is_disputed(&self) -> bool {
        !self.contradictions.is_empty()
    }

    /// Whether it ran and nobody heard that it was accepted.
    pub(super) fn lacks_its_beginning(&self) -> bool {
        let ended = self.ending.as_ref();
        let ran = ended.is_some_and(|ending| matches!(ending.body, ReportBody::Finished { .. }));
        self.received.is_none() && (ran || matches!(self.state, BuildState::Running { .. }))
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
        self.contradictions.clear();
        self.proven = self.ordered_in_good_standing;
        for step in &mut self.steps {
            *step = StepStatus::ordered(&step.name);
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
                mapped,
                isolation,
                network,
                ..
            } => {
                // The first word of it stands, whole.
                if let Some(step) = self.steps.get_mut(usize::from(*step))
                    && step.started.is_none()
                {
                    step.started = Some(*started);
                    step.script = Some(*script);
                    step.mapped = *mapped;
                    step.confined = Some((*isolation, *network));
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
        if said.body.verdict().is_some() {
            self.end(Ending {
                report: report.id(),
                signer: report.signer(),
                issued: said.issued,
                stored: *stored,
                body: said.body.clone(),
            });
        }
        self.state = self.state.after(&said.body, said.issued);
    }

    /// The first end stands; only a rescue takes its place.
    fn end(&mut self, ending: Ending) {
        let end = |ending: &Ending| Some((ending.report, ending.body.verdict()?));
        let held = self.ending.as_ref().and_then(end);
        match held.zip(end(&ending)) {
            None => self.ending = Some(ending),
            Some((held, new)) => match SecondEnd::of(held, new) {
                SecondEnd::Repeat => {}
                SecondEnd::Rescue => self.ending = Some(ending),
                SecondEnd::Contradiction => {
                    let known = |known: &Ending| known.report == ending.report;
                    if self.contradictions.len() < MAX_CONTRADICTIONS
                        && !self.contradictions.iter().any(known)
                    {
                        self.contradictions.push(ending);
                    }
                }
            },
        }
    }
}
