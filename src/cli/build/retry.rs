//! `pybots build retry`: the same build again.

use super::ask::Asking;
use super::wait::Waiting;
use crate::cli::exit::{Exit, Failure};
use crate::model::{BuildId, Wish};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Such as foo-linux/42.
    build: BuildId,
    #[command(flatten)]
    asking: Asking,
    #[command(flatten)]
    waiting: Waiting,
}

pub(super) async fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let Arguments {
        build: id,
        asking,
        waiting,
    } = arguments;
    let mut asker = asking.open().await?;
    super::find(&asker.board, &id).map_err(super::not_asked)?;
    let wish = Wish::Retry {
        builder: id.builder.clone(),
        number: id.number,
    };
    let granted = asker.ask(wish).await?;
    asker.say_granted(&format!("what {id} built is built again"));
    waiting.wait(asker, &granted, &id.builder).await
}
