//! `pybots build release`: a project has released a version.

use super::ask::Asking;
use crate::cli::exit::{Exit, Failure};
use crate::model::{ProjectName, Version, Wish};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Such as foo.
    project: ProjectName,
    /// Such as 2.1.0. Only the version travels; the scripts of the slaves fetch it.
    version: Version,
    #[command(flatten)]
    asking: Asking,
}

pub(super) async fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let Arguments {
        project,
        version,
        asking,
    } = arguments;
    let mut asker = asking.open().await?;
    let wish = Wish::Release {
        project: project.clone(),
        version: version.clone(),
    };
    asker.ask(wish).await?;
    asker.say_granted(&format!(
        "builders that follow the releases of {project} build {version}"
    ));
    Ok(Exit::Ok)
}
