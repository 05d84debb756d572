//! The slave's decision on a verified command. A function of the command, the owner's configuration and the situation:
//! it reads no clock, no file and no database.

mod situation;

use std::fmt;
use std::time::Duration;

pub use situation::Situation;

use super::config::{Mapping, SlaveConfig};
use super::deferral::{Deferral, deferral};
use super::isolation::{Abilities, Weaker};
use super::parameter::ParameterFault;
use crate::model::{
    Build, BuilderName, Cancel, Command, CommandId, Digest, Isolation, KeyId, Network,
    ParameterName, PayloadId, Position, SlaveName, Step, Text, Timestamp,
};
use crate::trust::{KeysFault, Verified};

/// A command that this slave has agreed to run, with what each of its steps means here.
///
/// `execute` takes this and nothing else, by value: what was never admitted cannot run. Only the gate makes one.
#[derive(Debug)]
pub struct Admitted {
    id: PayloadId,
    signer: KeyId,
    build: Build,
    recipes: Vec<Recipe>,
}

/// What a step means here.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// The owner's script and its limits.
    pub mapping: Mapping,
    /// How it is kept apart from the rest of the machine.
    pub isolation: Isolation,
    /// What it can reach of the network.
    pub network: Network,
}

impl Admitted {
    /// What the command is identified by.
    #[must_use]
    pub fn id(&self) -> PayloadId {
        self.id
    }

    /// The key that ordered it.
    #[must_use]
    pub fn signer(&self) -> KeyId {
        self.signer
    }

    /// The command.
    #[must_use]
    pub fn build(&self) -> &Build {
        &self.build
    }

    /// What each step means here, in the order of the steps.
    #[must_use]
    pub fn recipes(&self) -> &[Recipe] {
        &self.recipes
    }
}

/// What the gate decided.
#[derive(Debug)]
pub enum Decision {
    /// Run it.
    Run(Box<Admitted>),
    /// Stop the build of that command, or never start it.
    Cancel(Cancel),
    /// Run nothing, and say why in a signed report.
    Refuse(Refusal),
    /// Run nothing now, and say until when. As final as a refusal: the master may ask again.
    Defer {
        /// Until when, as the farm is told.
        until: Timestamp,
        /// Why, for the owner alone.
        why: Deferral,
    },
    /// It was decided before. Say nothing: the answer is already on record.
    Replay,
}

/// Why a genuine command is declined. It is an answer, not a fault: it is signed and published.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// For another slave.
    OtherSlave(SlaveName),
    /// For a slave of this name with another key.
    OtherKey(KeyId),
    /// For a builder that this slave does not serve.
    OtherBuilder(BuilderName),
    /// Two keyrings contradict each other.
    Forked(Position),
    /// The newest keyring has expired.
    KeyringExpired {
        /// Where it stands.
        position: Position,
        /// For how long it has been.
        ago: Duration,
    },
    /// There is a newer keyring that could not be had; what it revokes is not known here.
    Behind {
        /// The newest one here.
        held: Position,
        /// The one that the master speaks of.
        named: Position,
    },
    /// No head yet, or none that is recent enough.
    StaleHead {
        /// How old the newest one is.
        age: Option<Duration>,
        /// How old it may be.
        limit: Duration,
    },
    /// Issued in the future, or the clock here is slow.
    Clock {
        /// How far ahead.
        ahead: Duration,
    },
    /// Its time has passed.
    Expired {
        /// For how long.
        ago: Duration,
    },
    /// It could be accepted for longer than any command may.
    TooFarAhead,
    /// A number far above all that this builder has had.
    Number {
        /// The number.
        number: u64,
        /// The highest so far.
        highest: u64,
    },
    /// Issued before this slave was restored from an older copy of its disk: it may have been run before.
    Restored {
        /// When it was found out.
        since: Timestamp,
    },
    /// It was cancelled before it came.
    Cancelled,
    /// Nothing to run, or more steps than can be counted.
    NoSteps,
    /// No script is mapped to that id.
    Unmapped(CommandId),
    /// A parameter outside the owner's grammar.
    Parameter {
        /// Of which command id.
        command: CommandId,
        /// Which.
        parameter: ParameterName,
        /// Why.
        fault: ParameterFault,
    },
    /// This machine cannot keep a script apart as its owner demands.
    Isolation {
        /// Of which command id.
        command: CommandId,
        /// Why.
        why: Weaker,
    },
    /// A script is not safe to run.
    Script {
        /// Of which command id.
        command: CommandId,
        /// Why, without the path: that is the owner's business.
        why: &'static str,
    },
    /// A script is another than when its owner mapped it, and the owner wants to be asked.
    Changed(CommandId),
    /// A script is not the one that the master expects.
    Digest(CommandId),
}

