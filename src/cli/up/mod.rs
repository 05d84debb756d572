//! `pybots up`: a whole farm on this machine, and check-ins to a sample trunk to see it work.

mod farm;
mod processes;
pub(super) mod server;
mod trunk;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;

use self::farm::Farm;
use self::processes::{Running, first_look};
use self::server::Fetch;
use self::trunk::{CHECK_INS, CheckIn, Sample};
use super::exit::{Exit, Failure, say};
use super::{clock, files, requester_file, stop_signal};
use crate::model::{BuildId, BuilderName, Revision, Verdict};
use crate::status::{Board, Entry, TailNext, Viewer};
use crate::trust::words;

/// Longest that the verdicts of one check-in may take before something is wrong.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// End after the three check-ins; the exit code says whether their verdicts were the right ones.
    #[arg(long)]
    once: bool,
    /// The farm's folder; everything lives in it [default: farm in the user's state folder].
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// The nats-server to run (2.12 or newer).
    #[arg(long, value_name = "PATH")]
    nats_server: Option<PathBuf>,
    /// Never fetch a nats-server.
    #[arg(long)]
    no_fetch: bool,
}

pub(super) async fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let fetch = if arguments.no_fetch {
        Fetch::Forbidden
    } else {
        Fetch::Allowed
    };
    let server = server::find(arguments.nats_server.as_deref(), fetch)?;
    check_tools()?;
    say!(
        "nats-server {} at {} ({})",
        server.version,
        server.path.display(),
        server.why
    );

    let folder = arguments
        .dir
        .or_else(|| files::state_folder().map(|folder| folder.join("farm")))
        .ok_or_else(|| {
            Failure::message(
                Exit::Configuration,
                "where shall the farm live? Give --dir FOLDER",
            )
        })?;
    let (folder, _lock) = claim(&folder)?;
    let sample = Sample::open(folder.join("sample")).await?;
    sample.check_clean().await?;
    let farm = Farm::open(&folder, &sample)?;
    say!("farm {} in {}", farm.file.farm, folder.display());
    say!("     {}", words(&farm.file.farm));

    let mut processes = Running::start(&farm, &server.path).await?;
    say!("page http://{}/", processes.page_address);
    let work = async {
        let mut viewer = first_look(&farm).await?;
        for (number, check_in) in (1..).zip(&CHECK_INS) {
            judge(&mut viewer, &sample, number, check_in, &folder).await?;
        }
        say!("Foo passed, failed and passed again; Bar passed throughout.");
        if !arguments.once {
            say!("");
            say!(
                "The farm stays. Its trunk is {}: commit there and watch.",
                sample.place("trunk").display()
            );
            say!(
                "  pybots status --farm {}",
                folder.join("farm.toml").display()
            );
            say!(
                "  pybots build force foo-sample --reason 'try it' --wait --as {}",
                folder.join(requester_file::NAME).display()
            );
            say!("Ctrl-C ends it.");
            watch(&mut viewer).await?;
        }
        Ok(())
    };
    let result = tokio::select! {
        result = work => result.map(|()| Exit::Ok),
        failure = processes.any_died() => Err(failure),
        () = stop_signal() => {
            say!("Stopping.");
            Ok(if arguments.once { Exit::Interrupted } else { Exit::Ok })
        }
    };
    processes.stop().await;
    result
}

/// Checks that the programs are there that the sample's scripts and the master run.
fn check_tools() -> Result<(), Failure> {
    for (tool, use_of_it) in [
        ("git", "to watch and check out the sample trunk"),
        ("python3", "to run the sample's tests"),
    ] {
        let found = std::process::Command::new(tool)
            .arg("--version")
            .stdin(Stdio::null())
            .output();
        if !found.is_ok_and(|output| output.status.success()) {
            let message =
                format!("{tool} is needed {use_of_it}, and cannot be run; nothing was created");
            return Err(Failure::message(Exit::Error, message)
                .advice(format!("Install {tool} and put it on PATH.")));
        }
    }
    Ok(())
}

/// Makes the farm's folder and sees to it that nobody else runs a farm there.
fn claim(folder: &Path) -> Result<(PathBuf, File), Failure> {
    let holds_others = fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
    if holds_others && !folder.join("lock").exists() {
        let message = format!(
            "{} holds files that are no farm's; nothing was created",
            folder.display()
        );
        return Err(Failure::message(Exit::Configuration, message)
            .advice("Choose an empty or new folder with --dir."));
    }
    files::make_folder(folder)
        .map_err(|failure| failure.advice("Choose another one with --dir."))?;
    let claim = || -> std::io::Result<(PathBuf, File)> {
        let folder = fs::canonicalize(folder)?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(folder.join("lock"))?;
        Ok((folder, lock))
    };
    let (folder, lock) = claim()
        .with_context(|| format!("cannot use the folder {}", folder.display()))
        .map_err(|error| Failure::configuration(error).advice("Choose another one with --dir."))?;
    if lock.try_lock().is_err() {
        let message = format!("a farm is running in {} already", folder.display());
        return Err(Failure::message(Exit::Error, message)
            .advice("Stop it, or choose another folder with --dir."));
    }
    // In a path, a colon ends it, for PATH as for the sample's Python.
    if folder.to_string_lossy().contains(':') {
        let message = format!(
            "the sample cannot live in {}: its path holds a colon",
            folder.display()
        );
        return Err(Failure::message(Exit::Configuration, message)
            .advice("Choose another folder with --dir."));
    }
    Ok((folder, lock))
}

