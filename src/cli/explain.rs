//! `pybots explain`: any message, layer by layer.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use bytes::Bytes;

use super::exit::{Exit, Failure, say};
use super::farm_file::FarmFile;
use super::status::style;
use super::{clock, files};
use crate::model::FarmId;
use crate::status::{Known, explain, json, text};
use crate::trust::{Purpose, Reader, payload_id};
use crate::wire::{Bundle, KeyringEnvelopes, Kind};

pub(super) const AFTER_HELP: &str = "\
Examples:
  pybots explain command.cbor
  pybots explain --farm farm.toml --keyring farm.keyring --roster roster.cbor report.cbor
  nats request … | pybots explain --as head -

Ends with 0 if no rule is broken that was looked at, 4 if one is, 8 if a file cannot be read.";

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// An envelope, a keyring or a bundle, as it travels; - is standard input.
    file: PathBuf,
    /// The farm's public file, for the farm's id.
    #[arg(long, value_name = "FARM.TOML", conflicts_with = "farm_id")]
    farm: Option<PathBuf>,
    /// The farm's id [default: that of the first --keyring].
    #[arg(long, value_name = "SHA256:…")]
    farm_id: Option<FarmId>,
    /// A keyring of the farm, 0.0 first; without it no signature is checked.
    #[arg(long, value_name = "FILE")]
    keyring: Vec<PathBuf>,
    /// A roster of the farm; without it nothing that slaves sign is checked.
    #[arg(long, value_name = "FILE", requires = "keyring")]
    roster: Vec<PathBuf>,
    /// What it should be, such as command.
    #[arg(long = "as", value_name = "KIND", value_parser = kind)]
    kind: Option<Kind>,
    /// By the rules for whoever acts on it now; else by those for looking back.
    #[arg(long)]
    now: bool,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

fn kind(name: &str) -> Result<Kind, String> {
    let found = Kind::ALL.into_iter().find(|kind| kind.name() == name);
    found.ok_or_else(|| {
        let names: Vec<&str> = Kind::ALL.into_iter().map(Kind::name).collect();
        format!("a kind is one of {}", names.join(", "))
    })
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let bytes = read(&arguments.file)
        .map_err(|error| Failure::configuration(error).advice("Nothing was explained."))?;
    let (farm, reader) =
        believed(arguments).map_err(|failure| failure.advice("Nothing was explained."))?;
    let known = Known {
        farm,
        reader,
        kind: arguments.kind,
        purpose: if arguments.now {
            Purpose::Admit { now: clock::now() }
        } else {
            Purpose::History
        },
    };
    let found = explain(known, &bytes);
    let mut out = anstream::stdout();
    if arguments.json {
        json::write_explanation(&found, &mut out)?;
    } else {
        text::write_explanation(&found, style(), &mut out)?;
    }
    Ok(match found.broken {
        None => Exit::Ok,
        Some(_) => Exit::Unverified,
    })
}

fn read(path: &Path) -> anyhow::Result<Bytes> {
    const MAX_MEBIBYTES: u64 = (Bundle::MAX_LEN >> 20) as u64;
    if path != Path::new("-") {
        return files::read_at_most(path, MAX_MEBIBYTES).map(Bytes::from);
    }
    let mut bytes = Vec::new();
    let most = MAX_MEBIBYTES << 20;
    io::stdin()
        .lock()
        .take(most + 1)
        .read_to_end(&mut bytes)
        .context("cannot read standard input")?;
    anyhow::ensure!(
        bytes.len() as u64 <= most,
        "standard input is longer than {MAX_MEBIBYTES} MiB"
    );
    Ok(bytes.into())
}

/// The farm, and what is known of its keys.
fn believed(arguments: &Arguments) -> Result<(Option<FarmId>, Option<Reader>), Failure> {
    let pinned = match &arguments.farm {
        Some(path) => Some(files::configuration(path, FarmFile::parse)?.0.farm),
        None => arguments.farm_id,
    };
    let Some(first) = arguments.keyring.first() else {
        return Ok((pinned, None));
    };
    let bytes = files::read(first)?;
    let farm = if let Some(farm) = pinned {
        farm
    } else {
        let envelopes = KeyringEnvelopes::parse(&bytes)
            .with_context(|| format!("{} is no keyring", first.display()))
            .map_err(Failure::configuration)?;
        let farm = FarmId(payload_id(envelopes.payload()).0);
        say!("Against farm {farm}, whose keyring you gave.");
        farm
    };
    let mut reader = Reader::new(farm, &bytes)
        .with_context(|| first.display().to_string())
        .map_err(Failure::configuration)?;
    for path in &arguments.keyring[1..] {
        reader
            .learn_keyring(&files::read(path)?)
            .with_context(|| path.display().to_string())
            .map_err(Failure::configuration)?;
    }
    for path in &arguments.roster {
        reader
            .learn_roster(&files::read(path)?)
            .with_context(|| path.display().to_string())
            .map_err(Failure::configuration)?;
    }
    Ok((Some(farm), Some(reader)))
}