impl Refusal {
    /// Stable code, for searching and counting.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::OtherSlave(_) => "E-SLAVE",
            Self::OtherKey(_) => "E-SLAVE-KEY",
            Self::OtherBuilder(_) => "E-BUILDER",
            Self::Forked(_) => "E-FORK",
            Self::KeyringExpired { .. } => "E-KEYRING-EXPIRED",
            Self::Behind { .. } => "E-BEHIND",
            Self::StaleHead { .. } => "E-STALE-HEAD",
            Self::Clock { .. } => "E-CLOCK",
            Self::Expired { .. } => "E-EXPIRED",
            Self::TooFarAhead => "E-TOO-FAR",
            Self::Number { .. } => "E-NUMBER",
            Self::Restored { .. } => "E-RESTORED",
            Self::Cancelled => "E-CANCELLED",
            Self::NoSteps => "E-STEPS",
            Self::Unmapped(_) => "E-UNMAPPED",
            Self::Parameter { .. } => "E-PARAMETER",
            Self::Isolation { .. } => "E-ISOLATION",
            Self::Script { .. } => "E-SCRIPT",
            Self::Changed(_) => "E-CHANGED",
            Self::Digest(_) => "E-DIGEST",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherSlave(slave) => write!(f, "the command is for slave {slave}"),
            Self::OtherKey(key) => write!(
                f,
                "the command is for a slave of this name with report key {key}"
            ),
            Self::OtherBuilder(builder) => write!(f, "this slave does not serve builder {builder}"),
            Self::Forked(position) => write!(
                f,
                "two keyrings contradict each other at {position}, so somebody else holds a master key; this slave waits for a succession"
            ),
            Self::KeyringExpired { position, ago } => write!(
                f,
                "keyring {position}, the newest here, expired {} s ago; the operator has to rotate the keys",
                ago.as_secs()
            ),
            Self::Behind { held, named } => write!(
                f,
                "the master speaks of keyring {named}, and the newest that this slave could get is {held}; what was revoked since is not known here"
            ),
            Self::StaleHead {
                age: Some(age),
                limit,
            } => {
                write!(
                    f,
                    "the newest head is {} s old, and {} s is this owner's limit: somebody may hold back that a key was stolen",
                    age.as_secs(),
                    limit.as_secs()
                )
            }
            Self::StaleHead { age: None, .. } => f.write_str("this slave has not seen a head yet"),
            Self::Clock { ahead } => {
                write!(
                    f,
                    "the command was issued {} s in the future of this slave's clock",
                    ahead.as_secs()
                )
            }
            Self::Expired { ago } => write!(f, "the command expired {} s ago", ago.as_secs()),
            Self::TooFarAhead => {
                f.write_str("the command could be accepted for longer than seven days")
            }
            Self::Number { number, highest } => write!(
                f,
                "the build's number {number} lies far above {highest}, the highest of this builder so far"
            ),
            Self::Restored { since } => write!(
                f,
                "the command was issued before {since}, when this slave found that its disk is an older copy: it may have been run before"
            ),
            Self::Cancelled => f.write_str("the command was cancelled before it came"),
            Self::NoSteps => f.write_str("the command has no steps, or more than 100"),
            Self::Unmapped(command) => write!(f, "{command} is mapped to no script here"),
            Self::Parameter {
                command,
                parameter,
                fault,
            } => {
                write!(
                    f,
                    "parameter {parameter} of {command} is outside the owner's grammar: {fault}"
                )
            }
            Self::Isolation { command, why } => {
                write!(f, "the script of {command} is not run: {why}")
            }
            Self::Script { command, why } => {
                write!(f, "the script of {command} is not safe to run: {why}")
            }
            Self::Changed(command) => write!(
                f,
                "the script of {command} is another than when its owner mapped it"
            ),
            Self::Digest(command) => write!(
                f,
                "the script of {command} is not the one that the command expects"
            ),
        }?;
        f.write_str(". Nothing ran.")
    }
}

