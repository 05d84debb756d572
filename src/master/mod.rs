//! Decides and asks.
//!
//! [watch] sees a branch move and a signed change goes to the bus; the [scheduler] folds changes, commands and reports
//! and says what to build next; [dispatch] signs that and publishes it as the one who leads. The streams are the only
//! memory: a master that starts again reads them and is where it was.

mod approve;
mod attendance;
mod audit;
mod config;
mod coverage;
mod dispatch;
mod herald;
mod keyrings;
mod run;
mod scheduler;
mod telemetry;
mod watch;

pub use approve::{
    Application, ApplicationError, ApprovalError, approve, approved, learn_rosters,
    place_for_roster,
};
pub use config::{
    Builder, Collapse, Everything, MasterConfig, MasterConfigError, PathFilter, PreReleases,
    ReleasePlace, ReleaseSource, Repository, Requester, Retry, Schedule, SlaveRules, Unchanged,
};
pub use coverage::learn_keyrings_held;
pub use dispatch::{DispatchError, Dispatcher};
pub use keyrings::{learn_keyrings, publish_keyring};
pub use run::{FindKey, Master, RunError};
pub use scheduler::{Circumstances, Effect, Fact, Scheduler};
pub use telemetry::Telemetry;
pub use watch::{Git, History, Mirror, RemoteUrl, RemoteUrlError, Tips, WatchError};
