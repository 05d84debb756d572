//! Decides and asks.
//!
//! [watch] sees a branch move and a signed change goes to the bus; the [scheduler] folds changes, commands and reports
//! and says what to build next; [dispatch] signs that and publishes it as the one who leads. The streams are the only
//! memory: a master that starts again reads them and is where it was.

mod approve;
mod attendance;
mod audit;
mod config;
mod control;
mod coverage;
mod dispatch;
mod herald;
mod hooks;
mod keyrings;
mod lease;
mod releases;
mod run;
mod scheduler;
mod telemetry;
mod watch;
mod watchers;

pub use approve::{
    Application, ApplicationError, ApprovalError, approve, approved, learn_rosters,
    place_for_roster,
};
pub use config::{
    Builder, Changed, Collapse, Differences, Everything, MasterConfig, MasterConfigError,
    PathFilter, PreReleases, ReleasePlace, ReleaseSource, Repository, Requester, Retry, Schedule,
    ScheduleError, SlaveRules, Unchanged,
};
pub use control::{
    Answers, AskError, BuilderRow, BuilderState, BuildersDocument, LastBuild, Question,
    QueueDocument, QueueRow, ReloadDocument, StatusDocument, ask,
};
pub use coverage::learn_keyrings_held;
pub use hooks::{
    Forge, HookSecret, HookSecretError, Hooked, Hooks, HooksConfig, HooksConfigError, HooksLimits,
};
pub use keyrings::{learn_keyrings, publish_keyring};
pub use releases::{IndexError, IndexUrl, IndexUrlError, Rank, by_release};
pub use run::{FindKey, Master, Reread, RunError};
pub use scheduler::{Circumstances, Effect, Fact, Reason, Scheduler, Waiting};
pub use telemetry::Telemetry;
pub use watch::{Depth, Git, History, Mirror, RemoteUrl, RemoteUrlError, Tips, WatchError};
pub use watchers::Known;
