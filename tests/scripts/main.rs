//! The scripts that an owner maps to build the real trunk, run exactly as a slave runs them, on a miniature of that trunk.
//!
//! No network: repositories and packages are folders, and the package index is a server of ours on this machine.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test may end where it cannot go on"
)]

mod building;
mod checkout;
mod index;
mod machine;
mod released;
mod sample;
mod testing;
