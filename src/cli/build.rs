//! `pybots build`: one build.

use super::clock;
use super::exit::{Exit, Failure};
use super::farm_file::Which;
use super::status::{style, viewer};
use crate::model::BuildId;
use crate::status::text::LogPrinter;
use crate::status::{Board, BuildStatus, json, text};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Show its verdict, steps, sources, times and who signed what.
    Show {
        /// Such as foo-linux/42.
        build: BuildId,
        #[command(flatten)]
        which: Which,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show what its scripts printed, made safe for a terminal.
    Log {
        /// Such as foo-linux/42.
        build: BuildId,
        #[command(flatten)]
        which: Which,
        /// Go on until the build ends.
        #[arg(long, short)]
        follow: bool,
    },
}

pub(super) async fn run(command: Command) -> Result<Exit, Failure> {
    let mut out = anstream::stdout();
    match command {
        Command::Show { build, which, json } => {
            let board = viewer(&which).await?.snapshot().await?;
            let build = find(&board, &build)?;
            if json {
                json::write_build(&board, build, clock::now(), &mut out)?;
            } else {
                text::write_build(&board, build, clock::now(), style(), &mut out)?;
            }
        }
        Command::Log {
            build,
            which,
            follow,
        } => {
            let mut viewer = viewer(&which).await?;
            let board = viewer.snapshot().await?;
            let build = find(&board, &build)?;
            let mut printer = LogPrinter::new(build, style());
            if follow {
                let mut log = viewer.follow_log(build).await?;
                loop {
                    tokio::select! {
                        piece = log.next() => match piece {
                            Some(piece) => printer.write(&piece, &mut out)?,
                            None => break,
                        },
                        () = super::stop_signal() => {
                            printer.finish(&mut out)?;
                            return Ok(Exit::Interrupted);
                        }
                    }
                }
            } else {
                for piece in viewer.log(build).await? {
                    printer.write(&piece, &mut out)?;
                }
            }
            printer.finish(&mut out)?;
        }
    }
    Ok(Exit::Ok)
}

fn find<'a>(board: &'a Board, id: &BuildId) -> Result<&'a BuildStatus, Failure> {
    board.build(id).ok_or_else(|| {
        let known = board
            .builds()
            .any(|build| build.order.builder == id.builder);
        let advice = if known {
            format!(
                "Builder {} is there, that number is not. pybots status shows the newest.",
                id.builder
            )
        } else {
            "There is no builder of that name. pybots status lists them.".to_owned()
        };
        Failure::message(Exit::Error, format!("there is no build {id}")).advice(advice)
    })
}
