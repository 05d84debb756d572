//! The farm as a whole: a real nats-server, real git, master and slaves as real processes, killed and cut off for real.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may end where it cannot go on"
)]

mod bad_input;
mod browser;
mod ceremony;
mod check_ins;
mod control_groups;
mod crashes;
mod deliveries;
mod doctor;
mod drills;
mod examples;
mod execution;
mod failover;
mod forgeries;
mod harness;
mod hooks;
mod hostile;
mod install;
mod isolation;
mod keyrings;
mod ledger;
mod limits;
mod logins;
mod logs;
mod mapping;
mod outages;
mod owner;
mod page;
mod process;
mod readme;
mod refusals;
mod rehearsals;
mod reload;
mod repin;
mod requests;
mod restarts;
mod results;
mod rights;
mod rival;
mod secrets;
mod seen;
mod soak;
mod sources;
mod telemetry;
mod test_results;
mod trunk;
mod up;
mod viewers;
mod watching;
