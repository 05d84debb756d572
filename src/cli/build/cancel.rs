//! `pybots build cancel`: the end of a build.

use super::ask::Asking;
use crate::cli::clock;
use crate::cli::exit::{Exit, Failure};
use crate::model::{BuildId, Wish};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Such as foo-linux/42.
    build: BuildId,
    #[command(flatten)]
    asking: Asking,
}

pub(super) async fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let Arguments { build: id, asking } = arguments;
    let mut asker = asking.open().await?;
    let build = super::find(&asker.board, &id).map_err(super::not_asked)?;
    if let Some(verdict) = build.verdict(clock::now()) {
        let message = format!("{id} is over already: {verdict}");
        return Err(Failure::message(Exit::Error, message).advice("Nothing was asked."));
    }
    let wish = Wish::Cancel {
        builder: id.builder.clone(),
        number: id.number,
    };
    asker.ask(wish).await?;
    asker.say_granted(&format!(
        "{id} is called off; how it ends shows pybots build show {id}"
    ));
    Ok(Exit::Ok)
}
