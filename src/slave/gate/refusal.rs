//! Why a genuine command is declined.

use std::fmt;
use std::time::Duration;

use crate::model::{BuilderName, CommandId, KeyId, ParameterName, Position, SlaveName, Timestamp};
use crate::slave::isolation::Weaker;
use crate::slave::parameter::ParameterFault;

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
