//! Finding a nats-server to run.

use std::env;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::cli::exit::{Exit, Failure};
use crate::cli::files;
use crate::trust::sha256;

/// The first version with all that the farm's streams need (per-message time to live, batched direct get).
const OLDEST: (u32, u32) = (2, 12);
/// The version that [`FETCHER`] gets.
const FETCHED: &str = "2.15.1";
/// Our fetcher; it stands in the program, so that an installed one needs no checkout.
const FETCHER: &str = include_str!("../../../deploy/get-nats-server");

/// A server that can be run.
pub(in crate::cli) struct Found {
    pub(in crate::cli) path: PathBuf,
    pub(in crate::cli) version: String,
    /// Why this one.
    pub(in crate::cli) why: String,
}

/// Whether a server may be fetched when none is found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fetch {
    Allowed,
    Forbidden,
}

/// Looks for a server: the one named, on `PATH`, in the user's cache, by fetching. Creates nothing unless it fetches.
pub(super) fn find(named: Option<&Path>, fetch: Fetch) -> Result<Found, Failure> {
    if let Some(path) = named {
        let found = try_program(path, "named by --nats-server");
        return found
            .map_err(|wrong| none_found(&[format!("--nats-server {}: {wrong}", path.display())]));
    }
    let mut tried = match installed() {
        Ok(found) => return Ok(found),
        Err(tried) => tried,
    };
    let Some(cache) = cache() else {
        return Err(none_found(&tried));
    };
    if fetch == Fetch::Forbidden {
        tried.push("fetching: forbidden by --no-fetch".to_owned());
        return Err(none_found(&tried));
    }
    match run_fetcher(&cache).and_then(|()| try_cached(&cache, "fetched a moment ago")) {
        Ok(found) => Ok(found),
        Err(wrong) => {
            tried.push(format!("fetching: {wrong}"));
            Err(none_found(&tried))
        }
    }
}

/// Looks for a server on `PATH` and in the user's cache; if there is none, says of each place why not. Creates nothing.
pub(in crate::cli) fn installed() -> Result<Found, Vec<String>> {
    let mut tried = Vec::new();
    let on_path = on_path();
    if on_path.is_empty() {
        tried.push("PATH: there is no nats-server on it".to_owned());
    }
    for path in on_path {
        match try_program(&path, "first on PATH that is new enough") {
            Ok(found) => return Ok(found),
            Err(wrong) => tried.push(format!("{}: {wrong}", path.display())),
        }
    }
    let Some(cache) = cache() else {
        tried.push("cache: neither XDG_CACHE_HOME nor HOME is set".to_owned());
        return Err(tried);
    };
    match try_cached(&cache, "checked copy in the cache") {
        Ok(found) => Ok(found),
        Err(wrong) => {
            tried.push(format!("{}: {wrong}", cache.display()));
            Err(tried)
        }
    }
}

/// The folder of the fetched copy.
fn cache() -> Option<PathBuf> {
    files::cache_folder().map(|folder| folder.join(format!("nats-server-{FETCHED}")))
}

fn none_found(tried: &[String]) -> Failure {
    let message = format!(
        "found no nats-server to run; nothing was created. Looked at:\n  {}",
        tried.join("\n  ")
    );
    Failure::message(Exit::Unreachable, message).advice(format!(
        "Install nats-server {}.{} or newer and put it on PATH (Debian's own package is too old), or python3 with pip, \
         so that one can be fetched.",
        OLDEST.0, OLDEST.1
    ))
}

fn on_path() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .map(|folder| folder.join("nats-server"))
        .filter(|program| program.is_file())
        .collect()
}

fn try_program(path: &Path, why: &str) -> Result<Found, String> {
    let output = Command::new(path)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot be run: {error}"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let version = said
        .trim()
        .rsplit('v')
        .next()
        .unwrap_or_default()
        .to_owned();
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().ok());
    let (Some(Some(major)), Some(Some(minor))) = (numbers.next(), numbers.next()) else {
        return Err("does not say its version".to_owned());
    };
    if (major, minor) < OLDEST {
        return Err(format!(
            "is version {version}, and {}.{} or newer is needed",
            OLDEST.0, OLDEST.1
        ));
    }
    Ok(Found {
        path: path.to_owned(),
        version,
        why: why.to_owned(),
    })
}

/// The cached copy, if it is still the one that was put there.
fn try_cached(folder: &Path, why: &str) -> Result<Found, String> {
    let program = folder.join("nats-server");
    let bytes = fs::read(&program).map_err(|_| "no copy there".to_owned())?;
    let record = fs::read_to_string(folder.join("nats-server.sha256")).unwrap_or_default();
    let expected = record.split_whitespace().next().unwrap_or_default();
    if data_encoding::HEXLOWER.encode(&sha256(&bytes)) != expected {
        return Err("the copy there does not match its recorded SHA-256".to_owned());
    }
    try_program(&program, why)
}

fn run_fetcher(folder: &Path) -> Result<(), String> {
    let mut python = Command::new("python3")
        .arg("-")
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .map_err(|error| format!("python3 cannot be run: {error}"))?;
    if let Some(mut input) = python.stdin.take() {
        // If python3 ends before it has read all, its exit status says so.
        let _ = input.write_all(FETCHER.as_bytes());
    }
    let status = python.wait().map_err(|error| error.to_string())?;
    if status.success() {
        Ok(())
    } else {
        Err("it did not work; the reason stands above".to_owned())
    }
}
