//! pybots, a community build farm: the map.
//!
//! # Layers
//!
//! Arrows point down; `tests/architecture.rs` holds them. Roles never import each other, [`trust`] and [`bus`] do not know
//! each other, nothing imports [`cli`].
//!
//! | layer | what it is |
//! |---|---|
//! | [`model`] | the vocabulary: names, commands, reports, verdicts. No I/O, no cryptography, no clock |
//! | [`wire`] | the bytes: envelopes, payloads in their one spelling, subject names |
//! | [`trust`] | who said it: keys, sealing, and [`trust::Reader::open`], the one way to a [`trust::Verified`] value |
//! | [`bus`] | delivery over NATS. Moves bytes and knows no meaning |
//! | [`master`] | decides and asks: watch, scheduler (pure), dispatch |
//! | [`slave`] | does as told, within its owner's limits: gate (pure), journal, keeper, outbox |
//! | [`status`] | looks, never asks: feed, store, board (pure), text, json, web, verify |
//! | [`cli`] | assembles; the only reader of arguments, environment and clock |
//!
//! # A command's life
//!
//! ```text
//! git remote ─ master/watch ─► Change ─► master/scheduler ─► Build ─ trust::seal ─► bus ─┐
//!                                            ▲                                           │ pybots.<farm>.command.<slave>.<builder>
//!                                            │                                           ▼
//! status/board ◄─ trust::open ◄─ bus ◄───────┴─ slave/outbox ◄─ slave/execute ◄─ slave/gate ◄─ trust::open
//!                                  pybots.<farm>.result.<slave>.<builder>      Admitted      Verified<Command>
//! ```
//!
//! The type says how far the data has come, and nothing else makes the next type:
//! [`model::Change`] → [`model::Command`] → [`trust::Sealed`] → bytes → [`wire::Envelope`] →
//! [`trust::Verified`]`<Command>` → [`slave::Admitted`] → [`model::Report`] → [`trust::Sealed`] → … →
//! [`trust::Verified`]`<Report>` → `status::Board`.

pub mod bus;
pub mod cli;
pub mod master;
pub mod model;
pub mod slave;
pub mod status;
pub mod trust;
pub mod wire;

/// Compiled here because it opens messages by an oracle that exists in this crate's own tests only.
#[cfg(test)]
#[path = "../tests/simulation/mod.rs"]
mod simulation;