/// Makes a check-in, waits for its verdicts, and compares them with what they must be.
async fn judge(
    viewer: &mut Viewer,
    sample: &Sample,
    number: u32,
    check_in: &CheckIn,
    folder: &Path,
) -> Result<(), Failure> {
    let revision = sample.check_in(check_in).await?;
    say!("");
    say!(
        "check-in {number}  {}  {}",
        revision.short(),
        check_in.subject
    );
    let of_foo = if check_in.foo_passes() {
        Verdict::Passed
    } else {
        Verdict::Failed
    };
    let mut expected = vec![("foo-sample", of_foo), ("bar-sample", Verdict::Passed)];
    let waiting = async {
        // Whatever comes is a reason to look again; it may already be there.
        let mut tail = viewer.tail(1).await?;
        while !expected.is_empty() {
            if let TailNext::Entry(Entry::Report(report)) = tail.next().await
                && report.report.body().body.verdict().is_none()
            {
                continue;
            }
            let board = tail.viewer().snapshot().await?;
            let mut left = Vec::new();
            for (builder, wanted) in expected.drain(..) {
                match verdict_at(&board, builder, &revision) {
                    None => left.push((builder, wanted)),
                    Some((build, verdict)) => {
                        say!("  {build:<16} {}", shown(verdict));
                        if verdict != wanted {
                            let message =
                                format!("{build} was {verdict}, and {wanted} was to be expected");
                            return Err(Failure::message(Exit::Error, message)
                                .advice(format!(
                                    "What its scripts printed shows pybots build log {build} --farm {}/farm.toml, while \
                                     pybots up runs there.",
                                    folder.display()
                                )));
                        }
                    }
                }
            }
            expected = left;
        }
        Ok(())
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .unwrap_or_else(|_| {
            let message = format!(
                "no verdicts for check-in {number} within {} s",
                PATIENCE.as_secs()
            );
            Err(Failure::message(Exit::TimedOut, message)
                .advice("The processes' logs are in the farm's folder."))
        })
}

/// The newest build of `builder` that tested the trunk at `revision`, once it is over.
fn verdict_at(board: &Board, builder: &str, revision: &Revision) -> Option<(BuildId, Verdict)> {
    let builder: BuilderName = builder.parse().ok()?;
    let of_revision = board
        .builds()
        .filter(|build| build.order.builder == builder)
        .filter(|build| {
            build
                .order
                .sources
                .iter()
                .any(|source| source.revision == *revision)
        });
    let newest = of_revision.max_by_key(|build| build.order.number)?;
    Some((newest.id(), newest.verdict(clock::now())?))
}

fn shown(verdict: Verdict) -> String {
    let glyph = match verdict {
        Verdict::Passed => "✓",
        Verdict::Failed => "✗",
        Verdict::Warned
        | Verdict::Skipped
        | Verdict::Refused
        | Verdict::Cancelled
        | Verdict::TimedOut
        | Verdict::Errored
        | Verdict::Lost => "!",
    };
    format!("{glyph} {verdict}")
}

/// Tells of each build that ends, and before the first of a check-in, which one it was. For ever.
async fn watch(viewer: &mut Viewer) -> Result<(), Failure> {
    let from = viewer
        .entries(1)
        .await?
        .last()
        .map_or(1, |entry| entry.sequence() + 1);
    let mut tail = viewer.tail(from).await?;
    let mut told = String::new();
    loop {
        let TailNext::Entry(Entry::Report(report)) = tail.next().await else {
            continue;
        };
        let report = report.report.body();
        let Some(verdict) = report.body.verdict() else {
            continue;
        };
        let id = BuildId {
            builder: report.builder.clone(),
            number: report.number,
        };
        let board = tail.viewer().snapshot().await?;
        let change = board
            .build(&id)
            .and_then(|build| board.change(build.order.covers.last()?));
        let headline = change.map_or_else(String::new, |change| {
            let subject = change
                .commits
                .first()
                .map_or("", |commit| commit.subject.as_str());
            format!(
                "{} {}  {}  {subject}",
                change.repository,
                change.branch,
                change.revision.short()
            )
        });
        if headline != told {
            say!("");
            say!("{headline}");
            told = headline;
        }
        say!("  {id:<16} {}", shown(verdict));
    }
}
