use super::exit::{Exit, Failure};
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {}
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    X,
}
pub(super) async fn run<T>(_: T) -> Result<Exit, Failure> {
    Ok(Exit::Ok)
}
