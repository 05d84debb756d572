//! `pybots build`: builds, one by one.

pub(super) mod ask;
mod bundle;
mod cancel;
mod force;
mod list;
mod release;
mod retry;
mod wait;

use std::io::{self, IsTerminal as _, Write as _};

use super::clock;
use super::exit::{Exit, Failure, say};
use super::farm_file::Which;
use super::status::{style, viewer};
use crate::model::{BuildId, Timestamp};
use crate::status::text::LogPrinter;
use crate::status::{Board, BuildStatus, LogPiece, Viewer, json, text};

const LOG_EXAMPLES: &str = "\
Examples:
  pybots build log foo-linux/42 --failed
  pybots build log foo-linux/42 --follow
  pybots build log foo-linux/42 --raw > log";

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List builds, the newest order first.
    #[command(after_help = list::EXAMPLES)]
    List(list::Arguments),
    /// Show a build's verdict, steps, sources, times and who signed what.
    Show {
        /// Such as foo-linux/42.
        build: BuildId,
        #[command(flatten)]
        which: Which,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show what a build's scripts printed, made safe for a terminal.
    #[command(after_help = LOG_EXAMPLES)]
    Log {
        /// Such as foo-linux/42.
        build: BuildId,
        #[command(flatten)]
        which: Which,
        /// Go on until the build ends.
        #[arg(long, short)]
        follow: bool,
        /// Only the steps that did not go well: those that are neither passed, warned nor skipped.
        #[arg(long, conflicts_with = "follow")]
        failed: bool,
        /// Every byte as the scripts printed it, to a pipe or a file; to a terminal, which it can take over, only if given
        /// twice.
        #[arg(long, action = clap::ArgAction::Count, conflicts_with = "follow")]
        raw: u8,
    },
    /// Write all that proves a build into one file, to be checked anywhere with `build verify`.
    Export(bundle::Export),
    /// Check who said what of a build: from the bus, or from a file that `build export` wrote, which needs no bus.
    #[command(after_help = bundle::AFTER_VERIFY)]
    Verify(bundle::Verify),
    /// Ask the master for a build, whether or not anything changed.
    #[command(after_help = force::EXAMPLES)]
    Force(force::Arguments),
    /// Ask the master to call off a build, whether it runs or only waits.
    Cancel(cancel::Arguments),
    /// Ask the master to build again what a build has built.
    Retry(retry::Arguments),
    /// Tell the master that a project has released a version: builders that follow its releases build it.
    Release(release::Arguments),
}

pub(super) async fn run(command: Command) -> Result<Exit, Failure> {
    let mut out = anstream::stdout();
    match command {
        Command::List(arguments) => return list::run(arguments).await,
        Command::Export(arguments) => return bundle::export(arguments).await,
        Command::Verify(arguments) => return bundle::verify(arguments).await,
        Command::Force(arguments) => return Box::pin(force::run(arguments)).await,
        Command::Cancel(arguments) => return Box::pin(cancel::run(arguments)).await,
        Command::Retry(arguments) => return Box::pin(retry::run(arguments)).await,
        Command::Release(arguments) => return Box::pin(release::run(arguments)).await,
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
            failed,
            raw,
        } => {
            if raw == 1 && io::stdout().is_terminal() {
                return Err(raw_to_terminal());
            }
            let mut viewer = viewer(&which).await?;
            let board = viewer.snapshot().await?;
            let build = find(&board, &build)?;
            if follow {
                return follow_log(&mut viewer, build).await;
            }
            let steps = build.steps_not_well(clock::now());
            if failed && steps.is_empty() {
                say!("{}", no_step_failed(build, clock::now()));
                return Ok(Exit::Ok);
            }
            let wanted = |piece: &LogPiece| {
                !failed || piece.step().is_some_and(|step| steps.contains(&step))
            };
            let mut pieces = viewer.log(build).await?;
            pieces.retain(wanted);
            if raw > 0 {
                write_raw(&pieces)?;
            } else {
                let mut printer = LogPrinter::new(build, style());
                for piece in &pieces {
                    printer.write(piece, &mut out)?;
                }
                printer.finish(&mut out)?;
            }
        }
    }
    Ok(Exit::Ok)
}

async fn follow_log(viewer: &mut Viewer, build: &BuildStatus) -> Result<Exit, Failure> {
    let mut out = anstream::stdout();
    let mut printer = LogPrinter::new(build, style());
    let mut log = viewer.follow_log(build).await?;
    let exit = loop {
        tokio::select! {
            piece = log.next() => match piece {
                Some(piece) => printer.write(&piece, &mut out)?,
                None => break Exit::Ok,
            },
            () = super::stop_signal() => break Exit::Interrupted,
        }
    };
    printer.finish(&mut out)?;
    Ok(exit)
}

/// Not by `anstream`, which would take out what a terminal understands.
fn write_raw(pieces: &[LogPiece]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for piece in pieces {
        if let Some(remark) = text::write_raw_log(piece, &mut out)? {
            say!("{remark}");
        }
    }
    out.flush()
}

fn raw_to_terminal() -> Failure {
    let message = "what scripts printed can take over this terminal, so nothing was shown";
    Failure::message(Exit::Usage, message).advice(
        "Without --raw it is made safe. Send it to a file or a pipe, or say --raw twice if you mean it.",
    )
}

fn no_step_failed(build: &BuildStatus, now: Timestamp) -> String {
    let id = build.id();
    match build.verdict(now) {
        Some(verdict) => {
            format!("No step of {id} failed, so nothing is shown; the build: {verdict}.")
        }
        None => format!("No step of {id} has failed so far; the build is not over."),
    }
}

/// Says that nothing was asked, whatever is the reason.
fn not_asked(failure: Failure) -> Failure {
    failure.advice_after(ask::NOT_ASKED)
}

fn find<'a>(board: &'a Board, id: &BuildId) -> Result<&'a BuildStatus, Failure> {
    board.build(id).ok_or_else(|| {
        let known = board
            .builds()
            .any(|build| build.order.builder == id.builder);
        let advice = if known {
            format!(
                "Builder {0} is there, that number is not. pybots build list --builder {0} shows its builds.",
                id.builder
            )
        } else {
            "There is no builder of that name. pybots status lists them.".to_owned()
        };
        Failure::message(Exit::Error, format!("there is no build {id}")).advice(advice)
    })
}
