//! What must never be on the bus, and is: the signs that a key was stolen or a slave was copied.
//!
//! Pure. Takes in what the streams tell, in any order between them, and gives each alarm once. An alarm changes nothing that
//! the master does: what is wrong counts for nothing anyway, and a human has to look.

use std::collections::{BTreeMap, BTreeSet};

use tracing::field::display;

use crate::model::{
    BuildId, BuilderName, Command, KeyId, PayloadId, Report, ReportChain, SecondEnd, SlaveName,
    Verdict,
};

/// Something that a human has to look into.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Alarm {
    /// A command is validly signed, and this master, who leads, did not order it.
    NotOurs {
        /// The build that it orders, if it orders one.
        build: Option<BuildId>,
        command: PayloadId,
        signer: KeyId,
    },
    /// A slave reports on a command that is not on the bus.
    NoSuchCommand {
        slave: SlaveName,
        build: BuildId,
        command: PayloadId,
    },
    /// Two instances of a slave report with one key.
    Cloned { slave: SlaveName, signer: KeyId },
    /// A slave has signed two different reports under one number.
    Forked { slave: SlaveName, signer: KeyId },
    /// A report does not name the one before it.
    Broken {
        slave: SlaveName,
        signer: KeyId,
        sequence: u64,
    },
    /// A slave has told two different ends of one build.
    Disputed { slave: SlaveName, build: BuildId },
}

impl Alarm {
    /// Tells whoever reads the log.
    pub(super) fn tell(&self) {
        match self {
            Self::NotOurs {
                build,
                command,
                signer,
            } => {
                let build = build.as_ref().map(display);
                tracing::error!(build, command = %command.short(), %signer, "a command that this master did not order is on the bus");
            }
            Self::NoSuchCommand {
                slave,
                build,
                command,
            } => {
                tracing::error!(%slave, %build, command = %command.short(), "a slave reports on a command that is not on the bus");
            }
            Self::Cloned { slave, signer } => {
                tracing::error!(code = "E-CLONE", %slave, %signer, "two instances of a slave report");
            }
            Self::Forked { slave, signer } => {
                tracing::error!(%slave, %signer, "a slave signed two different reports under one number");
            }
            Self::Broken {
                slave,
                signer,
                sequence,
            } => {
                tracing::error!(%slave, %signer, sequence, "a report does not name the one before it");
            }
            Self::Disputed { slave, build } => {
                tracing::error!(
                    code = "E-DISPUTED", %slave, %build,
                    "a slave told two different ends of one build: it counts for nothing, and its owner has to look \
                     whether the slave's state was set back or its keys were copied"
                );
            }
        }
    }
}

/// So many alarms are told; whoever floods the bus with what is wrong fills neither log nor memory.
const MAX_ALARMS: usize = 1_000;
/// So many commands are waited for at once: at the start all reports may be there before the first command is.
const MAX_WAITING: usize = 20_000;

/// The ends of so many builds are held. Whoever makes up ends pushes out others', which then alarm nobody.
const MAX_ENDS: usize = 100_000;

/// A report whose command has not been seen.
#[derive(Debug)]
struct Waiting {
    slave: SlaveName,
    builder: BuilderName,
    number: u64,
}

/// Watches what the streams tell.
#[derive(Debug, Default)]
pub(super) struct Audit {
    commands: BTreeSet<PayloadId>,
    /// The lowest build number of each builder that the stream still tells of.
    lowest: BTreeMap<BuilderName, u64>,
    /// What this master has ordered itself, once it leads.
    ours: Option<BTreeSet<PayloadId>>,
    chains: BTreeMap<KeyId, ReportChain>,
    /// By the commands that they name.
    waiting: BTreeMap<PayloadId, Waiting>,
    /// Those of them for which COMMANDS is being read.
    settling: BTreeMap<PayloadId, Waiting>,
    /// How builds ended, by who says so.
    ends: BTreeMap<(PayloadId, SlaveName), (PayloadId, Verdict)>,
    given: BTreeSet<Alarm>,
}

impl Audit {
    /// From now on this master alone orders.
    pub(super) fn lead(&mut self) {
        self.ours.get_or_insert_default();
    }

    /// From now on another master orders.
    pub(super) fn stand_by(&mut self) {
        self.ours = None;
    }

    /// This master has ordered it.
    pub(super) fn order(&mut self, command: PayloadId) {
        self.commands.insert(command);
        if let Some(ours) = &mut self.ours {
            ours.insert(command);
        }
    }