/// The slave's gate.
#[derive(Clone, Debug)]
pub struct Gate {
    config: SlaveConfig,
    report_key: KeyId,
    abilities: Abilities,
}

impl Gate {
    /// Most steps of one command.
    pub const MAX_STEPS: usize = 100;

    /// The gate of a slave with this configuration and report key, on a machine that can do this.
    #[must_use]
    pub fn new(config: SlaveConfig, report_key: KeyId, abilities: Abilities) -> Self {
        Self {
            config,
            report_key,
            abilities,
        }
    }

    /// Decides. That the command was signed by a key in force is already known; everything else is asked here, and the
    /// first rule that fails is the answer.
    #[must_use]
    pub fn decide(&self, command: Verified<Command>, situation: &Situation<'_>) -> Decision {
        let (id, signer) = (command.id(), command.signer());
        // Before every other rule: an answer once given is not followed by another.
        if situation.seen {
            return Decision::Replay;
        }
        let slave = command.body().slave();
        if *slave != self.config.name {
            return Decision::Refuse(Refusal::OtherSlave(slave.clone()));
        }
        let builder = command.body().builder();
        if !self.config.builders.contains_key(builder) {
            return Decision::Refuse(Refusal::OtherBuilder(builder.clone()));
        }
        match command.into_body() {
            // A cancel only ever stops something, so it passes hours, pause, load and a stale head.
            Command::Cancel(cancel) => Decision::Cancel(cancel),
            Command::Build(build) => match self.admit((id, signer), build, situation) {
                // Last: whoever is turned away for good is not asked to come again.
                Ok(admitted) => match self.deferral(situation) {
                    Some((until, why)) => Decision::Defer { until, why },
                    None => Decision::Run(Box::new(admitted)),
                },
                Err(refusal) => Decision::Refuse(refusal),
            },
        }
    }

    /// Goes by this configuration from now on.
    pub(super) fn configure(&mut self, config: SlaveConfig) {
        self.config = config;
    }

    /// Until when nothing is started, whatever the command, and why.
    pub(super) fn deferral(&self, situation: &Situation<'_>) -> Option<(Timestamp, Deferral)> {
        let Situation {
            held,
            misread,
            host,
            now,
            ..
        } = situation;
        deferral(&self.config, held.clone(), *misread, *host, *now)
    }

    /// Why a build that was meant for this slave can no longer be accepted, if its time has passed.
    #[must_use]
    pub fn expired(&self, command: &Command, now: Timestamp) -> Option<Refusal> {
        let Command::Build(build) = command else {
            return None;
        };
        let ours = build.slave == self.config.name
            && build.report_key == self.report_key
            && self.config.builders.contains_key(&build.builder);
        (ours && now >= build.accept_by).then(|| Refusal::Expired {
            ago: now.since(build.accept_by),
        })
    }

