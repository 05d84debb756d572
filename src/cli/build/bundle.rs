//! `pybots build export` and `pybots build verify`.

use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::find;
use crate::cli::clock;
use crate::cli::exit::{Exit, Failure, say};
use crate::cli::farm_file::Which;
use crate::cli::files;
use crate::cli::status::{style, viewer};
use crate::model::{BuildId, FarmId};
use crate::status::{ExportError, LogPart, Verification, json, text};
use crate::trust::words;
use crate::wire::Bundle;

pub(super) const AFTER_VERIFY: &str = "\
Examples:
  pybots build verify foo-linux/42
  pybots build verify foo-linux-42.bundle --farm-id SHA256:…
  pybots build verify foo-linux-42.bundle --keyring newest.keyring

A signature proves who says so, not that it is true; and times are the signers' own clocks.";

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Export {
    /// Such as foo-linux/42.
    build: BuildId,
    #[command(flatten)]
    which: Which,
    /// Where to [default: `<builder>-<number>.bundle` in this folder].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Leave out what the scripts printed.
    #[arg(long)]
    no_log: bool,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Verify {
    /// A build, such as foo-linux/42, or a file: whatever is there as a file, or ends in `.bundle`.
    #[arg(value_name = "BUILD|FILE")]
    what: PathBuf,
    /// The farm to hold it against; nothing else is believed. [default: that of the farm's file]
    #[arg(long, value_name = "SHA256:…")]
    farm_id: Option<FarmId>,
    /// Judge by this keyring, too: a newer one may have revoked a key since. May be given more than once.
    #[arg(long, value_name = "FILE")]
    keyring: Vec<PathBuf>,
    #[command(flatten)]
    which: Which,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn export(arguments: Export) -> Result<Exit, Failure> {
    let id = &arguments.build;
    let path = arguments
        .out
        .unwrap_or_else(|| PathBuf::from(format!("{}-{}.bundle", id.builder, id.number)));
    if path.symlink_metadata().is_ok() {
        let message = format!("{} is there already", path.display());
        return Err(Failure::message(Exit::Error, message)
            .advice("Nothing was written. Remove it, or name another file with --out."));
    }
    let log = if arguments.no_log {
        LogPart::LeftOut
    } else {
        LogPart::Included
    };
    let mut viewer = viewer(&arguments.which).await?;
    let board = viewer.snapshot().await?;
    let build = find(&board, id)?;
    let bundle = viewer.bundle(build, log).await.map_err(failure)?;
    let bytes = bundle.to_bytes().map_err(|error| {
        let failure = Failure::new(Exit::Error, error);
        failure.advice("Nothing was written. --no-log leaves out what the scripts printed.")
    })?;
    files::write_new(&path, &bytes)
        .map_err(|error| Failure::error(error).advice("Nothing was written."))?;
    let farm = viewer.farm();
    let found = crate::status::verify(farm.id, &bundle, &[]);
    let path = path.display();
    say!(
        "Wrote {path}, {} bytes: {}.",
        bytes.len(),
        contents(&bundle, &found)
    );
    if build.verdict(clock::now()).is_none() {
        say!("It is not over yet: export it again when it is.");
    }
    if found.is_verified() {
        say!(
            "Anybody can check it: pybots build verify {path} --farm-id {}",
            farm.id
        );
        return Ok(Exit::Ok);
    }
    for finding in &found.findings {
        say!("It does NOT verify: {finding}");
    }
    Ok(Exit::Unverified)
}

fn contents(bundle: &Bundle, found: &Verification) -> String {
    let newest = found
        .keyring
        .as_ref()
        .map(|keyring| format!("keyring {}", keyring.position));
    let mut parts: Vec<String> = newest.into_iter().collect();
    parts.extend(
        found
            .roster
            .iter()
            .map(|roster| format!("roster {}", roster.body().version)),
    );
    parts.push("the command".to_owned());
    parts.extend(bundle.cancel.iter().map(|_| "its cancel".to_owned()));
    parts.push(counted(bundle.reports.len(), "report"));
    parts.push(match &found.logs {
        Some(logs) => {
            let held: u64 = logs.iter().map(|log| log.held).sum();
            match found.missing_log() {
                0 => format!("{held} bytes of log"),
                missing => format!("{held} bytes of log (the bus has lost {missing} more)"),
            }
        }
        None => "no log".to_owned(),
    });
    parts.join(", ")
}

fn counted(number: usize, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        number => format!("{number} {what}s"),
    }
}

pub(super) async fn verify(arguments: Verify) -> Result<Exit, Failure> {
    let found = match build_of(&arguments.what) {
        Some(build) => verify_on_bus(&arguments, &build).await?,
        None => verify_file(&arguments)?,
    };
    let mut out = anstream::stdout();
    if arguments.json {
        json::write_verification(&found, &mut out)?;
    } else {
        text::write_verification(&found, style(), &mut out)?;
    }
    Ok(if found.is_verified() {
        Exit::Ok
    } else {
        Exit::Unverified
    })
}

/// The build that is meant, unless it is a file: what is there as one, is named like one, or names no build.
fn build_of(what: &Path) -> Option<BuildId> {
    let like_a_file = what.is_file() || what.extension().is_some_and(|end| end == "bundle");
    let build = what.to_str()?.parse().ok()?;
    (!like_a_file).then_some(build)
}

async fn verify_on_bus(arguments: &Verify, build: &BuildId) -> Result<Verification, Failure> {
    let mut viewer = viewer(&arguments.which).await?;
    let farm = arguments.farm_id.unwrap_or(viewer.farm().id);
    say!(
        "Against farm {farm} ({}), as the bus holds it now.",
        words(&farm)
    );
    let board = viewer.snapshot().await?;
    let namesakes = board.namesakes(build).count();
    if namesakes > 1 {
        say!("{namesakes} commands bear this name; the first of them is checked.");
    }
    let bundle = viewer
        .bundle(find(&board, build)?, LogPart::Included)
        .await
        .map_err(failure)?;
    let newer = newer_keyrings(arguments)?;
    Ok(crate::status::verify(farm, &bundle, &newer))
}

fn verify_file(arguments: &Verify) -> Result<Verification, Failure> {
    const MAX_MEBIBYTES: u64 = (Bundle::MAX_LEN >> 20) as u64;
    let path = &arguments.what;
    if !path.exists() {
        let message = format!("there is no file {}", path.display());
        return Err(Failure::message(Exit::Error, message).advice(
            "Nothing was checked. If a build is meant: it is named <builder>/<number>, such as foo-linux/42.",
        ));
    }
    let bytes = files::read_at_most(path, MAX_MEBIBYTES)
        .map_err(|error| Failure::error(error).advice("Nothing was checked."))?;
    let (farm, source) = if let Some(farm) = arguments.farm_id {
        (farm, "as you gave it".to_owned())
    } else {
        let path = arguments.which.path()?;
        let file = arguments.which.read().map_err(|failure| {
            failure.advice("Nothing was checked. --farm-id SHA256:… names the farm; ask for it where you trust the answer.")
        })?;
        (file.farm, format!("from {}", path.display()))
    };
    say!("Against farm {farm} ({}), {source}.", words(&farm));
    let newer = newer_keyrings(arguments)?;
    Ok(crate::status::verify_file(
        farm,
        &Bytes::from(bytes),
        &newer,
    ))
}

fn newer_keyrings(arguments: &Verify) -> Result<Vec<Bytes>, Failure> {
    let files = arguments.keyring.iter();
    files
        .map(|path| {
            let read = files::read(path);
            read.map(Bytes::from)
                .map_err(|error| error.advice("Nothing was checked."))
        })
        .collect()
}

fn failure(error: ExportError) -> Failure {
    match error {
        ExportError::Bus(error) => error.into(),
        ExportError::NoCommand => Failure::error(error).advice("Nothing was written or checked."),
        ExportError::NoRoster { .. } => Failure::new(Exit::Unverified, error)
            .advice("Without it nobody can tell who signed the reports."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_is_told_from_a_file_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x");
        std::fs::write(&file, "").unwrap();
        let file = file.to_string_lossy();
        for (what, is_build) in [
            ("foo-linux/42", true),
            ("foo-linux-42.bundle", false),
            ("foo-linux/42.bundle", false),
            ("./foo-linux/42", false),
            ("/tmp/42", false),
            ("foo-linux", false),
            (&file, false),
        ] {
            assert_eq!(build_of(Path::new(what)).is_some(), is_build, "{what}");
        }
    }
}