    /// A command is on the bus.
    pub(super) fn command(
        &mut self,
        id: PayloadId,
        signer: KeyId,
        command: &Command,
    ) -> Option<Alarm> {
        if let Command::Build(build) = command {
            let lowest = self.lowest.entry(build.builder.clone());
            let lowest = lowest.or_insert(build.number);
            *lowest = build.number.min(*lowest);
        }
        self.commands.insert(id);
        self.waiting.remove(&id);
        self.settling.remove(&id);
        let is_ours = self.ours.as_ref().is_none_or(|ours| ours.contains(&id));
        let build = match command {
            Command::Build(build) => Some(build.id()),
            Command::Cancel(_) => None,
        };
        let alarm = Alarm::NotOurs {
            build,
            command: id,
            signer,
        };
        if is_ours { None } else { self.once(alarm) }
    }

    /// A report is on the bus.
    pub(super) fn report(&mut self, id: PayloadId, signer: KeyId, said: &Report) -> Vec<Alarm> {
        if !self.commands.contains(&said.command)
            && !self.settling.contains_key(&said.command)
            && self.waiting.len() < MAX_WAITING
        {
            let waiting = Waiting {
                slave: said.slave.clone(),
                builder: said.builder.clone(),
                number: said.number,
            };
            self.waiting.entry(said.command).or_insert(waiting);
        }
        let chain = self.chains.entry(signer).or_default();
        chain.report(id, said);
        // Whatever a report makes wrong is wrong at its own number or at the next.
        let (slave, sequence) = (&said.slave, said.sequence);
        let mut alarms = Vec::new();
        let faults = chain.faults_within(sequence, sequence);
        if faults.cloned {
            let slave = slave.clone();
            alarms.push(Alarm::Cloned { slave, signer });
        } else if faults.forked > 0 {
            let slave = slave.clone();
            alarms.push(Alarm::Forked { slave, signer });
        }
        for sequence in [sequence, sequence.saturating_add(1)] {
            if chain.is_broken_at(sequence) {
                alarms.push(Alarm::Broken {
                    slave: slave.clone(),
                    signer,
                    sequence,
                });
            }
        }
        alarms.extend(self.dispute(id, said));
        alarms
            .into_iter()
            .filter_map(|alarm| self.once(alarm))
            .collect()
    }

    /// Whether it is the second end of a build, and another one than the first.
    fn dispute(&mut self, id: PayloadId, said: &Report) -> Option<Alarm> {
        let end = (id, said.body.verdict()?);
        let of = (said.command, said.slave.clone());
        let judged = self.ends.get(&of).map(|held| SecondEnd::of(*held, end));
        match judged {
            None | Some(SecondEnd::Rescue) => {
                self.ends.insert(of, end);
                if self.ends.len() > MAX_ENDS {
                    self.ends.pop_last();
                }
                None
            }
            Some(SecondEnd::Repeat) => None,
            Some(SecondEnd::Contradiction) => Some(Alarm::Disputed {
                slave: said.slave.clone(),
                build: BuildId {
                    builder: said.builder.clone(),
                    number: said.number,
                },
            }),
        }
    }

    /// Whether a report came whose command was not seen. Commands come before what answers them, but the streams are read
    /// apart: call [`Audit::begin_to_settle`], read COMMANDS to its end, then call [`Audit::settle`].
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty() || !self.settling.is_empty()
    }

    /// COMMANDS will be read, for the reports taken in so far.
    pub(super) fn begin_to_settle(&mut self) {
        self.settling.append(&mut self.waiting);
    }

    /// Every command that was stored before the reports taken in until [`Audit::begin_to_settle`] has been taken in.
    pub(super) fn settle(&mut self) -> Vec<Alarm> {
        let waiting = std::mem::take(&mut self.settling);
        let mut alarms = Vec::new();
        for (command, waiting) in waiting {
            // The stream keeps the newest commands of each builder only.
            let lowest = self.lowest.get(&waiting.builder);
            if lowest.is_some_and(|lowest| waiting.number < *lowest) {
                continue;
            }
            let build = BuildId {
                builder: waiting.builder,
                number: waiting.number,
            };
            alarms.extend(self.once(Alarm::NoSuchCommand {
                slave: waiting.slave,
                build,
                command,
            }));
        }
        alarms
    }

    /// An alarm that was not given before.
    fn once(&mut self, alarm: Alarm) -> Option<Alarm> {
        if self.given.len() >= MAX_ALARMS || !self.given.insert(alarm.clone()) {
            return None;
        }
        if self.given.len() == MAX_ALARMS {
            tracing::warn!(
                alarms = MAX_ALARMS,
                "no more alarms are told; start the master again to hear of them"
            );
        }
        Some(alarm)
    }
}

#[cfg(test)]
mod tests;
