//! The slave's decision on a verified command. A function of the command, the owner's configuration and the situation:
//! it reads no clock, no file and no database.

mod refusal;
mod situation;

pub use refusal::Refusal;
pub use situation::Situation;

use super::config::{Mapping, SlaveConfig};
use super::deferral::{Deferral, deferral};
use super::isolation::Abilities;
use super::parameter::ParameterFault;
use crate::model::{
    Build, Cancel, Command, CommandId, Digest, Isolation, KeyId, Network, ParameterName, PayloadId,
    Step, Text, Timestamp,
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
            Command::Build(build) if build.is_forgotten(situation.now) => Decision::Replay,
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
        (ours && now >= build.accept_by && !build.is_forgotten(now)).then(|| Refusal::Expired {
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
