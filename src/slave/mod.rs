//! Does as told, within its owner's limits.
//!
//! A command goes one way: [`Commands`](crate::bus::Commands) hand over bytes, [`Reader::open`](crate::trust::Reader::open)
//! verifies them, the [gate] decides, the [journal] remembers, and only then [execute] runs the owner's script in a
//! [keeper]. What is to be said goes to the journal's outbox first and to the bus when it can.

mod audit;
mod backlog;
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
mod place;
mod repin;
mod results;
mod run;
mod script;
mod secret;
mod shipper;
mod standstill;
mod telemetry;
mod workspace;

pub use audit::{Audit, AuditError, Comparison, Event, Fault, Line, Public, Record, Said, compare};
pub use backlog::{Backlog, BacklogError};
pub use config::{
    Argument, ArgumentError, BuilderSettings, EditError, HostLimits, IsolationSettings, LevelRule,
    Mapping, MappingChange, NetworkRule, OnBattery, QuietError, Schedule, ScriptChange,
    ScriptState, SlaveConfig, SlaveConfigError, StepLimits, WorkspaceRule, with_mapping,
    without_mapping,
};
pub use deferral::Deferral;
pub use execute::{Rehearsal, RehearseError};
pub use gate::{Admitted, Decision, Gate, Recipe, Refusal, Situation};
pub use host::Host;
pub use isolation::{Abilities, Weaker, close_inherited, counted_below, shows_siblings};
pub use journal::{Journal, JournalError};
pub use keeper::{KeeperError, keep};
pub use owner::{Hold, Owner, OwnerError, Pause};
pub use panic::{Aftermath, Victim, end_everything};
pub use parameter::{Grammar, GrammarError, LeadingHyphen, ParameterFault, Pattern, PatternError};
pub use place::{PlaceFault, check_place};
pub use repin::{Move, OldKeys, Repin, with_farm};
pub use run::{ConfigFile, Leaving, Occupant, RunError, Slave};
pub use script::{Interpreter, InterpreterFault, Script, ScriptFault, check_script};
pub use secret::SecretFault;
pub use telemetry::Telemetry;
