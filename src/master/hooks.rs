//! Listening for webhooks: what a forge sends when somebody pushed.
//!
//! A process of its own, which holds no key but the secrets of its webhooks and a login that may only hint. It never looks
//! into what a forge sends: a delivery that proves itself makes the master look at the URL that its own configuration
//! names, and nothing else. So neither a fork, nor a replay, nor a stolen secret has a say in what is built.

mod config;
mod desk;
mod forge;
mod server;

pub use config::{Hooked, HooksConfig, HooksConfigError, HooksLimits};
pub use forge::{Forge, HookSecret, HookSecretError};
pub use server::Hooks;
