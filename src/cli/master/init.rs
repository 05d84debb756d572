//! `pybots master init`: a first `master.toml` for a farm whose keys are made.

use std::fs;
use std::path::{Path, PathBuf};

use crate::bus::BusAddress;
use crate::cli::exit::{Exit, Failure, say};
use crate::cli::files;
use crate::cli::keyrings::Keyrings;
use crate::cli::series::Series;
use crate::model::FarmId;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The configuration, which must not be there yet.
    #[arg(long, value_name = "FILE", default_value = "master.toml")]
    config: PathBuf,
    /// The farm's first keyring [default: the one beside the configuration, or in its folder `keys`].
    #[arg(long, value_name = "FILE")]
    keyring: Option<PathBuf>,
    /// Where the bus is.
    #[arg(long, value_name = "ADDRESS", default_value = "nats://127.0.0.1:4222")]
    bus: BusAddress,
}

const NOT_WRITTEN: &str = "Nothing was written.";

pub(super) fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let Arguments {
        config,
        keyring,
        bus,
    } = arguments;
    if config.exists() {
        let message = format!("{} is there already; nothing was written", config.display());
        return Err(Failure::message(Exit::Configuration, message)
            .advice("A configuration is never overwritten. Choose another file with --config."));
    }
    let folder = match config.parent() {
        Some(folder) if folder != Path::new("") => folder,
        Some(_) | None => Path::new("."),
    };
    let keyring = match keyring {
        Some(keyring) => keyring,
        None => find_keyring(folder)?,
    };
    let (series, _) = Series::of_keyring(&keyring);
    let keyrings = Keyrings::load(series, None, None)
        .map_err(|error| Failure::from(error).advice(NOT_WRITTEN))?;
    let keyring = keyrings.series.first().to_owned();
    let keys = Keys {
        farm: *keyrings.reader.farm(),
        signing_key: keyring.with_file_name("signing.key"),
        bus_key: keyring.with_file_name("bus.nk"),
        keyring,
    };
    if !keys.signing_key.exists() {
        let message = format!(
            "there is no {}; nothing was written",
            keys.signing_key.display()
        );
        return Err(Failure::message(Exit::Configuration, message)
            .advice("The signing key lies beside the keyring, as pybots keys init made it."));
    }
    let text = master_toml(&keys, &bus, folder)?;
    let nkey = files::make_bus_seed(&keys.bus_key)?;
    files::write_new(&config, text.as_bytes())
        .map_err(|error| Failure::configuration(error).advice(NOT_WRITTEN))?;
    say!("  ok  {} for farm {}", config.display(), keys.farm);
    say!(
        "  ok  {}   the master's login {nkey}",
        keys.bus_key.display()
    );
    say!(
        "  Say in it what is watched and built, then: pybots master check --config {}",
        config.display()
    );
    Ok(Exit::Ok)
}

/// The files that a master needs.
struct Keys {
    farm: FarmId,
    keyring: PathBuf,
    signing_key: PathBuf,
    bus_key: PathBuf,
}

/// The only first keyring in a folder or in its folder `keys`.
fn find_keyring(folder: &Path) -> Result<PathBuf, Failure> {
    let mut found = Vec::new();
    for place in [folder.to_owned(), folder.join("keys")] {
        let Ok(entries) = fs::read_dir(&place) else {
            continue;
        };
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            let is_keyring = path
                .extension()
                .is_some_and(|extension| extension == "keyring");
            // The later ones bear their position.
            if is_keyring && Series::of_keyring(&path).1.is_none() {
                found.push(path);
            }
        }
    }
    found.sort();
    let (message, advice) = match &found[..] {
        [keyring] => return Ok(keyring.clone()),
        [] => (
            format!(
                "there is no keyring in {} or its folder keys",
                folder.display()
            ),
            "Nothing was written. First make the farm's keys: pybots keys init NAME --dir keys",
        ),
        [first, second, ..] => (
            format!(
                "there are several farms: {} and {}",
                first.display(),
                second.display()
            ),
            "Nothing was written. Name the one that is meant with --keyring.",
        ),
    };
    Err(Failure::message(Exit::Configuration, message).advice(advice))
}

/// A path as a value in a configuration that lies in `folder`.
fn value(path: &Path, folder: &Path) -> Result<String, Failure> {
    let path = match path.strip_prefix(folder) {
        Ok(within) => within.to_owned(),
        Err(_) => std::path::absolute(path)?,
    };
    let message = || {
        format!(
            "{} is not text in UTF-8; nothing was written",
            path.display()
        )
    };
    let text = path
        .to_str()
        .ok_or_else(|| Failure::message(Exit::Configuration, message()))?;
    Ok(toml::Value::String(text.to_owned()).to_string())
}

fn master_toml(keys: &Keys, bus: &BusAddress, folder: &Path) -> Result<String, Failure> {
    let keyring = value(&keys.keyring, folder)?;
    let signing_key = value(&keys.signing_key, folder)?;
    let bus_key = value(&keys.bus_key, folder)?;
    Ok(format!(
        r#"# A farm's master. Every other key, with its default: deploy/master.toml.
# Relative paths start from the folder of this file.

farm = "{farm}"
# Where the bus is. It goes into the public farm.toml too: name it as slaves and viewers reach it.
bus = "{bus}"
keyring = {keyring}
signing-key = {signing_key}
bus-key = {bus_key}
# Git mirrors. May be deleted at any time.
state = "state"

# What is watched. Scripts see its name in PYBOTS_REV_PYTHON.
[repositories.python]
url = "https://github.com/python/cpython"
branches = ["main"]

# What is built: a recipe on one slave, for one project. A step names a command that the slave's owner has mapped.
#[builders.foo-maple]
#slave = "maple"
#project = "foo"
#sources = {{ python = "main" }}
#steps = [{{ command = "update-python" }}, {{ command = "build-python" }}, {{ command = "test-foo" }}]
"#,
        farm = keys.farm,
    ))
}
