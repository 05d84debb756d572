//! Does as told, within its owner's limits.
//!
//! A command goes one way: [`Commands`](crate::bus::Commands) hand over bytes, [`Reader::open`](crate::trust::Reader::open)
//! verifies them, the [gate] decides, the [journal] remembers, and only then [execute] runs the owner's script in a
//! [keeper]. What is to be said goes to the journal's outbox first and to the bus when it can.

mod audit;
mod config;
mod deferral;
mod execute;
mod gate;
mod host;
mod isolation;
mod journal;
mod keeper;
mod outbox;
mod owner;
mod panic;
mod parameter;
mod repin;
mod run;
mod script;
mod workspace;

pub use audit::{Audit, AuditError, Comparison, Event, Fault, Line, Public, Record, Said, compare};
pub use config::{
    BuilderSettings, HostLimits, IsolationSettings, LevelRule, Mapping, NetworkRule, OnBattery,
    QuietError, Schedule, ScriptChange, SlaveConfig, SlaveConfigError, StepLimits, WorkspaceRule,
};
pub use deferral::Deferral;
pub use gate::{Admitted, Decision, Gate, Recipe, Refusal, Situation};
pub use host::Host;
pub use isolation::{Abilities, Weaker};
pub use journal::{Journal, JournalError};
pub use keeper::{KeeperError, keep};
pub use owner::{Hold, Owner, OwnerError, Pause};
pub use panic::{Aftermath, Victim, end_everything};
pub use parameter::{Grammar, GrammarError, ParameterFault};
pub use repin::{Move, OldKeys, Repin, with_farm};
pub use run::{ConfigFile, Occupant, RunError, Slave};
pub use script::{ScriptFault, check_script};
