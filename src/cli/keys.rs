//! `pybots keys`: the farm's keys, and the ceremonies by which they change.

mod changes;
mod consent;
mod desk;
mod holdings;
mod init;
mod making;
mod naming;
mod publish;
mod record;
mod requester;
mod revoke;
mod rotate;
mod show;
mod sign;
mod signing;
mod succession;
mod verify;
mod vouch;

use super::exit::{Exit, Failure};

pub(super) use init::{Masters, make};
pub(super) use requester::stanza;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Make the keys and the first keyring of a new farm.
    Init(init::Arguments),
    /// Make the keys of somebody who may ask the master for builds.
    Requester(requester::Arguments),
    /// Make a new signing key, or with --master let the successor key take the master key's place.
    Rotate(Box<rotate::Arguments>),
    /// Revoke a signing key: one that was stolen, or is not needed any more.
    Revoke(Box<revoke::Arguments>),
    /// Sign a draft with a master key, on a machine without network.
    Sign(sign::Arguments),
    /// Put keyrings on the bus that it lacks, and say who holds the newest.
    Publish(publish::Arguments),
    /// Show what the farm's keyrings say, after checking them, and who holds which.
    Show(show::Arguments),
    /// Check that a keyring belongs to the farm; name the first rule that it breaks.
    Verify(verify::Arguments),
}

pub(super) async fn run(command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Init(arguments) => init::run(arguments),
        Command::Requester(arguments) => requester::run(&arguments),
        Command::Rotate(arguments) => rotate::run(*arguments).await,
        Command::Revoke(arguments) => revoke::run(*arguments).await,
        Command::Sign(arguments) => sign::run(&arguments),
        Command::Publish(arguments) => publish::run(arguments).await,
        Command::Show(arguments) => show::run(arguments).await,
        Command::Verify(arguments) => verify::run(&arguments),
    }
}
