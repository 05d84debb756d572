//! The vocabulary: what a farm talks about, as data.
//!
//! No I/O, no cryptography, no clock, no encoding. Whatever is free text or a name was checked when the value was made,
//! so nothing further down needs to check it again.

mod build;
mod chain;
mod change;
mod command;
mod coverage;
mod digest;
mod file;
mod instances;
mod keyring;
mod name;
mod pulse;
mod release;
mod report;
mod request;
mod revision;
mod roster;
mod text;
mod time;

pub use build::{BuildId, BuildIdError, BuildState, SecondEnd, Verdict};
pub use chain::{ChainFaults, ReportChain};
pub use change::{Change, Commit};
pub use command::{Build, Cancel, Command, Experiment, ExperimentRole, Lead, Lease, Source, Step};
pub use coverage::{Coverage, KeyringsHeld};
pub use digest::{Digest, DigestError, FarmId, InstanceId, KeyId, PayloadId, PublicKey};
pub use file::FileFault;
pub use instances::Instances;
pub use keyring::{Head, Keyring, Position, RevocationReason, RevokedKey, SigningKeyWindow};
pub use name::{
    BuilderName, CommandId, FarmName, LockName, NameError, ParameterName, ProjectName,
    RepositoryName, RequesterName, SlaveName,
};
pub use pulse::Pulse;
pub use release::{Release, ReleaseOrigin, Version, VersionError};
pub use report::{
    ClockOffset, Counted, FailedTest, Isolation, Limit, LogChunk, Network, Outcome, Presence,
    Report, ReportBody, TestResults,
};
pub use request::{Answer, Denial, Request, Verb, Wish};
pub use revision::{Branch, BranchError, Revision, RevisionError};
pub use roster::{Roster, RosterLine, SlaveState};
pub use text::{Text, TextError};
pub use time::{Clock, Timestamp, TimestampError, Uptime};