    fn admit(
        &self,
        (id, signer): (PayloadId, KeyId),
        build: Build,
        situation: &Situation<'_>,
    ) -> Result<Admitted, Refusal> {
        let now = situation.now;
        if build.report_key != self.report_key {
            return Err(Refusal::OtherKey(build.report_key));
        }
        match &situation.keys_fault {
            Some(KeysFault::Forked(fork)) => return Err(Refusal::Forked(fork.position)),
            Some(KeysFault::Expired { position, ago }) => {
                return Err(Refusal::KeyringExpired {
                    position: *position,
                    ago: *ago,
                });
            }
            None => {}
        }
        let limit = self.config.max_head_age;
        let age = situation.head.map(|head| now.since(head.time));
        if age.is_none_or(|age| age > limit) {
            return Err(Refusal::StaleHead { age, limit });
        }
        let named = situation
            .head
            .map_or(build.keyring, |head| head.keyring.max(build.keyring));
        if named > situation.keyring {
            return Err(Refusal::Behind {
                held: situation.keyring,
                named,
            });
        }
        if build.issued > now.after(Build::CLOCK_SKEW) {
            return Err(Refusal::Clock {
                ahead: build.issued.since(now),
            });
        }
        if now >= build.accept_by {
            return Err(Refusal::Expired {
                ago: now.since(build.accept_by),
            });
        }
        if build.accept_by > build.issued.after(Build::MAX_ACCEPT_WINDOW) {
            return Err(Refusal::TooFarAhead);
        }
        let highest = situation.highest;
        if build.number.saturating_sub(highest) > Build::MAX_JUMP {
            return Err(Refusal::Number {
                number: build.number,
                highest,
            });
        }
        if let Some(since) = situation.restored
            && build.issued < since
        {
            return Err(Refusal::Restored { since });
        }
        if situation.cancelled {
            return Err(Refusal::Cancelled);
        }
        if !(1..=Self::MAX_STEPS).contains(&build.steps.len()) {
            return Err(Refusal::NoSteps);
        }
        let admitted = self.readmit(id, signer, build)?;
        self.check_scripts(&admitted, situation.script)?;
        Ok(admitted)
    }

    /// Whether the scripts of a command may run as they are now.
    ///
    /// # Errors
    ///
    /// The first [`Refusal`] of one that may not.
    pub(super) fn check_scripts(
        &self,
        admitted: &Admitted,
        look: &dyn Fn(&Mapping) -> Result<Digest, &'static str>,
    ) -> Result<(), Refusal> {
        for (step, recipe) in admitted.build.steps.iter().zip(&admitted.recipes) {
            let digest = look(&recipe.mapping).map_err(|why| Refusal::Script {
                command: step.command.clone(),
                why,
            })?;
            if !self
                .config
                .script_change
                .permits(recipe.mapping.state(digest))
            {
                return Err(Refusal::Changed(step.command.clone()));
            }
            if step.script.is_some_and(|expected| expected != digest) {
                return Err(Refusal::Digest(step.command.clone()));
            }
        }
        Ok(())
    }

    /// What the steps of a command mean here, once it was admitted: now, or before this slave was restarted. Asks nothing of
    /// the world but what its owner allows.
    ///
    /// # Errors
    ///
    /// The first [`Refusal`] of a step that is not mapped, or not so.
    pub(super) fn readmit(
        &self,
        id: PayloadId,
        signer: KeyId,
        build: Build,
    ) -> Result<Admitted, Refusal> {
        let recipes = build.steps.iter().map(|step| self.recipe(step));
        Ok(Admitted {
            id,
            signer,
            recipes: recipes.collect::<Result<_, _>>()?,
            build,
        })
    }

    fn recipe(&self, step: &Step) -> Result<Recipe, Refusal> {
        let mapping = self
            .config
            .commands
            .get(&step.command)
            .ok_or_else(|| Refusal::Unmapped(step.command.clone()))?;
        check_parameters(&step.command, &step.parameters, mapping)?;
        let (isolation, network) = self
            .abilities
            .reach(&self.config.isolation, mapping.network)
            .map_err(|why| Refusal::Isolation {
                command: step.command.clone(),
                why,
            })?;
        Ok(Recipe {
            mapping: mapping.clone(),
            isolation,
            network,
        })
    }
}

fn check_parameters(
    command: &CommandId,
    given: &std::collections::BTreeMap<ParameterName, Text>,
    mapping: &Mapping,
) -> Result<(), Refusal> {
    let refuse = |parameter: &ParameterName, fault| Refusal::Parameter {
        command: command.clone(),
        parameter: parameter.clone(),
        fault,
    };
    for (name, value) in given {
        let grammar = mapping
            .parameters
            .get(name)
            .ok_or_else(|| refuse(name, ParameterFault::Unknown))?;
        grammar.accept(value).map_err(|fault| refuse(name, fault))?;
    }
    match mapping
        .parameters
        .keys()
        .find(|name| !given.contains_key(*name))
    {
        Some(missing) => Err(refuse(missing, ParameterFault::Missing)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
